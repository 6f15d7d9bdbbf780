"""Claim a stored session: who may, and what a resume restores."""

from __future__ import annotations

from sessionstore.errors import NotResumable, RevisionConflict, SessionClaimed, SessionCorrupt
from sessionstore.log import log_session
from sessionstore.model import StateT, checkpoint, codec
from sessionstore.model.checkpoint import BEFORE_RESUME
from sessionstore.model.ids import make_checkpoint_id
from sessionstore.model.state import SessionResult, SessionState, SessionStatus
from sessionstore.process import identity, liveness
from sessionstore.session import inspect
from sessionstore.session.inspect import NO_CHECKPOINT, Resumability
from sessionstore.storage.backend import Backend
from sessionstore.storage.claim import Claim


def claim_session(
    backend: Backend,
    session_id: str,
    state_type: type[StateT],
    *,
    timeout: float,
    expected_revision: int | None,
    force: bool,
) -> tuple[Claim, StateT]:
    """Return the claim on a session and the state under it, if the session may be claimed.

    Raises what :meth:`sessionstore.SessionStore.claim` raises.
    """
    claim = backend.claim(session_id, identity.new_owner(backend.clock()), timeout=timeout)
    try:
        stored = claim.read()
        state = codec.decode(stored.payload, state_type, session_id, stored.file)
        if expected_revision is not None and state.revision != expected_revision:
            raise RevisionConflict(
                session_id,
                expected=expected_revision,
                found=state.revision,
                owner=claim.previous_owner,
            )
        check_owner_dead(backend, state, force=force)
        claim.confirm()
    except BaseException:
        claim.release()
        raise
    return claim, state


def check_owner_dead(backend: Backend, state: SessionState, *, force: bool) -> None:
    """Refuse an ACTIVE session whose lock is free, and whose owner may live without one."""
    if state.status is not SessionStatus.ACTIVE:
        return
    verdict = liveness.judge(state, lock_is_proof=backend.lock_is_proof)
    if verdict.is_alive or (verdict.is_unknown and not force):
        raise SessionClaimed(
            state.session_id,
            verdict.owner or state.owner,
            reason=verdict.reason,
            is_unknown=verdict.is_unknown,
        )
    if verdict.is_unknown:
        log_session(
            "claim_forced",
            state.session_id,
            "claimed by force: %s",
            verdict.reason,
            revision=state.revision,
            reason=verdict.reason,
        )


def refuse_ended(state: SessionState) -> None:
    """Refuse a session that is completed or cancelled."""
    if state.status in (SessionStatus.COMPLETED, SessionStatus.CANCELLED):
        raise NotResumable(
            state.session_id, f"it is {state.status}: pass again=True if you mean it"
        )


def restore(backend: Backend, claim: Claim, current: StateT, checkpoint_id: str | None) -> StateT:
    """Return the state to go on with, ACTIVE; keep ``current`` first if it is newer.

    Raises:
        NotResumable: there is no checkpoint, or it is missing or damaged.
    """
    session_id = current.session_id
    latest = Resumability.named(current)
    chosen = checkpoint_id or (latest.checkpoint_id if latest.is_resumable else None)
    if chosen is None:
        raise NotResumable(
            session_id,
            f"{NO_CHECKPOINT}; keep one with session.checkpoint() or session.pause()",
            available=_sound_checkpoints(backend, session_id),
        )
    try:
        stored = backend.read_checkpoint(session_id, chosen)
        restored = checkpoint.load(current, stored, chosen)
    except SessionCorrupt as error:
        raise NotResumable(
            session_id,
            f"checkpoint {chosen} is damaged or missing: {error.reason}",
            checkpoint_id=chosen,
            available=_sound_checkpoints(backend, session_id),
        ) from error
    if not backend.is_current(session_id, chosen) and not _same_state(restored, current):
        node, now = current.progress.current_node, backend.clock()
        claim.keep_current(make_checkpoint_id(BEFORE_RESUME, node, current.revision, now))
    restored.revision = current.revision
    restored.incarnation = current.incarnation
    restored.recovery = current.recovery
    restored.status = SessionStatus.ACTIVE
    restored.result = SessionResult()
    restored.timestamps.completed_at = None
    restored.timestamps.paused_at_time = None
    return restored


def _same_state(restored: SessionState, current: SessionState) -> bool:
    """Return whether the checkpoint holds the stored revision, so that nothing is newer."""
    return (
        restored.incarnation is not None
        and restored.incarnation == current.incarnation
        and restored.revision == current.revision
    )


def _sound_checkpoints(backend: Backend, session_id: str) -> list[str]:
    found = inspect.list_checkpoints(backend, session_id)
    return [item.checkpoint_id for item in found if item.damaged is None]
