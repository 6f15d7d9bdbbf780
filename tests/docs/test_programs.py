"""The programs of the pages, pasted as they stand there, are killed and started again.

They run as processes of their own, beside each other. Afterwards the files tell what they did: each
session ends once, nothing that was stored is lost, and no process ends with a traceback.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import CHECKOUT, DEADLINE
from tools.docs.pages import blocks

STEPS = ["fetch", "plan", "write", "send"]
NODES = ["collect", "draft", "review", "draft", "review", "publish"]
FLEET = ["fetch", "parse", "rate", "store"]
LIVES = 12
"""How often the programs of a test are killed at most."""


class Desk:
    """A home directory with the programs of a page in it, and the processes that run them."""

    def __init__(self, home: Path, page: Path) -> None:
        self.home = home
        home.mkdir()
        for block in blocks(page):
            if block.title is not None:
                (home / block.title).write_text(block.code, encoding="utf-8")
        self.started: list[tuple[subprocess.Popen[bytes], Path]] = []

    def start(self, program: str, *arguments: object) -> subprocess.Popen[bytes]:
        log = self.home / f"{len(self.started)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-W", "error", program, *map(str, arguments)],
                cwd=self.home,
                env={**os.environ, "HOME": str(self.home), "PYTHONPATH": str(CHECKOUT)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.started.append((process, log))
        return process

    def run(self, program: str, *arguments: object, code: int = 0) -> str:
        process = self.start(program, *arguments)
        assert process.wait(DEADLINE) == code, self.said_by(process)
        return self.said_by(process)

    def said_by(self, process: subprocess.Popen[bytes]) -> str:
        (log,) = [log for started, log in self.started if started is process]
        return log.read_text(encoding="utf-8")

    def waits_for(self, process: subprocess.Popen[bytes], text: str) -> bool:
        """Wait until the process has said ``text``; return False if it ended before."""
        give_up = time.monotonic() + DEADLINE
        while text not in self.said_by(process):
            if process.poll() is not None:
                return text in self.said_by(process)
            assert time.monotonic() < give_up, self.said_by(process)
            time.sleep(0.01)
        return True

    def states(self) -> dict[str, dict[str, Any]]:
        """Return every state as it is on disk."""
        files = sorted(self.home.glob("*/sessions/[!.]*/state.json"))
        files += sorted(self.home.glob(".my-agent/sessions/[!.]*/state.json"))
        return {file.parent.name: json.loads(file.read_bytes()) for file in files}

    def end_all(self) -> None:
        for process, _ in self.started:
            process.kill()
            process.wait()

    def no_traceback(self) -> None:
        for process, _ in self.started:
            assert "Traceback" not in self.said_by(process), self.said_by(process)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Callable[[str], Desk]]:
    desks: list[Desk] = []

    def lay_out(page: str) -> Desk:
        desks.append(Desk(tmp_path / f"home-{len(desks)}", CHECKOUT / page))
        return desks[-1]

    try:
        yield lay_out
    finally:
        for made in desks:
            made.end_all()
    for made in desks:
        made.no_traceback()


@pytest.fixture
def chance() -> random.Random:
    return random.Random(10)


def paths(states: dict[str, dict[str, Any]]) -> list[tuple[str, list[str]]]:
    return [(state["status"], state["progress"]["path"]) for state in states.values()]


def test_the_agent_that_dies_in_each_of_its_steps_loses_none_and_does_none_twice(
    desk: Callable[[str], Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = desk("docs/index.md")
    for number, step in enumerate(STEPS):
        monkeypatch.setenv("DIE_IN", step)
        process = agent.start("agent.py", *(["answer the mail"] if number == 0 else []))
        assert process.wait(DEADLINE) == -signal.SIGKILL
        assert paths(agent.states()) == [("active", STEPS[:number])]
    monkeypatch.delenv("DIE_IN")

    # After the fourth crash the loop leaves it out; the session itself is as it was.
    assert "left out session_" in agent.run("agent.py")
    assert paths(agent.states()) == [("failed", STEPS[:3])]


def test_the_agent_that_is_killed_at_random_completes_each_mail_once(
    desk: Callable[[str], Desk], chance: random.Random
) -> None:
    agent = desk("docs/index.md")
    for _ in range(LIVES):
        process = agent.start("agent.py", "mail")
        time.sleep(chance.uniform(0.1, 0.6))
        process.kill()
        process.wait()
        agent.run("agent.py")
        assert {status for status, _ in paths(agent.states())} <= {"completed"}

    agent.run("agent.py", "the last mail")

    assert set(map(str, paths(agent.states()))) == {str(("completed", STEPS))}


def test_the_agent_of_readme_waits_and_is_killed_and_never_writes_its_draft_twice(
    desk: Callable[[str], Desk],
) -> None:
    agent = desk("README.md")
    for life in range(3):
        first = agent.start("agent.py")
        assert agent.waits_for(first, "waits for approval")
        beside = agent.run("agent.py")
        assert f"nothing to do: mail-1 is held by pid {first.pid}" in beside
        first.kill()
        first.wait()
        assert paths(agent.states()) == [("active", ["write"])], life
    (agent.home / "approval.txt").write_text("yes")
    assert agent.run("agent.py").startswith("mail-1 goes on at send\n")
    assert agent.run("agent.py") == "nothing to do: mail-1 is completed\n"
    assert agent.states()["mail-1"]["recovery"]["count"] == 3


def test_two_orchestrators_of_one_graph_that_are_killed_at_random_go_through_it_once(
    desk: Callable[[str], Desk], chance: random.Random
) -> None:
    graph = desk("docs/how-to/orchestrator.md")
    for _ in range(3):
        both = [graph.start("orchestrator.py", "week-1", "0.3") for _ in range(2)]
        graph.waits_for(both[0], "\n")
        time.sleep(chance.uniform(0, 0.6))
        for process in both:
            process.kill()
            process.wait()
    both = [graph.start("orchestrator.py", "week-1", "0.02") for _ in range(2)]

    assert [process.wait(DEADLINE) for process in both] == [0, 0]

    assert paths(graph.states()) == [("completed", NODES)]
    assert graph.states()["week-1"]["progress"]["node_visit_counts"]["draft"] == 2
    assert "week-1 is completed" in graph.run("orchestrator.py", "week-1")


def has_work_left(fleet: Desk, process: subprocess.Popen[bytes]) -> bool:
    """Whether a session that the process runs has more than one step before it."""
    mine = [state for state in fleet.states().values() if state["pid"] == process.pid]
    return any(len(state["progress"]["path"]) < len(FLEET) - 1 for state in mine)


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_two_fleets_that_are_stopped_and_started_again_complete_each_session_once(
    desk: Callable[[str], Desk], chance: random.Random, stop: signal.Signals
) -> None:
    fleet = desk("docs/how-to/fleet.md")
    for life in range(3):
        both = [fleet.start("fleet.py", 30) for _ in range(2)]
        for process in both:
            fleet.waits_for(process, "all are running")
        time.sleep(chance.uniform(0, 0.2))
        busy = [process for process in both if has_work_left(fleet, process)]
        for process in busy:
            process.send_signal(stop)
        for process in both:
            stopped = -stop if stop == signal.SIGKILL else 1
            assert process.wait(DEADLINE) in ({0, stopped} if process in busy else {0}), life
        if stop != signal.SIGKILL:  # none is left as if it ran
            assert {status for status, _ in paths(fleet.states())} <= {"completed", "paused"}
    both = [fleet.start("fleet.py") for _ in range(2)]

    assert [process.wait(DEADLINE) for process in both] == [0, 0]
    fleet.run("fleet.py", 30)  # creates those that were never begun

    assert paths(fleet.states()) == [("completed", FLEET)] * 30


def say(port: int, session_id: str, text: str) -> None:
    """Hand a message in, again while a worker runs the session."""
    give_up = time.monotonic() + DEADLINE
    while True:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{port}/{session_id}", text.encode(), timeout=DEADLINE
            ) as answer:
                assert answer.status == 202
            return
        except urllib.error.HTTPError as refusal:
            refusal.close()
            code = refusal.code
        assert code == 409
        assert time.monotonic() < give_up


def test_messages_that_were_accepted_are_answered_once_in_order_though_everything_is_killed(
    desk: Callable[[str], Desk], chance: random.Random
) -> None:
    web = desk("docs/how-to/answers.md")
    names = ["ada", "bob", "cem"]
    workers = [web.start("chat_worker.py") for _ in range(2)]
    for number in range(4):
        server = web.start("web.py", 0)
        assert web.waits_for(server, "\n")
        port = int(web.said_by(server).split()[-1])
        for name in names:
            say(port, name, f"message {number}")
        time.sleep(chance.uniform(0, 0.4))
        server.kill()
        server.wait()
        if number < 3:
            workers[number % 2].kill()
            workers[number % 2].wait()
            workers[number % 2] = web.start("chat_worker.py")

    give_up = time.monotonic() + DEADLINE
    while any(len(s["data_buffer"].get("answered", [])) < 4 for s in web.states().values()):
        assert time.monotonic() < give_up, web.states()
        time.sleep(0.05)

    states = web.states()
    assert sorted(states) == names
    for state in states.values():
        assert state["data_buffer"]["answered"] == [f"MESSAGE {number}" for number in range(4)]


def test_a_handler_refuses_what_is_no_session(desk: Callable[[str], Desk]) -> None:
    web = desk("docs/how-to/answers.md")
    server = web.start("web.py", 0)
    assert web.waits_for(server, "\n")
    port = int(web.said_by(server).split()[-1])
    for data, code in ((b"hello", 400), (None, 404)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/..%2Fx", data, timeout=DEADLINE)
        refused.value.close()
        assert refused.value.code == code
    assert web.states() == {}


def test_a_worker_goes_on_with_the_next_session_after_one_that_fails(
    desk: Callable[[str], Desk],
) -> None:
    page = desk("docs/how-to/start-up.md")
    page.run("worker.py", "new", code=-signal.SIGKILL)
    both = [page.start("worker.py") for _ in range(3)]
    assert [process.wait(DEADLINE) for process in both] == [0, 0, 0]
    said = "".join(page.said_by(process) for process in both)
    assert sorted(re.findall(r"resumed: (\S+)", said)) == ["bad-1", "resize-1"]
    assert "needs a person" not in said
    assert [status for status, _ in paths(page.states())] == ["failed", "completed"]


def test_the_commands_for_on_call_may_be_killed_and_repeated(
    desk: Callable[[str], Desk], chance: random.Random
) -> None:
    night = desk("docs/how-to/on-call.md")

    def typed(*words: str) -> tuple[str, ...]:
        return ("-m", "sessionstore", "--root", str(night.home / "jobs"), *words)

    for _ in range(4):
        night.run("worker.py", *(["broken", "poison"] if not night.states() else []), code=-9)
    told = night.run(*typed("explain", "poison"))
    assert "leaves it out: more than 3 processes died" in told
    retry = typed("retry", "poison")
    for _ in range(5):
        process = night.start(*retry)
        time.sleep(chance.uniform(0.1, 0.5))
        process.kill()
        process.wait()
    night.run(*retry)
    assert night.states()["poison"]["recovery"]["count"] == 0
    (night.home / "fixed").touch()
    assert night.run("worker.py") == "works on: poison\n"
    for session_id in ("broken", "poison"):
        give_up = typed("mark", session_id, "cancelled", "--reason", "no longer wanted")
        process = night.start(*give_up)
        time.sleep(chance.uniform(0.1, 0.5))
        process.kill()
        process.wait()
        night.run(*give_up)
    assert [status for status, _ in paths(night.states())] == ["cancelled", "cancelled"]
    assert night.run(*typed("ls", "--unfinished", "-o", "ids")) == ""
    assert "is not in" in night.run(*typed("retry", "nothing-there"), code=3)
