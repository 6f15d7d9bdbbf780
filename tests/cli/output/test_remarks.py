"""The remark on a session is short, and true of what really happens to sessions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sessionstore import SessionStore
from sessionstore.cli.output.remarks import reason, remark
from tests.support.cli import GONE, environment, invoke, leave_behind, put, state
from tests.support.processes import DEADLINE, edit_state, left_active, read_state


def remark_on(root: Path, session_id: str) -> str:
    (item,) = [item for item in SessionStore(root).find() if item.session_id == session_id]
    return remark(item)


def test_a_session_that_is_well_has_none(tmp_path: Path) -> None:
    with SessionStore(tmp_path).create("goal", session_id="s1") as session:
        session.complete()
    assert remark_on(tmp_path, "s1") == ""


def test_a_session_that_runs_names_its_process(tmp_path: Path) -> None:
    with SessionStore(tmp_path).create("goal", session_id="s1") as session:
        assert remark_on(tmp_path, "s1") == f"pid {session.owner.pid} runs"


def test_a_death_is_told_alike_before_and_after_the_sweep(tmp_path: Path) -> None:
    leave_behind(tmp_path, "s1")
    (item,) = SessionStore(tmp_path).find()
    assert item.owner is not None
    gone = f"pid {item.owner.pid} gone"
    assert remark(item) == gone
    SessionStore(tmp_path).recover()
    assert remark_on(tmp_path, "s1") == gone


def test_several_deaths_are_counted(tmp_path: Path) -> None:
    left_active(tmp_path, "s1")
    for times in range(1, 4):
        edit_state(tmp_path, "s1", status="active", pid=GONE, owner=None)
        store = SessionStore(tmp_path)
        store.find(verify=True)
        store.recover()
        told = f"pid {GONE} gone" if times == 1 else f"died {times} times"
        assert remark_on(tmp_path, "s1") == told


def test_the_count_of_deaths_loads_no_pydantic(tmp_path: Path) -> None:
    with SessionStore(tmp_path) as store:
        left_active(tmp_path, "s1", pid=GONE, owner=None)
        store.recover()
        edit_state(tmp_path, "s1", recovery=read_state(tmp_path, "s1")["recovery"] | {"count": 2})
        store.find(verify=True)
    code = (
        "import sys\n"
        "from sessionstore.cli import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    print('pydantic' in sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--root", str(tmp_path), "ls"],
        check=True, capture_output=True, text=True, env=environment(), timeout=DEADLINE,
    )  # fmt: skip
    assert "died 2 times" in done.stdout
    assert done.stderr.endswith("False\n")


def test_an_assumed_death_says_so(tmp_path: Path) -> None:
    put(tmp_path, "unknown", state("unknown", status="active"))
    SessionStore(tmp_path).recover(assume_dead=["unknown"])
    assert remark_on(tmp_path, "unknown") == "assumed dead"


def test_a_stop_names_what_stopped_it(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), SessionStore(tmp_path).create("g", session_id="s1"):
        raise KeyboardInterrupt
    assert remark_on(tmp_path, "s1") == "stopped by KeyboardInterrupt"


def test_a_session_that_waits_for_another_try_says_so(tmp_path: Path) -> None:
    with SessionStore(tmp_path).create("g", session_id="s1") as session:
        session.fail(ValueError("no such city"))
    assert remark_on(tmp_path, "s1") == "ValueError: no such city"
    SessionStore(tmp_path).retry("s1")
    assert remark_on(tmp_path, "s1") == "to be tried again"


def test_of_an_error_of_several_lines_the_first_is_told(tmp_path: Path) -> None:
    with SessionStore(tmp_path).create("g", session_id="s1") as session:
        session.fail("upstream said:\n  503 Service Unavailable")
    assert remark_on(tmp_path, "s1") == "upstream said:"


def test_damage_is_told_in_short_and_whole_by_explain(tmp_path: Path) -> None:
    put(tmp_path, "torn", "{")
    put(tmp_path, "empty", "")
    assert remark_on(tmp_path, "torn") == "damaged: not JSON"
    assert remark_on(tmp_path, "empty") == "damaged: the file is empty"
    assert "Invalid JSON: EOF while parsing" in invoke(tmp_path, "explain", "torn").stdout


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("pid 4711 is gone", "pid 4711 gone"),
        ("pid 4711 (python agent.py) on web1 since 12:03:11Z is gone", "pid 4711 gone"),
        ("pid 4711 is a zombie", "pid 4711 zombie"),
        ("its lock is free; pid 4711 is another process now", "pid 4711 reused"),
        ("its lock is free; rebooted since", "host rebooted"),
        ("on another host, and its lock cannot be seen from here", "on another host"),
        ("no owner recorded", "no owner recorded"),
    ],
)
def test_the_reason_of_a_verdict_is_told_in_short(text: str, short: str) -> None:
    assert reason(text) == short
