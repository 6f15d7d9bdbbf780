"""Sessions of any age, by a clock that stands still."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sessionstore import SessionStore

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)


class Time:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def make(
    store: SessionStore[Any], time: Time, session_id: str, days_ago: float, end: str = "complete"
) -> None:
    """Make a session that ended, or was last checkpointed, so many days ago."""
    time.now = NOW - days_ago * DAY
    with store.create("goal", session_id=session_id) as session:
        getattr(session, end)(**({"error": "x"} if end == "fail" else {}))
    time.now = NOW
