"""Say how a session ended, where the process that ran it did not."""

from __future__ import annotations

from sessionstore import clock
from sessionstore.log import about, logger
from sessionstore.model.state import SessionState, SessionStatus
from sessionstore.operations import recovery
from sessionstore.process import liveness
from sessionstore.session import resume
from sessionstore.session.outcome import describe_error
from sessionstore.session.writer import Writer
from sessionstore.storage.backend import Backend
from sessionstore.storage.claim import Claim

CHOICES = (SessionStatus.FAILED, SessionStatus.CANCELLED, SessionStatus.PAUSED)


def mark(
    backend: Backend, session_id: str, status: SessionStatus, *, reason: str, force: bool
) -> int:
    """Store the verdict of a person; return the new revision."""
    claim, state = resume.claim_session(
        backend, session_id, SessionState, timeout=0.0, expected_revision=None, force=force
    )
    try:
        return store_verdict(backend, claim, state, status, reason)
    finally:
        claim.release()


def store_verdict(
    backend: Backend, claim: Claim, state: SessionState, status: SessionStatus, reason: str | None
) -> int:
    """Store ``status`` under a claim; a process that died with the session goes on record."""
    now = clock.to_text(backend.clock())
    was = state.status
    if was is SessionStatus.ACTIVE:
        verdict = liveness.judge(state, lock_is_proof=backend.lock_is_proof)
        recovery.mark(state, verdict, status, now)
    elif status is SessionStatus.PAUSED:
        state.timestamps.paused_at_time = now
    elif state.timestamps.completed_at is None:
        state.timestamps.completed_at = now
    state.status = status
    if status is SessionStatus.PAUSED:
        state.result.success = None
        state.timestamps.completed_at = None
    else:
        state.result.success = False
    if reason is not None:
        state.result.error = describe_error(reason)
    writer = Writer(claim, state, clock=backend.clock)
    revision = writer.run(writer.begin_save).revision
    logger.info(
        "%s: marked %s, was %s: %s",
        state.session_id,
        status,
        was,
        state.result.error,
        extra=about(
            "session_marked",
            session_id=state.session_id,
            revision=revision,
            reason=state.result.error,
        ),
    )
    return revision
