"""Journals: append-only lists of JSON records beside the state of a session."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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


class Position(NamedTuple):
    """Where a journal ends, as a state remembers it: what is up to here was flushed."""

    number: int = 0
    """Of the last record."""
    offset: int = 0
    """Of the byte behind it, where the backend keeps files."""


class Rewind(NamedTuple):
    """A way back: the records after ``back_to`` up to ``upto`` no longer count.

    It is a line of the journal itself, and its number is the one after ``upto``. A later way back
    that passes over it undoes it: what it left behind counts again.
    """

    back_to: int
    upto: int

    @property
    def number(self) -> int:
        """The number of its line."""
        return self.upto + 1

    def hides(self, number: int) -> bool:
        """Return whether it leaves the line ``number`` behind."""
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


def last_numbers(places: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Return the number of the last record in each journal, as a state remembers it.

    The journal of the steps is left out: what its records tell is counted in steps.
    """
    return {name: place[0] for name, place in places.items() if place and name != STEPS}


def in_force(rewinds: Iterable[Rewind]) -> list[Rewind]:
    """Return the ways back that no later one undoes, the latest first."""
    kept: list[Rewind] = []
    for rewind in sorted(rewinds, key=lambda one: one.number, reverse=True):
        if not is_hidden(rewind.number, kept):
            kept.append(rewind)
    return kept


def is_hidden(number: int, rewinds: Iterable[Rewind]) -> bool:
    """Return whether a way back that is in force leaves the line ``number`` behind."""
    return any(rewind.hides(number) for rewind in rewinds)
