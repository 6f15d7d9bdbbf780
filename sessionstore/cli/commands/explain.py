"""``sessionstore explain``: what became of a session, in plain words, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sessionstore.cli.errors import Exit
from sessionstore.cli.options.session_ids import resolve_all
from sessionstore.cli.options.shared import Settings, output_option, shared_options
from sessionstore.cli.output import json, streams

if TYPE_CHECKING:
    from sessionstore.operations.explanation import Explanation

SCHEMA = "sessionstore.explanation/1"

_STYLES = {
    "running": "green",
    "stale": "bold red",
    "unknown": "yellow",
    "interrupted": "yellow",
    "failed": "red",
    "damaged": "bold magenta",
}


@click.command(
    epilog="""\b
Examples:
  sessionstore explain session_20260125_17
  sessionstore ls --resumable -o ids | head -1 | sessionstore explain -
  sessionstore explain session_20260125_17 -o json | jq '.explanations[0].next[].command'""",
)
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@output_option("their full ids")
@shared_options()
@click.pass_obj
def explain(settings: Settings, ids: tuple[str, ...], form: str) -> int:
    """Say who held a session, how it ended and how that is known, and what to do next.

    Tells the last good step, which checkpoint a resume would use, what that would not bring back,
    and what to type or call. ID is a session id, a beginning of it that no other has, or - for
    ids on stdin. Exits with 5 if a session, or the checkpoint that it needs, is damaged.
    """
    told: list[Explanation] = []
    is_first, is_damaged = True, False
    with settings.open_store() as store:
        for session_id in resolve_all(store, ids, settings.root):
            item = store.explain(session_id)
            is_damaged |= item.shows_damage
            if form == "json":
                told.append(item)
            elif form == "jsonl":
                json.write_lines([json.plain(item)], SCHEMA)
            elif form == "ids":
                json.write_ids([item.session_id])
            else:
                _write(item, colored=settings.colored, is_first=is_first)
            is_first = False
    if form == "json":
        json.write_object(SCHEMA, {"explanations": json.plain(told)})
    return Exit.DAMAGE if is_damaged else Exit.OK


def _write(item: Explanation, *, colored: bool, is_first: bool) -> None:
    from sessionstore.cli.output.tables import Cell, write_facts

    if not is_first:
        streams.write("\n")
    (_, summary), *facts = item.facts()
    style = _STYLES.get(item.situation, "")
    write_facts([("session", Cell(summary, style)), *facts], colored=colored)
