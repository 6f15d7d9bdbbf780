"""``sessionstore cancel``: ask the process that runs a session to end it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from sessionstore.cli import streams
from sessionstore.cli.errors import Exit, combined, refused
from sessionstore.cli.options.session_ids import resolve_all, sessions_argument
from sessionstore.cli.options.shared import Settings, output_option, shared_options
from sessionstore.cli.options.units import Duration
from sessionstore.cli.output import json
from sessionstore.cli.output.formats import Report, emit
from sessionstore.errors import SessionStoreError
from sessionstore.text import printable

if TYPE_CHECKING:
    from sessionstore.operations.cancel import Cancellation

SCHEMA = "sessionstore.cancellations/1"


@click.command(
    epilog="""\b
Examples:
  sessionstore cancel session_20260125_17 --reason 'wrong input'
  sessionstore cancel session_20260125_17 --wait 30
  sessionstore ls --goal triage -s active -o ids | sessionstore cancel - --wait 60
  sessionstore ls --idle 30m -o ids | sessionstore cancel - --reason 'no progress' --wait 5m"""
)
@sessions_argument
@click.option("--reason", metavar="TEXT", help="The reason, which the process is told.")
@click.option(
    "--wait",
    "seconds",
    type=Duration(),
    default=0.0,
    metavar="TIME",
    help="Wait up to TIME (30s, 5m) for all to end; exit with 7 if one does not. The"
    " request stays.",
)
@output_option("ids of sessions that were cancelled or asked")
@shared_options()
@click.pass_obj
def cancel(
    settings: Settings, ids: tuple[str, ...], reason: str | None, seconds: float, form: str
) -> int:
    """Ask the processes that run sessions to end them; cancel those whose process died.

    The next save of the process raises CancellationRequested; if the process does not handle it,
    the session ends as cancelled. An end that comes first stands, and the request does not reach a
    later holder. Exits with 1 if a session was not running, or runs on under another process, 4 if
    its owner cannot be asked, 6 if only some could be cancelled.

    ID is a session id, or a unique prefix or suffix of one; - reads ids from stdin.
    """
    codes: list[Exit] = []

    def cancel_each() -> Iterator[Cancellation]:
        for _, outcome in store.cancel_all(chosen, reason=reason, timeout=seconds):
            if isinstance(outcome, SessionStoreError):
                codes.append(refused(outcome))
                continue
            codes.append(_code(outcome, is_awaited=seconds > 0))
            yield outcome
            if outcome.outcome == "ended" and outcome.status == "paused":
                name = outcome.session_id
                streams.notice(f"to give it up: sessionstore mark {name} cancelled --reason TEXT")

    with settings.open_store() as store:
        chosen = list(resolve_all(store, ids, settings.root))
        seen = cancel_each()
        report = Report(
            schema=SCHEMA,
            lines=(json.view(item) for item in seen),
            fields=lambda: {"reason": reason, "cancellations": [json.view(item) for item in seen]},
            ids=(item.session_id for item in seen if item.outcome in ("cancelled", "requested")),
            table=lambda: _write(seen),
        )
        emit(report, form)
    return combined(codes)


def _write(seen: Iterable[Cancellation]) -> None:
    for item in seen:
        outcome = item.outcome.replace("_", " ")
        streams.write(f"{item.session_id}  {outcome}: {printable(item.detail, limit=400)}\n")


def _code(item: Cancellation, *, is_awaited: bool) -> Exit:
    if item.is_pending:
        return Exit.TIMED_OUT if is_awaited else Exit.OK
    return Exit.OK if item.outcome == "cancelled" else Exit.ERROR
