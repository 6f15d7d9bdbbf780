"""Count the records that a state sees, from where its journals ended: no record is read.

The journal of the steps is left out: :mod:`sessionstore.operations.step_counts` counts the steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sessionstore.errors import SessionStoreError
from sessionstore.model import journal_view
from sessionstore.model.journal import STEPS, Rewind
from sessionstore.model.state import SessionState
from sessionstore.operations.journal_copy import JournalCopy
from sessionstore.storage.backend import Backend


class JournalCounts:
    """The counts of one session's journals together. Each journal's ways back are read once."""

    def __init__(self, backend: Backend, session_id: str) -> None:
        self._backend = backend
        self._session_id = session_id
        self._rewinds: dict[str, list[Rewind]] = {}

    def now(self, state: SessionState) -> int | None:
        """Return how many records count now; None if a journal is damaged. ``state`` is stored."""
        try:
            copies = {
                name: JournalCopy(self._backend, state, name)
                for name in self._backend.journal_names(self._session_id)
                if name != STEPS
            }
            return sum(copy.count() for copy in copies.values())
        except SessionStoreError:
            return None

    def at(self, raw: Mapping[str, Any]) -> int | None:
        """Return how many records counted in the state with these fields; None if unknown."""
        try:
            journals, rewinds = raw.get("journals", {}), raw.get("rewinds", {})
            count = 0
            for name in {*journals, *rewinds} - {STEPS}:
                end = journal_view.end_told(journals, rewinds, name)
                count += journal_view.count_seen(self._rewinds_of(name), end)
        except (SessionStoreError, TypeError, AttributeError, LookupError):
            return None
        return count

    def _rewinds_of(self, name: str) -> list[Rewind]:
        if name not in self._rewinds:
            found = self._backend.journal_rewinds(self._session_id, name)
            self._rewinds[name] = found
        return self._rewinds[name]
