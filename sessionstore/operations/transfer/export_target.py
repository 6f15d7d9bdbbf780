"""The target of an export: a file, a directory or a stream, complete or not there at all."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Self

from sessionstore.durable import paths, replace
from sessionstore.durable.directory import Directory, flush, made_below
from sessionstore.errors import InvalidQuery, SessionStoreError, StorageError
from sessionstore.operations.transfer.archive import Target, pieces
from sessionstore.text import printable

_LEVEL = 6  # the default of gzip
_SLASHES = tuple({os.sep, os.altsep or os.sep})
_ARCHIVES = (".tar", ".tar.gz", ".tgz")
_OTHERS = (
    *(".zip", ".7z", ".rar", ".jar", ".cpio", ".gz", ".bz2", ".xz", ".zst", ".lz", ".lz4", ".lzma"),
    *(".tbz", ".tbz2", ".txz", ".tzst", ".tlz", ".taz", ".z", ".br"),
)
"""Suffixes of other archives: nobody who uses one wants a directory."""
_LONGEST_NAME = 200
"""Bytes of a name that fit behind a temporary name, within 255 bytes."""

Place = str | os.PathLike[str] | BinaryIO
"""A path, or a binary file that is open for writing."""


@contextmanager
def opened(place: Place) -> Iterator[Target]:
    """Yield the target; it appears under its name when the block ends without an exception.

    A name in ``.tar`` makes a tar archive, one in ``.tar.gz`` or ``.tgz`` a compressed one. Any
    other name, and one that ends in a slash, makes a directory. An open file gets a compressed tar
    archive, and its own errors come through unchanged.

    Raises:
        InvalidQuery: the name is one of another kind of archive.
        StorageError: the name is taken, or the system refused.
    """
    if not isinstance(place, str | os.PathLike):
        with _TarTarget(place, compressed=True) as target:
            yield target
        return
    given = os.fspath(place)
    path = paths.absolute(given, "export to")
    parent, name = os.path.split(path)
    is_directory = given.endswith(_SLASHES) or not name.lower().endswith(_ARCHIVES)
    if is_directory and not given.endswith(_SLASHES):
        _refuse_others(name)
    try:
        with (
            Directory(os.path.realpath(parent), in_store=False) as directory,
            _aside(directory, name, is_directory=is_directory) as target,
        ):
            yield target
    except OSError as error:
        if isinstance(error, SessionStoreError):
            raise
        if not os.path.isdir(parent):
            reason = f"there is no directory {printable(parent, limit=400)}: make it first"
            raise StorageError("export to", path, reason) from None
        raise StorageError("export to", path, error) from error


def _refuse_others(name: str) -> None:
    found = next((suffix for suffix in _OTHERS if name.lower().endswith(suffix)), None)
    if found is not None:
        stem = name[: -len(found)]
        if stem.lower().endswith(".tar"):
            stem = stem[: -len(".tar")]
        raise InvalidQuery(
            "target",
            f"an export is not written as {found}: name it {stem}.tar.gz, {stem}.tgz or {stem}.tar,"
            f" or {stem} for a directory",
        )


@contextmanager
def _aside(parent: Directory, name: str, *, is_directory: bool) -> Iterator[Target]:
    if name in parent.names():
        raise FileExistsError(errno.EEXIST, "it exists already: choose another name")
    aside = _aside_name(name)
    try:
        if not is_directory:
            fd = parent.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            with os.fdopen(fd, "wb") as file:
                with _TarTarget(file, compressed=not name.lower().endswith(".tar")) as target:
                    yield target
                file.flush()
                flush(file.fileno())
        else:
            parent.make_directory(aside)
            with Directory(aside, parent) as root:
                yield _DirectoryTarget(root)
                root.flush()
        replace.move_new(parent, aside, parent, name)
        parent.flush()
    finally:
        path = os.path.join(parent.path, aside)
        shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):
            os.unlink(path)


def _aside_name(name: str) -> str:
    """Return a name that nobody can predict, and that ends in the name of the target.

    After a ``kill -9`` the file stays: no sweep looks here.
    """
    called = os.fsdecode(os.fsencode(name)[:_LONGEST_NAME])
    return f"{replace.temporary_name()}-{called}"


class _TarTarget:
    """A tar archive."""

    def __init__(self, stream: BinaryIO, *, compressed: bool) -> None:
        self._packed = (
            # Without name and time, so that the same sessions give the same bytes.
            gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=stream, mtime=0)
            if compressed
            else None
        )
        self._tar = tarfile.open(  # noqa: SIM115 - closed with the target
            fileobj=self._packed or stream, mode="w", format=tarfile.PAX_FORMAT
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is None:
            self._tar.close()
            if self._packed is not None:
                self._packed.close()
        elif self._packed is not None:
            with suppress(OSError, ValueError):  # the first error matters
                self._packed.close()

    def add(self, name: str, content: BinaryIO, size: int, mtime: int, executable: bool) -> None:
        entry = self._entry(name, mtime)
        entry.size = size
        entry.mode = 0o700 if executable else 0o600
        self._tar.addfile(entry, content)
        self._tar.members.clear()  # type: ignore[attr-defined]  # tarfile would remember every member

    def add_directory(self, name: str, mtime: int) -> None:
        entry = self._entry(name, mtime)
        entry.type = tarfile.DIRTYPE
        entry.mode = 0o700
        self._tar.addfile(entry)

    def _entry(self, name: str, mtime: int) -> tarfile.TarInfo:
        entry = tarfile.TarInfo(name)  # owned by 0, which an import ignores
        entry.mtime = mtime
        return entry


class _DirectoryTarget:
    """A directory."""

    def __init__(self, root: Directory) -> None:
        self._root = root

    def add(self, name: str, content: BinaryIO, size: int, mtime: int, executable: bool) -> None:
        *places, last = name.split("/")
        with made_below(self._root, places) as directory:
            replace.write_pieces(
                directory, last, pieces(content, size), is_executable=executable, mtime=mtime
            )

    def add_directory(self, name: str, mtime: int) -> None:
        del mtime  # files that are added to it set another
        with made_below(self._root, name.split("/")):
            pass
