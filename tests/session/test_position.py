"""A checkpoint says where to go on: it counts the node that is finished, once, or not at all."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sessionstore import (
    END,
    AsyncSessionStore,
    MemoryBackend,
    NotStorable,
    Session,
    SessionProgress,
    SessionState,
    SessionStore,
)
from tests.support.processes import read_state


@pytest.fixture
def store(tmp_path: Path) -> SessionStore[SessionState]:
    return SessionStore(tmp_path, durability="process")


def counted(progress: SessionProgress | dict[str, Any]) -> tuple[Any, ...]:
    names = ("current_node", "resume_from", "path", "steps_executed", "node_visit_counts")
    if isinstance(progress, dict):
        return tuple(progress[name] for name in names)
    return tuple(getattr(progress, name) for name in names)


def refused(session: Session[SessionState]) -> None:
    session.state.data_buffer["bad"] = float("nan")
    with pytest.raises(NotStorable):
        session.checkpoint(node="two", next_node="three")
    del session.state.data_buffer["bad"]


def test_a_checkpoint_without_next_node_counts_nothing(
    store: SessionStore[SessionState], tmp_path: Path
) -> None:
    with store.create("triage", session_id="s-1") as session:
        session.state.progress.resume_from = "mine"
        session.checkpoint(node="one")
        assert counted(read_state(tmp_path, "s-1")["progress"]) == ("one", "mine", [], 0, {})
        session.complete()


def test_next_node_counts_the_node_and_says_where_to_go_on(
    store: SessionStore[SessionState], tmp_path: Path
) -> None:
    with store.create("triage", session_id="s-1") as session:
        session.checkpoint(node="one", next_node="two")
        session.checkpoint(node="two", next_node="one")
        session.checkpoint(node="one", next_node="three")
        session.pause()
    expected = ("one", "three", ["one", "two", "one"], 3, {"one": 2, "two": 1})
    assert counted(read_state(tmp_path, "s-1")["progress"]) == expected
    with store.resume("s-1") as session:
        assert counted(session.state.progress) == expected
        session.complete()


def test_end_clears_where_to_go_on_and_counts_the_node(
    store: SessionStore[SessionState], tmp_path: Path
) -> None:
    with store.create("triage", session_id="s-1") as session:
        session.checkpoint(node="one", next_node="two")
        session.checkpoint(node="two", next_node=END)
        expected = ("two", None, ["one", "two"], 2, {"one": 1, "two": 1})
        assert counted(read_state(tmp_path, "s-1")["progress"]) == expected
        session.complete()


def test_next_node_without_node_is_refused_and_changes_nothing(
    store: SessionStore[SessionState],
) -> None:
    with store.create("triage") as session:
        for next_node in ("two", END):
            with pytest.raises(TypeError, match="node="):
                session.checkpoint(next_node=next_node)
        assert counted(session.state.progress) == (None, None, [], 0, {})
        session.complete()


def test_a_checkpoint_that_is_refused_counts_nothing(store: SessionStore[SessionState]) -> None:
    with store.create("triage") as session:
        session.checkpoint(node="one", next_node="two")
        before = counted(session.state.progress.model_copy(deep=True))
        refused(session)
        assert counted(session.state.progress) == before
        session.checkpoint(node="two", next_node=END)
        assert counted(session.state.progress)[2:] == (["one", "two"], 2, {"one": 1, "two": 1})
        session.complete()


@pytest.mark.parametrize(("name", "value"), [("path", None), ("node_visit_counts", 3)])
def test_a_progress_that_cannot_be_counted_in_is_refused_with_its_path(
    name: str, value: Any
) -> None:
    with SessionStore(MemoryBackend()).create("triage") as session:
        before = session.state.progress.model_copy(deep=True)
        setattr(session.state.progress, name, value)
        with pytest.raises(NotStorable, match=f"progress.{name}"):
            session.checkpoint(node="one", next_node="two")
        setattr(session.state.progress, name, getattr(before, name))
        assert session.state.progress == before
        session.complete()


def test_a_queued_checkpoint_that_fails_takes_back_only_its_own_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of two queued checkpoints is cancelled before its write begins."""

    async def work() -> None:
        async with AsyncSessionStore(tmp_path, durability="process") as store:
            session = await store.create("triage", session_id="s-1")
            running = asyncio.create_task(session.checkpoint(node="zero", next_node="one"))
            await asyncio.sleep(0)  # it has begun; the next ones wait for it
            first = asyncio.create_task(session.checkpoint(node="one", next_node="two"))
            second = asyncio.create_task(session.checkpoint(node="two", next_node="three"))
            await asyncio.sleep(0)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            kept = await second
            await running
            expected = ("two", "three", ["zero", "two"], 2, {"zero": 1, "two": 1})
            assert counted(session.state.progress) == expected
            await session.complete()
            assert kept.revision == 3
            assert kept.checkpoint_id == (await store.load("s-1")).latest_checkpoint_id

    asyncio.run(work())
    assert counted(read_state(tmp_path, "s-1")["progress"])[2] == ["zero", "two"]


@pytest.mark.parametrize("checkpoint_type", ["before_resume", "last_save", "edit"])
def test_the_types_of_the_store_itself_are_refused(checkpoint_type: str) -> None:
    with SessionStore(MemoryBackend()).create("triage") as session:
        with pytest.raises(ValueError, match=checkpoint_type):
            session.checkpoint(checkpoint_type, node="one", next_node="two")
        assert session.state.progress.path == []
        assert session.revision == 1
        session.complete()
