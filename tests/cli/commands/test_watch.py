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
from tests.support.processes import DEADLINE, Child, new_session, read_state, state_path, until


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
    assert "s1 is not there yet" in missing.stderr
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


# --- tail ---------------------------------------------------------------------------------------


def kept(root: Path) -> list[int]:
    """Make a session of six revisions, of which 2, 4 and 6 are kept; return those."""
    with SessionStore(root).create("g", session_id="s1") as session:
        found = []
        for node in ("plan", "act"):
            session.state.progress.current_node = node
            session.checkpoint("step", node=node)
            found.append(session.revision)
            session.state.progress.steps_executed += 1
            session.save()
        session.pause(node="ask")
        found.append(session.revision)
    return found


def test_the_last_saves_that_are_kept_are_shown(tmp_path: Path) -> None:
    revisions = kept(tmp_path)
    shown = invoke(tmp_path, "tail", "s1", "-o", "jsonl").stdout.splitlines()
    said = [json.loads(line) for line in shown]
    assert [item["session"]["revision"] for item in said] == revisions
    assert [item["checkpoint_id"] is None for item in said] == [False, False, True]
    assert said[0]["schema"] == "sessionstore.save/1"
    two = invoke(tmp_path, "tail", "s", "-n", "2").stdout.splitlines()
    assert [line.split()[0] for line in two] == [f"r{number}" for number in revisions[1:]]
    assert "act" in two[0]
    assert "kept" in two[0]
    assert "paused" in two[1]
    assert invoke(tmp_path, "tail", "s1", "-n", "0").stdout == ""


def test_saves_are_followed_to_the_last_one(tmp_path: Path) -> None:
    first = kept(tmp_path)[-1]
    args = ["--root", str(tmp_path), "tail", "s1", "-n", "1", "-f", "-o", "jsonl"]
    with process(*args, stdout=-1, stderr=-1) as child:
        come = lines(child)
        assert json.loads(next(come))["session"]["revision"] == first
        with SessionStore(tmp_path, durability="process").resume("s1") as session:
            for _ in range(100):
                session.save()
            session.complete()
        last = read_state(tmp_path, "s1")["revision"]
        before = first
        for line in come:
            said = json.loads(line)
            revision = said["session"]["revision"]
            assert revision == before + said["unseen"] + 1
            before = revision
            if said["session"]["status"] == "completed":
                break
        assert before == last
        SessionStore(tmp_path).delete("s1")
        assert child.wait(DEADLINE) == 0
        assert child.stderr is not None
        assert b"s1 was deleted" in child.stderr.read()


def test_a_damaged_session_is_shown_with_the_reason(tmp_path: Path) -> None:
    kept(tmp_path)
    state_path(tmp_path, "s1").write_bytes(b"{")
    result = invoke(tmp_path, "tail", "s1")
    assert result.exit_code == 5
    assert "damaged" in result.stdout
    assert invoke(tmp_path, "tail", "none").exit_code == 3


def test_a_line_comes_out_as_it_happens_also_into_a_file(tmp_path: Path) -> None:
    new_session(tmp_path / "root", "s1")
    with (tmp_path / "log").open("wb") as log:
        args = ["--root", str(tmp_path / "root"), "watch", "-o", "ids"]
        with process(*args, stdout=log):
            until(lambda: (tmp_path / "log").read_bytes() == b"s1\n", "the line")
