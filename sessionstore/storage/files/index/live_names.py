"""Name a session as live before its file changes: all that a writer does for an index.

An index is a directory ``index-<format>-<16 hex>/`` in the root of the store. In it an empty file
``live/<session id>`` means that the row of that session does not count, and the file ``sessions``
holds what ``sessions/`` looked like after one of ours moved a session in or out. A writer opens no
database. It serves every index that is there, whatever its format, so that each stays true.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from sessionstore.model.chance import random_hex
from sessionstore.storage.files import lock as locks
from sessionstore.storage.files.layout import Layout

_INDEX = re.compile(r"index-[0-9]+-[0-9a-f]{16}", re.ASCII)
_LIVE = "live"
_SESSIONS = "sessions"
_FOLDING = "+"
"""Between a session's id, which never has it, and the random number of a name that is folded."""
_FLAGS = (
    os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
)  # fmt: skip
_PATIENCE = 2.0
"""Seconds that a move waits for another one, which takes microseconds unless it was stopped."""
_OFFSET = 1  # Windows lets nobody else read the locked byte, which is the first one


def index_directories(layout: Layout) -> list[str]:
    """Return the paths of all indexes of the store.

    Raises:
        OSError: the root cannot be listed: then nobody knows whether there is one.
    """
    try:
        names = os.listdir(layout.root)
    except FileNotFoundError:
        return []
    return [os.path.join(layout.root, name) for name in sorted(filter(_INDEX.fullmatch, names))]


def prepare(index: str, layout: Layout) -> None:
    """Make what writers need in a new index, before it gets its place."""
    os.mkdir(os.path.join(index, _LIVE), 0o700)
    record_sessions(index, layout)


# --- writers ------------------------------------------------------------------------------------


def add(layout: Layout, session_id: str) -> None:
    """Name a session, whose lock is held, as live: its file is about to change.

    Raises:
        OSError: it cannot be named, or it cannot be known whether there is an index.
    """
    for index in index_directories(layout):
        add_to(index, session_id)


def add_to(index: str, session_id: str) -> None:
    """Name a session as live in one index.

    Raises:
        OSError: it cannot be named.
    """
    with suppress(FileNotFoundError, NotADirectoryError):  # it is being removed
        os.close(os.open(os.path.join(index, _LIVE, session_id), _FLAGS, 0o600))


@contextmanager
def recorded_move(layout: Layout, session_id: str) -> Iterator[bool]:
    """Let the block move a session, whose lock is held, into ``sessions/`` or out of it.

    Gives whether the session is named as live.

    Where the session cannot be named, as on a full disk, or another process was stopped in the
    middle of its own move, the move is not recorded: then the next listing compares all.

    Raises:
        OSError: it cannot be known whether there is an index; nothing was moved.
    """
    with ExitStack() as stack:
        is_live = True
        for index in index_directories(layout):
            is_live &= stack.enter_context(_recorded(index, layout, session_id))
        yield is_live


@contextmanager
def _recorded(index: str, layout: Layout, session_id: str) -> Iterator[bool]:
    is_named = False
    with suppress(OSError):
        add_to(index, session_id)
        is_named = True
    # All other processes of ours are kept out, so that whatever else changes sessions/ meanwhile
    # is somebody else, of whom nothing must be recorded.
    with locks.locked(os.path.join(index, _SESSIONS), timeout=_PATIENCE) as file:
        is_known = is_named and file is not None and _read(file) == _identity(layout)
        yield is_named
        if file is not None and is_known:
            with suppress(OSError):  # the session was moved: that it is not recorded is no failure
                _write(file, _identity(layout))


# --- those who list -----------------------------------------------------------------------------


def names(index: str) -> dict[str, list[str]]:
    """Return the ids of the live sessions of an index, each with its names.

    Raises:
        OSError: the index is damaged, or gone.
    """
    found: dict[str, list[str]] = {}
    for name in os.listdir(os.path.join(index, _LIVE)):
        found.setdefault(name.partition(_FOLDING)[0], []).append(name)
    return found


def take(index: str, given: list[str]) -> list[str]:
    """Rename the names of a session so that no writer relies on them; return what is left of them.

    A writer that needs a name from now on makes it anew.
    """
    taken = []
    for name in given:
        if _FOLDING in name:  # another fold did it, or died after that
            taken.append(name)
            continue
        new = f"{name}{_FOLDING}{random_hex(8)}"
        try:
            os.rename(os.path.join(index, _LIVE, name), os.path.join(index, _LIVE, new))
        except OSError:
            continue  # another fold was faster
        taken.append(new)
    return taken


def remove(index: str, taken: list[str]) -> None:
    """Remove names that were taken."""
    for name in taken:
        try:
            os.unlink(os.path.join(index, _LIVE, name))
        except OSError:  # another fold was faster; or it stays, and the file is read again
            continue


def is_recorded(index: str, layout: Layout) -> bool:
    """Return whether all that changed ``sessions/`` was recorded.

    Raises:
        OSError: the index is damaged, or gone.
    """
    path = os.path.join(index, _SESSIONS)
    with io.FileIO(path) as file:
        if _read(file) == _identity(layout):
            return True
    # One of ours may be between the move and its record: this waits for it.
    with locks.locked(path, timeout=_PATIENCE) as locked:
        return locked is not None and _read(locked) == _identity(layout)


def record_sessions(index: str, layout: Layout) -> bool:
    """Record what ``sessions/`` looks like now; return whether that could be done."""
    with locks.locked(os.path.join(index, _SESSIONS), timeout=_PATIENCE, create=True) as file:
        if file is None:
            return False
        _write(file, _identity(layout))
        return True


def _identity(layout: Layout) -> bytes:
    """Return what changes whenever a session comes or goes, or all are replaced."""
    try:
        status = os.stat(layout.sessions)
    except OSError:
        return b"none"
    return b"%d:%d:%d" % (status.st_dev, status.st_ino, status.st_ctime_ns)


def _read(file: io.FileIO) -> bytes:
    file.seek(_OFFSET)
    return file.read(128).rstrip()


def _write(file: io.FileIO, identity: bytes) -> None:
    file.seek(0)
    # Of one length, and in one call: a process that dies leaves the one or the other.
    file.write(b"\n" + identity.ljust(100) + b"\n")
