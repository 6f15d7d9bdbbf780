"""Let a session be tried again: the start-up loop offers it, as if nothing had gone wrong yet."""

from __future__ import annotations

from sessionstore import clock
from sessionstore.errors import NotResumable
from sessionstore.log import log_session
from sessionstore.model.checkpoint import EDIT
from sessionstore.model.ids import LAST_SAVE
from sessionstore.model.state import SessionOwner, SessionState
from sessionstore.model.status import SessionStatus
from sessionstore.operations import checkpoint_names
from sessionstore.session import outcome, resume
from sessionstore.session.inspect import Resumability
from sessionstore.session.opener import SessionOpener
from sessionstore.session.prepared_write import Keep
from sessionstore.session.resume import ClaimedState
from sessionstore.session.stamp import by_store
from sessionstore.session.writer import SessionWriter
from sessionstore.storage.backend import Backend
from sessionstore.text import first_line

Opener = SessionOpener[SessionState]
Writer = SessionWriter[SessionState]


def retry(
    backend: Backend,
    session_id: str,
    *,
    checkpoint_id: str | None,
    from_last_save: bool,
    again: bool,
    force: bool,
) -> int:
    """Mark the session as interrupted, with nothing counted; return the new revision."""
    if checkpoint_id is not None and from_last_save:
        raise TypeError("retry() takes checkpoint_id= or from_last_save=True, not both")
    opener: Opener = SessionOpener(backend, SessionState, backend.clock)
    found = opener.claim_found(session_id, force=force)
    was = found.state.status
    try:
        opener.mark_dead(found)
        if not again:
            opener.refuse_ended(found)
            _refuse_waiting(found.state)
        if checkpoint_id is None:
            writer = _offer_saved(opener, found, from_last_save=from_last_save)
        else:
            writer = _offer_checkpoint(opener, found, checkpoint_id)
    finally:
        found.claim.release()
    reason = first_line(writer.state.result.error or "")
    log_session(
        "session_retried",
        session_id,
        "offered to the start-up loop again, was %s: %s",
        was,
        reason,
        revision=writer.revision,
        reason=reason,
    )
    return writer.revision


def _refuse_waiting(state: SessionState) -> None:
    if state.status is SessionStatus.PAUSED and not state.is_interrupted:
        raise NotResumable(
            state.session_id,
            "it is paused, and nothing has interrupted it",
            wanted="be tried again",
            remedy=f'resume it with store.resume("{state.session_id}"), or pass again=True',
        )


def _offer_saved(
    opener: Opener, found: ClaimedState[SessionState], *, from_last_save: bool
) -> Writer:
    """Offer the session as it is stored: a resume goes on from its latest checkpoint.

    With ``from_last_save`` the stored state becomes that checkpoint.
    """
    claim, state = found.claim, found.state
    if not from_last_save:
        _refuse_damaged(opener.backend, state)
    writer = opener.writer(claim, state)
    _Mark(opener, found).put_on(state)
    keep = writer.last_save()
    if from_last_save:
        keep = keep or Keep(LAST_SAVE if claim.keeps_last_save else EDIT)
    writer.run(lambda: writer.prepare(by_store(state), keep=keep))
    return writer


def _refuse_damaged(backend: Backend, state: SessionState) -> None:
    """Refuse what the loop would leave out: its checkpoint cannot be restored."""
    known = Resumability.read(backend, state)
    if known.damage is not None:
        raise resume.not_restorable(
            backend, state.session_id, str(known.checkpoint_id), known.damage
        )


def _offer_checkpoint(opener: Opener, found: ClaimedState[SessionState], named: str) -> Writer:
    """Restore a checkpoint as a resume does, and offer that state."""
    state = found.state
    chosen = checkpoint_names.find_checkpoint(opener.backend, state.session_id, named)
    mark = _Mark(opener, found)
    restored = resume.restore(opener.backend, state, chosen, from_last_save=False)
    mark.put_on(restored.state)
    return opener.begin(found, restored)


class _Mark:
    """How a session ended, which its mark keeps readable."""

    def __init__(self, opener: Opener, found: ClaimedState[SessionState]) -> None:
        state, self._now = found.state, clock.to_text(opener.clock())
        has_failed = state.status is SessionStatus.FAILED
        self._status = SessionStatus.FAILED if has_failed else SessionStatus.PAUSED
        times = state.timestamps
        self._at = (times.completed_at if has_failed else times.paused_at_time) or self._now
        self._before = state.result.error or f"it was {state.status}, and no reason was given"
        self._owner: SessionOwner | None = found.claim.previous_owner
        if state.recovery is not None and (state.is_interrupted or found.died is not None):
            self._owner = state.recovery.owner

    def put_on(self, state: SessionState) -> None:
        """Mark ``state`` as interrupted."""
        outcome.mark_for_retry(
            state, self._status, self._before, owner=self._owner, at=self._at, now=self._now
        )
