"""Name a session as live before its file changes: all that a writer does for an index.

An index is a directory ``index-<format>-<16 hex>/`` in the root of the store. In it an empty file
``live/<session id>`` means that the row of that session does not count, and the file ``sessions``
holds what ``sessions/`` looked like after one of ours moved a session in or out. A writer opens no
database. It serves every index that is there, whatever its format, so that each stays true.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from sessionstore.durable import making, replace
from sessionstore.model.ids import random_hex
from sessionstore.storage.files import lock as locks
from sessionstore.storage.files.index import index_directory
from sessionstore.storage.files.layout import Layout

_LIVE = "live"
_SESSIONS = "sessions"
_OF = "+"
"""Between a session's id, which never has it, and what makes a name one of a kind."""
_PATIENCE = 2.0
"""Seconds that a move waits for another one, which takes microseconds unless it was stopped."""
_OFFSET = 1  # Windows lets nobody else read the locked byte, which is the first one


def directory(index: str) -> str:
    """Return the path of the names of live sessions in an index."""
    return os.path.join(index, _LIVE)


def prepare(index: str, layout: Layout) -> None:
    """Make what writers need in a new index, before it gets its place."""
    making.make_directory(directory(index))
    record_sessions(index, layout)


# --- writers ------------------------------------------------------------------------------------


def add(layout: Layout, session_id: str, token: str) -> None:
    """Name a session as live: its file is about to change, under the claim of ``token``.

    Raises:
        OSError: it cannot be known whether there is an index.
    """
    for index in index_directory.paths(layout):
        try:
            _add_claim(index, layout, session_id, token)
        except OSError as error:
            index_directory.discard(layout, index, error)


def add_to(index: str, name: str) -> None:
    """Make a name of a live session in one index: its id alone, on which others may rely.

    Raises:
        OSError: it cannot be made.
    """
    with suppress(FileNotFoundError, NotADirectoryError):  # it is being removed
        os.close(making.open_or_make(os.path.join(index, _LIVE, name)))


def _add_claim(index: str, layout: Layout, session_id: str, token: str) -> None:
    # Who folds a name of this version's need not rename it, as no other claim relies on it. Where
    # another version folds, and perhaps never does, one name for each session has to do.
    name = of_claim(session_id, token) if index_directory.is_ours(index) else session_id
    try:
        # A second name of the lock file: a file of its own takes ext4 up to 30 times as long while
        # many others are being removed, as it looks for an inode that was not used just now.
        os.link(layout.lock(session_id), f"{index}/{_LIVE}/{name}")
    except FileExistsError:
        pass
    except OSError:  # there are no links here, or somebody removed the lock file
        add_to(index, name)


@contextmanager
def recorded_move(layout: Layout, session_id: str, token: str) -> Iterator[bool]:
    """Let the block move a session into ``sessions/`` or out of it, under the claim of ``token``.

    Gives whether the session is named as live.

    Where the session cannot be named, as on a full disk, or another process was stopped in the
    middle of its own move, the move is not recorded: then the next listing compares all.

    Raises:
        OSError: it cannot be known whether there is an index; nothing was moved.
    """
    with ExitStack() as stack:
        is_live = True
        for index in index_directory.paths(layout):
            is_live &= stack.enter_context(_recorded(index, layout, session_id, token))
        yield is_live


@contextmanager
def _recorded(index: str, layout: Layout, session_id: str, token: str) -> Iterator[bool]:
    is_named = False
    with suppress(OSError):
        _add_claim(index, layout, session_id, token)
        is_named = True
    # Race: Move that nobody records. The lock keeps out all other processes of this package. Any
    # other change of sessions/ is then somebody else's, and must not be recorded.
    with locks.locked(os.path.join(index, _SESSIONS), timeout=_PATIENCE) as file:
        is_known = False
        with suppress(OSError):
            is_known = is_named and file is not None and _read(file) == _identity(layout)
        yield is_named
        if file is not None and is_known:
            with suppress(OSError):
                _write(file, _identity(layout))


# --- those who list -----------------------------------------------------------------------------


def names(index: str) -> dict[str, list[str]]:
    """Return the ids of the live sessions of an index, each with its names.

    Raises:
        OSError: the index is damaged, or gone.
    """
    found: dict[str, list[str]] = {}
    for name in os.listdir(os.path.join(index, _LIVE)):
        found.setdefault(name.partition(_OF)[0], []).append(name)
    return found


def take(index: str, given: list[str]) -> list[str]:
    """Return the names of a session on which no writer will rely any more.

    One that is its id alone is renamed for that: who needs such a name then makes it anew.
    """
    taken = []
    for name in given:
        new = name
        if _OF not in name:
            new = f"{name}{_OF}{random_hex(8)}"
            try:
                os.rename(os.path.join(index, _LIVE, name), os.path.join(index, _LIVE, new))
            except OSError:
                continue  # another fold was faster
        taken.append(new)
    return taken


def of_claim(session_id: str, token: str) -> str:
    """Return the name that a claim has given its session."""
    return f"{session_id}{_OF}{token}"


def drop(index: str, taken: list[str]) -> None:
    """Remove names that were taken."""
    for name in taken:
        # Another fold was faster; or it stays, and the file is read again.
        with suppress(OSError):
            os.unlink(os.path.join(index, _LIVE, name))


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


def record_sessions(index: str, layout: Layout) -> None:
    """Record what ``sessions/`` looks like now.

    Raises:
        OSError: it cannot be recorded, or another process was stopped in the middle of a move.
    """
    path = os.path.join(index, _SESSIONS)
    with locks.locked(path, timeout=_PATIENCE, create=True) as file:
        if file is None:
            raise TimeoutError(errno.ETIMEDOUT, "it cannot be locked", path)
        _write(file, _identity(layout))


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
    # Of one length: a process that dies leaves the old, the new, or what is like neither.
    replace.write_all(file.fileno(), b"\n" + identity.ljust(100) + b"\n")
