"""Count the sessions of a store and what they take: what a person on call asks first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from heapq import heappush, heappushpop, nsmallest

from sessionstore import clock, inspection
from sessionstore.backends.base import Backend, Usage
from sessionstore.errors import SessionCorrupt, SessionNotFound, StorageError
from sessionstore.query import SessionSummary
from sessionstore.recovery import Progress
from sessionstore.status import SessionStatus

DAYS = 7
LARGEST = 10
OLDEST = 10


@dataclass(frozen=True, slots=True)
class Day:
    """What remains of one day's sessions."""

    day: date
    """In UTC."""
    started: int
    """How many of the sessions that are there now were started on it."""
    bytes: int
    """What those take now, in bytes; what was deleted since left no trace."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A session and what it takes."""

    session_id: str
    status: SessionStatus | None
    """None if it is damaged."""
    bytes: int
    checkpoints: int


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A session that has not come to an end."""

    session_id: str
    status: SessionStatus
    started_at: str
    updated_at: str
    is_stale: bool


@dataclass(frozen=True, slots=True)
class StoreStats:
    """The counts of a store, as it was while they were taken; it may have changed meanwhile."""

    taken_at: str
    sessions: int = 0
    """All of them, damaged ones included."""
    by_status: Mapping[str, int] = field(default_factory=dict)
    """How many have each status; damaged ones have none."""
    stale: int = 0
    """ACTIVE, and the owner is dead."""
    unknown: int = 0
    """ACTIVE, and whether the owner lives cannot be known from here."""
    interrupted: int = 0
    resumable: int = 0
    """With a checkpoint that loads."""
    damaged: int = 0
    checkpoints: int = 0
    bytes: int = 0
    """What all of them take; zero, as the other sizes, if they were not to be measured."""
    checkpoint_bytes: int = 0
    application_bytes: int = 0
    unmeasured: int = 0
    """Sessions whose size could not be found out."""
    days: Sequence[Day] = ()
    """The last seven days, today last; it is not over yet."""
    largest: Sequence[Measured] = ()
    """The ten that take most, the largest first."""
    oldest_unfinished: Sequence[Unfinished] = ()
    """The ten ACTIVE or PAUSED ones that started first; without a readable time, last."""


def count(backend: Backend, *, sizes: bool = True, progress: Progress | None = None) -> StoreStats:
    """Return the counts of all sessions, each looked at as ``find`` does."""
    counting = _Counting(backend, sizes=sizes)
    ids = list(backend.ids())
    for number, session_id in enumerate(ids, 1):
        counting.add(session_id)
        if progress is not None:
            progress(number, len(ids))
    return counting.result()


class _Counting:
    def __init__(self, backend: Backend, *, sizes: bool) -> None:
        self._backend = backend
        self._sizes = sizes
        self._now = backend.clock()
        today = clock.to_text(self._now)[:10]
        self._first = date.fromisoformat(today) - timedelta(days=DAYS - 1)
        self._started = [0] * DAYS
        self._bytes_of_day = [0] * DAYS
        self._statuses: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()
        self._largest: list[tuple[int, str, Measured]] = []
        self._unfinished: list[tuple[float, str, Unfinished]] = []

    def add(self, session_id: str) -> None:
        item = self._backend.summary(session_id)
        if item is None:  # deleted since the ids were listed
            return
        if item.damaged is None:
            item = inspection.examine(self._backend, item)
        used = self._measure(item)
        self._seen["sessions"] += 1
        self._seen["damaged"] += item.damaged is not None
        if item.status is not None:
            self._count_content(item)
        if (place := self._day_of(item)) is not None:
            self._started[place] += 1
            self._bytes_of_day[place] += used.bytes if used else 0

    def _count_content(self, item: SessionSummary) -> None:
        assert item.status is not None
        self._statuses[item.status] += 1
        self._seen["stale"] += item.is_stale
        self._seen["unknown"] += item.liveness is not None and item.liveness.is_unknown
        self._seen["interrupted"] += item.is_interrupted
        self._seen["resumable"] += item.is_resumable
        if item.status in (SessionStatus.ACTIVE, SessionStatus.PAUSED):
            started = clock.parse(item.started_at)
            seconds = float("inf") if started is None else started.timestamp()
            found = Unfinished(
                item.session_id, item.status, item.started_at, item.updated_at, item.is_stale
            )
            self._unfinished.append((seconds, item.session_id, found))
            if len(self._unfinished) > 100 * OLDEST:
                self._unfinished = nsmallest(OLDEST, self._unfinished)

    def _measure(self, item: SessionSummary) -> Usage | None:
        if not self._sizes:
            return None
        try:
            used = self._backend.usage(item.session_id)
        except (SessionNotFound, SessionCorrupt, StorageError):
            self._seen["unmeasured"] += 1
            return None
        self._seen["bytes"] += used.bytes
        self._seen["checkpoints"] += used.checkpoints
        self._seen["checkpoint_bytes"] += used.checkpoint_bytes
        self._seen["application_bytes"] += used.application_bytes
        measured = Measured(item.session_id, item.status, used.bytes, used.checkpoints)
        entry = (used.bytes, item.session_id, measured)
        if len(self._largest) < LARGEST:
            heappush(self._largest, entry)
        else:
            heappushpop(self._largest, entry)
        return used

    def _day_of(self, item: SessionSummary) -> int | None:
        started: datetime | None = clock.parse(item.started_at)
        if started is None:
            return None
        place = (started.date() - self._first).days
        return place if 0 <= place < DAYS else None

    def result(self) -> StoreStats:
        return StoreStats(
            taken_at=clock.to_text(self._now),
            by_status={str(status): self._statuses[status] for status in SessionStatus},
            days=tuple(
                Day(self._first + timedelta(days=place), started, size)
                for place, (started, size) in enumerate(
                    zip(self._started, self._bytes_of_day, strict=True)
                )
            ),
            largest=tuple(item for *_, item in sorted(self._largest, reverse=True)),
            oldest_unfinished=tuple(item for *_, item in nsmallest(OLDEST, self._unfinished)),
            **self._seen,
        )
