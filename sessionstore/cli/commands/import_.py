"""``sessionstore import``: read sessions that an export wrote."""

from __future__ import annotations

import sys
from typing import BinaryIO

import click

from sessionstore.cli import streams
from sessionstore.cli.commands.export import say_damage
from sessionstore.cli.completion.ids import FILE
from sessionstore.cli.errors import Exit
from sessionstore.cli.log_handlers import EventCounter
from sessionstore.cli.options.shared import Settings, output_option, shared_options
from sessionstore.cli.options.units import SIZE
from sessionstore.cli.output import json
from sessionstore.cli.output.formats import Report, emit
from sessionstore.cli.output.progress import ProgressBar
from sessionstore.text import count_of, printable

IMPORTED = "sessionstore.imported/1"

_OUTCOMES = ("imported", "existing", "failed")


@click.command(
    "import",
    epilog="""\b
Examples:
  sessionstore import backup.tar.gz
  sessionstore import one.tar.gz --as session_copy
  sessionstore export --all -O - | sessionstore --root ./other import - --create""",
)
@click.argument("source", metavar="FILE", type=FILE)
@click.option("--as", "new_id", metavar="ID", help="A new id for the session, if FILE holds one.")
@click.option(
    "--max-size",
    metavar="SIZE",
    type=SIZE,
    help="Refuse an archive that unpacks to more than SIZE: 500M, 10G.  [default: 16G]",
)
@click.option("--create", is_flag=True, help="Create the store if it does not exist.")
@output_option("ids of imported sessions")
@shared_options()
@click.pass_obj
def import_(
    settings: Settings,
    form: str,
    source: str,
    new_id: str | None,
    max_size: int | None,
    create: bool,
) -> int:
    """Import the sessions of FILE: an archive or a directory that export wrote, or - for stdin.

    All checksums are verified before the first session becomes visible. Existing sessions are not
    touched. A session that was active becomes failed and interrupted.

    Exits with 6 if a session exists already or was refused while others were imported, 1 if none
    was imported, 5 if a checkpoint is damaged or missing (it is imported as it is).
    """
    given: str | BinaryIO = source
    if source == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise click.UsageError("- reads an archive from stdin: pass FILE, or use a pipe")
        given = sys.stdin.buffer
    with settings.open_store(create=create) as store, EventCounter("session_imported") as tally:
        try:
            with ProgressBar(settings.color, "importing") as bar:
                report = store.import_sessions(
                    given, session_id=new_id, max_bytes=max_size, progress=bar
                )
        except KeyboardInterrupt:
            tally.say_how_far("imported", form)
            raise
    found = Report(
        schema=IMPORTED,
        lines=json.outcome_lines(report, _OUTCOMES),
        fields=lambda: json.outcome_fields(report, _OUTCOMES),
        ids=(item.session_id for item in report.imported),
    )
    emit(found, form)
    for item in (*report.existing, *report.failed):
        streams.warning(f"{printable(item.session_id)} was not imported: {item.reason}")
    for item in report.imported:
        say_damage(item)
    streams.notice(f"{count_of(len(report.imported), 'session')} imported")
    if not report.is_whole:
        return Exit.PARTLY if report.imported else Exit.ERROR
    return Exit.DAMAGE if report.carries_damage else Exit.OK
