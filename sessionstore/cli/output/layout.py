"""The layout of a table on a terminal: which columns it shows, how wide, and every line of it.

No line is wider than the terminal. Ids stay whole. What a table does for a narrow terminal, in this
order: it takes the short form of texts that have one, leaves columns out, and cuts long texts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sessionstore.cli.output.cells import cut, width_of, wrap

GAP = 2
"""The cells between two columns."""
_ROOMY = 24
"""A table takes the short forms rather than cut another long text to fewer cells."""
_USUAL_ID = 40
"""The cells that a column of ids may take, however few of them need so many."""
_LEAST_CUT = 6
"""The cells that stay of a column that can be cut beside the widest id."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column. Its text stays whole, unless it ``wraps`` or is ``cut``."""

    heading: str
    wraps: bool = False
    """Whether a long text goes on in the lines below, as few tables do."""
    is_cut: bool = False
    """Whether a long text ends in an ellipsis."""
    is_id: bool = False
    """Whether it names the rows. Where an id is too wide, the rest of its row is cut."""
    is_number: bool = False
    least: int = 16
    """The least width in cells of a column that wraps or is cut."""
    drop_order: int | None = None
    """A narrow terminal leaves columns out in this order, the lowest first; None: never."""

    @property
    def is_flexible(self) -> bool:
        """Whether it can be narrower than its text."""
        return self.wraps or self.is_cut


@dataclass(frozen=True, slots=True)
class Cell:
    """Escaped text and its style."""

    text: str
    style: str = ""
    short: str | None = None
    """The same in fewer words, for a narrow terminal."""


Row = Sequence[Cell | str]
Line = list[Cell]
"""The pieces of a line, blanks included."""


def cells_of(row: Row) -> list[Cell]:
    """Return the cells of a row."""
    return [cell if isinstance(cell, Cell) else Cell(cell) for cell in row]


class Layout:
    """The layout of a table within ``room`` cells."""

    def __init__(
        self, columns: Sequence[Column], rows: Sequence[Sequence[Cell]], room: int
    ) -> None:
        self._columns = columns
        self._room = room
        places = range(len(columns))
        self._full = [max(width_of(row[place].text) for row in rows) for place in places]
        self._short = [max(width_of(_shortened(row[place])) for row in rows) for place in places]
        self._widest_id = 0
        self._id_place = next((place for place in places if columns[place].is_id), None)
        if self._id_place is not None:
            self._bound_ids(self._id_place, rows)
        self._kept = self._kept_places()
        self._is_short = False
        self._widths = self._fitted_widths()

    @property
    def hidden(self) -> list[str]:
        """The headings of the columns for which there is no room."""
        return [
            column.heading for place, column in enumerate(self._columns) if place not in self._kept
        ]

    @property
    def runs_over(self) -> bool:
        """Whether an id alone is wider than the terminal, which then breaks its line."""
        return self._widest_id > self._room

    def lines(self, row: Sequence[Cell]) -> Iterator[Line]:
        """Yield the lines of a row."""
        cells = {place: self._chosen(row[place]) for place in self._kept}
        if self._is_squeezed(cells):
            yield self._squeezed(cells)
            return
        folded = {place: self._folded(place, cell.text) for place, cell in cells.items()}
        last = self._kept[-1]
        for number in range(max(map(len, folded.values()))):
            line: Line = []
            for place, texts in folded.items():
                text = texts[number] if number < len(texts) else ""
                if place == last and width_of(text) > self._widths[place]:
                    indent = sum(width_of(cell.text) for cell in line)
                    line = hung(Cell(text, cells[place].style), indent, self._room)
                    continue
                blank = Cell(" " * (self._widths[place] - width_of(text)))
                shown = Cell(text, cells[place].style)
                line += [blank, shown] if self._columns[place].is_number else [shown, blank]
                line.append(Cell(" " * GAP))
            yield line

    # --- widths ----------------------------------------------------------------------------------

    def _bound_ids(self, place: int, rows: Sequence[Sequence[Cell]]) -> None:
        """Let few wide ids not take the room of the other columns: their rows do without columns.

        The column is as wide as three of four ids need, and never so wide that nothing is left of
        the columns that always stay.
        """
        others = [
            min(self._least(other), _LEAST_CUT) if column.is_cut else self._least(other)
            for other, column in enumerate(self._columns)
            if other != place and column.drop_order is None
        ]
        widths = sorted(width_of(row[place].text) for row in rows)
        usual = max(widths[len(widths) * 3 // 4], _USUAL_ID)
        room = min(usual, self._room - sum(width + GAP for width in others))
        self._widest_id = widths[-1]
        self._full[place] = max((width for width in widths if width <= room), default=0)
        self._short[place] = self._full[place]

    def _least(self, place: int) -> int:
        column = self._columns[place]
        width = self._short[place]
        return min(width, column.least) if column.is_flexible else width

    def _kept_places(self) -> list[int]:
        """Return the places of the columns that stay."""
        kept = list(range(len(self._columns)))
        leaving = [
            (column.drop_order, place)
            for place, column in enumerate(self._columns)
            if column.drop_order is not None
        ]
        left: list[int] = []
        for _, place in sorted(leaving):
            if self._fits(map(self._least, kept)):
                break
            kept.remove(place)
            left.insert(0, place)
        # The last column dropped may be wide, and leave room for narrow ones dropped before it.
        for place in left:
            if self._fits(map(self._least, [*kept, place])):
                kept = sorted([*kept, place])
        return kept

    def _fits(self, widths: Iterator[int]) -> bool:
        return sum(width + GAP for width in widths) <= self._room + GAP

    def _fitted_widths(self) -> dict[int, int]:
        widths = self._levelled(self._full)
        flexible = [place for place in self._kept if self._columns[place].is_flexible]
        is_tight = any(widths[place] < self._wanted(place) for place in flexible)
        if is_tight or not self._fits(iter(widths.values())):
            self._is_short = True
            widths = self._levelled(self._short)
        return widths

    def _wanted(self, place: int) -> int:
        """Return the width in cells below which the table takes the short forms."""
        full = self._full[place]
        return full if self._short[place] < full else min(full, _ROOMY)

    def _levelled(self, wanted: Sequence[int]) -> dict[int, int]:
        """Return a width for each column; the widest flexible ones give way first."""
        has_room = self._fits(map(self._least, self._kept))
        least = {place: self._least(place) if has_room else 1 for place in self._kept}
        level = max(wanted, default=0)
        while True:
            widths = {
                place: min(wanted[place], max(level, least[place]))
                if self._columns[place].is_flexible
                else wanted[place]
                for place in self._kept
            }
            if level <= 1 or self._fits(iter(widths.values())):
                return widths
            level -= 1

    # --- rows ------------------------------------------------------------------------------------

    def _chosen(self, cell: Cell) -> Cell:
        return Cell(_shortened(cell), cell.style) if self._is_short else cell

    def _folded(self, place: int, text: str) -> list[str]:
        column, width = self._columns[place], self._widths[place]
        if column.wraps:
            others = [one for one in self._kept if self._columns[one].wraps and one != place]
            may_hang = place == self._kept[-1] and not others
            return wrap(text, width, widest=self._room if may_hang else width)
        return [cut(text, width) if column.is_cut else text]

    def _is_squeezed(self, cells: dict[int, Cell]) -> bool:
        """Return whether a row has to do without the columns: its id or the table is too wide."""
        place = self._id_place
        if place is not None and width_of(cells[place].text) > self._widths[place]:
            return True
        return not self._fits(iter(self._widths.values()))

    def _squeezed(self, cells: dict[int, Cell]) -> Line:
        """Return the cells of a row one after the other, its id whole and the others as they fit.

        What a narrow terminal leaves out last gets its room first.
        """
        shown: dict[int, Cell] = {}
        room = self._room
        for place in sorted(cells, key=self._importance, reverse=True):
            cell = cells[place]
            text = _shortened(cell)
            text = cut(text, room) if self._columns[place].is_flexible else text
            if place == self._id_place or 0 < width_of(text) <= room:
                shown[place] = Cell(text, cell.style)
                room -= width_of(text) + GAP
        return [piece for place in sorted(shown) for piece in (shown[place], Cell(" " * GAP))]

    def _importance(self, place: int) -> tuple[bool, float, int]:
        order = self._columns[place].drop_order
        return place == self._id_place, math.inf if order is None else order, -place


def _shortened(cell: Cell) -> str:
    return cell.text if cell.short is None else cell.short


def hung(cell: Cell, indent: int, room: int) -> Line:
    """Return the line of a text that stands alone below others, further left if it is wide."""
    return [Cell(" " * max(min(indent, room - width_of(cell.text)), 0)), cell]


def flowed(row: Sequence[Cell], room: int) -> Iterator[Line]:
    """Yield the lines of a row that stands alone: its cells one after the other.

    Only the last cell wraps. Further lines begin below the second cell.
    """
    cells = [cell for cell in row if cell.text]
    indent = width_of(cells[0].text) + GAP if cells else 0
    indent = indent if indent <= room // 4 else GAP
    line: Line = []
    used = 0
    for number, cell in enumerate(cells):
        left = room - used - GAP if line else room
        parts = [cell.text]
        if width_of(cell.text) > left:
            wraps_here = number == len(cells) - 1 or not line
            first = left if wraps_here else 0
            parts = wrap(cell.text, room - indent, widest=room, first=first)
        for place, part in enumerate(parts):
            if place:
                yield line
                line = hung(Cell(part, cell.style), indent, room)
            elif part:
                line += [Cell(" " * GAP)] * bool(line) + [Cell(part, cell.style)]
        used = sum(width_of(piece.text) for piece in line)
    yield line
