"""Which sessions are named as live, from when to when, and who removes the names."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sessionstore import SessionState, SessionStore, StorageError
from sessionstore.durable.directory import Directory
from sessionstore.storage.files import lock
from sessionstore.storage.files.claim import FilesClaim
from sessionstore.storage.files.index import index, live_names, rebuild
from sessionstore.storage.files.layout import Layout
from tests.support.index import assert_true, fill, index_files, live, remove_index, row
from tests.support.processes import Child, edit_state, needs_linux

Store = SessionStore[SessionState]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    fill(tmp_path)
    store = SessionStore(tmp_path, durability="process")
    store.find()
    return store


def test_a_session_is_live_from_its_first_save_to_its_release(store: Store, tmp_path: Path) -> None:
    session = store.claim("s0")
    assert live(tmp_path) == set(), "a claim alone changes nothing"
    session.state.goal_id = "moved"
    session.save()
    assert live(tmp_path) == {"s0"}
    assert [item.session_id for item in store.find(goal_id="moved")] == ["s0"]
    assert live(tmp_path) == {"s0"}
    session.pause()
    store.close()  # what it released waits for others, but not for long
    assert live(tmp_path) == set()
    after = row(tmp_path, "s0")
    assert after is not None
    assert (after["goal_id"], after["status"]) == ("moved", "paused")
    assert after["inode"] == (tmp_path / "sessions/s0/state.json").stat().st_ino


def test_saves_after_the_first_do_not_touch_it(store: Store, tmp_path: Path) -> None:
    with store.claim("s0") as session:
        session.save()
        (file,) = index_files(tmp_path)
        log = Path(f"{file}-wal")
        before = log.read_bytes()
        for number in range(5):
            session.state.data_buffer["n"] = number
            session.save()
        session.checkpoint()
        assert log.read_bytes() == before


def test_what_a_process_releases_it_folds_itself(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_OFTEN", 3600.0)
    store.claim("s0").complete({"answer": 42})
    assert live(tmp_path) == set(), "the first one at once"
    found = row(tmp_path, "s0")
    assert found is not None
    assert found["status"] == "completed"
    for number in range(64):
        with store.claim("s1") as session:
            session.state.goal_id = f"turn-{number}"
            session.save()
        assert live(tmp_path) == (set() if number == 63 else {"s1"}), "64 at once"
    found = row(tmp_path, "s1")
    assert found is not None
    assert found["goal_id"] == "turn-63"
    monkeypatch.setattr(index, "_OFTEN", 0.0)
    store.claim("s2").complete({})
    assert live(tmp_path) == set(), "and after a while, however few wait"


def test_what_a_process_released_and_another_holds_stays_live(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_OFTEN", 3600.0)
    store.claim("s1").complete({})
    store.claim("s0").complete({})
    with SessionStore(tmp_path).claim("s0") as other:
        other.state.goal_id = "first"
        other.save()
        store.close()  # it folds its own name, and not that of the other
        assert live(tmp_path) == {"s0"}
        other.state.goal_id = "second"
        other.save()
        assert store.count(goal_id="second") == 1
    assert_true(store)


def test_it_is_live_before_its_file_changes(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = FilesClaim._swap, list[set[str]]()

    def swap(self: FilesClaim, *given: Any) -> None:
        seen.append(live(tmp_path))
        real(self, *given)

    monkeypatch.setattr(FilesClaim, "_swap", swap)
    with store.claim("s0") as session:
        session.save()
    assert seen == [{"s0"}]


def test_whoever_lists_leaves_it_live_while_it_is_held(store: Store, tmp_path: Path) -> None:
    for number, make in enumerate((None, remove_index)):
        with store.claim("s0") as session:
            session.state.goal_id = f"before-{number}"
            session.save()
            if make is not None:  # a new index is made while it is held
                store.close()
                make(tmp_path)
            assert store.count(goal_id=f"before-{number}") == 1
            session.state.goal_id = f"after-{number}"
            session.save()
            assert store.count(goal_id=f"after-{number}") == 1
            assert_true(store)
    assert store.count(goal_id="after-1") == 1


def test_a_release_removes_no_name_of_another(store: Store, tmp_path: Path) -> None:
    first = store.claim("s0")
    first.save()
    (tmp_path / "locks/s0.lock").unlink()
    with store.claim("s0") as second:
        second.state.goal_id = "theirs"
        second.save()
        first.release()
        store.close()
        assert live(tmp_path) == {"s0"}
        second.state.goal_id = "later"
        second.save()
        assert store.count(goal_id="later") == 1
    assert_true(store)


@needs_linux("kill -9")
def test_a_session_is_read_after_its_lock_was_seen_free(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create("goal", session_id="dies").fail("to be claimed")
    store.close()
    real = lock.is_free
    with Child("act", tmp_path) as holder:
        holder.hear()
        holder.ask("claim", session_id="dies")
        holder.ask("save", step=1)

        def is_free(locks: Directory, session_id: str) -> bool:
            if session_id == "dies" and holder.process.returncode is None:
                holder.ask("save", step=2)
                holder.kill()
            return real(locks, session_id)

        monkeypatch.setattr(lock, "is_free", is_free)
        store.count(status="failed")
    assert live(tmp_path) == set()
    found = row(tmp_path, "dies")
    assert found is not None
    assert found["inode"] == (tmp_path / "sessions/dies/state.json").stat().st_ino
    assert_true(store)


def test_who_claims_a_session_after_its_lock_was_seen_free_keeps_it_live(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = index_files(tmp_path)
    (file.parent / "live" / "s0").touch()  # a name that others rely on, too
    other, held = SessionStore(tmp_path, durability="process"), list[Any]()
    real = lock.is_free

    def is_free(locks: Directory, session_id: str) -> bool:
        was_free = real(locks, session_id)
        if session_id == "s0" and not held:
            held.append(other.claim("s0"))
            held[0].state.goal_id = "first"
            held[0].save()
        return was_free

    def add(layout: Layout, session_id: str, token: str) -> None:
        del layout, token
        (file.parent / "live" / session_id).touch()  # as another version does

    monkeypatch.setattr(live_names, "add", add)
    monkeypatch.setattr(lock, "is_free", is_free)
    store.count()
    assert live(tmp_path) == {"s0"}
    held[0].state.goal_id = "second"
    held[0].save()
    assert store.count(goal_id="second") == 1
    held[0].release()
    assert_true(store)


def test_a_fold_that_died_is_gone_on_with(store: Store, tmp_path: Path) -> None:
    (file,) = index_files(tmp_path)
    (file.parent / "live" / f"s0+{'0' * 16}").touch()
    edit_state(tmp_path, "s0", goal_id="theirs")
    assert store.count(goal_id="theirs") == 1
    assert live(tmp_path) == set()
    assert store.count(goal_id="theirs") == 1


# --- sessions come and go ---------------------------------------------------------------------


def test_a_session_leaves_the_index_as_it_leaves_the_store(store: Store, tmp_path: Path) -> None:
    assert store.count(goal_id="g0") == 3
    store.delete("s0")
    assert store.count(goal_id="g0") == 2
    assert row(tmp_path, "s0") is None
    store.create("g0", session_id="s0").pause()
    assert store.count(goal_id="g0") == 3


def test_what_comes_and_goes_by_us_costs_no_comparison(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "rebuild", None)
    store.create("new", session_id="new").pause()
    assert store.count(goal_id="new") == 1
    store.delete("new")
    assert store.count(goal_id="new") == 0


def test_what_others_added_is_not_passed_over_since_we_add_something_too(
    store: Store, tmp_path: Path
) -> None:
    shutil.copytree(tmp_path / "sessions/s0", tmp_path / "s0")
    store.delete("s0")
    shutil.move(tmp_path / "s0", tmp_path / "sessions/s0")
    store.create("new", session_id="new").pause()
    assert store.count() == 9
    assert_true(store)


@pytest.mark.parametrize("has_listed", [False, True])
def test_who_cannot_see_whether_there_is_an_index_changes_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_listed: bool
) -> None:
    writer = store if has_listed else SessionStore(tmp_path)
    session = writer.claim("s0")
    session.state.goal_id = "moved"
    before = (tmp_path / "sessions/s0/state.json").read_bytes()
    real = os.listdir

    def listdir(path: Any) -> list[str]:
        if path == os.fspath(tmp_path):
            raise OSError(errno.EMFILE, "no descriptors left")
        return real(path)

    attempts: list[Callable[[], object]] = [
        session.save,
        lambda: writer.delete("s1"),
        lambda: writer.create("goal", session_id="new"),
    ]
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", listdir)
        for attempt in attempts:
            with pytest.raises(StorageError):
                attempt()
        assert len(SessionStore(tmp_path).find()) == 8, "the files say it all"
        assert SessionStore(tmp_path).count(goal_id="g0") == 3
    assert (tmp_path / "sessions/s0/state.json").read_bytes() == before
    assert_true(SessionStore(tmp_path))
    session.save()
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", listdir)
        session.release()  # the session stays live
    assert_true(store)
    assert SessionStore(tmp_path).count(goal_id="moved") == 1
