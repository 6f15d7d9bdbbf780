"""Statistics of a store: how many sessions it has of each kind, and the space that they take.

Counts come from the states, quickly if there is an index. With sizes, each session is examined and
measured, and counted as it was seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from heapq import heappush, heappushpop, nsmallest
from typing import TYPE_CHECKING

from sessionstore import clock
from sessionstore.errors import SessionCorrupt, SessionNotFound, StorageError
from sessionstore.model.query import Filters, SessionQuery, make_query
from sessionstore.model.status import SessionStatus
from sessionstore.model.summary import SessionSummary
from sessionstore.session import inspect
from sessionstore.storage.backend import Backend
from sessionstore.storage.values import Usage

if TYPE_CHECKING:  # it loads pydantic, which counting does without
    from sessionstore.storage.report import Progress

DAYS = 7
LARGEST = 10
OLDEST = 10


@dataclass(frozen=True, slots=True)
class DayCount:
    """The sessions of one day that still exist."""

    day: date
    """In UTC."""
    started: int
    """How many of the existing sessions were started on this day."""
    bytes: int
    """The space that they take now, in bytes."""


@dataclass(frozen=True, slots=True)
class SessionSize:
    """A session and its size."""

    session_id: str
    status: SessionStatus | None
    """None if it is damaged."""
    bytes: int
    checkpoints: int


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A session that has not ended."""

    session_id: str
    status: SessionStatus
    started_at: str
    updated_at: str
    is_stale: bool


@dataclass(frozen=True, slots=True)
class StoreStats:
    """The counts of a store; it may change while they are taken."""

    taken_at: str
    sessions: int = 0
    """All sessions, damaged ones included."""
    by_status: Mapping[str, int] = field(default_factory=dict)
    """How many sessions have each status; a damaged one has none."""
    stale: int = 0
    """ACTIVE sessions whose owner is dead."""
    unknown: int = 0
    """ACTIVE sessions of which it is unknown whether the owner lives."""
    interrupted: int = 0
    resumable: int = 0
    """Sessions that are neither COMPLETED nor CANCELLED and have a state to go on from. Without
    sizes nobody looks whether the checkpoint of each is there and loads."""
    unresumable: int = 0
    """Sessions whose checkpoint does not load; counted only with sizes."""
    damaged: int = 0
    checkpoints: int = 0
    bytes: int = 0
    """The space of all sessions; 0, as the other sizes, without sizes."""
    checkpoint_bytes: int = 0
    application_bytes: int = 0
    journals: int = 0
    journal_bytes: int = 0
    unmeasured: int = 0
    """Sessions that could not be measured."""
    days: Sequence[DayCount] = ()
    """The last seven days; the last one is today so far."""
    largest: Sequence[SessionSize] = ()
    """The ten largest sessions, the largest first."""
    flushes: str = ""
    """How many flushes make a save durable here, and why: ``one flush: ext4, data=ordered``."""
    oldest_unfinished: Sequence[Unfinished] = ()
    """The ten ACTIVE or PAUSED sessions that started first; those without a readable time last."""


Counted = Callable[[StoreStats], None]
"""Called with the counts before sizes are measured."""

_UNFINISHED = (SessionStatus.ACTIVE, SessionStatus.PAUSED)


def count(
    backend: Backend,
    *,
    sizes: bool = True,
    progress: Progress | None = None,
    counted: Counted | None = None,
) -> StoreStats:
    """Return the counts of all sessions, and with ``sizes`` the space that they take."""
    if not sizes or counted is not None:
        found = _count_states(backend)
        if counted is not None:
            counted(found)
        if not sizes:
            return found
    counting = _SessionCounter(backend)
    total = sum(1 for _ in backend.ids())
    for number, item in enumerate(backend.select(SessionQuery()), 1):
        counting.add(item)
        if progress is not None:
            progress(number, max(number, total))
    return counting.result()


def _count_states(backend: Backend) -> StoreStats:
    """Return the counts from the states; only the owners of ACTIVE sessions are examined."""
    now = backend.clock()
    days = _days_until(now)
    statuses = list(SessionStatus)
    (sessions, damaged, interrupted, resumable, *counts), (active, unfinished) = (
        backend.count_and_list(
            [
                SessionQuery(),
                _query(Filters(damaged=True)),
                _query(Filters(interrupted=True)),
                _query(Filters(resumable=True, unfinished=True)),
                *(_query(Filters(status=status)) for status in statuses),
                *(_query(_started_on(day)) for day in days),
            ],
            [
                _query(Filters(status=SessionStatus.ACTIVE)),
                _query(Filters(status=_UNFINISHED), limit=OLDEST, order="started_at"),
            ],
        )
    )
    seen = {item.session_id: inspect.examine(backend, item) for item in active}
    oldest = (seen.get(item.session_id, item) for item in unfinished)
    return StoreStats(
        taken_at=clock.to_text(now),
        sessions=sessions,
        by_status={str(status): found for status, found in zip(statuses, counts, strict=False)},
        stale=sum(item.is_stale for item in seen.values()),
        unknown=sum(_is_unknown(item) for item in seen.values()),
        interrupted=interrupted,
        resumable=resumable,
        damaged=damaged,
        flushes=backend.flushes(),
        days=tuple(
            DayCount(day, started, 0)
            for day, started in zip(days, counts[len(statuses) :], strict=True)
        ),
        oldest_unfinished=tuple(
            _unfinished(item, item.status)
            for item in oldest
            if item.status in _UNFINISHED  # it may have ended just now
        ),
    )


def _query(
    filters: Filters, *, limit: int | None = None, order: str = "session_id"
) -> SessionQuery:
    return make_query(filters, limit=limit, cursor=None, order=order)


def _days_until(now: datetime) -> list[date]:
    today = date.fromisoformat(clock.to_text(now)[:10])
    return [today - timedelta(days=ago) for ago in reversed(range(DAYS))]


def _started_on(day: date) -> Filters:
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return Filters(started_since=begin, started_until=begin + timedelta(days=1))


def _is_unknown(item: SessionSummary) -> bool:
    return item.liveness is not None and item.liveness.is_unknown


def _unfinished(item: SessionSummary, status: SessionStatus) -> Unfinished:
    return Unfinished(item.session_id, status, item.started_at, item.updated_at, item.is_stale)


class _SessionCounter:
    """Counts sessions while each is examined and measured."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._now = backend.clock()
        self._days = {day: [0, 0] for day in _days_until(self._now)}
        self._statuses: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()
        self._largest: list[tuple[int, str, SessionSize]] = []
        self._unfinished: list[tuple[float, str, Unfinished]] = []

    def add(self, item: SessionSummary) -> None:
        if item.damaged is None:
            item = inspect.examine(self._backend, item)
        used = self._measure(item)
        self._seen["sessions"] += 1
        self._seen["damaged"] += item.damaged is not None
        if item.status is not None:
            self._count_content(item)
        started = clock.parse(item.started_at)
        day = self._days.get(started.date()) if started is not None else None
        if day is not None:
            day[0] += 1
            day[1] += used.bytes if used else 0

    def _count_content(self, item: SessionSummary) -> None:
        assert item.status is not None
        self._statuses[item.status] += 1
        self._seen["stale"] += item.is_stale
        self._seen["unknown"] += _is_unknown(item)
        self._seen["interrupted"] += item.is_interrupted
        self._seen["resumable"] += item.is_resumable and not item.is_finished
        self._seen["unresumable"] += item.unresumable is not None
        if item.status in _UNFINISHED:
            started = clock.parse(item.started_at)
            seconds = float("inf") if started is None else started.timestamp()
            found = _unfinished(item, item.status)
            self._unfinished.append((seconds, item.session_id, found))
            if len(self._unfinished) > 100 * OLDEST:
                self._unfinished = nsmallest(OLDEST, self._unfinished)

    def _measure(self, item: SessionSummary) -> Usage | None:
        try:
            used = self._backend.usage(item.session_id)
        except (SessionNotFound, SessionCorrupt, StorageError):
            self._seen["unmeasured"] += 1
            return None
        self._seen["bytes"] += used.bytes
        self._seen["checkpoints"] += used.checkpoints
        self._seen["checkpoint_bytes"] += used.checkpoint_bytes
        self._seen["application_bytes"] += used.application_bytes
        self._seen["journals"] += used.journals
        self._seen["journal_bytes"] += used.journal_bytes
        measured = SessionSize(item.session_id, item.status, used.bytes, used.checkpoints)
        entry = (used.bytes, item.session_id, measured)
        if len(self._largest) < LARGEST:
            heappush(self._largest, entry)
        else:
            heappushpop(self._largest, entry)
        return used

    def result(self) -> StoreStats:
        return StoreStats(
            taken_at=clock.to_text(self._now),
            flushes=self._backend.flushes(),
            by_status={str(status): self._statuses[status] for status in SessionStatus},
            days=tuple(DayCount(day, started, size) for day, (started, size) in self._days.items()),
            largest=tuple(item for *_, item in sorted(self._largest, reverse=True)),
            oldest_unfinished=tuple(item for *_, item in nsmallest(OLDEST, self._unfinished)),
            **self._seen,
        )
