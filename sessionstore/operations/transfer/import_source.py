"""Read an archive that anybody may have made; refuse everything that no export contains.

Only regular files and directories come through, with names that stay inside, and no more bytes than
allowed, neither from contents nor from headers.
"""

from __future__ import annotations

import errno
import gzip
import io
import os
import stat
import struct
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, cast

from sessionstore.durable import paths
from sessionstore.durable.directory import Directory
from sessionstore.durable.regular_file import open_below
from sessionstore.errors import ArchiveRefused, SessionStoreError, StorageError
from sessionstore.operations.transfer import archive
from sessionstore.operations.transfer.archive import MANIFEST, MAX_MANIFEST_BYTES, Member

Source = str | os.PathLike[str] | BinaryIO
"""A path, or a binary file that is open for reading."""

_HEADER = 1 << 20
"""Bytes that may precede a member: a long name takes some, a trap takes gigabytes."""
_COST = 4096
"""Bytes that a member counts besides its content: an empty file takes a block on disk."""
_DAMAGED = (
    tarfile.TarError,
    EOFError,
    zlib.error,
    gzip.BadGzipFile,
    struct.error,
    ValueError,
    ArithmeticError,
    LookupError,
    RecursionError,
)
"""The errors of reading a damaged or hostile archive."""
_NO_FILE = {
    errno.ENOENT: "it is missing",
    errno.ELOOP: "it is a link, or not a regular file",
    errno.ENOTDIR: "it is a link, or not a regular file",
    errno.ENXIO: "it is a link, or not a regular file",
    errno.EINVAL: "it is not a regular file",
}
"""Why a member of an unpacked export is refused, by what the system answers."""


@contextmanager
def opened(source: Source, max_bytes: int) -> Iterator[tuple[str, Iterator[Member]]]:
    """Yield the name of the source for messages, and its members, the manifest last.

    Raises:
        StorageError: the source cannot be opened or read.
        ArchiveRefused: while the members are read: the archive is damaged or hostile.
    """
    if not isinstance(source, str | os.PathLike):
        name = getattr(source, "name", None)
        called = name if isinstance(name, str) else "the archive"
        yield called, _guarded(called, _tar_members(called, source, max_bytes))
        return
    path = paths.absolute(source, "import from")
    with ExitStack() as stack:
        try:
            if os.path.isdir(path):
                root = stack.enter_context(Directory(os.path.realpath(path)))
                members = _directory_members(path, root, max_bytes)
            else:
                file = stack.enter_context(open(path, "rb"))
                members = _tar_members(path, file, max_bytes)
        except OSError as error:
            raise StorageError("import from", path, error) from error
        yield path, _guarded(path, members)


def _guarded(called: str, members: Iterator[Member]) -> Iterator[Member]:
    """Yield the members; turn errors of reading into errors of this package."""
    while True:
        with readable(called):
            try:
                member = next(members)
            except StopIteration:
                return
        yield member


@contextmanager
def readable(called: str) -> Iterator[None]:
    """Turn the errors of reading from an archive into errors of this package."""
    try:
        yield
    except SessionStoreError:
        raise
    except _DAMAGED as error:
        said = str(error) or type(error).__name__
        raise ArchiveRefused(
            called, f"it is damaged, or it is not an archive of sessionstore ({said})"
        ) from error
    except OSError as error:
        raise StorageError("import from", called, error) from error


class _Budget:
    """The number of bytes that may still come."""

    def __init__(self, called: str, limit: int) -> None:
        self._called = called
        self._limit = limit
        self._left = limit

    def take(self, name: str, size: int) -> None:
        if size < 0:
            raise ArchiveRefused(self._called, "its size is negative", member=name)
        self._left -= size + _COST
        if self._left < 0:
            raise ArchiveRefused(
                self._called,
                f"it unpacks to more than the limit of {self._limit:,} bytes",
                member=name,
            )


# --- tar ----------------------------------------------------------------------------------------


def _tar_members(called: str, file: BinaryIO, max_bytes: int) -> Iterator[Member]:
    budget = _Budget(called, max_bytes)
    stream = _Forward(called, _unpacked(called, file))
    stream.allow(_HEADER)
    with tarfile.open(fileobj=cast("BinaryIO", stream), mode="r:") as tar:
        while True:
            stream.allow(_HEADER)
            entry = tar.next()
            if entry is None:
                break
            tar.members.clear()  # type: ignore[attr-defined]  # it would remember every one
            _check_entry(called, entry)
            budget.take(entry.name, entry.size)
            stream.allow(entry.size)
            if entry.isdir():
                yield Member(entry.name)
            else:
                yield Member(entry.name, entry.size, stream, bool(entry.mode & stat.S_IXUSR))
        # The end is zeros up to a whole record. Reading on lets gzip check its checksum.
        stream.allow(_HEADER)
        while piece := stream.read(1 << 16):
            if piece.strip(b"\0"):
                raise ArchiveRefused(called, "data follows the end of the archive")


def _unpacked(called: str, file: BinaryIO) -> BinaryIO:
    if not hasattr(file, "peek"):
        file = io.BufferedReader(cast("io.RawIOBase", _Borrowed(file)))
    magic = cast("io.BufferedReader", file).peek(2)[:2]
    if magic == b"\x1f\x8b":
        return cast("BinaryIO", gzip.GzipFile(fileobj=file, mode="rb"))
    if not magic:
        raise ArchiveRefused(called, "it is empty")
    return file


class _Borrowed(io.RawIOBase):
    """The caller's stream, read through a buffer that does not close it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what it gets
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Forward:
    """A stream that only goes forward, and only as far as allowed."""

    def __init__(self, called: str, stream: BinaryIO) -> None:
        self._called = called
        self._stream = stream
        self._at = 0
        self._until = 0

    def allow(self, count: int) -> None:
        """Allow to read up to ``count`` bytes from here on."""
        self._until = self._at + count

    def tell(self) -> int:
        return self._at

    def read(self, size: int, /) -> bytes:
        if size < 0 or self._at + size > self._until:
            size = max(self._until - self._at, 0) + 1
        parts: list[bytes] = []
        while size and (part := self._stream.read(min(size, archive.PIECE))):
            parts.append(part)
            size -= len(part)
            self._at += len(part)
            if self._at > self._until:
                raise ArchiveRefused(self._called, "one of its headers is too large")
        return b"".join(parts)

    def seek(self, place: int) -> int:
        if place < self._at:
            raise tarfile.ReadError("a header leads back in the file")
        while self._at < place and self.read(min(place - self._at, archive.PIECE)):
            pass
        return self._at


def _check_entry(called: str, entry: tarfile.TarInfo) -> None:
    """Refuse everything but plain files and directories. The caller checks the names."""
    name = entry.name
    if entry.issym() or entry.islnk() or entry.linkname:
        raise ArchiveRefused(called, "it is a link", member=name)
    if entry.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
        raise ArchiveRefused(called, "it is neither a file nor a directory", member=name)
    if entry.issparse():
        raise ArchiveRefused(called, "it is a sparse file, and an export has none", member=name)
    if entry.isdir() and entry.size:
        raise ArchiveRefused(called, "it is a directory with content", member=name)
    second_look = getattr(tarfile, "data_filter", None)  # Python 3.11.4 and newer
    if second_look is not None and second_look(entry, os.sep + "nowhere").name != name:
        raise ArchiveRefused(called, "its name is absolute", member=name)


# --- a directory --------------------------------------------------------------------------------


def _directory_members(called: str, root: Directory, max_bytes: int) -> Iterator[Member]:
    """Yield exactly what the manifest names, and then the manifest."""
    budget = _Budget(called, max_bytes)
    manifest = _read(called, root, MANIFEST, MAX_MANIFEST_BYTES)
    budget.take(MANIFEST, len(manifest))
    for session_id, listed in archive.parse(called, manifest).items():
        for name in listed.directories:
            budget.take(name, 0)
            yield Member(archive.place_of(session_id, name))
        for name, digest in listed.files.items():
            place = archive.place_of(session_id, name)
            budget.take(place, digest.size)
            with _opened_file(called, root, place) as (file, status):
                if status.st_size != digest.size:
                    raise ArchiveRefused(
                        called, "its size is not the one in the manifest", member=place
                    )
                executable = bool(status.st_mode & stat.S_IXUSR)
                yield Member(place, digest.size, file, executable)
    yield Member(MANIFEST, len(manifest), io.BytesIO(manifest))


def _read(called: str, root: Directory, name: str, limit: int) -> bytes:
    with _opened_file(called, root, name) as (file, status):
        if status.st_size > limit:
            raise ArchiveRefused(called, "it is too large", member=name)
        return b"".join(archive.pieces(file, limit))


@contextmanager
def _opened_file(
    called: str, root: Directory, name: str
) -> Iterator[tuple[BinaryIO, os.stat_result]]:
    """Yield a regular file below ``root``; no link on the way to it is followed."""
    try:
        file, status = open_below(root, name)
    except OSError as error:
        if reason := _NO_FILE.get(error.errno or 0):
            raise ArchiveRefused(called, reason, member=name) from None
        raise
    with file:
        yield cast("BinaryIO", file), status
