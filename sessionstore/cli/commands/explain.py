"""``sessionstore explain``: what happened to a session, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from sessionstore.cli import streams
from sessionstore.cli.errors import Exit
from sessionstore.cli.options.session_ids import resolve_all, sessions_argument
from sessionstore.cli.options.shared import Settings, output_option, shared_options
from sessionstore.cli.output import json
from sessionstore.cli.output.formats import Report, emit

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
  sessionstore ls --resumable --unfinished -o ids | head -1 | sessionstore explain -
  sessionstore explain session_20260125_17 -o json | jq '.explanations[0].next[].command'"""
)
@sessions_argument
@output_option("full session ids")
@shared_options()
@click.pass_obj
def explain(settings: Settings, ids: tuple[str, ...], form: str) -> int:
    """Explain who held a session, how it ended and how that is known, and what to do next.

    Names the last good step, the state that a resume goes on from, what a resume would lose, and
    what to type or call. ID is a session id, or a unique prefix or suffix of one; - reads ids from
    stdin. Exits with 5 if a session, or the checkpoint that it needs, is damaged.
    """
    is_damaged = False

    def explain_each() -> Iterator[Explanation]:
        nonlocal is_damaged
        for session_id in resolve_all(store, ids, settings.root):
            item = store.explain(session_id)
            is_damaged |= item.shows_damage
            yield item

    with settings.open_store() as store:
        told = explain_each()
        report = Report(
            schema=SCHEMA,
            lines=(json.view(item) for item in told),
            fields=lambda: {"explanations": [json.view(item) for item in told]},
            ids=(item.session_id for item in told),
            table=lambda: _write(told, colored=settings.colored),
        )
        emit(report, form)
    return Exit.DAMAGE if is_damaged else Exit.OK


def _write(told: Iterable[Explanation], *, colored: bool) -> None:
    from sessionstore.cli.output.tables import Cell, write_facts

    for number, item in enumerate(told):
        if number:
            streams.write("\n")
        (_, summary), *facts = item.facts()
        style = _STYLES.get(item.situation, "")
        write_facts([("session", Cell(summary, style)), *facts], colored=colored)
