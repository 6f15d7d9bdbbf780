"""Tables for people: ids stay whole, long text wraps, and a pipe gets one line for each row."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import rich  # noqa: F401 - fails here if it is broken; its parts are imported when needed

from sessionstore.cli import streams

if TYPE_CHECKING:  # half of rich, which a pipe does not need
    from rich.console import Console
    from rich.table import Table

_GAP = 2
_NARROWEST = 16
"""The least width of a column that wraps, in cells."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column. Its text is never cut, and wraps only if ``wraps`` is true."""

    heading: str
    wraps: bool = False
    is_number: bool = False
    drop_order: int | None = None
    """A narrow terminal leaves columns out in this order, the lowest first; None: never."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Escaped text and its style."""

    text: str
    style: str = ""


Row = Sequence[Cell | str]


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
    cells, widths = _headed(columns, rows, headed=headed)
    if not sys.stdout.isatty():
        _write_whole(columns, cells, widths, colored=colored)
        return
    fitting = _fitting(columns, widths)
    _write_folded(
        [columns[place] for place in fitting],
        [[row[place] for place in fitting] for row in cells],
        [widths[place] for place in fitting],
        colored=colored,
    )
    hidden = [column.heading for place, column in enumerate(columns) if place not in fitting]
    if hidden:
        streams.notice(f"too narrow for {', '.join(hidden)}: {elsewhere}")


def write_row(row: Row, *, colored: bool) -> None:
    """Write one row without headings; only its last cell wraps."""
    columns = [Column("", wraps=place == len(row) - 1) for place in range(len(row))]
    write_table(columns, [row], colored=colored, headed=False)


def _fitting(columns: Sequence[Column], widths: Sequence[int]) -> list[int]:
    """Return the places of the columns that stay on a terminal of this width."""
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
    # The last column dropped may be wide, and leave room for narrow ones dropped before it.
    for place in left:
        if sum(_least(columns[one], widths[one]) for one in [*kept, place]) <= room:
            kept = sorted([*kept, place])
    return kept


def _width_of_terminal() -> int:
    from shutil import get_terminal_size  # it loads five modules, which a pipe does not need

    return get_terminal_size().columns


def _least(column: Column, width: int) -> int:
    return _GAP + (min(width, _NARROWEST) if column.wraps else width)


def _cells(text: str) -> int:
    """Return the width of ``text`` in cells of a terminal."""
    if text.isascii():
        return len(text)  # escaped already, so that every character takes a cell
    from rich.cells import cell_len

    return cell_len(text)


def _headed(
    columns: Sequence[Column], rows: Sequence[Row], *, headed: bool = True
) -> tuple[list[list[Cell]], list[int]]:
    """Return all cells, headings first, and the widths of the columns."""
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
    """Write one line for each row, without rich, which takes a millisecond for each."""
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
    """Write a table whose long text wraps within the width of the terminal."""
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


def _folded(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], widths: list[int]
) -> tuple[Table, int]:
    """Return the table and the least width that it needs, in cells."""
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
        # Text, not str: rich takes square brackets in a str for markup.
        table.add_row(*(Text(cell.text, style=cell.style) for cell in row))
    return table, needed


def _console(needed: int, *, colored: bool) -> Console:
    from rich.console import Console

    return Console(
        file=sys.stdout,
        color_system="standard" if colored else None,
        force_terminal=colored,
        no_color=not colored,
        # Rather wider than the terminal, which wraps the line, than with ids cut.
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
