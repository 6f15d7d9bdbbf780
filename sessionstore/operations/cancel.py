"""Cancel a session: ask the process that holds it, or do it for one that died.

The request names the claim that it is for. Whatever that claim comes to first, a pause or another
end, stands; and whoever holds the session next is never asked in its place.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from sessionstore import clock
from sessionstore.errors import SessionClaimed, SessionStoreError
from sessionstore.log import log_session
from sessionstore.model import codec
from sessionstore.model.liveness import Liveness
from sessionstore.model.state import SessionOwner, SessionState, SessionStatus
from sessionstore.operations import mark
from sessionstore.process import identity, liveness
from sessionstore.session import inspect
from sessionstore.session.outcome import describe_error
from sessionstore.storage.backend import Backend
from sessionstore.storage.claim import Claim
from sessionstore.storage.values import CancelRequest

_LOOKS = 20
_TAKING_OVER = 10
"""Looks for which a holder that the state does not name yet may write it: it is taking over."""


class CancelOutcome(StrEnum):
    """What a cancellation came to."""

    CANCELLED = "cancelled"
    """The session is cancelled."""
    REQUESTED = "requested"
    """Its holder was asked; its next save raises CancellationRequested."""
    ENDED = "ended"
    """It was not running any more: it had paused, or come to another end, first."""
    MOVED_ON = "moved_on"
    """The claim that was asked has ended, and somebody else runs the session now."""


@dataclass(frozen=True, slots=True)
class Cancellation:
    """What became of a cancellation, as far as it was seen."""

    session_id: str
    outcome: CancelOutcome
    status: SessionStatus
    """Of the session, when it was last looked at."""
    detail: str
    """The outcome in words."""
    owner: SessionOwner | None = None
    """Who was asked, or who had died; None where nobody held it."""

    @property
    def is_pending(self) -> bool:
        """Whether the holder was asked and has not ended the session yet."""
        return self.outcome is CancelOutcome.REQUESTED


class CancelRequester:
    """One cancellation, looked at as often as its caller wants to wait."""

    def __init__(self, backend: Backend, session_id: str, reason: str | None) -> None:
        self._backend = backend
        self._session_id = session_id
        self._reason = None if reason is None else describe_error(reason)
        self._asked: CancelRequest | None = None
        self._is_delivered = False
        self._holder: SessionOwner | None = None

    def look(self) -> Cancellation:
        """Ask the holder, once; return what became of it so far.

        Raises:
            SessionClaimed: the owner cannot be asked, or it cannot be known whether it lives.
            SessionNotFound, SessionCorrupt, StorageError: the session cannot be looked at.
        """
        for number in range(_LOOKS):
            seen = self._step(is_patient=number < _TAKING_OVER)
            if seen is not None:
                return seen
            # It changed hands in between.
            time.sleep(0.01 * random.uniform(0.5, 1.0))  # noqa: S311 - only spreads who asks
        raise SessionClaimed(
            self._session_id, reason="it changes hands too fast to ask its holder: try again"
        )

    def _step(self, *, is_patient: bool) -> Cancellation | None:
        """Return what was seen or done; None if it has to be looked at again."""
        state, verdict = inspect.look(self._backend, self._session_id)
        if state.status is SessionStatus.CANCELLED:
            return self._seen(CancelOutcome.CANCELLED, state, "it is cancelled")
        if state.status is not SessionStatus.ACTIVE:
            detail = f"nothing to cancel: it is {state.status}, and nobody runs it"
            if self._asked is not None:
                detail = f"it became {state.status} before it met the request"
            return self._seen(CancelOutcome.ENDED, state, detail)
        if self._asked is not None and self._has_moved_on(state, verdict):
            detail = f"the claim that was asked has ended; now it is {verdict}"
            return self._seen(CancelOutcome.MOVED_ON, state, detail)
        if verdict.is_dead:
            return self._cancel_dead(state)
        if self._is_delivered:
            return self._seen(CancelOutcome.REQUESTED, state, "asked, and still running")
        if verdict.is_unknown:
            raise SessionClaimed(
                self._session_id,
                verdict.owner or state.owner,
                reason=verdict.reason,
                is_unknown=True,
            )
        return self._ask(state, verdict, is_patient=is_patient)

    def _has_moved_on(self, state: SessionState, verdict: Liveness) -> bool:
        assert self._asked is not None
        tokens = {named.token for named in (state.owner, verdict.owner) if named is not None}
        return self._asked.token not in tokens

    def _ask(
        self, state: SessionState, verdict: Liveness, *, is_patient: bool
    ) -> Cancellation | None:
        probe = self._backend.probe(self._session_id)
        if not probe.held:
            if is_patient:
                return None  # it has just been released
            raise SessionClaimed(
                self._session_id,
                verdict.owner or state.owner,
                reason=f"{verdict.reason}; without a lock it cannot be asked: end it yourself",
            )
        holder = probe.holder
        if holder is None or holder.token is None or probe.released:
            return None  # it has just come, or is about to leave
        if self._asked is None:
            named = state.owner.token if state.owner else None
            if holder.token != named and is_patient:
                return None  # a resume is about to write, or a sweep about to end it
            now = self._backend.clock()
            by = identity.new_owner(now)
            # From here on it is this claim or none: it may meet the request, end, and be followed
            # by another one before it can be seen that the request was delivered.
            self._asked = CancelRequest(holder.token, self._reason, clock.to_text(now), by)
            self._holder = holder
        if not self._backend.request_cancellation(self._session_id, self._asked):
            return None
        self._is_delivered = True
        named = holder.describe() or "its holder"
        log_session(
            "cancel_requested",
            self._session_id,
            "asked %s to end it: %s",
            named,
            self._reason or "no reason given",
            revision=state.revision,
            reason=f"asked {named}",
        )
        detail = f"asked {named}, whose next save will raise"
        return self._seen(CancelOutcome.REQUESTED, state, detail)

    def _cancel_dead(self, seen: SessionState) -> Cancellation | None:
        """Cancel the session of a process that died, unless somebody was faster."""
        by = identity.new_owner(self._backend.clock())
        try:
            claim = self._backend.claim(self._session_id, by, timeout=0.0)
        except SessionClaimed:
            return None
        try:
            return self._cancel_claimed(claim, seen)
        finally:
            claim.release()

    def _cancel_claimed(self, claim: Claim, seen: SessionState) -> Cancellation | None:
        # Read again under the claim: it may have been resumed, or swept, since.
        stored = claim.read()
        state = codec.decode(stored.payload, SessionState, claim.session_id, stored.file)
        if (state.status, state.revision) != (seen.status, seen.revision):
            return None
        verdict = liveness.judge(state, lock_is_proof=self._backend.lock_is_proof)
        if not verdict.is_dead:
            return None
        claim.confirm()
        self._holder = verdict.owner or state.owner
        mark.store_verdict(self._backend, claim, state, SessionStatus.CANCELLED, self._reason)
        detail = f"cancelled at once, since its process died: {verdict.reason}"
        return self._seen(CancelOutcome.CANCELLED, state, detail)

    def _seen(self, outcome: CancelOutcome, state: SessionState, detail: str) -> Cancellation:
        return Cancellation(self._session_id, outcome, state.status, detail, self._holder)


def cancel(
    backend: Backend, session_id: str, *, reason: str | None, timeout: float
) -> Cancellation:
    """Cancel the session; wait at most ``timeout`` seconds for a holder that was asked."""
    ((_, outcome),) = cancel_all(backend, [session_id], reason=reason, timeout=timeout)
    if isinstance(outcome, SessionStoreError):
        raise outcome
    return outcome


def cancel_all(
    backend: Backend, session_ids: Iterable[str], *, reason: str | None, timeout: float
) -> Iterator[Outcome]:
    """Ask all, then wait for them together; yield each session with what became of it."""
    together = CancelBatch(backend, session_ids, reason)
    deadline = time.monotonic() + timeout
    pause = FIRST_PAUSE
    while True:
        left = deadline - time.monotonic()
        yield from together.look(is_last=left <= 0)
        if together.is_done:
            return
        time.sleep(min(pause, max(left, 0.0)))
        pause = min(pause * 2, LONGEST_PAUSE)


class CancelBatch:
    """Several cancellations, looked at in turn."""

    def __init__(self, backend: Backend, session_ids: Iterable[str], reason: str | None) -> None:
        self._waiting = [(name, CancelRequester(backend, name, reason)) for name in session_ids]

    @property
    def is_done(self) -> bool:
        """Whether nothing is waited for any more."""
        return not self._waiting

    def look(self, *, is_last: bool) -> list[Outcome]:
        """Look at each that is waited for; return those that came to something, or all at last."""
        found: list[Outcome] = []
        waiting: list[tuple[str, CancelRequester]] = []
        for session_id, canceller in self._waiting:
            try:
                seen = canceller.look()
            except SessionStoreError as error:
                found.append((session_id, error))
                continue
            if seen.is_pending and not is_last:
                waiting.append((session_id, canceller))
            else:
                found.append((session_id, seen))
        self._waiting = waiting
        return found


Outcome = tuple[str, Cancellation | SessionStoreError]
"""A session, and what became of it, or why it was refused."""

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.25
"""Seconds between two looks at a session whose holder was asked."""
