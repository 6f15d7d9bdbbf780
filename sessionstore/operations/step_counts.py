"""The steps of a session, counted: how many were kept by then, and which were never finished."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sessionstore.errors import SessionStoreError
from sessionstore.model import journal_view, step
from sessionstore.model.journal import STEPS, JournalRecord, Position, Rewind
from sessionstore.model.journal_view import Item
from sessionstore.model.state import SessionState
from sessionstore.model.step import StepStatus
from sessionstore.session.journal_reader import JournalReader
from sessionstore.storage.backend import Backend


@dataclass(frozen=True, slots=True)
class OpenSteps:
    """The steps that no checkpoint has closed: code that runs again looks for them."""

    total: int
    """How many have begun."""
    kept: int
    """How many results are kept, so that they are not called again."""
    unfinished: tuple[str, ...] = ()
    """The names of those that were called and have not returned."""
    unsettled: tuple[str, ...] = ()
    """The same of those that may run at most once: somebody has to say what came of them."""


def find_open(backend: Backend, state: SessionState) -> OpenSteps | None:
    """Return the open steps of a session; None if there are none, or their journal is damaged."""
    if STEPS not in backend.journal_names(state.session_id):
        return None
    told = journal_view.pending_rewinds(state, STEPS)
    reader = JournalReader(backend, state.session_id, STEPS, lambda: told)
    try:
        known = step.listed(reader.records(), state.steps_from)
    except SessionStoreError:
        return None
    found = [one for one in known if not one.is_closed]
    names = {
        status: tuple(one.name for one in found if one.status is status) for status in StepStatus
    }
    if not found:
        return None
    return OpenSteps(
        len(found),
        len(names[StepStatus.KEPT]),
        names[StepStatus.STARTED],
        names[StepStatus.UNSETTLED],
    )


class StepCounts:
    """How many steps of one session were kept by then.

    What was read of their journal is not read again: a later count reads what was appended since.
    """

    def __init__(self, backend: Backend, session_id: str) -> None:
        self._backend = backend
        self.session_id: str = session_id
        self._end = Position()
        """The end of the last batch that was read."""
        self._numbers = [0]
        self._counts = [0]
        """How many steps were kept up to each line of :attr:`_numbers`."""
        self._marks: list[_Mark] = []
        self._kept: set[tuple[int, str]] = set()
        self._rewinds: list[Rewind] = []

    def now(self, state: SessionState) -> int | None:
        """Return how many are kept now; None if unknown. ``state`` is stored."""
        try:
            if STEPS not in self._backend.journal_names(self.session_id):
                return 0
            self._read()
        except SessionStoreError:
            return None
        told = journal_view.pending_rewinds(state, STEPS)
        last = self._rewinds[-1].number if self._rewinds else 0
        pending = [one for one in told if one.number > last]
        if pending:
            return len(self._kept_at([*self._rewinds, *pending[:-1]], pending[-1].back_to))
        return self._counts[-1]

    def at(self, raw: Mapping[str, Any]) -> int | None:
        """Return how many were kept in the state with these fields; None if unknown."""
        try:
            end = journal_view.end_told(raw.get("journals", {}), raw.get("rewinds", {}), STEPS)
            if not end:
                return 0
            if end > self._numbers[-1]:
                self._read()
            return self._counts[bisect_right(self._numbers, end) - 1]
        except (SessionStoreError, TypeError, AttributeError, LookupError):
            return None

    def _read(self) -> None:
        for batch in self._backend.read_journal(self.session_id, STEPS, self._end):
            for item in batch.items:
                self._count(item)
            self._end = batch.end

    def _count(self, item: Item) -> None:
        if item.number <= self._numbers[-1]:
            return  # it was read before an error
        if isinstance(item, Rewind):
            self._kept = self._kept_at(self._rewinds, item.back_to)
            self._rewinds.append(item)
        elif (mark := _mark(item)) is not None:
            self._marks.append(mark)
            _follow(self._kept, mark)
        self._numbers.append(item.number)
        self._counts.append(len(self._kept))

    def _kept_at(self, rewinds: list[Rewind], end: int) -> set[tuple[int, str]]:
        lines = journal_view.seen_at(rewinds, [end])
        kept: set[tuple[int, str]] = set()
        for mark in self._marks:
            if mark.number in lines:
                _follow(kept, mark)
        return kept


class _Mark(NamedTuple):
    """What a record says of a step, without its value."""

    number: int
    step: tuple[int, str]
    has_returned: bool


def _mark(record: JournalRecord) -> _Mark | None:
    value = record.value
    if not (isinstance(value, dict) and "step" in value and "from" in value):
        return None
    has_returned = "result" in value or step.PRUNED in value
    return _Mark(record.number, (value["from"], value["step"]), has_returned)


def _follow(kept: set[tuple[int, str]], mark: _Mark) -> None:
    (kept.add if mark.has_returned else kept.discard)(mark.step)
