"""The layout of tables: nothing wider than the terminal, and ids whole."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sessionstore.cli.output.cells import width_of
from sessionstore.cli.output.layout import Cell, Column, Layout, Line, flowed

words = st.text(alphabet="abc 送🚀", max_size=60)
ids = st.text(alphabet="abc-", min_size=1, max_size=60)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[Column], list[list[Cell]]]:
    """Return a table whose column of ids stands anywhere."""
    others = [
        Column(
            draw(st.sampled_from(["STATUS", "GOAL", "UPDATED"])),
            is_cut=draw(st.booleans()),
            wraps=draw(st.booleans()),
            is_number=draw(st.booleans()),
            least=draw(st.integers(3, 20)),
            drop_order=draw(st.none() | st.integers(0, 9)),
        )
        for _ in range(draw(st.integers(0, 6)))
    ]
    place = draw(st.integers(0, len(others)))
    columns = [*others[:place], Column("ID", is_id=True), *others[place:]]
    rows = [
        [
            Cell(draw(ids))
            if column.is_id
            else Cell(draw(words), short=draw(st.none() | st.text(alphabet="ab", max_size=5)))
            for column in columns
        ]
        for _ in range(draw(st.integers(1, 6)))
    ]
    return columns, [[Cell(column.heading) for column in columns], *rows]


def text_of(line: Line) -> str:
    return "".join(cell.text for cell in line).rstrip()


@given(tables(), st.integers(20, 140))
@settings(deadline=None)
def test_no_line_is_wider_than_the_terminal_but_for_an_id_that_is(
    table: tuple[list[Column], list[list[Cell]]], room: int
) -> None:
    columns, rows = table
    layout = Layout(columns, rows, room)
    place = next(place for place, column in enumerate(columns) if column.is_id)
    for row in rows:
        lines = [text_of(line) for line in layout.lines(row)]
        session_id = row[place].text
        assert session_id in lines[0], "an id is never shortened"
        assert max(map(width_of, lines)) <= max(room, width_of(session_id))
        if not any(column.wraps for column in columns):
            assert len(lines) == 1
    assert layout.runs_over == any(width_of(row[place].text) > room for row in rows)


USUAL = [
    Column("ID", is_id=True),
    Column("STATUS", is_cut=True, least=11),
    Column("REMARK", is_cut=True),
]
SHORT = Cell("failed, interrupted", short="interrupted")


def shown(rows: list[list[Cell]], room: int, columns: list[Column] = USUAL) -> list[str]:
    layout = Layout(columns, rows, room)
    return [text_of(line) for row in rows for line in layout.lines(row)]


def test_a_table_takes_short_words_before_it_cuts_a_text_to_little() -> None:
    rows = [[Cell("s1"), SHORT, Cell("ValueError: no such city: Atlantis")]]
    assert shown(rows, 80) == ["s1  failed, interrupted  ValueError: no such city: Atlantis"]
    assert shown(rows, 50) == ["s1  failed, interrupted  ValueError: no such city…"]
    assert shown(rows, 40) == ["s1  interrupted  ValueError: no such ci…"]


def test_one_long_id_takes_the_room_of_its_own_row_only() -> None:
    rows = [[Cell(f"s{number}"), SHORT, Cell("pid 4711 gone")] for number in range(5)]
    rows.append([Cell("a-long-id" * 6), SHORT, Cell("pid 4711 gone")])
    lines = shown(rows, 60)
    assert lines[0] == "s0  failed, interrupted  pid 4711 gone"
    assert lines[-1] == "a-long-id" * 6 + "  int…"


def test_columns_leave_in_their_order_and_are_named() -> None:
    columns = [Column("ID", is_id=True), Column("A", drop_order=2), Column("B", drop_order=1)]
    rows = [[Cell("s1"), Cell("a" * 10), Cell("b" * 10)]]
    assert Layout(columns, rows, 26).hidden == []
    assert Layout(columns, rows, 25).hidden == ["B"]
    assert Layout(columns, rows, 13).hidden == ["A", "B"]
    assert shown(rows, 14, columns) == ["s1  " + "a" * 10]


@given(st.lists(words, min_size=1, max_size=6), st.integers(20, 100))
@settings(deadline=None)
def test_a_row_that_stands_alone_is_not_wider_than_the_terminal(
    texts: list[str], room: int
) -> None:
    row = [Cell(text) for text in texts]
    lines = [text_of(line) for line in flowed(row, room)]
    assert max(map(width_of, lines)) <= room
    assert "".join(lines).replace(" ", "") == "".join(texts).replace(" ", "")


def test_only_the_last_cell_of_such_a_row_wraps() -> None:
    row = [Cell("r12"), Cell("2,034 steps"), Cell("one two three four five six")]
    assert [text_of(line) for line in flowed(row, 25)] == [
        "r12  2,034 steps  one two",
        "     three four five six",
    ]
    assert [text_of(line) for line in flowed(row, 13)][:2] == ["r12", "  2,034 steps"]
