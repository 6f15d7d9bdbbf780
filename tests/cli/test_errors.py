"""A refusal at the terminal ends with a command to type, not with Python to call."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sessionstore import SessionStore
from tests.support.cli import invoke, put
from tests.support.processes import Child, left_active, new_session, state_path

PYTHON = re.compile(r"\w\(|\w=(?!\d)|session\.|store\.")
"""What only somebody who calls can use."""


@pytest.mark.parametrize(
    ("args", "code", "advice"),
    [
        ("show none", 3, "sessionstore ls"),
        ("mark unknown failed --reason x", 4, "sessionstore recover --apply --assume-dead unknown"),
        ("cancel unknown", 4, "sessionstore recover --apply --assume-dead unknown"),
        ("show torn --state", 5, "sessionstore fsck --repair"),
        ("tail torn -n 0", 0, ""),
        ("diff torn", 5, "sessionstore explain torn"),
        ("diff bare", 1, "sessionstore show bare"),
        ("diff unnamed", 1, "sessionstore diff unnamed A B; available: cp_pause."),
        ("retry paused", 1, "sessionstore explain paused"),
        ("retry bare", 1, "sessionstore explain bare"),
        ("retry unknown", 4, "or retry it with --force"),
        ("fork paused --as bare", 1, "--as NEW"),
        ("show paused --at cp_x", 3, "sessionstore history paused"),
        ("cancel paused", 1, "sessionstore mark paused cancelled --reason TEXT"),
    ],
)
def test_a_refusal_says_what_to_type(tmp_path: Path, args: str, code: int, advice: str) -> None:
    for name in ("paused", "torn", "unnamed"):
        new_session(tmp_path, name)
    put(tmp_path, "bare")  # it has completed, and nobody has kept a checkpoint of it
    left_active(tmp_path, "unknown", owner=None, pid=None)
    state_path(tmp_path, "torn").unlink()
    state_path(tmp_path, "torn").write_text("{")
    unnamed = json.loads(state_path(tmp_path, "unnamed").read_bytes())
    state_path(tmp_path, "unnamed").unlink()
    state_path(tmp_path, "unnamed").write_text(
        json.dumps({**unnamed, "latest_checkpoint_id": None})
    )
    result = invoke(tmp_path, *args.split())
    assert result.exit_code == code
    assert advice in result.stderr
    assert not PYTHON.search(result.stderr.replace(str(tmp_path), "")), result.stderr


def test_one_that_is_held_is_named_with_the_command_that_asks_its_process(tmp_path: Path) -> None:
    with Child("act", tmp_path) as owner:
        owner.hear()
        owner.ask("create", session_id="live")
        for args in (("mark", "live", "failed", "--reason", "x"),):
            result = invoke(tmp_path, *args)
            assert result.exit_code == 4
            assert f"held by pid {owner.pid}" in result.stderr
            assert "sessionstore cancel live" in result.stderr
            assert "timeout=" not in result.stderr
        with pytest.raises(BlockingIOError, match="timeout="):
            SessionStore(tmp_path).claim("live")


def test_what_is_advised_for_a_paused_session_can_be_typed(tmp_path: Path) -> None:
    new_session(tmp_path, "paused")
    told = invoke(tmp_path, "cancel", "paused").stderr.strip()
    typed = told.partition("sessionstore ")[2].split()
    assert invoke(tmp_path, *typed).exit_code == 0
    assert SessionStore(tmp_path).load("paused").status == "cancelled"


def test_the_check_up_names_a_command_for_one_without_an_owner(tmp_path: Path) -> None:
    left_active(tmp_path, "unknown", owner=None, pid=None)
    told = invoke(tmp_path, "fsck").stdout
    typed = told[told.index("sessionstore recover") :].split()[1:5]
    assert typed == ["recover", "--apply", "--assume-dead", "unknown"]
    assert invoke(tmp_path, *typed).exit_code == 0
    assert SessionStore(tmp_path).load("unknown").status == "failed"
