"""A directory that the application made first: no session, no damage, and create uses it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sessionstore import (
    FilesBackend,
    SessionCorrupt,
    SessionExists,
    SessionNotFound,
    SessionState,
    SessionStore,
    StorageError,
    check_store,
)
from sessionstore.durable import replace
from sessionstore.durable.directory import Directory
from sessionstore.model.query import make_query
from sessionstore.storage import scan
from sessionstore.storage.files.index import live_names
from tests.support.processes import (
    Child,
    children,
    new_session,
    read_state,
    session_path,
    state_path,
    tree,
)

Store = SessionStore[SessionState]


def make_first(root: Path, session_id: str = "made", *, checkpoints: bool = False) -> Path:
    """Make the directory of a session as an application does, with files of its own."""
    place = root / "sessions" / session_id
    place.mkdir(parents=True)
    place.chmod(0o755)
    (place / "prompts").mkdir()
    (place / "prompts" / "first.txt").write_text("hello")
    if checkpoints:
        (place / "checkpoints").mkdir()
    return place


@pytest.fixture(params=["no checkpoints/", "an empty checkpoints/"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A directory that the application made in a store with one session."""
    new_session(tmp_path, "other")
    return make_first(tmp_path, checkpoints=request.param != "no checkpoints/")


# --- it is no session ---------------------------------------------------------------------------


def test_it_is_in_no_listing_with_an_index_or_without(made: Path, tmp_path: Path) -> None:
    with SessionStore(tmp_path) as store:
        for verify in (False, True, False):
            assert [item.session_id for item in store.find(verify=verify)] == ["other"]
        assert store.count() == 1
        assert not store.find(damaged=True).items
        assert store.stats().sessions == 1
        assert not store.recover().damaged
    backend = FilesBackend(tmp_path)
    assert list(backend.ids()) == ["other"]
    query = make_query({}, limit=None, cursor=None, order="session_id")
    scanned = scan.find(backend, query, lambda item: item)
    assert [item.session_id for item in scanned] == ["other"]


@pytest.mark.parametrize(
    "attempt",
    [
        lambda store: store.load("made"),
        lambda store: store.claim("made"),
        lambda store: store.resume("made"),
        lambda store: store.delete("made", force=True),
        lambda store: store.liveness("made"),
        lambda store: store.checkpoints("made"),
        lambda store: store.checkpoint_names("made"),
        lambda store: store.usage("made"),
        lambda store: store.raw("made"),
        lambda store: store.raw("made", "cp"),
        lambda store: store.explain("made"),
        lambda store: store.history("made"),
        lambda store: store.mark("made", "failed", reason="x"),
        lambda store: store.cancel("made"),
        lambda store: store.fork("made"),
    ],
)
def test_every_call_says_that_there_is_no_such_session(
    made: Path, tmp_path: Path, attempt: Callable[[Store], object]
) -> None:
    store = SessionStore(tmp_path)
    before = tree(made)
    assert not store.exists("made")
    with pytest.raises(SessionNotFound):
        attempt(store)
    assert tree(made) == before
    assert not (tmp_path / "locks" / "made.lock").exists()


def test_a_check_of_the_store_leaves_it_alone_and_reports_nothing(
    made: Path, tmp_path: Path
) -> None:
    before = tree(made)
    for repair in (False, True, False):
        report = check_store(tmp_path, repair=repair)
        assert (report.findings, report.checked) == ((), 1)
    assert tree(made) == before


def test_a_watch_does_not_show_it(made: Path, tmp_path: Path) -> None:
    seen = list(SessionStore(tmp_path).watch(timeout=0.0))
    assert [change.session_id for change in seen] == ["other"]


def test_an_export_names_it_as_missing(made: Path, tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "store")
    make_first(tmp_path / "store", "made.too")
    report = store.export_sessions(tmp_path / "out", ["made.too"])
    assert [item.session_id for item in report.missing] == ["made.too"]


def test_a_store_is_not_foreign_because_of_it(tmp_path: Path) -> None:
    make_first(tmp_path)
    store = SessionStore(tmp_path)
    with store.create("goal", session_id="made") as session:
        kept = session.checkpoint().checkpoint_id
        # A second name and no copy: no other software writes here.
        kept_path = session_path(tmp_path, "made") / "checkpoints" / f"{kept}.json"
        assert kept_path.stat().st_ino == state_path(tmp_path, "made").stat().st_ino
    assert "foreign_writers" not in (tmp_path / "sessionstore.json").read_text()


def test_without_a_state_a_checkpoint_tells_that_there_was_one(tmp_path: Path) -> None:
    new_session(tmp_path, "s1")
    state_path(tmp_path, "s1").unlink()
    store = SessionStore(tmp_path)
    assert store.exists("s1")
    with pytest.raises(SessionCorrupt, match=r"state\.json is missing"):
        store.load("s1")
    assert [item.session_id for item in store.find(damaged=True)] == ["s1"]
    with pytest.raises(SessionExists):
        store.create("goal", session_id="s1")


@pytest.mark.parametrize("kind", ["file", "link"])
def test_something_else_in_the_place_of_the_checkpoints_is_damage(
    tmp_path: Path, kind: str
) -> None:
    place = make_first(tmp_path)
    if kind == "file":
        (place / "checkpoints").write_text("x")
    else:
        (place / "checkpoints").symlink_to(tmp_path)
    store = SessionStore(tmp_path)
    with pytest.raises(SessionExists):
        store.create("goal", session_id="made")
    with pytest.raises(SessionCorrupt):
        store.load("made")


def test_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    new_session(tmp_path, "other")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "sessions" / "made").symlink_to(elsewhere)
    store = SessionStore(tmp_path)
    with pytest.raises(SessionExists):
        store.create("goal", session_id="made")
    with pytest.raises(SessionCorrupt, match="symbolic link"):
        store.claim("made")
    assert list(elsewhere.iterdir()) == []


# --- create uses it -----------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["power", "process"])
def test_create_uses_it_and_the_files_stay(made: Path, tmp_path: Path, durability: Any) -> None:
    inode = made.stat().st_ino
    with SessionStore(tmp_path, durability=durability) as store:
        assert store.count() == 1
        with store.create("goal", session_id="made") as session:
            assert session.directory == made == store.directory("made")
            assert (session.directory / "prompts" / "first.txt").read_text() == "hello"
            session.checkpoint()
        assert made.stat().st_ino == inode
        assert stat.S_IMODE(made.stat().st_mode) == 0o700
        assert sorted(item.session_id for item in store.find()) == ["made", "other"]
        assert store.count() == 2
        assert store.check().findings == ()
        with store.resume("made") as session:
            session.complete()
    assert list((tmp_path / "trash").iterdir()) == []


def test_delete_removes_the_whole_directory(made: Path, tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    store.create("goal", session_id="made").release()
    store.delete("made")
    assert not made.exists()
    assert not store.exists("made")


def test_another_process_lists_what_was_created_in_it(made: Path, tmp_path: Path) -> None:
    with SessionStore(tmp_path) as store, Child("act", tmp_path) as other:
        assert store.count() == 1
        other.hear()
        other.ask("create", session_id="made")
        assert store.count() == 2
        assert {item.session_id for item in store.find(status="active")} == {"made"}
        other.crash()
        assert store.recover().swept[0].session_id == "made"


def test_one_that_cannot_be_named_to_the_index_is_listed_all_the_same(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "the disk is full")

    with SessionStore(tmp_path) as store:
        assert store.count() == 1
        with monkeypatch.context() as patch:
            patch.setattr(live_names, "add_to", full)
            patch.setattr(os, "link", full)
            session = store.create("goal", session_id="made")
        assert store.count() == 2
        session.pause()
        assert store.count(status="paused") == store.count() == 2


def test_of_two_creates_in_one_directory_exactly_one_wins(tmp_path: Path) -> None:
    rounds = 20
    for number in range(rounds):
        make_first(tmp_path, f"s{number}")
    with children(2, "act", tmp_path) as both:
        for child in both:
            child.hear()
        for number in range(rounds):
            for child in both:
                child.tell("create", session_id=f"s{number}")
            answers = [child.hear() for child in both]
            (loser,) = (answer for answer in answers if "error" in answer)
            assert loser["error"] in ("SessionExists", "SessionClaimed")
            assert read_state(tmp_path, f"s{number}")["status"] == "active"
            assert (tmp_path / "sessions" / f"s{number}" / "prompts" / "first.txt").exists()


@pytest.mark.parametrize("lost", [1, 2, 3, 4])
@pytest.mark.usefixtures("two_flushes")
def test_a_create_that_fails_leaves_no_session_and_the_files(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """Each flush in turn is refused."""
    store = SessionStore(tmp_path)
    store.create("goal", session_id="third").release()
    real, count = Directory.flush, 0

    def flush(self: Directory) -> None:
        nonlocal count
        count += 1
        if count == lost:
            raise OSError(errno.EIO, "input/output error")
        real(self)

    with monkeypatch.context() as patch:
        patch.setattr(Directory, "flush", flush)
        with pytest.raises(StorageError, match="input/output"):
            store.create("goal", session_id="made")
    assert count == lost
    assert not store.exists("made")
    assert (made / "prompts" / "first.txt").read_text() == "hello"
    assert not (made / "state.json").exists()
    assert list((tmp_path / "trash").iterdir()) == []
    with store.create("goal", session_id="made") as session:
        session.complete()


def test_the_application_may_make_it_while_the_session_is_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SessionStore(tmp_path)
    store.create("goal", session_id="other").release()
    real = replace.move_new

    def move_new(source: Any, name: str, target: Any, target_name: str) -> None:
        if target_name == "made" and not (tmp_path / "sessions" / "made").exists():
            make_first(tmp_path)
        real(source, name, target, target_name)

    monkeypatch.setattr(replace, "move_new", move_new)
    with store.create("goal", session_id="made") as session:
        assert (session.directory / "prompts" / "first.txt").exists()
        session.complete()


def test_a_crash_before_the_last_step_leaves_no_session_and_the_next_create_works(
    made: Path, tmp_path: Path
) -> None:
    pid = os.fork()
    if pid == 0:  # pragma: no cover - the child dies in the middle of a create
        replace.move_new = _die_at_the_state
        SessionStore(tmp_path).create("goal", session_id="made")
        os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
    store = SessionStore(tmp_path)
    assert not store.exists("made")
    assert [item.session_id for item in store.find()] == ["other"]
    assert not store.check().has_damage
    store.check(repair=True)
    assert store.check().findings == ()
    assert (made / "prompts" / "first.txt").read_text() == "hello"
    with store.create("goal", session_id="made") as session:
        session.complete()
    assert store.check().findings == ()


def _die_at_the_state(
    source: Any, name: str, target: Any, target_name: str, real: Any = replace.move_new
) -> None:
    if target_name == "state.json":
        os.kill(os.getpid(), 9)
    real(source, name, target, target_name)


# --- where the files are ------------------------------------------------------------------------


def test_the_directory_of_a_session_is_known_before_it_is_there(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    assert store.directory("s1") == tmp_path / "sessions" / "s1"
    assert list(tmp_path.iterdir()) == []
