"""A session that is to be tried again: what the loop offers then, and what is refused."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from sessionstore import (
    AsyncSessionStore,
    CheckpointNotFound,
    NotResumable,
    SessionClaimed,
    SessionEnded,
    SessionState,
    SessionStore,
)
from tests.support.cli import leave_behind, put
from tests.support.processes import (
    Child,
    edit_state,
    left_active,
    read_state,
    session_path,
)

Store = SessionStore[SessionState]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return SessionStore(tmp_path)


def offered(store: Store) -> list[str]:
    return [item.session_id for item in store.find(interrupted=True, max_recoveries=0)]


@pytest.mark.parametrize("has_checkpoint", [False, True])
def test_a_session_that_failed_by_itself_is_offered_again(
    tmp_path: Path, store: Store, has_checkpoint: bool
) -> None:
    session = store.create("goal", session_id="s1")
    session.state.data_buffer["step"] = 1
    if has_checkpoint:
        session.checkpoint()
    session.fail(ValueError("no such city"))
    assert offered(store) == []
    assert store.retry("s1") == read_state(tmp_path, "s1")["revision"]
    raw = read_state(tmp_path, "s1")
    reason = "to be tried again after: ValueError: no such city"
    assert (raw["status"], raw["result"]["error"]) == ("failed", reason)
    assert (raw["recovery"]["count"], raw["recovery"]["stops"]) == (0, 0)
    assert raw["recovery"]["reason"] == reason
    assert offered(store) == ["s1"]
    (again,) = store.resume_interrupted()
    with again:
        assert again.state.data_buffer == {"step": 1}
        again.complete()


def test_one_that_crashed_and_was_stopped_too_often_counts_from_0(
    tmp_path: Path, store: Store
) -> None:
    with pytest.raises(SystemExit), store.create("goal", session_id="s1"):
        raise SystemExit
    recovery = {**read_state(tmp_path, "s1")["recovery"], "count": 9, "stops": 99}
    edit_state(tmp_path, "s1", recovery=recovery)
    loop = store.resume_interrupted()
    assert list(loop) == []
    assert "store.retry" in loop.skipped[0].reason
    store.retry("s1")
    state = store.load("s1")
    assert state.recovery is not None
    assert (state.status, state.recovery.count, state.recovery.stops) == ("paused", 0, 0)
    (again,) = store.resume_interrupted()
    again.complete()


def test_what_went_wrong_stays_readable_and_does_not_grow(store: Store) -> None:
    with store.create("goal", session_id="s1") as session:
        session.fail("bad")
    for _ in range(3):
        store.retry("s1")
    assert store.load("s1").result.error == "to be tried again after: bad"


def test_the_death_of_a_stale_one_goes_on_record(tmp_path: Path, store: Store) -> None:
    leave_behind(tmp_path, "s1")
    store.retry("s1")
    state = store.load("s1")
    assert (state.status, state.owner, state.is_interrupted) == ("failed", None, True)
    assert state.recovery is not None
    assert "after: the process that ran this session died: pid" in str(state.recovery.reason)
    assert state.recovery.owner is not None


@pytest.mark.parametrize("end", ["complete", "cancel"])
def test_one_that_has_ended_is_refused(tmp_path: Path, store: Store, end: str) -> None:
    with store.create("goal", session_id="s1") as session:
        getattr(session, end)()
    before = read_state(tmp_path, "s1")
    with pytest.raises(SessionEnded):
        store.retry("s1")
    assert read_state(tmp_path, "s1") == before


def test_one_that_waits_is_refused_with_what_to_do(tmp_path: Path, store: Store) -> None:
    with store.create("goal", session_id="s1") as session:
        session.pause("ask")
    before = read_state(tmp_path, "s1")
    with pytest.raises(NotResumable, match=r'resume it with store.resume\("s1"\)'):
        store.retry("s1")
    assert read_state(tmp_path, "s1") == before


def test_one_that_runs_or_may_run_is_refused(tmp_path: Path, store: Store) -> None:
    with store.create("goal", session_id="runs") as session:
        with pytest.raises(SessionClaimed):
            store.retry("runs", force=True)
        session.complete()
    left_active(tmp_path, "unknown", owner=None, pid=None)
    with pytest.raises(SessionClaimed, match="no owner recorded"):
        store.retry("unknown")
    store.retry("unknown", force=True)
    assert offered(store) == ["unknown"]


@pytest.mark.parametrize("end", ["complete", "cancel", "pause"])
def test_again_offers_what_has_ended_or_waits(tmp_path: Path, store: Store, end: str) -> None:
    with store.create("goal", session_id="s1") as session:
        session.state.data_buffer["step"] = 1
        session.checkpoint()
        session.state.data_buffer["step"] = 2
        session.save()
        getattr(session, end)()
    before = read_state(tmp_path, "s1")
    store.retry("s1", again=True)
    raw = read_state(tmp_path, "s1")
    assert (raw["status"], raw["result"]["success"]) == ("paused", None)
    assert raw["timestamps"]["completed_at"] is None
    assert raw["result"]["output"] == before["result"]["output"]
    assert raw["data_buffer"] == before["data_buffer"]
    assert offered(store) == ["s1"]
    (again,) = store.resume_interrupted()
    with again:
        assert again.state.data_buffer == {"step": 2 if end == "pause" else 1}
        again.complete()


def test_the_traceback_stays_readable_through_a_retry(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.create("goal", session_id="s1"):
        raise ZeroDivisionError("by hand")
    for _ in range(2):
        store.retry("s1")
    state = store.load("s1")
    assert state.is_interrupted
    assert state.recovery is not None
    assert state.recovery.reason == "to be tried again after: ZeroDivisionError: by hand"
    assert str(state.result.error).startswith(f"{state.recovery.reason}\nTraceback ")
    assert str(state.result.error).endswith('raise ZeroDivisionError("by hand")')
    assert [item.error for item in store.find(interrupted=True)] == [state.recovery.reason]


@pytest.mark.parametrize("is_stale", [True, False])
def test_one_whose_checkpoint_is_damaged_is_refused_unless_another_state_is_chosen(
    tmp_path: Path, store: Store, is_stale: bool
) -> None:
    if is_stale:
        leave_behind(tmp_path, "s1")
        edit_state(tmp_path, "s1", data_buffer={"step": 2})
    else:
        with store.create("goal", session_id="s1") as session:
            session.checkpoint()
            session.state.data_buffer["step"] = 2
            session.fail("bad")
    latest = read_state(tmp_path, "s1")["latest_checkpoint_id"]
    (session_path(tmp_path, "s1") / "checkpoints" / f"{latest}.json").unlink()
    before = read_state(tmp_path, "s1")
    for chosen in (None, latest):
        with pytest.raises((NotResumable, CheckpointNotFound)):
            store.retry("s1", checkpoint_id=chosen)
    assert read_state(tmp_path, "s1") == before
    store.retry("s1", from_last_save=True)
    (again,) = store.resume_interrupted()
    with again:
        assert again.state.data_buffer == {"step": 2}
        again.complete()


def test_a_chosen_checkpoint_takes_journals_back_as_a_resume_of_it_does(store: Store) -> None:
    session = store.create("goal", session_id="s1")
    session.journal().append("a")
    kept = session.checkpoint()
    session.journal().append("b")
    session.checkpoint()
    session.fail("bad")
    store.retry("s1", checkpoint_id=kept.checkpoint_id)
    assert [one.value for one in store.journal("s1")] == ["a"]
    (again,) = store.resume_interrupted()
    with again:
        again.journal().append("c")
        again.complete()
    assert [one.value for one in store.journal("s1")] == ["a", "c"]


def test_a_store_of_the_original_framework_goes_on_from_the_last_save_too(tmp_path: Path) -> None:
    file = put(tmp_path, "s1")
    (file.parent / "checkpoints").mkdir()
    (file.parent / "checkpoints" / "cp_1.json").write_text(
        json.dumps({"checkpoint_id": "cp_1", "session_id": "s1", "data_buffer": {"step": 1}})
    )
    edit_state(
        tmp_path,
        "s1",
        status="failed",
        checkpoint_enabled=True,
        latest_checkpoint_id="cp_1",
        data_buffer={"step": 2},
    )
    store = SessionStore(tmp_path)
    store.retry("s1", from_last_save=True)
    (again,) = store.resume_interrupted()
    with again:
        assert again.state.data_buffer == {"step": 2}
        again.complete()
    store.retry("s1", checkpoint_id="cp_1", again=True)
    (again,) = store.resume_interrupted()
    with again:
        assert again.state.data_buffer == {"step": 1}
        again.complete()


def test_a_request_to_cancel_is_passed_over_only_when_somebody_says_so(
    tmp_path: Path, store: Store
) -> None:
    for name in ("heeded", "again"):
        with Child("act", tmp_path) as owner:
            owner.hear()
            owner.ask("create", session_id=name, checkpoint=True)
            assert store.cancel(name, reason="enough").is_pending
            owner.crash()
    with pytest.raises(SessionEnded):
        store.retry("heeded")
    assert read_state(tmp_path, "heeded")["status"] == "cancelled"
    store.retry("again", again=True)
    assert offered(store) == ["again"]
    state = store.load("again")
    assert state.recovery is not None
    assert "enough" in state.recovery.reason


def test_the_awaited_retry_is_the_same(tmp_path: Path, store: Store) -> None:
    with store.create("goal", session_id="s1") as session:
        session.fail("bad")

    async def retry() -> int:
        async with AsyncSessionStore(tmp_path) as awaited:
            return await awaited.retry("s1")

    assert asyncio.run(retry()) == 3
    assert offered(store) == ["s1"]
