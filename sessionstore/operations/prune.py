"""Prune: delete what a policy lets go, each session under its claim and judged again there.

Nothing that a live process holds is touched, nor the checkpoint that a resume would use, nor
what is damaged. Interrupted anywhere, the next run goes on: a session is there whole or gone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

from sessionstore.errors import (
    SessionClaimed,
    SessionCorrupt,
    SessionNotFound,
    SessionStoreError,
)
from sessionstore.log import about, logger
from sessionstore.model import codec
from sessionstore.model.query import Filters, SessionQuery, make_query
from sessionstore.model.state import SessionState, SessionStatus
from sessionstore.model.summary import SessionSummary, summarize
from sessionstore.operations.retention import RetentionPolicy
from sessionstore.process import identity
from sessionstore.session import inspect
from sessionstore.session.inspect import Resumability
from sessionstore.storage.backend import Backend
from sessionstore.storage.claim import Claim
from sessionstore.storage.report import Progress, no_progress

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Pruned:
    """A session that went, or that lost checkpoints; or why it did not."""

    session_id: str
    reason: str
    status: SessionStatus | None = None
    updated_at: str = ""
    freed: int = 0
    """Bytes on disk that are free again; in a dry run: would be. What stays linked elsewhere
    does not count, and what several names share counts once."""
    checkpoints: Sequence[str] = ()
    """The ids of the checkpoints that went."""


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What went (in a dry run: would go), and what stays though the policy lets it go."""

    sessions: Sequence[Pruned] = ()
    """Deleted with all that belongs to them."""
    checkpoints: Sequence[Pruned] = ()
    """Sessions that stay, and lost checkpoints."""
    spared: Sequence[Pruned] = ()
    """Held by a live process, or changed since they were judged."""
    damaged: Sequence[Pruned] = ()
    """Not readable; never touched, whatever the policy says."""
    failed: Sequence[Pruned] = ()
    """The system refused; the next run tries again."""
    total_bytes: int | None = None
    """What all sessions took before, if the policy asks for it."""
    dry_run: bool = False

    @property
    def freed(self) -> int:
        """Bytes on disk that are free again; in a dry run: would be."""
        return sum(item.freed for item in (*self.sessions, *self.checkpoints))


def prune(
    backend: Backend, policy: RetentionPolicy, *, apply: bool, progress: Progress | None = None
) -> PruneReport:
    """Judge every session by ``policy``; delete what goes if ``apply`` is true."""
    return _Prune(backend, policy, apply, progress or no_progress).run()


def _as_it_is(item: SessionSummary) -> SessionSummary:
    """Look at nothing."""
    return item


@dataclass(slots=True)
class _Plan:
    """What is to become of one session."""

    seen: SessionSummary
    entry: Pruned
    whole: bool


class _Prune:
    def __init__(
        self, backend: Backend, policy: RetentionPolicy, apply: bool, progress: Progress
    ) -> None:
        self.backend = backend
        self.policy = policy
        self.apply = apply
        self.progress = progress
        self.now = backend.clock()
        self.sessions: list[Pruned] = []
        self.checkpoints: list[Pruned] = []
        self.spared: list[Pruned] = []
        self.damaged: list[Pruned] = []
        self.failed: list[Pruned] = []
        self.total: int | None = None
        self.looked = 0
        """Sessions that were looked at so far; what is to be done with them comes after that."""

    def run(self) -> PruneReport:
        if self.apply:
            self.backend.tidy()  # what an interrupted run moved to the trash
        plans = self._plans()
        for done, plan in enumerate(plans):
            self.progress(self.looked + done, self.looked + len(plans))
            self._guarded(plan.entry, self._apply if self.apply else self._preview, plan)
        self.progress(self.looked + len(plans), self.looked + len(plans))
        return PruneReport(
            sessions=tuple(self.sessions),
            checkpoints=tuple(self.checkpoints),
            spared=tuple(self.spared),
            damaged=tuple(self.damaged),
            failed=tuple(self.failed),
            total_bytes=self.total,
            dry_run=not self.apply,
        )

    # --- judging ---------------------------------------------------------------------------------

    def _plans(self) -> list[_Plan]:
        """Return what goes, oldest first: whole sessions, then checkpoints of others."""
        sizes = self._sizes() if self.policy.max_total_size is not None else {}
        candidates = self._candidates()
        going, reserve = (
            self.policy.choose(candidates, self.now) if self.policy.judges_sessions else ([], [])
        )
        whole = {item.session_id for item, _ in going}
        plans = [self._plan_whole(item, reason) for item, reason in going]
        trims = self._plan_trims(candidates, whole)
        if self.policy.max_total_size is not None:
            self.total = sum(sizes.values())
            left = self.total - sum(sizes.get(session_id, 0) for session_id in whole)
            left -= sum(trim.entry.freed for trim in trims.values())
            over = f"more than {self.policy.max_total_size:,} bytes"
            for item in reserve:
                if left <= self.policy.max_total_size:
                    break
                trimmed = trims.pop(item.session_id, None)
                left -= sizes.get(item.session_id, 0) - (trimmed.entry.freed if trimmed else 0)
                plans.append(self._plan_whole(item, f"{item.status}, the oldest of {over}"))
        return plans + list(trims.values())

    def _candidates(self) -> list[SessionSummary]:
        """Return the sessions that decide what goes, and put the damaged ones on record.

        Those are all that the policy is about, or where only age decides: those that are old
        enough, and as many of the newest as stay however old they are. Each is as its file says,
        whatever the index believes: nothing goes that another session should have made room for.
        """
        query = make_query(
            Filters(status=self.policy.statuses), limit=None, cursor=None, order="updated_at"
        )
        every = replace(query, keeps_damaged=True)
        if self.policy.max_total_size is not None:
            # One that the index does not know of makes room, too, so that another can stay.
            # Beside measuring them all a look at each costs little.
            return self._looked_at(self.backend.find(every, _as_it_is, verify=True))
        until = self.policy.only_before(self.now)
        found = self._looked_at(self.backend.select(replace(every, until=until)))
        if until is None or not found or not self.policy.keep_last:
            return found
        both = {item.session_id: item for item in found}
        for item in self._newest(query, self.policy.keep_last):
            both[item.session_id] = item  # of one that was saved in between, what it is now
        return list(both.values())

    def _newest(self, query: SessionQuery, count: int) -> Iterator[SessionSummary]:
        """Yield the last updated ones; what has no readable time is never old, so it is newest."""
        unknown = replace(query, after=(0, math.inf, ""))
        order = replace(query, order="-updated_at")
        return islice(
            chain(self.backend.find(unknown, _as_it_is), self.backend.find(order, _as_it_is)), count
        )

    def _looked_at(self, items: Iterator[SessionSummary]) -> list[SessionSummary]:
        candidates: list[SessionSummary] = []
        while chunk := list(islice(items, _CHUNK)):
            known = self.looked + len(chunk)
            for item in chunk:
                self.progress(self.looked, known)
                self.looked += 1
                if item.damaged is None:
                    candidates.append(item)
                else:
                    self.damaged.append(Pruned(item.session_id, item.damaged))
        self.damaged.sort(key=lambda item: item.session_id)
        return candidates

    def _sizes(self) -> dict[str, int]:
        ids = list(self.backend.ids())
        sizes: dict[str, int] = {}
        for session_id in ids:
            self.progress(self.looked, len(ids))
            self.looked += 1
            sizes[session_id] = self._size(session_id)
        return sizes

    def _size(self, session_id: str) -> int:
        try:
            return self.backend.usage(session_id).bytes
        except SessionStoreError:  # it is gone, or whoever touches it says what is wrong
            return 0

    def _plan_whole(self, item: SessionSummary, reason: str) -> _Plan:
        return _Plan(item, Pruned(item.session_id, reason, item.status, item.updated_at), True)

    def _plan_trims(
        self, candidates: list[SessionSummary], whole: Collection[str]
    ) -> dict[str, _Plan]:
        """Return what becomes of the checkpoints of those that stay, by their ids."""
        trims: dict[str, _Plan] = {}
        if not self.policy.judges_checkpoints:
            return trims
        staying = [item for item in candidates if item.session_id not in whole]
        for done, item in enumerate(sorted(staying, key=lambda item: item.session_id), 1):
            if trim := self._plan_trim(item):
                trims[item.session_id] = trim
            if done % _CHUNK == 0:
                self.progress(self.looked, self.looked + len(whole) + len(trims))
        return trims

    def _plan_trim(self, item: SessionSummary) -> _Plan | None:
        entry = Pruned(item.session_id, "", item.status, item.updated_at)
        plan: list[_Plan] = []

        def look() -> None:
            going = self._checkpoints_of(item)
            if going:
                freed = self.backend.freed_by(item.session_id, going)
                reason = f"{len(going):,} of its checkpoints"
                plan.append(
                    _Plan(
                        item, replace(entry, reason=reason, freed=freed, checkpoints=going), False
                    )
                )

        self._guarded(entry, look)
        return plan[0] if plan else None

    def _checkpoints_of(self, item: SessionSummary) -> tuple[str, ...]:
        latest = Resumability.named(item).checkpoint_id
        names = self.backend.checkpoint_ids(item.session_id)
        if not self.policy.may_choose(names, latest):
            return ()  # most have few: they need not be read
        kept = inspect.list_checkpoints(self.backend, item.session_id)
        return tuple(self.policy.choose_checkpoints(kept, latest, self.now))

    # --- doing -----------------------------------------------------------------------------------

    def _guarded(self, entry: Pruned, work: Callable[..., None], *args: object) -> None:
        """Do the work; what goes wrong with one session stops no other."""
        try:
            work(*args)
        except SessionNotFound:
            return  # somebody else deleted it: nothing is left to do, and nothing was ours
        except SessionClaimed as error:
            self.spared.append(replace(entry, reason=error.fact, freed=0, checkpoints=()))
        except SessionCorrupt as error:
            self.damaged.append(replace(entry, reason=error.reason, freed=0, checkpoints=()))
        except SessionStoreError as error:
            self.failed.append(replace(entry, reason=error.fact, freed=0, checkpoints=()))

    def _preview(self, plan: _Plan) -> None:
        probe = self.backend.probe(plan.entry.session_id)
        if probe.held:
            raise SessionClaimed(plan.entry.session_id, probe.holder)
        self._record(plan, self._measured(plan))

    def _apply(self, plan: _Plan) -> None:
        by = identity.new_owner(self.backend.clock())
        claim = self.backend.claim(plan.entry.session_id, by, timeout=0.0)
        try:
            # Read again under the claim: it may have been resumed, or changed, since.
            stored = claim.read()
            state = codec.decode(stored.payload, SessionState, claim.session_id, stored.file)
            if changed := _changed(plan.seen, summarize(state)):
                self.spared.append(replace(plan.entry, reason=changed, freed=0, checkpoints=()))
                return
            entry = self._measured(plan)
            claim.confirm()
            if plan.whole:
                claim.delete()
            else:
                entry = self._remove_checkpoints(claim, plan, entry)
            logger.info(
                "%s: pruned: %s",
                claim.session_id,
                entry.reason,
                extra=about("pruned", session_id=claim.session_id, reason=entry.reason),
            )
            self._record(plan, entry)
        finally:
            claim.release()

    def _remove_checkpoints(self, claim: Claim, plan: _Plan, entry: Pruned) -> Pruned:
        """Remove what may still go; nothing that came, or became the latest, since."""
        still = self._checkpoints_of(plan.seen)
        going = tuple(name for name in entry.checkpoints if name in still)
        freed = self.backend.freed_by(claim.session_id, going)
        for checkpoint_id in going:
            claim.remove_checkpoint(checkpoint_id)
        return replace(
            entry, reason=f"{len(going):,} of its checkpoints", freed=freed, checkpoints=going
        )

    def _measured(self, plan: _Plan) -> Pruned:
        if not plan.whole:
            return plan.entry
        usage = self.backend.usage(plan.entry.session_id)
        return replace(plan.entry, freed=usage.bytes - usage.shared_bytes)

    def _record(self, plan: _Plan, entry: Pruned) -> None:
        (self.sessions if plan.whole else self.checkpoints).append(entry)


def _changed(seen: SessionSummary, now: SessionSummary) -> str | None:
    """Return in which way a session is not the one that was judged, or None if it is."""
    if now.status is SessionStatus.ACTIVE:
        return "it is active now"
    if (seen.revision, seen.incarnation) != (now.revision, now.incarnation):
        return (
            f"it changed meanwhile: revision {seen.revision} was judged, now it is {now.revision}"
        )
    # Other software, which knows no revisions, may have written it.
    if (seen.status, seen.updated_at) != (now.status, now.updated_at):
        return "it changed meanwhile"
    return None
