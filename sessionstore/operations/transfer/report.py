"""The report on one exported or imported session, and what is damaged in it.

Damage is transferred unchanged, so that nothing that could be data is lost. The report names it,
because a copy that nobody can resume is no backup.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sessionstore.errors import SessionCorrupt
from sessionstore.model import checkpoint
from sessionstore.model.state import SessionState, SessionStatus
from sessionstore.model.stored import Stored
from sessionstore.session.inspect import Resumability


@dataclass(frozen=True, slots=True)
class TransferredSession:
    """A session that was exported or imported, or the reason why not."""

    session_id: str
    reason: str = ""
    status: SessionStatus | None = None
    revision: int = 0
    checkpoints: int = 0
    journals: int = 0
    files: int = 0
    """The number of files of the application."""
    bytes: int = 0
    """The size of all its files, not compressed."""
    omitted: Sequence[str] = ()
    """The files that were left out, each with the reason: of the application, checkpoints that a
    running session kept after the exported state, and what follows the damage of a journal."""
    damage: Sequence[str] = ()
    """Its checkpoints that cannot be read, each with the reason, a missing latest one, and journals
    that have lost their ends. The copy is as damaged as the original."""


def checkpoint_damage(session_id: str, checkpoint_id: str, payload: bytes) -> str | None:
    """Return why a checkpoint cannot be read, or None if it can."""
    try:
        checkpoint.describe(session_id, checkpoint_id, Stored(payload, checkpoint_id))
    except SessionCorrupt as error:
        return error.reason
    return None


def transfer_damage(
    state: SessionState,
    kept: Collection[str],
    damaged: Mapping[str, str],
    journals: Mapping[str, int],
) -> tuple[str, ...]:
    """Return the damage of a session with these checkpoints, each with the reason.

    ``journals`` are the numbers of the last lines of its journals, by name.
    """
    latest = Resumability.named(state).checkpoint_id
    found = []
    if latest is not None and latest not in kept:
        found.append(f"its latest checkpoint {latest} is not there: it cannot be resumed")
    for checkpoint_id, reason in sorted(damaged.items()):
        called = f"checkpoint {checkpoint_id}"
        if checkpoint_id == latest:
            called = f"its latest checkpoint {checkpoint_id}, without which it cannot be resumed"
        found.append(f"{called}: {reason}")
    for name, (number, *_) in sorted(state.journals.items()):
        if journals.get(name, 0) < number:
            last = journals.get(name, 0)
            found.append(f"journal {name} ends at number {last:,}, and the state says {number:,}")
    return tuple(found)
