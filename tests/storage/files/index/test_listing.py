"""The index is derived and disposable: whatever happens to it, a listing is right."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from sessionstore import SessionState, SessionStore, StorageError
from sessionstore.process import kernel
from sessionstore.storage.files import FilesBackend, lock
from sessionstore.storage.files.index import live_names
from sessionstore.storage.files.index.index_directory import FORMAT
from tests.support.index import (
    assert_true,
    fill,
    index_files,
    listed,
    live,
    remove_index,
    row,
    scanned,
)
from tests.support.processes import edit_state, needs_linux, needs_root

Store = SessionStore[SessionState]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    fill(tmp_path)
    store = SessionStore(tmp_path, durability="process")
    store.find()
    return store


def test_who_never_lists_has_no_index(tmp_path: Path) -> None:
    fill(tmp_path)
    assert index_files(tmp_path) == []


def test_a_listing_makes_one_that_only_its_owner_can_read(store: Store, tmp_path: Path) -> None:
    (file,) = index_files(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for name in ("-wal", "-shm"):
        assert stat.S_IMODE(Path(f"{file}{name}").stat().st_mode) == 0o600
    with store.claim("s0") as session:
        session.save()
        for directory in (file.parent, file.parent / "live"):
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        (named,) = (file.parent / "live").iterdir()
        assert stat.S_IMODE(named.stat().st_mode) == 0o600
    assert_true(store)


def test_a_store_that_was_never_written_gets_none(tmp_path: Path) -> None:
    assert list(SessionStore(tmp_path / "none").find()) == []
    assert not (tmp_path / "none").exists()
    foreign = tmp_path / "foreign"
    (foreign / "sessions").mkdir(parents=True)
    assert list(SessionStore(foreign).find()) == []
    assert index_files(foreign) == []


# --- what happens to the index ------------------------------------------------------------------


def noise(file: Path) -> None:
    file.write_bytes(os.urandom(file.stat().st_size))


def truncate(file: Path) -> None:
    os.truncate(file, 5000)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def remove(file: Path) -> None:
    remove_index(file.parents[1])


def remove_the_database(file: Path) -> None:
    file.unlink()


def remove_the_names(file: Path) -> None:
    shutil.rmtree(file.parent / "live")


def remove_the_record(file: Path) -> None:
    (file.parent / "sessions").unlink()


def empty_the_record(file: Path) -> None:
    os.truncate(file.parent / "sessions", 0)


def drop_a_table(file: Path) -> None:
    connection = sqlite3.connect(file)
    connection.execute("DROP TABLE sessions")
    connection.commit()
    connection.close()


def another_boot(file: Path) -> None:
    connection = sqlite3.connect(file)
    connection.execute("UPDATE facts SET value = 'then' WHERE name = 'boot'")
    connection.execute("DELETE FROM sessions WHERE id = 's1'")  # as if lost with the power
    connection.execute("UPDATE sessions SET status = 'active', size = 1 WHERE id = 's2'")
    connection.commit()
    connection.close()


def unfinished(file: Path) -> None:
    connection = sqlite3.connect(file)
    connection.execute("UPDATE facts SET value = '0' WHERE name = 'complete'")
    connection.execute("DELETE FROM sessions WHERE id > 's3'")
    connection.commit()
    connection.close()


SILENT = [remove, remove_the_database]
"""Who does this knows what it means."""
HARMS = [
    noise, truncate, empty, drop_a_table, another_boot, unfinished,
    remove_the_names, remove_the_record, empty_the_record, *SILENT,
]  # fmt: skip


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("is_open", [False, True])
def test_a_harmed_index_does_no_harm(
    tmp_path: Path, store: Store, harm: object, is_open: bool, caplog: pytest.LogCaptureFixture
) -> None:
    assert callable(harm)
    if not is_open:
        store.close()
    (file,) = index_files(tmp_path)
    if harm in (noise, truncate, empty):
        for suffix in ("-wal", "-shm"):
            if not is_open:
                Path(f"{file}{suffix}").unlink(missing_ok=True)
    with caplog.at_level(logging.DEBUG):
        harm(file)
        assert_true(store)
        store.create("later", session_id="later").pause()
        assert_true(store)
        store.close()
        assert_true(SessionStore(tmp_path))
    # If it is open, SQLite may have the sound pages at hand, and write them back.
    if not is_open and harm not in SILENT:
        assert "index" in caplog.text, "it does not say what it did"
    assert "without an index" not in caplog.text, "it does not heal itself"
    assert row(tmp_path, "later") is not None


def test_a_writer_whose_index_was_removed_does_not_write_to_nowhere(
    store: Store, tmp_path: Path
) -> None:
    session = store.claim("s0")
    session.save()
    remove(index_files(tmp_path)[0])
    other = SessionStore(tmp_path)
    assert other.count() == 8  # there is another index now
    with store.claim("s1") as settled:  # in the other one
        settled.state.goal_id = "settled before"
        settled.save()
        assert other.count(goal_id="settled before") == 1
    session.state.goal_id = "moved"
    session.save()
    assert [item.session_id for item in other.find(goal_id="moved")] == ["s0"]
    session.complete()
    assert_true(other)
    assert_true(store)


def test_an_index_from_before_a_restore_is_noticed(store: Store, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    shutil.copytree(tmp_path / "sessions", backup)
    for name in ("s0", "s1", "s2"):
        store.claim(name).fail("after the backup")
    store.delete("s3")
    store.find()
    shutil.rmtree(tmp_path / "sessions")
    shutil.copytree(backup, tmp_path / "sessions", copy_function=shutil.copy2)
    assert store.count(status="cancelled") == 2
    assert_true(store)


def test_an_index_that_is_older_than_the_files_is_compared_after_another_boot(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = store.claim("s4")
    store.close()
    (file,) = index_files(tmp_path)
    before = tmp_path / "before"
    shutil.copytree(file.parent, before)
    store.claim("s0").fail("its row is lost")
    held.state.goal_id = "moved"
    held.save()  # and so is its name
    expected = scanned(store, {"status": "failed"}, "-updated_at")
    store.close()
    remove(file)
    before.rename(file.parent)  # sessions/ did not change, and tells nothing
    monkeypatch.setattr(kernel, "boot_id", lambda: "the next one")
    booted = SessionStore(tmp_path)
    assert booted.count(status="failed") == len(expected) == 3
    assert booted.count(goal_id="moved") == 1
    assert_true(booted)
    held.release()
    assert_true(booted)


def test_one_session_put_back_by_hand_is_listed_at_once(store: Store, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "sessions/s0", tmp_path / "s0")
    store.delete("s0")
    assert store.count() == 7
    shutil.move(tmp_path / "s0", tmp_path / "sessions/s0")
    assert store.count() == 8
    shutil.rmtree(tmp_path / "sessions/s0")
    assert store.count(goal_id="g0") == 2


def test_of_two_that_are_made_at_once_one_counts(store: Store, tmp_path: Path) -> None:
    (file,) = index_files(tmp_path)
    store.close()
    smaller = tmp_path / f"index-{FORMAT}-0000000000000000"
    assert smaller < file.parent
    shutil.copytree(file.parent, smaller)
    drop_a_table(file)
    assert_true(store)
    assert index_files(tmp_path) == [smaller / "rows.sqlite"]


def test_an_index_of_another_version_is_left_alone_and_kept_true(
    store: Store, tmp_path: Path
) -> None:
    (file,) = index_files(tmp_path)
    theirs = file.parent.with_name("index-999-0000000000000000")
    store.close()
    file.parent.rename(theirs)
    assert_true(store)
    assert len(index_files(tmp_path)) == 2
    record = (theirs / "sessions").read_bytes()
    for turn in range(3):
        with store.claim("s1") as session:
            session.state.goal_id = f"turn-{turn}"
            session.save()
        assert store.count(goal_id=f"turn-{turn}") == 1
    store.create("g", session_id="new").pause()
    store.delete("s2")
    names = sorted(path.name for path in (theirs / "live").iterdir())
    assert names == ["new", "s1", "s2"], "one name for each, however often it was claimed"
    assert (theirs / "sessions").read_bytes() != record
    ours = next(path for path in index_files(tmp_path) if path.parent != theirs)
    assert (theirs / "sessions").read_bytes() == (ours.parent / "sessions").read_bytes()


def test_a_name_that_another_version_made_is_folded(store: Store, tmp_path: Path) -> None:
    (file,) = index_files(tmp_path)
    (file.parent / "live" / "s0").touch()
    edit_state(tmp_path, "s0", goal_id="theirs")
    assert store.count(goal_id="theirs") == 1
    assert list((file.parent / "live").iterdir()) == []
    assert store.count(goal_id="theirs") == 1


# --- what others write underneath ---------------------------------------------------------------


def test_what_others_wrote_is_noticed_on_the_page_that_shows_it(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edit_state(tmp_path, "s0", goal_id="theirs")
    edit_state(tmp_path, "s1", goal_id="theirs")
    assert store.find(goal_id="theirs").items == (), "not on this page: nobody looked"
    shown = store.find(goal_id="g0", status="paused")
    assert [item.session_id for item in shown] == []
    assert "something else changed sessions" in caplog.text
    assert len(store.find(goal_id="theirs")) == 2, "one that was seen has all compared"
    assert_true(store)


def test_verify_notices_what_no_page_shows(store: Store, tmp_path: Path) -> None:
    edit_state(tmp_path, "s0", goal_id="theirs")
    assert [item.session_id for item in store.find(goal_id="theirs", verify=True)] == ["s0"]
    assert [item.session_id for item in store.find(goal_id="theirs")] == ["s0"]


def test_a_check_up_notices_it_too(store: Store, tmp_path: Path) -> None:
    edit_state(tmp_path, "s0", goal_id="theirs")
    store.check()
    assert [item.session_id for item in store.find(goal_id="theirs")] == ["s0"]


def test_damage_is_looked_at_each_time(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "sessions/s0/state.json"
    sound = file.read_bytes()
    file.write_bytes(b"{")
    assert [item.session_id for item in store.find(verify=True, damaged=True)] == ["s0"]
    assert store.find(status="failed").damaged == 1
    file.write_bytes(sound)
    assert store.find(damaged=True).items == ()
    assert store.find(status="failed").damaged == 0
    assert_true(store)


def test_a_process_without_a_lock_is_looked_at_each_time(store: Store, tmp_path: Path) -> None:
    edit_state(tmp_path, "s0", status="active", owner=None, pid=1)
    assert store.count(status="active") == 0
    assert store.find(verify=True, status="active").items
    edit_state(tmp_path, "s0", status="active", owner=None, pid=1, goal_id="theirs")
    assert store.count(goal_id="theirs") == 1
    assert_true(store)


def test_where_others_write_every_listing_compares(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "sessionstore.json").write_text('{"format": 1, "foreign_writers": true}')
    store = SessionStore(tmp_path)
    assert_true(store)
    edit_state(tmp_path, "s0", goal_id="theirs", status="active", owner=None, pid=1)
    assert [item.session_id for item in store.find(goal_id="theirs")] == ["s0"]
    edit_state(tmp_path, "s0", goal_id="again")
    assert [item.session_id for item in store.find(goal_id="again")] == ["s0"]
    assert_true(store)


# --- pages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["-updated_at", "started_at", "session_id", "-session_id"])
def test_pages_go_on_where_times_are_equal_or_unknown(tmp_path: Path, order: str) -> None:
    fill(tmp_path, 12)
    for number in range(12):
        at = ["2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00", "whenever"][number % 3]
        edit_state(tmp_path, f"s{number}", timestamps={"started_at": at, "updated_at": at})
    store = SessionStore(tmp_path)
    expected = scanned(store, {}, order)
    assert len(expected) == 12
    assert listed(store, {}, order) == expected
    some = {"status": ["paused", "failed", "cancelled"]}
    assert listed(store, some, order) == scanned(store, some, order)


def test_a_long_listing_skips_nobody_that_is_claimed_meanwhile(tmp_path: Path) -> None:
    fill(tmp_path, 150)
    store = SessionStore(tmp_path, durability="process")
    store.find()
    matches = store.iter_find(order="session_id")
    seen = [next(matches).session_id for _ in range(70)]
    held = [store.claim(f"s{number}") for number in range(150) if f"s{number}" not in seen]
    for session in held:
        session.state.goal_id = "touched"
        session.save()
    seen += [item.session_id for item in matches]
    for session in held:
        session.release()
    assert sorted(seen) == sorted(f"s{number}" for number in range(150))


def test_values_never_become_sql(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    hostile = "x' OR 1=1; DROP TABLE sessions; --"
    store.create(hostile, session_id="hostile").pause()
    assert [item.session_id for item in store.find(goal_id=hostile)] == ["hostile"]
    assert store.find(id_prefix=hostile).items == ()
    assert store.count(agent_id=hostile) == 0
    every = "x' OR '' = '"
    assert store.count(goal_id=every) == 0
    assert store.find(correlation_id=every).items == ()
    assert store.find(id_prefix=every).items == ()
    assert_true(store)
    assert caplog.records == [], "SQLite had trouble, and the files were read instead"


# --- threads, processes, odd places -------------------------------------------------------------


def test_threads_share_a_store(store: Store) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(5):
                store.create("t", session_id=f"t{number}-{turn}").complete()
                assert store.count(id_prefix=f"t{number}-") == turn + 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert_true(store)


@needs_linux("fork")
def test_a_forked_child_opens_its_own(store: Store) -> None:
    store.claim("s0").release()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            with store.claim("s1") as session:
                session.save()
            code = 0 if store.count() == 8 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    store.claim("s2").fail("the parent's connection still works")
    assert_true(store)


@needs_root("a read-only mount")
def test_a_store_that_can_only_be_read_is_scanned(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.close()
    import subprocess

    subprocess.run(["mount", "--bind", tmp_path, tmp_path], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", tmp_path], check=True)
        only_read = SessionStore(tmp_path)
        assert len(only_read.find()) == 8
        assert only_read.count(status="paused") == 2
        said = [one for one in caplog.records if "without an index" in one.getMessage()]
        assert len(said) == 1, "it says so once"
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_without_sqlite_the_files_are_scanned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)

    def broken(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(sqlite3, "connect", broken)
    store = SessionStore(tmp_path)
    assert len(store.find()) == 8
    with store.claim("s0") as session:
        session.save()
    assert store.count() == 8


def test_a_process_that_was_stopped_in_a_transaction_stops_nobody(
    store: Store, tmp_path: Path
) -> None:
    (file,) = index_files(tmp_path)
    stuck = sqlite3.connect(file, isolation_level=None)
    stuck.execute("BEGIN IMMEDIATE")
    try:
        with store.claim("s0") as session:
            session.state.goal_id = "moved"
            session.save()
        store.create("g", session_id="new").pause()
        store.delete("s1")
        assert [item.session_id for item in store.find(goal_id="moved")] == ["s0"]
        assert_true(store)
        assert live(tmp_path) == {"s0", "s1", "new"}
        assert index_files(tmp_path) == [file]
    finally:
        stuck.close()
    assert_true(store)
    assert live(tmp_path) == set()


def test_a_process_that_was_stopped_as_it_moved_a_session_stops_nobody(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_names, "_PATIENCE", 0.05)
    (file,) = index_files(tmp_path)
    with lock.locked(str(file.parent / "sessions"), timeout=0.0) as stopped:
        assert stopped is not None
        store.create("g", session_id="new").pause()
        assert store.count() == 9
        assert_true(store)
        store.delete("new")
        assert_true(store)
    assert_true(store)


def test_an_index_whose_live_sessions_cannot_be_named_is_removed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(live_names, "_add_claim", refuse)
        with store.claim("s0") as session:
            session.state.goal_id = "moved"
            session.save()
        assert index_files(tmp_path) == []
    assert [item.session_id for item in store.find(goal_id="moved")] == ["s0"]
    with monkeypatch.context() as patch:
        patch.setattr(live_names, "_add_claim", refuse)
        store.delete("s1")
        store.create("g", session_id="new").pause()
    assert store.count() == 8
    assert_true(store)


def test_without_links_names_are_files_of_their_own(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with store.claim("s0") as session:
        session.state.goal_id = "moved"
        session.save()
        assert live(tmp_path) == {"s0"}
        assert store.count(goal_id="moved") == 1
    assert_true(store)


def test_a_store_that_cannot_be_listed_says_so(tmp_path: Path) -> None:
    fill(tmp_path)
    shutil.rmtree(tmp_path / "sessions")
    (tmp_path / "sessions").write_text("a file")
    with pytest.raises(StorageError, match="list"):
        SessionStore(tmp_path).find()


def test_the_backend_gives_its_descriptors_back(tmp_path: Path) -> None:
    fill(tmp_path)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    backend = FilesBackend(tmp_path)
    SessionStore(backend).find()
    backend.close()
    if before:
        assert len(os.listdir("/proc/self/fd")) == before
