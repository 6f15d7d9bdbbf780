"""What to type after a refusal: errors of the store say what to call, which helps no terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from sessionstore.cli.exits import Exit, exit_for
from sessionstore.cli.output import streams
from sessionstore.errors import (
    CheckpointNotFound,
    NotResumable,
    RevisionConflict,
    SessionClaimed,
    SessionCorrupt,
    SessionExists,
    SessionNotFound,
    SessionStoreError,
)


def refused(error: SessionStoreError, command: str | None = None) -> Exit:
    """Say why something was refused and what to type next; return the exit code for that.

    ``command`` is the one that was typed; by default the one that runs.
    """
    if command is None:
        command = click.get_current_context().info_name or ""
    advice = next((say(error, command) for kind, say in _SAID if isinstance(error, kind)), "")
    if advice:  # in the place of what the error says to those who call
        streams.complain(error.fact)
        streams.warn(advice)
    else:
        streams.complain(str(error))
    return exit_for(error)


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
