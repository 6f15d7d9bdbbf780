"""Tables for people: no line is wider than the terminal, and a pipe gets one line for each row."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import rich  # noqa: F401 - fails here if it is broken; its parts are imported when needed

from sessionstore.cli import streams
from sessionstore.cli.output.cells import width_of, wrap
from sessionstore.cli.output.layout import (
    GAP,
    Cell,
    Column,
    Layout,
    Line,
    Row,
    cells_of,
    flowed,
    hung,
)

if TYPE_CHECKING:  # half of rich, which only a listing that is redrawn needs
    from rich.console import Console
    from rich.text import Text

__all__ = [
    "Cell", "Column", "Row", "RowWriter", "live_console", "live_table", "painted",
    "width_of_terminal", "write_facts", "write_heading", "write_note", "write_row", "write_table",
]  # fmt: skip


def write_table(
    columns: Sequence[Column],
    rows: Sequence[Row],
    *,
    colored: bool,
    headed: bool = True,
    elsewhere: str = "-o json shows all",
) -> None:
    """Write a table to stdout; name on stderr the columns for which the terminal is too narrow.

    ``elsewhere`` says where those can be seen.
    """
    cells = _headed(columns, rows) if headed else [cells_of(row) for row in rows]
    if not cells:
        return
    if not sys.stdout.isatty():
        _write_whole(columns, cells, colored=colored)
        return
    layout = Layout(columns, cells, width_of_terminal())
    for row in cells:
        _write_lines(layout.lines(row), colored=colored)
    if layout.hidden:
        streams.notice(f"too narrow for {', '.join(layout.hidden)}: {elsewhere}")
    if layout.runs_over:
        streams.notice("an id is wider than the terminal; it is not shortened")


def write_row(row: Row, *, colored: bool) -> None:
    """Write one row that stands alone; only its last cell wraps."""
    cells = cells_of(row)
    if sys.stdout.isatty():
        _write_lines(flowed(cells, width_of_terminal()), colored=colored)
    else:
        _write_whole([Column("")] * len(cells), [cells], colored=colored)


def write_heading(text: str, *, colored: bool) -> None:
    """Write a line above what belongs to it; an id in it stays whole."""
    _write_lines([[Cell(text, "bold")]], colored=colored)


def write_note(label: Cell, subject: str, told: str, *, colored: bool) -> None:
    """Write a subject, whole on one line, and what is told of it: beside it, or wrapped below."""
    indent = width_of(label.text) + GAP
    width = width_of_terminal()
    room = max(width - indent, 1)
    if width_of(f"{subject}: {told}") <= room:
        subject, texts = f"{subject}: {told}", []
    else:
        texts = wrap(told, room, widest=width)
    lines = [[label, Cell(" " * GAP), Cell(subject)]]
    lines += [hung(Cell(text), indent, width) for text in texts if text]
    _write_lines(lines, colored=colored)


class RowWriter:
    """Writes rows as they come, one line each, below each other.

    ``usual`` is a row with the usual widths; a column that was wider once stays as wide.
    """

    def __init__(self, columns: Sequence[Column], usual: Row, *, colored: bool) -> None:
        self._columns = columns
        self._widest = cells_of(usual)
        self._colored = colored

    def write(self, row: Row) -> None:
        """Write a row to stdout."""
        cells = cells_of(row)
        if not sys.stdout.isatty():
            _write_whole(self._columns, [cells], colored=self._colored)
            return
        room = width_of_terminal()
        # The rows before decide how wide an id usually is.
        layout = Layout(self._columns, [*[self._widest] * 3, cells], room)
        _write_lines(layout.lines(cells), colored=self._colored)
        self._widest = [
            before
            if column.is_id and width_of(cell.text) > room // 2
            else max(before, cell, key=lambda one: width_of(one.text))
            for column, before, cell in zip(self._columns, self._widest, cells, strict=True)
        ]


def width_of_terminal() -> int:
    """Return how many cells a line of the terminal has."""
    from shutil import get_terminal_size  # it loads five modules, which a pipe does not need

    return get_terminal_size().columns


def _headed(columns: Sequence[Column], rows: Sequence[Row]) -> list[list[Cell]]:
    return [[Cell(column.heading, "bold") for column in columns], *map(cells_of, rows)]


def _write_whole(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], *, colored: bool
) -> None:
    """Write one line for each row, whole, without the widths of a terminal."""
    widths = [max(width_of(row[place].text) for row in rows) for place in range(len(columns))]
    for row in rows:
        line: Line = []
        for column, cell, width in zip(columns, row, widths, strict=True):
            blank = Cell(" " * (width - width_of(cell.text)))
            line += [blank, cell] if column.is_number else [cell, blank]
            line.append(Cell(" " * GAP))
        _write_lines([line], colored=colored)


def _write_lines(lines: Iterable[Line], *, colored: bool) -> None:
    for line in lines:
        text = "".join(painted(cell) if colored else cell.text for cell in line)
        streams.write(text.rstrip() + "\n")


def painted(cell: Cell) -> str:
    """Return the text of a cell in its style."""
    if not cell.style:
        return cell.text
    from rich.color import ColorSystem
    from rich.style import Style

    style = Style.parse(cell.style)  # cached
    return style.render(cell.text, color_system=ColorSystem.STANDARD)


def live_table(columns: Sequence[Column], rows: Sequence[Row]) -> Text:
    """Return a table that rich redraws in place."""
    from rich.text import Text

    cells = _headed(columns, rows)
    layout = Layout(columns, cells, width_of_terminal())
    lines = [
        Text.assemble(*((cell.text, cell.style) for cell in line))
        for row in cells
        for line in layout.lines(row)
    ]
    for line in lines:
        line.rstrip()
    return Text("\n", no_wrap=True, overflow="ignore").join(lines)


def live_console(*, colored: bool) -> Console:
    """Return the terminal behind stdout, at its true size, for rich to redraw."""
    from rich.console import Console

    return Console(
        file=sys.stdout,
        color_system="standard" if colored else None,
        no_color=not colored,
        markup=False,
        emoji=False,
        highlight=False,
    )


def write_facts(facts: Sequence[tuple[str, Cell | str]], *, colored: bool) -> None:
    """Write labelled values, one below the other."""
    columns = [Column("fact"), Column("value", wraps=True)]
    rows = [(Cell(label, "bold"), value) for label, value in facts]
    write_table(columns, rows, colored=colored, headed=False)
