"""What README.md shows works as it stands there."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sessionstore import SessionStore
from sessionstore.cli.commands import COMMANDS
from tests.support.processes import CHECKOUT, DEADLINE
from tools.docs.pages import Reader, blocks

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def run(code: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run a block in a process of its own, with ``home`` as the home directory."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )


def states(home: Path) -> list[dict[str, object]]:
    found = sorted((home / ".my-agent" / "sessions").glob("*/state.json"))
    return [json.loads(path.read_bytes()) for path in found]


def test_the_quickstart_has_ten_lines() -> None:
    assert len([line for line in PYTHON[0].splitlines() if line.strip()]) == 10


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_each_block_of_python_runs(number: int, tmp_path: Path) -> None:
    done = run(PYTHON[number], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""


def test_the_quickstart_completes_its_session_with_its_output(tmp_path: Path) -> None:
    run(PYTHON[0], tmp_path)
    (state,) = states(tmp_path)
    assert state["status"] == "completed"
    assert state["result"] == {"success": True, "error": None, "output": {"sent": 3}}


def test_the_quickstart_takes_up_what_a_killed_process_left(tmp_path: Path) -> None:
    killed = run(
        "import os, signal; from sessionstore import SessionStore\n"
        "session = SessionStore('~/.my-agent').create('goal', session_id='left')\n"
        "session.checkpoint(); os.kill(os.getpid(), signal.SIGKILL)",
        tmp_path,
    )
    assert killed.returncode == -signal.SIGKILL
    (left,) = states(tmp_path)
    assert left["status"] == "active"
    assert run(PYTHON[0], tmp_path).returncode == 0
    store = SessionStore(tmp_path / ".my-agent", create=False)
    assert store.load("left").status == "completed"
    recovery = store.load("left").recovery
    assert recovery is not None
    assert recovery.count == 1


def test_every_block_runs_in_its_order(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "home")
    for block in blocks(CHECKOUT / "README.md"):
        reader.read(block)


def test_the_sections_come_in_the_order_in_which_a_newcomer_needs_them() -> None:
    order = ["Install", "Quickstart", "What a crash looks like", "Commands", "Promises"]
    assert re.findall(r"^## (.+)", README, flags=re.MULTILINE)[: len(order)] == order


def test_what_is_not_run_is_only_the_installation() -> None:
    left_out = [block for block in blocks(CHECKOUT / "README.md") if block.not_run is not None]
    assert {block.not_run for block in left_out} == {"it asks a package registry"}
    assert all("pip install" in block.code for block in left_out)


def test_the_table_of_commands_names_each_of_them() -> None:
    table = README.partition("| Command |")[2].partition("\n\n")[0]
    named = re.findall(r"`(\w+)`", "".join(row.split("|")[1] for row in table.splitlines()[2:]))
    assert sorted(named) == sorted(COMMANDS)


def test_no_link_is_relative_since_a_package_index_shows_this_page_alone() -> None:
    assert re.findall(r"\]\((?!https?:)[^)]*\)", README) == []
    assert re.findall(r"^\[[^]]+\]: (?!https?:)", README, flags=re.MULTILINE) == []


def test_each_file_that_is_named_is_there() -> None:
    named = re.findall(r"`((?:docs|examples|sessionstore)/[\w./-]*|[A-Z]+\.md)`", README)
    assert len(named) > 10
    assert [name for name in named if not (CHECKOUT / name).exists()] == []
    guides = re.findall(r"`([\w-]+\.md)`", README.partition("`docs/how-to/` |")[2].split("\n")[0])
    assert sorted(guides) == sorted(path.name for path in (CHECKOUT / "docs/how-to").glob("*.md"))


def test_the_promises_here_are_those_that_the_durability_page_answers_for() -> None:
    promises = re.findall(r"^(\d+)\. ", README, flags=re.MULTILINE)
    assert promises == [str(number) for number in range(1, 13)]
