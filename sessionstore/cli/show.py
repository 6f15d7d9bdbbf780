"""``sessionstore show``: all that is known of one session, and whether its owner lives."""

from __future__ import annotations

import click

from sessionstore.cli import formats, streams
from sessionstore.cli.exits import Exit
from sessionstore.cli.resolve import resolve
from sessionstore.cli.settings import Settings, output_option, shared_options
from sessionstore.cli.sight import look_at


@click.command(
    epilog="""\b
Examples:
  sessionstore show session_20260125_170903_00000001
  sessionstore show session_20260125_17
  sessionstore show session_20260125_17 -o json | jq .session.state.data_buffer""",
)
@click.argument("session_id", metavar="ID")
@output_option("its full id")
@shared_options()
@click.pass_obj
def show(settings: Settings, session_id: str, form: str) -> int:
    """Show one session: status, owner, progress, result, checkpoints and sizes.

    ID is a session id, or a beginning of it that no other has. Exits with 5 if the session or
    one of its checkpoints is damaged.
    """
    with settings.open_store() as store:
        sight = look_at(store, resolve(store, session_id, settings.root))
    if form == "ids":
        formats.write_ids([sight.session_id])
    elif form == "jsonl":
        formats.write_lines([sight.item()])
    elif form == "json":
        formats.write_object(formats.SESSION, {"session": sight.item()})
    else:
        from sessionstore.cli.portrait import write_portrait

        write_portrait(sight, settings.now(), colored=settings.colored)
    if sight.shows_damage:
        streams.note("damage was found; it was left as it is")
        return Exit.DAMAGE
    return Exit.OK
