"""Exit codes: what a script can tell from the way that a command ended."""

from __future__ import annotations

from enum import IntEnum

from sessionstore.errors import (
    CheckpointNotFound,
    InvalidQuery,
    InvalidSessionId,
    SessionClaimed,
    SessionCorrupt,
    SessionNotFound,
    SessionStoreError,
    StorageError,
    WatchTimedOut,
)


class Exit(IntEnum):
    """The exit codes of every command."""

    OK = 0
    ERROR = 1
    USAGE = 2
    NOT_FOUND = 3
    """No such session, or no store."""
    CLAIMED = 4
    """A live process holds the session."""
    DAMAGE = 5
    """Damage was found; it was left as it is."""
    PARTLY = 6
    """Some of what was asked for was done, and some could not be."""
    TIMED_OUT = 7
    """What was waited for did not come in time."""
    INTERRUPTED = 130
    """Ctrl-C, as shells count it: 128 + SIGINT."""


def exit_for(error: SessionStoreError) -> Exit:
    """Return the exit code that says what kind of refusal ``error`` is."""
    if isinstance(error, SessionNotFound | CheckpointNotFound):
        return Exit.NOT_FOUND
    if isinstance(error, SessionClaimed):
        return Exit.CLAIMED
    if isinstance(error, SessionCorrupt):
        return Exit.DAMAGE
    if isinstance(error, WatchTimedOut):
        return Exit.TIMED_OUT
    if isinstance(error, InvalidQuery | InvalidSessionId):
        return Exit.USAGE
    if isinstance(error, StorageError) and isinstance(error.__cause__, FileNotFoundError):
        return Exit.NOT_FOUND
    return Exit.ERROR
