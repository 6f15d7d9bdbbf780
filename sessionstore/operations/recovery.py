"""The recovery sweep: find ACTIVE sessions of dead processes and mark them; resume nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sessionstore import clock
from sessionstore.errors import (
    CancellationRequested,
    ClaimLost,
    RevisionConflict,
    SessionClaimed,
    SessionCorrupt,
    SessionNotFound,
    SessionStoreError,
)
from sessionstore.log import log_session
from sessionstore.model import codec
from sessionstore.model.liveness import Liveness
from sessionstore.model.query import Filters, make_query
from sessionstore.model.state import SessionState, SessionStatus
from sessionstore.model.summary import summarize
from sessionstore.process import liveness
from sessionstore.session import inspect, outcome, resume, verdict
from sessionstore.session.writer import SessionWriter
from sessionstore.storage.backend import Backend
from sessionstore.storage.claim import Claim

MarkAs = Literal["failed", "paused", "cancelled"]


@dataclass(frozen=True, slots=True)
class SweptSession:
    """A session that a sweep judged, and the reason."""

    session_id: str
    reason: str
    """Which process died or lives, and how that is known; or what is damaged."""
    liveness: Liveness | None = None
    recoveries: int = 0
    """How many sweeps have marked the session, this one included."""
    is_resumable: bool = False


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """The result of a sweep; each session is in one of these lists."""

    swept: Sequence[SweptSession] = ()
    """The process died: marked, or to be marked in a dry run."""
    alive: Sequence[SweptSession] = ()
    """ACTIVE, and a live process holds it."""
    unknown: Sequence[SweptSession] = ()
    """ACTIVE, and it is unknown whether the owner lives; not touched."""
    damaged: Sequence[SweptSession] = ()
    """Not readable; not touched."""
    failed: Sequence[SweptSession] = ()
    """The process died, but marking failed; the next sweep tries again."""
    dry_run: bool = False


Progress = Callable[[int, int], None]
"""Called with how many ACTIVE sessions were judged, and how many there are."""


def sweep(
    backend: Backend,
    *,
    dry_run: bool,
    mark_as: MarkAs,
    assume_dead: Iterable[str],
    progress: Progress | None = None,
) -> RecoveryReport:
    """Judge every ACTIVE session; mark those whose owner is dead."""
    sweeper = _Sweep(backend, dry_run, SessionStatus(mark_as), frozenset(assume_dead))
    return sweeper.run(progress)


class _Sweep:
    def __init__(
        self, backend: Backend, dry_run: bool, mark_as: SessionStatus, assume_dead: frozenset[str]
    ) -> None:
        self.backend = backend
        self.dry_run = dry_run
        self.mark_as = mark_as
        self.assume_dead = assume_dead
        self.swept: list[SweptSession] = []
        self.alive: list[SweptSession] = []
        self.unknown: list[SweptSession] = []
        self.damaged: list[SweptSession] = []
        self.failed: list[SweptSession] = []

    def run(self, progress: Progress | None) -> RecoveryReport:
        for session_id in self.assume_dead:
            if not self.backend.exists(session_id):
                raise SessionNotFound(session_id, self.backend)
        active = self._active_ids()
        for done, session_id in enumerate(active):
            if progress:
                progress(done, len(active))
            self._judge(session_id)
        if progress:
            progress(len(active), len(active))
        if not self.dry_run:
            self.backend.tidy()
        return RecoveryReport(
            swept=tuple(self.swept),
            alive=tuple(self.alive),
            unknown=tuple(self.unknown),
            damaged=tuple(self.damaged),
            failed=tuple(self.failed),
            dry_run=self.dry_run,
        )

    def _active_ids(self) -> list[str]:
        """Return the ids of the ACTIVE sessions; add the damaged ones to the report."""
        active: list[str] = []
        query = make_query(
            Filters(status=SessionStatus.ACTIVE), limit=None, cursor=None, order="session_id"
        )
        query = replace(query, keeps_damaged=True)
        for item in self.backend.find(query, lambda item: item):
            if item.damaged is not None:
                self.damaged.append(SweptSession(item.session_id, item.damaged))
            else:
                active.append(item.session_id)
        return active

    def _judge(self, session_id: str) -> None:
        try:
            state, found = inspect.look(self.backend, session_id)
            if state.status is not SessionStatus.ACTIVE:
                return  # it ended since the scan
            if found.is_alive:
                self.alive.append(SweptSession(session_id, found.reason, found))
            elif found.is_unknown and session_id not in self.assume_dead:
                self.unknown.append(SweptSession(session_id, found.reason, found))
            elif self.dry_run:
                self._record(state, found, resume.find_unmet_request(self.backend, state))
            else:
                self._mark(session_id)
        except SessionNotFound:
            return
        except SessionCorrupt as error:
            self.damaged.append(SweptSession(session_id, error.reason))
        except SessionStoreError as error:
            self.failed.append(SweptSession(session_id, str(error)))

    def _record(
        self, state: SessionState, found: Liveness, asked: CancellationRequested | None
    ) -> None:
        item, reason = summarize(state), found.reason
        if asked is not None:
            verb = "it is to be cancelled" if self.dry_run else "it is cancelled"
            reason += f"; {verb}, since {asked.verdict()}"
        count = item.recoveries + (1 if self.dry_run else 0)
        resumable = inspect.Resumability.read(self.backend, item).is_resumable
        self.swept.append(SweptSession(item.session_id, reason, found, count, resumable))

    def _mark(self, session_id: str) -> None:
        by = self.backend.new_owner(self.backend.clock())
        try:
            claim = self.backend.claim(session_id, by, timeout=0.0)
        except SessionClaimed as error:
            # Another sweep, or a resume, came first.
            self.alive.append(SweptSession(session_id, error.fact))
            return
        try:
            self._mark_claimed(claim)
        except (ClaimLost, RevisionConflict) as error:
            self.alive.append(SweptSession(session_id, error.fact))
        finally:
            claim.release()

    def _mark_claimed(self, claim: Claim) -> None:
        """Mark the session if it still has to be."""
        # Read again under the claim: the owner may have finished since the scan.
        stored = claim.read()
        state = codec.decode(stored.payload, SessionState, claim.session_id, stored.file)
        if state.status is not SessionStatus.ACTIVE:
            return
        found = liveness.judge(state, self.backend)
        if found.is_alive:
            self.alive.append(SweptSession(claim.session_id, found.reason, found))
            return
        if found.is_unknown and claim.session_id not in self.assume_dead:
            self.unknown.append(SweptSession(claim.session_id, found.reason, found))
            return
        claim.confirm()
        asked = resume.find_unmet_request(self.backend, state)
        outcome.mark_dead(state, found, self.mark_as, clock.to_text(self.backend.clock()), asked)
        writer = SessionWriter(claim, state, clock=self.backend.clock, backend=self.backend)
        writer.run(lambda: verdict.begin_stop(writer))
        log_session(
            "session_swept",
            claim.session_id,
            "marked %s: %s",
            state.status,
            found.reason,
            revision=state.revision,
            reason=found.reason,
        )
        self._record(state, found, asked)
