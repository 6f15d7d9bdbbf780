"""create_or_resume starts a job or goes on with it, and refuses what it must not touch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sessionstore import (
    AsyncSessionStore,
    NotResumable,
    SessionClaimed,
    SessionCorrupt,
    SessionEnded,
    SessionExists,
    SessionState,
    SessionStore,
    SessionStoreError,
    StateTypeMismatch,
)
from tests.support.processes import (
    Child,
    children,
    edit_state,
    left_active,
    read_state,
    state_path,
)

Store = SessionStore[SessionState]
Open = Callable[..., tuple[bool, dict[str, Any]]]


class Typed(SessionState):
    """Another program's state: it cannot do without a field that ours lacks."""

    budget: int


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return SessionStore(tmp_path, durability="process")


@pytest.fixture(params=["sync", "async"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Return what opens ``s-1``, says what it met, and lets go of it."""

    def sync(goal_id: str | None = "triage", **options: Any) -> tuple[bool, dict[str, Any]]:
        with (
            SessionStore(tmp_path, durability="process") as opened,
            opened.create_or_resume("s-1", goal_id, **options) as session,
        ):
            return session.is_resumed, dict(session.state.data_buffer)

    def awaited(goal_id: str | None = "triage", **options: Any) -> tuple[bool, dict[str, Any]]:
        async def main() -> tuple[bool, dict[str, Any]]:
            async with (
                AsyncSessionStore(tmp_path, durability="process") as opened,
                opened.create_or_resume("s-1", goal_id, **options) as session,
            ):
                return session.is_resumed, dict(session.state.data_buffer)

        return asyncio.run(main())

    return sync if request.param == "sync" else awaited


def work(store: Store, end: Callable[[Any], object]) -> None:
    """Leave ``s-1`` behind, saved, and ended in some way."""
    session = store.create("triage", session_id="s-1")
    session.state.data_buffer["step"] = 1
    session.save()
    end(session)


def test_an_absent_session_is_created_with_what_is_given(start: Open, tmp_path: Path) -> None:
    assert start(agent_id="router", input_data={"mail": 7}) == (False, {})
    stored = read_state(tmp_path, "s-1")
    assert (stored["goal_id"], stored["agent_id"]) == ("triage", "router")
    assert stored["input_data"] == {"mail": 7}


@pytest.mark.parametrize(
    "end",
    [
        lambda session: session.pause(),
        lambda session: session.pause("ask", resume_from="answer"),
        lambda session: session.fail("no such city"),
        lambda session: session.release(),
    ],
    ids=["paused", "waiting", "failed", "released"],
)
def test_one_that_stopped_is_resumed_and_what_is_given_is_ignored(
    start: Open, store: Store, tmp_path: Path, end: Callable[[Any], object]
) -> None:
    work(store, end)
    assert start(agent_id="other", input_data={"mail": 8}) == (True, {"step": 1})
    stored = read_state(tmp_path, "s-1")
    assert (stored["agent_id"], stored["input_data"]) == ("", {})


def test_one_that_is_there_needs_no_goal(start: Open, store: Store) -> None:
    work(store, lambda session: session.pause())
    assert start(None) == (True, {"step": 1})


def test_an_absent_one_without_a_goal_is_refused_and_not_created(start: Open, store: Store) -> None:
    with pytest.raises(TypeError, match="goal_id"):
        start(None)
    assert not store.exists("s-1")


def test_a_stale_one_is_resumed_and_its_death_recorded(start: Open, tmp_path: Path) -> None:
    left_active(tmp_path, "s-1")
    edit_state(tmp_path, "s-1", goal_id="triage")
    assert start()[0] is True
    stored = read_state(tmp_path, "s-1")
    assert (stored["recovery"]["count"], stored["status"]) == (1, "paused")


@pytest.mark.parametrize("end", ["complete", "cancel"])
def test_what_ended_is_refused_with_its_state(
    start: Open, store: Store, tmp_path: Path, end: str
) -> None:
    work(store, lambda session: getattr(session, end)())
    before = state_path(tmp_path, "s-1").read_bytes()
    with pytest.raises(SessionEnded) as refused:
        start()
    assert isinstance(refused.value, NotResumable)
    assert refused.value.state == store.load("s-1")
    assert state_path(tmp_path, "s-1").read_bytes() == before


def test_a_held_one_is_refused_by_name(start: Open, tmp_path: Path) -> None:
    with Child("act", tmp_path) as child:
        child.hear()
        child.ask("create", session_id="s-1")
        before = state_path(tmp_path, "s-1").read_bytes()
        with pytest.raises(SessionClaimed, match=str(child.pid)):
            start()
        assert state_path(tmp_path, "s-1").read_bytes() == before


def test_one_of_which_nobody_can_know_whether_it_runs_is_refused(
    start: Open, tmp_path: Path
) -> None:
    left_active(tmp_path, "s-1", owner=None, pid=None)
    before = state_path(tmp_path, "s-1").read_bytes()
    with pytest.raises(SessionClaimed) as refused:
        start()
    assert refused.value.is_unknown
    assert state_path(tmp_path, "s-1").read_bytes() == before


def test_a_damaged_one_is_refused_and_never_made_anew(
    start: Open, store: Store, tmp_path: Path
) -> None:
    work(store, lambda session: session.pause())
    state_path(tmp_path, "s-1").write_text("{")
    with pytest.raises(SessionCorrupt):
        start()
    assert state_path(tmp_path, "s-1").read_text() == "{"


def test_one_of_another_type_is_refused_and_told_what_to_change(
    store: Store, tmp_path: Path
) -> None:
    work(store, lambda session: session.pause())
    before = state_path(tmp_path, "s-1").read_bytes()
    typed = SessionStore(tmp_path, state_type=Typed)
    with pytest.raises(StateTypeMismatch, match="the new fields of Typed a default") as refused:
        typed.create_or_resume("s-1", "triage")
    assert refused.value.advice.endswith("see docs/how-to/upgrading.md")
    assert state_path(tmp_path, "s-1").read_bytes() == before


def test_one_for_another_goal_is_refused_and_both_are_named(
    start: Open, store: Store, tmp_path: Path
) -> None:
    work(store, lambda session: session.pause())
    before = state_path(tmp_path, "s-1").read_bytes()
    with pytest.raises(SessionExists, match="'triage', not 'report'"):
        start("report")
    assert state_path(tmp_path, "s-1").read_bytes() == before


def test_too_many_crashes_are_refused_and_retry_is_named(start: Open, tmp_path: Path) -> None:
    recovery = {"count": 3, "at": "2026-01-01T00:00:00Z", "reason": "", "owner": None}
    left_active(tmp_path, "s-1", goal_id="triage", recovery=recovery)
    with pytest.raises(NotResumable, match=r"4 processes died .* max_recoveries is 3.*retry"):
        start()
    # No crash goes uncounted: the fourth is on record, and a look does not count it again.
    stored = read_state(tmp_path, "s-1")
    assert (stored["recovery"]["count"], stored["status"]) == (4, "failed")
    with pytest.raises(NotResumable):
        start()
    assert read_state(tmp_path, "s-1") == stored
    assert start(max_recoveries=4)[0] is True


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"goal_id": "report"}, SessionExists),
        ({"latest_checkpoint_id": "cp_gone_20260101_000000"}, NotResumable),
    ],
)
def test_a_death_is_recorded_also_where_the_session_is_refused(
    start: Open, tmp_path: Path, changes: dict[str, Any], refusal: type[SessionStoreError]
) -> None:
    left_active(tmp_path, "s-1", **{"goal_id": "triage", **changes})
    with pytest.raises(refusal):
        start()
    stored = read_state(tmp_path, "s-1")
    assert (stored["recovery"]["count"], stored["status"]) == (1, "failed")
    assert not (tmp_path / "sessions/s-1/checkpoints").joinpath("before_resume").exists()


def test_a_whole_state_creates_once_and_is_ignored_afterwards(store: Store, tmp_path: Path) -> None:
    with store.create("triage", session_id="made") as session:
        state = session.state.model_copy(deep=True, update={"session_id": "s-1"})
        session.complete()
    state.data_buffer["mail"] = "hello"
    with store.create_or_resume("s-1", state=state) as session:
        assert (session.is_resumed, session.state.data_buffer) == (False, {"mail": "hello"})
        session.state.data_buffer["step"] = 1
    with store.create_or_resume("s-1", state=state) as session:
        assert session.is_resumed
        assert session.state.data_buffer == {"mail": "hello", "step": 1}
        session.complete()


def test_of_two_processes_at_once_one_creates_and_the_other_goes_on_or_learns_who(
    tmp_path: Path,
) -> None:
    ids = [f"s-{number}" for number in range(25)]
    with children(2, "support.jobs.start_each", tmp_path, *ids) as workers:
        for worker in workers:
            worker.hear()
        for worker in workers:
            worker.tell("go")
        answers = [worker.hear()["met"] for worker in workers]
    assert {len(met) for met in answers} == {len(ids)}
    for pair in zip(*answers, strict=True):
        assert pair.count("created") == 1, pair
        assert set(pair) <= {"created", "resumed", "SessionClaimed"}
    assert all(read_state(tmp_path, name)["status"] == "paused" for name in ids)
