"""``sessionstore watch``: sessions as they change, one line for each change."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from sessionstore.cli import streams
from sessionstore.cli.completion.ids import SESSION_ID
from sessionstore.cli.errors import Exit
from sessionstore.cli.options.filters import filter_options
from sessionstore.cli.options.session_ids import find_meant, nearest_ids, resolve_all
from sessionstore.cli.options.shared import Settings, output_option, shared_options
from sessionstore.cli.options.statuses import statuses_option
from sessionstore.cli.options.units import Duration
from sessionstore.cli.output import json
from sessionstore.cli.output.formats import Report, emit, flushed
from sessionstore.model.ids import is_id
from sessionstore.text import printable

if TYPE_CHECKING:
    from sessionstore.cli.output.tables import Row
    from sessionstore.model.summary import SessionSummary
    from sessionstore.operations.watch import SessionChange
    from sessionstore.store.store import SessionStore

SCHEMA = "sessionstore.change/1"


@click.command(
    epilog="""\b
Examples:
  sessionstore watch
  sessionstore watch session_20260125_17 --until completed,failed --timeout 30s
  sessionstore watch -s failed -o ids | xargs -n 1 ./tell-somebody.sh"""
)
@click.argument("ids", nargs=-1, metavar="[ID]...", type=SESSION_ID)
@statuses_option("--until", told="End when every session is deleted or has one of these")
@click.option(
    "--timeout",
    metavar="TIME",
    type=Duration(),
    help="End after TIME (30, 30s, 5m); with --until the exit code is then 7.",
)
@filter_options("status", "goal_id", "agent_id", "labels")
@click.option(
    "--no-events",
    is_flag=True,
    help="Poll once a second instead of waiting for events of the file system.",
)
@output_option("ids of the sessions that change")
@shared_options()
@click.pass_obj
def watch(
    settings: Settings,
    form: str,
    ids: tuple[str, ...],
    until: tuple[str, ...],
    timeout: float | None,
    no_events: bool,
    filters: dict[str, Any],
) -> int:
    """Show the state of sessions and then every change, until Ctrl-C or --until.

    Several quick saves may appear as one change; the last state always appears. ID is a session id,
    a unique prefix or suffix of one, or the full id of a session that does not exist yet; - reads
    ids from stdin. -o json writes an object a line, as jsonl does, because a watch may have no end.

    Exits with 7 if --timeout passes before --until is met. Without --timeout, a watch is refused
    (exit 2) if a session can never get one of the statuses of --until.
    """
    # A store that does not exist yet can be watched, too; nothing is created on disk.
    with settings.open_store(create=True) as store:
        if not os.path.isdir(os.path.expanduser(settings.root or "")):
            streams.notice(f"{settings.root} does not exist yet: waiting for it")
        chosen = _resolve(store, ids, settings.root) if ids else None
        if chosen == [] and not until:
            raise click.UsageError("stdin names no session: there is nothing to watch")
        never: list[str] = []
        if until and timeout is None:
            never = [status for status in ("completed", "cancelled") if status not in until]
            _check_end(store, chosen, never, filters)
        watched = store.watch(
            chosen, until=until or None, timeout=timeout, events=not no_events, **filters
        )
        changes = flushed(_notice_ends(watched, never))
        report = Report(
            schema=SCHEMA,
            lines=(_item(change) for change in changes),
            fields=None,
            ids=(change.session_id for change in changes),
            table=lambda: _write(changes, settings),
        )
        emit(report, form)
    return Exit.OK


def _check_end(
    store: SessionStore[Any],
    chosen: list[str] | None,
    never: list[str],
    filters: dict[str, Any],
) -> None:
    """Refuse a watch that cannot end, and say what has to be done for another to end.

    ``never`` are the statuses that are not awaited and that a session keeps.

    Raises:
        click.UsageError: a session cannot get an awaited status.
    """
    for item in _awaited(store, chosen, never, filters):
        why = ""
        if item.damaged is not None:
            why = "is damaged and has no status: repair it with sessionstore fsck --repair"
        elif item.status in never:
            why = f"is {item.status} and stays so: add {item.status} to --until"
        if why:
            raise click.UsageError(
                f"the watch would never end: {item.session_id} {why}, or limit it with --timeout"
            )
        if item.is_stale:
            streams.notice(
                f"the process of {item.session_id} is dead: a start-up resumes it, and"
                " sessionstore recover --apply marks it failed"
            )


def _awaited(
    store: SessionStore[Any],
    chosen: list[str] | None,
    never: list[str],
    filters: dict[str, Any],
) -> Iterator[SessionSummary]:
    """Yield the named sessions, or one of each kind that keeps a watch from its end."""
    if chosen is not None:
        for name in chosen:
            page = store.find(id_prefix=name, order="session_id", limit=1)
            yield from (item for item in page if item.session_id == name)
        return
    if not store.find(**filters, limit=1).items:
        streams.notice("no session matches yet: waiting for one")
    finished = [status for status in filters.get("status", never) if status in never]
    yield from store.find(**{**filters, "status": finished}, limit=1)
    yield from store.find(**filters, stale=True, limit=1)
    if not filters:
        yield from store.find(damaged=True, limit=1)


def _resolve(store: SessionStore[Any], ids: tuple[str, ...], root: str | None) -> list[str]:
    chosen: list[str] = []
    for given in ids:
        if not is_id(given) or find_meant(store, given, root) is not None:
            chosen += resolve_all(store, [given], root)
            continue
        nearest = nearest_ids(store, given, root)
        hint = f"; nearest: {', '.join(nearest)}" if nearest else ""
        streams.notice(f"{given} does not exist yet: waiting for it{hint}")
        chosen.append(given)
    return chosen


def _notice_ends(changes: Iterable[SessionChange], never: list[str]) -> Iterator[SessionChange]:
    """Yield the changes; say it once one has shown a status that a session keeps."""
    for change in changes:
        yield change
        item = change.summary
        if change.kind != "deleted" and item.status in never:
            streams.notice(
                f"{item.session_id} is {item.status} and stays so, unless it is resumed with"
                " again=True: the watch waits on, until Ctrl-C"
            )


def _item(change: SessionChange) -> json.Item:
    return {"kind": change.kind, "session": json.summary_item(change.summary)}


def _write(changes: Iterable[SessionChange], settings: Settings) -> None:
    from sessionstore.cli.output.tables import Cell, Column, RowWriter

    columns = [
        Column("TIME", drop_order=3),
        Column("CHANGE", drop_order=5),
        Column("ID", is_id=True),
        Column("STATUS", is_cut=True, least=11),
        Column("REVISION", drop_order=2),
        Column("STEPS", drop_order=0),
        Column("NODE", is_cut=True, least=8, drop_order=1),
        Column("REMARK", is_cut=True, least=13, drop_order=4),
    ]
    usual: Row = ["12:34:56", "created", "", Cell("failed, interrupted", short="interrupted"),
             "r12", "12 steps", "", "pid 12345 gone"]  # fmt: skip
    writer = RowWriter(columns, usual, colored=settings.colored)
    for change in changes:
        writer.write(_row(change, settings))


def _row(change: SessionChange, settings: Settings) -> Row:
    from sessionstore.cli.output import labels, remarks
    from sessionstore.cli.output.tables import Cell

    item = change.summary
    return [
        Cell(settings.now().astimezone().strftime("%H:%M:%S"), "bright_black"),
        Cell(change.kind.ljust(7), "magenta" if change.kind == "deleted" else ""),
        printable(change.session_id),
        labels.status_cell(item.status, item.liveness, is_interrupted=item.is_interrupted),
        Cell("-" if item.damaged is not None else f"r{item.revision}"),
        f"{item.steps_executed:,} steps",
        labels.where(item.current_node, item.paused_at),
        remarks.remark(item),
    ]
