"""The journals of a session for people: names, how many records count, and the last one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sessionstore.cli.options import units
from sessionstore.cli.output.labels import REASON_LIMIT
from sessionstore.cli.output.tables import Cell, Column, write_table
from sessionstore.errors import SessionCorrupt
from sessionstore.model.journal import JournalRecord
from sessionstore.session.journal import JournalView
from sessionstore.store.store import SessionStore
from sessionstore.text import printable


@dataclass(frozen=True, slots=True)
class JournalReport:
    """One journal, as it counts now; of a damaged one, what is before the damage."""

    name: str
    count: int
    last_number: int | None
    """Of the last record; None without one."""
    last_at: str | None
    damaged: str | None = None


def read_journals(store: SessionStore[Any], session_id: str) -> list[JournalReport]:
    """Return a report of each journal of a session, by name; damage is part of it."""
    return [_read(view) for view in store.journals(session_id)]


def _read(view: JournalView) -> JournalReport:
    count = 0
    last: JournalRecord | None = None
    damaged: str | None = None
    try:
        for record in view:
            count, last = count + 1, record
    except SessionCorrupt as error:
        damaged = error.reason
    if last is None:
        return JournalReport(view.name, count, None, None, damaged)
    return JournalReport(view.name, count, last.number, last.at, damaged)


def write_journals(found: Sequence[JournalReport], now: datetime, *, colored: bool) -> None:
    """Write a table of journals to stdout, if there are any."""
    if not found:
        return
    columns = [
        Column("JOURNAL", is_id=True),
        Column("RECORDS", is_number=True),
        Column("LAST", is_number=True),
        Column("APPENDED"),
        *([Column("REMARK", is_cut=True)] if any(one.damaged for one in found) else []),
    ]
    rows = [
        [
            printable(one.name),
            f"{one.count:,}",
            "-" if one.last_number is None else f"{one.last_number:,}",
            "-" if one.last_at is None else units.relative_time(one.last_at, now),
            Cell(f"damaged: {printable(one.damaged, limit=REASON_LIMIT)}", "magenta")
            if one.damaged is not None
            else "",
        ][: len(columns)]
        for one in found
    ]
    write_table(columns, rows, colored=colored)
