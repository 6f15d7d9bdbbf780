"""Read the files that the application keeps in the directory of a session."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO, cast

from sessionstore.durable.directory import Directory
from sessionstore.durable.regular_file import open_below
from sessionstore.durable.replace import is_temporary
from sessionstore.storage.files.layout import JOURNALS, STATE
from sessionstore.storage.files.state_file import storage_errors
from sessionstore.storage.files.usage import is_checkpoint, is_journal, walk
from sessionstore.storage.values import ApplicationFile


def application_files(directory: Directory) -> Iterator[ApplicationFile]:
    """Yield everything in a session's directory that the store does not keep itself."""
    for _, place, name, status in walk(directory):
        if _belongs_to_the_store(place, name):
            continue
        mode = status.st_mode
        yield ApplicationFile(
            f"{place}/{name}" if place else name,
            is_directory=stat.S_ISDIR(mode),
            is_executable=stat.S_ISREG(mode) and bool(mode & stat.S_IXUSR),
            mtime=max(0, int(status.st_mtime)),
            omitted=None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else _kind(mode),
        )


def _belongs_to_the_store(place: str, name: str) -> bool:
    if is_temporary(place.partition("/")[0]):  # below a directory that is being written
        return True
    if place not in ("", "checkpoints", JOURNALS):
        return False
    if is_temporary(name):
        return True
    if place:
        return is_journal(name) if place == JOURNALS else is_checkpoint(name)
    return name in (STATE, "checkpoints", JOURNALS)


def _kind(mode: int) -> str:
    return "a symbolic link" if stat.S_ISLNK(mode) else "a FIFO, socket or device"


def open_file(directory: Directory, name: str) -> BinaryIO:
    """Open the regular file ``name``, a path with ``/``, below ``directory``."""
    with storage_errors("read", os.path.join(directory.path, name)):
        try:
            file, _ = open_below(directory, name)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
                raise FileNotFoundError(errno.ENOENT, "it was removed or replaced") from None
            if error.errno == errno.EINVAL:
                raise FileNotFoundError(errno.ENOENT, "it was replaced by something else") from None
            raise
        return cast("BinaryIO", file)
