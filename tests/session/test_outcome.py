"""Who marks a session as stopped sets the same fields, whoever it is."""

from __future__ import annotations

import asyncio

import pytest

from sessionstore import SessionOwner, SessionState, SessionStatus, SessionTimestamps
from sessionstore.session import outcome

LAST, NOW = "2026-11-27T20:00:00.000000+00:00", "2026-11-27T21:00:00.000000+00:00"


@pytest.fixture
def state() -> SessionState:
    times = SessionTimestamps(started_at=LAST, updated_at=LAST)
    owner = SessionOwner(pid=4711, host="web1")
    return SessionState(session_id="s-1", goal_id="g", timestamps=times, owner=owner, pid=4711)


@pytest.mark.parametrize("status", ["failed", "cancelled", "paused"])
def test_a_session_that_is_marked_stopped_names_no_owner_and_when_it_stopped(
    state: SessionState, status: str
) -> None:
    outcome.mark_stopped(state, SessionStatus(status), error="given up", at=NOW)
    times = state.timestamps
    assert (state.status, state.owner, state.pid) == (status, None, None)
    assert (state.result.success, state.result.error) == (False, "given up")
    is_paused = status == "paused"
    assert times.paused_at_time == (NOW if is_paused else None)
    assert times.completed_at == (None if is_paused else NOW)


def test_an_interrupted_session_stopped_when_it_last_ran_and_says_who_ran_it(
    state: SessionState,
) -> None:
    owner = state.owner
    outcome.mark_interrupted(state, SessionStatus.FAILED, "power cut", owner=owner, now=NOW)
    assert state.recovery is not None
    assert (state.recovery.count, state.recovery.at, state.recovery.owner) == (1, NOW, owner)
    assert state.recovery.reason == state.result.error == "power cut"
    assert state.timestamps.completed_at == LAST
    assert state.is_interrupted
    outcome.mark_interrupted(
        state, SessionStatus.FAILED, "imported", owner=None, now=NOW, crashes=0
    )
    assert state.recovery.count == 1


def test_a_time_that_cannot_be_read_does_not_stop_a_mark(state: SessionState) -> None:
    state.timestamps.updated_at = "yesterday"
    outcome.mark_interrupted(state, SessionStatus.FAILED, "power cut", owner=None, now=NOW)
    assert state.timestamps.completed_at == NOW


class Stopped(asyncio.CancelledError):
    """A cancellation of a library."""


class CancelledError(Exception):
    """An error of the application that only has the name."""


STOPS = (
    KeyboardInterrupt(),
    SystemExit(3),
    GeneratorExit(),
    asyncio.CancelledError(),
    Stopped(),
    BaseExceptionGroup("all", [asyncio.CancelledError(), KeyboardInterrupt()]),
)
FAILURES = (
    CancelledError(),
    ValueError(),
    BaseException(),
    BaseExceptionGroup("one", [asyncio.CancelledError(), ValueError()]),
)


@pytest.mark.parametrize("error", STOPS, ids=lambda error: type(error).__name__)
def test_a_stop_is_known_without_loading_asyncio(error: BaseException) -> None:
    assert outcome.is_stop(error)


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_a_failure_is_no_stop(error: BaseException) -> None:
    assert not outcome.is_stop(error)


@pytest.mark.parametrize("status", ["completed", "cancelled"])
def test_what_somebody_ended_is_never_interrupted(state: SessionState, status: str) -> None:
    outcome.mark_interrupted(state, SessionStatus.FAILED, "power cut", owner=None, now=NOW)
    assert state.is_interrupted
    state.status = SessionStatus(status)
    assert not state.is_interrupted
