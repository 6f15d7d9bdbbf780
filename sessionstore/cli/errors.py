"""How a command ends: exit codes, and what a person is told to type after a refusal.

The advice in an error of the store names methods to call, which helps nobody at a terminal.
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


def refused(error: SessionStoreError, command: str | None = None) -> Exit:
    """Say why something was refused and what to type next; return the exit code for that.

    ``command`` is the one that was typed; by default the one that runs.
    """
    if command is None:
        command = click.get_current_context().info_name or ""
    advice = next((say(error, command) for kind, say in _SAID if isinstance(error, kind)), "")
    if advice:  # in the place of what the error says to those who call
        streams.error(error.fact)
        streams.warning(advice)
    else:
        streams.error(str(error))
    return exit_for(error)


def combined(codes: Sequence[Exit]) -> Exit:
    """Return 0 if all went well, 6 if some did, else what the failures share, or 1.

    That something did not come in time counts for more than that the others did.
    """
    failures = {code for code in codes if code is not Exit.OK}
    if not failures:
        return Exit.OK
    if failures == {Exit.TIMED_OUT}:
        return Exit.TIMED_OUT
    if Exit.OK in codes:
        return Exit.PARTLY
    return failures.pop() if len(failures) == 1 else Exit.ERROR


def _claimed(error: SessionClaimed, command: str) -> str:
    name = error.session_id
    if error.is_unknown:
        force = f", or {command} it with --force" if command in ("mark", "delete") else ""
        return (
            "if you know that its process is gone:"
            f" sessionstore recover --apply --assume-dead {name}{force}"
        )
    if command == "cancel":  # it cannot be asked
        return f"what can be done: sessionstore explain {name}"
    return f"to ask that process to end it: sessionstore cancel {name}"


def _corrupt(error: SessionCorrupt, command: str) -> str:
    force = "; to delete it all the same: --force" if command == "delete" else ""
    return (
        f"what is left of it, and what to do: sessionstore explain {error.session_id};"
        f" to mend what can be: sessionstore fsck --repair{force}"
    )


def _not_resumable(error: NotResumable, command: str) -> str:
    name = error.session_id
    if not error.available:
        return f"it has no others either; what was saved of it: sessionstore show {name}"
    typed = f"diff {name} A B" if command == "diff" else f"{command} {name} --at CHECKPOINT"
    named = ", ".join(error.available[-3:])
    return f"name a state: sessionstore {typed}; there are {named}"


_SAID: list[tuple[type[SessionStoreError], Callable[[Any, str], str]]] = [
    (SessionNotFound, lambda _error, _command: "what is there: sessionstore ls"),
    (
        CheckpointNotFound,
        lambda error, _: f"what it has: sessionstore history {error.session_id}",
    ),
    (
        SessionExists,
        lambda _, command: "choose another id: --as NEW" if command == "fork" else "",
    ),
    (SessionClaimed, _claimed),
    (
        RevisionConflict,
        lambda error, _: (
            "it changed meanwhile, and was not touched; look again:"
            f" sessionstore show {error.session_id}"
        ),
    ),
    (SessionCorrupt, _corrupt),
    (NotResumable, _not_resumable),
]
"""What a person types, by the kind of error."""
