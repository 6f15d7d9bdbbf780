"""An edit changes a session that nobody runs: stored whole at its end, or not at all."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sessionstore import (
    AsyncSessionStore,
    ClaimLost,
    NotStorable,
    SessionClaimed,
    SessionCorrupt,
    SessionNotFound,
    SessionState,
    SessionStore,
)
from tests.support.processes import (
    Child,
    children,
    left_active,
    read_state,
    state_path,
    tree,
)

Store = SessionStore[SessionState]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with a paused session, ``s-1``, kept by the application."""
    store = SessionStore(tmp_path, durability="process")
    with store.create("triage", session_id="s-1") as session:
        session.checkpoint(node="ask", next_node="answer")
        session.pause()
    return store


def kept_types(store: Store, session_id: str = "s-1") -> list[str | None]:
    return [item.checkpoint_type for item in store.checkpoints(session_id)]


def end_paused(store: Store) -> None:
    store.resume("s-1").pause()


def end_failed(store: Store) -> None:
    store.resume("s-1").fail("no such city")


def end_completed(store: Store) -> None:
    store.resume("s-1").complete({"team": "billing"})


def end_cancelled(store: Store) -> None:
    store.resume("s-1").cancel("called off")


@pytest.mark.parametrize("end", [end_paused, end_failed, end_completed, end_cancelled])
def test_an_edit_leaves_the_status_and_the_end_as_they_were(
    store: Store, tmp_path: Path, end: Callable[[Store], None]
) -> None:
    end(store)
    before = read_state(tmp_path, "s-1")
    with store.edit("s-1") as session:
        session.state.data_buffer["answer"] = "yes"
    after = read_state(tmp_path, "s-1")
    assert after["data_buffer"] == {"answer": "yes"}
    assert [after[name] for name in ("status", "result", "progress", "recovery", "owner")] == [
        before[name] for name in ("status", "result", "progress", "recovery", "owner")
    ]
    assert after["revision"] == before["revision"] + 1


def test_a_resume_sees_the_edit(store: Store) -> None:
    with store.edit("s-1") as session:
        session.state.data_buffer["answer"] = "yes"
    with store.resume("s-1") as session:
        assert session.state.data_buffer == {"answer": "yes"}
        assert session.state.progress.resume_from == "answer"
        session.complete()


def test_an_edit_replaces_one_that_nobody_resumed_and_no_other(store: Store) -> None:
    own = kept_types(store)
    for number in range(3):
        with store.edit("s-1") as session:
            session.state.data_buffer["answer"] = number
    assert kept_types(store) == [*own, "edit"]
    store.resume("s-1").release()
    resumed = kept_types(store)
    with store.edit("s-1") as session:
        session.state.data_buffer["answer"] = 7
    assert kept_types(store) == [*resumed, "edit"]
    assert resumed.count("edit") == 1
    assert store.load_checkpoint("s-1").data_buffer == {"answer": 7}


def test_an_edit_that_changes_nothing_writes_nothing(store: Store, tmp_path: Path) -> None:
    before = {name: text for name, text in tree(tmp_path).items() if "locks" not in name}
    with store.edit("s-1") as session:
        session.state.data_buffer["answer"] = "yes"
        del session.state.data_buffer["answer"]
    assert {name: text for name, text in tree(tmp_path).items() if "locks" not in name} == before


def test_an_exception_in_the_block_stores_nothing(store: Store, tmp_path: Path) -> None:
    before = state_path(tmp_path, "s-1").read_bytes()
    for error in (ValueError("no"), KeyboardInterrupt(), asyncio.CancelledError()):
        with pytest.raises(type(error)), store.edit("s-1") as session:  # noqa: PT012
            session.state.data_buffer["answer"] = "yes"
            raise error
        with pytest.raises(ClaimLost):
            session.save()
    assert state_path(tmp_path, "s-1").read_bytes() == before


def test_what_cannot_be_stored_is_refused_and_nothing_is_stored(
    store: Store, tmp_path: Path
) -> None:
    before = state_path(tmp_path, "s-1").read_bytes()
    with pytest.raises(NotStorable, match=r"data_buffer\.x"), store.edit("s-1") as session:
        session.state.data_buffer["x"] = float("nan")
    assert state_path(tmp_path, "s-1").read_bytes() == before
    store.claim("s-1").release()


def test_a_session_that_is_created_is_paused_and_resumed_with_the_input(
    store: Store, tmp_path: Path
) -> None:
    with store.edit("s-2", create="triage") as session:
        session.state.data_buffer["mail"] = "hello"
    stored = read_state(tmp_path, "s-2")
    assert (stored["status"], stored["goal_id"], stored["owner"]) == ("paused", "triage", None)
    with store.resume("s-2") as session:
        assert session.state.data_buffer == {"mail": "hello"}
        session.complete()


def test_a_session_that_is_created_without_a_change_is_there(store: Store, tmp_path: Path) -> None:
    with store.edit("s-2", create="triage"):
        pass
    assert read_state(tmp_path, "s-2")["status"] == "paused"
    store.resume("s-2").complete()


def test_a_session_whose_creating_edit_raised_does_not_exist(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ValueError), store.edit("s-2", create="triage") as session:  # noqa: PT012
        session.state.data_buffer["mail"] = "hello"
        raise ValueError("no")
    assert not store.exists("s-2")
    assert [path.name for path in (tmp_path / "sessions").iterdir()] == ["s-1"]


def test_create_leaves_a_session_that_is_there_to_be_edited(store: Store, tmp_path: Path) -> None:
    with store.edit("s-1", create="another goal") as session:
        session.state.data_buffer["answer"] = "yes"
    assert read_state(tmp_path, "s-1")["goal_id"] == "triage"
    with pytest.raises(ValueError, match="no"), store.edit("s-1", create="triage"):
        raise ValueError("no")
    assert store.load("s-1").data_buffer == {"answer": "yes"}


def test_an_absent_session_without_create_is_not_found(store: Store) -> None:
    with pytest.raises(SessionNotFound), store.edit("s-2"):
        pass
    assert not store.exists("s-2")


@pytest.mark.parametrize("end", ["complete", "fail", "cancel", "pause"])
def test_an_end_inside_is_an_end(store: Store, tmp_path: Path, end: str) -> None:
    with store.edit("s-1") as session:
        session.state.data_buffer["answer"] = "yes"
        getattr(session, end)(*(["no such city"] if end == "fail" else []))
    statuses = {"complete": "completed", "fail": "failed", "cancel": "cancelled", "pause": "paused"}
    stored = read_state(tmp_path, "s-1")
    assert (stored["status"], stored["data_buffer"]) == (statuses[end], {"answer": "yes"})
    assert "edit" not in kept_types(store)
    with pytest.raises(ClaimLost, match=rf"{end}\(\) was called"):
        session.save()


def test_an_end_inside_an_edit_that_creates_stays_though_the_block_raises(store: Store) -> None:
    with pytest.raises(ValueError), store.edit("s-2", create="g") as session:  # noqa: PT012
        session.complete()
        raise ValueError("no")
    assert store.load("s-2").status == "completed"


def test_the_death_of_a_stale_session_is_recorded_first(tmp_path: Path) -> None:
    left_active(tmp_path, "s-1")
    store = SessionStore(tmp_path)
    with pytest.raises(ValueError, match="no"), store.edit("s-1"):
        raise ValueError("no")
    state = store.load("s-1")
    assert state.recovery is not None
    assert (state.status, state.recovery.count, state.is_interrupted) == ("failed", 1, True)
    with store.edit("s-1") as session:
        session.state.data_buffer["answer"] = "yes"
    assert store.load("s-1").recovery == state.recovery
    assert store.load("s-1").is_interrupted


def test_the_session_of_a_live_process_is_refused_by_name(tmp_path: Path) -> None:
    with Child("act", tmp_path) as child:
        child.hear()
        child.ask("create", session_id="s-1")
        store = SessionStore(tmp_path)
        began = time.monotonic()
        with (
            pytest.raises(SessionClaimed, match=str(child.pid)),
            store.edit("s-1", create="g", timeout=0.2),
        ):
            pass
        assert time.monotonic() - began >= 0.2


def test_an_edit_waits_for_the_holder_up_to_its_timeout(store: Store) -> None:
    held = store.claim("s-1")
    timer = threading.Timer(0.3, held.release)
    timer.start()
    with store.edit("s-1") as session:  # ten seconds, unless told otherwise
        session.state.data_buffer["answer"] = "yes"
    timer.join()
    assert store.load("s-1").data_buffer == {"answer": "yes"}


def test_a_damaged_session_is_refused_and_left_alone(store: Store, tmp_path: Path) -> None:
    state_path(tmp_path, "s-1").write_text("{")
    with pytest.raises(SessionCorrupt), store.edit("s-1", create="triage"):
        pass
    assert state_path(tmp_path, "s-1").read_text() == "{"


def test_a_later_use_says_that_the_edit_ended(store: Store) -> None:
    with store.edit("s-1") as session:
        session.state.data_buffer["answer"] = "yes"
    with pytest.raises(ClaimLost, match=r"edit\(\) ended"):
        session.save()


def test_two_editors_of_a_session_that_is_created_lose_nothing(tmp_path: Path) -> None:
    with children(2, "support.edits.append_numbers", tmp_path, "s-1", 20) as editors:
        for editor in editors:
            editor.hear()
        for editor in editors:
            editor.tell("go")
        done = [editor.hear() for editor in editors]
    assert [answer["done"] for answer in done] == [20, 20]
    numbers = read_state(tmp_path, "s-1")["data_buffer"]["numbers"]
    assert sorted(numbers) == sorted([*range(20)] * 2)
    assert read_state(tmp_path, "s-1")["status"] == "paused"


def test_an_awaited_edit_stores_creates_and_discards_alike(store: Store, tmp_path: Path) -> None:
    async def work() -> None:
        async with AsyncSessionStore(tmp_path, durability="process") as astore:
            async with astore.edit("s-1") as session:
                session.state.data_buffer["answer"] = "yes"
            async with astore.edit("s-2", create="triage") as session:
                session.state.data_buffer["mail"] = "hello"
            with pytest.raises(ValueError, match="no"):
                async with astore.edit("s-3", create="triage"):
                    raise ValueError("no")
            with pytest.raises(SessionNotFound):
                async with astore.edit("s-3"):
                    pass

    asyncio.run(work())
    assert store.load("s-1").data_buffer == {"answer": "yes"}
    assert (store.load("s-2").status, store.load("s-2").data_buffer["mail"]) == ("paused", "hello")
    assert not store.exists("s-3")
    assert kept_types(store)[-1] == kept_types(store, "s-2")[-1] == "edit"


def test_a_cancelled_wait_for_an_edit_leaks_no_claim(store: Store, tmp_path: Path) -> None:
    async def work() -> None:
        async with AsyncSessionStore(tmp_path, durability="process") as astore:
            held = await astore.claim("s-1")

            async def change() -> None:
                async with astore.edit("s-1") as session:
                    session.state.data_buffer["answer"] = "yes"

            with pytest.raises(TimeoutError):
                await asyncio.wait_for(change(), 0.05)
            await held.release()
            async with astore.edit("s-1", timeout=0.0) as session:
                assert session.state.data_buffer == {}

    asyncio.run(work())
