"""Sessions that began from a kept state of another one, and how the two are found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sessionstore import (
    CheckpointNotFound,
    FilesBackend,
    InvalidSessionId,
    SessionCorrupt,
    SessionExists,
    SessionNotFound,
    SessionState,
    SessionStore,
    StorageError,
)
from sessionstore.storage.files.claim import FilesClaim
from tests.support.cli import GONE, put
from tests.support.cli import state as stored
from tests.support.processes import (
    Child,
    edit_state,
    new_session,
    read_state,
    session_path,
    state_path,
    tree,
)

Store = SessionStore[SessionState]


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
    put(tmp_path, "s1", stored("s1", status="active", pid=GONE))
    store.recover()
    swept = store.load("s1")
    assert (swept.status, swept.recovery is None) == ("failed", False)
    state = store.load(store.fork("s1"))
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


@pytest.mark.parametrize("has_stopped", [False, True])
def test_a_session_without_a_checkpoint_is_forked_from_its_last_save(
    tmp_path: Path, has_stopped: bool
) -> None:
    store = SessionStore(tmp_path)
    session = store.create("goal", session_id="s1")
    session.state.data_buffer["saved"] = 1
    session.save()
    if has_stopped:
        session.fail("bad")
    state = store.load(store.fork("s1", new_id="f1"))
    assert (state.status, state.data_buffer) == ("paused", {"saved": 1})
    assert state.forked_from is not None
    assert state.forked_from["checkpoint_id"] is None
    (found,) = store.forks("s1")
    assert found.origin == "s1 at its last save"
    assert "forked from: s1 at its last save" in str(store.explain("f1"))
    with store.resume("f1") as fork:
        fork.complete()
    session.release()


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
