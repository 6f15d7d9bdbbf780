"""How two states of a session differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessionstore import SessionStore
from tests.support.cli import data, invoke


def test_diff_folds_large_values_and_shows_them_if_asked(root: Path) -> None:
    result = invoke(root, "diff", "s1", "r2", "r3")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[2:] == [
        '~ progress.current_node: "plan" -> "fetch"',
        "~ data_buffer.score: 1 -> 2",
    ]
    folded = invoke(root, "diff", "s1").stdout
    assert "+ data_buffer.pages: [… 100 items, 6,400 characters]" in folded
    assert "x" * 60 in invoke(root, "diff", "s1", "--full").stdout
    assert "revision" not in [line.split()[1] for line in folded.splitlines()[2:]]
    assert "~ revision: 3 -> 4" in invoke(root, "diff", "s1", "--all").stdout
    found = data(root, "diff", "s1")
    assert found["differs"] is True
    (pages,) = (item for item in found["differences"] if item["path"] == "data_buffer.pages")
    assert len(pages["after"]) == 100


def test_long_texts_that_differ_late_are_shown_where_they_differ(tmp_path: Path) -> None:
    with SessionStore(tmp_path).create("goal", session_id="s1") as session:
        session.state.data_buffer["text"] = "a" * 5000 + "old"
        session.checkpoint()
        session.state.data_buffer["text"] = "a" * 5000 + "new" + "b" * 5000
        session.fail("bad")
    lines = invoke(tmp_path, "diff", "s1").stdout.splitlines()
    place = lines.index("~ data_buffer.text:")
    assert lines[place + 1] == f'    … 4,980 equal characters, then "{"a" * 20}old"'
    assert f'then "{"a" * 20}newbb' in lines[place + 2]
    assert max(map(len, lines)) < 150


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["r2", "r3"], 0),
        (["r2", "r3", "--exit-code"], 1),
        (["r3", "r3", "--exit-code"], 0),
        (["--exit-code", "-o", "json"], 1),
        (["cp_node"], 2),
        (["cp_x"], 3),
    ],
)
def test_diff_tells_by_its_exit_code_only_if_asked(root: Path, args: list[str], code: int) -> None:
    assert invoke(root, "diff", "s1", *args).exit_code == code
