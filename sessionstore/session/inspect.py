"""Look at a session without holding it: its owner's life, and whether its checkpoint loads."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sessionstore.errors import SessionCorrupt, SessionNotFound, StorageError
from sessionstore.model.ids import is_id
from sessionstore.model.liveness import Liveness, Verdict
from sessionstore.model.status import SessionStatus
from sessionstore.model.stored import Stored
from sessionstore.model.summary import SessionSummary, summarize
from sessionstore.process import liveness
from sessionstore.storage.backend import Backend

if TYPE_CHECKING:  # loaded by what reads a file: most lines of a listing need none
    from sessionstore.model.checkpoint import Checkpoint
    from sessionstore.model.state import SessionOwner, SessionState

_LOOKS = 10


def read_base(backend: Backend, session_id: str) -> tuple[SessionState, Stored]:
    """Return the state with its base fields, and the bytes it was read from."""
    from sessionstore.model import codec
    from sessionstore.model.state import SessionState

    stored = backend.read(session_id)
    return codec.decode(stored.payload, SessionState, session_id, stored.file), stored


def look(backend: Backend, session_id: str) -> tuple[SessionState, Liveness]:
    """Return the state of a session and whether its owner lives, both of one moment.

    A free lock says nothing about a state that was written since, so the state is read before
    and after the look at the lock.

    Raises:
        SessionNotFound, SessionCorrupt, StorageError: the state cannot be read.
    """
    state, stored = read_base(backend, session_id)
    for _ in range(_LOOKS):
        probe = backend.probe(session_id)
        if probe.held:
            holder = probe.holder or state.owner
            return state, Liveness(Verdict.ALIVE, _holding(holder), holder)
        again = backend.read(session_id)
        if again.payload == stored.payload:
            return state, liveness.judge(state, lock_is_proof=backend.lock_is_proof)
        state, stored = read_base(backend, session_id)
    return state, Liveness(Verdict.ALIVE, "its state is being written right now", state.owner)


def _holding(holder: SessionOwner | None) -> str:
    named = holder.describe() if holder else ""
    return f"held by {named}" if named else "its lock is held"


def examine(
    backend: Backend, item: SessionSummary, *, loads_checkpoint: bool = True
) -> SessionSummary:
    """Return ``item`` with the liveness of an ACTIVE one, and the checkpoint looked at.

    Without ``loads_checkpoint`` it is enough that the checkpoint is there: a listing shows
    nothing of it, and need not load pydantic for it.
    """
    changes: dict[str, Any] = {}
    if item.status is SessionStatus.ACTIVE:
        try:
            state, verdict = look(backend, item.session_id)
        except (SessionNotFound, SessionCorrupt, StorageError) as error:
            changes["liveness"] = Liveness(Verdict.UNKNOWN, str(error))
        else:
            item = summarize(state)  # it may have moved on since it was listed
            if item.status is SessionStatus.ACTIVE:
                changes["liveness"] = verdict
    if item.is_resumable and (reason := why_not_resumable(backend, item, loads_checkpoint)):
        changes |= {"is_resumable": False, "unresumable": reason}
    return replace(item, **changes) if changes else item


def is_resumable(backend: Backend, item: SessionSummary) -> bool:
    """Return whether a resume would find a checkpoint that loads."""
    return item.is_resumable and why_not_resumable(backend, item) is None


def why_not_resumable(
    backend: Backend, item: SessionSummary, loads_checkpoint: bool = True
) -> str | None:
    """Return why the checkpoint that a resume would restore cannot be, or None if it can.

    Without ``loads_checkpoint`` None means that it is there.
    """
    checkpoint_id = item.latest_checkpoint_id
    if checkpoint_id is None or not is_id(checkpoint_id):
        return "its checkpoint has no valid id"
    if backend.is_current(item.session_id, checkpoint_id):
        return None
    try:
        if not loads_checkpoint:
            there = backend.checkpoint_ids(item.session_id)
            return None if checkpoint_id in there else "there is no such checkpoint"
        from sessionstore.model import checkpoint

        stored = backend.read_checkpoint(item.session_id, checkpoint_id)
        checkpoint.describe(item.session_id, checkpoint_id, stored)
    except SessionCorrupt as error:
        return error.reason
    except (SessionNotFound, StorageError) as error:
        return str(error)
    return None


def describe_checkpoint(backend: Backend, session_id: str, checkpoint_id: str) -> Checkpoint:
    """Return what is known of a checkpoint, with ``damaged`` set if it cannot be read."""
    from sessionstore.model import checkpoint
    from sessionstore.model.checkpoint import Checkpoint

    try:
        stored = backend.read_checkpoint(session_id, checkpoint_id)
        return checkpoint.describe(session_id, checkpoint_id, stored)
    except SessionCorrupt as error:
        return Checkpoint(checkpoint_id, damaged=error.reason)
    except (SessionNotFound, StorageError) as error:
        return Checkpoint(checkpoint_id, damaged=str(error))


def list_checkpoints(backend: Backend, session_id: str) -> list[Checkpoint]:
    """Return the checkpoints of a session, oldest first, damaged ones included."""
    from sessionstore.model import checkpoint

    return checkpoint.in_order(
        [
            describe_checkpoint(backend, session_id, checkpoint_id)
            for checkpoint_id in backend.checkpoint_ids(session_id)
        ]
    )
