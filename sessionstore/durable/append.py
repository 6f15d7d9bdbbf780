"""Append bytes to a file so that what was acknowledged is there after a crash.

One writer at a time appends; any number of threads wait for the flush of what they appended, and
those that are due at once share one. Nothing here knows what the bytes mean.

After a failed flush Linux may mark the pages clean: a second flush of the same file proves nothing
("Can Applications Recover from fsync Failures?", USENIX ATC '20). Such a file takes no more bytes:
it is written anew, under a new inode.

An append that makes a file longer has the file system commit its journal. One that overwrites bytes
of before changes neither length nor extents, and is flushed two to four times as fast. So padding
is written ahead of the end, with an append that is flushed anyway. It is spaces and newlines, so
that a file of lines stays one: empty lines, or spaces before a line. A crash can leave NULs, too.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Generic, NamedTuple, TypeVar

from sessionstore.durable.directory import flush, full_flush

T = TypeVar("T")
"""What the writer of a file knows of its end."""

_PIECE = 1024 * 1024

PADDING = b" \n\0"
"""Bytes that may lie behind the end: written ahead, or left by a crash."""

_BLOCK = 4096
_PADDING_LIMIT = 256 * 1024
_NO_ROOM = errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG
_FLUSHES_BEFORE_PADDING = 2
"""Most claims append once or twice: for them padding would only be more to write and to cut off."""


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

    def __init__(self, file: io.FileIO, path: str, end: End[T], flushed: End[T]) -> None:
        """Append to ``file``, which is at ``path`` and ends at ``end``: nothing is behind it."""
        self._size = end.offset
        """How long the file is, padding included."""
        self._flushes = 0
        self._step = _BLOCK
        self.file: io.FileIO = file
        self._path = path
        self._inode = os.fstat(file.fileno()).st_ino
        self._pid = os.getpid()
        self.end: End[T] = end
        """Where the next bytes go. What lies behind it was never acknowledged."""
        self.flushed: End[T] = flushed
        """Up to where the bytes are known to survive a loss of power."""
        self._attempt: tuple[bytes, End[T] | None] | None = None
        """The append that is being written, or was interrupted; its end is None if it failed."""
        self._outcome: list[None] = [None]
        """Of the last flush: empty unless it succeeded."""
        self._failure: OSError | None = None
        self._writing = threading.RLock()
        """Held while the end moves. A flush does not take it: appends go on meanwhile."""
        self._flushing = threading.Lock()

    @property
    def has_failed(self) -> bool:
        """Whether a flush failed: this file takes no more bytes."""
        if not self._outcome and self._flushing.acquire(blocking=False):  # else one is under way
            try:
                self._look_at_outcome()
            finally:
                self._flushing.release()
        return self._failure is not None

    def is_as_left(self) -> bool:
        """Return whether the file is at its path, and as long as this writer left it."""
        with self._writing:
            self.settle()
            try:
                there = os.lstat(self._path)
            except (FileNotFoundError, NotADirectoryError):
                return False
            # On FUSE an open file may get another number.
            if there.st_ino != self._inode and there.st_ino != os.fstat(self._fd()).st_ino:
                return False
            return there.st_size == self._size

    def append(self, data: bytes, known: T) -> End[T]:
        """Write ``data`` at the end; return the new end, for :meth:`flush`.

        Readers see it at once. After an OSError nothing was appended. After an exception from
        outside (KeyboardInterrupt) ask :meth:`settle`.
        """
        with self._writing:
            self.settle()
            end = End(self.end.offset + len(data), known)
            # Race: Exception from a signal handler. It may come between the write and what follows.
            self._attempt = data, end
            try:
                self._write(data)
            except OSError:
                self._attempt = data, None
                with suppress(OSError):  # the next append tries again
                    self.settle()
                raise
            self.end = end
            self._attempt = None
            return end

    def settle(self) -> End[T]:
        """Return the end, once it is found out what became of an append that was interrupted.

        What it wrote whole is in the file; what it did not is cut off, and the padding with it.
        """
        with self._writing:  # of another thread that appends, it waits for the end
            if self._attempt is not None:
                data, end = self._attempt
                at = self.end.offset
                if end is not None and (end is self.end or _read(self.file, len(data), at) == data):
                    self.end = end
                self._cut()
                self._attempt = None
            return self.end

    def _cut(self) -> None:
        os.ftruncate(self._fd(), self.end.offset)
        self._size = self.end.offset

    def flush(self, upto: End[T]) -> None:
        """Have the bytes up to ``upto`` survive a loss of power.

        Raises:
            FlushFailed: they may not; nor may those of everybody who waited for the same flush.
        """
        with self._flushing:
            if self.flushed.offset >= upto.offset:
                return  # by a flush that began after these bytes were written
            self._look_at_outcome()
            if self._failure is not None:
                raise FlushFailed(self._failure)
            covered = self.end
            # Race: Exception from a signal handler, right after a flush that failed. The next one
            # would succeed and prove nothing. So the outcome is kept by the very call that flushes:
            # extend() runs no code of Python between the two.
            self._outcome = outcome = list[None]()
            try:
                outcome.extend(map(_flush_data, (self._fd(),)))
            except OSError as error:
                self._failure = error
                raise FlushFailed(error) from error
            self.flushed = covered
            self._flushes += 1

    def _look_at_outcome(self) -> None:
        if self._failure is None and not self._outcome:
            self._failure = OSError(errno.EIO, "the flush before was interrupted")

    def close(self) -> None:
        """Cut off the padding, and close the file, which gives its lock back.

        Safe to call twice.
        """
        if self.file.closed or os.getpid() != self._pid:  # a forked child has no part in it
            self.file.close()
            return
        # Race: Release beside a flush. The number of a closed descriptor may be another file's.
        with self._flushing, self._writing:
            with suppress(OSError):  # the next holder looks at the end
                end = self.settle().offset
                if end < self._size and self.is_as_left() and self._is_padding(end, self._size):
                    self._cut()
            self.file.close()

    def _is_padding(self, start: int, stop: int) -> bool:
        return not any(piece.strip(PADDING) for piece in pieces(self.file, stop, start=start))

    def _fd(self) -> int:
        if self.file.closed:
            raise OSError(errno.EBADF, "the file was closed meanwhile", self._path)
        return self.file.fileno()

    def _write(self, data: bytes) -> None:
        self._fd()
        at = self.end.offset
        rest = memoryview(data)
        if padding := self._padding(at + len(data)):
            try:
                written = _write_some(self.file, memoryview(data + padding), at)
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                written = 0  # the bytes may fit without the padding
            at += written
            rest = rest[written:]
        while rest:
            written = _write_some(self.file, rest, at)
            at += written
            rest = rest[written:]
        self._size = max(self._size, at)

    def _padding(self, end: int) -> bytes:
        """Return what to write behind ``end``: up to the next step, which doubles each time."""
        if end <= self._size or self._flushes < _FLUSHES_BEFORE_PADDING:
            return b""
        length = -end % self._step
        self._step = min(self._step * 2, _PADDING_LIMIT)
        # Lines end where blocks do.
        first = length % _BLOCK
        lines = [b" " * (_BLOCK - 1)] * (length // _BLOCK)
        if first:
            lines.insert(0, b" " * (first - 1))
        return b"".join(line + b"\n" for line in lines)


def erase_after(file: io.FileIO, end: int) -> None:
    """Remove what follows ``end``, durably."""
    if os.fstat(file.fileno()).st_size > end:
        os.ftruncate(file.fileno(), end)
        flush(file.fileno())


def pieces(file: io.FileIO, stop: int, *, start: int = 0) -> Iterator[bytes]:
    """Yield the bytes of ``file`` from ``start`` to ``stop``, or to where it ends."""
    at = start
    while at < stop and (piece := _read(file, min(_PIECE, stop - at), at)):
        yield piece
        at += len(piece)


if sys.platform == "win32":  # it has no calls that take an offset

    def _read(file: io.FileIO, length: int, at: int) -> bytes:
        file.seek(at)
        return file.read(length) or b""

    def _write_some(file: io.FileIO, data: memoryview, at: int) -> int:
        file.seek(at)
        return file.write(data) or 0

else:

    def _read(file: io.FileIO, length: int, at: int) -> bytes:
        return os.pread(file.fileno(), length, at)

    def _write_some(file: io.FileIO, data: memoryview, at: int) -> int:
        return os.pwrite(file.fileno(), data, at)


_flush_data: Callable[[int], None]
"""Flush the bytes of a file and its length, but not its times."""
if sys.platform == "darwin":
    _flush_data = full_flush
else:
    _flush_data = getattr(os, "fdatasync", os.fsync)
