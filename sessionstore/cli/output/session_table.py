"""The listing of ``ls``: what it finds, as a table and in the machine formats.

A table shows a page; the machine formats are written as they are read, so that a store of any
size takes no memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sessionstore.cli import streams
from sessionstore.cli.options.fields import json_keys
from sessionstore.cli.options.shared import Settings
from sessionstore.cli.output import json
from sessionstore.cli.output.formats import Report, emit
from sessionstore.model.query import Filters
from sessionstore.model.summary import Matches, Page
from sessionstore.store.queries import StoreQueries
from sessionstore.text import count_of

_LOOK = "sessionstore ls --damaged"
_MANY_DAMAGED = 1000
_COSTLY_FILTERS = {"resumable", "stale", "idle"}
"""What only a look at each session can decide: a count of all that match may take minutes."""


@dataclass
class Listing:
    """What to list, from which store, and how."""

    store: StoreQueries
    settings: Settings
    filters: Filters
    order: str = "-updated_at"
    limit: int | None = None
    cursor: str | None = None
    fields: Sequence[str] | None = None
    iso: bool = False
    is_live: bool = False
    """Whether it is shown again and again, so that nobody can page through it."""

    def page(self) -> Page:
        """Return the page to show."""
        return self.store.find(
            limit=self.limit, cursor=self.cursor, order=self.order, **self.filters
        )

    def write(self, form: str) -> None:
        """Write the listing to stdout, and remarks on it to stderr."""
        found: Page | Matches
        page = self.page() if form == "table" or self.limit is not None else None
        if page is not None:
            found = page
        else:  # written as it is read
            found = self.store.iter_find(cursor=self.cursor, order=self.order, **self.filters)
        cursor = page.next_cursor if page else None
        report = Report(
            schema=json.SESSIONS,
            listed="sessions",
            lines=self._items(found),
            fields=lambda: {"next_cursor": cursor, "damaged_unjudged": found.damaged},
            ids=(item.session_id for item in found),
            table=lambda: None if page is None else self._write_table(page),
        )
        emit(report, form)
        if form == "table":
            return
        if cursor is not None:
            streams.notice(f"there are more: --cursor {cursor}")
        if found.damaged:
            streams.warning(_unjudged(found.damaged))

    def _items(self, found: Page | Matches) -> Iterator[json.Item]:
        keys = [key for name in self.fields or () for key in json_keys(name)]
        for summary in found:
            item = json.summary_item(summary)
            yield {key: item[key] for key in keys} if keys else item

    def table(self, page: Page) -> Any:
        """Return columns and rows."""
        from sessionstore.cli.output.columns import TimeFormat, table_of

        return table_of(page.items, self.fields, TimeFormat(self.settings.now(), iso=self.iso))

    def _write_table(self, page: Page) -> None:
        """Write the table to stdout, and remarks on it to stderr."""
        self.write_rows(page)
        for text in self.remarks(page):
            streams.notice(text)

    def write_rows(self, page: Page) -> None:
        """Write the table of a page to stdout."""
        from sessionstore.cli.output.tables import write_table

        if page.items:
            columns, rows = self.table(page)
            elsewhere = "--fields chooses" if self.fields is None else "-o json shows all"
            write_table(columns, rows, colored=self.settings.colored, elsewhere=elsewhere)

    def remarks(self, page: Page) -> list[str]:
        """Return the remarks on a page: how many there are, and how many are not shown."""
        if not page.items:
            told = ["no session matches"]
        else:
            told = [self._how_many(page)]
            hidden = self._hidden_damaged(page)
            if hidden:
                more = "+" if hidden > _MANY_DAMAGED else ""
                count = count_of(min(hidden, _MANY_DAMAGED), "damaged session")
                told.append(f"{count}{more} not shown: {_LOOK}")
        if page.damaged:
            told.append(_unjudged(page.damaged))
        return told

    def total(self) -> int | None:
        """Return how many sessions match; None if only a look at each of them could tell."""
        return None if _COSTLY_FILTERS & set(self.filters) else self.store.count(**self.filters)

    def _how_many(self, page: Page) -> str:
        shown = len(page.items)
        damaged = sum(item.damaged is not None for item in page.items)
        and_damaged = f", {damaged:,} damaged" if damaged else ""
        if page.next_cursor is None:
            return count_of(shown, "session") + and_damaged
        # Behind a cursor nobody knows how many were before it.
        total = None if self.cursor is not None else self.total()
        if total is None:
            text, left = f"{count_of(shown, 'session')} shown", "there are more"
        else:
            text, left = f"{shown:,} of {count_of(total, 'session')}", f"{total - shown:,} more"
        pages = "" if self.is_live else "--more pages through, "
        return f"{text}{and_damaged}; {left}: {pages}-n 0 lists all"

    def _hidden_damaged(self, page: Page) -> int:
        """Return how many damaged sessions are on later pages: without a time they sort last."""
        if page.next_cursor is None or page.damaged or self.filters:
            return 0  # all sessions are shown, or a filter has counted the damaged
        damaged = self.store.find(
            damaged=True, limit=_MANY_DAMAGED + 1, cursor=page.next_cursor, order=self.order
        )
        return len(damaged)


def _unjudged(count: int) -> str:
    return f"{count_of(count, 'damaged session')} could not be judged: {_LOOK}"
