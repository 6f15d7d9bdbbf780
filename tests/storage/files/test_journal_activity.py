"""An append counts as activity: in listings, in filters by time, and in what a prune gives up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sessionstore import FilesBackend, MemoryBackend, RetentionPolicy, SessionState, SessionStore
from sessionstore.durable.directory import Directory
from sessionstore.storage import scan
from sessionstore.storage.backend import Backend
from sessionstore.storage.files import journal_activity
from sessionstore.storage.files.index.store_index import StoreIndex
from tests.support.processes import session_path

Store = SessionStore[SessionState]
START = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def hours(self, count: int) -> datetime:
        self.now = START + timedelta(hours=count)
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["files", "scan", "memory"])
def store(
    tmp_path: Path, clock: Clock, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Store:
    backend: Backend
    if request.param == "memory":
        backend = MemoryBackend(clock=clock)
    else:
        backend = FilesBackend(tmp_path, clock=clock)
    if request.param == "scan":  # as without SQLite
        monkeypatch.setattr(StoreIndex, "listing", lambda _: None)
    return SessionStore(backend, clock=clock)


def ids(store: Store, **filters: object) -> list[str]:
    return [item.session_id for item in store.find(**filters)]  # type: ignore[arg-type]  # any


def made(store: Store, clock: Clock) -> None:
    """Make a, b and c, an hour apart, and list them once."""
    for hour, name in enumerate("abc"):
        clock.hours(hour)
        with store.create("goal", session_id=name) as session:
            session.journal().append(name)
            session.complete()
    assert ids(store) == ["c", "b", "a"]


def test_a_session_that_was_appended_to_comes_first_again(store: Store, clock: Clock) -> None:
    made(store, clock)
    moment = clock.hours(5)
    with store.claim("a") as session:
        session.journal().append("more")
        assert ids(store) == ["a", "c", "b"]  # while it is held
    assert ids(store) == ["a", "c", "b"]
    item = store.find().items[0]
    assert datetime.fromisoformat(item.updated_at) == moment
    assert store.load("a").timestamps.updated_at == store.load("a").timestamps.completed_at
    assert ids(store, order="updated_at") == ["b", "c", "a"]


def test_filters_by_time_heed_appends(store: Store, clock: Clock) -> None:
    made(store, clock)
    clock.hours(5)
    with store.claim("a") as session:
        session.journal("other").append("more")
    clock.hours(9)
    assert ids(store, since=START + timedelta(hours=4)) == ["a"]
    assert ids(store, until=START + timedelta(hours=4)) == ["c", "b"]
    assert store.count(since=START + timedelta(hours=4)) == 1


def test_a_retention_counts_the_age_from_the_last_append(store: Store, clock: Clock) -> None:
    made(store, clock)
    clock.hours(5)
    with store.claim("a") as session:
        session.journal().append("more")
    clock.hours(6)
    report = store.prune(RetentionPolicy(older_than=timedelta(hours=3)), apply=True)
    assert sorted(item.session_id for item in report.sessions) == ["b", "c"]
    clock.hours(7)
    with store.create("goal", session_id="d") as session:
        session.complete()
    assert store.prune(RetentionPolicy(keep_last=1)).sessions[0].session_id == "a"


def test_a_save_after_the_append_is_the_later_one(store: Store, clock: Clock) -> None:
    made(store, clock)
    clock.hours(5)
    with store.claim("a") as session:
        session.journal().append("more")
        clock.hours(6)
        session.save()
    assert datetime.fromisoformat(store.find().items[0].updated_at) == clock.now


def test_a_prune_of_records_is_no_activity(store: Store, clock: Clock) -> None:
    clock.hours(1)
    with store.create("goal", session_id="a") as session:
        session.journal().append("x" * 10_000)
        session.journal().rewrite(["y"])
        session.checkpoint("step")
        session.complete()
    before = store.find().items[0].updated_at
    clock.hours(9)
    assert store.prune(RetentionPolicy(keep_checkpoints=1), apply=True).checkpoints
    assert store.find().items[0].updated_at == before


# --- files --------------------------------------------------------------------------------------


def test_a_padded_or_torn_end_is_looked_behind(tmp_path: Path, clock: Clock) -> None:
    store = SessionStore(tmp_path, clock=clock)
    with store.create("goal", session_id="a") as session:
        clock.hours(3)
        session.journal().append("x")
    file = session_path(tmp_path, "a") / "journals" / "main.jsonl"
    whole = file.read_bytes()
    for rest in (b"", b" " * 4000 + b"\n", b"\0" * 4000, b'{"n":2,"at":"2026-11-28T12'):
        file.write_bytes(whole + rest)
        with Directory(str(file.parent.parent)) as directory:
            found = journal_activity.last_appended_at(directory)
        assert found is not None
        assert datetime.fromisoformat(found) == clock.now


def test_where_the_end_says_nothing_the_time_of_the_file_does(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    with store.create("goal", session_id="a") as session:
        session.journal().append("x" * 100_000)
        session.complete()
    file = session_path(tmp_path, "a") / "journals" / "main.jsonl"
    with Directory(str(file.parent.parent)) as directory:
        found = journal_activity.last_appended_at(directory)
    assert found is not None
    assert abs(datetime.fromisoformat(found).timestamp() - file.stat().st_mtime) < 1


def test_what_is_no_journal_says_nothing(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    with store.create("goal", session_id="a") as session:
        session.complete()
    place = session_path(tmp_path, "a")
    before = store.find().items[0].updated_at
    assert scan.summary(FilesBackend(tmp_path), "a") is not None
    (place / "journals").mkdir()
    (place / "journals" / "notes.txt").write_text("x")
    (place / "journals" / "link.jsonl").symlink_to("/etc/passwd")
    (place / "journals" / "empty.jsonl").touch()
    with Directory(str(place)) as directory:
        assert journal_activity.last_appended_at(directory) is None
    with store.claim("a") as session:
        session.save()
    assert store.find().items[0].updated_at > before
