"""``sessionstore explain``: what happened to a session, and what to do next."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from sessionstore.cli import streams
from sessionstore.cli.errors import Exit
from sessionstore.cli.options.session_ids import resolve_all, sessions_argument
from sessionstore.cli.options.shared import Settings, output_option, shared_options
from sessionstore.cli.output import json
from sessionstore.cli.output.formats import Report, emit
from sessionstore.text import printable

if TYPE_CHECKING:
    from sessionstore.operations.explanation import Advice, Explanation

SCHEMA = "sessionstore.explanation/1"
_NEXT, _INDENT, _LIMIT = "next", "    ", 1000
_GOES_ON = " \\"
"""How a line of a command ends that goes on in the next."""

_STYLES = {
    "running": "green",
    "stale": "bold red",
    "unknown": "yellow",
    "interrupted": "yellow",
    "failed": "red",
    "damaged": "bold magenta",
}


@click.command(
    epilog="""\b
Examples:
  sessionstore explain session_20260125_17
  sessionstore ls --resumable --unfinished -o ids | head -1 | sessionstore explain -
  sessionstore explain session_20260125_17 -o json | jq '.explanations[0].next[].command'"""
)
@sessions_argument
@output_option("full session ids")
@shared_options()
@click.pass_context
def explain(context: click.Context, ids: tuple[str, ...], form: str) -> int:
    """Explain who held a session, how it ended and how that is known, and what to do next.

    Names the last good step, the state that a resume goes on from, what a resume would lose, and
    what to type. ID is a session id, or a unique prefix or suffix of one; - reads ids from stdin.
    Exits with 5 if a session, or the checkpoint that it needs, is damaged.
    """
    is_damaged = False
    settings = Settings.of(context)
    root = _root_as_typed(settings, context)

    def explain_each() -> Iterator[Explanation]:
        nonlocal is_damaged
        for session_id in resolve_all(store, ids, settings.root):
            item = store.explain(session_id)
            is_damaged |= item.shows_damage
            yield item

    with settings.open_store() as store:
        told = explain_each()
        report = Report(
            schema=SCHEMA,
            lines=(json.view(item) for item in told),
            fields=lambda: {"explanations": [json.view(item) for item in told]},
            ids=(item.session_id for item in told),
            table=lambda: _write(told, colored=settings.colored, root=root),
        )
        emit(report, form)
    return Exit.DAMAGE if is_damaged else Exit.OK


def _write(told: Iterable[Explanation], *, colored: bool, root: str | None) -> None:
    from sessionstore.cli.output.tables import Cell, write_facts

    for number, item in enumerate(told):
        if number:
            streams.write("\n")
        (_, summary), *facts = item.facts()
        found = [fact for fact in facts if fact[0] != _NEXT]
        style = _STYLES.get(item.situation, "")
        write_facts([("session", Cell(summary, style)), *found], colored=colored)
        label = _NEXT.ljust(max(len(name) for name, _ in [("session", ""), *found]))
        for advice in item.next:
            _write_advice(advice, label, colored=colored, root=root)


def _write_advice(advice: Advice, label: str, *, colored: bool, root: str | None) -> None:
    """Write what to do. What to type stands apart where it is long, so that it can be copied."""
    from sessionstore.cli.output.layout import GAP
    from sessionstore.cli.output.tables import width_of_terminal, write_facts

    text = printable(advice.text, limit=_LIMIT)
    if advice.command is None:
        write_facts([(label, text)], colored=colored)
        return
    command = printable(_typed(advice.command, root), limit=_LIMIT)
    whole = f"{text}: {command}"
    width = width_of_terminal()
    if sys.stdout.isatty() and len(label) + GAP + len(whole) > width:
        write_facts([(label, f"{text}:")], colored=colored)
        streams.write(f"{_continued(command, width)}\n")
    else:
        write_facts([(label, whole)], colored=colored)


def _continued(command: str, width: int) -> str:
    """Return a command, indented, that may go on in further lines, as a shell takes them.

    It goes on before a word, or before an option where something is quoted. A word that is wider
    than all goes on at the left edge, where a shell adds no space.
    """
    is_quoted = "'" in command
    first, *others = re.split(r" (?=--)" if is_quoted else " ", command)
    lines = [_INDENT + first]
    for word in others:
        joined = f"{lines[-1]} {word}"
        if lines[-1].count("'") % 2 or len(joined + _GOES_ON) <= width:
            lines[-1] = joined
        else:
            indented = 2 * _INDENT + word
            lines.append(indented if len(indented + _GOES_ON) <= width else word)
    if not is_quoted:  # between quotes a shell takes the end of a line for a part of the text
        lines = [_folded(line, width) for line in lines]
    return f"{_GOES_ON}\n".join(lines)


def _folded(line: str, width: int) -> str:
    room = width - len(_GOES_ON)
    return "\\\n".join(line[begin : begin + room] for begin in range(0, len(line), room))


def _typed(command: str, root: str | None) -> str:
    """Return a command for whoever named the store with ``--root``: it needs that, too."""
    if root is None:
        return command
    parts = [command] if "'" in command else command.split(" | ")  # a quoted | is no pipe
    return " | ".join(f"{part} --root {shlex.quote(root)}" for part in parts)


def _root_as_typed(settings: Settings, context: click.Context) -> str | None:
    """Return the root if it was named with ``--root``; None if the environment names it."""
    sources = {one.get_parameter_source("root") for one in (context, context.find_root())}
    return settings.root if click.core.ParameterSource.COMMANDLINE in sources else None
