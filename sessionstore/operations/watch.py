"""Watch sessions: a burst of saves becomes one change, and the last state is never missed.

The watch takes the version of a state before it reads the state, so a change in between shows up at
the next look. Besides following events it looks at every session from time to time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, cast

from sessionstore.errors import SessionStoreError, WatchTimedOut
from sessionstore.model.ids import check_id
from sessionstore.model.query import Filters, SessionQuery, make_query
from sessionstore.model.state import SessionStatus
from sessionstore.model.summary import SessionSummary
from sessionstore.session import inspect
from sessionstore.storage.backend import Backend
from sessionstore.storage.changes import ChangeNotifier, PollingNotifier

Kind = Literal["found", "created", "changed", "deleted"]

_SHARE = 10
"""The time between two looks at everything is at least this many times the time of one."""
_STEP = 0.05
"""Seconds after which a look at everything reports what it has found so far."""
_TRUST = 10
"""With events the time between two looks is this many times longer."""


class Watched(TypedDict, total=False):
    """The keyword filters of ``watch``, a part of those of ``find``."""

    status: str | SessionStatus | Iterable[str | SessionStatus] | None
    goal_id: str | None
    agent_id: str | None
    correlation_id: str | None
    stream_id: str | None
    labels: Mapping[str, str] | None
    id_prefix: str | None
    resumable: bool | None
    interrupted: bool | None
    damaged: bool | None
    max_recoveries: int | None


@dataclass(frozen=True, slots=True)
class SessionChange:
    """One change of a session."""

    session_id: str
    kind: Kind
    """``found`` when the watch begins, then ``created``, ``changed`` or ``deleted``."""
    summary: SessionSummary
    """As in a listing: of now, or the last one that was seen of a deleted session."""


class Watch:
    """The sessions as they were seen last, and their changes since."""

    def __init__(
        self,
        backend: Backend,
        session_ids: Collection[str] | None,
        query: SessionQuery,
        *,
        until: frozenset[SessionStatus] | None,
        timeout: float | None,
        poll: float,
        uses_events: bool,
    ) -> None:
        self._backend = backend
        self._named = None if session_ids is None else list(dict.fromkeys(session_ids))
        self._query = query
        self._until = until
        self._timeout = timeout
        self._poll = poll
        self._deadline = math.inf if timeout is None else time.monotonic() + timeout
        self._notifier: ChangeNotifier = (
            backend.notifier(self._named) if uses_events else PollingNotifier()
        )
        self._versions: dict[str, Hashable] = {}
        self._shown: dict[str, SessionSummary] = {}
        self._gone: set[str] = set()
        self._ended: set[str] = set()
        """Sessions with an awaited status, which the filters exclude."""
        self._pending: Iterator[str] | None = None
        self._spent = 0.0
        self._begun = False
        """Whether every session was looked at once."""
        self._next_look = 0.0
        self._is_last = False
        self._is_up = False
        self.is_over: bool = False

    def close(self) -> None:
        """Stop following events."""
        self._notifier.close()

    def step(self, longest: float) -> list[SessionChange]:
        """Return the changes, after about ``longest`` seconds at most.

        Raises:
            WatchTimedOut: the time is up before every session has ended.
        """
        if self._is_up:
            return self._end()
        told: Collection[str] | None = ()
        if self._pending is None:
            told = self._wait(longest) if self._begun else None
            if told is None or time.monotonic() >= min(self._next_look, self._deadline):
                self._begin_look()
        changes = self._look(self._pending if self._pending is not None else sorted(told or ()))
        if self._pending is None:
            if self._has_ended():
                self.is_over = True
            elif self._is_last:
                self._is_up = True
                return changes or self._end()
        return changes

    def _end(self) -> list[SessionChange]:
        self.is_over = True
        if self._until is not None:
            raise WatchTimedOut(self._timeout or 0.0, self._waiting())
        return []

    def _wait(self, longest: float) -> Collection[str] | None:
        now = time.monotonic()
        pause = min(longest, self._next_look - now, self._deadline - now)
        return self._notifier.wait(pause) if pause > 0 else ()

    def _begin_look(self) -> None:
        """Begin to look at everything. A large store takes more than one step."""
        # A look that begins when the time is up is the last: changes just before it count.
        self._is_last = time.monotonic() >= self._deadline
        there = sorted(self._backend.ids()) if self._named is None else self._named
        self._pending = iter(dict.fromkeys([*there, *self._versions]))
        self._spent = 0.0

    def _look(self, session_ids: Iterable[str]) -> list[SessionChange]:
        started = time.monotonic()
        changes: list[SessionChange] = []
        for session_id in session_ids:
            # Race: Save during a watch. The version comes first, so the next look sees the save.
            version = self._backend.version(session_id)
            if version != self._versions.get(session_id):  # otherwise unchanged, or still missing
                change = self._read(session_id, version)
                if change is not None:
                    changes.append(change)
            if self._pending is not None and time.monotonic() - started > _STEP:
                self._spent += time.monotonic() - started
                return changes
        if self._pending is not None:
            now = time.monotonic()
            self._pending = None
            self._begun = True
            trust = _TRUST if self._notifier.is_listening else 1
            pause = max(self._poll * trust, (self._spent + now - started) * _SHARE)
            self._next_look = now + pause
        return changes

    def _read(self, session_id: str, version: Hashable | None) -> SessionChange | None:
        now = None if version is None else self._backend.summary(session_id)
        if now is None:
            self._versions.pop(session_id, None)
            shown = self._shown.pop(session_id, None)
            if shown is None:
                return None
            self._gone.add(session_id)
            return SessionChange(session_id, "deleted", shown)
        self._versions[session_id] = version
        before = self._shown.get(session_id)
        self._ended.discard(session_id)
        if not self._query.matches(now):
            return self._read_end(now, before)
        with suppress(SessionStoreError):  # it is being deleted: the next look shows that
            now = inspect.examine(self._backend, now)
        if not self._query.finally_matches(now):
            return self._read_end(now, before)
        if before is not None and _identity(before) == _identity(now):
            return None  # read already, just after its version was taken
        self._shown[session_id] = now
        self._gone.discard(session_id)
        kind: Kind = "found"
        if self._begun:
            kind = "created" if before is None or _is_another(before, now) else "changed"
        return SessionChange(session_id, kind, now)

    def _read_end(self, now: SessionSummary, before: SessionSummary | None) -> SessionChange | None:
        """Return the end of a session that was shown, and that the filters exclude by now."""
        if self._until is None or now.status not in self._until:
            return None
        self._ended.add(now.session_id)
        if before is None or _identity(before) == _identity(now):
            return None
        self._shown[now.session_id] = now
        return SessionChange(now.session_id, "changed", now)

    # --- the end ---------------------------------------------------------------------------------

    def _has_ended(self) -> bool:
        if self._until is None:
            return False
        if self._named is None and not self._shown:
            return False  # no session has begun yet
        return not self._waiting()

    def _waiting(self) -> list[str]:
        """Return the ids of the sessions that have none of the awaited statuses yet."""
        if self._until is None:
            return []
        names = self._named if self._named is not None else list(self._shown)
        waiting = []
        for session_id in names:
            shown = self._shown.get(session_id)
            has_ended = session_id in self._gone if shown is None else shown.status in self._until
            if not has_ended and session_id not in self._ended:
                waiting.append(session_id)
        return waiting


def make_watch(
    backend: Backend,
    session_ids: Iterable[str] | None,
    *,
    until: str | SessionStatus | Iterable[str | SessionStatus] | None,
    timeout: float | None,
    poll: float,
    events: bool,
    filters: Watched,
) -> Watch:
    """Return a watch; the arguments and errors are those of ``store.watch()``."""
    if not poll > 0 or (timeout is not None and not timeout >= 0):
        raise ValueError("poll must be more than 0 seconds, and timeout 0 or more, or None")
    named = [session_ids] if isinstance(session_ids, str) else session_ids
    return Watch(
        backend,
        None if named is None else [check_id(name) for name in named],
        make_query(cast("Filters", filters), limit=None, cursor=None, order="session_id"),
        until=_statuses(until),
        timeout=timeout,
        poll=poll,
        uses_events=events,
    )


def watch(watching: Watch) -> Iterator[SessionChange]:
    """Yield changes until the watch is over."""
    try:
        while not watching.is_over:
            yield from watching.step(_LONGEST)
    finally:
        watching.close()


_LONGEST = 1.0
"""The longest wait in seconds, so that Ctrl-C works everywhere."""


def _statuses(until: Any) -> frozenset[SessionStatus] | None:
    """Return the statuses that end a watch.

    Raises:
        ValueError: one of them is no status.
    """
    if until is None:
        return None
    given = [until] if isinstance(until, str) else list(until)
    return frozenset(SessionStatus(status) for status in given)


def _identity(item: SessionSummary) -> tuple[object, ...]:
    return item.revision, item.incarnation, item.status, item.updated_at, item.damaged


def _is_another(before: SessionSummary, now: SessionSummary) -> bool:
    """Return whether the session was deleted and created again in between."""
    is_readable = before.damaged is None and now.damaged is None
    return is_readable and before.incarnation != now.incarnation
