"""What a write sets besides what the application has changed."""

from __future__ import annotations

import pytest

from sessionstore import (
    MemoryBackend,
    SessionState,
    SessionStatus,
    SessionStore,
    SessionTimestamps,
)

NAIVE = "2025-05-02T10:00:00"


@pytest.mark.parametrize(
    ("started_at", "completed_at"), [(NAIVE, NAIVE), (NAIVE + "+00:00", NAIVE), (NAIVE, None)]
)
def test_a_session_that_is_completed_has_no_mix_of_naive_and_aware_times(
    started_at: str, completed_at: str | None
) -> None:
    store = SessionStore(MemoryBackend())
    given = SessionState(
        session_id="s",
        goal_id="g",
        timestamps=SessionTimestamps(started_at=started_at, updated_at=started_at),
    )
    with store.create(state=given) as session:
        if completed_at is None:
            session.complete()
        else:
            session.state.status = SessionStatus.COMPLETED
            session.state.timestamps.completed_at = completed_at
            session.save()

    times = store.load("s").timestamps
    assert times.started_at.endswith("+00:00")
    assert times.completed_at is not None
    assert times.completed_at.endswith("+00:00")
