"""``sessionstore prune``: delete sessions and checkpoints by a retention policy."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from sessionstore import clock
from sessionstore.cli import streams
from sessionstore.cli.errors import Exit
from sessionstore.cli.log_handlers import EventCounter
from sessionstore.cli.options.label_pairs import label_option
from sessionstore.cli.options.shared import Settings, output_option, shared_options
from sessionstore.cli.options.statuses import statuses_option
from sessionstore.cli.options.units import AGE, SIZE, relative_time
from sessionstore.cli.output import json
from sessionstore.cli.output.formats import Report, emit
from sessionstore.cli.output.json import items_of
from sessionstore.cli.output.progress import ProgressBar
from sessionstore.text import count_of, printable

if TYPE_CHECKING:
    from sessionstore.operations.prune import PruneReport
    from sessionstore.store.store import SessionStore

PRUNED = "sessionstore.pruned/1"

_OUTCOMES = ("sessions", "checkpoints", "spared", "damaged", "failed")


@click.command(
    epilog="""\b
Examples:
  sessionstore prune --older-than 30d --keep-last 100
  sessionstore prune --older-than 90d --status paused --apply
  sessionstore prune --older-than 1d --label env=test --apply
  sessionstore prune --max-size 10G --keep-checkpoints 5 --apply
  sessionstore prune --older-than 30d -o json | jq .freed"""
)
@click.option(
    "--older-than",
    metavar="AGE",
    type=AGE,
    help="Delete sessions last updated longer ago than AGE: 12h, 30d, 8w.",
)
@click.option(
    "--keep-last",
    type=click.IntRange(min=0),
    metavar="N",
    help="Keep the N most recently updated, whatever the other options say.",
)
@statuses_option(
    "-s",
    "--status",
    "statuses",
    told="Only sessions with one of these",
    known=("paused", "completed", "failed", "cancelled"),
    default="  [default: all but paused]",
)
@label_option("Only sessions with this label")
@click.option(
    "--max-size",
    metavar="SIZE",
    type=SIZE,
    help="Delete the oldest until all sessions together take at most SIZE: 500M, 10G.",
)
@click.option(
    "--keep-checkpoints",
    type=click.IntRange(min=0),
    metavar="N",
    help="Keep the N newest checkpoints of each remaining session.",
)
@click.option(
    "--checkpoints-older-than",
    metavar="AGE",
    type=AGE,
    help="Delete checkpoints of remaining sessions only if older than AGE.",
)
@click.option(
    "--step-values",
    is_flag=True,
    help="Remove the results of steps that no resume of a remaining session returns any more.",
)
@click.option("--apply", is_flag=True, help="Delete; without this option nothing changes.")
@output_option("ids of deleted sessions")
@shared_options()
@click.pass_obj
def prune(
    settings: Settings,
    form: str,
    apply: bool,
    older_than: timedelta | None,
    keep_last: int | None,
    statuses: tuple[str, ...],
    labels: dict[str, str] | None,
    max_size: int | None,
    keep_checkpoints: int | None,
    checkpoints_older_than: timedelta | None,
    step_values: bool,
) -> int:
    """Show which sessions and checkpoints a policy deletes, and with --apply delete them.

    A session is deleted if it is --older-than AGE and not among the --keep-last N. --max-size also
    deletes the oldest, but none of the --keep-last N. --keep-last alone deletes all others. Active
    and claimed sessions, the checkpoint that a resume would use, and damaged sessions are never
    touched. After an interruption the same command continues.

    Exits with 5 if sessions are damaged, 6 if deleting one failed. The others are deleted in every
    case.
    """
    chosen: dict[str, Any] = {"statuses": statuses} if statuses else {}
    from sessionstore.operations.retention import RetentionPolicy

    try:
        policy = RetentionPolicy(
            older_than=older_than,
            keep_last=keep_last,
            max_total_size=max_size,
            keep_checkpoints=keep_checkpoints,
            checkpoints_older_than=checkpoints_older_than,
            step_values=step_values,
            labels=labels or {},
            **chosen,
        )
    except ValueError:  # each value was checked, so no limit was given
        raise click.UsageError(
            "no limit was given: pass --older-than, --keep-last, --max-size, --keep-checkpoints,"
            " --checkpoints-older-than or --step-values"
        ) from None
    with settings.open_store() as store, EventCounter("pruned") as tally:
        try:
            with ProgressBar(settings.color) as bar:
                report = store.prune(policy, apply=apply, progress=bar)
            takes_all = not apply and 0 < len(report.sessions) == store.count()
        except KeyboardInterrupt:
            if apply:
                _say_how_far(store, tally.ids, form)
            raise
    found = Report(
        schema=PRUNED,
        lines=json.outcome_lines(report, _OUTCOMES),
        fields=lambda: {
            "dry_run": report.dry_run,
            "freed": report.freed,
            "total_bytes": report.total_bytes,
            **json.outcome_fields(report, _OUTCOMES),
        },
        ids=(item.session_id for item in report.sessions),
        table=lambda: _write_table(report, settings),
    )
    emit(found, form)
    _say_what_next(report)
    if takes_all and older_than is not None:
        now = clock.to_text(settings.now())
        streams.notice(f"every session would go; the clock says {now}: is that right?")
    if report.failed:
        return Exit.PARTLY
    return Exit.DAMAGE if report.damaged else Exit.OK


def _say_how_far(store: SessionStore[Any], ids: Sequence[str], form: str) -> None:
    """Report what an interrupted run deleted; with ``-o ids`` the ids of all that are gone."""
    gone = [session_id for session_id in ids if not store.exists(session_id)]
    if form == "ids":
        streams.write_ids(gone)
        sys.stdout.flush()
    counts = [f"{count_of(len(gone), 'session')} deleted"]
    if shrunk := len(ids) - len(gone):
        counts.append(f"{count_of(shrunk, 'other session')} shrunk")
    streams.warning(f"{', '.join(counts)} before the interruption; the same command continues")


def _write_table(report: PruneReport, settings: Settings) -> None:
    from sessionstore.cli.output.labels import DAMAGED, REASON_LIMIT, size_words
    from sessionstore.cli.output.tables import Cell, Column, write_table

    now = settings.now()
    would = "would " if report.dry_run else ""
    labels = {
        "sessions": Cell(f"{would}go" if would else "deleted", "yellow"),
        "checkpoints": Cell(f"{would}shrink" if would else "shrunk", "yellow"),
        "spared": Cell("spared", "green"),
        "damaged": DAMAGED,
        "failed": Cell("could not delete", "bold red", short="failed"),
    }
    rows: list[list[Any]] = [
        [
            printable(item.session_id),
            labels[outcome],
            relative_time(item.updated_at, now),
            size_words(item.freed) if outcome in ("sessions", "checkpoints") else "-",
            Cell(
                printable(item.reason, limit=REASON_LIMIT),
                # UPDATED tells the rest.
                short=printable(item.reason.partition(", last updated ")[0], limit=REASON_LIMIT),
            ),
        ]
        for outcome in _OUTCOMES
        for item in items_of(report, outcome)
    ]
    if rows:
        columns = [
            Column("ID", is_id=True),
            Column("RESULT", is_cut=True, least=12),
            Column("UPDATED", drop_order=1),
            Column("FREES", is_number=True, drop_order=3),
            Column("REASON", is_cut=True, least=12, drop_order=2),
        ]
        write_table(columns, rows, colored=settings.colored)


def _say_what_next(report: PruneReport) -> None:
    from sessionstore.cli.output.labels import size_words

    gone, shrunk = len(report.sessions), len(report.checkpoints)
    kept = sum(len(item.checkpoints) for item in report.checkpoints)
    counts = [f"{count_of(gone, 'session')} {'would go' if report.dry_run else 'deleted'}"]
    if shrunk:
        counts.append(f"{count_of(kept, 'checkpoint')} of {count_of(shrunk, 'other session')}")
    if values := sum(item.step_values for item in report.checkpoints):
        counts.append(count_of(values, "step value"))
    counts.append(f"{size_words(report.freed)} {'would be ' if report.dry_run else ''}freed")
    others = {
        outcome: len(items_of(report, outcome)) for outcome in ("spared", "damaged", "failed")
    }
    counts += [f"{found:,} {outcome}" for outcome, found in others.items() if found]
    say = streams.warning if report.failed or report.damaged else streams.notice
    say(", ".join(counts))
    for item in report.failed:
        streams.error(f"could not delete {item.session_id}: {item.reason}")
    if report.dry_run and (gone or shrunk):
        streams.notice("nothing was changed; to delete them, add --apply")
    if report.damaged:
        streams.notice("damaged sessions are never pruned; to check them: sessionstore fsck")
