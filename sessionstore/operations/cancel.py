"""Cancel a session: ask the process that holds it, or mark one that lost its process.

A request names one claim. If that claim ends in another way first, that end stands, and the next
holder of the session is never asked instead.
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
from sessionstore.session import inspect, resume
from sessionstore.session.error_text import describe_error
from sessionstore.storage.backend import Backend
from sessionstore.storage.claim import Claim
from sessionstore.storage.values import CancelRequest

_LOOKS = 20
_TAKING_OVER = 10
"""How many looks a new holder gets to write a state that names it."""


class CancelOutcome(StrEnum):
    """The result of a cancellation."""

    CANCELLED = "cancelled"
    """The session is cancelled."""
    REQUESTED = "requested"
    """The holder was asked; its next save raises CancellationRequested."""
    ENDED = "ended"
    """The session was no longer running: it had paused or ended before."""
    MOVED_ON = "moved_on"
    """The claim that was asked has ended, and another process runs the session now."""


@dataclass(frozen=True, slots=True)
class Cancellation:
    """A cancellation and its result so far."""

    session_id: str
    outcome: CancelOutcome
    status: SessionStatus
    """The status of the session at the last look."""
    detail: str
    """The outcome as a sentence."""
    owner: SessionOwner | None = None
    """The holder that was asked, or that had died; None if nobody held the session."""

    @property
    def is_pending(self) -> bool:
        """Whether the holder was asked and has not ended the session yet."""
        return self.outcome is CancelOutcome.REQUESTED


class CancelRequester:
    """One cancellation, which its caller looks at for as long as it wants to wait."""

    def __init__(self, backend: Backend, session_id: str, reason: str | None) -> None:
        self._backend = backend
        self._session_id = session_id
        self._reason = None if reason is None else describe_error(reason)
        self._asked: CancelRequest | None = None
        self._is_delivered = False
        self._holder: SessionOwner | None = None
        self._refusal: SessionClaimed | None = None

    def look(self) -> Cancellation:
        """Ask the holder, once; return the result so far.

        Raises:
            SessionClaimed: the owner cannot be asked, or it cannot be known whether it lives.
            SessionNotFound: the session cannot be looked at.
            SessionCorrupt: the session cannot be looked at.
            StorageError: the session cannot be looked at.
        """
        for number in range(_LOOKS):
            self._refusal = None
            seen = self._step(is_patient=number < _TAKING_OVER)
            if seen is not None:
                return seen
            # It changed hands in between.
            time.sleep(0.01 * random.uniform(0.5, 1.0))  # noqa: S311 - only spreads who asks
        raise self._refusal or SessionClaimed(
            self._session_id, reason="its holder changes too fast to be asked: try again"
        )

    def _step(self, *, is_patient: bool) -> Cancellation | None:
        """Return the result of one look; None to look again."""
        state, verdict = inspect.look(self._backend, self._session_id)
        if state.status is SessionStatus.CANCELLED:
            return self._seen(CancelOutcome.CANCELLED, state, "it is cancelled")
        if state.is_interrupted:  # it was stopped at work: a start-up would go on with it
            return self._cancel_unheld(state)
        if state.status is not SessionStatus.ACTIVE:
            detail = f"nothing to cancel: it is {state.status}, and nobody runs it"
            if self._asked is not None:
                detail = f"it became {state.status} before the request reached it"
            return self._seen(CancelOutcome.ENDED, state, detail)
        if self._asked is not None and self._has_moved_on(state, verdict):
            detail = f"the claim that was asked has ended; now it is {verdict}"
            return self._seen(CancelOutcome.MOVED_ON, state, detail)
        if verdict.is_dead:
            return self._cancel_unheld(state)
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
                reason=f"{verdict.reason}; without a lock it cannot be asked: end its process",
            )
        holder = probe.holder
        if holder is None or holder.token is None or probe.released:
            return None  # it has just come, or is about to leave
        if self._asked is None:
            named = state.owner.token if state.owner else None
            if holder.token != named and is_patient:
                return None  # a resume is about to write, or a sweep about to end it
            now = self._backend.clock()
            by = self._backend.new_owner(now)
            # Race: New claim after a request to cancel. The claim may end at the request, and
            # another may follow, before this process sees that the request was delivered. From
            # here on it asks this claim or none.
            self._asked = CancelRequest(
                holder.token, self._reason, clock.to_text(now), by, identity.user_name()
            )
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

    def _cancel_unheld(self, seen: SessionState) -> Cancellation | None:
        """Cancel a session that lost its process, unless another process claims it first."""
        by = self._backend.new_owner(self._backend.clock())
        try:
            claim = self._backend.claim(self._session_id, by, timeout=0.0)
        except SessionClaimed as error:
            self._refusal = error
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
        verdict: Liveness | None = None
        reason = self._reason
        if state.is_interrupted:
            assert state.recovery is not None
            self._holder, why = state.recovery.owner, state.recovery.reason
        else:
            verdict = liveness.judge(state, self._backend)
            if not verdict.is_dead:
                return None
            self._holder = verdict.owner or state.owner
            why = f"its process died: {verdict.reason}"
            asked = resume.find_unmet_request(self._backend, state)
            if reason is None and asked is not None:
                reason = asked.verdict()
        claim.confirm()
        mark.store_verdict(self._backend, claim, state, verdict, SessionStatus.CANCELLED, reason)
        detail = f"cancelled at once, since nobody runs it: {why}"
        return self._seen(CancelOutcome.CANCELLED, state, detail)

    def _seen(self, outcome: CancelOutcome, state: SessionState, detail: str) -> Cancellation:
        return Cancellation(self._session_id, outcome, state.status, detail, self._holder)


def cancel(
    backend: Backend, session_id: str, *, reason: str | None, timeout: float
) -> Cancellation:
    """Cancel the session; wait at most ``timeout`` seconds for its holder."""
    ((_, outcome),) = cancel_all(backend, [session_id], reason=reason, timeout=timeout)
    if isinstance(outcome, SessionStoreError):
        raise outcome
    return outcome


def cancel_all(
    backend: Backend, session_ids: Iterable[str], *, reason: str | None, timeout: float
) -> Iterator[Outcome]:
    """Ask all holders, then wait for them together; yield each session with its result."""
    batch = CancelBatch(backend, session_ids, reason)
    deadline = time.monotonic() + timeout
    pause = FIRST_PAUSE
    while True:
        left = deadline - time.monotonic()
        yield from batch.look(is_last=left <= 0)
        if batch.is_done:
            return
        time.sleep(min(pause, max(left, 0.0)))
        pause = min(pause * 2, LONGEST_PAUSE)


class CancelBatch:
    """Several cancellations that run together."""

    def __init__(self, backend: Backend, session_ids: Iterable[str], reason: str | None) -> None:
        self._waiting = [(name, CancelRequester(backend, name, reason)) for name in session_ids]

    @property
    def is_done(self) -> bool:
        """Whether every cancellation has a result."""
        return not self._waiting

    def look(self, *, is_last: bool) -> list[Outcome]:
        """Look at each pending cancellation; return those with a result, at the last look all."""
        found: list[Outcome] = []
        waiting: list[tuple[str, CancelRequester]] = []
        for session_id, requester in self._waiting:
            try:
                seen = requester.look()
            except SessionStoreError as error:
                found.append((session_id, error))
                continue
            if seen.is_pending and not is_last:
                waiting.append((session_id, requester))
            else:
                found.append((session_id, seen))
        self._waiting = waiting
        return found


Outcome = tuple[str, Cancellation | SessionStoreError]
"""A session, and its result or its error."""

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.25
"""Seconds between two looks at a session whose holder was asked."""
