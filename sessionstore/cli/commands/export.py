"""``sessionstore export``: write sessions to an archive or a directory."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, BinaryIO

import click

from sessionstore.cli import streams
from sessionstore.cli.completion.ids import FILE, SESSION_ID
from sessionstore.cli.errors import Exit
from sessionstore.cli.options.filters import filter_options
from sessionstore.cli.options.session_ids import resolve_all
from sessionstore.cli.options.shared import Settings, output_option, shared_options
from sessionstore.cli.output import json
from sessionstore.cli.output.formats import Report, emit
from sessionstore.cli.output.json import items_of
from sessionstore.cli.output.progress import ProgressBar
from sessionstore.text import count_of, printable

if TYPE_CHECKING:
    from sessionstore.model.query import Filters
    from sessionstore.operations.transfer.export import ExportReport
    from sessionstore.operations.transfer.report import TransferredSession

EXPORTED = "sessionstore.exported/1"

_OUTCOMES = ("exported", "missing", "damaged", "failed")
_DAMAGE_SHOWN = 5


@click.command(
    epilog="""\b
Examples:
  sessionstore export session_20260125_17 -O one.tar.gz
  sessionstore export --all -O backup.tar.gz
  sessionstore ls -s failed -o ids | sessionstore export - -O failed.tar.gz
  sessionstore export --all -O - | sessionstore --root ./other import -"""
)
@click.argument("ids", nargs=-1, metavar="[ID]...", type=SESSION_ID)
@click.option(
    "-O",
    "--to",
    "target",
    required=True,
    metavar="FILE",
    type=FILE,
    help="The target, which must not exist: an archive if it ends in .tar.gz, .tgz or .tar, a"
    " directory otherwise; - is stdout. Other kinds of archives, such as .zip, are refused.",
)
@click.option("--all", "everything", is_flag=True, help="Export all sessions.")
@filter_options("status", "goal_id", "agent_id", "labels", "since", "until")
@output_option("ids of exported sessions")
@shared_options()
@click.pass_obj
def export(
    settings: Settings,
    form: str,
    ids: tuple[str, ...],
    target: str,
    everything: bool,
    filters: Filters,
) -> int:
    """Write sessions, with their checkpoints and the application's files, to FILE.

    ID is a session id, or a unique prefix or suffix of one; - reads ids from stdin. A live session
    is exported as it was at one moment. Links among the application's files are left out.

    Exits with 5 if a session or a checkpoint is damaged (a damaged checkpoint is written as it is),
    6 if a session or a file was left out. The others are exported in every case.
    """
    if sum(map(bool, (ids, everything, filters))) != 1:
        raise click.UsageError("choose the sessions: name them, pass filters, or pass --all")
    if target == "-" and form != "table":
        raise click.UsageError("-O - writes the archive to stdout and cannot be combined with -o")
    if target == "-" and sys.stdout.isatty():
        raise click.UsageError(
            "an archive is not written to a terminal: pass -O FILE, or use a pipe"
        )
    place: str | BinaryIO = sys.stdout.buffer if target == "-" else target
    with settings.open_store() as store:
        chosen = list(resolve_all(store, ids, settings.root)) if ids else None
        with ProgressBar(settings.color, "exporting") as bar:
            report = store.export_sessions(place, chosen, progress=bar, **filters)
    found = Report(
        schema=EXPORTED,
        lines=json.outcome_lines(report, _OUTCOMES),
        fields=lambda: json.outcome_fields(report, _OUTCOMES),
        ids=(item.session_id for item in report.exported),
    )
    emit(found, form)
    _say_what_happened(report, target)
    if report.missing or report.failed or any(item.omitted for item in report.exported):
        return Exit.PARTLY if report.exported else Exit.ERROR
    return Exit.DAMAGE if report.damaged or report.carries_damage else Exit.OK


def _say_what_happened(report: ExportReport, target: str) -> None:
    for outcome in _OUTCOMES[1:]:
        for item in items_of(report, outcome):
            streams.warning(f"{printable(item.session_id)} is {outcome}: {item.reason}")
    for item in report.exported:
        for omitted in item.omitted:
            streams.warning(
                f"{printable(item.session_id)}: left out: {printable(omitted, limit=400)}"
            )
        say_damage(item)
    where = "" if target == "-" else f" to {target}"
    streams.notice(f"{count_of(len(report.exported), 'session')} exported{where}")


def say_damage(item: TransferredSession) -> None:
    """Report on stderr what was transferred although it is damaged."""
    for damage in item.damage[:_DAMAGE_SHOWN]:
        text = printable(damage, limit=600)
        streams.warning(f"{printable(item.session_id)}: damaged, transferred as it is: {text}")
    if len(item.damage) > _DAMAGE_SHOWN:
        more = len(item.damage) - _DAMAGE_SHOWN
        streams.warning(f"{printable(item.session_id)}: and {more:,} more that are damaged")
