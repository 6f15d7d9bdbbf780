"""A program of three steps, killed at every line in turn and started again until it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from sessionstore import Session, SessionEnded, SessionState, SessionStore, Step, StepUnsettled
from tests.support.children import say
from tests.support.processes import CHECKOUT, DEADLINE, needs_linux

NAMES = ("plan", "draft", "send")


class Program:
    """The program that is killed: each step notes its call in a file."""

    def __init__(self, place: str, *, at_most_once: bool) -> None:
        self.place = place
        self.at_most_once = at_most_once

    def note(self, name: str) -> str:
        fd = os.open(os.path.join(self.place, "calls"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(fd, f"{name}\n".encode())
        os.close(fd)
        return f"result of {name}"

    def run(self) -> None:
        store = SessionStore(os.path.join(self.place, "store"))
        try:
            with store.create_or_resume("mail-1", "answer", max_recoveries=1000) as session:
                self.answer(session)
        except SessionEnded:
            return

    def answer(self, session: Session[SessionState]) -> None:
        results = []
        for name in NAMES:
            step: Step[Any] = Step(name, at_most_once=self.at_most_once)
            results.append(session.step(step, self.note, name))
        session.complete({"results": results})


def run_to_line(place: str, line: int, *, at_most_once: bool) -> bool:
    """Run the program in a child that is killed at its ``line``-th line; return whether it was."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    status = 1
    try:
        seen = 0

        def trace(frame: FrameType, event: str, _: object) -> Any:
            nonlocal seen
            if frame.f_code.co_filename != __file__:
                return None
            seen += event == "line"
            if seen == line:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace

        program = Program(place, at_most_once=at_most_once)
        sys.settrace(trace)
        try:
            program.run()
        except StepUnsettled as error:
            sys.settrace(None)
            # Somebody looks what came of it, and says so.
            store = SessionStore(os.path.join(place, "store"))
            with store.edit("mail-1") as session:
                if error.step in calls(place):
                    session.settle_step(error.step, f"result of {error.step}")
                else:
                    session.rerun_step(error.step)
        status = 0
    finally:
        os._exit(status)
    raise AssertionError("a child goes no further")


def calls(place: str) -> Counter[str]:
    file = Path(place) / "calls"
    return Counter(file.read_text().split() if file.exists() else ())


def kill_everywhere(place: str, at_most_once: str) -> None:
    """Kill the program at every line; print what was called, and the result, for each."""
    line, killed = 0, True
    while killed:
        line += 1
        here = os.path.join(place, str(line))
        os.mkdir(here)
        killed = run_to_line(here, line, at_most_once=bool(at_most_once))
        store = SessionStore(os.path.join(here, "store"))
        for _ in range(5):
            if store.exists("mail-1") and store.load("mail-1").status == "completed":
                break
            run_to_line(here, -1, at_most_once=bool(at_most_once))
        say(calls=calls(here), output=store.load("mail-1").result.output)


@needs_linux("it forks")
@pytest.mark.parametrize("at_most_once", [False, True])
def test_a_step_that_returned_is_called_once_wherever_the_program_is_killed(
    tmp_path: Path, *, at_most_once: bool
) -> None:
    module = "tests.session.test_step_kills"
    code = f"import sys; from {module} import kill_everywhere; kill_everywhere(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), "yes" if at_most_once else ""],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=DEADLINE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) > 25
    repeated = 0
    for one in found:
        assert one["output"] == {"results": [f"result of {name}" for name in NAMES]}
        assert set(one["calls"]) == set(NAMES)
        again = [name for name, count in one["calls"].items() if count > 1]
        # Only the step that ran when the program was killed may be called twice.
        assert sum(one["calls"].values()) <= len(NAMES) + (0 if at_most_once else 1)
        repeated += len(again)
    assert (repeated > 0) is not at_most_once
