"""How a command ends: exit codes, and what a person is told to type after a refusal.

The advice in an error of the store names methods to call; a terminal needs commands to type.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any

import click

from sessionstore.cli import streams
from sessionstore.errors import (
    CheckpointNotFound,
    InvalidQuery,
    InvalidSessionId,
    NotResumable,
    RevisionConflict,
    SessionClaimed,
    SessionCorrupt,
    SessionEnded,
    SessionExists,
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
    """Some of the work was done, and some failed."""
    TIMED_OUT = 7
    """A wait timed out."""
    INTERRUPTED = 130
    """Ctrl-C, as shells count it: 128 + SIGINT."""


def exit_for(error: SessionStoreError) -> Exit:
    """Return the exit code of a refusal."""
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


def refused(error: SessionStoreError, command: str | None = None) -> Exit:
    """Report a refusal and what to type next; return its exit code.

    ``command`` is the command that was typed, by default the one that runs.
    """
    if command is None:
        command = click.get_current_context().info_name or ""
    advice = next((say(error, command) for kind, say in _SAID if isinstance(error, kind)), "")
    if advice:  # in place of the methods that the error names
        streams.error(error.fact)
        streams.warning(advice)
    else:
        streams.error(str(error))
    return exit_for(error)


def combined(codes: Sequence[Exit]) -> Exit:
    """Return 0 if all went well, 6 if some did, else the code that the failures share, or 1.

    If all failures are timeouts the code is 7, also if others went well.
    """
    failures = {code for code in codes if code is not Exit.OK}
    if not failures:
        return Exit.OK
    if failures == {Exit.TIMED_OUT}:
        return Exit.TIMED_OUT
    if Exit.OK in codes:
        return Exit.PARTLY
    return failures.pop() if len(failures) == 1 else Exit.ERROR


def _not_found(error: SessionNotFound, _command: str) -> str:
    nearest: list[str] = getattr(error, "__notes__", [])
    return "; ".join([*nearest, "to list sessions: sessionstore ls"])


def _claimed(error: SessionClaimed, command: str) -> str:
    name = error.session_id
    if error.is_unknown:
        force = f", or {command} it with --force" if command in ("mark", "retry", "delete") else ""
        return (
            "if you know that its process is gone:"
            f" sessionstore recover --apply --assume-dead {name}{force}"
        )
    if command == "cancel":  # its process cannot be asked
        return f"what can be done: sessionstore explain {name}"
    return f"to ask that process to end it: sessionstore cancel {name}"


def _corrupt(error: SessionCorrupt, command: str) -> str:
    force = "; to delete it anyway: --force" if command == "delete" else ""
    return (
        f"what is left of it: sessionstore explain {error.session_id};"
        f" to repair it: sessionstore fsck --repair{force}"
    )


def _not_resumable(error: NotResumable, command: str) -> str:
    if isinstance(error, SessionEnded) or command == "retry":
        return f"what can be done: sessionstore explain {error.session_id}"
    name = error.session_id
    if not error.available:
        return f"no checkpoint of it can be used; what was saved: sessionstore show {name}"
    typed = f"diff {name} A B" if command == "diff" else f"{command} {name} --at CHECKPOINT"
    named = ", ".join(error.available[-3:])
    return f"choose a state: sessionstore {typed}; available: {named}"


_SAID: list[tuple[type[SessionStoreError], Callable[[Any, str], str]]] = [
    (SessionNotFound, _not_found),
    (
        CheckpointNotFound,
        lambda error, _: f"its checkpoints: sessionstore history {error.session_id}",
    ),
    (SessionExists, lambda _, command: "choose another id: --as NEW" if command == "fork" else ""),
    (SessionClaimed, _claimed),
    (
        RevisionConflict,
        lambda error, _: (
            "it changed in the meantime and was not touched; look again:"
            f" sessionstore show {error.session_id}"
        ),
    ),
    (SessionCorrupt, _corrupt),
    (NotResumable, _not_resumable),
]
"""What to type next, by the kind of error."""
