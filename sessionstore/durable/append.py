"""Append bytes to a file so that what was acknowledged is there after a crash.

One writer at a time appends; any number of threads wait for the flush of what they appended, and
those that are due at once share one. Nothing here knows what the bytes mean.

After a failed flush Linux may mark the pages clean: a second flush of the same file proves nothing
("Can Applications Recover from fsync Failures?", USENIX ATC '20). Such a file takes no more bytes:
it is written anew, under a new inode.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from typing import Generic, NamedTuple, TypeVar

from sessionstore.durable.directory import full_flush

T = TypeVar("T")
"""What the writer of a file knows of its end."""


class FlushFailed(Exception):
    """A flush failed: what was appended since the last one may not survive a loss of power."""

    def __init__(self, error: OSError) -> None:
        self.error = error
        super().__init__(str(error))


class End(NamedTuple, Generic[T]):
    """Where the bytes of a file end, and what its writer knows of that place."""

    offset: int
    known: T


class AppendFile(Generic[T]):
    """The end of an open file that this process alone appends to."""

    def __init__(self, file: io.FileIO, end: End[T], flushed: End[T]) -> None:
        self._file = file
        self.end: End[T] = end
        """Where the next bytes go. What lies behind it was never acknowledged."""
        self.flushed: End[T] = flushed
        """Up to where the bytes are known to survive a loss of power."""
        self.failure: OSError | None = None
        """The error of a flush that failed: this file takes no more bytes."""
        self._attempt: tuple[bytes, End[T]] | None = None
        self._flushing = threading.Lock()

    def is_as_left(self) -> bool:
        """Return whether the file is as long as this writer left it: nobody cut or extended it."""
        self.settle()
        return os.fstat(self._file.fileno()).st_size == self.end.offset

    def append(self, data: bytes, known: T) -> End[T]:
        """Write ``data`` at the end; return the new end, for :meth:`flush`.

        Readers see it at once. After an OSError nothing was appended. After an exception from
        outside (KeyboardInterrupt) ask :meth:`settle`.
        """
        self.settle()
        end = End(self.end.offset + len(data), known)
        # Race: Exception from a signal handler. It may come between the write and what follows.
        self._attempt = data, end
        try:
            self._write(data)
        except OSError:
            self._attempt = None
            self._cut()
            raise
        self.end, self._attempt = end, None
        return end

    def settle(self) -> End[T]:
        """Return the end, once it is found out what became of an append that was interrupted.

        What it wrote whole is in the file; what it did not is cut off.
        """
        if self._attempt is not None:
            data, end = self._attempt
            if os.pread(self._file.fileno(), len(data), self.end.offset) == data:
                self.end = end
            else:
                self._cut()
            self._attempt = None
        return self.end

    def flush(self, upto: End[T]) -> None:
        """Have the bytes up to ``upto`` survive a loss of power.

        Raises:
            FlushFailed: they may not; nor may those of everybody who waited for the same flush.
        """
        with self._flushing:
            if self.flushed.offset >= upto.offset:
                return  # by a flush that began after these bytes were written
            if self.failure is not None:
                raise FlushFailed(self.failure)
            covered = self.end
            try:
                _flush_data(self._file.fileno())
            except OSError as error:
                self.failure = error
                raise FlushFailed(error) from error
            self.flushed = covered

    def close(self) -> None:
        """Close the file, which gives its lock back. Safe to call twice."""
        self._file.close()

    def _write(self, data: bytes) -> None:
        fd, at, rest = self._file.fileno(), self.end.offset, memoryview(data)
        while rest:
            written = os.pwrite(fd, rest, at)
            at += written
            rest = rest[written:]

    def _cut(self) -> None:
        os.ftruncate(self._file.fileno(), self.end.offset)


def erase_after(file: io.FileIO, end: int) -> None:
    """Remove what follows ``end``, durably."""
    if os.fstat(file.fileno()).st_size > end:
        os.ftruncate(file.fileno(), end)
        os.fsync(file.fileno())


def _flush_data(fd: int) -> None:
    """Flush the bytes of a file and its length, but not its times."""
    if sys.platform == "darwin":
        full_flush(fd)
    elif hasattr(os, "fdatasync"):
        os.fdatasync(fd)
    else:
        os.fsync(fd)
