"""Sessions that a person marks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import invoke
from tests.support.processes import (
    left_active,
    new_session,
    read_state,
)


def test_mark_marks_those_that_it_may_and_says_so(root: Path) -> None:
    new_session(root, "s2")
    left_active(root, "unknown", owner=None, pid=None)
    marked = invoke(root, "mark", "s1", "s2", "cancelled", "--reason", "enough", "-o", "ids")
    assert (marked.exit_code, marked.stdout) == (0, "s1\ns2\n")
    assert read_state(root, "s2")["result"]["error"] == "enough"
    refused = invoke(root, "mark", "unknown", "failed", "--reason", "x")
    assert (refused.exit_code, refused.stdout) == (4, "")
    some = invoke(root, "mark", "unknown", "s1", "failed", "--reason", "x")
    assert (some.exit_code, some.stdout) == (6, "s1  marked failed\n")
    assert invoke(root, "mark", "unknown", "failed", "--reason", "x", "--force").exit_code == 0


@pytest.mark.parametrize(
    "args",
    [
        ["s1", "none", "failed", "--reason", "x"],
        ["s1", "failed", "--reason", " "],
        ["s1", "failed"],
        ["s1", "completed", "--reason", "x"],
    ],
)
def test_mark_changes_nothing_if_it_is_called_wrongly(root: Path, args: list[str]) -> None:
    before = read_state(root, "s1")
    assert invoke(root, "mark", *args).exit_code in (2, 3)
    assert read_state(root, "s1") == before
