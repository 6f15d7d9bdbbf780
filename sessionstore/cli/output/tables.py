"""Tables for people: ids stay whole, long text folds, and a pipe gets one line for each row."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import rich  # noqa: F401 - a broken one fails here, whatever is listed; its parts come when needed

from sessionstore.cli import streams

if TYPE_CHECKING:  # half of rich: what goes into a pipe needs none of it
    from rich.console import Console
    from rich.table import Table

_GAP = 2
_NARROWEST = 16
"""What a column that folds keeps on a narrow terminal, in cells."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column; one that does not fold is never cut or wrapped."""

    heading: str
    wraps: bool = False
    is_number: bool = False
    drop_order: int | None = None
    """When it is left out of a terminal that is too narrow: the lowest first; None: never."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Text, escaped already, and its style."""

    text: str
    style: str = ""


Row = Sequence[Cell | str]


def write_table(
    columns: Sequence[Column], rows: Sequence[Row], *, colored: bool, headed: bool = True
) -> list[str]:
    """Write a table to stdout; return the headings for which the terminal is too narrow."""
    cells, widths = _headed(columns, rows, headed=headed)
    if not sys.stdout.isatty():
        _write_whole(columns, cells, widths, colored=colored)
        return []
    fitting = _fitting(columns, widths)
    _write_folded(
        [columns[place] for place in fitting],
        [[row[place] for place in fitting] for row in cells],
        [widths[place] for place in fitting],
        colored=colored,
    )
    return [column.heading for place, column in enumerate(columns) if place not in fitting]


def _fitting(columns: Sequence[Column], widths: Sequence[int]) -> list[int]:
    """Return the places of the columns that fit, as far as they may be left out."""
    kept = list(range(len(columns)))
    room = _width_of_terminal() + _GAP
    leaving = [
        (column.drop_order, place) for place, column in enumerate(columns) if column.drop_order
    ]
    left: list[int] = []
    for _, place in sorted(leaving):
        if sum(_least(columns[one], widths[one]) for one in kept) <= room:
            break
        kept.remove(place)
        left.insert(0, place)
    # A wide one that went last may leave room for narrow ones that went before it.
    for place in left:
        if sum(_least(columns[one], widths[one]) for one in [*kept, place]) <= room:
            kept = sorted([*kept, place])
    return kept


def _width_of_terminal() -> int:
    from shutil import get_terminal_size  # with five modules of archives, which a pipe never needs

    return get_terminal_size().columns


def _least(column: Column, width: int) -> int:
    return _GAP + (min(width, _NARROWEST) if column.wraps else width)


def _cells(text: str) -> int:
    """Return how many cells of a terminal ``text`` takes."""
    if text.isascii():
        return len(text)  # it is escaped already: every character of it shows
    from rich.cells import cell_len

    return cell_len(text)


def _headed(
    columns: Sequence[Column], rows: Sequence[Row], *, headed: bool = True
) -> tuple[list[list[Cell]], list[int]]:
    """Return all cells, the headings first, and the widths of the columns."""
    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    if headed:
        cells.insert(0, [Cell(column.heading, "bold") for column in columns])
    widths = [
        max(_cells(row[place].text) for row in cells) if cells else 0
        for place in range(len(columns))
    ]
    return cells, widths


def _write_whole(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], widths: list[int], *, colored: bool
) -> None:
    """Write one line for each row; by hand, since rich takes a millisecond for each."""
    last = len(columns) - 1
    for row in rows:
        line = ""
        for place, (column, cell, width) in enumerate(zip(columns, row, widths, strict=True)):
            blank = " " * (width - _cells(cell.text))
            text = painted(cell) if colored else cell.text
            line += blank + text if column.is_number else text + blank
            line += "" if place == last else " " * _GAP
        streams.write(line.rstrip() + "\n")


def painted(cell: Cell) -> str:
    """Return the text of a cell in its style."""
    from rich.color import ColorSystem
    from rich.style import Style

    style = Style.parse(cell.style)  # cached
    return style.render(cell.text, color_system=ColorSystem.STANDARD)


def _write_folded(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], widths: list[int], *, colored: bool
) -> None:
    """Write a table that folds long text into the width of the terminal."""
    table, needed = _folded(columns, rows, widths)
    console = _console(needed, colored=colored)
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        streams.write(line.rstrip() + "\n")


def live_table(columns: Sequence[Column], rows: Sequence[Row]) -> Table:
    """Return a table that rich redraws in place."""
    cells, widths = _headed(columns, rows)
    fitting = _fitting(columns, widths)
    return _folded(
        [columns[place] for place in fitting],
        [[row[place] for place in fitting] for row in cells],
        [widths[place] for place in fitting],
    )[0]


def live_console(*, colored: bool) -> Console:
    """Return the terminal behind stdout, of its true size, as rich redraws it."""
    from rich.console import Console

    return Console(
        file=sys.stdout,
        color_system="standard" if colored else None,
        no_color=not colored,
        markup=False,
        emoji=False,
        highlight=False,
    )


def _folded(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], widths: list[int]
) -> tuple[Table, int]:
    """Return the table, and how many cells it needs at least."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, _GAP, 0, 0))
    needed = 0
    for column, width in zip(columns, widths, strict=True):
        needed += _least(column, width)
        table.add_column(
            justify="right" if column.is_number else "left",
            no_wrap=not column.wraps,
            min_width=None if column.wraps else width,
            overflow="fold",
        )
    for row in rows:
        # Text, not str: square brackets in it are no markup.
        table.add_row(*(Text(cell.text, style=cell.style) for cell in row))
    return table, needed


def _console(needed: int, *, colored: bool) -> Console:
    from rich.console import Console

    return Console(
        file=sys.stdout,
        color_system="standard" if colored else None,
        force_terminal=colored,
        no_color=not colored,
        # Wider than a narrow terminal rather than with ids cut: the terminal wraps the line.
        width=max(needed, _width_of_terminal()),
        height=100,
        markup=False,
        emoji=False,
        highlight=False,
    )


def write_facts(facts: Sequence[tuple[str, Cell | str]], *, colored: bool) -> None:
    """Write labelled values, one below the other."""
    columns = [Column("fact"), Column("value", wraps=True)]
    rows = [(Cell(label, "bold"), value) for label, value in facts]
    write_table(columns, rows, colored=colored, headed=False)
