"""The steps of a session, and what somebody says of one that nobody knows the end of."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sessionstore import SessionStore, Step, StepUnsettled
from tests.support.cli import HOSTILE, invoke
from tests.support.processes import CHECKOUT, DEADLINE

DIES = """
import os, signal, sys
from sessionstore import SessionStore, Step, StepUnsettled
with SessionStore(sys.argv[1]).create("goal", session_id="s1") as session:
    session.step("before", len, "four")
    session.checkpoint()
    session.step("plan", lambda: {"a": 1})
    session.step(Step("pay", at_most_once=True), lambda: os.kill(os.getpid(), signal.SIGKILL))
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with a session whose process died within a step that may run at most once."""
    done = subprocess.run(
        [sys.executable, "-c", DIES, str(tmp_path)],
        cwd=CHECKOUT, capture_output=True, timeout=DEADLINE, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    return tmp_path


def rows(root: Path, *args: str) -> list[list[str]]:
    shown = invoke(root, "steps", "s1", *args, "-o", "jsonl").stdout.splitlines()
    return [
        [item["name"], item["status"], "closed" if item["is_closed"] else "open"]
        for item in map(json.loads, shown)
    ]


def test_steps_are_shown_with_what_is_known_of_each(root: Path) -> None:
    result = invoke(root, "steps", "s1")
    heading, before, plan, pay = result.stdout.splitlines()
    assert heading.split() == ["STEP", "STATUS", "BEGAN", "KEPT", "BYTES", "BY"]
    assert before.startswith("before  kept, closed")
    assert plan.split()[1] == "kept"
    assert pay.split()[1] == "unsettled"
    assert "somebody has to settle: pay" in result.stderr
    assert rows(root) == [
        ["before", "kept", "closed"], ["plan", "kept", "open"], ["pay", "unsettled", "open"],
    ]  # fmt: skip


def test_a_settled_step_is_not_called_again(root: Path) -> None:
    result = invoke(root, "steps", "s1", "--settle", 'pay={"receipt": 7}')
    assert result.exit_code == 0
    assert "somebody has to" not in result.stderr
    with SessionStore(root).resume("s1") as session:
        step = Step("pay", returns=dict[str, int], at_most_once=True)
        assert session.step(step, lambda: {"receipt": 8}) == {"receipt": 7}


def test_a_step_that_may_run_again_is_called(root: Path) -> None:
    assert invoke(root, "steps", "s1", "--rerun", "pay").exit_code == 0
    with SessionStore(root).resume("s1") as session:
        assert session.step(Step("pay", at_most_once=True), lambda: "paid") == "paid"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--settle", "pay"), "is not NAME=JSON"),
        (("--settle", "pay=done"), "quote text twice"),
        (("--settle", "plan=1"), "no step 'plan' waits"),
        (("--rerun", "nothing"), "no open step is called 'nothing'"),
    ],
)
def test_what_cannot_be_settled_is_refused_and_changes_nothing(
    root: Path, args: tuple[str, ...], says: str
) -> None:
    before = rows(root)
    result = invoke(root, "steps", "s1", *args)
    assert result.exit_code == 2
    assert says in result.stderr
    assert rows(root) == before


def test_a_session_that_somebody_holds_is_not_settled(tmp_path: Path) -> None:
    with SessionStore(tmp_path).create("goal", session_id="s1"):
        result = invoke(tmp_path, "steps", "s1", "--settle", "pay=1")
        assert result.exit_code == 4
        assert "is held by" in result.stderr


def test_a_name_from_a_session_cannot_act_on_the_terminal(tmp_path: Path) -> None:
    with SessionStore(tmp_path).create("goal", session_id="s1") as session:
        session.step(HOSTILE, len, "four")
    shown = invoke(tmp_path, "steps", "s1").stdout
    assert "\x1b" not in shown
    assert len(shown.splitlines()) == 2


# --- other commands ------------------------------------------------------------------------------


def test_explain_says_what_to_type_and_ls_which_step_it_is_about(root: Path) -> None:
    told = invoke(root, "explain", "s1").stdout
    assert "steps         1 of 2 kept; nobody knows what came of `pay`" in told
    assert "sessionstore steps s1 --settle pay=JSON" in told
    SessionStore(root).recover()
    with pytest.raises(StepUnsettled), SessionStore(root).resume("s1") as session:
        session.step(Step("pay", at_most_once=True), lambda: "paid")
    listed = invoke(root, "ls").stdout.splitlines()[1]
    assert listed.endswith("  step `pay` unsettled")


@pytest.mark.parametrize("is_swept", [False, True])
def test_ls_says_that_somebody_has_to_act_before_anybody_resumes(
    root: Path, is_swept: bool
) -> None:
    if is_swept:
        SessionStore(root).recover()
    (shown,) = invoke(root, "ls", "--fields", "id,remark").stdout.splitlines()[1:]
    assert shown == "s1  step `pay` unsettled"
    (item,) = json.loads(invoke(root, "ls", "-o", "json").stdout)["sessions"]
    assert item["unsettled_steps"] == ["pay"]
    assert invoke(root, "steps", "s1", "--rerun", "pay").exit_code == 0
    assert "unsettled" not in invoke(root, "ls").stdout


def test_history_and_tail_tell_how_many_steps_were_kept(root: Path) -> None:
    timeline = invoke(root, "history", "s1").stdout.splitlines()
    assert "KEPT STEPS" in timeline[0]
    moments = json.loads(invoke(root, "history", "s1", "-o", "json").stdout)["history"]["moments"]
    assert [(one["kept_steps"], one["journals"]) for one in moments] == [(0, {}), (1, {}), (2, {})]
    last = invoke(root, "tail", "s1").stdout.splitlines()[-1]
    assert last.endswith("2 steps kept")
    saved = json.loads(invoke(root, "tail", "s1", "-n", "1", "-o", "jsonl").stdout)
    assert (saved["kept_steps"], saved["journals"]) == (2, {})


def test_a_session_without_steps_has_no_column_for_them(tmp_path: Path) -> None:
    with SessionStore(tmp_path).create("goal", session_id="s1") as session:
        session.pause()
    assert "KEPT" not in invoke(tmp_path, "history", "s1").stdout
    assert "kept_steps" in invoke(tmp_path, "history", "s1", "-o", "json").stdout
