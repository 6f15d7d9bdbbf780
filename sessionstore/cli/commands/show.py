"""``sessionstore show``: everything known of a session, and whether its owner is alive."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from sessionstore.cli import streams
from sessionstore.cli.completion.ids import CHECKPOINT_ID
from sessionstore.cli.errors import Exit
from sessionstore.cli.options.session_ids import resolve_all, resolve_one, sessions_argument
from sessionstore.cli.options.shared import Settings, output_option, shared_options
from sessionstore.cli.output import json
from sessionstore.cli.output.formats import Report, emit

if TYPE_CHECKING:
    from sessionstore.cli.output.session_report import SessionReport
    from sessionstore.store.store import SessionStore

SEVERAL = "sessionstore.several/1"


@click.command(
    epilog="""\b
Examples:
  sessionstore show session_20260125_170903_00000001
  sessionstore show session_20260125_17 --at cp_node_complete
  sessionstore show session_20260125_17 --state | jq .data_buffer
  sessionstore show session_20260125_17 --raw > state.json
  sessionstore ls --stale -o ids | sessionstore show -"""
)
@sessions_argument
@click.option(
    "--at",
    metavar="CHECKPOINT",
    type=CHECKPOINT_ID,
    help="Show this checkpoint: its id, a unique prefix or suffix of it, or its revision (r12).",
)
@click.option("--state", "only_state", is_flag=True, help="Only the state, as JSON.")
@click.option(
    "--raw", is_flag=True, help="Only the stored bytes, even if damaged; escaped on a terminal."
)
@output_option("full session ids")
@shared_options()
@click.pass_obj
def show(
    settings: Settings, ids: tuple[str, ...], at: str | None, only_state: bool, raw: bool, form: str
) -> int:
    """Show sessions: status, owner, progress, problems, result, checkpoints and sizes.

    ID is a session id, or a unique prefix or suffix of one; - reads ids from stdin. Exits with 5 if
    a session or one of its checkpoints is damaged.
    """
    several = len(ids) > 1 or ("-" in ids and at is None)
    if (only_state or raw) and form != "table":
        raise click.UsageError("--state and --raw cannot be combined with -o")
    if only_state and raw:
        raise click.UsageError("--state and --raw cannot be combined")
    is_single = raw or at is not None
    if len(ids) > 1 and is_single:
        raise click.UsageError(f"{'--raw' if raw else '--at'} takes one ID")
    with settings.open_store() as store:
        if is_single:
            chosen = iter([resolve_one(store, ids[0], settings.root)])
        else:
            chosen = resolve_all(store, ids, settings.root)
        if raw:
            return _write_raw(store, next(chosen), at)
        if only_state:
            for session_id in chosen:
                _write_state(store, session_id, at)
            return Exit.OK
        reports = _Reports(store, chosen, at)
        _write(reports, settings, form, several=several)
    if reports.damaged:
        streams.warning("damage was found; it was left as it is")
        return Exit.DAMAGE
    return Exit.OK


class _Reports:
    """The report of each session, read when its turn comes."""

    def __init__(self, store: SessionStore[Any], ids: Iterator[str], at: str | None) -> None:
        self._store = store
        self._ids = ids
        self._at = at
        self.damaged = False
        """Whether any session so far is damaged."""

    def __iter__(self) -> Iterator[SessionReport]:
        from sessionstore.cli.output.session_report import read_report

        for session_id in self._ids:
            at = self._at and self._store.find_checkpoint(session_id, self._at)
            report = read_report(self._store, session_id, at)
            self.damaged |= report.shows_damage
            yield report


def _write(reports: _Reports, settings: Settings, form: str, *, several: bool) -> None:
    items = (report.item() for report in reports)
    if several or form == "jsonl":
        schema, listed = SEVERAL, "sessions"
    else:
        schema, listed = json.SESSION, None
    found = Report(
        schema=schema,
        listed=listed,
        lines=items,
        fields=lambda: {} if listed else {"session": next(items)},
        ids=(report.session_id for report in reports),
        table=lambda: _write_table(reports, settings),
    )
    emit(found, form)


def _write_table(reports: _Reports, settings: Settings) -> None:
    from sessionstore.cli.output.portrait import write_portrait

    for number, report in enumerate(reports):
        if number:
            streams.write("\n")
        write_portrait(report, settings.now(), colored=settings.colored)


def _write_state(store: SessionStore[Any], session_id: str, at: str | None) -> None:
    if at is None:
        state = store.load(session_id)
    else:
        state = store.load_checkpoint(session_id, store.find_checkpoint(session_id, at))
    streams.write(json.dumps(json.view(state), indent=2) + "\n")


def _write_raw(store: SessionStore[Any], session_id: str, at: str | None) -> int:
    checkpoint_id = None if at is None else store.find_checkpoint(session_id, at)
    payload = store.raw(session_id, checkpoint_id)
    if sys.stdout.isatty():
        streams.write(streams.harmless(payload))
    else:
        streams.write_bytes(payload)
    return Exit.OK
