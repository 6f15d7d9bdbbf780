"""The examples run as users run them: as processes of their own, killed and started again."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sessionstore import SessionState, SessionStore
from tests.faults.support.tally import tally
from tests.support.processes import DEADLINE, new_session
from tests.support.run_records import RunRecord, each_run_set, write_runs

EXAMPLES = Path(__file__).parents[2] / "examples"
SLOWER = (1, 3, 9, 27)
"""How many times slower steps are in each try, where a busy machine let a child end too early."""

# What a session that was killed and resumed may have different from one that was not.
OWN = {"revision", "saves_from", "incarnation", "latest_checkpoint_id", "recovery"}


class Child:
    """A running example, its output in a file."""

    def __init__(self, log: Path, command: list[str], env: dict[str, str] | None = None) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=env, start_new_session=True
            )

    @property
    def lines(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines()

    def until(self, reached: Callable[[], bool]) -> None:
        assert self.reaches(reached), "\n".join(["it ended too early:", *self.lines])

    def until_said(self, pattern: str, count: int = 1) -> None:
        self.until(lambda: self._has_said(pattern, count))

    def comes_to(self, pattern: str, count: int) -> bool:
        """Wait until it has said so; return False if it ended before."""
        return self.reaches(lambda: self._has_said(pattern, count))

    def _has_said(self, pattern: str, count: int) -> bool:
        return sum(bool(re.search(pattern, line)) for line in self.lines) >= count

    def reaches(self, reached: Callable[[], bool]) -> bool:
        """Wait until it is so; return False if the child ended before."""
        give_up = time.monotonic() + DEADLINE
        while not reached():
            if self.process.poll() is not None:
                return reached()  # it may have come after the look, right before the end
            assert time.monotonic() < give_up, "\n".join(["waited in vain:", *self.lines])
            time.sleep(0.001)
        return True

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> list[str]:
        self.process.wait(DEADLINE)
        return self.lines


class Examples:
    """Starts examples; whatever still runs at the end of the test is killed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.started: list[Child] = []

    def start(self, name: str, *arguments: object, env: dict[str, str] | None = None) -> Child:
        script = EXAMPLES / name
        log = self.directory / f"{len(self.started)}.log"
        command = [sys.executable, "-W", "error", str(script), *map(str, arguments)]
        child = Child(log, command, {**os.environ, **(env or {})})
        self.started.append(child)
        return child

    def run(
        self, name: str, *arguments: object, status: int = 0, env: dict[str, str] | None = None
    ) -> list[str]:
        child = self.start(name, *arguments, env=env)
        lines = child.end()
        assert child.process.returncode == status, "\n".join(lines)
        return lines


@pytest.fixture
def examples(tmp_path: Path) -> Iterator[Examples]:
    directory = tmp_path / "logs"
    directory.mkdir()
    running = Examples(directory)
    try:
        yield running
    finally:
        for child in running.started:
            child.kill()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def stored(root: Path) -> dict[str, dict[str, Any]]:
    """Return every state as it is on disk, not through the code under test."""
    files = sorted(root.glob("sessions/[!.]*/state.json"))
    return {file.parent.name: json.loads(file.read_bytes()) for file in files}


def essence(state: dict[str, Any], *, times: bool = False) -> dict[str, Any]:
    """Return a stored state without what a recovery may change."""
    left = {name: value for name, value in state.items() if name not in OWN}
    if times:
        left["timestamps"] = {**left["timestamps"], "updated_at": None}
    else:
        del left["timestamps"], left["duration_ms"]
    return left


def dies_holding(root: Path, session_id: str) -> None:
    """Create a session in a process that dies before its first checkpoint."""
    code = (
        "import os, signal, sys; from sessionstore import SessionStore;"
        "s = SessionStore(sys.argv[1]).create('weekly-report', session_id=sys.argv[2],"
        " entry_point='collect');"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", code, root, session_id], check=False)
    assert ended.returncode == -signal.SIGKILL


# --- orchestrator.py -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instant", "step_delay"),
    [
        (": step collect$", 0.05),
        (": step collect done", 0.05),
        (": step review$", 0.05),
        (": step publish done", 0.25),  # only this pause is left to be killed in
    ],
)
def test_a_killed_graph_goes_on_and_ends_as_an_unkilled_one(
    examples: Examples, tmp_path: Path, instant: str, step_delay: float
) -> None:
    examples.run("orchestrator.py", "--root", tmp_path / "unkilled")
    for slower in SLOWER:
        root = tmp_path / f"store-{slower}"
        delay = step_delay * slower
        child = examples.start("orchestrator.py", "--root", root, "--step-delay", delay)
        child.until_said(instant)
        child.kill()
        said = [re.match(r".*, revision (\d+)$", line) for line in child.lines]
        saved = max(int(match[1]) for match in said if match)
        left_behind = stored(root)["weekly-report"]
        assert left_behind["revision"] >= saved
        if child.process.returncode == -signal.SIGKILL and left_behind["status"] == "active":
            break
    else:
        pytest.fail("it was never killed in time")

    lines = examples.run("orchestrator.py", "--root", root)

    assert any("sweep: weekly-report marked" in line for line in lines)
    ended = stored(root)["weekly-report"]
    assert ended["recovery"]["count"] == 1
    assert ended["recovery"]["owner"]["pid"] == child.process.pid
    assert essence(ended) == essence(stored(tmp_path / "unkilled")["weekly-report"])


def test_what_died_before_its_first_checkpoint_goes_on_from_its_last_save(
    examples: Examples, root: Path, tmp_path: Path
) -> None:
    dies_holding(root, "weekly-report")
    first = stored(root)["weekly-report"]

    examples.run("orchestrator.py", "--root", root)
    examples.run("orchestrator.py", "--root", tmp_path / "unkilled")

    ended = stored(root)["weekly-report"]
    assert ended["incarnation"] == first["incarnation"]
    assert ended["recovery"]["count"] == 1
    assert essence(ended) == essence(stored(tmp_path / "unkilled")["weekly-report"])


def test_a_job_that_is_done_is_not_done_twice(examples: Examples, root: Path) -> None:
    examples.run("orchestrator.py", "--root", root)
    before = stored(root)
    lines = examples.run("orchestrator.py", "--root", root)
    assert lines == ["weekly-report: completed already, nothing to do"]
    assert stored(root) == before


def test_a_session_that_lives_elsewhere_is_left_alone(examples: Examples, root: Path) -> None:
    with SessionStore(root) as store, store.create("g", session_id="weekly-report") as session:
        before = stored(root)
        lines = examples.run("orchestrator.py", "--root", root)
        assert any(f"left to another process: {session.session_id} is held" in s for s in lines)
        assert f"pid {os.getpid()} " in lines[-1]
        assert stored(root) == before


def test_a_damaged_session_ends_the_orchestrator_with_an_error(
    examples: Examples, root: Path
) -> None:
    examples.run("orchestrator.py", "--root", root)
    file = root / "sessions" / "weekly-report" / "state.json"
    file.write_bytes(torn := file.read_bytes()[:100])
    lines = examples.run("orchestrator.py", "--root", root, status=1)
    assert any("weekly-report needs a person" in line for line in lines)
    assert file.read_bytes() == torn


@each_run_set
def test_recorded_runs_replayed_with_kills_end_equal_to_an_unkilled_replay(
    examples: Examples, tmp_path: Path, runs: list[RunRecord]
) -> None:
    records = [run.record for run in runs]
    options = ("--runs", write_runs(tmp_path / "records", runs), "--max-recoveries", 1000)
    examples.run("orchestrator.py", "--root", tmp_path / "unkilled", *options)
    expected = stored(tmp_path / "unkilled")
    assert expected.keys() == {record["id"] for record in records}

    for slower in SLOWER:
        root = tmp_path / f"store-{slower}"
        kills_that_left_one_active = replayed_with_kills(
            examples, root, *options, delay=0.05 * slower
        )
        if kills_that_left_one_active > 5:
            break
    else:
        pytest.fail("it was hardly ever killed in time")

    found = stored(root)
    assert found.keys() == expected.keys()
    for record in records:
        state = found[record["id"]]
        assert essence(state, times=True) == essence(expected[record["id"]], times=True)
        recorded = SessionState.from_legacy_run(record, record["id"])
        replayed = SessionState.model_validate(state)
        for part in ("status", "result", "decisions", "problems", "metrics", "progress"):
            assert getattr(replayed, part) == getattr(recorded, part), part
        assert (replayed.goal_id, replayed.input_data) == (recorded.goal_id, recorded.input_data)
        assert replayed.duration_ms == recorded.duration_ms
    recovered = [state["recovery"]["count"] for state in found.values() if state["recovery"]]
    assert sum(recovered) == kills_that_left_one_active


def replayed_with_kills(examples: Examples, root: Path, *runs: object, delay: float) -> int:
    """Replay runs to their end; return how many kills left one active.

    Each life gets at least one decision further: it is killed within the second step that it
    begins, or between two steps, right after the first one that it has checkpointed.
    """
    left_one_active = 0
    for life in range(100):
        child = examples.start("orchestrator.py", "--root", root, *runs, "--step-delay", delay)
        if not (child.comes_to(r"\)$", 2) if life % 2 else child.comes_to(r"\) done", 1)):
            break
        child.kill()
        active = [name for name, state in stored(root).items() if state["status"] == "active"]
        assert len(active) <= 1
        left_one_active += len(active)
    child.end()
    assert child.process.returncode == 0
    return left_one_active


# --- async_orchestrator.py -----------------------------------------------------------------------


def test_fifty_async_sessions_that_were_killed_all_end_as_unkilled_ones(
    examples: Examples, tmp_path: Path
) -> None:
    assert examples.run("async_orchestrator.py", "--root", tmp_path / "unkilled") == [
        "50 completed",
    ]
    for slower in SLOWER:
        root = tmp_path / f"store-{slower}"
        if fifty_were_killed(examples, root, delay=0.5 * slower):
            break
    else:
        pytest.fail("they were never killed in time")

    lines = examples.run("async_orchestrator.py", "--root", root)

    assert lines == ["50 resumed and completed"]
    expected = {name: essence(state) for name, state in stored(tmp_path / "unkilled").items()}
    assert {name: essence(state) for name, state in stored(root).items()} == expected


def fifty_were_killed(examples: Examples, root: Path, *, delay: float) -> bool:
    """Kill fifty sessions after their first steps; return False if one had ended before."""
    child = examples.start("async_orchestrator.py", "--root", root, "--step-delay", delay)
    child.reaches(
        lambda: [len(s["progress"]["path"]) > 0 for s in stored(root).values()] == [True] * 50
    )
    child.kill()
    assert child.process.returncode in (0, -signal.SIGKILL)
    return [state["status"] for state in stored(root).values()] == ["active"] * 50


# --- worker.py -----------------------------------------------------------------------------------


def test_a_worker_gives_up_a_session_after_three_resumes_that_crashed(
    examples: Examples, root: Path
) -> None:
    examples.run("worker.py", "--root", root, "--poison", status=-signal.SIGKILL)
    for crash in (1, 2, 3):
        lines = examples.run("worker.py", "--root", root, status=-signal.SIGKILL)
        assert f"(crash {crash})" in lines[-1]
    (state,) = stored(root).values()
    assert state["status"] == "active"
    assert state["data_buffer"] == {"done": ["a.png"]}

    lines = examples.run("worker.py", "--root", root)

    assert f"given up {state['session_id']}: 4 processes died" in lines[-1]
    (marked,) = stored(root).values()
    assert (marked["status"], marked["recovery"]["count"]) == ("failed", 4)
    examples.run("worker.py", "--root", root)
    assert list(stored(root).values()) == [marked]


def test_of_several_workers_never_two_resume_the_same_session(
    examples: Examples, root: Path
) -> None:
    child = examples.start("worker.py", "--root", root, "--new", 8, "--step-delay", "60")
    child.until_said("created", 8)
    child.kill()

    workers = [
        examples.start("worker.py", "--root", root, "--step-delay", "0.02") for _ in range(3)
    ]
    said = [line for worker in workers for line in worker.end()]

    assert [worker.process.returncode for worker in workers] == [0, 0, 0], "\n".join(said)
    resumed = [match[1] for line in said if (match := re.search(r"resumed (\S+) at", line))]
    assert sorted(resumed) == sorted(stored(root))
    for state in stored(root).values():
        assert (state["status"], state["recovery"]["count"]) == ("completed", 1)
        assert state["data_buffer"]["done"] == ["a.png", "b.png", "c.png"]


# --- human_in_the_loop.py ------------------------------------------------------------------------


def test_ask_answer_and_work_are_three_processes_and_the_session_ends_completed(
    examples: Examples,
) -> None:
    lines = examples.run("human_in_the_loop.py")
    pids = [line.split(":")[0] for line in lines]
    assert len(set(pids)) == len(lines) == 4
    assert lines[-1].endswith("completed, path draft > send")


def test_a_worker_waits_for_the_answer_and_then_goes_on_with_it(
    examples: Examples, root: Path
) -> None:
    script = "human_in_the_loop.py"
    examples.run(script, "ask", "--root", root)
    (asked,) = stored(root).values()
    assert (asked["status"], asked["progress"]["paused_at"]) == ("paused", "ask_person")
    assert examples.run(script, "work", "--root", root) == []
    assert list(stored(root).values()) == [asked]

    examples.run(script, "answer", "--root", root, "no")
    (answered,) = stored(root).values()
    assert (answered["status"], answered["data_buffer"]["answer"]) == ("paused", "no")

    examples.run(script, "work", "--root", root)
    (ended,) = stored(root).values()
    assert (ended["status"], ended["result"]["output"]) == ("completed", {"sent": False})
    assert ended["progress"]["path"] == ["draft", "discard"]


# --- transcript.py -------------------------------------------------------------------------------


def test_a_chat_that_is_killed_has_each_message_once(examples: Examples) -> None:
    *lines, kills = examples.run("transcript.py")
    assert re.fullmatch(r"killed [1-9]\d* times", kills)
    questions = [line.partition(": ")[2] for line in lines if " user: " in line]
    answers = [line.partition(": ")[2] for line in lines if " assistant: " in line]
    assert len(questions) == len(set(questions)) == 5
    assert answers == [f"You said: {question}" for question in questions]
    assert len(lines) == 10


def test_a_transcript_is_read_while_its_worker_is_gone(examples: Examples, root: Path) -> None:
    worker = examples.start("transcript.py", "work", "--root", root)
    file = root / "sessions/chat-1/journals/messages.jsonl"
    worker.until(lambda: file.exists() and b"assistant" in file.read_bytes())
    worker.kill()
    lines = examples.run("transcript.py", "read", "--root", root)
    assert lines[0].split(":")[0].split() == ["1", "user"]
    assert stored(root)["chat-1"]["revision"] == 1  # no state was saved


# --- agent.py -------------------------------------------------------------------------------------

KILLS = 200 if os.environ.get("SESSIONSTORE_TALLY") else 12


def transcript(root: Path) -> list[tuple[str | None, object]]:
    file = root / "sessions/trip-to-oslo/journals/transcript.jsonl"
    lines = [json.loads(line) for line in file.read_text().split("\n") if line.strip()]
    return [(line.get("key"), line["value"]) for line in lines]


def run_agent(examples: Examples, root: Path, *, die: float = 0.0) -> int:
    """Run the agent until it has completed, and return how often it was killed."""
    kills = 0
    root.mkdir()
    while True:
        child = examples.start("agent.py", "--root", root, "--die", die)
        child.end()
        status = child.process.returncode
        if status == 0:
            return kills
        if status == 3:
            examples.run("agent.py", "--root", root, "--answer", "yes")
        elif status == -signal.SIGKILL:
            kills += 1
        else:  # it died while it booked: somebody finds out that it is booked
            assert "--settle book-2=JSON" in "".join(child.lines)
            with SessionStore(root).edit("trip-to-oslo") as session:
                session.settle_step("book-2", "Oslo: booked")


def test_an_agent_that_is_killed_ends_as_one_that_is_not_and_books_once(
    examples: Examples, tmp_path: Path
) -> None:
    assert run_agent(examples, tmp_path / "unkilled") == 0
    expected = transcript(tmp_path / "unkilled")
    assert len(expected) == 9
    kills = runs = 0
    while kills < KILLS:
        root = tmp_path / f"killed-{runs}"
        died = run_agent(examples, root, die=0.4)
        assert transcript(root) == expected
        calls = (root / "calls.log").read_text().split()
        assert calls.count("book") == 1
        assert len(calls) <= 7 + 2 * died  # seven, and those that ran when it was killed
        kills, runs = kills + died, runs + 1
    tally("agent.py killed", promise=2, cases=kills)


# --- ops_list_resumable.sh -----------------------------------------------------------------------


def run_ops_script(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("click", reason="the command line needs the extra cli")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["sh", EXAMPLES / "ops_list_resumable.sh", *command],
        env={**os.environ, "SESSIONSTORE_ROOT": str(root), "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )


def test_the_ops_script_hands_each_unfinished_id_to_a_second_command(root: Path) -> None:
    paused = [new_session(root, f"waits-{number}") for number in range(3)]
    dies_holding(root, "without-checkpoint")
    SessionStore(root).create("g", session_id="completed").complete()

    ended = run_ops_script(root, "echo", "to resume:")

    assert ended.returncode == 0, ended.stderr
    unfinished = [*paused, "without-checkpoint"]
    assert sorted(ended.stdout.splitlines()) == sorted(f"to resume: {s}" for s in unfinished)
    shown = run_ops_script(root)
    assert shown.returncode == 0, shown.stderr
    assert all(name in shown.stdout for name in paused)
    assert run_ops_script(root, "false").returncode != 0


def test_the_ops_script_fails_where_the_listing_fails(tmp_path: Path) -> None:
    ended = run_ops_script(tmp_path / "no-store", "echo")
    assert (ended.returncode != 0, ended.stdout) == (True, "")


# --- demo.py -------------------------------------------------------------------------------------


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """Where a demo may put its files; it must leave nothing there."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    return directory


def test_the_demo_kills_resumes_compares_and_leaves_nothing(
    examples: Examples, temporary: Path, tmp_path: Path
) -> None:
    # A checkout without recorded runs beside it: then the demo makes some up.
    copy = shutil.copytree(EXAMPLES, tmp_path / "checkout" / "examples")
    env = {"TMPDIR": str(temporary)}
    lines = examples.run(str(copy / "demo.py"), env=env)
    assert any(line.startswith("2. 8 made-up runs") for line in lines)
    assert lines[-1] == "Nothing was lost."
    assert sum("KILLED" in line for line in lines) > 10
    assert any(line.endswith("1 of 2 kept; died within `draft`") for line in lines)
    assert any(line.endswith("all in all plan, draft, draft, send were called") for line in lines)
    assert not any("\x1b" in line for line in lines)
    assert list(temporary.iterdir()) == []


def test_the_demo_sees_a_difference(examples: Examples, temporary: Path) -> None:
    env = {"TMPDIR": str(temporary)}
    lines = examples.run("demo.py", "--spoil", "--chapter", 4, status=1, env=env)
    assert any("result.success: True became 'spoilt'" in line for line in lines)
    assert lines[-1].startswith("NOT AS PROMISED")
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("request_to_stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_no_process_and_no_file(
    examples: Examples, temporary: Path, request_to_stop: signal.Signals
) -> None:
    for _ in SLOWER:
        child = examples.start("demo.py", env={"TMPDIR": str(temporary)})
        child.until_said("KILLED")
        seen = meets_a_child(child)
        child.process.send_signal(request_to_stop)
        lines = child.end()

        assert not any(process.is_running() for process in seen)
        assert list(temporary.iterdir()) == []
        if seen and child.process.returncode != 0:  # else it came to its end before
            break
    assert seen
    assert (child.process.returncode, lines[-1]) == (130, "interrupted")


def meets_a_child(child: Child) -> list[psutil.Process]:
    """Wait until an example has children of its own, and return them; none if it ended before."""
    seen: list[psutil.Process] = []

    def has_a_child() -> bool:
        if child.process.poll() is None:
            seen.extend(psutil.Process(child.process.pid).children(recursive=True))
        return bool(seen)

    child.reaches(has_a_child)
    return seen
