"""Read the files that the application keeps in the directory of a session."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from typing import BinaryIO

from sessionstore.durable.directory import Directory
from sessionstore.durable.replace import TEMPORARY_PREFIX
from sessionstore.storage.backend import ApplicationFile
from sessionstore.storage.files.layout import STATE
from sessionstore.storage.files.state_file import storage_errors
from sessionstore.storage.files.usage import is_checkpoint, walk


def application_files(directory: Directory) -> Iterator[ApplicationFile]:
    """Yield what is in a session's directory besides states, checkpoints and left-overs."""
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
    if place.startswith(TEMPORARY_PREFIX):  # below a directory that is being written
        return True
    if place not in ("", "checkpoints"):
        return False
    if name.startswith(TEMPORARY_PREFIX):
        return True
    return is_checkpoint(name) if place else name in (STATE, "checkpoints")


def _kind(mode: int) -> str:
    return "a symbolic link" if stat.S_ISLNK(mode) else "a FIFO, socket or device"


def open_file(directory: Directory, name: str) -> BinaryIO:
    """Open the regular file ``name``, a path with ``/``, below ``directory``."""
    *places, last = name.split("/")
    with storage_errors("read", os.path.join(directory.path, name)), ExitStack() as stack:
        try:
            for place in places:
                directory = stack.enter_context(Directory(place, directory))
            fd = directory.open(last, os.O_RDONLY)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
                raise FileNotFoundError(errno.ENOENT, "it was removed or replaced") from None
            raise
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise FileNotFoundError(errno.ENOENT, "it was replaced by something else")
        return os.fdopen(fd, "rb", buffering=0)
