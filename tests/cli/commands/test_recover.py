"""What a sweep marks, what it leaves alone, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sessionstore import Session, SessionState
from tests.support.cli import (
    GONE,
    hashes,
    invoke,
    leave_behind,
    put,
    state,
)
from tests.support.foreign_stores import ForeignStore, each_store
from tests.support.processes import read_state


def test_a_dry_run_changes_nothing_and_says_how_to_apply(tmp_path: Path) -> None:
    leave_behind(tmp_path, "left")
    before = hashes(tmp_path)
    result = invoke(tmp_path, "recover")
    assert result.exit_code == 0
    assert "would be failed" in result.stdout
    assert "--apply" in result.stderr
    assert hashes(tmp_path) == before


@pytest.mark.parametrize("status", ["failed", "paused", "cancelled"])
def test_apply_marks_what_dead_processes_left(tmp_path: Path, status: str) -> None:
    leave_behind(tmp_path, "left")
    result = invoke(tmp_path, "recover", "--apply", "--mark-as", status, "-o", "json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert (report["schema"], report["dry_run"]) == ("sessionstore.recovery/1", False)
    assert [item["session_id"] for item in report["swept"]] == ["left"]
    assert read_state(tmp_path, "left")["status"] == status
    assert read_state(tmp_path, "left")["pid"] is None
    assert invoke(tmp_path, "recover", "--apply", "-o", "ids").stdout == ""
    offered = "" if status == "cancelled" else "left\n"
    assert invoke(tmp_path, "ls", "--interrupted", "-o", "ids").stdout == offered


def test_assume_dead_that_names_a_live_session_does_not_touch_it_and_exits_with_4(
    tmp_path: Path, held: Session[SessionState]
) -> None:
    root = tmp_path / "store"
    before = read_state(root, "held")
    result = invoke(root, "recover", "--apply", "--assume-dead", "held")
    assert result.exit_code == 4
    assert f"held by pid {held.owner.pid}" in result.stderr
    assert read_state(root, "held") == before
    assert invoke(root, "recover", "--apply").exit_code == 0  # merely alive is no trouble


def test_an_unknown_owner_is_left_alone_unless_a_person_names_it(tmp_path: Path) -> None:
    put(tmp_path, "unknown-1", state("unknown-1", status="active"))
    untold = invoke(tmp_path, "recover", "--apply")
    assert untold.exit_code == 0
    assert "no owner recorded" in untold.stdout
    assert "--assume-dead" in untold.stderr
    assert read_state(tmp_path, "unknown-1")["status"] == "active"
    told = invoke(tmp_path, "recover", "--apply", "--assume-dead", "unknown", "-o", "ids")
    assert (told.exit_code, told.stdout) == (0, "unknown-1\n")
    assert read_state(tmp_path, "unknown-1")["status"] == "failed"


def test_assume_dead_of_a_session_that_is_not_active_says_so(tmp_path: Path) -> None:
    put(tmp_path, "done")
    before = hashes(tmp_path)
    result = invoke(tmp_path, "recover", "--apply", "--assume-dead", "done")
    assert result.exit_code == 0
    assert "done is not active" in result.stderr
    assert hashes(tmp_path) == before


def test_damage_does_not_stop_a_sweep_and_shows_in_the_exit_code(tmp_path: Path) -> None:
    torn = put(tmp_path, "torn", "{")
    put(tmp_path, "left", state("left", status="active", pid=GONE))
    result = invoke(tmp_path, "recover", "--apply", "-o", "jsonl")
    assert result.exit_code == 5
    outcomes = {
        item["session_id"]: item["outcome"] for item in map(json.loads, result.stdout.splitlines())
    }
    assert outcomes == {"left": "swept", "torn": "damaged"}
    assert read_state(tmp_path, "left")["status"] == "failed"
    assert torn.read_text() == "{"


@each_store
def test_recover_of_such_a_store_marks_exactly_what_dead_processes_left(
    foreign: ForeignStore, tmp_path: Path
) -> None:
    root = foreign.copy_to(tmp_path / "home")
    before = hashes(root)
    result = invoke(root, "recover", "--apply", "-o", "json")
    assert result.exit_code == 5
    report = json.loads(result.stdout)
    swept = {item["session_id"] for item in report["swept"]}
    assert swept == foreign.left_behind
    assert {item["session_id"] for item in report["alive"]} == foreign.alive
    assert {item["session_id"] for item in report["unknown"]} == foreign.without_pid
    assert {item["reason"] for item in report["unknown"]} == {"no owner recorded"}
    assert {item["session_id"] for item in report["damaged"]} == foreign.damaged
    after = hashes(root)
    changed = {name for name, digest in before.items() if after.get(name) != digest}
    assert changed == {f"sessions/{session_id}/state.json" for session_id in swept}
    assert {read_state(root, session_id)["status"] for session_id in swept} == {"failed"}
