"""``sessionstore retry``: let the start-up loop try failed or interrupted sessions again."""

from __future__ import annotations

import click

from sessionstore.cli.completion.ids import CHECKPOINT_ID
from sessionstore.cli.options.session_ids import resolve_all, sessions_argument
from sessionstore.cli.options.shared import Settings, output_option, shared_options
from sessionstore.cli.output import json
from sessionstore.cli.output.formats import emit_each

SCHEMA = "sessionstore.retries/1"


@click.command(
    epilog="""\b
Examples:
  sessionstore retry session_20260125_17
  sessionstore retry session_20260125_17 --at r12
  sessionstore ls --status failed --goal triage -o ids | sessionstore retry -"""
)
@sessions_argument
@click.option(
    "--at",
    metavar="CHECKPOINT",
    type=CHECKPOINT_ID,
    help="Go on from this checkpoint, not the latest: its id, a unique prefix or suffix of it, or"
    " its revision (r12).",
)
@click.option(
    "--from-last-save",
    is_flag=True,
    help="Go on from the state that was saved last, though a checkpoint is there.",
)
@click.option(
    "--again",
    is_flag=True,
    help="Also if it has completed, was cancelled, or is paused and waits for somebody.",
)
@click.option("--force", is_flag=True, help="Also if it is unknown whether the owner is alive.")
@output_option("ids of sessions to be tried again")
@shared_options()
@click.pass_obj
def retry(
    settings: Settings,
    ids: tuple[str, ...],
    at: str | None,
    from_last_save: bool,
    again: bool,
    force: bool,
    form: str,
) -> int:
    """Have the start-up loop try failed or interrupted sessions again.

    Each is marked interrupted, and its crashes and stops count from 0, so that resume_interrupted()
    offers it. Nothing is resumed here. The old error stays readable in the new one. A session that
    has completed, was cancelled or only waits is refused without --again (exit 1), one that a live
    process holds always (exit 4). ID is a session id, or a unique prefix or suffix of one; - reads
    ids from stdin. All ids are resolved before the first session is marked. Exits with 6 if only
    some could be marked.
    """
    if at is not None and from_last_save:
        raise click.UsageError("--at and --from-last-save cannot be combined")
    with settings.open_store() as store:
        chosen = list(resolve_all(store, ids, settings.root))

        def act(session_id: str) -> json.Item:
            revision = store.retry(
                session_id,
                checkpoint_id=at,
                from_last_save=from_last_save,
                again=again,
                force=force,
            )
            return {"revision": revision}

        return emit_each(
            chosen, act, form, schema=SCHEMA, done="to be tried again", listed="retried"
        )
