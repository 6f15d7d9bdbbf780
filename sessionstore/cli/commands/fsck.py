"""``sessionstore fsck``: find damage and left-overs, and repair them without losing data."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import click

from sessionstore.cli import streams
from sessionstore.cli.errors import Exit
from sessionstore.cli.options.shared import Settings, output_option, shared_options
from sessionstore.cli.output import json
from sessionstore.cli.output.formats import Report, emit
from sessionstore.cli.output.progress import ProgressBar
from sessionstore.storage.report import CheckReport, Finding
from sessionstore.text import count_of, printable

if TYPE_CHECKING:
    from sessionstore.cli.output.tables import Cell, Row

CHECKUP = "sessionstore.checkup/1"
_LIMIT = 400


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
    """Write damage first; on a terminal the findings of a session stand below its id."""
    findings = sorted(report.findings, key=lambda item: (not item.is_damage, item.is_repaired))
    root = os.path.abspath(os.path.expanduser(settings.require_root()))
    if sys.stdout.isatty():
        for session_id, found in groupby(findings, key=lambda item: item.session_id):
            _write_group(session_id, list(found), root, settings)
    elif findings:
        _write_lines(findings, root, settings)


def _write_lines(findings: Sequence[Finding], root: str, settings: Settings) -> None:
    """Write one line for each finding, as a script reads it."""
    from sessionstore.cli.output.tables import Column, write_table

    rows: list[Row] = [
        [
            _file(item, root) if item.session_id is None else printable(item.session_id),
            _verdict(item),
            item.kind.replace("_", " "),
            printable(item.detail, limit=_LIMIT),
            printable(item.repair, limit=_LIMIT),
            _file(item, root),
        ]
        for item in findings
    ]
    headings = ("ID", "RESULT", "KIND", "DETAIL", "REPAIR", "FILE")
    write_table([Column(name) for name in headings], rows, colored=settings.colored)


def _write_group(
    session_id: str | None, findings: Sequence[Finding], root: str, settings: Settings
) -> None:
    """Write the findings of one session, or of the store: each file whole, on one line."""
    from sessionstore.cli.output.tables import Cell, write_heading, write_note

    heading = "the store" if session_id is None else printable(session_id)
    write_heading(heading, colored=settings.colored)
    inside = root if session_id is None else os.path.join(root, "sessions", session_id)
    for item in findings:
        verdict = _verdict(item)
        label = Cell(f"  {verdict.text:<{len('repaired')}}", verdict.style)
        told = "; ".join(filter(None, [item.detail, item.repair]))
        is_inside = item.file.startswith(os.path.join(inside, ""))
        file = _file(item, inside if is_inside else root)
        if item.file == inside:
            file = "its directory"
        write_note(label, file, printable(told, limit=2 * _LIMIT), colored=settings.colored)


def _file(item: Finding, root: str) -> str:
    return printable(item.file.removeprefix(os.path.join(root, "")), limit=_LIMIT)


def _verdict(item: Finding) -> Cell:
    from sessionstore.cli.output.tables import Cell

    if item.is_repaired:
        return Cell("repaired", "green")
    return Cell("damage", "bold magenta") if item.is_damage else Cell("found", "yellow")


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
