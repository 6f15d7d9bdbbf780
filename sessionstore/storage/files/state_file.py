"""Read state and checkpoint files; tell damage, absence and refusals of the system apart."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Collection
from contextlib import AbstractContextManager

from sessionstore.durable.directory import Directory, Signature
from sessionstore.durable.regular_file import read_regular
from sessionstore.durable.replace import is_temporary
from sessionstore.errors import SessionCorrupt, SessionStoreError
from sessionstore.model.ids import is_id
from sessionstore.model.stored import MAX_STATE_BYTES
from sessionstore.storage.files import root
from sessionstore.storage.files.layout import STATE

_LOOKS, _PAUSE = 40, 0.005
"""How often, and every how many seconds, to look for a state that FUSE is about to replace."""

_DAMAGE = {
    errno.ELOOP: "it is a symbolic link, which is not followed",
    errno.ENOTDIR: "it is not a directory, or it is a symbolic link, which is not followed",
    errno.EISDIR: "it is a directory",
    errno.ENXIO: "it is a socket or device, not a regular file",
}


def read(directory: Directory, name: str, session_id: str) -> tuple[bytes, Signature]:
    """Return the bytes and signature of a state or checkpoint file.

    Raises:
        FileNotFoundError: there is none.
        SessionCorrupt: it is not a regular file, or too large.
        OSError: the system refused.
    """
    try:
        return read_regular(directory, name, MAX_STATE_BYTES)
    except OSError as error:
        if damage := describe_damage(error):
            file = os.path.join(directory.path, name)
            raise SessionCorrupt(session_id, file, damage) from None
        raise


def read_state(directory: Directory, session_id: str) -> tuple[bytes, Signature] | None:
    """Return the bytes and signature of a session's state; None if the directory holds no session.

    Raises:
        FileNotFoundError: the state is missing; what else is there shows that there was one.
        SessionCorrupt: it is not a regular file, or too large.
        OSError: the system refused.
    """
    for _ in range(_LOOKS):
        try:
            return read(directory, STATE, session_id)
        except FileNotFoundError:
            names = directory.names()
            if not _is_replaced_by_fuse(names):
                if not _held_session(directory, names):
                    return None
                break
        time.sleep(_PAUSE)
    # Race: Create in a directory that is read. The state came first, so it is there by now.
    return read(directory, STATE, session_id)


def holds_session(path: str) -> bool:
    """Return whether the directory ``path`` holds a session, damaged or not.

    One with neither a state nor a trace of one was made by the application, before its create.
    """
    if os.path.lexists(os.path.join(path, STATE)):
        return True
    try:
        with Directory(path) as directory:
            return _held_session(directory, directory.names())
    except FileNotFoundError:
        return False
    except OSError:  # in doubt it may be damaged, and is not hidden
        return True


def _is_replaced_by_fuse(names: Collection[str]) -> bool:
    """Return whether a FUSE file system replaces a state that somebody has open, or just did."""
    # Race: Replace on FUSE. libfuse renames such a file before it moves the new one in: for an
    # instant there is none of its name. A listing after that instant has the new one.
    return any(name == STATE or name.startswith(".fuse_hidden") for name in names)


def _held_session(directory: Directory, names: Collection[str]) -> bool:
    """Return whether a directory without a state has a checkpoint or an unfinished write.

    Create builds aside, so that it leaves neither.
    """
    if any(map(is_temporary, names)) or _is_replaced_by_fuse(names):
        return True
    if "checkpoints" not in names:
        return False
    try:
        with Directory("checkpoints", directory) as checkpoints:
            return any(name.endswith(".json") or is_temporary(name) for name in checkpoints.names())
    except FileNotFoundError:
        return False
    except OSError as error:
        if describe_damage(error):  # a file or link in the place of the directory
            return True
        raise


def describe_damage(error: OSError) -> str | None:
    """Return what is wrong with the file, or None if the system refused."""
    if error.errno in (errno.EINVAL, errno.EFBIG):
        return error.strerror
    return _DAMAGE.get(error.errno or 0)


def storage_errors(action: str, path: str) -> AbstractContextManager[None]:
    """Turn an OSError of the block into a StorageError that names ``action`` and ``path``."""
    return _StorageErrors(action, path)


class _StorageErrors:
    """A class, because each append would pay for a generator as much as for a system call."""

    __slots__ = ("_action", "_path")

    def __init__(self, action: str, path: str) -> None:
        self._action = action
        self._path = path

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, SessionStoreError):
            raise root.closed(self._action, self._path, error) from error


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
