"""Open and read regular files: no link is followed, no FIFO waited for, no size believed.

Whoever can write into a store can put a link, a FIFO, a device or a huge file where a state should
be. Every file of a store, and of an export, is opened here.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack
from io import FileIO

from sessionstore.durable.directory import Directory, Signature


def open_regular(directory: Directory, name: str) -> tuple[int, os.stat_result]:
    """Open the regular file ``name`` for reading; return its descriptor and its status.

    Raises:
        OSError: the file is missing, a link (ELOOP), or not a regular file (EINVAL).
    """
    fd = directory.open(name, os.O_RDONLY)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, f"not a regular file but {kind_of(status.st_mode)}")
    except BaseException:
        os.close(fd)
        raise
    return fd, status


def open_below(directory: Directory, path: str) -> tuple[FileIO, os.stat_result]:
    """Open the regular file ``path``, names joined by ``/``, and follow no link on the way.

    Raises:
        OSError: as :func:`open_regular`; ENOTDIR or ELOOP for a directory that is none.
    """
    *places, last = path.split("/")
    with ExitStack() as stack:
        for place in places:
            directory = stack.enter_context(Directory(place, directory))
        fd, status = open_regular(directory, last)
    return FileIO(fd), status


def read_regular(directory: Directory, name: str, limit: int) -> tuple[bytes, Signature]:
    """Return the bytes of the regular file ``name`` and their signature.

    Raises:
        OSError: as :func:`open_regular`; EFBIG for more than ``limit`` bytes.
    """
    fd, status = open_regular(directory, name)
    try:
        if status.st_size > limit and _has_bytes_from(fd, limit):
            raise OSError(errno.EFBIG, f"{status.st_size:,} bytes are more than {limit:,}")
        data = os.read(fd, min(status.st_size, limit) + 1)
        if len(data) != status.st_size:
            data = _read_on(fd, data, limit)
        return data, Signature.of(status)
    finally:
        os.close(fd)


def _has_bytes_from(fd: int, limit: int) -> bool:
    """Return whether there is a byte at ``limit``, whatever size the file system tells.

    gocryptfs answers a link with the size of the encrypted file, and the kernel tells that size
    for a second.
    """
    os.lseek(fd, limit, os.SEEK_SET)
    found = os.read(fd, 1)
    os.lseek(fd, 0, os.SEEK_SET)
    return bool(found)


def _read_on(fd: int, data: bytes, limit: int) -> bytes:
    """Read to the end: a short read, or a file that grows because someone writes it in place."""
    pieces = [data]
    total = len(data)
    while piece := os.read(fd, 1 << 20):
        pieces.append(piece)
        total += len(piece)
        if total > limit:
            raise OSError(errno.EFBIG, f"more than {limit:,} bytes")
    return b"".join(pieces)


def kind_of(mode: int) -> str:
    """Return what a file that is not regular is, in words."""
    for test, kind in (
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISLNK, "a symbolic link"),
    ):
        if test(mode):
            return kind
    return "a device"
