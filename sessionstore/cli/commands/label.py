"""``sessionstore label``: show and change the labels of a session that nobody runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from sessionstore.cli import streams
from sessionstore.cli.errors import Exit
from sessionstore.cli.options.label_pairs import LabelChanges, read_changes
from sessionstore.cli.options.session_ids import resolve_one, session_argument
from sessionstore.cli.options.shared import Settings, output_option, shared_options
from sessionstore.cli.output.formats import Report, emit
from sessionstore.text import printable

if TYPE_CHECKING:
    from sessionstore.model.state import SessionState
    from sessionstore.store.store import SessionStore

SCHEMA = "sessionstore.labels/1"
_VALUE_LIMIT = 2000


@click.command(
    epilog="""\b
Examples:
  sessionstore label session_20260125_17 user=42 title='Letters of March'
  sessionstore label session_20260125_17 user-
  sessionstore label session_20260125_17
  sessionstore ls --label user=42 --fields id,status,label:user"""
)
@session_argument
@click.argument("words", nargs=-1, metavar="[KEY=VALUE | KEY-]...")
@click.option("--remove", multiple=True, metavar="KEY", help="Remove this label, as KEY- does.")
@output_option()
@shared_options()
@click.pass_obj
def label(
    settings: Settings, form: str, session_id: str, words: tuple[str, ...], remove: tuple[str, ...]
) -> int:
    """Set labels of a session, or remove them; without any, print its labels.

    KEY follows the rules of an id; VALUE has up to 256 characters, and a session up to 64 labels.
    The label title stands in the place of the goal in the table of ls. All changes are made, or
    none. A session that a live process holds is refused (exit 4). The session of a dead process is
    first marked, as recover does. ID is a session id, or a unique prefix or suffix of one; - reads
    one from stdin.
    """
    changes = read_changes(words, remove)
    with settings.open_store() as store:
        chosen = resolve_one(store, session_id, settings.root)
        if changes.set or changes.removed:
            _change(store, chosen, changes)
        state = store.load(chosen)
    emit(
        Report(
            schema=SCHEMA,
            lines=iter([_item(state)]),
            fields=lambda: _item(state),
            table=lambda: _write_table(state.labels, colored=settings.colored),
        ),
        form,
    )
    return Exit.OK


def _change(store: SessionStore[SessionState], session_id: str, changes: LabelChanges) -> None:
    with store.edit(session_id, timeout=0.0) as session:
        labels = session.state.labels
        for key in changes.removed:
            if labels.pop(key, None) is None:
                streams.notice(f"{session_id} has no label {printable(key, limit=80)}")
        labels.update(changes.set)


def _item(state: SessionState) -> dict[str, object]:
    return {
        "session_id": state.session_id,
        "revision": state.revision,
        "labels": dict(state.labels),
    }


def _write_table(labels: Mapping[str, str], *, colored: bool) -> None:
    from sessionstore.cli.output.tables import Column, write_table

    if not labels:
        streams.notice("it has no labels")
        return
    rows = [
        [printable(key, limit=130), printable(value, limit=_VALUE_LIMIT)]
        for key, value in sorted(labels.items())
    ]
    write_table([Column("LABEL", wraps=True), Column("VALUE", wraps=True)], rows, colored=colored)
