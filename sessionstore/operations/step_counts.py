"""The steps of a session, counted: how many were kept by then, and which were never finished."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sessionstore.errors import SessionStoreError
from sessionstore.model import journal_view, step
from sessionstore.model.journal import STEPS, JournalRecord, Position, Rewind
from sessionstore.model.journal_view import Item
from sessionstore.model.state import SessionState
from sessionstore.model.step import StepStatus
from sessionstore.operations.journal_copy import JournalCopy
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
    """How many steps of one session were kept by then. Their journal is read once."""

    def __init__(self, backend: Backend, session_id: str) -> None:
        self._backend = backend
        self._session_id = session_id
        self._counts: tuple[list[int], list[int]] | None = None
        """The numbers of the lines, and how many steps were kept up to each."""

    def now(self, state: SessionState) -> int | None:
        """Return how many are kept now; None if unknown. ``state`` is stored."""
        try:
            if STEPS not in self._backend.journal_names(self._session_id):
                return 0
            batches = JournalCopy(self._backend, state, STEPS).everything()
            return _count(item for batch in batches for item in batch)[1][-1]
        except SessionStoreError:
            return None

    def at(self, raw: Mapping[str, Any]) -> int | None:
        """Return how many were kept in the state with these fields; None if unknown."""
        try:
            rewinds = [Rewind(*one) for one in raw.get("rewinds", {}).get(STEPS, ())]
            place = raw.get("journals", {}).get(STEPS, (0, 0))
            end = rewinds[-1].back_to if rewinds else place[0]
            if not end:
                return 0
            numbers, counts = self._read()
            return counts[bisect_right(numbers, end) - 1]
        except (SessionStoreError, TypeError, AttributeError, LookupError):
            return None

    def _read(self) -> tuple[list[int], list[int]]:
        if self._counts is None:
            batches = self._backend.read_journal(self._session_id, STEPS, Position())
            self._counts = _count(item for batch in batches for item in batch.items)
        return self._counts


def _count(items: Iterable[Item]) -> tuple[list[int], list[int]]:
    numbers, counts = [0], [0]
    kept: set[tuple[int, str]] = set()
    rewinds: list[Rewind] = []
    records: list[JournalRecord] = []
    for item in items:
        if isinstance(item, Rewind):
            lines = journal_view.seen_at(rewinds, [item.back_to])
            seen = step.fold(one for one in records if one.number in lines)
            kept = {key for key, one in seen.items() if one.status is StepStatus.KEPT}
            rewinds.append(item)
        else:
            _follow(kept, item.value)
            records.append(item)
        numbers.append(item.number)
        counts.append(len(kept))
    return numbers, counts


def _follow(kept: set[tuple[int, str]], value: Any) -> None:
    if isinstance(value, dict) and "step" in value and "from" in value:
        key = value["from"], value["step"]
        has_returned = "result" in value or step.PRUNED in value
        (kept.add if has_returned else kept.discard)(key)
