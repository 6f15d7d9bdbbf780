"""A new session from a kept state."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.support.cli import (
    data,
    invoke,
)
from tests.support.processes import (
    read_state,
)


def test_fork_prints_nothing_but_the_new_id(root: Path) -> None:
    made = invoke(root, "fork", "s1").stdout
    assert re.fullmatch(r"session_\d{8}_\d{6}_[0-9a-f]{8}\n", made)
    found = data(root, "fork", "s1", "--at", "cp_node_complete.plan", "--as", "f1")
    assert found["session_id"] == "f1"
    assert found["forked_from"]["session_id"] == "s1"
    assert read_state(root, "f1")["data_buffer"] == {"score": 1}
    assert invoke(root, "fork", "s1", "--as", "f1").exit_code == 1
    assert invoke(root, "fork", "s1", "--as", "../x").exit_code == 2
    assert invoke(root, "fork", "s1", "--at", "cp_x").exit_code == 3


def test_a_fork_is_told_in_every_form(paused: Path) -> None:
    assert invoke(paused, "fork", "s1", "--as", "a").stdout == "a\n"
    table = invoke(paused, "fork", "s1", "--as", "b", "-o", "table").stdout
    assert table.startswith("b  forked from s1 at cp_node_complete")
    line = json.loads(invoke(paused, "fork", "s1", "--as", "c", "-o", "jsonl").stdout)
    assert (line["session_id"], line["forked_from"]["session_id"]) == ("c", "s1")
