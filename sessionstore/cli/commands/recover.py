"""``sessionstore recover``: mark the sessions that dead processes left active."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from sessionstore.cli import streams
from sessionstore.cli.completion.ids import SESSION_ID
from sessionstore.cli.errors import Exit
from sessionstore.cli.log_handlers import EventCounter
from sessionstore.cli.options.session_ids import resolve_all
from sessionstore.cli.options.shared import Settings, output_option, shared_options
from sessionstore.cli.output import json
from sessionstore.cli.output.formats import Report, emit
from sessionstore.cli.output.json import items_of
from sessionstore.cli.output.progress import ProgressBar
from sessionstore.text import count_of, printable

if TYPE_CHECKING:
    from sessionstore.operations.recovery import MarkAs, RecoveryReport

_OUTCOMES = ("swept", "failed", "unknown", "alive", "damaged")


@click.command(
    epilog="""\b
Examples:
  sessionstore recover
  sessionstore recover --apply --mark-as paused
  sessionstore recover --apply --assume-dead session_20260205_1015
  sessionstore recover --apply -o ids | xargs -n 1 ./resume.sh"""
)
@click.option("--apply", is_flag=True, help="Mark them; without this option nothing changes.")
@click.option(
    "--mark-as",
    type=click.Choice(["failed", "paused", "cancelled"]),
    default="failed",
    show_default=True,
    help="The status that they get.",
)
@click.option(
    "--assume-dead",
    "named",
    multiple=True,
    metavar="ID",
    type=SESSION_ID,
    help="A session whose process you know to be dead; repeatable. A session that is known to be"
    " alive is not touched. - reads ids from stdin.",
)
@output_option("ids of marked sessions")
@shared_options()
@click.pass_obj
def recover(
    settings: Settings, form: str, apply: bool, mark_as: MarkAs, named: tuple[str, ...]
) -> int:
    """Find the sessions that dead processes left active, and with --apply mark them.

    Nothing is resumed. A session whose process is alive, or may be, is not touched.

    Exits with 1 if a session could not be marked, 4 if --assume-dead names a live session, 5 if
    sessions are damaged. The others are marked in every case.
    """
    with settings.open_store() as store, EventCounter("session_swept") as tally:
        assumed = list(resolve_all(store, named, settings.root))
        try:
            with ProgressBar(settings.color) as bar:
                report = store.recover(
                    dry_run=not apply, mark_as=mark_as, assume_dead=assumed, progress=bar
                )
        except KeyboardInterrupt:
            if apply:
                tally.say_how_far(f"marked {mark_as}", form)
            raise
    found = Report(
        schema=json.RECOVERY,
        lines=json.outcome_lines(report, _OUTCOMES),
        fields=lambda: {
            "dry_run": report.dry_run,
            "mark_as": mark_as,
            **json.outcome_fields(report, _OUTCOMES),
        },
        ids=(item.session_id for item in report.swept),
        table=lambda: _write_table(report, settings, mark_as),
    )
    emit(found, form)
    _say_what_next(report, assumed, mark_as)
    if report.failed:
        return Exit.ERROR
    if {item.session_id for item in report.alive} & set(assumed):
        return Exit.CLAIMED
    return Exit.DAMAGE if report.damaged else Exit.OK


def _write_table(report: RecoveryReport, settings: Settings, mark_as: str) -> None:
    from sessionstore.cli.output import remarks
    from sessionstore.cli.output.labels import DAMAGED, REASON_LIMIT, yes_or_no
    from sessionstore.cli.output.tables import Cell, Column, write_table

    swept = f"would be {mark_as}" if report.dry_run else f"marked {mark_as}"
    labels = {
        "swept": Cell(swept, "yellow"),
        "failed": Cell("could not mark", "bold red"),
        "unknown": Cell("unknown", "yellow"),
        "alive": Cell("alive", "green"),
        "damaged": DAMAGED,
    }
    rows: list[list[Any]] = [
        [
            item.session_id,
            labels[outcome],
            f"{item.recoveries:,}" if outcome == "swept" else "-",
            yes_or_no(item.is_resumable) if outcome == "swept" else "-",
            Cell(
                printable(item.reason, limit=REASON_LIMIT),
                short=printable(
                    remarks.damage(item.reason)
                    if item.liveness is None
                    else remarks.owner(item.liveness),
                    limit=REASON_LIMIT,
                ),
            ),
        ]
        for outcome in _OUTCOMES
        for item in items_of(report, outcome)
    ]
    if rows:
        columns = [
            Column("ID", is_id=True),
            Column("OUTCOME", is_cut=True, least=15),
            Column("CRASHES", is_number=True, drop_order=1),
            Column("RESUMABLE", drop_order=2),
            Column("REASON", is_cut=True, least=24, drop_order=3),
        ]
        write_table(columns, rows, colored=settings.colored)


def _say_what_next(report: RecoveryReport, assumed: Sequence[str], mark_as: str) -> None:
    done = "would be marked" if report.dry_run else "marked"
    counts = [f"{count_of(len(report.swept), 'session')} {done} {mark_as}"]
    if report.failed:
        counts.append(f"could not mark {len(report.failed):,}")
    counts += [
        f"{len(found):,} {outcome}"
        for outcome in ("unknown", "alive", "damaged")
        if (found := items_of(report, outcome))
    ]
    say = streams.warning if report.failed or report.damaged else streams.notice
    say(", ".join(counts))
    for item in report.failed:
        streams.error(f"could not mark {item.session_id}: {item.reason}")
    for item in report.alive:
        if item.session_id in assumed:
            streams.error(f"{item.session_id} is alive and was not touched: {item.reason}")
    judged = {item.session_id for outcome in _OUTCOMES for item in items_of(report, outcome)}
    for session_id in assumed:
        if session_id not in judged:
            streams.notice(f"{session_id} is not active: there is nothing to recover")
    if report.unknown:
        streams.notice(
            "if you know that the process of an unknown session is gone: --assume-dead ID"
        )
    if report.dry_run and report.swept:
        streams.notice("nothing was changed; to mark them, add --apply")
