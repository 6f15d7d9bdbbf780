"""``sessionstore watch`` and ``tail``: what they print as a session changes, and their ends."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sessionstore import SessionStore
from tests.support.cli import GONE, acting, invoke, process, put, put_hostile, run, state
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
    ("args", "reason"),
    [
        (("done", "--until", "failed"), "done is completed and stays so: add completed"),
        (("given-up", "--until", "completed"), "given-up is cancelled and stays so"),
        (("waits", "done", "--until", "paused"), "done is completed and stays so"),
        (("torn", "--until", "completed"), "torn is damaged and has no status: repair it with"),
        (("--until", "completed,cancelled,failed"), "torn is damaged and has no status"),
        (("--goal", "a-goal", "--until", "completed"), "given-up is cancelled and stays so"),
        (("-s", "cancelled", "--until", "completed"), "given-up is cancelled and stays so"),
    ],
)
def test_a_watch_that_can_never_end_is_refused_with_the_reason(
    tmp_path: Path, args: tuple[str, ...], reason: str
) -> None:
    for name, status in (("done", "completed"), ("given-up", "cancelled"), ("waits", "paused")):
        put(tmp_path, name, state(name, status=status))
    put(tmp_path, "torn", "{")
    refused = run("--root", str(tmp_path), "watch", *args)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"the watch would never end: {reason}" in refused.stderr
    limited = invoke(tmp_path, "watch", *args, "--timeout", "0s")
    assert limited.exit_code == 7
    assert "never end" not in limited.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("done", "--until", "completed"),
        ("done", "waits", "--until", "completed,paused"),
        ("--goal", "a-goal", "--until", "completed,paused"),
        ("-s", "paused", "--until", "paused"),
    ],
)
def test_a_watch_that_can_end_does(tmp_path: Path, args: tuple[str, ...]) -> None:
    put(tmp_path, "done", state("done"))
    put(tmp_path, "waits", state("waits", status="paused"))
    put(tmp_path, "other", state("other", status="cancelled", goal_id="other"))
    done = run("--root", str(tmp_path), "watch", *args)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_name_on_stdin_is_nothing_to_watch(tmp_path: Path) -> None:
    put(tmp_path, "done", state("done"))
    refused = run("--root", str(tmp_path), "watch", "-", input="")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "stdin names no session: there is nothing to watch" in refused.stderr
    # All of none have ended.
    assert run("--root", str(tmp_path), "watch", "-", "--until", "failed", input="").returncode == 0


def test_what_a_watch_waits_for_is_said(tmp_path: Path) -> None:
    root = tmp_path / "store"
    missing = invoke(root, "watch", "--timeout", "0s")
    assert missing.stderr == f"{root} does not exist yet: waiting for it\n"
    put(root, "dead", state("dead", status="active", pid=GONE))
    until = ("--until", "completed,failed")
    for args, told in (
        (("dead", *until), b"the process of dead is dead: a start-up resumes it, and"),
        (until, b"the process of dead is dead: a start-up resumes it, and"),
        (("--goal", "other", *until), b"no session matches yet: waiting for one"),
    ):
        with process("--root", str(root), "watch", *args, stdout=-1, stderr=-1) as child:
            assert child.stderr is not None
            assert told in child.stderr.readline()
            child.send_signal(signal.SIGINT)
            assert child.communicate(timeout=DEADLINE)[1] == b"sessionstore: interrupted\n"
        assert child.returncode == 130


def test_a_session_that_ends_otherwise_is_told_while_the_watch_waits_on(tmp_path: Path) -> None:
    session = SessionStore(tmp_path).create("g", session_id="s1")
    args = ("--root", str(tmp_path), "watch", "s1", "--until", "completed")
    with process(*args, stdout=-1, stderr=-1) as child:
        assert b"active" in next(lines(child))
        session.cancel()
        assert child.stderr is not None
        assert b"s1 is cancelled and stays so, unless it is resumed" in child.stderr.readline()
        with SessionStore(tmp_path).resume("s1", again=True) as session:
            session.complete()
        assert child.wait(DEADLINE) == 0


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
