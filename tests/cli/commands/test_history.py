"""The timeline of a session, its parent and its forks."""

from __future__ import annotations

import re
from pathlib import Path

from sessionstore import SessionStore
from tests.support.cli import data, invoke


def test_history_is_a_timeline(root: Path) -> None:
    lines = invoke(root, "history", "s1").stdout.splitlines()
    assert [re.split(r"  +", line.strip())[1:3] for line in lines] == [
        ["REVISION", "WHAT"],
        ["1", "created"],
        ["2", "node_complete"],
        ["3", "node_complete"],
        ["4", "now failed"],
    ]
    assert lines[3].endswith("latest")
    ids = invoke(root, "history", "s1", "-o", "ids").stdout.split()
    assert ids == [item.checkpoint_id for item in SessionStore(root).checkpoints("s1")]
    found = data(root, "history", "s1")
    assert (found["schema"], "forks" in found) == ("sessionstore.history/1", False)
    assert [item["kind"] for item in found["history"]["moments"]] == [
        "created",
        "checkpoint",
        "checkpoint",
        "present",
    ]


def test_history_names_parent_and_forks(root: Path) -> None:
    made = invoke(root, "fork", "s1", "--at", "r2", "--as", "f1")
    assert (made.exit_code, made.stdout) == (0, "f1\n")
    assert "not copied" in made.stderr
    shown = invoke(root, "history", "s1", "--forks")
    assert re.match(r"f1 +cp_node_complete\.plan\.r2\.", shown.stdout.splitlines()[-1])
    (fork,) = data(root, "history", "s1", "--forks")["forks"]
    assert (fork["session_id"], fork["revision"]) == ("f1", 2)
    assert invoke(root, "history", "f1").stdout.startswith("forked from  s1 at cp_node")
    assert "forked from" in invoke(root, "show", "f1").stdout


def test_history_shows_a_page_of_the_newest(root: Path) -> None:
    shown = invoke(root, "history", "s1", "-n", "1")
    assert len(shown.stdout.splitlines()) == 4
    assert "1 older checkpoint left out: -n 0 shows all" in shown.stderr
    assert len(invoke(root, "history", "s1", "-n", "0").stdout.splitlines()) == 5
    (one,) = invoke(root, "history", "s1", "-n", "1", "-o", "ids").stdout.split()
    assert one == SessionStore(root).checkpoint_names("s1")[-1]


def test_damage_that_is_not_shown_is_not_looked_for(root: Path) -> None:
    older, _ = SessionStore(root).checkpoint_names("s1")
    (root / "sessions" / "s1" / "checkpoints" / f"{older}.json").unlink()
    (root / "sessions" / "s1" / "checkpoints" / f"{older}.json").write_text("{")
    assert invoke(root, "history", "s1").exit_code == 5
    assert invoke(root, "history", "s1", "-n", "1").exit_code == 0
