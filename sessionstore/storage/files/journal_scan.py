"""Read the lines of a journal, and tell a torn tail from damage.

A tail is torn where a write did not arrive whole: nobody was told that it had. Everything else
behind the last line of the chain was changed by somebody, or lost by the disk, and is kept.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic_core import from_json

from sessionstore.durable.append import PADDING
from sessionstore.model.journal import MAX_RECORD_BYTES, JournalRecord, Position, Rewind
from sessionstore.storage.files import journal_line
from sessionstore.storage.files.journal_line import LineEnd
from sessionstore.storage.journal import Batch

MAX_LINE = MAX_RECORD_BYTES + 16 * 1024
"""No line is longer: the value of a record, its key, and what the store adds."""

_STEP = 4096
"""How many bytes are read at a time on the way back to the start of a line."""

_WINDOW = 64 * 1024
"""How many bytes before the end of a journal are searched for its last lines."""

_SECTOR = 512
"""The least that a disk writes whole (SQLite assumes the same)."""


class Tail(NamedTuple):
    """What is at the end of a journal."""

    end: LineEnd
    """Behind the last whole batch of the chain."""
    damage: str | None = None
    """What is wrong with the line behind it, which is kept; None where it may be erased."""
    line: int = 0
    """The number of the damaged line."""


def begin(file: io.BufferedReader, saved: Position) -> LineEnd:
    """Return the end of the line that ends at ``saved``; the beginning if none ends there.

    Another line may end there since space was freed: its number tells.
    """
    if saved.number:
        end = journal_line.end_of(_line_before(file, saved.offset), saved.offset)
        if end is not None and end.number == saved.number:
            return end
    return LineEnd.of_nothing()


def skip_flushed(file: io.BufferedReader, start: LineEnd) -> LineEnd:
    """Return the end of the last line behind ``start`` that was flushed for sure, or ``start``.

    The last whole line tells which one that is. So a tail is found at the same cost however long
    ago a state was saved that says where the journal ended.
    """
    data, offset = _before_padding(file, start.offset)
    wanted = None
    while data:
        at = data.rfind(b"\n", 0, -1) + 1
        line, data = data[at:], data[:at]
        link = journal_line.link_of(line)
        if link is None:
            continue
        if wanted is None:
            wanted = link.flushed
        if wanted <= start.number:
            break
        if link.number == wanted:
            return journal_line.end_of(line, offset + at + len(line)) or start
    return start


def _before_padding(file: io.BufferedReader, start: int) -> tuple[bytes, int]:
    """Return what is behind ``start``, or the last part of it, without padding; and its offset."""
    stop = file.seek(0, io.SEEK_END)
    while stop > start:
        offset = max(start, stop - _WINDOW)
        file.seek(offset)
        if data := file.read(stop - offset).rstrip(PADDING):
            return data + b"\n", offset
        stop = offset
    return b"", start


def _line_before(file: io.BufferedReader, offset: int) -> bytes:
    """Return what lies between the last two ends of a line up to ``offset``."""
    found, start = b"", offset
    while start > 0 and len(found) <= MAX_LINE:
        length = min(_STEP, start)
        start -= length
        file.seek(start)
        found = file.read(length) + found
        if len(found) != offset - start:
            return b""  # the file ends before ``offset``
        if (at := found.rfind(b"\n", 0, -1)) >= 0:
            return found[at + 1 :]
    return found


def batches(file: io.BufferedReader, start: LineEnd) -> Iterator[Batch]:
    """Yield each whole batch from ``start`` on, up to what is not chained.

    Raises:
        ValueError: a line is whole, and this version cannot read it.
    """
    file.seek(start.offset)
    items: list[JournalRecord | Rewind] = []
    end = start
    while line := file.readline(MAX_LINE):
        found = journal_line.next_end(line, end)
        if found is None:
            return
        end = found
        item, more = journal_line.parse(line)
        items.append(item)
        if not more:
            yield Batch(items, Position(end.number, end.offset))
            items = []


def rewinds(file: io.BufferedReader) -> list[Rewind]:
    """Return the ways back in the file that count; only the lines that may hold one are parsed.

    Raises:
        ValueError: a line is whole, and this version cannot read it.
    """
    # Most journals have none: a quick look spares them the checksums.
    if not _mentions_rewind(file):
        return []
    file.seek(0)
    counted, batch = list[Rewind](), list[Rewind]()
    end = LineEnd.of_nothing()
    # Race: Rewrite under way, or torn. Its first line, a way back, counts only with all the others:
    # without them every record would be gone.
    while line := file.readline(MAX_LINE):
        found = journal_line.next_end(line, end)
        if found is None:
            break
        end = found
        if journal_line.may_be_rewind(line):
            item, _ = journal_line.parse(line)
            if isinstance(item, Rewind):
                batch.append(item)
        if not journal_line.goes_on(line):
            counted += batch
            batch = []
    return counted


def _mentions_rewind(file: io.BufferedReader) -> bool:
    """Return whether the bytes of a way back are anywhere in the file; False is certain."""
    last = b""
    while piece := file.read(_WINDOW):
        if journal_line.REWIND in last + piece:
            return True
        last = piece[-len(journal_line.REWIND) :]
    return False


def find_tail(file: io.BufferedReader, start: LineEnd, saved: int) -> Tail:
    """Return where the journal ends, looking from ``start`` on.

    ``saved`` is the number of a record that is known to have been flushed.
    """
    file.seek(start.offset)
    end = whole = start
    while line := file.readline(MAX_LINE):
        found = journal_line.next_end(line, end)
        if found is None:
            break
        end = found
        if not journal_line.goes_on(line):
            whole = end
    else:
        return Tail(whole)
    file.seek(end.offset)
    damage = _damage(file, end, saved)
    return Tail(whole) if damage is None else Tail(whole, damage, end.number + 1)


def _damage(file: io.BufferedReader, end: LineEnd, saved: int) -> str | None:
    """Return why what follows ``end`` cannot be a torn tail, or None."""
    number, offset = end.number + 1, end.offset
    first = True
    while line := file.readline(MAX_LINE):
        if journal_line.is_padding(line):
            offset += len(line)
            continue
        if number <= saved:
            return "its bytes are not those that were stored"
        link = journal_line.link_of(line)
        if link is not None and link.flushed >= number:
            return f"it is damaged: line {link.number} was written after it had been flushed"
        if first and (reason := _foreign(line, number, offset)):
            return reason
        first = False
        offset += len(line)
    return None


def _foreign(line: bytes, number: int, offset: int) -> str | None:
    """Return why a write that was cut short cannot have left ``line``, or None."""
    if not line.endswith(b"\n") or _has_hole(line, offset):
        return None
    try:
        value: Any = from_json(line)
    except ValueError:
        return None
    if isinstance(value, dict) and value.get("n") == number and "crc" in value:
        return None if journal_line.is_whole(line) else "it was edited: its checksum is another"
    if (link := journal_line.link_of(line)) is not None and link.number > number:
        return None  # of the same append, or of one that was not flushed: those before it were lost
    return "it is not a line of a journal"


def _has_hole(line: bytes, offset: int) -> bool:
    """Return whether a sector of ``line`` holds nothing, or a byte is missing."""
    if b"\0" in line:
        return True
    first = -offset % _SECTOR
    sectors = [line[:first], *(line[at : at + _SECTOR] for at in range(first, len(line), _SECTOR))]
    return any(sector and journal_line.is_padding(sector) for sector in sectors)
