"""Journal files: what was appended is read again, a torn tail is erased, and damage is kept."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sessionstore.durable import append
from sessionstore.durable.directory import Directory
from sessionstore.durable.regular_file import open_below
from sessionstore.errors import SessionClaimed, SessionCorrupt
from sessionstore.model.journal import JournalRecord, Position
from sessionstore.storage.files import journal_file, journal_scan
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
        (lambda data: data + b'{"by": "hand"}\n', "not a line of a journal"),
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


def flushed_one_by_one(place: Path, count: int, length: int = 1) -> Path:
    journal = opened(place)
    for number in range(1, count + 1):
        journal.append([value(str(number) * length)], None, AT, cancellable=False)
        journal.flush()
    journal.close()
    return place / "main.jsonl"


@pytest.mark.parametrize("padding", [b"", b" " * 200_000 + b"\n", b"\0" * 70_000])
def test_the_tail_is_looked_at_from_the_last_line_that_was_flushed_for_sure(
    tmp_path: Path, padding: bytes
) -> None:
    file = flushed_one_by_one(tmp_path, 30)
    with file.open("ab") as end:
        end.write(padding)
    again = opened(tmp_path)
    assert (again.flushed.number, again.end.number) == (29, 30)
    again.append([value("next")], None, AT, cancellable=False)
    again.close()
    assert len(read(tmp_path)) == 31


def test_claims_that_append_once_each_look_at_few_lines(tmp_path: Path) -> None:
    ahead = []
    for number in range(200):
        journal = opened(tmp_path)
        ahead.append(journal.end.number - journal.flushed.number)
        journal.append([value(number)], None, AT, cancellable=False)
        journal.flush()
        journal.close()
    assert max(ahead) <= 65
    assert read(tmp_path) == list(range(200))


@pytest.mark.parametrize("length", [1, 500, 50_000], ids=["short", "sectors", "beyond a window"])
def test_a_tail_is_found_alike_from_whichever_line_the_look_begins(
    tmp_path: Path, length: int
) -> None:
    file = flushed_one_by_one(tmp_path, 6, length)
    whole = file.read_bytes()
    line = len(whole) // 6
    for cut in range(len(whole) - 2 * line, len(whole), 1 + line // 40):
        torn = whole[:cut] + b"\0" * 600 * (cut % 2)
        file.write_bytes(torn)
        with file.open("rb") as reader:
            first = LineEnd.of_nothing()
            expected = journal_scan.find_tail(reader, first, 0)
            start = journal_scan.skip_flushed(reader, first)
            assert journal_scan.find_tail(reader, start, 0) == expected
    file.write_bytes(whole.replace(b'"n":6', b'"n":7'))
    with pytest.raises(SessionCorrupt, match="line 6 is damaged"):
        opened(tmp_path)


@pytest.mark.parametrize("filler", [b"", b"\0" * 300, b" " * 300 + b"\n\0"])
def test_padding_that_a_crash_left_is_erased_and_hides_nothing(
    tmp_path: Path, filler: bytes
) -> None:
    journal = opened(tmp_path)
    for number in range(5):
        journal.append([value(number)], None, AT, cancellable=False)
        journal.flush()
    file = tmp_path / "main.jsonl"
    left = file.read_bytes()
    assert len(left) == 4096
    assert [json.loads(line)["n"] for line in left.splitlines() if line.strip()] == [1, 2, 3, 4, 5]
    assert read(tmp_path) == [0, 1, 2, 3, 4]
    journal.close()
    lines = file.read_bytes()
    assert lines == left.rstrip() + b"\n"

    file.write_bytes(left + filler)
    again = opened(tmp_path)
    assert file.read_bytes() == lines
    again.append([value(5)], None, AT, cancellable=False)
    again.close()
    assert read(tmp_path) == [0, 1, 2, 3, 4, 5]


# --- readers beside a writer ---------------------------------------------------------------------


def padded(place: Path) -> JournalFile:
    """Return a journal of five records, and padding behind them."""
    (place / "journals").mkdir()
    journal = opened(place / "journals")
    for number in range(1, 6):
        journal.append([value(number)], None, AT, cancellable=False)
        journal.flush()
    return journal


def numbers(place: Path) -> list[int]:
    with Directory(str(place)) as session:
        return [
            item.number
            for batch in journal_file.read(session, "s-1", "main", NOTHING)
            for item in batch.items
        ]


def test_a_reader_beside_an_append_over_padding_sees_all_of_it_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = padded(tmp_path)
    seen = list[list[int]]()

    def write(file: io.FileIO, data: memoryview, at: int) -> int:
        written = os.pwrite(file.fileno(), data[:100], at)
        seen.append(numbers(tmp_path))
        return written

    monkeypatch.setattr(append, "_write_some", write)
    journal.append([value("x" * 1000)], None, AT, cancellable=False)
    journal.close()
    assert seen[:-1] == [[1, 2, 3, 4, 5]] * (len(seen) - 1)
    assert len(seen) > 10
    assert seen[-1] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("stays", [False, True], ids=["once", "twice"])
def test_half_a_line_before_a_whole_one_is_damage_only_at_a_second_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stays: bool
) -> None:
    journal = padded(tmp_path)
    file = tmp_path / "journals" / "main.jsonl"
    before = file.read_bytes()
    for number in (6, 7):
        journal.append([value(number)], None, AT, cancellable=False)
        journal.flush()
    # What a reader gets whose bytes are copied while line 6 is being written, and then line 7.
    start = len(before.rstrip()) + 1
    mixed = bytearray(file.read_bytes())
    mixed[start + 10 : start + 40] = before[start + 10 : start + 40]
    (tmp_path / "journals" / "mixed").write_bytes(mixed)
    looks = ["journals/mixed"] * (1 + stays)

    def open_mixed(directory: Directory, place: str) -> tuple[io.FileIO, os.stat_result]:
        return open_below(directory, looks.pop() if looks else place)

    monkeypatch.setattr(journal_file, "open_below", open_mixed)
    if stays:
        with pytest.raises(SessionCorrupt, match="line 6 is damaged"):
            numbers(tmp_path)
    else:
        assert numbers(tmp_path) == [1, 2, 3, 4, 5, 6, 7]
    assert not looks
    journal.close()
