"""``sessionstore stats``: how many sessions there are of each kind, and their sizes."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import click

from sessionstore.cli import streams
from sessionstore.cli.errors import Exit
from sessionstore.cli.options.shared import Settings, output_option, shared_options
from sessionstore.cli.output import json
from sessionstore.cli.output.formats import Report, emit
from sessionstore.cli.output.progress import ProgressBar
from sessionstore.model.status import SessionStatus
from sessionstore.text import count_of, printable

if TYPE_CHECKING:
    from sessionstore.cli.output.tables import Cell, Row
    from sessionstore.operations.stats import StoreStats

STATS = "sessionstore.stats/1"


@click.command(
    epilog="""\b
Examples:
  sessionstore stats
  sessionstore stats --no-sizes -o json | jq .by_status
  sessionstore stats -o json | jq -r '.largest[].session_id'"""
)
@click.option("--no-sizes", is_flag=True, help="Only count, which is fast in a store of any size.")
@output_option()
@shared_options()
@click.pass_obj
def stats(settings: Settings, form: str, no_sizes: bool) -> int:
    """Count sessions by status, and those that are stale, resumable or damaged; measure sizes.

    The counts come first, from the index. Then each session is measured. Notices at the end report
    what the index cannot know: checkpoints that do not load, files that other programs damaged.

    Days are in UTC and count existing sessions: a session that was deleted since is not counted.
    """

    def show(counts: StoreStats) -> None:
        _write_counts(counts, settings)
        sys.stdout.flush()  # measuring may take minutes

    counted = show if form == "table" else None
    with settings.open_operations() as store, ProgressBar(settings.color, "counting") as bar:
        found = store.stats(sizes=not no_sizes, progress=bar, counted=counted)
    report = Report(
        schema=STATS,
        lines=map(json.view, [found]),
        fields=partial(json.view, found),
        table=lambda: _write_sizes(found, settings, sizes=not no_sizes),
    )
    emit(report, form)
    if found.damaged:
        streams.notice(f"{count_of(found.damaged, 'damaged session')}: sessionstore ls --damaged")
    if found.stale:
        streams.notice(f"{count_of(found.stale, 'stale session')}: sessionstore recover")
    if found.unresumable:
        lost = count_of(found.unresumable, "session")
        streams.notice(f"{lost} with a checkpoint that does not load: sessionstore fsck")
    if found.unmeasured:
        streams.notice(f"{count_of(found.unmeasured, 'session')} could not be measured")
    return Exit.OK


def _write_counts(found: StoreStats, settings: Settings) -> None:
    from sessionstore.cli.options import units
    from sessionstore.cli.output import labels
    from sessionstore.cli.output.tables import Cell, Column, write_table

    now, colored = settings.now(), settings.colored
    rows: list[Row] = [
        [labels.status_cell(SessionStatus(name), None, is_interrupted=False), f"{number:,}"]
        for name, number in found.by_status.items()
    ]
    rows += [
        [_flagged("stale", found.stale, "bold red"), f"{found.stale:,}"],
        [_flagged("unknown owner", found.unknown, "yellow"), f"{found.unknown:,}"],
        ["interrupted", f"{found.interrupted:,}"],
        ["resumable", f"{found.resumable:,}"],
        [_flagged("damaged", found.damaged, "bold magenta"), f"{found.damaged:,}"],
        [Cell("all", "bold"), f"{found.sessions:,}"],
    ]
    write_table([Column("SESSIONS"), Column("COUNT", is_number=True)], rows, colored=colored)
    if found.oldest_unfinished:
        streams.write("\n")
        rows = [
            [
                item.session_id,
                Cell("active, stale", "bold red", short="stale")
                if item.is_stale
                else labels.status_cell(item.status, None, is_interrupted=False),
                units.relative_time(printable(item.started_at, limit=60), now),
                units.relative_time(printable(item.updated_at, limit=60), now),
            ]
            for item in found.oldest_unfinished
        ]
        columns = [
            Column("OLDEST UNFINISHED", is_id=True),
            Column("STATUS", is_cut=True, least=9),
            Column("STARTED", drop_order=1),
            Column("UPDATED", drop_order=2),
        ]
        write_table(columns, rows, colored=colored)


def _write_sizes(found: StoreStats, settings: Settings, *, sizes: bool) -> None:
    from sessionstore.cli.output import labels
    from sessionstore.cli.output.tables import Cell, Column, write_table

    colored = settings.colored
    rows: list[Row]
    if sizes:
        streams.write("\n")
        rows = [
            ["checkpoints", f"{found.checkpoints:,}", labels.size_words(found.checkpoint_bytes)],
            ["journals", f"{found.journals:,}", labels.size_words(found.journal_bytes)],
            ["application's files", "-", labels.size_words(found.application_bytes)],
            [Cell("all", "bold"), "-", labels.size_words(found.bytes)],
        ]
        columns = [
            Column("ON DISK"), Column("COUNT", is_number=True), Column("SIZE", is_number=True),
        ]  # fmt: skip
        write_table(columns, rows, colored=colored)
    streams.write("\n")
    rows = [
        [day.day.isoformat(), f"{day.started:,}", labels.size_words(day.bytes) if sizes else "-"]
        for day in found.days
    ]
    columns = [
        Column("DAY (UTC)"), Column("STARTED", is_number=True), Column("SIZE NOW", is_number=True),
    ]  # fmt: skip
    write_table(columns, rows, colored=colored)
    if found.flushes:
        streams.write("\n")
        rows = [["durable after", found.flushes]]
        write_table([Column("SAVES"), Column("FLUSHES", wraps=True)], rows, colored=colored)
    if found.largest:
        streams.write("\n")
        rows = [
            [
                item.session_id,
                labels.status_cell(item.status, None, is_interrupted=False),
                labels.size_words(item.bytes),
                f"{item.checkpoints:,}",
            ]
            for item in found.largest
        ]
        columns = [
            Column("LARGEST", is_id=True),
            Column("STATUS", is_cut=True, least=9),
            Column("SIZE", is_number=True, drop_order=2),
            Column("CHECKPOINTS", is_number=True, drop_order=1),
        ]
        write_table(columns, rows, colored=colored)


def _flagged(label: str, number: int, style: str) -> Cell:
    from sessionstore.cli.output.tables import Cell

    return Cell(label, style if number else "")
