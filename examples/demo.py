"""Kill a real orchestrator again and again, and show that nothing is lost.

    python demo.py                  # under a minute; exits with 0 if nothing was lost
    python demo.py --seed 7         # other instants

It starts orchestrator.py as a child and kills it with SIGKILL: within a step, between two steps,
in the middle of a save, and at random instants. Each time a new child sweeps and resumes. At the
end state.json is compared, key by key, with that of a child which nobody killed. The last chapter
kills answer.py within a step, and shows that the step before it is not called again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from demo_child import (
    ANSWER,
    DemoError,
    Instant,
    Orchestrator,
    State,
    after,
    at_random,
    children,
    differences,
    in_a_save,
    read_states,
    stop_requested,
    unfinished,
    where,
    within,
)

from sessionstore import SessionClaimed, SessionStore

RECORDED_RUNS = Path(__file__).resolve().parents[2] / "shared" / "data" / "legacy_runs"
SESSION = "weekly-report"

# A killed session may differ from one that nobody killed only in these fields: it was written more
# often, at other times, and counts its recoveries. A replay takes its times from the record.
MAY_DIFFER_IN_A_REPLAY = {
    "revision",
    "saves_from",
    "incarnation",
    "latest_checkpoint_id",
    "recovery",
    "timestamps.updated_at",
}
MAY_DIFFER = MAY_DIFFER_IN_A_REPLAY | {
    "timestamps.started_at",
    "timestamps.completed_at",
    "duration_ms",  # computed from the timestamps
}


TRIES = 5
"""How often a chapter starts again, with slower steps, when children end too early."""
LEAST_KILLS = 6
"""In each of the two chapters that kill again and again."""


def tell(text: str = "") -> None:
    print(text, flush=True)


def retell(child: Orchestrator, pattern: str) -> None:
    """Print what a child said about its predecessor, and where it continues."""
    for line in child.lines:
        if re.search(pattern, line):
            brief = re.sub(r" \([^)]*\)|; wait with .*", "", line)  # without the command line
            tell(f"  pid {child.process.pid} {brief}")


class Demo:
    """The chapters, printed as they happen, and the table at the end."""

    def __init__(self, base: Path, runs: Path, seed: int, *, spoil: bool) -> None:
        self.base, self.runs, self.spoil = base, runs, spoil
        self.chance = random.Random(seed)
        self.kills: Counter[str] = Counter()
        self.table: list[tuple[bool, str, str]] = []
        self.reference: dict[str, State] = {}

    def play(self, only: int | None) -> bool:
        Orchestrator(self.base / "reference").finish()
        self.reference = read_states(self.base / "reference")
        chapters = (
            self.killed_graph,
            self.killed_replays,
            self.stopped_owner,
            self.two_successors,
            self.killed_step,
        )
        for number, chapter in enumerate(chapters, start=1):
            if only in (None, number):
                chapter()
        return self.verdict()

    def killed_graph(self) -> None:
        tell("1. A graph of nodes, killed within steps, between steps and in the middle of saves")
        # In the order of the steps: a child that was killed late must not wait for an earlier step.
        aimed = [in_a_save(1), in_a_save(2), within("collect"), after("collect"), within("draft")]
        aimed += [in_a_save(3), after("draft"), in_a_save(2), in_a_save(4), within("review")]
        instants = [*aimed, *(at_random(self.chance) for _ in range(4))]
        root, detail = self.kill_in_earnest("graph", [], 0.02, instants)
        self.compare("killed graph", self.reference, root, MAY_DIFFER, detail)

    def killed_replays(self) -> None:
        records = [json.loads(file.read_bytes()) for file in sorted(self.runs.glob("*.json"))]
        kind = "made-up" if self.base in self.runs.parents else "recorded"
        tell(f"2. {len(records)} {kind} runs, replayed decision by decision, killed at random")
        options = ["--runs", str(self.runs)]
        Orchestrator(self.base / "replay-reference", *options).finish()
        expected = read_states(self.base / "replay-reference")
        instants = [at_random(self.chance) for _ in range(12)]
        instants += [in_a_save(self.chance.randint(1, 5)) for _ in range(6)]
        self.chance.shuffle(instants)
        root, detail = self.kill_in_earnest("replay", options, 0.005, instants)
        self.compare("killed replays", expected, root, MAY_DIFFER_IN_A_REPLAY, detail)
        found = read_states(root)
        equal = [as_recorded(record, found[record["id"]]) for record in records]
        self.check(all(equal), "replays against records", f"{sum(equal)} of {len(equal)} equal")

    def stopped_owner(self) -> None:
        tell("3. An owner that is stopped (SIGSTOP) is alive: nobody may take its session")
        for root, delay in self.tries("stopped", 0.1):
            child = Orchestrator(root, *delay)
            if child.wait_for(": step draft") and child.stop() and is_active(root):
                break
            child.process.send_signal(signal.SIGCONT)
            child.finish()
        before = read_states(root)
        with SessionStore(root) as store:
            report = store.recover()
            for item in report.alive:
                tell(f"  sweep: {item.session_id} is left alone, it is alive")
            try:
                store.claim(SESSION).release()
                refused = False
            except SessionClaimed as error:
                refused = error.owner.pid == child.process.pid
                tell(f"  claim: refused, held by pid {error.owner.pid}")
        left_alone = not report.swept and len(report.alive) == 1 and read_states(root) == before
        child.process.send_signal(signal.SIGCONT)
        child.finish()
        tell("  continued (SIGCONT), it went on to its end")
        self.check(left_alone and refused, "stopped owner is not swept", "and its claim stands")
        self.compare("stopped graph", self.reference, root, MAY_DIFFER, "went on by itself")

    def two_successors(self) -> None:
        tell("4. Two successors at once: exactly one resumes")
        for root, delay in self.tries("successors", 0.1):
            child = Orchestrator(root, *delay)
            if not (child.wait_for(": step review") and self.kill(child)):
                child.finish()
            elif is_active(root):
                break
        successors = [Orchestrator(root, *delay) for _ in range(2)]
        for successor in successors:
            successor.finish()
        for successor in successors:
            retell(successor, "^sweep: |: (resumed|left to|.* already)")
        resumed = sum(": resumed" in line for each in successors for line in each.lines)
        self.check(resumed == 1, "one of two resumes", f"{resumed} resumed")
        self.compare("raced graph", self.reference, root, MAY_DIFFER, "killed once")

    def killed_step(self) -> None:
        tell("5. A process killed within the second of three calls: the first is not made again")
        root = self.base / "steps"
        child = Orchestrator(root, "--stay", program=ANSWER)
        if not (child.wait_for("calling: draft") and self.kill(child)):
            raise DemoError("it ended within its second step, and nobody killed it")
        for command in ("steps", "explain"):
            for line in asked(root, command, "mail-1"):
                if command == "steps" or "kept; died within" in line:
                    tell(f"  {line}")
        successor = Orchestrator(root, program=ANSWER)
        successor.finish()
        calls = [line.removeprefix("calling: ") for line in (*child.lines, *successor.lines)]
        tell(f"  pid {successor.process.pid} went on, all in all {', '.join(calls)} were called")
        self.check(
            calls == ["plan", "draft", "draft", "send"], "a kept step runs once", "killed once"
        )

    # --- parts of the chapters --------------------------------------------------------------------

    def tries(self, name: str, delay: float) -> Iterator[tuple[Path, list[str]]]:
        """Yield stores, and how slow steps are to be, until the caller came in time.

        On a busy machine a child may be at its end before anybody gets to stop or kill it.
        """
        for number in range(TRIES):
            slow = delay * 3**number
            root = self.base / (f"{name}-{number + 1}" if number else name)
            yield root, ["--step-delay", f"{slow:g}"]
            tell(f"  this machine is busy: it came to its end too early, with steps of {slow:g} s")
        raise DemoError(f"{TRIES} times it came to its end before anybody could interfere")

    def kill_in_earnest(
        self, name: str, options: list[str], delay: float, instants: list[Instant]
    ) -> tuple[Path, str]:
        """Kill and resume until enough kills hit; return where, and the final state."""
        for root, how in self.tries(name, delay):
            kills, resumes = self.kill_and_resume(root, [*options, *how], instants)
            if kills >= LEAST_KILLS:
                break
        return root, f"{kills} kills, {resumes} resumes"

    def kill_and_resume(
        self, root: Path, options: list[str], instants: list[Instant]
    ) -> tuple[int, int]:
        """Start and kill children; let the last one finish. Return how often each happened."""
        kills = resumes = 0
        for wait_for_instant in [*instants, None]:
            child = Orchestrator(root, *options)
            killed = wait_for_instant is not None and wait_for_instant(child) and self.kill(child)
            kills += killed
            if not killed:
                child.finish()
                retell(child, "^sweep: |: resumed from ")
            resumes += sum(": resumed from " in line for line in child.lines)
            if not killed:
                tell(f"  pid {child.process.pid} came to the end")
                break
        left = unfinished(root)
        self.check(not left, f"{root.name}: nothing half-done left", f"{len(left)} files")
        return kills, resumes

    def kill(self, child: Orchestrator) -> bool:
        """Kill a child, and check that its saves are there; return False if it ended before."""
        child.process.send_signal(signal.SIGKILL)
        if child.process.wait() != -signal.SIGKILL:
            return False
        child.reap()
        place = where(child)
        self.kills[re.split(",| step ", place)[0]] += 1
        retell(child, "^sweep: |: resumed from ")
        tell(f"  pid {child.process.pid} KILLED {place}")
        # A save that returned is on disk: the child printed its revision only afterwards.
        stored = read_states(child.root)
        for line in child.lines:
            if match := re.match(r"(\S+): .*, revision (\d+)$", line):
                session_id, revision = match[1], int(match[2])
                if session_id not in stored or stored[session_id]["revision"] < revision:
                    raise DemoError(f"{session_id}: revision {revision} was saved and is gone")
        return True

    def compare(
        self, what: str, expected: dict[str, State], root: Path, may_differ: set[str], detail: str
    ) -> None:
        found = read_states(root)
        if self.spoil:
            found[min(found)]["result"]["success"] = "spoilt"
        wrong = [f"{session_id} is missing" for session_id in expected.keys() - found.keys()]
        wrong += [f"{session_id} is too many" for session_id in found.keys() - expected.keys()]
        for session_id in expected.keys() & found.keys():
            pair = expected[session_id], found[session_id]
            wrong += [f"{session_id}: {line}" for line in differences(*pair, may_differ)]
        for line in wrong:
            tell(f"  DIFFERENT {line}")
        self.check(not wrong, f"{what} = unkilled", detail)

    def check(self, holds: object, what: str, detail: str) -> None:
        self.table.append((bool(holds), what, detail))

    def verdict(self) -> bool:
        tell("")
        for holds, what, detail in self.table:
            tell(f"{'ok    ' if holds else 'FAILED'}  {what:<32} {detail}")
        tell("")
        tell("killed: " + ", ".join(f"{n} {place}" for place, n in self.kills.most_common()))
        tell("may differ, and nothing else did: " + ", ".join(sorted(MAY_DIFFER)))
        good = all(holds for holds, _, _ in self.table)
        tell("Nothing was lost." if good else "NOT AS PROMISED: see above.")
        return good


def asked(root: Path, *command: str) -> list[str]:
    """Return what the command line tells, without colours, in lines that are not cut."""
    told = subprocess.run(
        [sys.executable, "-m", "sessionstore", "--root", str(root), *command],
        env=os.environ | {"COLUMNS": "120", "NO_COLOR": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    return told.stdout.splitlines()


def is_active(root: Path) -> bool:
    """Return whether the graph's session has not ended."""
    found = read_states(root)
    return SESSION in found and found[SESSION]["status"] == "active"


def as_recorded(record: State, state: State) -> bool:
    """Return whether a replay ended as its record says."""
    return bool(
        state["status"] == record["status"]
        and state["goal_id"] == record["goal_id"]
        and state["decisions"] == record["decisions"]
        and state["problems"] == record["problems"]
        and state["input_data"] == record["input_data"]
        and state["result"]["output"] == record["output_data"]
        and state["metrics"]["nodes_executed"] == record["metrics"]["nodes_executed"]
    )


def write_records(directory: Path) -> Path:
    """Make up run records, in the shape of the real ones, where those are not at hand."""
    directory.mkdir()
    for number in range(8):
        nodes = [f"node_{step}" for step in range(number % 4)]
        day = f"2026-01-{number + 10}T12:00:0"
        record = {
            "id": f"run_{number:02}",
            "goal_id": f"goal-{number % 3}",
            "status": "failed" if number % 3 == 0 else "completed",
            "started_at": f"{day}0.000100",
            "completed_at": f"{day}9.000200",
            "decisions": [
                {"id": f"dec_{step}", "node_id": node, "outcome": {"result": f"{node}\u2717"}}
                for step, node in enumerate(nodes)
            ],
            "problems": [{"id": "prob_0", "severity": "critical"}] if number % 3 == 0 else [],
            "metrics": {
                "total_decisions": len(nodes),
                "total_tokens": 0,
                "nodes_executed": nodes,
                "edges_traversed": [],
            },
            "input_data": {"number": number},
            "output_data": {"result": number * 2},
        }
        (directory / f"run_{number:02}.json").write_text(json.dumps(record), encoding="utf-8")
    return directory


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=20261122, help="of the random instants")
    parser.add_argument("--runs", type=Path, metavar="DIR", help="replay the run records in DIR")
    parser.add_argument("--chapter", type=int, choices=(1, 2, 3, 4, 5), help="play only this one")
    parser.add_argument(
        "--spoil",
        action="store_true",
        help="self-test: spoil what is compared; the demo must see it and end with 1",
    )
    options = parser.parse_args()
    if options.runs is not None and not options.runs.is_dir():
        parser.error(f"{options.runs} is no directory")

    # Only asked for, and done while waiting: so no child is lost between its start and its list.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop_requested.set())

    with tempfile.TemporaryDirectory(prefix="sessionstore-demo-") as name:
        runs = options.runs or RECORDED_RUNS
        if not runs.is_dir():
            runs = write_records(Path(name) / "records")
        try:
            demo = Demo(Path(name), runs, options.seed, spoil=options.spoil)
            return 0 if demo.play(options.chapter) else 1
        except DemoError as error:
            tell(f"NOT AS PROMISED: {error}")
            return 1
        except KeyboardInterrupt:
            tell("interrupted")
            return 130
        finally:
            for child in children.copy():
                child.kill()


if __name__ == "__main__":
    sys.exit(main())
