"""Each command that ``explain`` names is typed as it stands there, and does what is said of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from sessionstore import SessionState, SessionStore, Step
from sessionstore.cli.commands.explain import _continued
from sessionstore.testing.harness import dead_owner
from tests.support.cli import data, environment, invoke, on_terminal
from tests.support.processes import (
    CHECKOUT,
    DEADLINE,
    Child,
    edit_state,
    left_active,
    read_state,
    session_path,
    state_path,
    until,
)

Store = SessionStore[SessionState]
PLAN, FETCH, THINK = PATH = ["plan", "fetch", "think"]


# --- what can have happened to a session --------------------------------------------------------


def work(root: Path) -> Any:
    """Return a session that kept a checkpoint at each of two nodes, and saved one more."""
    session = SessionStore(root, durability="process").create("goal", session_id="s1")
    for node in PATH:
        session.state.progress.path.append(node)
        session.state.progress.steps_executed += 1
        if node == THINK:
            session.save()
        else:
            session.checkpoint("node_complete", node=node)
    return session


def crash(root: Path, session: Any) -> None:
    session._writer.free()
    owner = dead_owner()
    edit_state(root, "s1", owner=owner.model_dump(), pid=owner.pid)


def stale(root: Path) -> None:
    crash(root, work(root))


def stale_too_often(root: Path) -> None:
    stale(root)
    edit_state(root, "s1", recovery={"count": 3, "at": "", "reason": "r"})


def swept(root: Path) -> None:
    stale(root)
    SessionStore(root).recover()


def stopped(root: Path) -> None:
    with pytest.raises(KeyboardInterrupt), work(root):
        raise KeyboardInterrupt


def left_out(root: Path) -> None:
    swept(root)
    recovery = read_state(root, "s1")["recovery"]
    edit_state(root, "s1", recovery={**recovery, "count": 4})


def failed(root: Path) -> None:
    work(root).fail("bad")


def paused(root: Path) -> None:
    work(root).pause("ask")


def completed(root: Path) -> None:
    work(root).complete()


def cancelled(root: Path) -> None:
    work(root).cancel("enough")


def unknown(root: Path) -> None:
    work(root)._writer.free()
    edit_state(root, "s1", owner=None, pid=None)


def unknown_without_checkpoint(root: Path) -> None:
    left_active(root, "s1", owner=None, pid=None)


def without_its_checkpoint(root: Path) -> None:
    failed(root)
    latest = read_state(root, "s1")["latest_checkpoint_id"]
    (session_path(root, "s1") / "checkpoints" / f"{latest}.json").unlink()


def stale_without_its_checkpoint(root: Path) -> None:
    stale(root)
    latest = read_state(root, "s1")["latest_checkpoint_id"]
    (session_path(root, "s1") / "checkpoints" / f"{latest}.json").write_text("{")


def damaged(root: Path) -> None:
    stale(root)
    state_path(root, "s1").write_text("{")


def damaged_whole(root: Path) -> None:
    SessionStore(root).create("goal", session_id="s1").fail("bad")
    shutil.rmtree(session_path(root, "s1") / "checkpoints")
    state_path(root, "s1").write_text("{")


def unsettled(root: Path) -> None:
    session = work(root)

    def pay() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), session:
        session.step(Step("pay it's", at_most_once=True), pay)


@contextmanager
def running(root: Path, *, asks: bool = False, dies: bool = False) -> Iterator[Child]:
    with Child("act", root) as owner:
        owner.hear()
        owner.ask("create", session_id="s1", checkpoint=True)
        if asks:
            assert SessionStore(root).cancel("s1", reason="no longer needed").is_pending
        if dies:
            owner.crash()
        yield owner


@contextmanager
def asked(root: Path) -> Iterator[Child]:
    with running(root, asks=True) as owner:
        yield owner


@contextmanager
def died_after_it_was_asked(root: Path) -> Iterator[Child]:
    with running(root, asks=True, dies=True) as owner:
        yield owner


SITUATIONS: dict[str, Callable[[Path], Any]] = {
    made.__name__: made
    for made in (
        stale, stale_too_often, swept, stopped, left_out, failed, paused, completed, cancelled,
        unknown, unknown_without_checkpoint, without_its_checkpoint, stale_without_its_checkpoint,
        damaged, damaged_whole, unsettled, running, asked, died_after_it_was_asked,
    )
}  # fmt: skip


# --- what becomes of it -------------------------------------------------------------------------


def type_in(root: Path, command: str, *, code: int = 0) -> str:
    done = subprocess.run(
        ["sh", "-c", command],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=shell(root),
        timeout=DEADLINE,
    )
    assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}"
    return done.stdout


def shell(root: Path) -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return environment({"SESSIONSTORE_ROOT": str(root), "PATH": path, "PYTHONPATH": str(CHECKOUT)})


def run_application(root: Path) -> dict[str, list[str]]:
    """Do as an application does that starts; return the sessions that went on, and from where."""
    went_on = {}
    for session in SessionStore(root).resume_interrupted():
        with session:
            went_on[session.session_id] = list(session.state.progress.path)
            session.complete()
    return went_on


def after_retry(root: Path, command: str, owner: Any) -> None:
    done = type_in(root, command)
    (went_on,) = run_application(root).items()
    if "fork" in command:
        assert went_on[0] != "s1"
        assert went_on[0] in done
    else:
        assert went_on[0] == "s1"
    if "--from-last-save" in command:
        assert went_on[1] == PATH
    elif "--at" in command:  # the one before, where the latest is damaged
        assert went_on[1] == ([PLAN, FETCH] if "fork" in command else [PLAN])


def after_recover(root: Path, command: str, owner: Any) -> None:
    was_asked = data(root, "explain", "s1")["explanations"][0]["cancel_request"] is not None
    if owner is not None:
        owner.crash()  # "end its process yourself"
    type_in(root, command)
    assert read_state(root, "s1")["status"] == ("cancelled" if was_asked else "failed")
    assert list(run_application(root)) == ([] if was_asked else ["s1"])


def after_cancel(root: Path, command: str, owner: Any) -> None:
    type_in(root, command)
    if owner is not None:
        assert owner.ask("save", step=2)["error"] == "CancellationRequested"
        owner.ask("release")
    assert read_state(root, "s1")["status"] == "cancelled"


def after_mark(root: Path, command: str, owner: Any) -> None:
    type_in(root, command)
    state = read_state(root, "s1")
    assert (state["status"], state["result"]["error"]) == ("cancelled", "given up")


def after_repair(root: Path, command: str, owner: Any) -> None:
    type_in(root, command)
    if invoke(root, "ls", "-o", "ids").stdout:
        told = data(root, "explain", "s1")["explanations"][0]
        assert (told["damaged"], told["unresumable"]) == (None, None)
    else:
        assert list((root / "quarantine").iterdir())


def after_watch(root: Path, command: str, owner: Any) -> None:
    watch = subprocess.Popen(
        ["sh", "-c", f"exec {command}"], stdout=subprocess.PIPE, text=True, env=shell(root)
    )
    try:
        out = watch.stdout
        assert out is not None
        until(lambda: "s1" in out.readline(), "the session as it is")
        if owner is None:
            assert list(run_application(root)) == ["s1"]
            until(lambda: "completed" in out.readline(), "its end")
            watch.send_signal(signal.SIGINT)
            assert watch.wait(DEADLINE) == 130
        else:
            owner.ask("release")
            assert watch.wait(DEADLINE) == 0  # it ends by itself
    finally:
        watch.kill()
        watch.communicate()


def after_steps(root: Path, command: str, owner: Any) -> None:
    if "=JSON" in command:  # it says what to fill in, and does nothing as it stands
        assert "JSON" in type_in(root, command, code=2)
        command = command.replace("=JSON", '={"receipt": 7}')
    type_in(root, command)
    assert not SessionStore(root).explain("s1").unsettled_steps


def after_show(root: Path, command: str, owner: Any) -> None:
    assert "think" in type_in(root, command, code=5)  # and that a checkpoint is damaged


AFTER = {
    "retry": after_retry,
    "recover": after_recover,
    "cancel": after_cancel,
    "mark": after_mark,
    "fsck": after_repair,
    "watch": after_watch,
    "steps": after_steps,
    "show": after_show,
    "fork": after_retry,
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_what_is_typed_moves_the_session_on_as_is_said(tmp_path: Path, situation: str) -> None:
    typed = 0
    while True:
        root = tmp_path / str(typed)
        made = SITUATIONS[situation](root)
        with made if hasattr(made, "__enter__") else nullcontext() as owner:
            result = invoke(root, "explain", "s1", "-o", "json")
            (told,) = json.loads(result.stdout)["explanations"]
            commands = [item["command"] for item in told["next"]]
            assert commands
            assert None not in commands, told["next"]
            if typed == len(commands):
                return
            alive = None if situation == "died_after_it_was_asked" else owner
            AFTER[commands[typed].split()[1]](root, commands[typed], alive)
        typed += 1


BY_ITSELF = [name for name in SITUATIONS if name not in ("running", "asked")]


@pytest.mark.parametrize("situation", BY_ITSELF)
def test_who_types_the_first_command_each_time_gets_every_session_going(
    tmp_path: Path, situation: str
) -> None:
    made = SITUATIONS[situation](tmp_path)
    with made if hasattr(made, "__enter__") else nullcontext():
        for _ in range(4):
            if not invoke(tmp_path, "ls", "-o", "ids").stdout:
                return  # nothing of it can be saved: it is in quarantine
            (told,) = json.loads(invoke(tmp_path, "explain", "s1", "-o", "json").stdout)[
                "explanations"
            ]
            command = told["next"][0]["command"]
            if command == "sessionstore watch s1" or told["status"] == "cancelled":
                break  # nothing is left to do but to start the application
            type_in(tmp_path, command.replace("=JSON", '={"receipt": 7}'))
        run_application(tmp_path)
    assert read_state(tmp_path, "s1")["status"] in ("completed", "cancelled")


@pytest.mark.parametrize("situation", SITUATIONS)
def test_nobody_on_a_terminal_is_told_to_write_python(tmp_path: Path, situation: str) -> None:
    made = SITUATIONS[situation](tmp_path)
    with made if hasattr(made, "__enter__") else nullcontext():
        shown = invoke(tmp_path, "explain", "s1").stdout
    assert "sessionstore " in shown
    foreign = ("held by", "last held by", "ended", "interrupted", "cancellation", "traceback", " ")
    lines = [line for line in shown.splitlines() if not line.startswith(foreign)]
    assert not re.search(r"store\.|\w\(|=True|import ", "\n".join(lines))


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_what_to_type_can_be_copied_from_a_terminal(tmp_path: Path, columns: int) -> None:
    name = "session_20260125_170903_1a2b3c4d"
    with SessionStore(tmp_path).create("goal", session_id=name) as session:
        session.checkpoint("node_complete", node="plan")
        session.state.data_buffer["n"] = 1
        session.fail("bad")
    env = {"COLUMNS": str(columns), "SESSIONSTORE_ROOT": str(tmp_path)}
    shown = on_terminal("explain", name, both=True, env=env).replace("\r\n", "\n")
    (found,) = data(tmp_path, "explain", name)["explanations"]
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert max(map(len, plain.splitlines())) <= columns
    typed = re.sub(r" \\\n +", " ", plain)  # as a shell joins them
    for item in found["next"]:
        assert re.search(rf"(^ {{4}}|: ){re.escape(item['command'])}$", typed, re.MULTILINE)


def test_an_id_that_is_wider_than_the_terminal_is_still_typed_whole() -> None:
    name = "session-" + "x" * 120
    shown = _continued(f"printf %s {name}", 40)
    assert max(map(len, shown.splitlines())) <= 40
    done = subprocess.run(["sh", "-c", shown], check=True, capture_output=True, text=True)
    assert done.stdout == name


def test_a_quoted_name_is_not_broken_over_lines() -> None:
    command = "sessionstore steps s1 --settle 'pay --twice | all=JSON' --root /srv/jobs"
    lines = [line.strip() for line in _continued(command, 30).split(" \\\n")]
    assert lines == [
        "sessionstore steps s1",
        "--settle 'pay --twice | all=JSON'",
        "--root /srv/jobs",
    ]


def test_a_store_that_was_named_with_root_is_named_in_what_to_type(tmp_path: Path) -> None:
    root = tmp_path / "a store"
    damaged(root)
    assert f"retry - --again --root '{root}'" in invoke(root, "explain", "s1").stdout
    commands = re.findall(r"sessionstore .*", invoke(root, "explain", "s1").stdout)
    for command in commands:
        type_in(tmp_path / "elsewhere", command)
    env = {"SESSIONSTORE_ROOT": str(root)}
    assert "--root" not in invoke(None, "explain", "s1", env=env).stdout


@pytest.mark.parametrize("situation", ["asked", "died_after_it_was_asked"])
def test_who_asked_to_cancel_and_why_comes_before_when(tmp_path: Path, situation: str) -> None:
    import getpass

    with SITUATIONS[situation](tmp_path):
        shown = invoke(tmp_path, "explain", "s1").stdout
        (told,) = data(tmp_path, "explain", "s1")["explanations"]
    (line,) = [line for line in shown.splitlines() if line.startswith("cancellation")]
    user = re.escape(getpass.getuser())
    assert re.match(rf"cancellation +asked by (\w+ as )?{user}: no longer needed \(pid \d+ ", line)
    assert re.search(r"; at \d\d:\d\d:\d\dZ \(.*(ago|now)\)$", line)
    assert "no longer needed" in told["cancel_request"]
    assert told["cancel_requested_at"]
    assert "Somebody asked to cancel it: no longer needed." in told["summary"]
    assert "sessionstore cancel s1" not in shown  # it was asked
