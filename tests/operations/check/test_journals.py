"""Torn, damaged and foreign journals: what a check says of them, and what a repair keeps."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from sessionstore import FindingKind, SessionCorrupt, SessionState, SessionStore
from sessionstore.storage.files import lock
from tests.support.processes import session_path, tree

Store = SessionStore[SessionState]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return SessionStore(tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return session_path(tmp_path, "s1") / "journals" / "main.jsonl"


def kept(store: Store, count: int = 5) -> str:
    """Make a session with records 1 to ``count``, and a checkpoint after the third."""
    with store.create("goal", session_id="s1") as session:
        for number in range(1, 4):
            session.journal().append(f"value {number}", key=f"k{number}")
        checkpoint_id = session.checkpoint("step").checkpoint_id
        for number in range(4, count + 1):
            session.journal().append(f"value {number}", key=f"k{number}")
        session.pause()
    return checkpoint_id


def damage(file: Path, *numbers: int) -> bytes:
    """Edit the records with these numbers; return the damaged bytes."""
    data = file.read_bytes()
    for number in numbers:
        data = data.replace(b'"value %d"' % number, b'"VALUE %d"' % number)
    file.write_bytes(data)
    return data


def numbers(store: Store) -> list[int]:
    return [one.number for one in store.journal("s1")]


def findings(store: Store, *, repair: bool = False) -> list[Any]:
    return list(store.check(repair=repair).findings)


def test_a_sound_journal_is_no_finding(store: Store) -> None:
    kept(store)
    assert findings(store) == []


def test_a_damaged_line_is_named_and_the_other_records_stay_with_their_numbers(
    tmp_path: Path, store: Store, file: Path
) -> None:
    checkpoint_id = kept(store)
    damaged = damage(file, 2)
    before = tree(tmp_path)
    (found,) = findings(store)
    assert (found.kind, found.is_damage, found.file) == (
        FindingKind.DAMAGED_JOURNAL, True, str(file),
    )  # fmt: skip
    assert "from number 2 on" in found.detail
    assert "line 2 of the file" in found.detail
    assert "4 records that are whole" in found.repair
    assert tree(tmp_path) == before  # a check changes nothing

    (mended,) = findings(store, repair=True)
    assert mended.is_repaired
    assert findings(store) == findings(store, repair=True) == []
    (place,) = (tmp_path / "quarantine").iterdir()
    assert str(place) in mended.repair
    assert (place / "journal.jsonl").read_bytes() == damaged
    assert json.loads((place / "reason.json").read_text())["session_id"] == "s1"
    assert numbers(store) == [1, 3, 4, 5]
    with store.resume("s1") as session:
        assert session.journal().append("again", key="k4") == 4
        assert session.journal().append("six") == 6
        session.pause()
    with store.resume("s1", checkpoint_id=checkpoint_id) as session:
        assert [one.number for one in session.journal()] == [1, 3]
        session.complete()
    assert findings(store) == []


@pytest.mark.parametrize("lost", [(1,), (1, 2, 3), (2, 4), (5,), (1, 2, 3, 4, 5), (4, 5)])
def test_whatever_lines_are_damaged_the_others_are_kept(
    store: Store, file: Path, lost: tuple[int, ...]
) -> None:
    kept(store)
    damage(file, *lost)
    assert [item.kind for item in findings(store, repair=True)] == ["damaged_journal"]
    assert findings(store) == []
    assert numbers(store) == [number for number in range(1, 6) if number not in lost]
    with store.resume("s1") as session:
        assert session.journal().append("six") == 6
        session.complete()


def test_what_is_whole_of_the_last_append_stays_if_it_had_returned(
    store: Store, file: Path
) -> None:
    checkpoint_id = kept(store)
    with store.resume("s1", checkpoint_id=checkpoint_id) as session:
        # The way back is a line of the same append.
        session.journal().append("value 7", "value 8")
        session.pause()
    damage(file, 8)
    findings(store, repair=True)
    assert numbers(store) == [1, 2, 3, 7]
    assert findings(store) == []


def test_lines_that_were_removed_leave_their_numbers_unused(store: Store, file: Path) -> None:
    kept(store)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([lines[0], lines[3], lines[4]]))
    (found,) = findings(store)
    assert found.kind == "damaged_journal"
    assert "removed or replaced" in found.detail
    findings(store, repair=True)
    assert numbers(store) == [1, 4, 5]
    assert findings(store) == []


def test_foreign_lines_are_named_and_left_out(store: Store, file: Path) -> None:
    kept(store)
    lines = file.read_bytes().splitlines(keepends=True)
    lines[2:2] = [b'{"by": "hand"}\n', b"and this\n"]
    file.write_bytes(b"".join(lines) + b"at the end\n")
    (found,) = findings(store)
    assert "lines 3 to 4, 8 of the file" in found.detail
    findings(store, repair=True)
    assert numbers(store) == [1, 2, 3, 4, 5]
    assert findings(store) == []


def test_a_way_back_survives_a_repair(store: Store, file: Path) -> None:
    checkpoint_id = kept(store)
    with store.resume("s1", checkpoint_id=checkpoint_id) as session:
        session.journal().append("value 7")
        session.pause()
    assert numbers(store) == [1, 2, 3, 7]
    damage(file, 1)
    findings(store, repair=True)
    assert numbers(store) == [2, 3, 7]
    everything = store.journal("s1").read(everything=True)
    assert [one.number for one in everything] == [2, 3, 4, 5, 7]


def test_an_append_that_never_returned_is_mild_and_erased(store: Store, file: Path) -> None:
    kept(store)
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"n":6,"at":"2026')
    (found,) = findings(store)
    assert (found.kind, found.is_damage) == ("torn_journal", False)
    assert "17 bytes" in found.detail
    assert "erases them, too" in found.detail
    (mended,) = findings(store, repair=True)
    assert mended.is_repaired
    assert file.read_bytes() == whole
    assert findings(store) == []


def test_padding_is_no_finding(store: Store, file: Path) -> None:
    kept(store)
    file.write_bytes(file.read_bytes() + b" " * 5000 + b"\n" + b"\0" * 3000)
    assert findings(store) == []


def test_what_a_live_holder_writes_is_no_finding(store: Store, file: Path) -> None:
    kept(store)
    with store.resume("s1") as session:
        session.journal().append("six")
        (file.parent / ".new-0123456789abcdef").touch()
        with file.open("ab") as rest:
            rest.write(b'{"n":7,"at":"2026')
        assert findings(store) == []
        assert findings(store, repair=True) == []
        session.complete()


def test_a_journal_that_is_shorter_than_a_save_says_is_damage_and_its_numbers_stay_lost(
    store: Store, file: Path
) -> None:
    checkpoint_id = kept(store)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:2]))
    (found,) = findings(store)
    assert (found.kind, found.is_damage) == ("short_journal", True)
    assert "ends at number 2, and the state says that 5" in found.detail
    assert findings(store, repair=True)[0].is_repaired
    assert findings(store) == []
    assert numbers(store) == [1, 2]
    with store.resume("s1") as session:
        assert session.journal().append("six") == 6
        session.pause()
    with store.resume("s1", checkpoint_id=checkpoint_id) as session:
        assert [one.number for one in session.journal()] == [1, 2]
        session.complete()


@pytest.mark.parametrize("whole", [True, False], ids=["journals/", "the file"])
def test_a_journal_that_is_gone_is_as_one_without_records(
    store: Store, file: Path, whole: bool
) -> None:
    kept(store)
    file.unlink()
    if whole:
        file.parent.rmdir()
    (found,) = findings(store)
    assert (found.kind, found.is_damage) == ("short_journal", True)
    assert findings(store, repair=True)[0].is_repaired
    assert findings(store) == []
    with store.resume("s1") as session:
        assert session.journal().append("six") == 6
        session.complete()


@pytest.mark.parametrize("kind", ["link", "fifo", "directory", "dangling link"])
def test_what_is_no_regular_file_goes_into_quarantine(
    tmp_path: Path, store: Store, file: Path, kind: str
) -> None:
    kept(store)
    elsewhere = tmp_path / "elsewhere"
    file.rename(elsewhere)
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "directory":
        file.mkdir(0o700)
    else:
        file.symlink_to(elsewhere if kind == "link" else tmp_path / "nowhere")
    before = elsewhere.read_bytes()
    (found,) = findings(store)
    assert (found.kind, found.is_damage) == ("damaged_journal", True)
    assert findings(store, repair=True)[0].is_repaired
    assert elsewhere.read_bytes() == before
    (place,) = (tmp_path / "quarantine").iterdir()
    assert os.path.lexists(place / "journal")
    assert [item.kind for item in findings(store, repair=True)] == ["short_journal"]
    assert findings(store) == []


def test_a_link_in_the_place_of_all_journals_goes_into_quarantine(
    tmp_path: Path, store: Store, file: Path
) -> None:
    kept(store)
    file.parent.rename(tmp_path / "elsewhere")
    file.parent.symlink_to(tmp_path / "elsewhere")
    (found,) = findings(store)
    assert found.kind == "damaged_journal"
    assert findings(store, repair=True)[0].is_repaired
    assert (tmp_path / "elsewhere" / "main.jsonl").exists()


def test_modes_names_and_left_over_files_are_findings(store: Store, file: Path) -> None:
    kept(store)
    file.chmod(0o644)
    file.parent.chmod(0o755)
    (file.parent / "not a name.jsonl").touch(0o600)
    (file.parent / ".new-0123456789abcdef").touch()
    (file.parent / "notes.txt").touch()  # the application's
    found = {item.kind: item for item in findings(store)}
    assert found.keys() == {"wrong_mode", "wrong_id", "leftover"}
    assert not any(item.is_damage for item in found.values())
    left = {item.kind for item in findings(store, repair=True) if not item.is_repaired}
    assert left == {"wrong_id"}
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert not (file.parent / ".new-0123456789abcdef").exists()
    assert (file.parent / "not a name.jsonl").exists()


def test_a_journal_that_a_lost_holder_still_locks_is_not_touched(store: Store, file: Path) -> None:
    kept(store)
    damaged = damage(file, 2)
    from sessionstore.durable.directory import Directory

    with Directory(str(file.parent)) as journals:
        held = lock.lock_file(journals, file.name)
    assert held is not None
    with held:
        (found,) = findings(store, repair=True)
        assert not found.is_repaired
        assert "a process without a claim" in found.repair
        assert file.read_bytes() == damaged
    assert findings(store, repair=True)[0].is_repaired


def test_a_session_in_quarantine_has_its_journals_and_brings_them_back(
    tmp_path: Path, store: Store, file: Path
) -> None:
    kept(store)
    state = session_path(tmp_path, "s1") / "state.json"
    sound, expected = state.read_bytes(), list(store.journal("s1"))
    for checkpoint in (state.parent / "checkpoints").iterdir():
        checkpoint.unlink()
    state.unlink()
    state.write_bytes(b"damaged")
    store.check(repair=True)
    assert not store.exists("s1")
    (place,) = (tmp_path / "quarantine").iterdir()
    assert (place / "session" / "journals" / "main.jsonl").exists()
    (place / "session").rename(state.parent)
    state.write_bytes(sound)
    assert list(store.journal("s1")) == expected


def test_a_state_that_is_restored_from_a_checkpoint_keeps_the_records_after_it(
    tmp_path: Path, store: Store
) -> None:
    kept(store)
    state = session_path(tmp_path, "s1") / "state.json"
    state.unlink()
    state.write_bytes(b"damaged")
    store.check(repair=True)
    assert numbers(store) == [1, 2, 3, 4, 5]
    assert findings(store) == []
    with store.resume("s1") as session:
        assert session.journal().append("six") == 6
        session.complete()


def test_damage_is_damage_until_it_is_repaired(store: Store, file: Path) -> None:
    kept(store)
    damage(file, 2)
    with pytest.raises(SessionCorrupt, match="line 2 is damaged"):
        store.journal("s1").read()
    assert store.check().has_damage
    assert not store.check(repair=True).has_damage
