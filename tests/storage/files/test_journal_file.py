"""Journal files: what was appended is read again, a torn tail is erased, and damage is kept."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sessionstore.durable.directory import Directory
from sessionstore.errors import SessionClaimed, SessionCorrupt
from sessionstore.model.journal import JournalRecord, Position
from sessionstore.storage.files import journal_scan
from sessionstore.storage.files.journal_file import JournalFile
from sessionstore.storage.files.journal_line import LineEnd

AT = "2026-11-28T12:00:00Z"


def value(text: object) -> bytes:
    return json.dumps(text).encode()


NOTHING = Position()


def opened(place: Path, saved: Position = NOTHING) -> JournalFile:
    with Directory(str(place)) as journals:
        return JournalFile("s-1", journals, "main", saved, power=True, check=lambda _: None)


def read(place: Path) -> list[object]:
    with open(place / "main.jsonl", "rb") as file:
        return [
            item.value
            for batch in journal_scan.batches(file, LineEnd.of_nothing())
            for item in batch.items
            if isinstance(item, JournalRecord)
        ]


def test_what_was_appended_is_read_again_after_a_new_open(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    assert journal.append([value("one")], None, AT, cancellable=False).number == 1
    both = [value("two"), value({"three": 3})]
    assert journal.append(both, "key", AT, cancellable=False).number == 3
    journal.flush()
    saved = journal.flushed
    journal.close()

    again = opened(tmp_path, saved)
    assert again.append([value("four")], None, AT, cancellable=False).number == 4
    again.close()
    assert read(tmp_path) == ["one", "two", {"three": 3}, "four"]
    lines = (tmp_path / "main.jsonl").read_text().splitlines()
    assert [json.loads(line)["n"] for line in lines] == [1, 2, 3, 4]


def test_a_tail_that_is_torn_at_any_byte_is_erased_and_nothing_before_it(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append([value("kept")], None, AT, cancellable=False)
    journal.flush()
    saved = journal.flushed
    journal.append([value("a" * 600), value("b")], None, AT, cancellable=False)
    journal.close()
    file = tmp_path / "main.jsonl"
    whole = file.read_bytes()
    for cut in range(saved.offset, len(whole)):
        file.write_bytes(whole[:cut])
        assert read(tmp_path) == ["kept"]
        again = opened(tmp_path, saved)
        assert again.append([value("next")], None, AT, cancellable=False).number == 2
        again.close()
        assert read(tmp_path) == ["kept", "next"]


def test_a_lost_sector_of_the_last_line_is_a_torn_tail(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append([value("kept")], None, AT, cancellable=False)
    journal.flush()
    saved = journal.flushed
    journal.append([value("a" * 2000)], None, AT, cancellable=False)
    journal.close()
    file = tmp_path / "main.jsonl"
    whole = file.read_bytes()
    for filler in (b" ", b"\0"):
        for sector in range(512, len(whole), 512):
            lost = bytearray(whole)
            stop = min(sector + 512, len(whole))
            lost[sector:stop] = filler * (stop - sector)
            file.write_bytes(lost)
            again = opened(tmp_path, saved)
            assert again.end.number == 1
            again.close()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data.replace(b"second", b"SECOND"), "line 2 is damaged"),
        (lambda data: data + b'{"by": "hand"}\n', "no line of a journal"),
        (lambda data: data.replace(b"third", b"THIRD"), "it was edited"),
    ],
    ids=["in the middle", "extended", "last line edited"],
)
def test_a_journal_that_somebody_edited_is_damaged_and_kept(
    tmp_path: Path, change: Callable[[bytes], bytes], says: str
) -> None:
    journal = opened(tmp_path)
    for text in ("first", "second", "third"):
        journal.append([value(text)], None, AT, cancellable=False)
    journal.close()
    file = tmp_path / "main.jsonl"
    edited = change(file.read_bytes())
    file.write_bytes(edited)
    with pytest.raises(SessionCorrupt, match=says):
        opened(tmp_path)
    assert file.read_bytes() == edited


def test_a_position_behind_the_end_is_not_taken_for_the_end(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append([value("one")], None, AT, cancellable=False)
    end = journal.end
    journal.close()
    # The space of other lines was freed since: the last line has the number, but is elsewhere.
    stale = Position(end.number, end.offset + 100)
    again = opened(tmp_path, stale)
    assert again.end == end
    again.append([value("two")], None, AT, cancellable=False)
    again.close()
    assert b"\0" not in (tmp_path / "main.jsonl").read_bytes()
    assert read(tmp_path) == ["one", "two"]


def test_a_journal_is_held_by_one_process_at_a_time(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    with pytest.raises(SessionClaimed):
        opened(tmp_path)
    journal.close()
    opened(tmp_path).close()


def test_a_copy_by_links_keeps_its_bytes(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append([value("one")], None, AT, cancellable=False)
    journal.close()
    os.link(tmp_path / "main.jsonl", tmp_path / "snapshot.jsonl")
    before = (tmp_path / "snapshot.jsonl").read_bytes()
    again = opened(tmp_path)
    again.append([value("two")], None, AT, cancellable=False)
    again.close()
    assert (tmp_path / "snapshot.jsonl").read_bytes() == before
    assert read(tmp_path) == ["one", "two"]
