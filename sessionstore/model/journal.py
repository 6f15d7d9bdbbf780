"""Journals: append-only lists of JSON records beside the state of a session."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sessionstore.model.ids import check_id

STEPS = "steps"
"""The journal that keeps the results of steps; only the store writes it."""

MAX_RECORD_BYTES = 16 * 1024 * 1024
"""How large the value of one record may be, as JSON."""

MAX_KEY_LENGTH = 1024
"""How many characters the key of a record may have."""

@dataclass(frozen=True, slots=True)
class JournalRecord:
    """One record of a journal."""

    number: int
    """Grows by one with each record of the journal, and is never given again."""
    at: str
    """ISO 8601 time at which it was appended."""
    value: Any
    """What was appended."""
    key: str | None = None
    """The key that it was appended under, or None."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a journal ends, as a state remembers it: what is up to here was flushed."""

    number: int = 0
    """Of the last record."""
    offset: int = 0
    """Of the byte behind it, where the backend keeps files."""


@dataclass(frozen=True, slots=True)
class Rewind:
    """A way back: the records after ``back_to`` up to ``upto`` no longer count."""

    back_to: int
    upto: int

    def hides(self, number: int) -> bool:
        """Return whether the record ``number`` no longer counts."""
        return self.back_to < number <= self.upto


def check_name(name: str) -> str:
    """Return ``name`` if a journal of the application may have it.

    Raises:
        InvalidSessionId: it is no safe name for a file.
        ValueError: it is the store's own.
    """
    check_id(name, kind="journal name")
    if name.lower() == STEPS:
        raise ValueError(f"the journal {name!r} is the store's own: choose another name")
    return name


def is_hidden(number: int, rewinds: Iterable[Rewind]) -> bool:
    """Return whether a way back leaves the record ``number`` behind."""
    return any(rewind.hides(number) for rewind in rewinds)
