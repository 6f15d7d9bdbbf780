"""List and count from the index, as true as if every file had been read.

- Live rows are read from their files, all of them, first; the others come from the index in
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
from itertools import islice
from typing import TypeVar

from sessionstore.durable import mounts
from sessionstore.errors import StorageError
from sessionstore.log import about, logger
from sessionstore.model.query import Examine, Position, SessionQuery
from sessionstore.model.summary import Matches, SessionSummary
from sessionstore.storage.files.index import query_sql, schema
from sessionstore.storage.files.index.database import SQLError, Unusable
from sessionstore.storage.files.index.index import Index
from sessionstore.storage.files.index.observe import Eyes
from sessionstore.storage.files.index.query_sql import Stream
from sessionstore.storage.files.index.schema import Row
from sessionstore.storage.files.layout import Layout
from sessionstore.storage.files.store_marker import read_marker
from sessionstore.storage.values import CountsAndPages

_FIRST, _LARGEST = 64, 2048
_TROUBLE = (SQLError, Unusable)

Scan = Callable[[SessionQuery, Examine], Matches]


_Answer = TypeVar("_Answer")
_Placed = tuple[Position, SessionSummary | Row]


class Listing:
    """The listings of one store."""

    def __init__(self, layout: Layout, index: Index, scan: Scan) -> None:
        self._layout = layout
        self._index = index
        self._scan = scan
        self._has_said = False

    def find(self, query: SessionQuery, examine: Examine, *, verify: bool) -> Matches:
        """Return the matches in order, as the contract has it."""

        def answer() -> Matches:
            return _Run(self, query, examine).matches()

        try:
            return self._attempt(answer, verify=verify)
        except _TROUBLE as error:
            self._say_once(error)
            return self._scan(query, examine)

    def count(self, query: SessionQuery, examine: Examine) -> int:
        """Return how many sessions match."""
        if query.resumable is not None or query.stale is not None:  # only the files can tell
            return sum(1 for _ in self.find(query, examine, verify=False))
        try:
            run = _Run(self, query, examine)
            return self._attempt(lambda: run.counts([query])[0], verify=False)
        except _TROUBLE as error:
            self._say_once(error)
            return sum(1 for _ in self._scan(query, examine))

    def select(self, query: SessionQuery) -> Iterator[SessionSummary] | None:
        """Return what the contract asks for; None where the index does not work."""
        try:
            return self._attempt(_Run(self, query, _as_it_is).matches, verify=False)
        except _TROUBLE as error:
            self._say_once(error)
            return None

    def count_and_list(
        self, counted: Sequence[SessionQuery], listed: Sequence[SessionQuery]
    ) -> CountsAndPages | None:
        """Return what the contract asks for; None where the index does not work."""

        def answer() -> CountsAndPages:
            first = _Run(self, SessionQuery(), _as_it_is)
            counts = first.counts(counted)
            runs = [(_Run(self, query, _as_it_is), query.limit) for query in listed]
            return CountsAndPages(
                counts, [list(islice(run.matches(first), limit)) for run, limit in runs]
            )

        try:
            return self._attempt(answer, verify=False)
        except _TROUBLE as error:
            self._say_once(error)
            return None

    def verify(self) -> None:
        """Compare everything with the files now; where that cannot be done nothing relies on it."""
        with suppress(*_TROUBLE, StorageError):
            self._attempt(lambda: None, verify=True)

    def _attempt(self, answer: Callable[[], _Answer], *, verify: bool) -> _Answer:
        try:
            self.make_true(verify=verify)
            return answer()
        except SQLError as error:  # damaged, or removed while it was open
            self.start_anew(error)
            return answer()

    def start_anew(self, error: SQLError) -> None:
        """Make the index anew from the files."""
        self._index.discard(f"{error}; it is made anew from the files")
        self.make_true()

    def make_true(self, *, verify: bool = False) -> None:
        """Compare the index with the files if there is a reason to.

        Raises:
            SQLError: it is damaged.
            Unusable: there can be none here.
            StorageError: the sessions cannot be listed.
        """
        marker = read_marker(self._layout)
        if marker is None:
            raise Unusable("nothing was written to this store yet")
        if not mounts.is_local(self._layout.root)[0]:
            raise Unusable("the store lies on a network file system, or on an unknown one")
        if not os.access(self._layout.root, os.W_OK):
            raise Unusable("the store can only be read")
        self._index.open()
        reason = self._index.why_not_true()
        if reason is None and verify:
            reason = "this was asked for"
        if reason is None and marker.get("foreign_writers"):
            reason = "other software writes here"
        if reason is not None:
            self.compare(reason)

    def compare(self, reason: str) -> None:
        """Compare the index with the files."""
        from sessionstore.storage.files.index import rebuild  # rarely needed

        try:
            rebuild.compare(self._index, self._layout, reason)
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


class _Changed(Exception):
    """Something else than a claim has changed the file of a settled row."""


class _Run:
    """One listing."""

    def __init__(self, listing: Listing, query: SessionQuery, examine: Examine) -> None:
        self._listing = listing
        self._index = listing._index
        self._layout = listing._layout
        self._query = query
        self._examine = examine
        # Where nothing is looked at, a filter that only a look can decide decides nothing.
        self._matches = query.matches if examine is _as_it_is else query.finally_matches
        self._live: dict[str, SessionSummary | None] = {}

    # --- live rows -------------------------------------------------------------------------------

    def _read_live(self, before: _Run | None = None) -> int:
        """Read the live sessions, or take what another listing read just ``before``.

        Returns how many damaged ones the query cannot judge.
        """
        if before is None:
            self._look_at(self._index.rows(_LIVE, ()))
        else:
            self._live = before._live
        return sum(
            item is not None and item.damaged is not None and self._is_unjudged(item)
            for item in self._live.values()
        )

    def _is_unjudged(self, item: SessionSummary) -> bool:
        query = self._query
        if query.id_prefix is not None and not item.session_id.startswith(query.id_prefix):
            return False
        return query.damaged is None and not query.matches(item)

    def _look_at(self, live: list[tuple[str, int]]) -> None:
        self._live = {}
        if not live:
            return
        settled: list[tuple[Row, int]] = []
        gone: list[tuple[str, int]] = []
        with self._eyes() as eyes:
            for session_id, mark in live:
                seen = eyes.read(session_id)
                self._live[session_id] = None if seen is None else seen.item
                if seen is None:
                    gone.append((session_id, mark))
                elif seen.signature is not None and eyes.is_settled(seen):
                    settled.append((schema.settled_row(seen.item, seen.signature), mark))
        with suppress(OSError):  # a row that stays live is read again
            if settled:
                self._index.settle_all(settled)
            for session_id, mark in gone:
                self._index.remove_gone(session_id, mark)

    def _eyes(self) -> Eyes:
        try:
            return Eyes(self._layout)
        except OSError as error:
            raise StorageError("list", self._layout.sessions, error) from error

    # --- counting --------------------------------------------------------------------------------

    def counts(self, queries: Sequence[SessionQuery]) -> list[int]:
        """Return how many sessions match each query, as far as their states say."""
        asked = [
            query_sql.count_sql(query, live_only=only)
            for query in queries
            for only in (False, True)
        ]
        # All of one moment: a session that is claimed in between is counted once.
        live, *found = self._index.snapshot([(_LIVE, ()), *asked])
        self._look_at(live)
        numbers = [number for ((number,),) in found]
        return [
            (0 if query.damaged else total - not_settled)
            + sum(item is not None and query.matches(item) for item in self._live.values())
            for query, total, not_settled in zip(queries, numbers[::2], numbers[1::2], strict=True)
        ]

    # --- in order --------------------------------------------------------------------------------

    def matches(self, before: _Run | None = None) -> Matches:
        """Return the matches; the index is asked at once, so that its trouble is seen here."""
        matches = Matches(iter(()), self._read_live(before))
        matches.items = self._shown(matches)
        return matches

    def _shown(self, matches: Matches) -> Iterator[SessionSummary]:
        """Yield the matches in order, each as true as its file."""
        query, after = self._query, self._query.after
        comparisons = failures = 0
        while True:
            try:
                for place, item in self._candidates(after, trusting=comparisons > 0):
                    after = place
                    if item is None:
                        continue
                    seen = self._examine(item) if item.damaged is None else item
                    if self._matches(seen):
                        yield seen
                return
            except _Changed:
                comparisons += 1
                root = self._layout.root
                logger.warning(
                    "%s: something else changed sessions: comparing the index with all of them",
                    root,
                    extra=about("index_changed_underneath", path=root),
                )
                self._listing.compare("something else changed sessions")
            except _TROUBLE as error:
                failures += 1
                if failures > 1 or isinstance(error, Unusable):
                    yield from self._listing._scan(replace(query, after=after), self._examine)
                    return
                self._listing.start_anew(error)
            matches.damaged = self._read_live()

    def _candidates(
        self, after: Position | None, *, trusting: bool
    ) -> Iterator[tuple[Position, SessionSummary | None]]:
        """Yield what may match, with its place in the order; None for what no longer does."""
        query = replace(self._query, after=after)
        live = [item for item in self._live.values() if item is not None and query.matches(item)]
        sources: list[Iterator[_Placed]] = [
            ((query.position(item), item) for item in query.sort(live)),
            *(self._rows(stream, after) for stream in query_sql.streams(query)),
        ]
        merged = heapq.merge(*sources, key=lambda one: query.sort_key(one[0]))
        size = _FIRST
        while batch := list(islice(merged, size)):
            with self._eyes() as eyes:
                checked = [
                    (
                        place,
                        thing
                        if isinstance(thing, SessionSummary)
                        else self._checked(eyes, thing, trusting=trusting),
                    )
                    for place, thing in batch
                ]
            yield from checked
            size = min(size * 2, _LARGEST)

    def _rows(self, stream: Stream, after: Position | None) -> Iterator[_Placed]:
        size = _FIRST
        while True:
            sql, values = stream.chunk(self._query, after, size)
            found = [Row(*values) for values in self._index.rows(sql, values)]
            for row in found:
                after = self._place(row, stream)
                if row.id not in self._live:
                    yield after, row
            if len(found) < size:
                return
            size = min(size * 2, _LARGEST)

    def _place(self, row: Row, stream: Stream) -> Position:
        if stream.order == "id":
            return (0, "", row.id)
        moment = row.updated if stream.order == "updated" else row.started
        return (1, 0.0, row.id) if moment is None else (0, moment, row.id)

    def _checked(self, eyes: Eyes, row: Row, *, trusting: bool) -> SessionSummary | None:
        """Return what is to be shown for ``row``; None if it does not match any more."""
        now = eyes.signature(row.id)
        if not row.live and now is not None and schema.signature_values(now) == row.signature:
            if (item := schema.summary_of(row)) is not None:
                return item
        elif not row.live and not trusting and not self._was_touched(row):
            raise _Changed
        seen = eyes.read(row.id)
        return seen.item if seen is not None and self._query.matches(seen.item) else None

    def _was_touched(self, row: Row) -> bool:
        """Return whether one of ours has claimed or released the session since it was listed."""
        sql = f"SELECT {schema.ALL} FROM sessions WHERE id = ?"  # noqa: S608 - names of ours
        found = self._index.rows(sql, (row.id,))
        return not found or Row(*found[0]) != row


_LIVE = f"SELECT {query_sql.LIVE} FROM sessions WHERE live <> 0"  # noqa: S608 - names of ours
