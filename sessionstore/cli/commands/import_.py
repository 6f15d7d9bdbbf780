"""``sessionstore import``: take in what an export wrote."""

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
from sessionstore.cli.output.emit import Report, emit
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
@click.option("--as", "new_id", metavar="ID", help="The id that the one session in it gets.")
@click.option(
    "--max-size",
    metavar="SIZE",
    type=SIZE,
    help="Refuse an archive that holds more, unpacked: 500M, 10G.  [default: 16G]",
)
@click.option("--create", is_flag=True, help="Make the store if there is none.")
@output_option("those of the imported sessions")
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
    """Take in the sessions of FILE: an archive or a directory that export wrote, or - for stdin.

    All of it is compared with its checksums before the first session can be seen. None that is
    there already is touched. A session that was active arrives failed, as interrupted.

    Exits with 6 if one exists already or was refused: the others are there; 1 if there are no
    others; 5 if a checkpoint
    is damaged or missing, which was taken in as it is.
    """
    given: str | BinaryIO = source
    if source == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise click.UsageError("- reads an archive from stdin: pass FILE, or a pipe")
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
