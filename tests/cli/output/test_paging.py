"""``ls --more``: a page, a question, the next page."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import invoke, on_terminal, put


@pytest.fixture
def twelve(tmp_path: Path) -> Path:
    for number in range(12):
        put(tmp_path, f"s{number:02}")
    return tmp_path


def paged(root: Path, *args: str, typed: bytes) -> str:
    given = ("--root", str(root), "ls", "--sort", "session_id", "--more", *args)
    env = {"NO_COLOR": "1", "COLUMNS": "80", "LINES": "10"}
    return on_terminal(*given, both=True, typed=typed, env=env).replace("\r\n", "\n")


def ids_in(shown: str) -> list[str]:
    words = shown.replace("--", "").split()
    return [word for word in words if word.startswith("s") and word[1:].isdigit()]


def test_enter_shows_page_after_page_until_the_last(twelve: Path) -> None:
    shown = paged(twelve, "-n", "5", typed=b"\n\n")
    assert ids_in(shown) == [f"s{number:02}" for number in range(12)]
    assert "-- 7 more: Enter shows the next 5, q stops --" in shown
    assert "-- 2 more: Enter shows the next 5, q stops --" in shown
    assert shown.endswith("12 sessions\n")


def test_q_stops(twelve: Path) -> None:
    shown = paged(twelve, "-n", "5", typed=b"q\n")
    assert ids_in(shown) == [f"s{number:02}" for number in range(5)]


def test_the_end_of_stdin_stops(twelve: Path) -> None:
    shown = paged(twelve, "-n", "5", typed=b"\x04")
    assert ids_in(shown) == [f"s{number:02}" for number in range(5)]


def test_a_page_is_as_long_as_the_terminal_is_high(twelve: Path) -> None:
    assert "-- 5 more: Enter shows the next 7, q stops --" in paged(twelve, typed=b"q\n")


def test_filters_hold_for_every_page(twelve: Path) -> None:
    put(twelve, "other", "{")
    shown = paged(twelve, "-n", "8", "--status", "completed", typed=b"\n")
    assert len(ids_in(shown)) == 12
    assert "other" not in shown


def test_nothing_to_page_through_is_said(twelve: Path) -> None:
    assert paged(twelve, "--status", "failed", typed=b"") == "no session matches\n"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "--more asks on a terminal; into a pipe or a file, -n 0 lists all"),
        (("-o", "json"), "it goes with neither -o nor --watch"),
        (("--watch",), "it goes with neither -o nor --watch"),
    ],
)
def test_where_nobody_can_answer_it_is_a_usage_error(
    twelve: Path, args: tuple[str, ...], said: str
) -> None:
    result = invoke(twelve, "ls", "--more", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
