"""Timestamps of the schema: this package writes aware UTC, and also reads naive local time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)


def to_text(moment: datetime) -> str:
    """Return ``moment`` as ISO 8601 in UTC with microseconds; a naive one is local time."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")


def parse(text: object) -> datetime | None:
    """Return ``text`` as an aware UTC datetime, or None if it cannot be parsed.

    A naive time is local time of this machine: other software writes such times.
    """
    if not isinstance(text, str):
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError, OSError):  # year 1 has no local time on some systems
        return None


def seconds(text: object) -> float | None:
    """Return ``text`` as seconds since the epoch, or None if it cannot be parsed."""
    try:
        moment = datetime.fromisoformat(text)  # type: ignore[arg-type]  # anything else raises
        if moment.tzinfo is not None:  # converting it to UTC would take time
            return moment.timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    local = parse(text)
    return None if local is None else local.timestamp()


_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def ago(moment: datetime, now: datetime) -> str:
    """Return how long before ``now`` a time was: ``5 min ago``, ``just now``, or ``in 2 h``."""
    seconds = (now - moment).total_seconds()
    for size, unit in _UNITS:
        if abs(seconds) >= size:
            amount = f"{int(abs(seconds) // size):,} {unit}"
            return f"{amount} ago" if seconds > 0 else f"in {amount}"
    return "just now"


def at(text: str | None, now: str) -> str:
    """Return a stored time for people: ``12:03:11Z (5 min ago)``, with the date unless it is today.

    A text that is no time is returned as it is, and ``an unknown time`` for none.
    """
    moment, today = parse(text), parse(now)
    if moment is None or today is None:
        return text or "an unknown time"
    form = "%H:%M:%SZ" if moment.date() == today.date() else "%Y-%m-%d %H:%M:%SZ"
    return f"{moment.strftime(form)} ({ago(moment, today)})"


def is_naive(text: str) -> bool:
    """Return whether ``text`` is a time without an offset."""
    try:
        return datetime.fromisoformat(text).tzinfo is None
    except (ValueError, TypeError):  # the check of the state refuses a wrong type
        return False


def milliseconds_between(start: object, end: object) -> int:
    """Return the whole milliseconds from ``start`` to ``end``; 0 if either cannot be parsed."""
    first, last = parse(start), parse(end)
    if first is None or last is None:
        return 0
    # Not total_seconds() * 1000: 1.001 s would be 1000 ms.
    return (last - first) // timedelta(milliseconds=1)
