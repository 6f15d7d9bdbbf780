"""How long a session took is never negative, whatever the clock did."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sessionstore import SessionStore
from tests.support.processes import read_state

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("back", [timedelta(milliseconds=1), timedelta(days=9999)])
@pytest.mark.parametrize("end", ["complete", "cancel"])
def test_a_clock_that_is_set_back_gives_no_negative_duration(
    tmp_path: Path, back: timedelta, end: str
) -> None:
    times = [NOW]
    store = SessionStore(tmp_path, clock=lambda: times[0])
    session = store.create("goal", session_id="s1")
    session.checkpoint("n")
    times[0] = NOW - back
    getattr(session, end)()
    assert store.load("s1").duration_ms == 0
    assert read_state(tmp_path, "s1")["duration_ms"] == 0
    stored = read_state(tmp_path, "s1")["timestamps"]
    assert stored["completed_at"] < stored["started_at"]  # the times themselves are kept


def test_a_stored_negative_duration_is_not_believed(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    store.create("goal", session_id="s1").complete()
    path = tmp_path / "sessions" / "s1" / "state.json"
    state = json.loads(path.read_bytes())
    state["duration_ms"] = -5
    state["timestamps"]["completed_at"] = "2020-01-01T00:00:00+00:00"
    path.write_text(json.dumps(state))
    assert store.load("s1").duration_ms == 0
