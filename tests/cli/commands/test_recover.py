"""What a sweep marks, what it leaves alone, and how it ends."""

from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path

import pytest

from sessionstore import Session, SessionState, StorageError
from sessionstore.storage.files.backend import FilesBackend
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


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no process can be killed here")
def test_what_could_not_be_marked_is_told_whole_and_exits_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_behind(tmp_path, "left")
    reason = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def refuse(*_: object, **__: object) -> None:
        raise StorageError("lock", tmp_path / "locks" / "left.lock", reason)

    monkeypatch.setattr(FilesBackend, "claim", refuse)
    result = invoke(tmp_path, "recover", "--apply")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[1].startswith("left  could not mark  ")
    counts, told = result.stderr.splitlines()
    assert counts == "0 sessions marked failed, could not mark 1"
    assert told.startswith("sessionstore: could not mark left: ")
    assert "No space left on device" in told


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
