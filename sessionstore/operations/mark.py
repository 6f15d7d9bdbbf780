"""Mark how an unclaimed session ended, when the process that ran it did not say so."""

from __future__ import annotations

from sessionstore import clock
from sessionstore.log import log_session
from sessionstore.model.liveness import Liveness
from sessionstore.model.state import SessionState, SessionStatus
from sessionstore.session import outcome, resume, verdict
from sessionstore.session.error_text import describe_error
from sessionstore.session.writer import SessionWriter
from sessionstore.storage.backend import Backend
from sessionstore.storage.claim import Claim

CHOICES = (SessionStatus.FAILED, SessionStatus.CANCELLED, SessionStatus.PAUSED)


def mark(
    backend: Backend, session_id: str, status: SessionStatus, *, reason: str, force: bool
) -> int:
    """Mark the session as a person decided; return the new revision."""
    claim, state, died, _ = resume.claim_session(
        backend, session_id, SessionState, timeout=0.0, expected_revision=None, force=force
    )
    try:
        return store_verdict(backend, claim, state, died, status, reason)
    finally:
        claim.release()


def store_verdict(
    backend: Backend,
    claim: Claim,
    state: SessionState,
    died: Liveness | None,
    status: SessionStatus,
    reason: str | None,
) -> int:
    """Store ``status`` under a claim; record the process that ``died`` with the session."""
    now, was = clock.to_text(backend.clock()), state.status
    error = None if reason is None else describe_error(reason)
    if died is not None:
        outcome.mark_dead(state, died, status, now)
        if error is not None:
            state.result.error = error
    else:
        ended = state.timestamps.completed_at
        at = now if ended is None or status is SessionStatus.PAUSED else ended
        outcome.mark_stopped(state, status, error=error, at=at)
    if status is SessionStatus.PAUSED:  # a person says that it goes on
        state.result.success = state.timestamps.completed_at = None
    writer = SessionWriter(claim, state, clock=backend.clock, backend=backend)
    revision = writer.run(lambda: verdict.begin_stop(writer)).revision
    log_session(
        "session_marked",
        state.session_id,
        "marked %s, was %s: %s",
        status,
        was,
        state.result.error,
        revision=revision,
        reason=state.result.error,
    )
    return revision
