"""What a session was: its beginning, its checkpoints, and where it stands."""

from __future__ import annotations

import asyncio
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from sessionstore import AsyncSessionStore, MemoryBackend, SessionState, SessionStore
from sessionstore.storage.files import FilesBackend
from tests.support.cli import put
from tests.support.processes import (
    new_session,
    session_path,
    state_path,
)

Store = SessionStore[SessionState]


def test_a_history_begins_with_the_beginning_and_ends_with_the_present(store: Store) -> None:
    found = store.history("s1")
    assert [(item.kind, item.revision, item.node, item.steps) for item in found] == [
        ("created", 1, "begin", 0),
        ("checkpoint", 2, "plan", 1),
        ("checkpoint", 3, "fetch", 2),
        ("present", 4, "fetch", 2),
    ]
    created, first, latest, present = found
    state = store.load("s1")
    assert created.at == state.timestamps.started_at
    assert (present.at, present.status) == (state.timestamps.updated_at, "active")
    assert [item.checkpoint_id for item in (first, latest)] == [
        item.checkpoint_id for item in store.checkpoints("s1")
    ]
    assert (first.is_latest, latest.is_latest) == (False, True)
    assert first.checkpoint_type == "node_complete"
    assert found.forked_from is None
    assert not found.shows_damage


def test_a_history_tells_the_sizes_of_what_is_stored(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    with store.create("goal", session_id="s1") as session:
        kept = session.checkpoint()
        session.state.data_buffer["more"] = "x" * 1000
        session.save()
        _, checkpoint, present = store.history("s1")
    place = session_path(tmp_path, "s1") / "checkpoints" / f"{kept.checkpoint_id}.json"
    assert checkpoint.size == place.stat().st_size
    assert present.size is not None
    assert present.size > checkpoint.size + 1000


def test_damage_is_part_of_a_history(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    new_session(tmp_path)
    latest = store.load("s1").latest_checkpoint_id
    file = session_path(tmp_path, "s1") / "checkpoints" / f"{latest}.json"
    file.unlink()
    _, kept, _ = missing = store.history("s1")
    assert (kept.checkpoint_id, kept.is_latest) == (latest, True)
    assert missing.shows_damage
    file.write_text("{")
    _, kept, _ = store.history("s1")
    assert kept.damaged is not None
    assert (kept.size, kept.is_latest) == (None, True)
    state_path(tmp_path, "s1").write_text("{")
    kept, present = store.history("s1")
    assert (kept.kind, present.kind) == ("checkpoint", "present")
    assert present.damaged is not None
    file.unlink()
    file.parent.rmdir()
    file.parent.write_text("not a directory")
    assert [item.damaged is not None for item in store.history("s1")] == [True, True]


def test_the_history_of_a_session_of_the_original_framework_is_told(tmp_path: Path) -> None:
    kept = put(tmp_path, "s1").parent / "checkpoints"
    kept.mkdir()
    kept.joinpath("cp_1.json").write_text(
        json.dumps({"checkpoint_id": "cp_1", "execution_path": ["a", "b"], "current_node": "b"})
    )
    found = SessionStore(tmp_path).history("s1")
    assert [(item.revision, item.steps) for item in found] == [(None, 0), (None, 2), (0, 0)]
    assert not found.shows_damage


def test_the_awaited_operations_are_the_same(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    with store.create("goal", session_id="s1") as session:
        session.checkpoint()
        session.state.data_buffer["more"] = 1
        session.fail("bad")

    async def all_of_them() -> tuple[Any, ...]:
        async with AsyncSessionStore(tmp_path) as awaited:
            made = await awaited.fork("s1", new_id="f1")
            return (
                made,
                await awaited.forks("s1"),
                await awaited.history("s1"),
                await awaited.diff("s1", everything=True),
            )

    assert asyncio.run(all_of_them()) == (
        "f1",
        store.forks("s1"),
        store.history("s1"),
        store.diff("s1", everything=True),
    )


class CountingBackend(FilesBackend):
    """Counts the checkpoints that are read."""

    reads = 0

    def read_checkpoint(self, session_id: str, checkpoint_id: str) -> Any:
        self.reads += 1
        return super().read_checkpoint(session_id, checkpoint_id)


@pytest.fixture
def backend(tmp_path: Path) -> CountingBackend:
    backend = CountingBackend(tmp_path, durability="process")
    with SessionStore(backend).create("goal", session_id="s1") as session:
        for number in range(20):
            session.checkpoint("node_complete", node=f"node {number}")
        session.state.data_buffer["more"] = 1
        session.fail("bad")
    backend.reads = 0
    return backend


def test_a_history_reads_what_is_looked_at(backend: CountingBackend) -> None:
    found = SessionStore(backend).history("s1")
    assert backend.reads == 0
    assert [item.node for item in found][3:5] == ["node-2", "node-3"]
    assert [item.revision for item in found] == [*range(1, 22), 22]
    assert backend.reads == 0
    entry = found.moments[5]
    assert (entry.damaged, entry.at > "2020", bool(entry.size)) == (None, True, True)
    assert backend.reads == 1
    assert not found.shows_damage
    assert backend.reads == 20


def test_names_and_files_tell_the_same_history(backend: CountingBackend) -> None:
    store = SessionStore(backend)
    told = [
        (item.checkpoint_id, item.checkpoint_type, item.node, item.revision, item.at)
        for item in store.history("s1")
        if item.kind == "checkpoint"
    ]
    assert told == [
        (item.checkpoint_id, item.checkpoint_type, item.node, item.revision, item.created_at)
        for item in store.checkpoints("s1")
    ]


def test_a_limit_keeps_the_newest_and_counts_the_others(backend: CountingBackend) -> None:
    store = SessionStore(backend)
    found = store.history("s1", limit=3)
    assert [item.revision for item in found] == [1, 19, 20, 21, 22]
    assert (found.older, store.history("s1").older) == (17, 0)


def test_an_entry_that_was_removed_before_the_look_is_no_damage(backend: CountingBackend) -> None:
    store = SessionStore(backend)
    found = store.history("s1")
    with store.resume("s1") as session:
        session.remove_checkpoint(str(found.moments[1].checkpoint_id))
        session.complete()
    assert (found.moments[1].damaged, found.moments[1].size, found.moments[1].at) == (
        None,
        None,
        "",
    )


def test_an_entry_pickles_with_what_its_file_tells(backend: CountingBackend) -> None:
    found = SessionStore(backend).history("s1", limit=1)
    assert pickle.loads(pickle.dumps(found)) == found


def test_an_awaited_history_reads_before_it_returns(backend: CountingBackend) -> None:
    async def look() -> None:
        async with AsyncSessionStore(backend) as store:
            found = await store.history("s1", limit=4)
            seen = backend.reads
            assert [item.damaged for item in found] == [None] * 6
            assert backend.reads == seen == 4

    asyncio.run(look())


def test_an_explanation_reads_what_it_names(backend: CountingBackend) -> None:
    told = SessionStore(backend).explain("s1")
    assert told.checkpoint is not None
    assert told.checkpoint.created_at
    assert len(told.alternatives) == 19
    assert backend.reads <= 5


def test_an_explanation_of_damage_looks_for_the_newest_sound_ones(
    backend: CountingBackend, tmp_path: Path
) -> None:
    store = SessionStore(backend)
    names = store.checkpoint_names("s1")
    for name in names[-6:]:
        file = session_path(tmp_path, "s1") / "checkpoints" / f"{name}.json"
        file.unlink()
        file.write_text("{")
    told = store.explain("s1")
    assert told.unresumable is not None
    assert told.alternatives == tuple(names[:-6])
    state_path(tmp_path, "s1").write_text("{")
    told = store.explain("s1")
    assert told.alternatives == tuple(names[:-6])
    assert f"restore {names[-7]}" in told.next[0].text


def test_a_history_tells_how_many_records_there_were(tmp_path: Path) -> None:
    for place in (tmp_path, MemoryBackend()):
        store = SessionStore(place)
        with store.create("goal", session_id="j1") as session:
            session.journal().append("a", "b")
            first = session.checkpoint("step").checkpoint_id
            session.journal("other").append("c")
            session.checkpoint("step")
        with store.resume("j1", checkpoint_id=first) as session:
            session.checkpoint("step")
            session.journal().append("d")
            session.checkpoint("step")
            session.journal().rewrite(["e"])
            session.complete()
        found = [
            (item.checkpoint_type or str(item.kind), item.records) for item in store.history("j1")
        ]
        assert found[0] == ("created", 0)
        assert [count for kind, count in found if kind == "step"] == [2, 3, 2, 3]
        assert found[-1] == ("present", 1)


def test_a_history_of_a_damaged_journal_counts_nothing_for_the_present(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    with store.create("goal", session_id="j1") as session:
        session.journal().append("a")
        session.journal().append("b")
        session.complete()
    file = session_path(tmp_path, "j1") / "journals" / "main.jsonl"
    file.unlink()
    file.mkdir()
    assert list(store.history("j1"))[-1].records is None
    assert store.explain("j1").records is None
