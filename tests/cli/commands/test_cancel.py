"""Sessions whose processes are asked to end them."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

from tests.support.cli import data, invoke, leave_behind, process
from tests.support.processes import (
    DEADLINE,
    Child,
    left_active,
    new_session,
    read_state,
    rounds,
    until,
)


def test_a_live_process_is_not_marked_but_asked(root: Path) -> None:
    with Child("support.cancel_children.work", root / "other") as owner:
        other = root / "other"
        owner.hear()
        refused = invoke(other, "mark", "s1", "failed", "--reason", "x", "--force")
        assert refused.exit_code == 4
        assert f"pid {owner.pid}" in refused.stderr
        asked = invoke(other, "cancel", "s1", "--reason", "wrong input")
        assert asked.exit_code == 0
        assert asked.stdout.startswith(f"s1  requested: asked pid {owner.pid}")
        late = invoke(other, "cancel", "s1", "--wait", "0.05", "-o", "jsonl")
        assert late.exit_code == 7
        assert json.loads(late.stdout)["outcome"] == "requested"
        with process(
            "--root", str(other), "cancel", "s1", "--wait", f"{DEADLINE:g}", stdout=subprocess.PIPE
        ) as waiting:
            owner.tell("save")
            out, _ = waiting.communicate(timeout=DEADLINE)
            assert waiting.returncode == 0
        assert out == b"s1  cancelled: it is cancelled\n"
    # Those who only waited gave no reason: the one that was given stands.
    assert read_state(other, "s1")["result"]["error"].endswith(": wrong input")


def test_cancel_ends_the_sessions_of_dead_processes_and_leaves_ended_ones(root: Path) -> None:
    leave_behind(root, "dead")
    left_active(root, "unknown", owner=None, pid=None)
    new_session(root, "waits")
    before = {name: read_state(root, name) for name in ("s1", "unknown", "waits")}
    done = data(root, "cancel", "dead", "--reason", "enough")
    (outcome,) = done["cancellations"]
    assert (outcome["outcome"], outcome["status"]) == ("cancelled", "cancelled")
    assert invoke(root, "cancel", "dead").exit_code == 0  # it is
    assert invoke(root, "cancel", "unknown").exit_code == 4
    paused = invoke(root, "cancel", "waits")
    assert paused.exit_code == 1
    assert "sessionstore mark waits cancelled" in paused.stderr
    every = invoke(root, "cancel", "s1", "dead", "unknown", "waits", "-o", "ids")
    assert (every.exit_code, every.stdout) == (6, "dead\n")
    assert {name: read_state(root, name) for name in before} == before


def test_ctrl_c_ends_a_wait_and_leaves_the_request(root: Path) -> None:
    other = root / "other"
    with Child("support.cancel_children.work", other) as owner:
        owner.hear()
        command = ("--root", str(other), "cancel", "s1", "--wait", "600")

        def is_asked() -> bool:
            return any((other / "locks").glob("s1.*.cancel"))

        # Who is interrupted before it is known that the claim still stands takes the request back.
        for number in rounds("a request that was waited for"):
            with process(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as waiting:
                until(is_asked, "the request")
                time.sleep(min(number, 50) / 100)
                waiting.send_signal(signal.SIGINT)
                waiting.communicate(timeout=DEADLINE)
                assert waiting.returncode == 130
            if is_asked():
                break
        owner.tell("save")
        assert owner.wait() == 1
    assert read_state(other, "s1")["status"] == "cancelled"
