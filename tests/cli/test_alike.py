"""What one command takes, says or ends with, others do alike."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sessionstore import SessionStore
from sessionstore.cli.commands import COMMANDS
from sessionstore.cli.options.units import Duration
from tests.cli.test_every_command import forms_of
from tests.support.cli import invoke, put
from tests.support.processes import new_session, session_path

LINES = {
    "ls": "ls",
    "show": "show s1",
    "explain": "explain s1",
    "history": "history s1",
    "diff": "diff s1 r2 r3",
    "stats": "stats",
    "watch": "watch --timeout 0.1",
    "tail": "tail s1",
    "recover": "recover",
    "mark": "mark s1 cancelled --reason x",
    "cancel": "cancel s1",
    "fork": "fork s1",
    "export": "export --all -O {new}.tar",
    "import": "import {old}.tar",
    "delete": "delete s1 --yes",
    "prune": "prune --older-than 1s",
    "fsck": "fsck",
    "doctor": "doctor",
}
"""A run of every command that has lines of JSON, with at least one line to write."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "store"
    with SessionStore(root).create("goal", session_id="s1") as session:
        session.checkpoint("node_complete", node="plan")
        session.pause()
    put(root, "torn", "{")
    assert SessionStore(root).export_sessions(tmp_path / "old.tar", ["s1"]).is_whole
    return root


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "completion"])
def test_every_line_of_json_names_its_schema(root: Path, name: str) -> None:
    assert ("-o", "jsonl") in forms_of(name)
    words = LINES[name].format(new=root.parent / "new", old=root.parent / "old").split()
    result = invoke(root, *words, "-o", "jsonl")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert lines, result.stderr
    for line in lines:
        assert line["schema"].startswith("sessionstore.")
        assert line["schema"].endswith("/1")
        assert len(line) > 1
    if name in ("watch", "tail"):
        return  # their lines are objects in -o json, too
    again = LINES[name].format(new=root.parent / "newer", old=root.parent / "old").split()
    whole = invoke(root, *again, "-o", "json")
    if whole.stdout:
        kind = json.loads(whole.stdout)["schema"].replace("session/", "several/")
        assert lines[0]["schema"] == kind.replace("/", ".line/")


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("30", 30),
        ("0.5", 0.5),
        (".5", 0.5),
        ("30s", 30),
        ("0.5s", 0.5),
        ("5m", 300),
        ("1h30m", 5400),
    ],
)
def test_lengths_of_time_are_read_alike(given: str, seconds: float) -> None:
    assert Duration().convert(given, None, None) == seconds


@pytest.mark.parametrize("given", ["nan", "inf", "-1", "x", "", "1e9", "0.05"])
@pytest.mark.parametrize("command", ["watch --timeout", "cancel s1 --wait", "ls --watch"])
def test_what_is_no_length_of_time_is_refused(root: Path, command: str, given: str) -> None:
    if given == "-1" and command.startswith("ls"):
        return  # its value may be left out, so that is an option, and none that there is
    if given == "0.05" and not command.startswith("ls"):
        return  # a listing must not keep a processor busy; waiting so long is fine
    result = invoke(root, *command.split(), given)
    assert result.exit_code == 2
    assert "length of time" in result.stderr or "less than 0.1" in result.stderr


@pytest.mark.parametrize("given", ["0.1", "0.1s"])
def test_commands_take_plain_seconds_and_units(root: Path, given: str) -> None:
    assert invoke(root, "watch", "--timeout", given).exit_code == 0
    assert invoke(root, "cancel", "s1", "--wait", given).exit_code == 1  # it is paused


def test_a_fork_is_told_in_every_form(root: Path) -> None:
    assert invoke(root, "fork", "s1", "--as", "a").stdout == "a\n"
    table = invoke(root, "fork", "s1", "--as", "b", "-o", "table").stdout
    assert table.startswith("b  forked from s1 at cp_pause")
    line = json.loads(invoke(root, "fork", "s1", "--as", "c", "-o", "jsonl").stdout)
    assert (line["session_id"], line["forked_from"]["session_id"]) == ("c", "s1")


def test_an_import_that_took_nothing_is_not_partly_done(root: Path, tmp_path: Path) -> None:
    assert invoke(root, "import", str(tmp_path / "old.tar")).exit_code == 1
    SessionStore(root).fork("s1", new_id="s2")
    SessionStore(root).export_sessions(tmp_path / "two.tar", ["s1", "s2"])
    SessionStore(root).delete("s2")
    assert invoke(root, "import", str(tmp_path / "two.tar")).exit_code == 6


def test_an_export_into_a_directory_that_is_missing_says_what_to_do(root: Path) -> None:
    target = root.parent / "none" / "x.tar"
    result = invoke(root, "export", "s1", "-O", str(target))
    assert result.exit_code == 1
    assert f"there is no directory {target.parent}: make it first" in result.stderr
    assert not os.path.exists(target.parent)


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "ids"])
def test_show_and_explain_agree_that_a_missing_checkpoint_is_damage(root: Path, form: str) -> None:
    latest = SessionStore(root).load("s1").latest_checkpoint_id
    (session_path(root, "s1") / "checkpoints" / f"{latest}.json").unlink()
    for command in ("show", "explain"):
        assert invoke(root, command, "s1", "-o", form).exit_code == 5
    new_session(root, "bare", checkpoint=False)
    assert invoke(root, "show", "bare", "-o", form).exit_code == 0


def test_show_ls_and_explain_count_the_same_steps(root: Path) -> None:
    with SessionStore(root).create("goal", session_id="path") as session:
        session.state.progress.path += ["a", "b"]
        session.checkpoint()
        session.fail("x")
    (listed,) = json.loads(
        invoke(root, "ls", "--goal", "goal", "-s", "failed", "-o", "json").stdout
    )["sessions"]
    assert listed["steps_executed"] == 0
    told = invoke(root, "explain", "path").stdout
    assert "2 nodes visited" in told
    assert "steps done" not in told
