"""The loop of a start-up resumes what was interrupted, one at a time, and says what it left out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sessionstore import (
    AsyncSessionStore,
    InvalidQuery,
    RevisionConflict,
    Session,
    SessionClaimed,
    SessionEnded,
    SessionNotFound,
    SessionState,
    SessionStore,
    StateTypeMismatch,
)
from tests.support.processes import edit_state, left_active, read_state, state_path

Store = SessionStore[SessionState]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return SessionStore(tmp_path, durability="process")


def interrupt(store: Store, session_id: str, *, goal_id: str = "triage") -> None:
    """Leave a session that Ctrl-C stopped."""
    with pytest.raises(KeyboardInterrupt), store.create(goal_id, session_id=session_id):
        raise KeyboardInterrupt


def resumed(store: Store, **options: Any) -> list[str]:
    """Return the ids that the loop yields; each is completed."""
    ids = []
    for session in store.resume_interrupted(**options):
        with session:
            ids.append(session.session_id)
            session.complete()
    return ids


def test_labels_choose_what_the_loop_resumes(store: Store) -> None:
    for name, labels in (("a", {"env": "prod"}), ("b", {"env": "test"}), ("c", {})):
        interrupt(store, name)
        with store.edit(name) as session:
            session.state.labels.update(labels)
    assert store.count(interrupted=True) == 3, "an edit of labels is no run"
    assert resumed(store, labels={"env": "prod", "user": "42"}) == []
    assert resumed(store, labels={"env": "prod"}) == ["a"]

    async def awaited() -> list[str]:
        ids = []
        async with AsyncSessionStore(store._backend) as other:
            async for session in other.resume_interrupted(labels={"env": "test"}):
                async with session:
                    ids.append(session.session_id)
        return ids

    assert asyncio.run(awaited()) == ["b"]


def test_the_loop_sweeps_and_goes_on_with_what_died_and_what_was_stopped(
    store: Store, tmp_path: Path
) -> None:
    interrupt(store, "stopped")
    left_active(tmp_path, "died")
    store.create("triage", session_id="paused").pause()
    store.create("triage", session_id="failed").fail("no such city")
    store.create("triage", session_id="completed").complete()
    store.create("triage", session_id="cancelled").cancel()
    loop = store.resume_interrupted()
    swept_before = loop.swept
    assert swept_before is None
    found = {}
    for session in loop:
        with session:
            assert session.is_resumed
            assert read_state(tmp_path, session.session_id)["status"] == "active"
            found[session.session_id] = session.state.recovery
            session.complete()
    assert set(found) == {"stopped", "died"}
    assert found["died"] is not None
    assert (found["died"].count, found["died"].stops) == (1, 0)
    assert loop.swept is not None
    assert [item.session_id for item in loop.swept.swept] == ["died"]
    assert loop.skipped == []
    assert resumed(store) == []


def test_the_loop_goes_through_all_pages_the_longest_waiting_first(store: Store) -> None:
    ids = [f"s-{number:03}" for number in range(120)]  # a page has 50
    for session_id in ids:
        interrupt(store, session_id)
    assert resumed(store) == ids


def test_without_a_sweep_only_what_is_on_record_is_resumed(store: Store, tmp_path: Path) -> None:
    interrupt(store, "stopped")
    left_active(tmp_path, "died")
    loop = store.resume_interrupted(sweep=False)
    for session in loop:
        session.complete()
    assert loop.swept is None
    assert read_state(tmp_path, "died")["status"] == "active"
    assert read_state(tmp_path, "stopped")["status"] == "completed"


def test_filters_choose_which_are_resumed(store: Store) -> None:
    interrupt(store, "a-1")
    interrupt(store, "a-2", goal_id="report")
    interrupt(store, "b-1")
    assert resumed(store, goal_id="triage", id_prefix="a-") == ["a-1"]
    assert resumed(store, status="paused") == ["a-2", "b-1"]


@pytest.mark.parametrize("name", ["interrupted", "order", "limit", "gaol_id"])
def test_what_is_no_filter_of_the_loop_is_refused(store: Store, name: str) -> None:
    options: Any = {name: True}
    with pytest.raises(InvalidQuery, match=name):
        store.resume_interrupted(**options)


def test_nothing_is_claimed_ahead_of_the_loop(store: Store, tmp_path: Path) -> None:
    for session_id in ("s-1", "s-2", "s-3"):
        interrupt(store, session_id)
    loop = store.resume_interrupted()
    first = next(loop)
    assert first.session_id == "s-1"
    for session_id in ("s-2", "s-3"):
        assert read_state(tmp_path, session_id)["status"] == "paused"
        store.claim(session_id).release()
    second = next(loop)
    assert not first.is_released, "a yielded session is the caller's"
    assert first.save() == first.revision
    third = next(loop)
    assert next(loop, None) is None
    for session in (first, second, third):
        session.complete()


def test_an_exception_in_the_body_leaves_the_loop_and_the_others_alone(
    store: Store, tmp_path: Path
) -> None:
    for session_id in ("s-1", "s-2"):
        interrupt(store, session_id)
    loop = store.resume_interrupted()
    with pytest.raises(ValueError):  # noqa: PT012 - the loop raises
        for session in loop:
            with session:
                raise ValueError("no such city")
    assert read_state(tmp_path, "s-1")["status"] == "failed"
    assert read_state(tmp_path, "s-2")["status"] == "paused"
    assert [session.session_id for session in _released(loop)] == ["s-2"], "a try inside goes on"


def test_the_loop_can_be_gone_through_once(store: Store) -> None:
    interrupt(store, "s-1")
    loop = store.resume_interrupted()
    for session in loop:
        session.release()
    interrupt(store, "s-2")
    assert list(loop) == []
    assert iter(loop) is loop


# --- what is left out ----------------------------------------------------------------------------


def take(store: Store, tmp_path: Path) -> Callable[[], object]:
    return store.resume("s-2").release


def complete(store: Store, tmp_path: Path) -> None:
    store.resume("s-2").complete()


def pause(store: Store, tmp_path: Path) -> None:
    store.resume("s-2").pause()


def delete(store: Store, tmp_path: Path) -> None:
    store.delete("s-2")


@pytest.mark.parametrize(
    ("happens", "error"),
    [
        (take, SessionClaimed),
        (complete, RevisionConflict),
        (pause, RevisionConflict),
        (delete, SessionNotFound),
    ],
)
def test_what_others_took_meanwhile_is_skipped_as_taken(
    store: Store, tmp_path: Path, happens: Callable[[Store, Path], Any], error: type[Exception]
) -> None:
    for session_id in ("s-1", "s-2", "s-3"):
        interrupt(store, session_id)
    loop = store.resume_interrupted()
    next(loop).complete()
    undo = happens(SessionStore(tmp_path), tmp_path)
    rest = [session.session_id for session in _released(loop)]
    assert rest == ["s-3"]
    (skipped,) = loop.skipped
    assert (skipped.session_id, skipped.is_taken) == ("s-2", True)
    assert isinstance(skipped.error, error)
    assert skipped.reason
    if undo is not None:
        undo()


def _released(loop: Any) -> Iterator[Session[SessionState]]:
    for session in loop:
        yield session
        session.release()


def test_what_ended_without_a_new_revision_is_skipped_as_taken(
    store: Store, tmp_path: Path
) -> None:
    for session_id in ("s-1", "s-2"):
        interrupt(store, session_id)
    loop = store.resume_interrupted()
    next(loop).complete()
    edit_state(tmp_path, "s-2", status="completed")
    assert list(loop) == []
    (skipped,) = loop.skipped
    assert skipped.is_taken
    assert isinstance(skipped.error, SessionEnded)


def test_a_damaged_session_is_skipped_with_its_reason_and_stops_nobody(
    store: Store, tmp_path: Path
) -> None:
    for session_id in ("s-1", "s-2", "s-3"):
        interrupt(store, session_id)
    loop = store.resume_interrupted()
    next(loop).complete()
    state_path(tmp_path, "s-2").write_text("{")
    assert [session.session_id for session in _released(loop)] == ["s-3"]
    (skipped,) = loop.skipped
    assert (skipped.session_id, skipped.is_taken) == ("s-2", False)
    assert "damaged" in skipped.reason


class Typed(SessionState):
    """A newer version of a program: it cannot do without a field that older sessions lack."""

    budget: int


def test_a_state_type_that_no_longer_fits_crash_loops_nobody(store: Store, tmp_path: Path) -> None:
    interrupt(store, "old")
    left_active(tmp_path, "died")
    typed = SessionStore(tmp_path, state_type=Typed, durability="process")
    for _ in range(3):
        loop = typed.resume_interrupted()
        assert list(loop) == []
        assert {skipped.session_id for skipped in loop.skipped} == {"old", "died"}
        for skipped in loop.skipped:
            assert not skipped.is_taken
            assert isinstance(skipped.error, StateTypeMismatch)
            assert "give the new fields of Typed a default" in skipped.reason
    assert read_state(tmp_path, "died")["recovery"]["count"] == 1
    assert read_state(tmp_path, "old")["recovery"]["stops"] == 1
    assert sorted(resumed(store)) == ["died", "old"]


def test_too_many_crashes_and_stops_are_skipped_and_retry_is_named(
    store: Store, tmp_path: Path
) -> None:
    for name, counts in {
        "crashed": {"count": 4, "stops": 0},
        "stopped": {"count": 0, "stops": 11},
        "often": {"count": 3, "stops": 10},
    }.items():
        interrupt(store, name)
        recovery = read_state(tmp_path, name)["recovery"]
        edit_state(tmp_path, name, recovery={**recovery, **counts})
    loop = store.resume_interrupted()
    assert [session.session_id for session in _released(loop)] == ["often"]
    reasons = {skipped.session_id: skipped.reason for skipped in loop.skipped}
    assert set(reasons) == {"crashed", "stopped"}
    assert "4 processes died" in reasons["crashed"]
    assert "max_recoveries is 3" in reasons["crashed"]
    assert "stopped 11 times" in reasons["stopped"]
    assert "max_stops is 10" in reasons["stopped"]
    for name, reason in reasons.items():
        assert f'store.retry("{name}")' in reason
        assert f"sessionstore retry {name}" in reason
    assert set(resumed(store, max_recoveries=4, max_stops=11)) == {"crashed", "stopped"}


# --- awaited -------------------------------------------------------------------------------------


def test_the_awaited_loop_yields_and_skips_alike(store: Store, tmp_path: Path) -> None:
    for session_id in ("s-1", "s-2", "s-3"):
        interrupt(store, session_id)

    async def work() -> list[str]:
        async with AsyncSessionStore(tmp_path, durability="process") as astore:
            loop = astore.resume_interrupted()
            ids = []
            async for session in loop:
                async with session:
                    ids.append(session.session_id)
                    if not ids[1:]:
                        state_path(tmp_path, "s-2").write_text("{")
                    await session.complete()
            assert [skipped.session_id for skipped in loop.skipped] == ["s-2"]
            assert loop.swept is not None
            assert [session async for session in loop] == []
            return ids

    assert asyncio.run(work()) == ["s-1", "s-3"]


def test_a_cancelled_step_of_the_loop_loses_no_session(store: Store, tmp_path: Path) -> None:
    """Whatever a cancelled ``anext`` had claimed is interrupted again, and nobody holds it."""
    interrupt(store, "s-1")

    async def work() -> None:
        async with AsyncSessionStore(tmp_path, durability="process") as astore:
            step = asyncio.ensure_future(anext(astore.resume_interrupted()))
            await asyncio.sleep(0)  # its thread has begun
            step.cancel()
            with pytest.raises(asyncio.CancelledError):
                await step

    asyncio.run(work())
    stored = read_state(tmp_path, "s-1")
    assert (stored["status"], stored["owner"]) == ("paused", None)
    assert stored["recovery"]["stops"] == 2
    assert resumed(store) == ["s-1"]
