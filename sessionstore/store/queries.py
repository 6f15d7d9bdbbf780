"""Find and count sessions without claiming, or even reading, each of them.

This part of the store knows no class of states. It loads nothing that reads or writes a state,
pydantic included, before a file has to be read.
"""

from __future__ import annotations

from itertools import islice
from typing import Self, Unpack

from sessionstore.clock import Clock
from sessionstore.model.query import Examine, Filters, SessionQuery, make_query
from sessionstore.model.summary import Matches, Page
from sessionstore.session import inspect
from sessionstore.storage.backend import Backend


class StoreQueries:
    """The methods of :class:`~sessionstore.SessionStore` that find and count sessions."""

    _backend: Backend
    _clock: Clock
    """The clock by which sessions are idle."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._clock = backend.clock

    def find(
        self,
        *,
        limit: int | None = 50,
        cursor: str | None = None,
        order: str = "-updated_at",
        verify: bool = False,
        **filters: Unpack[Filters],
    ) -> Page:
        """Return a page of the sessions that match.

        A damaged session is an item with ``damaged`` set. A damaged session of which a filter
        cannot say whether it matches is only counted, in ``Page.damaged``.

        Args:
            limit: how many at most; None for all.
            cursor: ``next_cursor`` of the page before. Sessions that did not change in between
                are neither repeated nor skipped.
            order: updated_at, started_at or session_id; with ``-`` in front, descending.
            verify: also notice what other software wrote underneath in sessions that are not
                on this page: a look at each, about 4 µs.
            filters: see :class:`~sessionstore.model.query.Filters`.

        Raises:
            InvalidQuery: a filter, the order or the cursor makes no sense.
            StorageError: the store cannot be listed.

        Examples:
            >>> page = store.find(status=["paused", "failed"], resumable=True, limit=20)
            >>> [item.session_id for item in page]
            ['ticket-1']
        """
        query = self._query(filters, limit=limit, cursor=cursor, order=order)
        matches = self._matches(query, verify=verify)
        if limit is None:
            return Page(tuple(matches), None, matches.damaged)
        items = tuple(islice(matches, limit))
        more = len(items) == limit and next(matches, None) is not None
        return Page(items, query.cursor_after(items[-1]) if more else None, matches.damaged)

    def iter_find(
        self, *, cursor: str | None = None, order: str = "-updated_at", **filters: Unpack[Filters]
    ) -> Matches:
        """Return an iterator over every session that matches, in order, after ``cursor`` if any.

        The arguments are those of :meth:`find`.

        Raises:
            InvalidQuery: a filter, the order or the cursor makes no sense.
            StorageError: the store cannot be listed.

        Examples:
            >>> for item in store.iter_find(goal_id="triage", order="started_at"):
            ...     print(item.session_id, item.status)
            ticket-1 paused
        """
        query = self._query(filters, limit=None, cursor=cursor, order=order)
        return self._matches(query)

    def count(self, **filters: Unpack[Filters]) -> int:
        """Return how many sessions match: as many as ``iter_find`` would yield.

        Raises:
            InvalidQuery: a filter makes no sense.
            StorageError: the store cannot be listed.

        Examples:
            >>> store.count(status="paused")
            1
        """
        query = self._query(filters, limit=None, cursor=None, order="session_id")
        return self._backend.count(query, self._examine(query, names_steps=False))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release what the store itself holds; sessions stay claimed until they are released."""
        self._backend.close()

    def _query(
        self, filters: Filters, *, limit: int | None, cursor: str | None, order: str
    ) -> SessionQuery:
        return make_query(filters, limit=limit, cursor=cursor, order=order, now=self._clock)

    def _matches(self, query: SessionQuery, *, verify: bool = False) -> Matches:
        return self._backend.find(query, self._examine(query), verify=verify)

    def _examine(self, query: SessionQuery, *, names_steps: bool = True) -> Examine:
        # Who asks for what can be resumed is told of checkpoints that load; a plain listing, which
        # has no use for their content, of those that are there.
        loads = query.resumable is not None
        return lambda item: inspect.examine(
            self._backend, item, loads_checkpoint=loads, names_steps=names_steps
        )
