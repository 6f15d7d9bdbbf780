"""``sessionstore fsck``: find damage and left-overs, and repair them without losing data."""

from __future__ import annotations

import os
from typing import Any

import click

from sessionstore.cli import streams
from sessionstore.cli.errors import Exit
from sessionstore.cli.options.shared import Settings, output_option, shared_options
from sessionstore.cli.output import json
from sessionstore.cli.output.formats import Report, emit
from sessionstore.cli.output.progress import ProgressBar
from sessionstore.storage.report import CheckReport, Finding
from sessionstore.text import count_of, printable

CHECKUP = "sessionstore.checkup/1"


@click.command(
    epilog="""\b
Examples:
  sessionstore fsck
  sessionstore fsck --repair
  sessionstore fsck -o json | jq '.findings[] | select(.is_damage)'"""
)
@click.option("--repair", is_flag=True, help="Repair; without this option nothing changes.")
@output_option("ids of sessions whose damage remains")
@shared_options()
@click.pass_obj
def fsck(settings: Settings, form: str, repair: bool) -> int:
    """Check every session and the files around them; with --repair, repair what can be repaired.

    A damaged state is replaced by its newest sound checkpoint. What is replaced, and a session
    without such a checkpoint, moves to quarantine/ with the reason beside it. A damaged marker of
    the store (sessionstore.json) is replaced if its content is certain. Nothing that could be data
    is deleted. A session that a live process holds, or may hold, is not touched.

    Exits with 5 while damage remains.
    """
    root = settings.require_root()
    import sessionstore
    from sessionstore.cli import log_handlers

    log_handlers.show(click.get_current_context())
    with ProgressBar(settings.color) as bar:
        # Not through a store: a store with a damaged marker does not open.
        report = sessionstore.check_store(root, repair=repair, progress=bar, clock=settings.clock)
    damaged = {item.session_id for item in report.left if item.is_damage and item.session_id}
    found = Report(
        schema=CHECKUP,
        lines=(json.view(item) for item in report.findings),
        fields=lambda: {
            "repair": report.repair,
            "checked": report.checked,
            "has_damage": report.has_damage,
            "findings": json.view(report.findings),
        },
        ids=sorted(damaged),
        table=lambda: _write_table(report, settings),
    )
    emit(found, form)
    _say_what_next(report)
    return Exit.DAMAGE if report.has_damage else Exit.OK


def _write_table(report: CheckReport, settings: Settings) -> None:
    from sessionstore.cli.output.labels import REASON_LIMIT
    from sessionstore.cli.output.tables import Cell, Column, write_table

    if not report.findings:
        return
    root = os.path.join(os.path.abspath(os.path.expanduser(settings.require_root())), "")

    def file(item: Finding) -> str:
        return printable(item.file.removeprefix(root), limit=REASON_LIMIT)

    def detail(item: Finding) -> str:
        # Name the checkpoint here: a narrow terminal leaves FILE out.
        place, name = os.path.split(item.file)
        which = name.removesuffix(".json") if os.path.basename(place) == "checkpoints" else ""
        text = f"{which}: {item.detail}" if which not in item.detail else item.detail
        return printable(text, limit=REASON_LIMIT)

    def verdict(item: Finding) -> Cell:
        if item.is_repaired:
            return Cell("repaired", "green")
        return Cell("damage", "bold magenta") if item.is_damage else Cell("found", "yellow")

    rows: list[list[Any]] = [
        [
            printable(item.session_id) if item.session_id else file(item),
            verdict(item),
            item.kind.replace("_", " "),
            detail(item),
            printable(item.repair, limit=REASON_LIMIT),
            file(item),
        ]
        for item in report.findings
    ]
    columns = [
        Column("ID"),
        Column("RESULT"),
        Column("KIND", drop_order=1),
        Column("DETAIL", wraps=True),
        Column("REPAIR", wraps=True),
        Column("FILE", wraps=True, drop_order=2),
    ]
    write_table(columns, rows, colored=settings.colored)


def _say_what_next(report: CheckReport) -> None:
    damage = sum(item.is_damage for item in report.left)
    repaired = len(report.findings) - len(report.left)
    counts = [f"{count_of(report.checked, 'session')} checked"]
    if repaired:
        counts.append(f"{repaired:,} repaired")
    if damage:
        counts.append(f"{damage:,} damaged")
    if others := len(report.left) - damage:
        counts.append(f"{others:,} other {'finding' if others == 1 else 'findings'}")
    if not report.left:
        counts.append("nothing is left to repair" if repaired else "nothing was found")
    say = streams.warning if damage else streams.notice
    say(", ".join(counts))
    if report.left and not report.repair:
        streams.notice("nothing was changed; to repair it, add --repair")
