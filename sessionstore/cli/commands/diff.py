"""``sessionstore diff``: how two states of a session differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sessionstore.cli import streams
from sessionstore.cli.completion.ids import CHECKPOINT_ID
from sessionstore.cli.errors import Exit
from sessionstore.cli.options.session_ids import resolve_one, session_argument
from sessionstore.cli.options.shared import Settings, output_option, shared_options
from sessionstore.cli.output import json
from sessionstore.cli.output.formats import Report, emit
from sessionstore.text import count_of, printable

if TYPE_CHECKING:
    from sessionstore.operations.diff import Difference, DiffSide, StateDiff

SCHEMA = "sessionstore.diff/1"
_WIDTH = 100
_PATH_LIMIT = 400
_CONTEXT = 20
"""How many characters are shown before the first that differs."""
_SIGNS = {"added": "+", "removed": "-", "changed": "~"}
_COLORS = {"added": "green", "removed": "red", "changed": "yellow"}


@click.command(
    epilog="""\b
Examples:
  sessionstore diff session_20260125_17
  sessionstore diff session_20260125_17 r12 r15
  sessionstore diff session_20260125_17 cp_node_complete.plan current --full
  sessionstore diff session_20260125_17 --exit-code || echo 'saved since its checkpoint'"""
)
@session_argument
@click.argument("a", metavar="[A]", required=False, type=CHECKPOINT_ID)
@click.argument("b", metavar="[B]", required=False, type=CHECKPOINT_ID)
@click.option(
    "--all", "everything", is_flag=True, help="Also compare revision, owner, times and the like."
)
@click.option("--full", is_flag=True, help="Show whole values, however long.")
@click.option("--exit-code", "tells", is_flag=True, help="Exit with 1 if they differ.")
@output_option()
@shared_options()
@click.pass_obj
def diff(
    settings: Settings,
    session_id: str,
    a: str | None,
    b: str | None,
    form: str,
    everything: bool,
    full: bool,
    tells: bool,
) -> int:
    """Show how state B of a session differs from state A.

    A state is named by a checkpoint id, or a unique prefix or suffix of one, by a kept revision
    (r12), or by the word current. By default A is the latest checkpoint, which a resume would
    restore, and B is the current state. JSON always holds whole values. ID is a session id, or a
    unique prefix or suffix of one; - reads it from stdin.
    """
    with settings.open_store() as store:
        session_id = resolve_one(store, session_id, settings.root)
        found = store.diff(session_id, a, b, everything=everything)
    report = Report(
        schema=SCHEMA,
        lines=(json.view(item) for item in found),
        fields=lambda: {**json.view(found), "differs": bool(found)},
        table=lambda: _write(found, full=full, colored=settings.colored),
    )
    emit(report, form)
    return Exit.ERROR if tells and found else Exit.OK


def _write(found: StateDiff, *, full: bool, colored: bool) -> None:
    if not found:
        streams.notice(f"{_name(found.before)} and {_name(found.after)} do not differ")
        return
    streams.write(_paint(f"--- {_name(found.before)}", "bold", colored=colored) + "\n")
    streams.write(_paint(f"+++ {_name(found.after)}", "bold", colored=colored) + "\n")
    for item in found:
        color = _COLORS[item.kind]
        for line in _lines(item, None if full else _WIDTH):
            streams.write(_paint(line, color, colored=colored) + "\n")
    streams.notice(count_of(len(found), "difference"))


def _name(side: DiffSide) -> str:
    revision = "" if side.revision is None else f" (revision {side.revision:,})"
    return printable(side.name, limit=_PATH_LIMIT) + revision


def _lines(item: Difference, limit: int | None) -> list[str]:
    start = f"{_SIGNS[item.kind]} {printable(item.path, limit=_PATH_LIMIT)}: "
    if item.kind == "added":
        return [start + _value(item.after, limit)]
    if item.kind == "removed":
        return [start + _value(item.before, limit)]
    if limit is not None and isinstance(item.before, str) and isinstance(item.after, str):
        before, after = _texts(item.before, item.after, limit)
    else:
        before, after = _value(item.before, limit), _value(item.after, limit)
    if len(start) + len(before) + len(after) <= _WIDTH:
        return [f"{start}{before} -> {after}"]
    return [start.rstrip(), f"    {before}", f" -> {after}"]


def _value(value: Any, limit: int | None) -> str:
    """Return a value as one line of JSON; a large one shortened, with its size."""
    text = json.dumps(value)  # plain ASCII: nothing in it acts on a terminal
    if limit is None or len(text) <= limit:
        return text
    if isinstance(value, dict):
        return f"{{… {count_of(len(value), 'key')}, {len(text):,} characters}}"
    if isinstance(value, list):
        return f"[… {count_of(len(value), 'item')}, {len(text):,} characters]"
    return f"{text[: limit - 30]}… {len(text):,} characters"


def _texts(before: str, after: str, limit: int) -> tuple[str, str]:
    """Return two texts; long ones begin shortly before the first difference."""
    pairs = enumerate(zip(before, after, strict=False))
    shorter = min(len(before), len(after))
    common = next((place for place, (one, other) in pairs if one != other), shorter)
    skipped = common - _CONTEXT if max(len(before), len(after)) > limit - _CONTEXT else 0
    if skipped <= 0:
        return _value(before, limit), _value(after, limit)
    start = f"… {skipped:,} equal characters, then "
    return start + _value(before[skipped:], limit), start + _value(after[skipped:], limit)


def _paint(line: str, style: str, *, colored: bool) -> str:
    if not colored:
        return line
    from sessionstore.cli.output.tables import Cell, painted

    return painted(Cell(line, style))
