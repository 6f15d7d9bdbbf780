"""``sessionstore doctor``: test whether a directory is fit for a store."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from sessionstore.cli import streams
from sessionstore.cli.errors import Exit
from sessionstore.cli.options.shared import Settings, output_option, shared_options
from sessionstore.cli.output import json
from sessionstore.cli.output.formats import Report, emit
from sessionstore.text import count_of, printable

if TYPE_CHECKING:
    from sessionstore.storage.report import Diagnosis

DIAGNOSES = "sessionstore.diagnoses/1"
_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}
_LIMIT = 1000


@click.command(
    epilog="""\b
Examples:
  sessionstore doctor
  sessionstore doctor --root /srv/agents/state
  sessionstore doctor -o json | jq '.diagnoses[] | select(.fitness != "ok")'"""
)
@output_option()
@shared_options()
@click.pass_obj
def doctor(settings: Settings, form: str) -> int:
    """Test whether a directory is fit for a store, and say what to do if it is not.

    The directory need not be a store yet. Flushes, exchanges, links and locks are tried in a
    temporary directory there, the locks between two processes. Sessions are not touched.

    Exits with 1 if a test failed; a warning is not a failure.
    """
    import sessionstore

    found = sessionstore.diagnose(settings.require_root())
    report = Report(
        schema=DIAGNOSES,
        lines=map(json.view, found),
        fields=lambda: {"diagnoses": json.view(found)},
        table=lambda: _write(found, settings),
    )
    emit(report, form)
    failed = sum(item.fitness == "fail" for item in found)
    warned = sum(item.fitness == "warn" for item in found)
    counts = [f"{failed:,} failed"] if failed else []
    counts += [count_of(warned, "warning")] if warned else []
    if counts:
        streams.warning(", ".join(counts))
    else:
        streams.notice("fit for a store")
    return Exit.ERROR if failed else Exit.OK


def _write(found: Sequence[Diagnosis], settings: Settings) -> None:
    from sessionstore.cli.output.tables import Cell, Column, Row, write_table

    columns = [Column("TRIED"), Column("RESULT"), Column("DETAIL", wraps=True)]
    is_terminal = sys.stdout.isatty()
    if not is_terminal:
        columns.append(Column("WHAT TO DO"))
    rows: list[Row] = []
    for item in found:
        result = Cell(str(item.fitness), _STYLES[item.fitness])
        detail, advice = (printable(text, limit=_LIMIT) for text in (item.detail, item.advice))
        if is_terminal:
            rows.append([item.check, result, detail])
            if item.advice:
                rows.append(["", "", f"what to do: {advice}"])
        else:
            rows.append([item.check, result, detail, advice or "-"])
    write_table(columns, rows, colored=settings.colored)
