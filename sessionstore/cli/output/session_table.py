"""A listing: what ``ls`` finds, and how it is written and told.

Never all of a store at once: a table shows a page, and the machine formats are written as they
are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sessionstore.cli.options.fields import FIELDS
from sessionstore.cli.options.shared import Settings
from sessionstore.cli.output import json, streams
from sessionstore.model.query import Filters
from sessionstore.model.summary import Matches, Page, SessionSummary
from sessionstore.store.queries import StoreQueries
from sessionstore.text import count_of

_LOOK = "sessionstore ls --damaged"
_MANY_DAMAGED = 1000


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

    def page(self) -> Page:
        """Return the page to show."""
        return self.store.find(
            limit=self.limit, cursor=self.cursor, order=self.order, **self.filters
        )

    def write(self, form: str) -> None:
        """Write the listing to stdout; say on stderr what else there is to know."""
        if form == "table":
            page = self.page()
            if hidden := self._write_table(page):
                streams.note(f"too narrow for {', '.join(hidden)}: --fields chooses")
            for text in self.remarks(page):
                streams.note(text)
            return
        found: Page | Matches
        if self.limit is None:  # as it is read, however much it is
            found = self.store.iter_find(cursor=self.cursor, order=self.order, **self.filters)
        else:
            found = self.page()
        cursor = found.next_cursor if isinstance(found, Page) else None
        if form == "ids":
            json.write_ids(item.session_id for item in found)
        elif form == "jsonl":
            json.write_lines(self._items(found), json.SESSIONS)
        else:
            json.write_stream(
                json.SESSIONS,
                "sessions",
                self._items(found),
                lambda: {"next_cursor": cursor, "damaged_unjudged": found.damaged},
            )
        if cursor is not None:
            streams.note(f"there are more: --cursor {cursor}")
        _say_unjudged(found.damaged)

    def _items(self, found: Page | Matches) -> Iterator[json.Item]:
        keys = [key for name in self.fields or () for key in FIELDS[name]]
        for summary in found:
            item = json.summary_item(summary)
            yield {key: item[key] for key in keys} if keys else item

    def table(self, page: Page) -> Any:
        """Return columns and rows."""
        from sessionstore.cli.output.columns import TimeFormat, table_of

        return table_of(page.items, self.fields, TimeFormat(self.settings.now(), iso=self.iso))

    def _write_table(self, page: Page) -> list[str]:
        """Write the table; return what the terminal is too narrow for."""
        from sessionstore.cli.output.tables import write_table

        if not page.items:
            return []
        columns, rows = self.table(page)
        return write_table(columns, rows, colored=self.settings.colored)

    def remarks(self, page: Page) -> list[str]:
        """Return what a person wants to know beside the table."""
        if not page.items:
            told = ["no session matches"]
        else:
            told = [self._how_many(page.items, page.next_cursor)]
            hidden = self._hidden_damaged(page)
            if hidden:
                more = "+" if hidden > _MANY_DAMAGED else ""
                count = count_of(min(hidden, _MANY_DAMAGED), "damaged session")
                told.append(f"{count}{more} not shown: {_LOOK}")
        if page.damaged:
            told.append(_unjudged(page.damaged))
        return told

    def _how_many(self, shown: Sequence[SessionSummary], cursor: str | None) -> str:
        text = f"{count_of(len(shown), 'session')} shown" if cursor else count_of(
            len(shown), "session"
        )  # fmt: skip
        if damaged := sum(item.damaged is not None for item in shown):
            text += f", {damaged:,} damaged"
        return f"{text}; there are more: -n 0, or --cursor {cursor}" if cursor else text

    def _hidden_damaged(self, page: Page) -> int:
        """Return how many damaged sessions come on later pages: without a time they sort last."""
        if page.next_cursor is None or page.damaged or self.filters:
            return 0  # all is shown; or a filter has counted them
        damaged = self.store.find(
            damaged=True, limit=_MANY_DAMAGED + 1, cursor=page.next_cursor, order=self.order
        )
        return len(damaged)


def _unjudged(count: int) -> str:
    return f"{count_of(count, 'damaged session')} could not be judged: {_LOOK}"


def _say_unjudged(count: int) -> None:
    if count:
        streams.warn(_unjudged(count))
