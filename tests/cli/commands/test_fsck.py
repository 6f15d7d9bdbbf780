"""``sessionstore fsck``: what it prints, and what a script can tell from how it ends."""

from __future__ import annotations

import json
from pathlib import Path

from sessionstore import SessionStore
from tests.support.cli import HOSTILE, acting, hashes, invoke, put, run, state
from tests.support.foreign_stores import ForeignStore, each_store
from tests.support.processes import new_session, state_path


def test_a_sound_store_exits_with_0_and_prints_no_data(tmp_path: Path) -> None:
    new_session(tmp_path)
    result = invoke(tmp_path, "fsck")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "1 session checked, nothing was found" in result.stderr


@each_store
def test_damage_exits_with_5_until_it_is_repaired(foreign: ForeignStore, tmp_path: Path) -> None:
    root = foreign.copy_to(tmp_path / "hive")
    bad = sorted(foreign.damaged | foreign.torn_checkpoints)
    before = hashes(root)
    found = invoke(root, "fsck", "-o", "ids")
    assert (found.exit_code, sorted(set(found.stdout.split()))) == (5, bad)
    assert "nothing was changed" in found.stderr
    assert hashes(root) == before
    repaired = invoke(root, "fsck", "--repair")
    assert repaired.exit_code == 0
    for session_id in bad:
        assert session_id in repaired.stdout
    assert len(list((root / "quarantine").iterdir())) == len(bad)
    again = invoke(root, "fsck", "--repair", "-o", "ids")
    assert (again.exit_code, again.stdout) == (0, "")


def test_damage_that_cannot_be_repaired_exits_with_5(tmp_path: Path) -> None:
    session = SessionStore(tmp_path).create("g", session_id="held")
    state_path(tmp_path, "held").write_bytes(b"{")
    result = invoke(tmp_path, "fsck", "--repair", "-o", "json")
    assert result.exit_code == 5
    (finding,) = json.loads(result.stdout)["findings"]
    assert "is held by this process: pid" in finding["repair"]
    assert state_path(tmp_path, "held").read_bytes() == b"{"
    session._writer.free()


def test_lines_carry_the_same_fields_as_the_object(tmp_path: Path) -> None:
    put(tmp_path, "torn", "{")
    put(tmp_path, "paused", state("paused", latest_checkpoint_id="gone"))
    whole = json.loads(invoke(tmp_path, "fsck", "-o", "json").stdout)
    lines = invoke(tmp_path, "fsck", "-o", "jsonl").stdout.splitlines()
    schema = {"schema": "sessionstore.checkup.line/1"}
    assert [json.loads(line) for line in lines] == [schema | item for item in whole["findings"]]
    assert whole["schema"] == "sessionstore.checkup/1"
    assert (whole["checked"], whole["repair"], whole["has_damage"]) == (2, False, True)
    kinds = {item["session_id"]: item["kind"] for item in whole["findings"] if item["is_damage"]}
    assert kinds == {"torn": "damaged_state", "paused": "dangling_checkpoint"}


def test_text_from_a_session_reaches_the_terminal_escaped(tmp_path: Path) -> None:
    put(tmp_path, "h", state("h", latest_checkpoint_id=HOSTILE))
    put(tmp_path, "torn", json.dumps(state(HOSTILE)))
    hostile = tmp_path / "sessions" / "\x1b[2J\u202e"
    hostile.mkdir()
    for form in ("table", "json", "jsonl", "ids"):
        result = invoke(tmp_path, "fsck", "-o", form, "--color", "always")
        assert result.exit_code == 5
        assert acting(result.stdout) == set()
        assert acting(result.stderr) == set()


def test_a_store_is_never_created(tmp_path: Path) -> None:
    result = invoke(tmp_path / "missing", "fsck", "--repair")
    assert result.exit_code == 3
    assert list(tmp_path.iterdir()) == []


def test_the_installed_command_knows_it(tmp_path: Path) -> None:
    put(tmp_path, "torn", "{")
    result = run("--root", str(tmp_path), "fsck", "-o", "ids")
    assert (result.returncode, result.stdout) == (5, "torn\n")
