"""``sessionstore delete``: delete the named sessions."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from sessionstore.cli import streams
from sessionstore.cli.errors import Exit
from sessionstore.cli.options.session_ids import resolve_all, sessions_argument
from sessionstore.cli.options.shared import Settings, output_option, shared_options
from sessionstore.cli.output import json
from sessionstore.cli.output.formats import emit_each
from sessionstore.errors import SessionStoreError
from sessionstore.text import count_of

if TYPE_CHECKING:
    from sessionstore.store.store import SessionStore

SCHEMA = "sessionstore.deleted/1"
_SHOWN = 20


@click.command(
    epilog="""\b
Examples:
  sessionstore delete session_20260125_17
  sessionstore delete session_20260125_17 session_20260126_09 --yes
  sessionstore ls --goal tryout -o ids | sessionstore delete - --yes"""
)
@sessions_argument
@click.option("-y", "--yes", "is_sure", is_flag=True, help="Do not ask.")
@click.option(
    "--force",
    is_flag=True,
    help="Also if it is unknown whether the owner is alive, or if the state is damaged.",
)
@output_option("ids of deleted sessions")
@shared_options()
@click.pass_obj
def delete(settings: Settings, ids: tuple[str, ...], form: str, is_sure: bool, force: bool) -> int:
    """Delete sessions permanently, with their checkpoints and the application's files.

    Asks for confirmation; without a terminal --yes is required. A session that a live process holds
    is refused (exit 4), even with --force. ID is a session id, or a unique prefix or suffix of one;
    - reads ids from stdin and requires --yes. All ids are resolved before the first session is
    deleted. Exits with 6 if only some could be deleted.

    To delete by age or size, use prune.
    """
    if not is_sure:
        if "-" in ids:
            raise click.UsageError("- reads ids from stdin, so nobody can confirm: pass --yes")
        if sys.stdin is None or not sys.stdin.isatty():
            raise click.UsageError("there is no terminal to confirm on: pass --yes")
    with settings.open_store() as store:
        chosen = list(dict.fromkeys(resolve_all(store, ids, settings.root)))
        if not is_sure and not _is_wanted(store, chosen):
            streams.error("nothing was deleted")
            return Exit.ERROR

        def act(session_id: str) -> json.Item:
            store.delete(session_id, force=force)
            return {}

        return emit_each(chosen, act, form, schema=SCHEMA, done="deleted", listed="deleted")


def _is_wanted(store: SessionStore[Any], chosen: Sequence[str]) -> bool:
    for session_id in chosen[:_SHOWN]:
        try:
            state = store.load(session_id)
        except SessionStoreError as error:
            streams.warning(f"{session_id}: {error.fact}")
        else:
            goal = f", goal {state.goal_id}" if state.goal_id else ""
            streams.warning(f"{session_id}: {state.status}, revision {state.revision}{goal}")
    if len(chosen) > _SHOWN:
        streams.warning(f"and {len(chosen) - _SHOWN:,} more")
    return streams.is_confirmed(f"delete {count_of(len(chosen), 'session')} permanently?")
