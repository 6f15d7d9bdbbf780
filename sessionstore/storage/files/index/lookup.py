"""List and count from the index, as true as if every file had been read.

- Live sessions are read from their files, all of them, first; the others come from the index in
  order, chunk by chunk, so that no transaction stays open while somebody reads on.
- What is about to be shown is compared with its file by inode, size and time. If something else
  than a claim has changed it, others may have been changed with it: everything is compared.
- Where the index does not work, the files are scanned, and the log says so once.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TypeVar

from sessionstore.durable import mounts
from sessionstore.errors import StorageError
from sessionstore.log import about, logger
from sessionstore.model.query import Examine, Position, SessionQuery
from sessionstore.model.summary import Matches, SessionSummary
from sessionstore.storage.files.index import live_names, query_sql
from sessionstore.storage.files.index.database import Database, SQLError, Unusable
from sessionstore.storage.files.index.index import Index
from sessionstore.storage.files.index.observation import SessionObserver
from sessionstore.storage.files.index.query_sql import RowStream
from sessionstore.storage.files.index.schema import Row, signature_values, summary_of
from sessionstore.storage.files.layout import Layout
from sessionstore.storage.files.store_marker import read_marker
from sessionstore.storage.values import CountsAndPages

_FIRST, _LARGEST = 64, 2048
_ASKED = 500
_TROUBLE = (SQLError, Unusable)

Scan = Callable[[SessionQuery, Examine], Matches]


_Answer = TypeVar("_Answer")
_Positioned = tuple[Position, SessionSummary | Row]


class Listing:
    """The listings of one store."""

    def __init__(self, layout: Layout, index: Index, scan: Scan) -> None:
        self._layout = layout
        self._index = index
        self.scan = scan
        self._has_said = False

    def find(self, query: SessionQuery, examine: Examine, *, verify: bool) -> Matches:
        """Return the matches in order, as the contract has it."""

        def answer(opened: Database) -> Matches:
            return _ListingRun(self, opened, query, examine).matches()

        try:
            return self._attempt(answer, verify=verify)
        except _TROUBLE as error:
            self._say_once(error)
            return self.scan(query, examine)

    def count(self, query: SessionQuery, examine: Examine) -> int:
        """Return how many sessions match."""
        # Only the files can tell.
        if query.resumable is not None or query.stale is not None or query.alive:
            return sum(1 for _ in self.find(query, examine, verify=False))

        def answer(opened: Database) -> int:
            return _ListingRun(self, opened, query, examine).counts([query])[0]

        try:
            return self._attempt(answer, verify=False)
        except _TROUBLE as error:
            self._say_once(error)
            return sum(1 for _ in self.scan(query, examine))

    def select(self, query: SessionQuery) -> Iterator[SessionSummary] | None:
        """Return what the contract asks for; None where the index does not work."""

        def answer(opened: Database) -> Matches:
            return _ListingRun(self, opened, query, _as_it_is).matches()

        try:
            return self._attempt(answer, verify=False)
        except _TROUBLE as error:
            self._say_once(error)
            return None

    def count_and_list(
        self, counted: Sequence[SessionQuery], listed: Sequence[SessionQuery]
    ) -> CountsAndPages | None:
        """Return what the contract asks for; None where the index does not work."""

        def answer(opened: Database) -> CountsAndPages:
            first = _ListingRun(self, opened, SessionQuery(), _as_it_is)
            counts = first.counts(counted)
            items = []
            for query in listed:
                run = _ListingRun(self, opened, query, _as_it_is)
                items.append(list(islice(run.matches(first), query.limit)))
            return CountsAndPages(counts, items)

        try:
            return self._attempt(answer, verify=False)
        except _TROUBLE as error:
            self._say_once(error)
            return None

    def verify(self) -> None:
        """Compare everything with the files now; where that cannot be done nothing relies on it."""
        with suppress(*_TROUBLE, StorageError):
            self._attempt(lambda _: None, verify=True)

    def _attempt(self, answer: Callable[[Database], _Answer], *, verify: bool) -> _Answer:
        opened = self._open()
        try:
            self._ensure_current(opened, verify=verify)
            return answer(opened)
        except SQLError as error:  # damaged, or removed while it was open
            return answer(self.start_anew(opened, error))

    def start_anew(self, opened: Database, error: SQLError) -> Database:
        """Make the index anew from the files."""
        self._index.discard(opened, f"{error}; it is made anew from the files")
        opened = self._open()
        self._ensure_current(opened)
        return opened

    def _open(self) -> Database:
        """Open the index.

        Raises:
            SQLError: there can be none here.
            Unusable: there can be none here.
        """
        if read_marker(self._layout) is None:
            raise Unusable("nothing was written to this store yet")
        if not mounts.is_local(self._layout.root)[0]:
            raise Unusable("the store lies on a network file system, or on an unknown one")
        if not os.access(self._layout.root, os.W_OK):
            raise Unusable("the store can only be read")
        return self._index.open()

    def _ensure_current(self, opened: Database, *, verify: bool = False) -> None:
        """Compare the index with the files if there is a reason to.

        Raises:
            SQLError: it is damaged.
            StorageError: the sessions cannot be listed.
        """
        reason = self._index.why_stale(opened)
        if reason is None and verify:
            reason = "this was asked for"
        if reason is None and (read_marker(self._layout) or {}).get("foreign_writers"):
            reason = "other software writes here"
        if reason is not None:
            self.compare(opened, reason)

    def compare(self, opened: Database, reason: str) -> None:
        """Compare the index with the files.

        Raises:
            SQLError: it is damaged.
            StorageError: the sessions cannot be listed.
        """
        from sessionstore.storage.files.index import rebuild  # rarely needed

        try:
            rebuild.rebuild(self._index, opened, self._layout, reason)
        except OSError as error:
            raise StorageError("list", self._layout.sessions, error) from error

    def compare_after_change(self, opened: Database) -> None:
        """Compare the index with the files, since something else than a claim changed one."""
        root = self._layout.root
        logger.warning(
            "%s: something else changed sessions: comparing the index with all of them",
            root,
            extra=about("index_changed_underneath", path=root),
        )
        self.compare(opened, "something else changed sessions")

    def read_live(self, opened: Database) -> dict[str, SessionSummary | None]:
        """Return what the files of all live sessions say, None if gone.

        Raises:
            SQLError: the index is damaged, or gone.
            StorageError: the sessions cannot be listed.
        """
        try:
            return self._index.fold(opened)
        except OSError as error:
            raise StorageError("list", self._layout.sessions, error) from error

    def observer(self) -> SessionObserver:
        """Return what looks at the sessions.

        Raises:
            StorageError: they cannot be listed.
        """
        try:
            return SessionObserver(self._layout)
        except OSError as error:
            raise StorageError("list", self._layout.sessions, error) from error

    def _say_once(self, error: Exception) -> None:
        if not self._has_said and read_marker(self._layout) is not None:
            self._has_said = True
            root = self._layout.root
            logger.warning(
                "%s: listing without an index: %s",
                root,
                error,
                extra=about("index_not_used", path=root, reason=error),
            )


def _as_it_is(item: SessionSummary) -> SessionSummary:
    """Look at nothing."""
    return item


def _lead(opened: Database, query: SessionQuery) -> int | None:
    """Return the number of the label that lets the fewest pass; None if another filter does."""
    asked = query_sql.leads(query) if query.labels else []
    if len(asked) < 2:
        return 0
    counts = [count for ((count,),) in opened.snapshot(asked)]
    rarest = counts.index(min(counts))
    return rarest if rarest < len(query.labels) else None


class _Changed(Exception):
    """Something else than a claim has changed the file of a row."""


class _ListingRun:
    """One listing."""

    def __init__(
        self, listing: Listing, opened: Database, query: SessionQuery, examine: Examine
    ) -> None:
        self._listing = listing
        self._opened = opened
        self._query = query
        self._examine = examine
        # Where nothing is looked at, a filter that only a look can decide decides nothing.
        self._matches = query.matches if examine is _as_it_is else query.finally_matches
        self._live: dict[str, SessionSummary | None] = {}

    # --- live sessions ---------------------------------------------------------------------------

    def _read_live(self, before: _ListingRun | None = None) -> int:
        """Read the live sessions, or take what another listing read just ``before``.

        Returns how many damaged ones the query cannot judge.
        """
        self._live = self._listing.read_live(self._opened) if before is None else before._live
        return sum(
            item is not None and item.damaged is not None and self._is_unjudged(item)
            for item in self._live.values()
        )

    def _is_unjudged(self, item: SessionSummary) -> bool:
        query = self._query
        if query.id_prefix is not None and not item.session_id.startswith(query.id_prefix):
            return False
        return query.damaged is None and not query.matches(item)

    # --- counting --------------------------------------------------------------------------------

    def counts(self, queries: Sequence[SessionQuery]) -> list[int]:
        """Return how many sessions match each query, as far as their states say."""
        self._read_live()
        ids = list(self._live)
        some = [ids[start : start + _ASKED] for start in range(0, len(ids), _ASKED)]
        leads = [_lead(self._opened, query) for query in queries]
        found = iter(
            # All of one moment: a session that is claimed in between is counted once.
            self._opened.snapshot(
                [
                    query_sql.count_sql(query, among, lead)
                    for query, lead in zip(queries, leads, strict=True)
                    for among in (None, *some)
                ]
            )
        )
        numbers = []
        for query in queries:
            (total,), *live = (next(found)[0] for _ in range(1 + len(some)))
            by_rows = 0 if query.damaged else total - sum(number for (number,) in live)
            read = (item for item in self._live.values() if item is not None)
            numbers.append(by_rows + sum(map(query.matches, read)))
        return numbers

    # --- in order --------------------------------------------------------------------------------

    def matches(self, before: _ListingRun | None = None) -> Matches:
        """Return the matches; the index is asked at once, so that its trouble is seen here."""
        matches = Matches(iter(()), self._read_live(before))
        matches.items = self._shown(matches)
        return matches

    def _shown(self, matches: Matches) -> Iterator[SessionSummary]:
        """Yield the matches in order, each as true as its file."""
        query, after = self._query, self._query.after
        comparisons = failures = 0
        mend: Callable[[], object] | None = None
        while True:
            try:
                if mend is not None:  # in here, as it may fail, too
                    mend()
                    matches.damaged = self._read_live()
                for position, item in self._candidates(after, trusting=comparisons > 0):
                    after = position
                    if item is None:
                        continue
                    seen = self._examine(item) if item.damaged is None else item
                    if self._matches(seen):
                        yield seen
                return
            except _Changed:
                comparisons += 1
                mend = partial(self._listing.compare_after_change, self._opened)
            except _TROUBLE as error:
                failures += 1
                if failures > 1 or isinstance(error, Unusable):
                    yield from self._listing.scan(replace(query, after=after), self._examine)
                    return
                mend = partial(self._start_anew, error)

    def _start_anew(self, error: SQLError) -> None:
        self._opened = self._listing.start_anew(self._opened, error)

    def _candidates(
        self, after: Position | None, *, trusting: bool
    ) -> Iterator[tuple[Position, SessionSummary | None]]:
        """Yield what may match, with its position in the order; None for what no longer does."""
        query = replace(self._query, after=after)
        lead = _lead(self._opened, query)
        live = [item for item in self._live.values() if item is not None and query.matches(item)]
        sources: list[Iterator[_Positioned]] = [
            ((query.position(item), item) for item in query.sort(live)),
            *(self._rows(stream, after) for stream in query_sql.streams(query, lead)),
        ]
        merged = heapq.merge(*sources, key=lambda one: query.sort_key(one[0]))
        size = _FIRST
        while batch := list(islice(merged, size)):
            with self._listing.observer() as observer:
                checked = [
                    (
                        position,
                        found
                        if isinstance(found, SessionSummary)
                        else self._checked(observer, found, trusting=trusting),
                    )
                    for position, found in batch
                ]
            yield from checked
            size = min(size * 2, _LARGEST)

    def _rows(self, stream: RowStream, after: Position | None) -> Iterator[_Positioned]:
        size = _FIRST
        while True:
            sql, values = stream.chunk(self._query, after, size)
            found = [Row(*values) for values in self._opened.rows(sql, values)]
            for row in found:
                after = self._position(row, stream)
                if row.id not in self._live:
                    yield after, row
            if len(found) < size:
                return
            size = min(size * 2, _LARGEST)

    def _position(self, row: Row, stream: RowStream) -> Position:
        if stream.order == "id":
            return (0, "", row.id)
        moment = row.updated if stream.order == "updated" else row.started
        return (1, 0.0, row.id) if moment is None else (0, moment, row.id)

    def _checked(
        self, observer: SessionObserver, row: Row, *, trusting: bool
    ) -> SessionSummary | None:
        """Return what is to be shown for ``row``; None if it does not match any more."""
        now = observer.signature(row.id)
        if now is not None and signature_values(now) == row.signature:
            if (item := summary_of(row)) is not None:
                return item
        elif not trusting and not self._was_touched(row):
            raise _Changed
        seen = observer.read(row.id)
        return seen.item if seen is not None and self._query.matches(seen.item) else None

    def _was_touched(self, row: Row) -> bool:
        """Return whether one of ours has changed the session since it was listed."""
        # In this order: what is folded in between has another row afterwards.
        with suppress(OSError):
            if row.id in live_names.names(self._opened.directory):
                return True
        found = self._opened.rows(query_sql.BY_ID, (row.id,))
        return not found or Row(*found[0]) != row
