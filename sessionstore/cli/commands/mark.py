"""``sessionstore mark``: record how an unclaimed session ended."""

from __future__ import annotations

from typing import Literal

import click

from sessionstore.cli.options.session_ids import resolve_all, sessions_argument
from sessionstore.cli.options.shared import Settings, output_option, shared_options
from sessionstore.cli.output import json
from sessionstore.cli.output.formats import emit_each

SCHEMA = "sessionstore.marks/1"
_STATUSES = ("failed", "cancelled", "paused")


@click.command(
    epilog="""\b
Examples:
  sessionstore mark session_20260125_17 failed --reason 'the input was wrong'
  sessionstore ls --stale -o ids | sessionstore mark - cancelled --reason 'no longer needed'"""
)
@sessions_argument
@click.argument("status", metavar="failed|cancelled|paused", type=click.Choice(_STATUSES))
@click.option(
    "--reason",
    required=True,
    metavar="TEXT",
    help="The reason, which becomes the error of the result.",
)
@click.option("--force", is_flag=True, help="Also if it is unknown whether the owner is alive.")
@output_option("ids of marked sessions")
@shared_options()
@click.pass_obj
def mark(
    settings: Settings,
    ids: tuple[str, ...],
    status: Literal["failed", "cancelled", "paused"],
    reason: str,
    form: str,
    force: bool,
) -> int:
    """Record how unclaimed sessions ended: failed, cancelled or paused.

    A session that a live process holds is refused (exit 4); use cancel to ask that process. Data
    and checkpoints stay. ID is a session id, or a unique prefix or suffix of one; - reads ids from
    stdin. All ids are resolved before the first session is marked. Exits with 6 if only some could
    be marked.
    """
    if not reason.strip():
        raise click.UsageError("--reason must not be empty")
    with settings.open_store() as store:
        chosen = list(resolve_all(store, ids, settings.root))

        def act(session_id: str) -> json.Item:
            revision = store.mark(session_id, status, reason=reason, force=force)
            return {"status": status, "revision": revision}

        return emit_each(
            chosen,
            act,
            form,
            schema=SCHEMA,
            done=f"marked {status}",
            listed="marked",
            fields={"reason": reason},
        )
