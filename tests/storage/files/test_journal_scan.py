"""Lines of a journal: where a read begins, which ways back count, and what is a torn tail."""

from __future__ import annotations

import json
from pathlib import Path

from sessionstore.model.journal import Position, Rewind
from sessionstore.storage.files import journal_line, journal_scan
from sessionstore.storage.files.journal_line import LineEnd

AT = "2026-11-28T12:00:00Z"


class Lines:
    """The bytes of a journal, made line by line."""

    def __init__(self) -> None:
        self.data = b""
        self.end = LineEnd.of_nothing()

    def add(self, item: object, *, more: bool = False, flushed: int = 0) -> int:
        """Add a record or a way back; return where its line begins."""
        value = item if isinstance(item, Rewind) else json.dumps(item).encode()
        number = item.number if isinstance(item, Rewind) else self.end.number + 1
        line, checksum = journal_line.compose(
            number, AT, value, key=None, more=more, flushed=flushed, previous=self.end.checksum
        )
        begin = len(self.data)
        self.data += line
        self.end = LineEnd(number, len(self.data), checksum)
        return begin

    def fill(self, length: int) -> None:
        """Add a record whose line ends at ``length``."""
        empty = Lines()
        empty.end = self.end
        empty.add("")
        self.add("x" * (length - len(self.data) - len(empty.data)))
        assert len(self.data) == length

    def written(self, place: Path) -> Path:
        file = place / "main.jsonl"
        file.write_bytes(self.data)
        return file


def tail(file: Path, saved: int = 0) -> journal_scan.Tail:
    with file.open("rb") as reader:
        return journal_scan.find_tail(reader, LineEnd.of_nothing(), saved)


def ways_back(file: Path) -> list[Rewind]:
    with file.open("rb") as reader:
        return journal_scan.rewinds(reader)


def test_a_position_behind_the_end_of_the_file_is_that_of_no_line(tmp_path: Path) -> None:
    # The space of other lines was freed, and the state still says where the line ended before.
    lines = Lines()
    lines.add("one")
    file = lines.written(tmp_path)
    for beyond in (1, 300, 5000):
        saved = Position(lines.end.number, lines.end.offset + beyond)
        with file.open("rb") as reader:
            assert journal_scan.begin(reader, saved) == LineEnd.of_nothing()


def test_a_way_back_counts_with_the_whole_of_its_append_or_not_at_all(tmp_path: Path) -> None:
    lines = Lines()
    lines.add("one")
    begin = lines.add(Rewind(0, 1), more=True)
    lines.add("two", more=True)
    lines.add("three")
    file = lines.written(tmp_path)
    assert ways_back(file) == [Rewind(0, 1)]
    for cut in range(begin, len(lines.data)):
        file.write_bytes(lines.data[:cut])
        assert ways_back(file) == []


def test_a_way_back_behind_a_hole_does_not_count(tmp_path: Path) -> None:
    lines = Lines()
    lines.fill(512)
    lines.fill(1024)
    lines.add(Rewind(0, 2), flushed=1)
    file = lines.written(tmp_path)
    for hole in (bytes(512), b" " * 512, b" " * 511 + b"\n"):
        file.write_bytes(lines.data[:512] + hole + lines.data[1024:])
        assert ways_back(file) == []
        assert tail(file).damage is None
        assert tail(file).end.number == 1


def test_a_lost_sector_of_padding_before_a_whole_line_is_a_torn_tail(tmp_path: Path) -> None:
    for more in (True, False):
        lines = Lines()
        lines.fill(512)
        lines.fill(1024)
        lines.add("behind", more=more, flushed=1)
        lines.add("last", flushed=1)
        file = lines.written(tmp_path)
        padding = (b" " * 63 + b"\n") * 8
        file.write_bytes(lines.data[:512] + padding + lines.data[1024:])
        assert tail(file) == journal_scan.Tail(tail(file).end)
        assert tail(file, saved=2).damage is not None


def test_lines_that_somebody_appended_again_are_no_torn_tail(tmp_path: Path) -> None:
    lines = Lines()
    lines.add("one")
    lines.add("two")
    file = tmp_path / "main.jsonl"
    file.write_bytes(lines.data * 2)
    assert tail(file).damage == "it is not a line of a journal"


def test_a_line_that_follows_another_than_it_names_is_not_read(tmp_path: Path) -> None:
    # The line before it was lost, and written once more with another content.
    lines, others = Lines(), Lines()
    second = 0
    for number in (1, 2):
        second = lines.add(f"line {number}")
        others.add(f"LINE {number}")
    file = tmp_path / "main.jsonl"
    file.write_bytes(others.data[:second] + lines.data[second:])
    assert tail(file).end.number == 1
    with file.open("rb") as reader:
        (only,) = journal_scan.batches(reader, LineEnd.of_nothing())
    assert only.end.number == 1


def test_a_way_back_is_found_wherever_a_piece_of_the_file_ends(tmp_path: Path) -> None:
    window = 64 * 1024
    begin = len(b'{"n":3,"at":"2026-11-28T12:00:00Z",')  # where a line says that it goes back
    for shift in range(len(b'"rewind":') + 2):
        lines = Lines()
        lines.add("first")
        lines.fill(window - begin - shift)
        lines.add(Rewind(1, 2))
        assert ways_back(lines.written(tmp_path)) == [Rewind(1, 2)], shift


def test_a_value_that_spells_a_way_back_is_none(tmp_path: Path) -> None:
    lines = Lines()
    lines.add({"rewind": [0, 1]})
    assert b'"rewind":' in lines.data
    assert ways_back(lines.written(tmp_path)) == []
