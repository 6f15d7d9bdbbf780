"""``sessionstore fork``: begin a new session from a kept state of another one."""

from __future__ import annotations

import click

from sessionstore.cli import streams
from sessionstore.cli.completion.ids import CHECKPOINT_ID
from sessionstore.cli.errors import Exit
from sessionstore.cli.options.session_ids import resolve_one, session_argument
from sessionstore.cli.options.shared import Settings, shared_options
from sessionstore.cli.output import json
from sessionstore.cli.output.emit import Report, emit
from sessionstore.text import printable

SCHEMA = "sessionstore.fork/1"


@click.command(
    epilog="""\b
Examples:
  sessionstore fork session_20260125_17
  sessionstore fork session_20260125_17 --at r12 --as what-if
  sessionstore fork session_20260125_17 | sessionstore show -""",
)
@session_argument
@click.option(
    "--at",
    "checkpoint_id",
    metavar="CHECKPOINT",
    type=CHECKPOINT_ID,
    help="The state to begin with: a checkpoint, a beginning of its id, or its revision (r12). "
    "By default the latest checkpoint.",
)
@click.option("--as", "new_id", metavar="NEW", help="The id of the fork; by default one is made.")
@click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["table", "json", "jsonl", "ids"]),
    default="ids",
    show_default=True,
    help="ids is the new id alone, json one object, jsonl one on a line.",
)
@shared_options()
@click.pass_obj
def fork(
    settings: Settings, session_id: str, checkpoint_id: str | None, new_id: str | None, form: str
) -> int:
    """Begin a new session from a checkpoint of another one; print its id.

    The fork is paused, and can be resumed. Its parent is not changed, and may be running. The
    application's files in the parent's directory are not copied. ID is a session id, a beginning
    of it that no other has, or - for the one on stdin.
    """
    from sessionstore.operations.fork import to_fork

    with settings.open_store() as store:
        parent = resolve_one(store, session_id, settings.root)
        made = store.fork(parent, checkpoint_id, new_id=new_id)
        state = store.load(made)
    fields: json.Item = {
        "session_id": made,
        "forked_from": json.plain(state.forked_from),
        "latest_checkpoint_id": state.latest_checkpoint_id,
    }
    origin = to_fork(made, state.forked_from)
    at = printable((origin.checkpoint_id if origin else None) or "?")
    report = Report(
        schema=SCHEMA,
        lines=[fields],
        fields=lambda: fields,
        ids=[made],
        table=lambda: streams.write(f"{made}  forked from {parent} at {at}\n"),
    )
    emit(report, form)
    streams.notice(
        f"forked from {parent}; it is paused, and files of the application were not copied"
    )
    return Exit.OK
