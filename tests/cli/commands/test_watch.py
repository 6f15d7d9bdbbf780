"""``sessionstore watch`` and ``tail``: what they print as a session changes, and their ends."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sessionstore import SessionStore
from tests.support.cli import acting, invoke, process, put, put_hostile, run, state
from tests.support.processes import DEADLINE, Child, new_session


def lines(child: subprocess.Popen[bytes]) -> Any:
    assert child.stdout is not None
    return iter(child.stdout.readline, b"")


@pytest.mark.parametrize("how", [(), ("--no-events",)])
def test_it_ends_with_the_end_that_was_waited_for(tmp_path: Path, how: tuple[str, ...]) -> None:
    limit = f"{DEADLINE:g}s"
    args = ["watch", "s1", "--until", "completed,failed", "--timeout", limit, "-o", "jsonl", *how]
    with (
        process("--root", str(tmp_path), *args, stdout=-1, stderr=-1) as child,
        Child("save_many", tmp_path, "s1", 200) as writer,
    ):
        said = [json.loads(line) for line in lines(child)]
        assert child.wait() == 0
        last = writer.hear()["revision"]
    assert said[-1]["schema"] == "sessionstore.change/1"
    assert said[-1]["session"]["status"] == "completed"
    revisions = [item["session"]["revision"] for item in said]
    assert revisions == sorted(set(revisions))
    assert revisions[-1] == last


def test_time_that_is_up_exits_with_7(tmp_path: Path) -> None:
    new_session(tmp_path, "session_one")
    result = run(
        "--root", str(tmp_path), "watch", "session_o", "--until", "completed", "--timeout", "0s"
    )
    assert result.returncode == 7
    assert "session_one" in result.stdout
    assert "waiting for session_one to end" in result.stderr
    without = invoke(tmp_path, "watch", "--timeout", "0s", "-o", "ids")
    assert (without.exit_code, without.stdout) == (0, "session_one\n")


@pytest.mark.parametrize("command", [["watch"], ["tail", "s1", "-f"]])
def test_ctrl_c_exits_with_130_and_nothing_is_lost(tmp_path: Path, command: list[str]) -> None:
    new_session(tmp_path, "s1")
    with process("--root", str(tmp_path), *command, stdout=-1, stderr=-1) as child:
        while b"paused" not in next(lines(child)):
            continue
        child.send_signal(signal.SIGINT)
        _, complaint = child.communicate(timeout=DEADLINE)
    assert child.returncode == 130
    assert complaint == b"sessionstore: interrupted\n"


@pytest.mark.parametrize("command", ["watch", "tail s1 -f"])
def test_a_reader_that_has_seen_enough_ends_it(tmp_path: Path, command: str) -> None:
    new_session(tmp_path, "s1")
    with process("--root", str(tmp_path), *command.split(), stdout=-1, stderr=-1) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.stdout.close()
        for _ in range(2):  # the first may still fit into the pipe
            with SessionStore(tmp_path).resume("s1", timeout=DEADLINE, again=True) as session:
                session.pause()
        assert child.wait(DEADLINE) == 0
        assert child.stderr is not None
        assert b"Error" not in child.stderr.read()


def test_ids_come_from_a_pipe_and_need_not_be_there(tmp_path: Path) -> None:
    put(tmp_path, "done", state("done"))
    fed = run(
        "--root", str(tmp_path), "watch", "-", "--until", "completed", "-o", "ids", input="done\n"
    )
    assert (fed.returncode, fed.stdout) == (0, "done\n")
    missing = invoke(tmp_path / "none", "watch", "s1", "--until", "completed", "--timeout", "0s")
    assert missing.exit_code == 7
    assert "s1 does not exist yet" in missing.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "args",
    [("--until", "done"), ("--until", "completed,"), ("--timeout", "soon"), ("-s", "done")],
)
def test_what_makes_no_sense_is_a_usage_error(tmp_path: Path, args: tuple[str, ...]) -> None:
    assert invoke(tmp_path, "watch", *args).exit_code == 2


def test_hostile_text_is_shown_safely(tmp_path: Path) -> None:
    put_hostile(tmp_path)
    for form in ("table", "json", "jsonl", "ids"):
        result = invoke(tmp_path, "watch", "--timeout", "0s", "-o", form, env={"FORCE_COLOR": "1"})
        assert result.exit_code == 0
        assert result.stdout.count("\n") == 6
        assert acting(result.stdout) == acting(result.stderr) == set()
        for session_id in ("h-paused", "h-failed", "h-damaged"):
            shown = invoke(tmp_path, "tail", session_id, "-o", form, "--color", "always")
            assert shown.exit_code == (5 if session_id == "h-damaged" else 0)
            assert acting(shown.stdout) == acting(shown.stderr) == set()
