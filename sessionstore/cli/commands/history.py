"""``sessionstore history``: the checkpoints of a session as a timeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sessionstore.cli import streams
from sessionstore.cli.errors import Exit
from sessionstore.cli.options import units
from sessionstore.cli.options.session_ids import resolve_one, session_argument
from sessionstore.cli.options.shared import Settings, output_option, shared_options
from sessionstore.cli.output import json
from sessionstore.cli.output.formats import Report, emit
from sessionstore.cli.output.progress import ProgressBar
from sessionstore.model.ids import parse_checkpoint_id
from sessionstore.text import count_of, printable

if TYPE_CHECKING:
    from sessionstore.cli.output.tables import Cell, Row
    from sessionstore.operations.fork import Fork
    from sessionstore.operations.history import History, HistoryEntry

SCHEMA = "sessionstore.history/1"
_TABLE_LIMIT = 50


@click.command(
    epilog="""\b
Examples:
  sessionstore history session_20260125_17
  sessionstore history session_20260125_17 --forks
  sessionstore ls -s failed -o ids | head -1 | sessionstore history -
  sessionstore history session_20260125_17 -o jsonl | jq -r .checkpoint_id"""
)
@session_argument
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"Show the newest N checkpoints; 0 means all. Default: {_TABLE_LIMIT} in a table,"
    " otherwise all.",
)
@click.option("--forks", is_flag=True, help="Also list its forks.")
@output_option("ids of sound checkpoints")
@shared_options()
@click.pass_obj
def history(settings: Settings, session_id: str, form: str, limit: int | None, forks: bool) -> int:
    """Show the timeline of a session: its creation, its checkpoints and its current state.

    ID is a session id, or a unique prefix or suffix of one; - reads it from stdin. Exits with 5 if
    the session or a checkpoint that is shown is damaged.
    """
    if limit is None and form == "table":
        limit = _TABLE_LIMIT
    with settings.open_store() as store:
        session_id = resolve_one(store, session_id, settings.root)
        found = store.history(session_id, limit=limit or None)
        children: list[Fork] = []
        if forks:
            with ProgressBar(settings.color) as bar:
                children = store.forks(found.session_id, progress=bar)
    forked: json.Item = {"forks": json.view(children)} if forks else {}
    report = Report(
        schema=SCHEMA,
        lines=(json.view(moment) for moment in found),
        fields=lambda: {"history": json.view(found), **forked},
        ids=(
            moment.checkpoint_id
            for moment in found
            if moment.checkpoint_id is not None and moment.damaged is None
        ),
        table=lambda: _write(found, children, settings),
    )
    emit(report, form)
    if found.shows_damage:
        streams.warning("damage was found; it was left as it is")
        return Exit.DAMAGE
    return Exit.OK


def _write(found: History, children: list[Fork], settings: Settings) -> None:
    from sessionstore.cli.output.tables import Column, write_facts, write_table

    if found.forked_from is not None:
        origin = found.forked_from
        place = printable(f"{origin.parent} at {origin.checkpoint_id or '?'}", limit=400)
        write_facts([("forked from", place)], colored=settings.colored)
        streams.write("\n")
    columns = [
        Column("TIME", drop_order=5),
        Column("REVISION", is_number=True),
        Column("WHAT"),
        Column("NODE", is_cut=True, least=8, drop_order=4),
        Column("STEPS", is_number=True, drop_order=2),
        Column("SIZE", is_number=True, drop_order=1),
        Column("CHECKPOINT", drop_order=3),  # r and its revision name it, too
        Column("REMARK", is_cut=True),
    ]
    shows_journals = any(moment.journals for moment in found)
    if shows_journals:
        columns.insert(-2, Column("JOURNALS", is_cut=True, drop_order=1))
    shows_kept = any(moment.kept_steps for moment in found)
    if shows_kept:
        columns.insert(-2, Column("KEPT STEPS", is_number=True, drop_order=1))
    rows = [
        _row(moment, settings, shows_journals=shows_journals, shows_kept=shows_kept)
        for moment in found
    ]
    write_table(
        columns,
        rows,
        colored=settings.colored,
        elsewhere="-o json shows all; r12 names revision 12",
    )
    if found.older:
        streams.notice(f"{count_of(found.older, 'older checkpoint')} left out: -n 0 shows all")
    if children:
        streams.write("\n")
        now = settings.now()
        write_table(
            [
                Column("FORK", is_id=True),
                Column("FROM CHECKPOINT", drop_order=2),
                Column("FORKED", drop_order=1),
            ],
            [
                [item.session_id, _place(item.checkpoint_id), units.relative_time(item.at, now)]
                for item in children
            ],
            colored=settings.colored,
        )
        streams.notice(count_of(len(children), "fork"))


def _place(checkpoint_id: str | None) -> Cell:
    """Return the checkpoint that a fork began from; its revision names it, too."""
    from sessionstore.cli.output.tables import Cell

    name = parse_checkpoint_id(checkpoint_id) if checkpoint_id is not None else None
    short = None if name is None else f"r{name.revision}"
    return Cell(printable(checkpoint_id or "-"), short=short)


def _row(
    moment: HistoryEntry, settings: Settings, *, shows_journals: bool, shows_kept: bool
) -> Row:
    from sessionstore.cli.output.labels import REASON_LIMIT, journals_words, size_words, where
    from sessionstore.cli.output.tables import Cell

    what = moment.status or moment.checkpoint_type or moment.kind
    remarks = ["latest"] if moment.is_latest else []
    if moment.damaged is not None:
        remarks.append(f"damaged: {printable(moment.damaged, limit=REASON_LIMIT)}")
    return [
        units.relative_time(moment.at, settings.now()),
        "-" if moment.revision is None else f"{moment.revision:,}",
        Cell(
            printable(f"now {what}" if moment.kind == "present" else what, limit=40),
            "bold" if moment.checkpoint_id is None else "",
        ),
        where(moment.node),
        "-" if moment.steps is None else f"{moment.steps:,}",
        "-" if moment.size is None else size_words(moment.size),
        *([journals_words(moment.journals) or "-"] if shows_journals else []),
        *(["-" if moment.kept_steps is None else f"{moment.kept_steps:,}"] if shows_kept else []),
        printable(moment.checkpoint_id or "-"),
        Cell("; ".join(remarks), "magenta" if moment.damaged is not None else "green"),
    ]
