"""What to list: filters, orders and cursors, checked into one SessionQuery."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypedDict

from sessionstore import clock
from sessionstore.errors import InvalidQuery
from sessionstore.model.status import FINISHED, SessionStatus
from sessionstore.model.summary import SessionSummary

ORDERS = ("updated_at", "started_at", "session_id")


class SessionFilters(TypedDict, total=False):
    """The keyword filters of ``resume_interrupted``; see :class:`Filters`."""

    status: str | SessionStatus | Iterable[str | SessionStatus] | None
    """One status, or several of which a session has one."""
    goal_id: str | None
    """Exactly this goal."""
    agent_id: str | None
    """Exactly this agent."""
    correlation_id: str | None
    """Exactly this correlation id."""
    stream_id: str | None
    """Exactly this stream."""
    labels: Mapping[str, str] | None
    """All of these labels, with exactly these values."""
    id_prefix: str | None
    """Session ids that begin so."""
    resumable: bool | None
    """Whether there is a state to go on from; False finds those whose latest checkpoint is
    damaged or missing."""
    unfinished: bool | None
    """Whether the session is neither COMPLETED nor CANCELLED."""
    stale: bool | None
    """Whether the session is ACTIVE and its owner is dead."""
    damaged: bool | None
    """Whether the state cannot be read."""
    since: datetime | str | None
    """Written last at this time or later: a datetime, or ISO 8601 text."""
    until: datetime | str | None
    """Written last before this time."""
    started_since: datetime | str | None
    """Started at this time or later."""
    started_until: datetime | str | None
    """Started before this time."""


class Filters(SessionFilters, total=False):
    """The keyword filters of ``find``, ``iter_find`` and ``count``.

    A session must pass all that are given. None, and a filter that is left out, lets all pass.

    Examples:
        >>> page = store.find(status=["paused", "failed"], resumable=True, since="2020-11-01")
        >>> [item.session_id for item in page]
        ['ticket-1']
    """

    interrupted: bool | None
    """Whether the session was stopped without a verdict and nothing has run in it since."""
    max_recoveries: int | None
    """At most so many processes have died while they ran the session."""
    idle: timedelta | float | None
    """The session is ACTIVE, a live process holds it, and the last save or append to a journal was
    at least so long ago: a timedelta, or seconds. A write from the future counts as new."""


Position = tuple[int, float | str, str]
"""Where an item stands in an order: 1 if its key is unknown, else 0; then the key; then the id."""


@dataclass(frozen=True)
class SessionQuery:
    """A checked query: what to list, in which order, from where."""

    statuses: frozenset[SessionStatus] | None = None
    equal: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    id_prefix: str | None = None
    resumable: bool | None = None
    stale: bool | None = None
    alive: bool = False
    """Whether only ACTIVE sessions match whose owners live."""
    interrupted: bool | None = None
    damaged: bool | None = None
    max_recoveries: int | None = None
    since: float | None = None
    until: float | None = None
    started_since: float | None = None
    started_until: float | None = None
    keeps_damaged: bool = False
    """Whether damaged sessions match, whatever the other filters are."""
    limit: int | None = 50
    order: str = "-updated_at"
    after: Position | None = field(default=None)

    @property
    def judges_content(self) -> bool:
        """Whether a filter looks at the state, so that a damaged session cannot match."""
        return bool(
            self.statuses is not None
            or self.equal
            or self.labels
            or self.resumable is not None
            or self.stale is not None
            or self.alive
            or self.interrupted is not None
            or self.max_recoveries is not None
            or self.since is not None
            or self.until is not None
            or self.started_since is not None
            or self.started_until is not None
        )

    @property
    def descending(self) -> bool:
        """Whether the newest, or the last id, comes first."""
        return self.order.startswith("-")

    def position(self, item: SessionSummary) -> Position:
        """Return where ``item`` stands. A time that cannot be parsed sorts last either way."""
        key = self.order.lstrip("-")
        if key == "session_id":
            return (0, "", item.session_id)
        seconds = clock.seconds(getattr(item, key))
        return (1, 0.0, item.session_id) if seconds is None else (0, seconds, item.session_id)

    def sort(self, items: Iterable[SessionSummary]) -> list[SessionSummary]:
        """Return those ``items`` that come after the cursor, in order."""
        placed = sorted(
            ((self.sort_key(self.position(item)), item) for item in items), key=lambda one: one[0]
        )
        if self.after is None:
            return [item for _, item in placed]
        start = self.sort_key(self.after)
        return [item for key, item in placed if key > start]

    def sort_key(self, position: Position) -> tuple[Any, ...]:
        """Return the key that sorts ``position`` in this order."""
        unknown, value, session_id = position
        if not self.descending:
            return (unknown, value, session_id)
        if isinstance(value, str):
            return (unknown, value, _Reversed(session_id))
        return (unknown, -value, _Reversed(session_id))

    def matches(self, item: SessionSummary) -> bool:
        """Return whether ``item`` passes every filter that its state alone decides."""
        if self.id_prefix is not None and not item.session_id.startswith(self.id_prefix):
            return False
        if self.damaged is not None and self.damaged is (item.damaged is None):
            return False
        if item.damaged is not None:
            return self.keeps_damaged or not self.judges_content
        return self._content_matches(item)

    def _content_matches(self, item: SessionSummary) -> bool:
        if self.statuses is not None and item.status not in self.statuses:
            return False
        if any(getattr(item, name) != value for name, value in self.equal):
            return False
        if any(item.labels.get(key) != value for key, value in self.labels):
            return False
        if self.interrupted is not None and item.is_interrupted is not self.interrupted:
            return False
        if self.max_recoveries is not None and item.recoveries > self.max_recoveries:
            return False
        if (self.stale or self.alive) and item.status is not SessionStatus.ACTIVE:
            return False
        if self.resumable and not item.is_resumable:
            return False
        return _in_range(item.updated_at, self.since, self.until) and _in_range(
            item.started_at, self.started_since, self.started_until
        )

    def finally_matches(self, item: SessionSummary) -> bool:
        """Return whether ``item`` still passes after a look at its checkpoint and owner."""
        if item.damaged is not None:
            return True
        if not self.matches(item):  # it was read anew, and has changed
            return False
        if self.alive and not (item.liveness is not None and item.liveness.is_alive):
            return False
        return (self.resumable is None or item.is_resumable is self.resumable) and (
            self.stale is None or item.is_stale is self.stale
        )

    def cursor_after(self, item: SessionSummary) -> str:
        """Return the cursor for the items after ``item``."""
        text = json.dumps([self.order, *self.position(item)])
        return base64.urlsafe_b64encode(text.encode()).decode("ascii").rstrip("=")


def _in_range(text: str, since: float | None, until: float | None) -> bool:
    if since is None and until is None:
        return True
    seconds = clock.seconds(text)
    if seconds is None:
        return False
    return (since is None or seconds >= since) and (until is None or seconds < until)


class _Reversed:
    """Text that sorts in reverse order."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __lt__(self, other: _Reversed) -> bool:
        return other.text < self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reversed) and self.text == other.text

    __hash__ = None  # type: ignore[assignment]  # only ever compared


_LONGEST = 1e11
"""The longest idle time in seconds, three thousand years: nothing is older."""

_EQUAL = ("goal_id", "agent_id", "correlation_id", "stream_id")


def make_query(
    filters: Filters,
    *,
    limit: int | None,
    cursor: str | None,
    order: str,
    now: clock.Clock = clock.utc_now,
) -> SessionQuery:
    """Return the checked query; ``now`` is the clock by which sessions are idle.

    Raises:
        InvalidQuery: a filter, the limit, the order or the cursor cannot be used.
    """
    unknown = set(filters) - set(Filters.__annotations__)
    if unknown:
        raise InvalidQuery(
            sorted(unknown)[0], f"no such filter; there are {', '.join(Filters.__annotations__)}"
        )
    if order not in ORDERS and order not in [f"-{name}" for name in ORDERS]:
        raise InvalidQuery(
            "order", f"{order!r} is not one of {', '.join(ORDERS)} (with - in front: descending)"
        )
    if limit is not None and (type(limit) is not int or limit < 1):
        raise InvalidQuery("limit", f"{limit!r} is not a positive number (None lists all)")
    given: dict[str, Any] = {name: value for name, value in filters.items() if value is not None}
    for name in (*_EQUAL, "id_prefix"):
        if not isinstance(given.get(name, ""), str):
            raise InvalidQuery(name, f"{given[name]!r} is not text")
        if not _is_storable_text(given.get(name, "")):
            raise InvalidQuery(
                name, f"{given[name]!r} is not UTF-8: nothing that is stored can match it"
            )
    if type(given.get("max_recoveries", 0)) is not int:
        raise InvalidQuery("max_recoveries", f"{given['max_recoveries']!r} is not a whole number")
    idle, until = _idle(given), _moment(given, "until")
    if idle:  # every write is at least 0 seconds old, also where the clock was set back
        # A last write of exactly so long ago counts, and ``until`` itself is out of the range.
        latest = math.nextafter(now().timestamp() - idle, math.inf)
        until = latest if until is None else min(until, latest)
    return SessionQuery(
        statuses=_statuses(given.get("status"), _flag(given, "unfinished")),
        equal=tuple((name, given[name]) for name in _EQUAL if name in given),
        labels=label_pairs(given.get("labels", {})),
        id_prefix=given.get("id_prefix"),
        resumable=_flag(given, "resumable"),
        stale=_flag(given, "stale"),
        alive=idle is not None,
        interrupted=_flag(given, "interrupted"),
        damaged=_flag(given, "damaged"),
        max_recoveries=given.get("max_recoveries"),
        since=_moment(given, "since"),
        until=until,
        started_since=_moment(given, "started_since"),
        started_until=_moment(given, "started_until"),
        limit=limit,
        order=order,
        after=_read_cursor(cursor, order),
    )


def _is_storable_text(text: str) -> bool:
    """Return whether ``text`` has no lone surrogate: a terminal gives one for an odd byte."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def label_pairs(value: Any) -> tuple[tuple[str, str], ...]:
    """Return the labels that a filter asks for.

    Raises:
        InvalidQuery: it is no dict of text, or of text that cannot be stored.
    """
    if not isinstance(value, Mapping):
        raise InvalidQuery("labels", f"{value!r} is not a dict of text by key")
    for key, text in value.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise InvalidQuery("labels", f"{key!r}: {text!r} is not text by a key that is text")
        if not _is_storable_text(key + text):
            raise InvalidQuery(
                "labels", f"{key!r}: {text!r} is not UTF-8: nothing that is stored can match it"
            )
    return tuple(value.items())


def _statuses(value: Any, unfinished: bool | None) -> frozenset[SessionStatus] | None:
    """Return the statuses that pass both filters; None if all do."""
    if value is None and unfinished is None:
        return None
    passing = FINISHED if unfinished is False else frozenset(SessionStatus)
    if unfinished:
        passing -= FINISHED
    if value is None:
        return passing
    try:
        names = [value] if isinstance(value, str) else list(value)
        return passing & {SessionStatus(name) for name in names}
    except (TypeError, ValueError) as error:
        known = ", ".join(SessionStatus)
        raise InvalidQuery("status", f"{error}; there are {known}") from None


def _flag(given: dict[str, Any], name: str) -> bool | None:
    value = given.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidQuery(name, f"{value!r} is neither True, False nor None")
    return value


def _idle(given: dict[str, Any]) -> float | None:
    value = given.get("idle")
    if value is None:
        return None
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise InvalidQuery("idle", f"{value!r} is neither a timedelta nor seconds, 0 or more")
    return float(min(seconds, _LONGEST))


def _moment(given: dict[str, Any], name: str) -> float | None:
    value = given.get(name)
    if value is None:
        return None
    moment = clock.parse(value.isoformat() if isinstance(value, datetime) else value)
    if moment is None:
        raise InvalidQuery(name, f"{value!r} is neither a datetime nor an ISO 8601 time")
    return moment.timestamp()


def _read_cursor(cursor: str | None, order: str) -> Position | None:
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        made_for, unknown, value, session_id = json.loads(base64.urlsafe_b64decode(padded))
    except (ValueError, binascii.Error, TypeError, RecursionError):
        raise InvalidQuery("cursor", "no listing returned this cursor: start without one") from None
    if made_for != order:
        raise InvalidQuery("cursor", f"it was made for order={made_for!r}, not {order!r}")
    by_time = order.lstrip("-") != "session_id"
    if (
        not isinstance(session_id, str)
        or unknown not in (0, 1)
        or not isinstance(value, (int, float) if by_time else str)
        or (isinstance(value, float) and not math.isfinite(value))
        or not _is_storable_text(f"{value}{session_id}")
    ):
        raise InvalidQuery("cursor", "no listing returned this cursor: start without one")
    return (unknown, value, session_id)


Examine = Callable[[SessionSummary], SessionSummary]
"""Adds to a summary what only the store knows: liveness and resumability."""
