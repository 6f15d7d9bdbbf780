"""The row of one session in the index, as its holder speaks of it: that it changes, that it stays.

Where there is no index nothing is said, and nobody has made one for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

from sessionstore.durable.directory import Signature
from sessionstore.model.summary import SessionSummary
from sessionstore.storage.files.index.observe import Sighting, last_row
from sessionstore.storage.files.layout import Layout

if TYPE_CHECKING:  # it loads sqlite3, which a store that nobody lists never needs
    from sessionstore.storage.files.index.index import Index


class Entry:
    """What a claim tells the index; ``mark`` is that of the row, if there is one already."""

    def __init__(
        self, layout: Layout, session_id: str, index: Callable[[], Index | None], mark: int | None
    ) -> None:
        self._layout = layout
        self._session_id = session_id
        self._index = index
        self._is_announced = mark is not None
        self._mark = mark

    def announce(self) -> None:
        """Say that this session changes, before it does so for the first time."""
        if not self._is_announced:
            index = self._index()
            self._mark = index.mark_live(self._session_id) if index else None
            self._is_announced = True

    @contextmanager
    def leaving(self) -> Iterator[None]:
        """Have this session forgotten, which the block moves out of ``sessions/``."""
        index = self._index()
        with index.removing(self._session_id) if index else nullcontext():
            yield
        self._mark = None

    def settle(self, summary: SessionSummary | None, signature: Signature | None) -> None:
        """Say that the file stays as it is: before anybody else can claim it.

        What is left out, because it cannot be read or another comes first, is done by those who
        list. What the lock does not guard any more is guarded by the mark, which is then another.
        """
        mark, self._mark = self._mark, None
        if mark is None:
            return
        with suppress(OSError):
            index = self._index()
            if index is not None:
                seen = Sighting(summary, signature) if summary else None
                row = last_row(self._layout, self._session_id, seen)
                if row is not None:
                    index.settle(row, mark)
