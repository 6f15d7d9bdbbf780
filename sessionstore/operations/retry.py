"""Let a session be tried again: the start-up loop offers it, as if nothing had gone wrong yet."""

from __future__ import annotations

from sessionstore import clock
from sessionstore.errors import NotResumable, SessionEnded
from sessionstore.log import log_session
from sessionstore.model.state import SessionState
from sessionstore.model.status import FINISHED, SessionStatus
from sessionstore.session import outcome, resume, verdict
from sessionstore.session.writer import SessionWriter
from sessionstore.storage.backend import Backend


def retry(backend: Backend, session_id: str, *, force: bool) -> int:
    """Mark the session as interrupted, with nothing counted; return the new revision."""
    found = resume.claim_session(
        backend, session_id, SessionState, timeout=0.0, expected_revision=None, force=force
    )
    claim, state, died, asked = found
    try:
        now = clock.to_text(backend.clock())
        owner = claim.previous_owner
        writer = SessionWriter(claim, state, clock=backend.clock, backend=backend)
        if died is not None:
            outcome.mark_dead(state, died, SessionStatus.FAILED, now, asked)
        if state.status in FINISHED:
            if died is not None:  # somebody had asked its process to cancel it
                writer.run(lambda: verdict.begin_stop(writer))
            raise SessionEnded(session_id, state)
        if state.is_interrupted:
            assert state.recovery is not None
            owner = state.recovery.owner
        elif state.status is not SessionStatus.FAILED:
            raise NotResumable(
                session_id,
                f"it is {state.status}, and nothing has interrupted it",
                wanted="be tried again",
                remedy=f'resume it with store.resume("{session_id}")',
            )
        outcome.mark_for_retry(state, owner=owner, now=now)
        revision = writer.run(lambda: verdict.begin_stop(writer)).revision
    finally:
        claim.release()
    log_session(
        "session_retried",
        session_id,
        "offered to the start-up loop again, was %s: %s",
        state.status,
        state.result.error,
        revision=revision,
        reason=state.result.error,
    )
    return revision
