"""Find out what is wrong with a journal file, and which of its records are whole.

A line that is whole by its own checksum is a record, also behind lines that are not. Numbers stay
as they are, so that the positions in states stay true: a control line takes the place of the lines
that were lost. It is a way back from where they ended to where they began, and leaves only them
behind.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field

from sessionstore.durable.append import PADDING
from sessionstore.model.journal import JournalRecord, Rewind
from sessionstore.model.journal_view import Item
from sessionstore.storage.files import journal_line, journal_scan
from sessionstore.storage.files.journal_line import LineEnd
from sessionstore.storage.files.journal_scan import MAX_LINE

_NAMED = 10
"""How many damaged lines a finding names."""


@dataclass(slots=True)
class Condition:
    """The condition of a journal file."""

    damage: str | None = None
    """What is wrong with it, the numbers of the damaged lines included; None if it is whole."""
    torn: int = 0
    """How many bytes of an append that never returned follow its last line."""
    end: LineEnd = field(default_factory=LineEnd.of_nothing)
    """Behind the last whole batch before any damage."""
    records: int = 0
    """How many records are whole, behind the damage, too."""


def examine(file: io.BufferedReader, saved: int) -> Condition:
    """Return the condition of a journal; up to the number ``saved`` it is known to be flushed."""
    rescue, records = Rescue(file), 0
    for batch in rescue.batches(saved):
        records += sum(isinstance(item, JournalRecord) for item in batch)
    tail = journal_scan.find_tail(file, LineEnd.of_nothing(), saved)
    condition = Condition(end=tail.end, records=records)
    if tail.damage is not None or rescue.unreadable:
        reason = tail.damage or rescue.unreadable
        condition.damage = f"from number {tail.end.number + 1:,} on: {reason} ({rescue.say()})"
    else:
        file.seek(tail.end.offset)
        while piece := file.read(MAX_LINE):
            condition.torn += len(piece.strip(PADDING))
    return condition


class Rescue:
    """What of a journal file is whole."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self._bad: list[tuple[int, int]] = []
        """Ranges of lines of the file that are not whole, counted from 1."""
        self.unreadable: str | None = None
        """Why a line whose checksum is right cannot be read, or None."""

    def batches(self, upto: int) -> Iterator[list[Item]]:
        """Yield batches of whole lines, with a control line in the place of each gap.

        What is not whole is kept back; so are the last lines if their append never came to its end.
        What is up to ``upto`` is known to have: if the numbers end before it, a control line says
        that the others were lost.
        """
        self._bad, self.unreadable = [], None
        last, done, batch = 0, 0, list[Item]()
        self._file.seek(0)
        for text, line in enumerate(iter(lambda: self._file.readline(MAX_LINE), b""), start=1):
            found = self._parsed(line, last)
            if found is None:
                if not journal_line.is_padding(line):
                    self._note(text)
                continue
            item, more = found
            if not _follows(item, last):
                if batch:  # later lines tell that it had been acknowledged
                    yield batch
                    batch = []
                yield [Rewind(last, item.number - 2)]
            batch.append(item)
            last = item.number
            if not more:
                yield batch
                done, batch = last, []
        if batch and last <= upto:  # it had been acknowledged, and its last line is damaged
            yield batch
            done = last
        if done < upto:
            yield [Rewind(done, upto - 1)]

    def say(self) -> str:
        """Return which lines of the file are not whole."""
        if not self._bad:
            return "each line of the file is whole: some were removed or replaced"
        named = [f"{a}" if a == b else f"{a} to {b}" for a, b in self._bad[:_NAMED]]
        more = f" and {len(self._bad) - _NAMED} more ranges" if len(self._bad) > _NAMED else ""
        one = len(self._bad) == 1 and self._bad[0][0] == self._bad[0][1]
        return f"{'line' if one else 'lines'} {', '.join(named)}{more} of the file"

    def _parsed(self, line: bytes, last: int) -> tuple[Item, bool] | None:
        link = journal_line.link_of(line)
        if link is None or link.number <= last:
            return None
        try:
            item, more = journal_line.parse(line)
        except ValueError as error:
            self.unreadable = self.unreadable or str(error)
            return None
        return (item, more) if item.number == link.number else None

    def _note(self, text: int) -> None:
        if self._bad and self._bad[-1][1] == text - 1:
            self._bad[-1] = self._bad[-1][0], text
        else:
            self._bad.append((text, text))


def _follows(item: Item, last: int) -> bool:
    """Return whether ``item`` may come after the line ``last``; see journal_line.next_end."""
    if item.number == last + 1:
        return True
    return isinstance(item, Rewind) and item.back_to <= last
