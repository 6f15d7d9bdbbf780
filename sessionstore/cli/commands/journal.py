"""``sessionstore journal``: the records of a journal, one a line, and those that are appended."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from sessionstore.cli import streams
from sessionstore.cli.completion.ids import JOURNAL_NAME
from sessionstore.cli.errors import Exit
from sessionstore.cli.options import units
from sessionstore.cli.options.session_ids import resolve_one, session_argument
from sessionstore.cli.options.shared import Settings, output_option, shared_options
from sessionstore.cli.output import json
from sessionstore.cli.output.formats import Report, emit, flushed
from sessionstore.model.journal import JournalRecord
from sessionstore.text import count_of, printable

if TYPE_CHECKING:
    from sessionstore.session.journal import JournalView
    from sessionstore.storage.backend import Backend
    from sessionstore.store.store import SessionStore

SCHEMA = "sessionstore.journal/1"
LINE = "sessionstore.journal.line/1"
LIST = "sessionstore.journals/1"
_DEFAULT = "main"
_TABLE_LINES = 10
_KEY_LIMIT = 60
_VALUE_LIMIT = 400


@click.command(
    epilog="""\b
Examples:
  sessionstore journal session_20260125_17
  sessionstore journal session_20260125_17 messages -n 3 -f
  sessionstore journal session_20260125_17 messages --after 120 -o jsonl | jq .value"""
)
@session_argument
@click.argument("name", required=False, metavar="[NAME]", type=JOURNAL_NAME)
@click.option(
    "-f",
    "--follow",
    is_flag=True,
    help="Follow later records, until the session is completed, cancelled or deleted, or Ctrl-C.",
)
@click.option(
    "-n",
    "--lines",
    "count",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"Show the last N records. Default: {_TABLE_LINES} in a table, otherwise all; all with"
    " --after.",
)
@click.option(
    "--after",
    type=click.IntRange(min=0),
    metavar="NUMBER",
    help="Only the records behind this one.",
)
@click.option(
    "--everything",
    is_flag=True,
    help="Also the records that no longer count: a resume went back before them, or the journal was"
    " rewritten.",
)
@output_option()
@shared_options()
@click.pass_obj
def journal(
    settings: Settings,
    session_id: str,
    name: str | None,
    follow: bool,
    count: int | None,
    after: int | None,
    everything: bool,
    form: str,
) -> int:
    """Show the records of a journal: their numbers, times, keys and values.

    Without NAME, show the journal main if it is the only one, or else list the journals. With -f,
    -o json writes an object a line, as jsonl does. ID is a session id, or a unique prefix or suffix
    of one; - reads it from stdin.

    Exits with 3 if there is no such journal, and with 5 if it is damaged.
    """
    if follow and everything:
        raise click.UsageError("--everything and --follow cannot be combined")
    from sessionstore.store.store import SessionStore

    backend = settings.open_backend()
    with SessionStore(backend, clock=settings.clock) as store:
        chosen = resolve_one(store, session_id, settings.root)
        names = [one.name for one in store.journals(chosen)]
        if name is None and names != [_DEFAULT] and (names or not follow):
            if follow or everything or count is not None or after is not None:
                raise click.UsageError(f"name a journal of {chosen}: {_listed(names)}")
            return _list(store, chosen, settings, form)
        view = store.journal(chosen, _DEFAULT if name is None else name)
        if view.name not in names:
            if not follow:
                streams.error(f"{chosen} has no journal {view.name}; it has: {_listed(names)}")
                return Exit.NOT_FOUND
            streams.notice(f"{chosen} has no journal {view.name} yet: waiting for it")
        if count is None and after is None and form == "table":
            count = _TABLE_LINES
        records = _read(view, count, after or 0, everything=everything)
        if follow:
            records = _followed(backend, view, count, after or 0)
        counting = {record.number for record in view} if everything else None
        _emit(flushed(records), view, counting, settings, form, follow=follow)
        if follow and not store.exists(chosen):
            streams.notice(f"{chosen} was deleted")
    return Exit.OK


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _read(
    view: JournalView, count: int | None, after: int, *, everything: bool
) -> Iterable[JournalRecord]:
    """Return the last ``count`` records behind the number ``after``, or all of them."""
    records: Iterable[JournalRecord] = view  # one at a time
    if after or everything:
        records = view.read(after, everything=everything)
    return records if count is None else deque(records, maxlen=count)


def _followed(
    backend: Backend, view: JournalView, count: int | None, after: int
) -> Iterator[JournalRecord]:
    from sessionstore.operations.follow import follow_journal

    if count is not None:
        last = _read(view, max(count, 1), after, everything=False)
        for record in last:
            after = record.number
            if count:
                yield record
    yield from follow_journal(backend, view.session_id, view.name, after)


def _emit(
    records: Iterable[JournalRecord],
    view: JournalView,
    counting: set[int] | None,
    settings: Settings,
    form: str,
    *,
    follow: bool,
) -> None:
    """Write records; ``counting`` are the numbers of those that count, if others are among them."""
    of: json.Item = {"session_id": view.session_id, "journal": view.name}
    is_listed = form == "json" and not follow
    report = Report(
        schema=LINE if follow else SCHEMA,
        lines=({**({} if is_listed else of), **_item(one, counting)} for one in records),
        fields=None if follow else lambda: of,
        listed="records",
        table=lambda: _write(records, counting, settings),
    )
    emit(report, form)


def _item(record: JournalRecord, counting: set[int] | None) -> json.Item:
    item: json.Item = {name: getattr(record, name) for name in ("number", "at", "key", "value")}
    if counting is not None:
        item["counts"] = record.number in counting
    return item


def _write(records: Iterable[JournalRecord], counting: set[int] | None, settings: Settings) -> None:
    from json import dumps  # not ours, which escapes the letters of other languages

    from sessionstore.cli.output.tables import Cell, write_row

    for record in records:
        row: list[Cell | str] = [
            Cell(f"{record.number:>6}", "bold"),
            units.absolute_time(record.at, settings.now()).split(" (")[0],
        ]
        if counting is not None and record.number not in counting:
            row.append(Cell("left behind", "yellow"))
        value = printable(dumps(record.value, ensure_ascii=False), limit=_VALUE_LIMIT)
        key = "" if record.key is None else f"{printable(record.key, limit=_KEY_LIMIT)}  "
        row.append(key + value)  # one cell: only the last one wraps
        write_row(row, colored=settings.colored)


def _list(store: SessionStore[Any], session_id: str, settings: Settings, form: str) -> int:
    from sessionstore.cli.output.journals import read_journals, write_journals

    found = read_journals(store, session_id)
    items = json.view(found)
    report = Report(
        schema=LIST,
        lines=({"session_id": session_id, **item} for item in items),
        fields=lambda: {"session_id": session_id, "journals": items},
        table=lambda: write_journals(found, settings.now(), colored=settings.colored),
    )
    emit(report, form)
    streams.notice(count_of(len(found), "journal"))
    return Exit.DAMAGE if any(one.damaged is not None for one in found) else Exit.OK
