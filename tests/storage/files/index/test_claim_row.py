"""What the index hears of claims, creates and deletes: enough for a count that reads no file."""

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
from sessionstore.storage.files.index import rebuild
from tests.support.index import assert_true, fill, index_files, row
from tests.support.processes import Child, needs_linux

Store = SessionStore[SessionState]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    fill(tmp_path)
    store = SessionStore(tmp_path, durability="process")
    store.find()
    return store


def test_a_session_is_live_from_its_first_save_to_its_release(store: Store, tmp_path: Path) -> None:
    session = store.claim("s0")
    before = row(tmp_path, "s0")
    assert before is not None
    assert before["live"] == 0, "a claim alone changes nothing"
    session.state.goal_id = "moved"
    session.save()
    during = row(tmp_path, "s0")
    assert during is not None
    assert during["live"] != 0
    assert [item.session_id for item in store.find(goal_id="moved")] == ["s0"]
    session.pause()
    after = row(tmp_path, "s0")
    assert after is not None
    assert (after["live"], after["goal_id"], after["status"]) == (0, "moved", "paused")
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


def test_what_a_release_knows_it_does_not_read_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = store.claim("s0")
    session.save()
    monkeypatch.setattr("sessionstore.storage.files.index.observe.Eyes.read", None)
    session.complete({"answer": 42})
    found = row(tmp_path, "s0")
    assert found is not None
    assert (found["live"], found["status"]) == (0, "completed")


def test_it_is_live_before_its_file_changes(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, marks = FilesClaim._swap, list[bool]()

    def swap(self: FilesClaim, *given: Any) -> None:
        found = row(tmp_path, "s0")
        marks.append(found is not None and found["live"] != 0)
        real(self, *given)

    monkeypatch.setattr(FilesClaim, "_swap", swap)
    with store.claim("s0") as session:
        session.save()
    assert marks == [True]


def test_whoever_lists_leaves_it_live_while_it_is_held(store: Store, tmp_path: Path) -> None:
    for number, make in enumerate((None, index_files(tmp_path)[0].unlink)):
        with store.claim("s0") as session:
            session.state.goal_id = f"before-{number}"
            session.save()
            if make is not None:  # a new index is made while it is held
                store.close()
                make()
            assert store.count(goal_id=f"before-{number}") == 1
            session.state.goal_id = f"after-{number}"
            session.save()
            assert store.count(goal_id=f"after-{number}") == 1
            assert_true(store)
    assert store.count(goal_id="after-1") == 1


def test_a_release_settles_no_row_that_another_has_made_live(store: Store, tmp_path: Path) -> None:
    first = store.claim("s0")
    first.save()
    (tmp_path / "locks/s0.lock").unlink()
    with store.claim("s0") as second:
        second.state.goal_id = "theirs"
        second.save()
        first.release()
        found = row(tmp_path, "s0")
        assert found is not None
        assert found["live"] != 0
        second.state.goal_id = "later"
        second.save()
        assert store.count(goal_id="later") == 1
    assert_true(store)


@needs_linux("kill -9")
def test_a_row_is_not_settled_on_what_was_read_before_the_holder_died(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create("goal", session_id="dies").fail("to be claimed")
    real = lock.is_free
    with Child("act", tmp_path) as holder:
        holder.hear()
        holder.ask("claim", session_id="dies")
        holder.ask("save", step=1)

        def is_free(locks: Directory, session_id: str) -> bool:
            if session_id == "dies" and holder.process.returncode is None:
                holder.ask("save", step=2)  # after it was read, before the lock is looked at
                holder.kill()
            return real(locks, session_id)

        monkeypatch.setattr(lock, "is_free", is_free)
        store.count(status="failed")
    found = row(tmp_path, "dies")
    assert found is not None
    assert found["live"] != 0, "settled as it was read: revision 3 of 4"
    assert_true(store)
    found = row(tmp_path, "dies")
    assert found is not None
    assert found["live"] == 0
    assert found["inode"] == (tmp_path / "sessions/dies/state.json").stat().st_ino


# --- sessions come and go ---------------------------------------------------------------------


def test_a_session_leaves_the_index_as_it_leaves_the_store(store: Store, tmp_path: Path) -> None:
    assert store.count(goal_id="g0") == 3
    store.delete("s0")
    assert row(tmp_path, "s0") is None
    assert store.count(goal_id="g0") == 2
    store.create("g0", session_id="s0").pause()
    assert store.count(goal_id="g0") == 3


def test_what_comes_and_goes_by_us_costs_no_comparison(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "compare", None)
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
        session.release()  # the row stays live
    assert_true(store)
    assert SessionStore(tmp_path).count(goal_id="moved") == 1
