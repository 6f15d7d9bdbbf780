"""Prune: delete what a retention policy gives up, each session judged again under its claim.

A prune never touches a session that a live process holds, the checkpoint that a resume would use,
or damage. It can be interrupted anywhere: each session is whole or gone, and the next run goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

from sessionstore.errors import SessionClaimed, SessionCorrupt, SessionNotFound, SessionStoreError
from sessionstore.log import log_session
from sessionstore.model import codec
from sessionstore.model.journal import STEPS
from sessionstore.model.query import Filters, SessionQuery, make_query
from sessionstore.model.state import SessionState, SessionStatus
from sessionstore.model.summary import SessionSummary, summarize
from sessionstore.operations import journal_copy, step_values
from sessionstore.operations.journal_copy import Surplus
from sessionstore.operations.retention import RetentionPolicy
from sessionstore.operations.step_values import ClosedValues
from sessionstore.process import identity
from sessionstore.session import inspect
from sessionstore.session.inspect import Resumability
from sessionstore.storage.backend import Backend
from sessionstore.storage.claim import Claim
from sessionstore.storage.report import Progress, no_progress
from sessionstore.text import count_of

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Pruned:
    """A session that was deleted, or lost a part of it; or the reason why not."""

    session_id: str
    reason: str
    status: SessionStatus | None = None
    updated_at: str = ""
    freed: int = 0
    """Bytes on disk that were freed, or would be in a dry run. Files with names elsewhere do not
    count, and bytes with several names count once."""
    checkpoints: Sequence[str] = ()
    """The ids of the removed checkpoints."""
    journals: Sequence[str] = ()
    """The journals that lost the records which no state and no checkpoint sees any more."""
    step_values: int = 0
    """How many steps lost their results, which no resume returns any more."""


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What was deleted (in a dry run: would be), and what stays although the policy gives it up."""

    sessions: Sequence[Pruned] = ()
    """Deleted sessions."""
    checkpoints: Sequence[Pruned] = ()
    """Sessions that stay, but lost checkpoints, records or step values that nobody needs."""
    spared: Sequence[Pruned] = ()
    """Sessions that a live process holds, or that changed since they were judged."""
    damaged: Sequence[Pruned] = ()
    """Sessions that cannot be read; a prune never touches them."""
    failed: Sequence[Pruned] = ()
    """Sessions for which the system refused; the next run tries again."""
    total_bytes: int | None = None
    """The space of all sessions before, if the policy limits it."""
    dry_run: bool = False

    @property
    def freed(self) -> int:
        """Bytes on disk that were freed, or would be in a dry run."""
        return sum(item.freed for item in (*self.sessions, *self.checkpoints))


def prune(
    backend: Backend, policy: RetentionPolicy, *, apply: bool, progress: Progress | None = None
) -> PruneReport:
    """Judge every session by ``policy``; delete what it gives up if ``apply`` is true."""
    return _Prune(backend, policy, apply, progress or no_progress).run()


def _as_it_is(item: SessionSummary) -> SessionSummary:
    """Examine nothing."""
    return item


@dataclass(slots=True)
class _PrunePlan:
    """The plan for one session."""

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
        """How many sessions were judged so far."""

    def run(self) -> PruneReport:
        if self.apply:
            self.backend.tidy()  # removes what an interrupted run moved to the trash
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

    def _plans(self) -> list[_PrunePlan]:
        """Return the plans, oldest first: whole sessions, then checkpoints of others."""
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
        """Return the sessions that decide what is deleted; add the damaged ones to the report.

        These are all sessions of the policy. If only age decides, they are the old ones, and the
        newest, which stay however old they are. Each is as its file says, not as the index says.
        """
        query = make_query(
            Filters(status=self.policy.statuses, labels=self.policy.labels),
            limit=None,
            cursor=None,
            order="updated_at",
        )
        every = replace(query, keeps_damaged=True)
        if self.policy.max_total_size is not None:
            # Race: Prune with an outdated index. A session that the index does not know counts,
            # too. Compared with measuring every session, reading each costs little.
            return self._looked_at(self.backend.find(every, _as_it_is, verify=True))
        until = self.policy.only_before(self.now)
        found = self._looked_at(self.backend.select(replace(every, until=until)))
        if until is None or not found or not self.policy.keep_last:
            return found
        both = {item.session_id: item for item in found}
        for item in self._newest(query, self.policy.keep_last):
            both[item.session_id] = item  # the newer summary of one that was saved in between
        return list(both.values())

    def _newest(self, query: SessionQuery, count: int) -> Iterator[SessionSummary]:
        """Yield the last updated sessions; before them those without a readable time."""
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
        except SessionStoreError:  # it is gone, or the prune of it reports what is wrong
            return 0

    def _plan_whole(self, item: SessionSummary, reason: str) -> _PrunePlan:
        return _PrunePlan(item, Pruned(item.session_id, reason, item.status, item.updated_at), True)

    def _plan_trims(
        self, candidates: list[SessionSummary], whole: Collection[str]
    ) -> dict[str, _PrunePlan]:
        """Return the plans for the checkpoints of sessions that stay, by session id."""
        trims: dict[str, _PrunePlan] = {}
        if not self.policy.judges_contents:
            return trims
        staying = [item for item in candidates if item.session_id not in whole]
        for done, item in enumerate(sorted(staying, key=lambda item: item.session_id), 1):
            if trim := self._plan_trim(item):
                trims[item.session_id] = trim
            if done % _CHUNK == 0:
                self.progress(self.looked, self.looked + len(whole) + len(trims))
        return trims

    def _plan_trim(self, item: SessionSummary) -> _PrunePlan | None:
        entry = Pruned(item.session_id, "", item.status, item.updated_at)
        plan: list[_PrunePlan] = []

        def look() -> None:
            going = self._checkpoints_of(item)
            surplus, values = self._surplus_of(item, going)
            if going or surplus or values:
                freed = self.backend.freed_by(item.session_id, going)
                trimmed = _trimmed(entry, going, surplus, values, freed)
                plan.append(_PrunePlan(item, trimmed, False))

        self._guarded(entry, look)
        return plan[0] if plan else None

    def _checkpoints_of(self, item: SessionSummary) -> tuple[str, ...]:
        if not self.policy.judges_checkpoints:
            return ()
        latest = Resumability.named(item).checkpoint_id
        names = self.backend.checkpoint_ids(item.session_id)
        if not self.policy.may_choose(names, latest):
            return ()  # most sessions have too few to choose from: these are not read
        kept = inspect.list_checkpoints(self.backend, item.session_id)
        return tuple(self.policy.choose_checkpoints(kept, latest, self.now, revision=item.revision))

    def _surplus_of(
        self, item: SessionSummary, going: Sequence[str]
    ) -> tuple[list[Surplus], ClosedValues | None]:
        """Return the records that nobody needs, and the values of steps that nothing replays."""
        surplus: list[Surplus] = []
        values: ClosedValues | None = None
        if self.backend.journal_names(item.session_id):
            current, _ = inspect.read_base(self.backend, item.session_id)
            if self.policy.judges_checkpoints:
                surplus = journal_copy.find_surplus(self.backend, current, going)
            if self.policy.step_values:
                values = step_values.find_closed(self.backend, current, going, surplus)
        return surplus, values

    # --- doing -----------------------------------------------------------------------------------

    def _guarded(self, entry: Pruned, work: Callable[..., None], *args: object) -> None:
        """Do the work; an error with one session stops no other."""
        try:
            work(*args)
        except SessionNotFound:
            return  # somebody else deleted it
        except SessionClaimed as error:
            self.spared.append(_untouched(entry, error.fact))
        except SessionCorrupt as error:
            self.damaged.append(_untouched(entry, error.reason))
        except SessionStoreError as error:
            self.failed.append(_untouched(entry, error.fact))

    def _preview(self, plan: _PrunePlan) -> None:
        probe = self.backend.probe(plan.entry.session_id)
        if probe.held:
            raise SessionClaimed(
                plan.entry.session_id, probe.holder, is_own=identity.is_holding(probe.holder)
            )
        self._record(plan, self._measured(plan))

    def _apply(self, plan: _PrunePlan) -> None:
        by = self.backend.new_owner(self.backend.clock())
        claim = self.backend.claim(plan.entry.session_id, by, timeout=0.0)
        try:
            # Read again under the claim: it may have been resumed, or changed, since.
            stored = claim.read()
            state = codec.decode(stored.payload, SessionState, claim.session_id, stored.file)
            if changed := _changed(plan.seen, self._summary(state)):
                self.spared.append(_untouched(plan.entry, changed))
                return
            entry = self._measured(plan)
            claim.confirm()
            if plan.whole:
                claim.delete()
            else:
                entry = self._trim(claim, plan, entry)
            log_session("pruned", claim.session_id, "pruned: %s", entry.reason, reason=entry.reason)
            self._record(plan, entry)
        finally:
            claim.release()

    def _summary(self, state: SessionState) -> SessionSummary:
        return summarize(state, self.backend.last_appended_at(state.session_id))

    def _trim(self, claim: Claim, plan: _PrunePlan, entry: Pruned) -> Pruned:
        """Remove the planned checkpoints, except one that became the latest since, and records."""
        still = self._checkpoints_of(plan.seen)
        going = tuple(name for name in entry.checkpoints if name in still)
        freed = self.backend.freed_by(claim.session_id, going)
        for checkpoint_id in going:
            claim.remove_checkpoint(checkpoint_id)
        surplus, values = self._surplus_of(plan.seen, ())
        anew = {journal.name: journal.needed for journal in surplus}
        if values is not None:
            anew[STEPS] = values.without
        for name, batches in anew.items():
            claim.rewrite_journal(name, batches())
        return _trimmed(entry, going, surplus, values, freed)

    def _measured(self, plan: _PrunePlan) -> Pruned:
        if not plan.whole:
            return plan.entry
        usage = self.backend.usage(plan.entry.session_id)
        return replace(plan.entry, freed=usage.bytes - usage.shared_bytes)

    def _record(self, plan: _PrunePlan, entry: Pruned) -> None:
        (self.sessions if plan.whole else self.checkpoints).append(entry)


def _trimmed(
    entry: Pruned,
    checkpoints: Sequence[str],
    surplus: Sequence[Surplus],
    values: ClosedValues | None,
    freed: int,
) -> Pruned:
    """Return the entry of a session that loses checkpoints, which free so much, and records."""
    names = tuple(journal.name for journal in surplus)
    reasons = [f"{len(checkpoints):,} of its checkpoints"] if checkpoints else []
    if names:
        reasons.append(f"records of {count_of(len(names), 'journal')} that nothing goes back to")
    if values is not None:
        reasons.append(f"the values of {count_of(values.steps, 'closed step')}")
        freed += values.freed
    return replace(
        entry,
        reason=", and ".join(reasons),
        freed=freed + sum(journal.freed for journal in surplus),
        checkpoints=tuple(checkpoints),
        journals=names,
        step_values=0 if values is None else values.steps,
    )


def _untouched(entry: Pruned, reason: str) -> Pruned:
    return replace(entry, reason=reason, freed=0, checkpoints=(), journals=(), step_values=0)


def _changed(seen: SessionSummary, now: SessionSummary) -> str | None:
    """Return how a session differs from the one that was judged, or None."""
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
