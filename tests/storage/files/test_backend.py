"""The files backend: what lies where, and what other hands may do to it."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sessionstore import (
    ClaimLost,
    RevisionConflict,
    Session,
    SessionClaimed,
    SessionNotFound,
    SessionState,
    SessionStore,
    SessionStoreError,
    StorageError,
)
from sessionstore.durable.directory import Directory
from sessionstore.storage.files import lock as locks
from sessionstore.storage.files import reader
from sessionstore.storage.files.lock import PROBE_GRACE, HeldLock
from tests.support.processes import (
    DEADLINE,
    Child,
    edit_state,
    left_active,
    leftovers,
    needs_root,
    new_session,
    read_state,
    session_path,
    state_path,
    tree,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# --- the layout ---------------------------------------------------------------------------------


def test_the_layout_is_the_promised_one_and_private(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "store"
    before = os.umask(0)
    try:
        with SessionStore(root).create("goal", session_id="s1") as session:
            kept = session.checkpoint()
            found = {str(path.relative_to(root)) for path in root.rglob("*")}
            session.complete()
    finally:
        os.umask(before)
    files = {
        "sessionstore.json",
        "sessions/s1/state.json",
        f"sessions/s1/checkpoints/{kept.checkpoint_id}.json",
        "locks/s1.lock",
    }
    directories = {"sessions", "sessions/s1", "sessions/s1/checkpoints", "locks", "trash"}
    assert found == files | directories
    assert {mode(root / name) for name in files} == {0o600}
    assert {mode(root / name) for name in directories} == {0o700}
    assert mode(root) == mode(root.parent) == 0o700
    assert json.loads((root / "sessionstore.json").read_bytes())["format"] == 1


def test_reading_makes_nothing(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "store")
    assert list(store.find().items) == []
    assert not store.exists("s1")
    assert store.recover().swept == ()
    with pytest.raises(SessionNotFound):
        store.load("s1")
    with pytest.raises(SessionNotFound):
        store.claim("s1")
    assert os.listdir(tmp_path) == []


def test_a_store_of_a_newer_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    new_session(tmp_path)
    (tmp_path / "sessionstore.json").write_text('{"format": 2}')
    before = tree(tmp_path)
    with pytest.raises(StorageError, match=r"format 2.*upgrade"):
        SessionStore(tmp_path)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "1"}', '{"format": 0}', "{}"])
def test_a_damaged_marker_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "sessionstore.json").write_text(text)
    with pytest.raises(StorageError):
        SessionStore(tmp_path)
    assert (tmp_path / "sessionstore.json").read_text() == text


def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("mine")
    for root in (tmp_path / "root", tmp_path / "root" / "below"):
        with pytest.raises(StorageError):
            SessionStore(root).create("goal")
    assert (tmp_path / "root").read_text() == "mine"


def test_a_missing_root_is_refused_where_none_shall_be_made(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no store here"):
        SessionStore(tmp_path / "nowhere", create=False)
    with pytest.raises(StorageError):
        SessionStore(tmp_path, create=False)
    assert os.listdir(tmp_path) == []


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A store with one resumable and one abandoned session on a read-only file system."""
    source, root = tmp_path / "source", tmp_path / "mounted"
    new_session(source, "paused")
    with Child("act", source) as owner:
        owner.hear()
        owner.ask("create", session_id="dead")
        owner.crash()
    root.mkdir()
    subprocess.run(["mount", "--bind", source, root], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", root], check=True)
        yield root
    finally:
        subprocess.run(["umount", root], check=True)


@needs_root("mounts a read-only file system")
def test_a_read_only_store_is_read_listed_and_judged(read_only: Path) -> None:
    store = SessionStore(read_only, create=False)
    assert store.load("paused").status == "paused"
    # What a dead process has saved can be resumed, too.
    found = store.find(resumable=True, order="session_id")
    assert [item.session_id for item in found] == ["dead", "paused"]
    assert [item.session_id for item in store.find(stale=True).items] == ["dead"]
    assert store.liveness("dead").is_dead
    assert len(store.checkpoints("paused")) == 1
    assert [item.session_id for item in store.recover(dry_run=True).swept] == ["dead"]
    writes: list[Callable[[], object]] = [
        lambda: store.create("goal", session_id="new"),
        lambda: store.resume("paused"),
        lambda: store.delete("paused"),
    ]
    for write in writes:
        with pytest.raises(StorageError, match="read-only"):
            write()
    report = store.recover()
    assert [item.session_id for item in report.failed] == ["dead"]


# --- checkpoints --------------------------------------------------------------------------------


def checkpoint_inode(session: Session[SessionState]) -> int:
    kept = session.checkpoint()
    path = session.directory / "checkpoints" / f"{kept.checkpoint_id}.json"
    assert path.read_bytes() == (session.directory / "state.json").read_bytes()
    return path.stat().st_ino


def test_a_checkpoint_is_a_second_name_of_the_state(tmp_path: Path) -> None:
    with SessionStore(tmp_path).create("goal", session_id="s1") as session:
        assert checkpoint_inode(session) == state_path(tmp_path, "s1").stat().st_ino


def test_a_foreign_store_opens_in_place_and_gets_copies(tmp_path: Path) -> None:
    new_session(tmp_path / "made", checkpoint=False)
    shutil.copytree(tmp_path / "made" / "sessions", tmp_path / "root" / "sessions")
    root = tmp_path / "root"
    before = set(session_path(root, "s1").glob("checkpoints/*"))
    assert SessionStore(root).load("s1").status == "failed"
    assert os.listdir(root) == ["sessions"]  # reading does not mark it
    for _ in range(2):  # also when it is opened again, with our marker
        with SessionStore(root).claim("s1") as session:
            assert checkpoint_inode(session) != state_path(root, "s1").stat().st_ino
        assert json.loads((root / "sessionstore.json").read_bytes())["foreign_writers"] is True
    kept = {path: path.read_bytes() for path in session_path(root, "s1").glob("checkpoints/*")}
    assert len(kept.keys() - before) == 2
    state_path(root, "s1").write_text("")  # as `jq … > state.json` begins
    assert {path: path.read_bytes() for path in kept} == kept


# --- other hands --------------------------------------------------------------------------------


def test_files_of_the_application_are_never_touched(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    with store.create("goal", session_id="s1") as session:
        own = {"notes.txt": b"1", "data/deep.bin": b"\0", ".new": b"2", "checkpoints/x.tmp": b"3"}
        for name, data in own.items():
            path = session.directory / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        session.checkpoint()
        session.pause()
    with store.resume("s1") as session:
        session.complete()
    store.recover()
    assert {name: (session_path(tmp_path, "s1") / name).read_bytes() for name in own} == own


def test_a_new_checkpoint_is_not_pruned_because_an_older_state_came_back(tmp_path: Path) -> None:
    """After a power cut in process mode there may be checkpoints of higher revisions."""
    store = SessionStore(tmp_path, durability="process", keep_checkpoints=2)
    with store.create("goal", session_id="s1") as session:
        session.save()
        early = state_path(tmp_path, "s1").read_bytes()
        for _ in range(3):
            session.checkpoint()
    state_path(tmp_path, "s1").unlink()  # its bytes are the checkpoint's, too
    state_path(tmp_path, "s1").write_bytes(early)
    edit_state(tmp_path, "s1", status="paused", owner=None, pid=None)
    with store.claim("s1") as session:
        kept = session.checkpoint().checkpoint_id
    assert read_state(tmp_path, "s1")["latest_checkpoint_id"] == kept
    names = os.listdir(session_path(tmp_path, "s1") / "checkpoints")
    assert f"{kept}.json" in names
    assert len(names) == 2


def test_the_next_claim_removes_what_a_killed_save_left(tmp_path: Path) -> None:
    with Child("act", tmp_path) as owner:
        owner.hear()
        owner.ask("create", session_id="s1")
        (session_path(tmp_path, "s1") / ".new-0123456789abcdef").write_bytes(b"half")
        owner.crash()
    SessionStore(tmp_path).claim("s1").release()
    assert leftovers(tmp_path) == []


def test_the_sweep_tidies_the_trash_and_what_was_never_finished(tmp_path: Path) -> None:
    new_session(tmp_path)
    (tmp_path / "trash" / "old.0123456789abcdef" / "checkpoints").mkdir(parents=True)
    half = tmp_path / "trash" / ".new-0123456789abcdef-s2"
    half.mkdir()
    (half / "state.json").write_text("{}")
    SessionStore(tmp_path).recover(dry_run=True)
    assert half.exists()
    SessionStore(tmp_path).recover()
    assert os.listdir(tmp_path / "trash") == []
    assert os.listdir(tmp_path / "sessions") == ["s1"]


def test_a_store_without_its_locks_directory_goes_on(tmp_path: Path) -> None:
    new_session(tmp_path)
    store = SessionStore(tmp_path)
    for _ in range(2):
        shutil.rmtree(tmp_path / "locks")
        assert store.liveness("s1").is_dead
        store.claim("s1").release()
    assert mode(tmp_path / "locks") == 0o700


@pytest.mark.parametrize("last", ["nobody", "one that let go", "one that died"])
def test_who_is_refused_learns_who_has_the_lock_though_it_says_so_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    new_session(tmp_path)
    path = tmp_path / "locks" / "s1.lock"
    if last == "nobody":
        path.unlink()
    elif last == "one that died":
        record = json.loads(path.read_bytes()[1:])
        record["owner"]["pid"] = 2**22 + 1
        path.write_bytes(b"\n" + json.dumps({"owner": record["owner"]}).encode())
    taken, real = threading.Event(), HeldLock.write_record

    def write_late(lock: HeldLock) -> None:
        taken.set()
        time.sleep(5 * PROBE_GRACE)  # as on a machine that is starved of time
        real(lock)

    monkeypatch.setattr(HeldLock, "write_record", write_late)
    monkeypatch.setattr(locks, "LOOK_GRACE", DEADLINE)  # this machine may be starved of more
    with ThreadPoolExecutor(1) as pool:
        winner = pool.submit(SessionStore(tmp_path).claim, "s1")
        assert taken.wait(DEADLINE)
        with pytest.raises(SessionClaimed) as refused:
            SessionStore(tmp_path).claim("s1")
        with winner.result() as session:
            assert refused.value.owner == session.owner


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Session[SessionState]]:
    """A claimed session that loses its claim, one way or another."""
    session = SessionStore(tmp_path).create("goal", session_id="s1")
    session.state.data_buffer["ours"] = True
    yield session
    with pytest.raises(SessionStoreError):
        session.release()
    assert session.is_released


@pytest.mark.parametrize("open_already", [False, True], ids=["first save", "later save"])
def test_a_session_that_was_moved_away_is_lost(
    tmp_path: Path, held: Session[SessionState], open_already: bool
) -> None:
    if open_already:
        ours = held.state.data_buffer.pop("ours")
        held.save()
        held.state.data_buffer["ours"] = ours
    session_path(tmp_path, "s1").rename(tmp_path / "aside")
    for _ in range(2):
        with pytest.raises(ClaimLost):
            held.save()
        with pytest.raises(ClaimLost):
            held.checkpoint()
        shutil.copytree(tmp_path / "aside", session_path(tmp_path, "s1"), dirs_exist_ok=True)
    assert read_state(tmp_path, "s1")["data_buffer"] == {}


@pytest.mark.parametrize("again", [False, True], ids=["deleted", "made again"])
def test_a_checkpoint_of_a_session_that_is_deleted_meanwhile_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    new_session(tmp_path)
    store = SessionStore(tmp_path)
    (kept,) = store.checkpoints("s1")

    class Late(Directory):
        def __init__(self, path: str, inside: Directory | None = None) -> None:
            if path == "checkpoints":
                monkeypatch.setattr(reader, "Directory", Directory)
                store.delete("s1")
                if again:
                    new_session(tmp_path)
            super().__init__(path, inside)

    monkeypatch.setattr(reader, "Directory", Late)
    with pytest.raises(SessionNotFound):
        store.load_checkpoint("s1", kept.checkpoint_id)
    assert store.exists("s1") == again


@pytest.mark.parametrize("then", ["gone", "new"])
def test_a_claim_without_its_lock_file_is_lost(
    tmp_path: Path, held: Session[SessionState], then: str
) -> None:
    path = tmp_path / "locks" / "s1.lock"
    path.unlink()
    if then == "new":
        path.touch()
    before = state_path(tmp_path, "s1").read_bytes()
    for write in (held.save, held.checkpoint):
        with pytest.raises(ClaimLost):
            write()
    assert state_path(tmp_path, "s1").read_bytes() == before
    # Another process is not let in: the process of the record still runs.
    with Child("act", tmp_path) as other:
        other.hear()
        assert "lock file was replaced" in str(other.ask("claim", session_id="s1"))
    # This process knows that it lost the claim.
    with SessionStore(tmp_path).claim("s1") as again:
        again.save()


@pytest.mark.parametrize("how", ["in place", "replaced", "removed", "touched"])
def test_a_state_that_others_changed_is_kept(
    tmp_path: Path, held: Session[SessionState], how: str
) -> None:
    path = state_path(tmp_path, "s1")
    foreign: bytes | None = path.read_bytes().replace(b'"revision":1', b'"revision":5')
    assert foreign is not None
    if how == "in place":
        edit_state(tmp_path, "s1", revision=5)
    elif how == "replaced":
        (tmp_path / "theirs").write_bytes(foreign)
        os.replace(tmp_path / "theirs", path)
    elif how == "touched":  # same length, same inode: only the time tells
        path.write_bytes(path.read_bytes().replace(b"goal", b"them"))
    else:
        path.unlink()
    foreign = path.read_bytes() if path.exists() else None
    for write in (held.save, held.checkpoint):
        with pytest.raises(RevisionConflict) as caught:
            write()
        assert caught.value.expected == 1
        assert caught.value.found == {"removed": None, "touched": 1}.get(how, 5)
    assert (path.read_bytes() if path.exists() else None) == foreign
    assert held.revision == 1
    assert leftovers(tmp_path) == []


def test_an_abandoned_session_is_left_as_it_is_until_somebody_sweeps(tmp_path: Path) -> None:
    left_active(tmp_path)
    before = tree(tmp_path)
    store = SessionStore(tmp_path)
    store.find(stale=True)
    store.recover(dry_run=True)
    assert tree(tmp_path) == before
