"""A journal is followed to the end of its session: every record once, in order."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from sessionstore import MemoryBackend, SessionCorrupt, SessionNotFound, SessionStore
from sessionstore.operations import follow
from sessionstore.operations.follow import follow_journal
from sessionstore.storage.backend import Backend
from sessionstore.storage.files.backend import FilesBackend
from tests.support.processes import DEADLINE, session_path


@pytest.fixture(params=["files", "memory"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    return FilesBackend(tmp_path, create=True) if request.param == "files" else MemoryBackend()


def test_every_record_is_seen_once_and_the_last_before_the_end(backend: Backend) -> None:
    store = SessionStore(backend, durability="process")
    session = store.create("g", session_id="s")
    session.journal().append("first")
    seen: list[int] = []
    begun = threading.Event()

    def read() -> None:
        for record in follow_journal(backend, "s", "main"):
            assert record.value == "first" or record.value == record.number
            seen.append(record.number)
            begun.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert begun.wait(DEADLINE)
    for number in range(2, 200):
        session.journal().append(number)
    session.complete()
    reader.join(DEADLINE)
    assert not reader.is_alive()
    assert seen == list(range(1, 200))


def test_a_journal_that_is_not_there_yet_is_waited_for(backend: Backend) -> None:
    store = SessionStore(backend, durability="process")
    session = store.create("g", session_id="s")
    timer = threading.Timer(0.2, lambda: session.journal("late").append("come"))
    timer.start()
    records = follow_journal(backend, "s", "late")
    assert next(records).value == "come"
    timer.join(DEADLINE)
    session.cancel()
    assert list(records) == []


def test_records_up_to_a_number_are_left_out(backend: Backend) -> None:
    store = SessionStore(backend, durability="process")
    with store.create("g", session_id="s") as session:
        session.journal().append("a", "b", "c")
        session.complete()
    assert [one.value for one in follow_journal(backend, "s", "main", 2)] == ["c"]


def test_a_paused_session_is_followed_on_and_a_deleted_one_is_not(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "_POLL", 0.01)
    store = SessionStore(backend, durability="process")
    with store.create("g", session_id="s") as session:
        session.journal().append("before")
        session.pause()
    records = follow_journal(backend, "s", "main")
    assert next(records).value == "before"
    with store.resume("s") as session:
        session.journal().append("after")
    assert next(records).value == "after"
    store.delete("s")
    assert list(records) == []
    with pytest.raises(SessionNotFound):
        next(follow_journal(backend, "s", "main"))


def test_an_append_is_told_by_an_event_not_by_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("watchfiles")
    monkeypatch.setattr(follow, "_TRUST", 10 * DEADLINE)
    backend = FilesBackend(tmp_path, create=True)
    session = SessionStore(backend, durability="process").create("g", session_id="s")
    session.journal().append("a")
    records = follow_journal(backend, "s", "main")
    assert next(records).value == "a"
    for value in "bcd":
        timer = threading.Timer(0.3, lambda value=value: session.journal().append(value))
        timer.start()
        assert next(records).value == value
        timer.join(DEADLINE)
    session.release()
    del records


def test_damage_ends_it_with_an_error_after_what_is_whole(tmp_path: Path) -> None:
    backend = FilesBackend(tmp_path, create=True)
    with SessionStore(backend).create("g", session_id="s") as session:
        session.journal().append("a")
        session.journal().append("b")
        session.pause()
    file = session_path(tmp_path, "s") / "journals/main.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"b"', b'"B"'))
    records = follow_journal(backend, "s", "main")
    assert next(records).value == "a"
    with pytest.raises(SessionCorrupt, match="line 2"):
        next(records)
