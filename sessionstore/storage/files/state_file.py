"""Read state and checkpoint files, telling damage from absence and from trouble of the system."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from sessionstore.durable.directory import Directory, Signature
from sessionstore.errors import SessionCorrupt, SessionStoreError, StorageError
from sessionstore.model.ids import is_id
from sessionstore.model.limits import MAX_STATE_BYTES

_DAMAGE = {
    errno.ELOOP: "it is a symbolic link, which is not followed",
    errno.ENOTDIR: "it is no directory, or a symbolic link, which is not followed",
    errno.EISDIR: "it is a directory",
    errno.ENXIO: "it is a socket or device, not a regular file",
}


def read_regular(directory: Directory, name: str, limit: int) -> tuple[bytes, Signature]:
    """Return the bytes of the regular file ``name`` and their signature.

    Raises:
        OSError: it is missing, a link (ELOOP), not a regular file (EINVAL), or larger than
            ``limit`` bytes (EFBIG).
    """
    fd = directory.open(name, os.O_RDONLY)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, f"not a regular file but {_kind(status.st_mode)}")
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"{status.st_size:,} bytes are more than {limit:,}")
        data = os.read(fd, status.st_size + 1)
        if len(data) != status.st_size:
            data = _read_on(fd, data, limit)
        return data, Signature.of(status)
    finally:
        os.close(fd)


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


def _kind(mode: int) -> str:
    for test, kind in (
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISLNK, "a symbolic link"),
    ):
        if test(mode):
            return kind
    return "a device"


def read(directory: Directory, name: str, session_id: str) -> tuple[bytes, Signature]:
    """Return the bytes and signature of a state or checkpoint file.

    Raises:
        FileNotFoundError: there is none.
        SessionCorrupt: it is something else than a regular file of a bearable size.
        OSError: the system refused.
    """
    try:
        return read_regular(directory, name, MAX_STATE_BYTES)
    except OSError as error:
        if damage := describe_damage(error):
            file = os.path.join(directory.path, name)
            raise SessionCorrupt(session_id, file, damage) from None
        raise


def describe_damage(error: OSError) -> str | None:
    """Return what is wrong with the file, or None if the trouble is the system's."""
    if error.errno in (errno.EINVAL, errno.EFBIG):
        return error.strerror
    return _DAMAGE.get(error.errno or 0)


@contextmanager
def storage_errors(action: str, path: str) -> Iterator[None]:
    """Turn an OSError of the block into a StorageError that names ``action`` and ``path``."""
    try:
        yield
    except SessionStoreError:
        raise
    except OSError as error:
        raise StorageError(action, path, error) from error


def checkpoint_ids(directory: Directory, session_id: str) -> list[str]:
    """Return the ids of the checkpoints in a session's directory, in any order.

    Raises:
        SessionCorrupt: checkpoints/ is no directory.
        OSError: the system refused.
    """
    try:
        with Directory("checkpoints", directory) as checkpoints:
            names = checkpoints.names()
    except FileNotFoundError:
        return []
    except OSError as error:
        if damage := describe_damage(error):
            file = os.path.join(directory.path, "checkpoints")
            raise SessionCorrupt(session_id, file, damage) from None
        raise
    found = (name.removesuffix(".json") for name in names if name.endswith(".json"))
    # index.json is the original framework's own list of them.
    return [name for name in found if name != "index" and is_id(name)]
