"""What a session was: its history, how two of its states differ, and what was forked from it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionstore import (
    AsyncSessionStore,
    CheckpointNotFound,
    Difference,
    FilesBackend,
    InvalidQuery,
    InvalidSessionId,
    MemoryBackend,
    NotResumable,
    SessionCorrupt,
    SessionExists,
    SessionNotFound,
    SessionState,
    SessionStore,
    StorageError,
)
from sessionstore.operations import diff
from sessionstore.storage.files.claim import FilesClaim
from tests.support.cli import GONE, put
from tests.support.processes import (
    Child,
    edit_state,
    left_active,
    new_session,
    read_state,
    session_path,
    state_path,
    tree,
)

Store = SessionStore[SessionState]


@pytest.fixture(params=["files", "memory"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    """A store, in each kind of place, with a session that has been through something."""
    store = SessionStore(tmp_path if request.param == "files" else MemoryBackend())
    session = store.create("goal", session_id="s1", entry_point="begin", input_data={"q": 1})
    session.state.data_buffer["fetch"] = {"score": 1, "pages": ["a", "b"]}
    step(session, "plan")
    session.checkpoint("node_complete", node="plan")
    step(session, "fetch")
    session.checkpoint("node_complete", node="fetch")
    session.state.data_buffer["fetch"]["score"] = 2
    session.state.data_buffer["fetch"]["pages"].append("c")
    session.state.data_buffer["a key"] = True
    session.save()
    with session:
        yield store


def step(session: Any, node: str) -> None:
    session.state.progress.path.append(node)
    session.state.progress.steps_executed += 1


# --- history -------------------------------------------------------------------------------------


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


# --- differences ----------------------------------------------------------------------------------


def test_by_default_the_latest_checkpoint_is_compared_with_the_present(store: Store) -> None:
    found = store.diff("s1")
    assert [(item.kind, item.path, item.before, item.after) for item in found] == [
        ("changed", "data_buffer.fetch.score", 1, 2),
        ("added", "data_buffer.fetch.pages[2]", None, "c"),
        ("added", "data_buffer['a key']", None, True),
    ]
    latest = store.load("s1").latest_checkpoint_id
    assert (found.before.name, found.before.revision) == (latest, 3)
    assert (found.after.name, found.after.revision) == ("current", 4)


def test_states_are_named_by_id_by_its_beginning_by_revision_or_as_current(store: Store) -> None:
    first, second = (item.checkpoint_id for item in store.checkpoints("s1"))
    whole = store.diff("s1", first, second)
    assert {item.path for item in whole} == {
        "progress.current_node",
        "progress.path[1]",
        "progress.steps_executed",
    }
    assert store.diff("s1", "cp_node_complete.plan", "cp_node_complete.fetch") == whole
    assert store.diff("s1", "r2", "r3") == whole
    assert store.diff("s1", "r3", "r4") == store.diff("s1", "r3", "current")
    back = {item.path: (item.before, item.after) for item in store.diff("s1", "r3", "r2")}
    assert back == {item.path: (item.after, item.before) for item in whole}
    assert not store.diff("s1", "current", "r4")
    with pytest.raises(InvalidQuery, match="beginning of 2"):
        store.diff("s1", "cp_node")
    for unknown in ("cp_x", "r1", "r99", "", "../state"):
        with pytest.raises(CheckpointNotFound) as refusal:
            store.diff("s1", unknown)
        assert refusal.value.available == (first, second)


def test_what_the_store_keeps_account_of_is_left_out_unless_asked_for(store: Store) -> None:
    assert not store.diff("s1", "current", "current", everything=True)
    paths = {item.path for item in store.diff("s1", everything=True)}
    assert {"revision", "timestamps.updated_at"} <= paths
    assert {"revision", "timestamps.updated_at"}.isdisjoint(item.path for item in store.diff("s1"))


def test_a_session_without_a_checkpoint_has_nothing_to_compare_with(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    new_session(tmp_path, checkpoint=False)
    with pytest.raises(NotResumable, match="no checkpoint"):
        store.diff("s1")
    assert not store.diff("s1", "r2")
    with pytest.raises(SessionNotFound):
        store.diff("none")


def test_checkpoints_of_a_damaged_session_can_be_compared(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    with store.create("goal", session_id="s1") as session:
        session.checkpoint()
        session.state.data_buffer["more"] = 1
        session.checkpoint()
        session.save()
        session.fail("bad")
    state_path(tmp_path, "s1").write_text("{")
    assert [item.path for item in store.diff("s1", "r2", "r3")] == ["data_buffer.more"]
    for a, b in ((None, None), ("r2", None), ("current", "r2")):
        with pytest.raises(SessionCorrupt):
            store.diff("s1", a, b)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0]) | st.text("ab."),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab.", max_size=2), inner),
    max_leaves=12,
)


@given(JSON, JSON)
def test_differences_turn_the_one_into_the_other(old: Any, new: Any) -> None:
    """Made from the paths alone: nothing that differs is left out, and nothing else is named."""
    found = list(diff.compare({"x": old}, {"x": new}))
    assert (found == []) is (json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True))
    assert apply({"x": old}, found, after=True) == canonical({"x": new})
    assert apply({"x": new}, found, after=False) == canonical({"x": old})


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def apply(value: Any, found: list[Difference], *, after: bool) -> str:
    """Make the changes by the paths, which are Python's own notation but for attributes."""
    value = json.loads(json.dumps(value))
    gone, new = ("removed", "added") if after else ("added", "removed")
    changed = [item for item in found if item.kind == "changed"]
    for item in changed:
        place, last = walk(value, item.path)
        place[last] = item.after if after else item.before
    # From the end on, so that the places of those before them do not move.
    for item in reversed([item for item in found if item.kind == gone]):
        place, last = walk(value, item.path)
        del place[last]
    for item in (item for item in found if item.kind == new):
        place, last = walk(value, item.path)
        given_value = item.after if after else item.before
        if isinstance(place, list):
            place.insert(last, given_value)
        else:
            place[last] = given_value
    return canonical(value)


def walk(value: Any, path: str) -> tuple[Any, Any]:
    steps: list[Any] = []
    rest = path
    while rest:
        if rest.startswith("["):
            end = closing(rest)
            steps.append(eval(rest[1:end]))
            rest = rest[end + 1 :]
        else:
            rest = rest.removeprefix(".")
            length = next((i for i, char in enumerate(rest) if char in ".["), len(rest))
            steps.append(rest[:length])
            rest = rest[length:]
    for step_ in steps[:-1]:
        value = value[step_]
    return value, steps[-1]


def closing(text: str) -> int:
    return text.index("']") + 1 if text.startswith("['") else text.index("]")


def test_deep_nesting_costs_no_more_than_its_size() -> None:
    old: Any = 1
    new: Any = 2
    for _ in range(150):
        old, new = [0, old, 0], [0, new, 0]
    (item,) = diff.compare(old, new, "x")
    assert item.path == "x" + "[1]" * 150


# --- forks ----------------------------------------------------------------------------------------


def test_a_fork_is_a_paused_session_of_its_own_that_can_be_resumed(store: Store) -> None:
    parent = store.load("s1")
    made = store.fork("s1", new_id="f1")
    assert made == "f1"
    assert store.load("s1") == parent  # though it is running
    state = store.load("f1")
    assert (state.status, state.owner, state.pid) == ("paused", None, None)
    assert (state.revision, state.is_resumable) == (2, True)
    assert state.incarnation not in (None, parent.incarnation)
    assert (state.result.success, state.recovery) == (None, None)
    assert state.data_buffer == {"fetch": {"score": 1, "pages": ["a", "b"]}}
    assert (state.goal_id, state.input_data) == ("goal", {"q": 1})
    assert state.forked_from is not None
    assert state.forked_from["session_id"] == "s1"
    assert state.forked_from["checkpoint_id"] == parent.latest_checkpoint_id
    assert state.forked_from["revision"] == 3
    with store.resume("f1") as session:
        assert session.state.progress.path == ["plan", "fetch"]
        assert session.state.forked_from == state.forked_from
        session.complete()
    assert not store.check().findings


def test_a_fork_of_an_ended_state_has_not_ended(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    left_active(tmp_path, "s1", owner=None, pid=GONE)
    store.recover()
    with store.resume("s1") as session:
        session.complete()
    (kept,) = (i for i in store.checkpoints("s1") if i.checkpoint_type == "before_resume")
    swept = store.load_checkpoint("s1", kept.checkpoint_id)
    assert (swept.status, swept.recovery is None) == ("failed", False)
    state = store.load(store.fork("s1", kept.checkpoint_id))
    assert (state.status, state.is_interrupted, state.recovery) == ("paused", False, None)
    assert (state.result.success, state.result.error) == (None, None)
    assert state.timestamps.completed_at is None
    assert state.timestamps.started_at > swept.timestamps.started_at


def test_a_lineage_is_read_in_both_directions(store: Store) -> None:
    first = store.fork("s1", "r2", new_id="f1")
    second = store.fork("s1")
    third = store.fork(first)
    other = store.create("goal", session_id="s10", input_data={"forked_from": "s1"})
    other.complete()
    assert {item.session_id: item.parent for item in store.forks("s1")} == {
        first: "s1",
        second: "s1",
    }
    seen: list[tuple[int, int]] = []
    (found,) = store.forks(first, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 1), (1, 1)]  # others than forks of this one need no look
    assert (found.session_id, found.revision) == (third, 2)
    assert store.history(third).forked_from == found
    assert store.explain(third).forked_from == found
    store.delete(first)
    assert [item.session_id for item in store.forks(first)] == [third]
    assert store.forks("s10") == []


def test_a_session_that_has_the_id_of_a_deleted_one_has_none_of_its_forks(store: Store) -> None:
    with store.create("goal", session_id="old") as session:
        session.pause()
    store.fork("old", new_id="f1")
    store.delete("old")
    with store.create("goal", session_id="old") as session:
        session.pause()
    assert store.forks("old") == []


def test_a_fork_that_cannot_be_made_leaves_nothing(store: Store) -> None:
    before = sorted(item.session_id for item in store.iter_find())
    with pytest.raises(SessionExists):
        store.fork("s1", new_id="s1")
    with pytest.raises(InvalidSessionId):
        store.fork("s1", new_id="../x")
    with pytest.raises(CheckpointNotFound):
        store.fork("s1", "cp_x")
    with pytest.raises(SessionNotFound):
        store.fork("none")
    assert sorted(item.session_id for item in store.iter_find()) == before


def test_a_fork_without_its_checkpoint_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_session(tmp_path)
    before = tree(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise StorageError("save", "disk", "it is full")

    monkeypatch.setattr(FilesClaim, "write", refuse)
    with pytest.raises(StorageError, match="it is full"):
        SessionStore(FilesBackend(tmp_path)).fork("s1", new_id="f1")
    assert tree(tmp_path) == before


def test_a_session_without_a_checkpoint_cannot_be_forked(tmp_path: Path) -> None:
    new_session(tmp_path, checkpoint=False)
    with pytest.raises(NotResumable, match="no checkpoint"):
        SessionStore(tmp_path).fork("s1")


def test_a_damaged_session_is_forked_from_a_sound_checkpoint(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    with store.create("goal", session_id="s1") as session:
        session.state.data_buffer["plan"] = 1
        kept = session.checkpoint()
        session.fail("bad")
    state_path(tmp_path, "s1").write_text("{")
    with pytest.raises(SessionCorrupt):
        store.fork("s1")
    assert store.load(store.fork("s1", kept.checkpoint_id)).data_buffer == {"plan": 1}


def test_a_fork_brings_no_files_and_keeps_what_it_does_not_know(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    with store.create("goal", session_id="s1") as session:
        (session.directory / "notes.txt").write_text("mine")
        session.checkpoint()
        session.fail("bad")
    edit_state(tmp_path, "s1", checkpoint_enabled=True)
    latest = store.load("s1").latest_checkpoint_id
    file = session_path(tmp_path, "s1") / "checkpoints" / f"{latest}.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "unknown": {"to": "us"}}))
    store.fork("s1", new_id="f1")
    assert {path.name for path in session_path(tmp_path, "f1").iterdir()} == {
        "state.json",
        "checkpoints",
    }
    assert read_state(tmp_path, "f1")["unknown"] == {"to": "us"}
    assert read_state(tmp_path, "f1")["result"]["error"] is None


def test_a_checkpoint_of_the_original_framework_is_forked(tmp_path: Path) -> None:
    file = put(tmp_path, "s1")
    edit_state(tmp_path, "s1", checkpoint_enabled=True, latest_checkpoint_id="cp_1")
    kept = file.parent / "checkpoints"
    kept.mkdir()
    kept.joinpath("cp_1.json").write_text(
        json.dumps({"checkpoint_id": "cp_1", "execution_path": ["a"], "data_buffer": {"x": 1}})
    )
    store = SessionStore(tmp_path)
    state = store.load(store.fork("s1"))
    assert (state.data_buffer, state.progress.path, state.status) == ({"x": 1}, ["a"], "paused")
    (found,) = store.forks("s1")
    assert found.revision is None


def test_a_live_process_is_forked_while_it_runs(tmp_path: Path) -> None:
    with Child("act", tmp_path) as owner:
        owner.hear()
        owner.ask("create", session_id="s1", checkpoint=True)
        store = SessionStore(tmp_path)
        made = store.fork("s1")
        assert owner.ask("save", step=3) == {"revision": 3}
        assert owner.ask("release") == {"released": True}
    assert store.load(made).data_buffer == {}
    assert read_state(tmp_path, "s1")["data_buffer"] == {"step": 3}


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
