"""Every way for a session to stop leaves what docs/concepts.md says; `make stops` writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.processes import CHECKOUT
from tests.support.stops import WAYS
from tools.docs import stop_table
from tools.docs.stop_table import Left, Row


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """What the stops leave, each tried with a session of its own."""
    place = tmp_path_factory.mktemp("stops")
    stop_table.stop_all(place)
    return stop_table.measure(place)


def every(rows: list[Row]) -> list[tuple[str, Left]]:
    return [(row.name, left) for row in rows for left in (row.bare, row.kept)]


def test_the_table_of_the_page_is_what_the_stops_leave(rows: list[Row]) -> None:
    page = Path(CHECKOUT / "docs/concepts.md").read_text()
    table = page.partition(stop_table.BEGIN)[2].partition(stop_table.END)[0].strip()
    assert table.splitlines() == stop_table.render(rows).splitlines(), "`make stops` writes it"


def test_a_session_stops_alike_whether_it_is_awaited_or_not(rows: list[Row]) -> None:
    assert [row.name for row in rows] == [way.name for way in WAYS]


def test_the_loop_offers_exactly_what_was_interrupted(rows: list[Row]) -> None:
    for name, left in every(rows):
        assert left.is_offered is left.is_interrupted, name
        assert not left.is_offered or left.status in ("failed", "paused"), name
        assert not left.is_offered or left.crashes + left.stops == 1 or "import" in name, name


def test_a_kill_counts_as_a_crash_and_a_stop_as_a_stop(rows: list[Row]) -> None:
    for name, left in every(rows):
        is_killed = "kill" in name or "_exit" in name or "nobody handles" in name
        assert left.crashes == (is_killed and "import" not in name), name
        assert not (left.crashes and left.stops), name


def test_a_resume_never_goes_on_from_before_the_last_save_for_lack_of_a_checkpoint(
    rows: list[Row],
) -> None:
    for row in rows:
        if "before the first save" not in row.name:
            assert row.bare.restored in ("last save", "at the stop", "the edit"), row.name
