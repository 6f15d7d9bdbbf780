"""What the memory backend keeps of a session, and what its holder appends to a journal of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Protocol

from pydantic_core import from_json

from sessionstore.model.journal import JournalRecord, Position, Rewind
from sessionstore.model.summary import later_of
from sessionstore.storage.journal import Appended, Batch, JournalAppender


@dataclass
class KeptSession:
    """A session as bytes, never as live objects, so that it behaves as if read from a disk."""

    payload: bytes
    checkpoints: dict[str, bytes] = field(default_factory=dict)
    journals: dict[str, list[Batch]] = field(default_factory=dict)

    def put_journal(self, name: str, batches: Iterable[Sequence[JournalRecord | Rewind]]) -> None:
        """Have ``batches`` in the place of a journal."""
        self.journals[name] = [
            Batch(deepcopy([*items]), Position(items[-1].number, index))
            for index, items in enumerate(batches, start=1)
        ]

    def journal_rewinds(self, name: str) -> list[Rewind]:
        """Return the ways back that a journal holds."""
        batches = self.journals.get(name, [])
        return [item for batch in batches for item in batch.items if isinstance(item, Rewind)]

    def read_journal(self, name: str, start: Position) -> Iterator[Batch]:
        """Return the batches behind ``start``."""
        batches = list(self.journals.get(name, ()))
        at = start.offset
        if start.number and not (0 < at <= len(batches) and batches[at - 1].end == start):
            # Another batch may end there since space was freed, or the session was imported.
            batches = [batch for batch in batches if batch.end.number > start.number]
            at = 0
        # An item is a copy: what the application does to a value changes nothing that is kept.
        return (deepcopy(batch) for batch in batches[at:])

    def last_appended_at(self) -> str | None:
        """Return when the last record was appended to any journal."""
        last: str | None = None
        for batches in list(self.journals.values()):
            items = (item for batch in reversed(batches) for item in reversed(batch.items))
            at = next((item.at for item in items if isinstance(item, JournalRecord)), None)
            last = at if last is None else later_of(last, at)
        return last


class Writing(Protocol):
    """Keeps everybody else out while something is written, if the claim still permits it."""

    def __call__(self, *, cancellable: bool) -> AbstractContextManager[None]:
        """Return what lasts as long as the write."""


class MemoryJournal(JournalAppender):
    """A journal of a claim within this process. The offset of a position counts its batches."""

    def __init__(self, batches: list[Batch], writing: Writing) -> None:
        self._batches = batches
        self._writing = writing

    @property
    def end(self) -> Position:
        return self._batches[-1].end if self._batches else Position()

    @property
    def flushed(self) -> Position:
        return self.end

    def append(
        self, items: Sequence[bytes | Rewind], key: str | None, at: str, *, cancellable: bool
    ) -> Appended:
        with self._writing(cancellable=cancellable):
            number, kept = self.end.number, list[JournalRecord | Rewind]()
            for item in items:
                number = item.number if isinstance(item, Rewind) else number + 1
                is_last = len(kept) == len(items) - 1
                kept.append(
                    item
                    if isinstance(item, Rewind)
                    else JournalRecord(number, at, from_json(item), key if is_last else None)
                )
            if kept:
                self._batches.append(Batch(kept, Position(number, len(self._batches) + 1)))
        return Appended(number)

    def flush(self, appended: Appended | None = None) -> None:
        """Memory has nothing to flush."""
