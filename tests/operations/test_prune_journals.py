"""A prune frees the records that nobody goes back to, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sessionstore import MemoryBackend, RetentionPolicy, SessionState, SessionStore
from sessionstore.durable import replace
from sessionstore.durable.directory import Directory
from sessionstore.storage.files.claim import FilesClaim
from tests.support.processes import leftovers, session_path, tree

Store = SessionStore[SessionState]
BULK = "x" * 10_000
KEEP_LATEST = RetentionPolicy(keep_checkpoints=0)
KEEP_ALL = RetentionPolicy(keep_checkpoints=1000)


@pytest.fixture(params=["files", "memory"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Store:
    return SessionStore(tmp_path if request.param == "files" else MemoryBackend())


def values(store: Store, name: str = "main") -> list[Any]:
    return [one.value[-1] for one in store.journal("s1", name)]


def everything(store: Store, name: str = "main") -> list[Any]:
    return [one.value[-1] for one in store.journal("s1", name).read(everything=True)]


def rewritten(store: Store) -> list[str]:
    """Make a session whose journal was gone back in, and rewritten; return its checkpoints."""
    with store.create("goal", session_id="s1") as session:
        session.journal().append(BULK + "a", key="a")
        first = session.checkpoint("step").checkpoint_id
        session.journal().append(BULK + "b")
        session.checkpoint("step")
    with store.resume("s1", checkpoint_id=first) as session:
        session.journal().append(BULK + "c", key="c")
        third = session.checkpoint("step").checkpoint_id
        session.journal("other").append(BULK + "z")
        session.journal().rewrite([BULK + "d", BULK + "e"])
        last = session.checkpoint("step").checkpoint_id
        session.complete()
    return [first, third, last]


def test_records_that_a_checkpoint_needs_stay(store: Store) -> None:
    rewritten(store)
    before = everything(store)
    assert before == ["a", "b", "c", "d", "e"]
    report = store.prune(KEEP_ALL, apply=True)
    # Each of the four checkpoints needs some of them.
    assert (report.checkpoints, report.freed, everything(store)) == ((), 0, before)


def test_records_that_nothing_goes_back_to_are_freed(store: Store) -> None:
    rewritten(store)
    counting, used = list(store.journal("s1")), store.usage("s1")
    planned = store.prune(KEEP_LATEST)
    report = store.prune(KEEP_LATEST, apply=True)
    (entry,) = report.checkpoints
    assert entry.journals == planned.checkpoints[0].journals == ("main",)
    assert "records of 1 journal" in entry.reason
    assert planned.freed == report.freed
    assert entry.freed == used.bytes - store.usage("s1").bytes >= 30_000
    assert everything(store) == values(store) == ["d", "e"]
    assert list(store.journal("s1")) == counting
    assert values(store, "other") == ["z"]
    assert store.prune(KEEP_LATEST, apply=True).checkpoints == ()
    assert not store.check().findings


def test_checkpoints_that_stay_can_still_be_gone_back_to(store: Store) -> None:
    _, third, last = rewritten(store)
    with store.claim("s1") as session:
        for item in store.checkpoints("s1"):
            if item.checkpoint_id not in (third, last):
                session.remove_checkpoint(item.checkpoint_id)
    (entry,) = store.prune(KEEP_ALL, apply=True).checkpoints
    assert (entry.checkpoints, entry.journals) == ((), ("main",))
    assert everything(store) == ["a", "c", "d", "e"]
    with store.resume("s1", checkpoint_id=third, again=True) as session:
        assert [one.value[-1] for one in session.journal()] == ["a", "c"]
        # The state says where the journal ended in the file that was there before.
        assert session.journal().append("again", key="a") == 1
        session.journal().append(BULK + "f")
        session.complete()
    assert values(store) == ["a", "c", "f"]


def test_a_way_back_that_only_the_state_tells_is_heeded(store: Store) -> None:
    with store.create("goal", session_id="s1") as session:
        session.journal().append(BULK + "a")
        first = session.checkpoint("step").checkpoint_id
        session.journal().append(BULK + "b")
        session.checkpoint("step")
    with store.resume("s1", checkpoint_id=first) as session:
        session.complete()  # nothing was appended, so the journal has no line of the way back
    with store.claim("s1") as session:
        for item in store.checkpoints("s1"):
            if item.checkpoint_id != first:
                session.remove_checkpoint(item.checkpoint_id)
    store.prune(KEEP_ALL, apply=True)
    assert everything(store) == values(store) == ["a"]
    assert not store.check().findings
    with store.resume("s1", again=True) as session:
        session.journal().append(BULK + "c")
        session.complete()
    assert values(store) == ["a", "c"]


def test_a_reader_goes_on_where_it_was(store: Store) -> None:
    rewritten(store)
    view = store.journal("s1")
    last = view.read()[-1].number
    assert view.count() == 2
    store.prune(KEEP_LATEST, apply=True)
    with store.resume("s1", again=True) as session:
        session.journal().append(BULK + "f")
        session.complete()
    assert [one.value[-1] for one in view.read(after=last)] == ["f"]
    assert view.count() == 3


def test_sessions_that_are_held_or_not_of_the_policy_are_left_alone(store: Store) -> None:
    rewritten(store)
    with store.resume("s1", again=True) as session:
        assert store.prune(KEEP_LATEST, apply=True).checkpoints == ()
        session.pause()
    with store.claim("s1"):
        assert store.prune(RetentionPolicy(statuses=["paused"], keep_checkpoints=1)).spared
    assert "a" in everything(store)


# --- files --------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> Store:
    store = SessionStore(tmp_path)
    rewritten(store)
    return store


def test_a_damaged_checkpoint_may_need_every_record(tmp_path: Path, files: Store) -> None:
    place = session_path(tmp_path, "s1") / "checkpoints"
    first = files.checkpoints("s1")[0].checkpoint_id
    (place / f"{first}.json").unlink()
    (place / f"{first}.json").write_bytes(b"damaged")
    files.prune(KEEP_LATEST, apply=True)
    assert everything(files) == ["a", "b", "c", "d", "e"]


def test_a_damaged_journal_is_not_touched(tmp_path: Path, files: Store) -> None:
    file = session_path(tmp_path, "s1") / "journals" / "main.jsonl"
    file.write_bytes(file.read_bytes().replace(b'xa"', b'xA"'))
    before = tree(tmp_path)
    for item in files.prune(KEEP_LATEST, apply=True).checkpoints:
        assert item.journals == ()
    assert file.read_bytes() == before[str(file.relative_to(tmp_path))]


@pytest.mark.parametrize("step", ["write_pieces", "move_over"])
def test_a_prune_that_fails_leaves_the_journal_whole(
    tmp_path: Path, files: Store, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    file = session_path(tmp_path, "s1") / "journals" / "main.jsonl"
    before = file.read_bytes()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(replace, step, refuse)
    (entry,) = files.prune(KEEP_LATEST, apply=True).failed
    monkeypatch.undo()
    assert "No space" in entry.reason
    assert file.read_bytes() == before
    assert [path.name for path in sorted(file.parent.iterdir())] == ["main.jsonl", "other.jsonl"]
    files.prune(KEEP_LATEST, apply=True)
    assert values(files) == everything(files) == ["d", "e"]


def test_a_prune_whose_new_file_may_not_survive_says_so(
    tmp_path: Path, files: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush = Directory.flush

    def refuse(self: Directory) -> None:
        if self.path.endswith("journals"):
            raise OSError(5, "Input/output error")
        flush(self)

    monkeypatch.setattr(Directory, "flush", refuse)
    (entry,) = files.prune(KEEP_LATEST, apply=True).failed
    monkeypatch.undo()
    assert "a power loss may bring the old file back (Input/output error)" in entry.reason
    assert values(files) == everything(files) == ["d", "e"]
    assert leftovers(tmp_path) == []


def test_a_lost_holder_that_still_appends_stops_a_prune(tmp_path: Path, files: Store) -> None:
    from sessionstore.storage.files import lock

    place = session_path(tmp_path, "s1") / "journals"
    with Directory(str(place)) as journals:
        held = lock.lock_file(journals, "main.jsonl")
    assert held is not None
    with held:
        (entry,) = files.prune(KEEP_LATEST, apply=True).spared
    assert "still holds the lock" in entry.reason
    assert "a" in everything(files)


def test_small_journals_are_not_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file takes whole blocks: a few records less free nothing."""
    store = SessionStore(tmp_path)
    with store.create("goal", session_id="s1") as session:
        session.journal().append("a")
        session.journal().rewrite(["b"])
        session.checkpoint("step")
        session.complete()
    monkeypatch.setattr(FilesClaim, "rewrite_journal", None)
    report = store.prune(KEEP_LATEST, apply=True)
    assert (report.freed, report.failed) == (0, ())
