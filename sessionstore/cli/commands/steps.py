"""``sessionstore steps``: the steps of a session, and what came of one that nobody knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from sessionstore.cli import streams
from sessionstore.cli.errors import Exit
from sessionstore.cli.options import units
from sessionstore.cli.options.session_ids import resolve_one, session_argument
from sessionstore.cli.options.shared import Settings, output_option, shared_options
from sessionstore.cli.output import json
from sessionstore.cli.output.formats import Report, emit
from sessionstore.text import count_of, printable

if TYPE_CHECKING:
    from sessionstore.model.step import StepInfo
    from sessionstore.store.store import SessionStore

SCHEMA = "sessionstore.steps/1"
_NAME_LIMIT = 60
_COLOURS = {"kept": "green", "unsettled": "red", "started": "yellow", "failed": "yellow"}


@click.command(
    epilog="""\b
Examples:
  sessionstore steps session_20260125_17
  sessionstore steps session_20260125_17 --settle pay='{"receipt": 7}'
  sessionstore steps session_20260125_17 --rerun pay"""
)
@session_argument
@click.option(
    "--settle",
    multiple=True,
    metavar="NAME=JSON",
    help="Say what an unsettled step has returned: it is not called again.",
)
@click.option(
    "--rerun",
    multiple=True,
    metavar="NAME",
    help="Let an unsettled or kept step be called again.",
)
@output_option()
@shared_options()
@click.pass_obj
def steps(
    settings: Settings,
    session_id: str,
    settle: tuple[str, ...],
    rerun: tuple[str, ...],
    form: str,
) -> int:
    """Show the steps of a session: whose results are kept, and which were never finished.

    A step that may run at most once, and whose process died within it, is unsettled: nobody knows
    what came of it. Find out, and say so with --settle or --rerun; the next run goes on then. Both
    are refused while a live process holds the session (exit 4). ID is a session id, or a unique
    prefix or suffix of one; - reads it from stdin.
    """
    settled = [_read_pair(text) for text in settle]
    with settings.open_store() as store:
        chosen = resolve_one(store, session_id, settings.root)
        if settled or rerun:
            _change(store, chosen, settled, rerun)
        found = store.steps(chosen)
    items = json.view(found)
    emit(
        Report(
            schema=SCHEMA,
            lines=({"session_id": chosen, **item} for item in items),
            fields=lambda: {"session_id": chosen, "steps": items},
            table=lambda: _write_table(found, settings),
        ),
        form,
    )
    waiting = [one.name for one in found if one.status == "unsettled" and not one.is_closed]
    streams.notice(count_of(len(found), "step"))
    if waiting:
        names = ", ".join(printable(name, limit=_NAME_LIMIT) for name in waiting)
        streams.warning(f"somebody has to settle: {names}")
    return Exit.OK


def _read_pair(text: str) -> tuple[str, Any]:
    from json import loads

    name, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text!r} is not NAME=JSON", param_hint="--settle")
    try:
        return name, loads(value)
    except ValueError as error:
        raise click.BadParameter(
            f"{value!r} is not JSON ({error}); quote text twice: '{name}=\"done\"'",
            param_hint="--settle",
        ) from None


def _change(
    store: SessionStore[Any],
    session_id: str,
    settled: Sequence[tuple[str, Any]],
    rerun: Sequence[str],
) -> None:
    with store.edit(session_id, timeout=0.0) as session:
        try:
            for name, result in settled:
                session.settle_step(name, result)
            for name in rerun:
                session.rerun_step(name)
        except ValueError as error:
            raise click.UsageError(str(error)) from error


def _write_table(found: Sequence[StepInfo], settings: Settings) -> None:
    from sessionstore.cli.output.tables import Cell, Column, write_table

    if not found:
        return
    now = settings.now()
    columns = [
        Column("STEP", is_id=True),
        Column("STATUS", is_cut=True, least=12),
        Column("BEGAN", drop_order=3),
        Column("KEPT", drop_order=4),
        Column("BYTES", is_number=True, drop_order=2),
        Column("BY", is_cut=True, drop_order=1),
    ]
    rows: list[list[Cell | str]] = [
        [
            printable(one.name, limit=_NAME_LIMIT),
            Cell(_status(one), "" if one.is_closed else _COLOURS[one.status]),
            units.relative_time(one.began_at, now),
            "-" if one.ended_at is None else units.relative_time(one.ended_at, now),
            f"{one.size:,}" if one.size else "-",
            _by(one),
        ]
        for one in found
    ]
    write_table(columns, rows, colored=settings.colored)


def _status(step: StepInfo) -> str:
    words = str(step.status)
    if step.is_settled:
        words += ", settled"
    words += ", closed" if step.is_closed else ""
    return f"{words}, value pruned" if step.is_pruned else words


def _by(step: StepInfo) -> str:
    if step.pid is None:
        return "-"
    return f"pid {step.pid}" + (f" on {printable(step.host, limit=40)}" if step.host else "")
