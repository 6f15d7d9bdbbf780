"""``sessionstore ls``: which sessions there are, the damaged ones included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import click

from sessionstore.cli import formats, streams, times
from sessionstore.cli.exits import Exit
from sessionstore.cli.settings import Settings, output_option, read_moment, shared_options
from sessionstore.query import ORDERS, Filters, SessionSummary
from sessionstore.state import SessionStatus
from sessionstore.store import SessionStore
from sessionstore.text import count_of

_TABLE_LIMIT = 50
_LOOK = "sessionstore ls --damaged"


@click.command(
    "ls",
    epilog="""\b
Examples:
  sessionstore ls --status failed --interrupted --since 2h
  sessionstore ls --resumable -o ids | xargs -n 1 ./resume.sh
  sessionstore ls -o jsonl | jq -r 'select(.is_stale) | .session_id'""",
)
@click.option("--resumable", is_flag=True, help="Only those with a checkpoint that loads.")
@click.option("--stale", is_flag=True, help="Only active ones whose process is dead.")
@click.option("--interrupted", is_flag=True, help="Only those that a recovery sweep marked.")
@click.option("--damaged", is_flag=True, help="Only those whose state cannot be read.")
@click.option(
    "-s",
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice([str(status) for status in SessionStatus]),
    help="Only those with this status; repeat it for more.",
)
@click.option("--goal", metavar="ID", help="Only those with this goal id.")
@click.option("--agent", metavar="ID", help="Only those of this agent id.")
@click.option(
    "--since",
    metavar="TIME",
    callback=read_moment,
    help="Only those updated since: ISO 8601, or 2h, 3d.",
)
@click.option(
    "--until",
    metavar="TIME",
    callback=read_moment,
    help="Only those updated before: ISO 8601, or 2h, 3d.",
)
@click.option(
    "--sort",
    type=click.Choice([sign + order for order in ORDERS for sign in ("-", "")]),
    default="-updated_at",
    show_default=True,
    metavar="KEY",
    help=f"{', '.join(ORDERS)}; with - in front, descending.",
)
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"At most so many; 0 is all. Default: {_TABLE_LIMIT} in a table, else all.",
)
@output_option("their ids")
@shared_options()
@click.pass_obj
def ls(settings: Settings, /, form: str, sort: str, limit: int | None, **given: Any) -> int:
    """List sessions, the last updated first. One that is damaged is listed with the reason.

    A filter cannot judge damaged sessions: they are left out then, and counted on stderr.
    """
    filters = _filters(given)
    if limit is None and form == "table":
        limit = _TABLE_LIMIT
    with settings.open_store() as store:
        if form in ("jsonl", "ids"):
            _stream(store, filters, sort, limit or None, form)
            return Exit.OK
        page = store.find(limit=None, order=sort, **filters)
        shown = page.items[: limit or None]
        if form == "json":
            formats.write_object(
                formats.SESSIONS,
                {
                    "total": len(page.items),
                    "damaged_unjudged": page.damaged,
                    "sessions": [formats.summary_item(item) for item in shown],
                },
            )
        else:
            _write_table(shown, settings)
            _say_how_many(shown, page.items)
        _say_unjudged(page.damaged)
    return Exit.OK


def _filters(given: dict[str, Any]) -> Filters:
    filters: Filters = {}
    if given["statuses"]:
        filters["status"] = given["statuses"]
    if given["goal"] is not None:
        filters["goal_id"] = given["goal"]
    if given["agent"] is not None:
        filters["agent_id"] = given["agent"]
    if given["resumable"]:
        filters["resumable"] = True
    if given["stale"]:
        filters["stale"] = True
    if given["interrupted"]:
        filters["interrupted"] = True
    if given["since"] is not None:
        filters["since"] = given["since"]
    if given["until"] is not None:
        filters["until"] = given["until"]
    if given["damaged"]:
        if filters:
            raise click.UsageError(
                "--damaged stands alone: what the other filters ask for cannot be read from"
                " a damaged session"
            )
        filters["damaged"] = True
    return filters


def _stream(
    store: SessionStore[Any], filters: Filters, order: str, limit: int | None, form: str
) -> None:
    matches = store.iter_find(order=order, **filters)
    found: Iterator[SessionSummary] = islice(matches, limit)
    if form == "ids":
        formats.write_ids(item.session_id for item in found)
    else:
        formats.write_lines(formats.summary_item(item) for item in found)
    _say_unjudged(matches.damaged)


def _say_unjudged(count: int) -> None:
    if count:
        streams.note(f"{count_of(count, 'damaged session')} could not be judged: {_LOOK}")


def _say_how_many(shown: Sequence[SessionSummary], found: Sequence[SessionSummary]) -> None:
    if not found:
        streams.note("no session matches")
        return
    damaged = sum(item.damaged is not None for item in found)
    hidden = damaged - sum(item.damaged is not None for item in shown)
    text = f"{len(shown):,} of {count_of(len(found), 'session')}"
    if damaged:
        text += f", {damaged:,} damaged"
    if len(shown) < len(found):
        text += " (-n 0 shows all)"
    streams.note(text)
    if hidden:
        streams.note(f"{count_of(hidden, 'damaged session')} not shown: {_LOOK}")


def _write_table(items: Sequence[SessionSummary], settings: Settings) -> None:
    if not items:
        return
    from sessionstore.cli.tables import Column, write_table

    now = settings.now()
    columns = [
        Column("ID"),
        Column("STATUS"),
        Column("GOAL", folds=True),
        Column("NODE", folds=True),
        Column("STEPS", is_number=True),
        Column("UPDATED"),
        Column("RESUMABLE"),
        Column("REMARK", folds=True),
    ]
    write_table(columns, [_row(item, now) for item in items], colored=settings.colored)


def _row(item: SessionSummary, now: datetime) -> list[Any]:
    from sessionstore.cli import words
    from sessionstore.text import printable

    status = words.status_cell(item.status, item.liveness, is_interrupted=item.is_interrupted)
    if item.damaged is not None:
        return [item.session_id, status, "-", "-", "-", "-", "-", words.remark(item)]
    return [
        item.session_id,
        status,
        printable(item.goal_id or "-", limit=80),
        words.where(item.current_node, item.paused_at),
        f"{item.steps_executed:,}",
        times.relative(item.updated_at, now),
        words.yes_or_no(item.is_resumable),
        words.remark(item),
    ]
