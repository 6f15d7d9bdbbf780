"""``sessionstore prune``: what it prints, and what a script can tell from how it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.cli import HOSTILE, acting, hashes, invoke, process, put, run, state
from tests.support.processes import DEADLINE, Child, needs_linux, rounds, until

OLD = {"started_at": "2026-01-25T17:09:03+00:00", "updated_at": "2026-01-25T17:10:03+00:00"}

NEW = {"started_at": "2999-01-25T17:09:03+00:00", "updated_at": "2999-01-25T17:10:03+00:00"}


def fill(root: Path) -> None:
    put(root, "old", state("old", timestamps=OLD))
    put(root, "new", state("new", timestamps=NEW))
    put(root, "paused", state("paused", timestamps=OLD, status="paused"))


def test_it_deletes_nothing_unless_told_to(tmp_path: Path) -> None:
    fill(tmp_path)
    before = hashes(tmp_path)
    result = invoke(tmp_path, "prune", "--older-than", "30d")
    assert result.exit_code == 0
    assert "old" in result.stdout
    assert "would go" in result.stdout
    assert "add --apply" in result.stderr
    assert hashes(tmp_path) == before


def test_a_dry_run_that_takes_every_session_names_the_clock(tmp_path: Path) -> None:
    """As where the clock is ahead: then all is old."""
    fill(tmp_path)
    question = "is that right?"
    every = ["-s", "completed", "-s", "paused"]
    assert question not in invoke(tmp_path, "prune", "--older-than", "30d", *every).stderr
    shutil.rmtree(tmp_path / "sessions" / "new")
    result = invoke(tmp_path, "prune", "--older-than", "30d", *every)
    assert "every session would go; the clock says" in result.stderr
    assert question in result.stderr
    assert question not in invoke(tmp_path, "prune", "--keep-last", "0", *every).stderr
    assert question not in invoke(tmp_path, "prune", "--older-than", "30d", "-s", "paused").stderr


def test_it_deletes_what_the_policy_lets_go(tmp_path: Path) -> None:
    fill(tmp_path)
    result = invoke(tmp_path, "prune", "--older-than", "30d", "--apply", "-o", "ids")
    assert (result.exit_code, result.stdout) == (0, "old\n")
    assert "1 session deleted" in result.stderr
    assert sorted(os.listdir(tmp_path / "sessions")) == ["new", "paused"]


def test_the_object_tells_all_of_it(tmp_path: Path) -> None:
    fill(tmp_path)
    args = ["prune", "--older-than", "30d", "-s", "completed", "-s", "paused", "--max-size", "1G"]
    said = json.loads(invoke(tmp_path, *args, "-o", "json").stdout)
    assert said["schema"] == "sessionstore.pruned/1"
    assert said["dry_run"] is True
    assert [item["session_id"] for item in said["sessions"]] == ["old", "paused"]
    assert said["freed"] == sum(item["freed"] for item in said["sessions"]) > 0
    assert said["total_bytes"] > said["freed"]
    lines = invoke(tmp_path, *args, "-o", "jsonl").stdout.splitlines()
    schema = {"schema": "sessionstore.pruned.line/1"}
    assert [json.loads(line) for line in lines] == [schema | item for item in said["sessions"]]


def test_checkpoints_are_counted(tmp_path: Path) -> None:
    from sessionstore import SessionStore

    with SessionStore(tmp_path).create("g", session_id="s1") as session:
        for _ in range(5):
            session.checkpoint()
        session.complete()
    result = invoke(tmp_path, "prune", "--keep-checkpoints", "2", "--apply")
    assert result.exit_code == 0
    assert "3 checkpoints of 1 other session" in result.stderr
    assert len(os.listdir(tmp_path / "sessions" / "s1" / "checkpoints")) == 2


def test_no_limit_is_a_usage_error(tmp_path: Path) -> None:
    fill(tmp_path)
    for args in ([], ["-s", "completed"], ["--apply"]):
        result = invoke(tmp_path, "prune", *args)
        assert result.exit_code == 2
        assert "--older-than" in result.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("--older-than", "soon"),
        ("--older-than", "9" * 5000 + "d"),
        ("--max-size", "much"),
        ("--keep-last", "-1"),
        ("--older-than", "1d", "-s", "active"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(tmp_path: Path, args: tuple[str, ...]) -> None:
    fill(tmp_path)
    assert invoke(tmp_path, "prune", *args).exit_code == 2


def test_damage_exits_with_5_and_stays(tmp_path: Path) -> None:
    fill(tmp_path)
    put(tmp_path, "torn", "{")
    result = invoke(tmp_path, "prune", "--older-than", "30d", "--apply")
    assert result.exit_code == 5
    assert sorted(os.listdir(tmp_path / "sessions")) == ["new", "paused", "torn"]


def test_partly_done_exits_with_6(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "locks" / "old.lock").mkdir(parents=True)
    put(tmp_path, "other", state("other", timestamps=OLD))
    result = invoke(tmp_path, "prune", "--older-than", "30d", "--apply")
    assert result.exit_code == 6
    assert "1 failed" in result.stderr
    assert sorted(os.listdir(tmp_path / "sessions")) == ["new", "old", "paused"]


def test_text_from_a_session_reaches_the_terminal_escaped(tmp_path: Path) -> None:
    put(tmp_path, "h", state("h", goal_id=HOSTILE, timestamps={**OLD, "completed_at": HOSTILE}))
    put(tmp_path, "damaged", state(HOSTILE))
    for form in ("table", "json", "jsonl", "ids"):
        result = invoke(tmp_path, "prune", "--older-than", "1d", "-o", form, "--color", "always")
        assert result.exit_code == 5
        assert acting(result.stdout) == acting(result.stderr) == set()


@dataclass(frozen=True)
class Interrupted:
    """A run that was interrupted after it had deleted some sessions, but not all."""

    root: Path
    args: tuple[str, ...]
    status: int
    out: str
    told: str
    gone: set[str]
    left: set[str]


def interrupted_prune(place: Path, *options: str) -> Interrupted:
    """Prune a new store, and interrupt it in the middle."""
    names = {f"s{number:03}" for number in range(150)}
    for number in rounds("a prune that was interrupted in the middle"):
        root = place / f"store-{number}"
        for name in names:
            put(root, name, state(name, timestamps=OLD))
        args = ("--root", str(root), "prune", *options, "--apply")

        def some_are_gone(there: Path = root / "sessions") -> bool:
            return len(os.listdir(there)) < len(names) - 3

        with process(*args, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            until(some_are_gone, "some to be gone")
            child.send_signal(signal.SIGINT)
            out, told = (text.decode() for text in child.communicate(timeout=DEADLINE))
        if left := set(os.listdir(root / "sessions")):
            return Interrupted(root, args, child.returncode, out, told, names - left, left)
    raise AssertionError


def test_ctrl_c_exits_with_130_and_the_next_run_goes_on(tmp_path: Path) -> None:
    done = interrupted_prune(tmp_path, "--older-than", "30d")
    assert done.status == 130
    assert "interrupted" in done.told
    again = run(*done.args, "-o", "ids")
    assert (again.returncode, set(again.stdout.split())) == (0, done.left)
    assert os.listdir(done.root / "sessions") == os.listdir(done.root / "trash") == []


def test_a_live_holder_is_named(tmp_path: Path) -> None:
    fill(tmp_path)
    with Child("act", tmp_path) as holder:
        holder.hear()
        holder.ask("claim", session_id="old")
        result = invoke(tmp_path, "prune", "--older-than", "30d", "--apply")
        assert result.exit_code == 0
        assert f"is held by pid {holder.pid}" in result.stdout
        assert "1 spared" in result.stderr
    assert (tmp_path / "sessions" / "old").exists()


@needs_linux("SIGINT is sent to one process")
@pytest.mark.parametrize("form", ["ids", "table"])
def test_an_interrupted_run_tells_what_went_and_that_it_goes_on(tmp_path: Path, form: str) -> None:
    done = interrupted_prune(tmp_path, "--older-than", "1d", "-o", form)
    assert done.status == 130
    said = re.match(
        r"(\d+) sessions deleted before the interruption; the same command continues\n", done.told
    )
    assert said, done.told
    # The one at whose end it was interrupted may be gone and not be counted.
    assert len(done.gone) - 1 <= int(said[1]) <= len(done.gone)
    if form == "ids":
        assert len(done.out.split()) == int(said[1])
        assert set(done.out.split()) <= done.gone
    assert done.told.endswith("sessionstore: interrupted\n")
    assert run(*done.args).returncode == 0
    assert os.listdir(done.root / "sessions") == []
