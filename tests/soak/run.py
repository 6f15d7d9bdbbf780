"""Load one store with real processes that are killed and stopped at random; nothing may be lost.

    python -m tests.soak.run --seconds 600 --seed 1

Writers, sweepers and readers share a few sessions, so that they meet all the time. The parent
kills them (SIGKILL), or stops them for a while (SIGSTOP, SIGCONT), and starts others. What the
store acknowledged is on record outside it, and is compared with what is there at the end. Exits
with 1 on any loss, double owner or broken promise, with 3 where fewer were killed than asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sessionstore import RecoveryReport, SessionStore, SessionStoreError
from tests.soak.verdict import Verdict, judge

CHECKOUT = Path(__file__).parents[2]
CREW = ("writer", "writer", "writer", "writer", "sweeper", "reader")
TARGETS = {"writer": 8, "sweeper": 3, "reader": 1}
"""How much more often one of them is killed than another."""
PATIENCE = 300.0
"""Seconds that workers get to come to their end by themselves."""


@dataclass
class Worker:
    """A child process; only the parent reaps it, so its pid stays its own until then."""

    role: str
    number: int
    process: subprocess.Popen[bytes]
    killed_at: float | None = None
    reap_at: float = 0.0
    wake_at: float | None = None

    @property
    def pid(self) -> int:
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        """Send a signal to a child that was not reaped yet."""
        if self.process.returncode is None:
            os.kill(self.pid, number)


@dataclass
class Soak:
    """A run of the load below ``home``."""

    home: Path
    seconds: float
    seed: int
    sessions: int
    kills: int
    workers: list[Worker] = field(default_factory=list)
    started: int = 0
    kills_done: int = 0
    pauses: int = 0
    killed: dict[int, float] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)

    def run(self) -> Verdict:
        """Make the load, end it, sweep, and compare."""
        for name in ("journal", "witness"):
            (self.home / name).mkdir(parents=True)
        try:
            self._load()
            self._stop()
        finally:
            self._end_all()
        verdict = self.judge()
        verdict.broken += self.troubles
        return verdict

    def judge(self) -> Verdict:
        """Sweep as the last one, and compare the journals with the store."""
        root = self.home / "store"
        store = SessionStore(root)
        report = store.recover()
        self._put_on_record(report)
        troubles = [*report.alive, *report.unknown, *report.damaged, *report.failed]
        found = [f"{item.session_id}: after the end: {item.reason}" for item in troubles]
        for item in store.find(limit=None).items:
            try:
                store.claim(item.session_id).release()
            except SessionStoreError as error:
                found.append(f"{item.session_id} cannot be claimed: {error}")
        found += [f"left over: {path}" for path in root.rglob(".new-*")]
        found += [f"left over: {path}" for path in (root / "trash").iterdir()]
        verdict = judge(self.home / "journal", root, self.killed)
        verdict.broken += found
        return verdict

    def _put_on_record(self, report: RecoveryReport) -> None:
        """Write down what the last sweep marked, as a sweeper does: each mark is a revision.

        Else that of a process which died between two saves would seem to be nobody's.
        """
        lines = []
        for item in report.swept:
            holder = item.liveness.owner if item.liveness else None
            facts = {"s": item.session_id, "pid": holder.pid if holder else None}
            line = {"e": "swept", "t": time.monotonic(), "p": os.getpid(), **facts}
            lines.append(json.dumps({**line, "why": item.reason}) + "\n")
        name = f"{self.started + 1:06}.jsonl"  # of the next process, had there been one
        (self.home / "journal" / name).write_text("".join(lines))

    # --- the load --------------------------------------------------------------------------------

    def _load(self) -> None:
        chance = random.Random(self.seed)
        begin = time.monotonic()
        spacing = self.seconds / self.kills if self.kills else self.seconds
        next_kill = begin + spacing
        next_pause = begin + spacing / 2
        # A machine that is busy may need longer for the kills; not for ever.
        while time.monotonic() < begin + self.seconds or (
            self.kills_done < self.kills and time.monotonic() < begin + 2 * self.seconds
        ):
            now = time.monotonic()
            self._man()
            self._wake(now)
            if now >= next_kill and self.kills_done < self.kills:
                self._kill(chance)
                next_kill += spacing * chance.uniform(0.6, 1.2)
            if now >= next_pause:
                self._pause(chance, now)
                next_pause += spacing * chance.uniform(0.6, 1.4)
            time.sleep(0.002 * chance.random())  # seconds: any instant of a save may be hit

    def _man(self) -> None:
        """Reap who was killed, notice who ended by itself, and start others in their place."""
        for worker in list(self.workers):
            if worker.killed_at is not None:
                # Not at once: a zombie, too, has to count as dead.
                if time.monotonic() < worker.reap_at:
                    continue
                worker.process.wait()
            elif worker.process.poll() is None:
                continue
            else:
                self.troubles.append(
                    f"pid {worker.pid} ({worker.role}) ended by itself: {worker.process.returncode}"
                )
            self.workers.remove(worker)
        alive = [worker.role for worker in self.workers if worker.killed_at is None]
        for role in CREW:
            if role in alive:
                alive.remove(role)
            else:
                self._start(role)

    def _start(self, role: str) -> None:
        self.started += 1
        arguments = (self.home, role, self.started, f"{self.seed}-{self.started}", self.sessions)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.worker", *map(str, arguments)],
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the parent, which ends them in order
        )
        self.workers.append(Worker(role, self.started, process))

    def _at_work(self) -> list[Worker]:
        """Return who lives and has begun: killing an import proves nothing."""
        return [
            worker
            for worker in self.workers
            if worker.killed_at is None and self._has_begun(worker)
        ]

    def _has_begun(self, worker: Worker) -> bool:
        return (self.home / "journal" / f"{worker.number:06}.jsonl").exists()

    def _kill(self, chance: random.Random) -> None:
        at_work = self._at_work()
        if not at_work:
            return
        weights = [TARGETS[worker.role] for worker in at_work]
        worker = chance.choices(at_work, weights)[0]
        worker.killed_at = time.monotonic()
        worker.reap_at = worker.killed_at + chance.choice([0.0, 0.0, 0.2])  # seconds
        # Before the kill: whoever sweeps at once must find it on record.
        self.killed[worker.pid] = worker.killed_at
        worker.send(signal.SIGKILL)
        self.kills_done += 1

    def _pause(self, chance: random.Random, now: float) -> None:
        awake = [worker for worker in self._at_work() if worker.wake_at is None]
        if awake:
            worker = chance.choice(awake)
            worker.send(signal.SIGSTOP)
            worker.wake_at = now + chance.uniform(0.02, 0.6)  # seconds
            self.pauses += 1

    def _wake(self, now: float, *, all_of_them: bool = False) -> None:
        for worker in self.workers:
            if worker.wake_at is not None and (all_of_them or now >= worker.wake_at):
                worker.wake_at = None
                worker.send(signal.SIGCONT)

    # --- the end ---------------------------------------------------------------------------------

    def _stop(self) -> None:
        """Let everybody come to an end."""
        self._wake(0.0, all_of_them=True)
        living = [worker for worker in self.workers if worker.killed_at is None]
        begun = [worker for worker in living if self._has_begun(worker)]
        for worker in living:
            if worker in begun:
                worker.send(signal.SIGTERM)
            else:  # it cannot take the signal yet
                self.killed[worker.pid] = worker.killed_at = time.monotonic()
                worker.send(signal.SIGKILL)
        for worker in begun:
            try:
                status = worker.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.troubles.append(f"pid {worker.pid} ({worker.role}) did not come to an end")
                continue
            # It may have been told before it could listen.
            if status not in (0, -signal.SIGTERM):
                self.troubles.append(f"pid {worker.pid} ({worker.role}) ended with {status}")

    def _end_all(self) -> None:
        for worker in self.workers:
            with suppress(ProcessLookupError):
                worker.send(signal.SIGKILL)
            worker.process.wait()


def report(soak: Soak, verdict: Verdict, taken: float) -> dict[str, int | float]:
    """Print what was done and what was lost; return it as figures."""
    figures: dict[str, int | float] = {
        "seconds": round(taken, 1),
        "processes": soak.started,
        "saves": verdict.saves,
        "checkpoints": verdict.checkpoints,
        "kills": soak.kills_done,
        "of these inside a call": verdict.in_flight,
        "pauses": soak.pauses,
        "holds": verdict.holds,
        "takeovers": verdict.takeovers,
        "sweeps": verdict.sweeps,
        "swept": verdict.swept,
        "deletes": verdict.deletes,
        "reads": verdict.reads,
        "losses": len(verdict.losses),
        "double owners": len(verdict.double_owners),
        "other broken promises": len(verdict.broken),
    }
    for name, number in figures.items():
        print(f"{name:>28}  {number:,}")
    for kind in ("losses", "double_owners", "broken"):
        for text in getattr(verdict, kind)[:20]:
            print(f"{kind.upper()}: {text}")
    return figures


def main(arguments: list[str] | None = None) -> int:
    """Run the soak that the arguments ask for; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sessions", type=int, default=6)
    parser.add_argument("--kills", type=int, help="how many (default: two in three seconds)")
    parser.add_argument("--dir", type=Path, help="use the file system of this directory")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep everything in this new DIR")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    given = parser.parse_args(arguments)
    kills = round(given.seconds * 2 / 3) if given.kills is None else given.kills
    # Not the system's temporary directory: it may be a tmpfs, where a flush costs nothing.
    home = given.keep or Path(tempfile.mkdtemp(dir=given.dir or Path.cwd(), prefix=".soak-"))
    soak = Soak(home.resolve(), given.seconds, given.seed, given.sessions, kills)
    print(f"{given.seconds:g} seconds, seed {given.seed}, {given.sessions} sessions", flush=True)
    begin = time.monotonic()
    keep = True
    try:
        verdict = soak.run()
        figures = report(soak, verdict, time.monotonic() - begin)
        keep = given.keep is not None or not verdict.is_clean
    except KeyboardInterrupt:
        keep = given.keep is not None
        raise
    finally:
        if keep:
            print(f"kept: {home}")
        else:
            shutil.rmtree(home)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")
    if not verdict.is_clean:
        return 1
    if soak.kills_done < kills:
        print(f"only {soak.kills_done} of {kills} kills: this proves less than was asked for")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
