"""Two workers over 200 interrupted sessions, killed at random: each is completed exactly once."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sessionstore import SessionState, SessionStore
from tests.faults.support.start_up_worker import NODES
from tests.faults.support.tally import tally
from tests.support.processes import DEADLINE, Child, read_state

SEED = int(os.environ.get("SESSIONSTORE_SEED", "20261122"))
SESSIONS = 200
KILLS = 14


class Crew:
    """Two workers, of which one is killed now and then, and started again."""

    def __init__(self, root: Path, chance: random.Random) -> None:
        self.root, self.chance = root, chance
        self.log, self.errors = root.parent / "log", root.parent / "stderr"
        self.kills = 0
        # After how many lines of the log, of which each session makes two.
        self.due = sorted(chance.sample(range(2, 2 * SESSIONS - 50), KILLS))
        self.skipped: list[Any] = []

    def start(self) -> Child:
        """Return a worker that begins; nobody waits for it."""
        # "$0" is the interpreter: what it says on stderr is read at the end.
        wrapper = ("sh", "-c", f'exec "$0" "$@" 2>>"{self.errors}"')
        return Child("faults.support.start_up_worker.work_all", self.root, wrapper=wrapper)

    def work(self, store: SessionStore[SessionState]) -> None:
        """Let them work until every session has ended."""
        give_up = time.monotonic() + DEADLINE
        workers = [self.start(), self.start()]
        try:
            while workers:
                assert time.monotonic() < give_up, "they come to no end"
                lines = self.lines()
                if self.kills < KILLS and len(lines) >= self.due[self.kills]:
                    at_work = {line.partition("pid=")[2] for line in lines}
                    self._kill([child for child in workers if str(child.pid) in at_work])
                for child in [child for child in workers if child.process.poll() is not None]:
                    self._reap(child)
                    workers.remove(child)
                if len(workers) < 2 and store.count(unfinished=True):
                    workers.append(self.start())
                time.sleep(0.002)
        finally:
            for child in workers:
                child.kill()

    def lines(self) -> list[str]:
        """Return what the workers have logged."""
        return self.log.read_text().splitlines() if self.log.exists() else []

    def _kill(self, at_work: list[Child]) -> None:
        time.sleep(self.chance.uniform(0, 0.03))
        alive = [child for child in at_work if child.process.poll() is None]
        if alive:
            self.chance.choice(alive).crash()
            self.kills += 1

    def _reap(self, child: Child) -> None:
        for said in child.hear_all():
            self.skipped += said["skipped"]
        assert child.wait() in (0, -9)
        child.kill()


def interrupted_sessions(root: Path, store: SessionStore[SessionState]) -> list[str]:
    """Make sessions that were stopped, and a few whose processes died."""
    ids = [f"s-{number:03}" for number in range(SESSIONS)]
    with Child("act", root) as killer:
        killer.hear()
        for session_id in ids[::20]:
            killer.ask("leave_dead", session_id=session_id)
    for session_id in set(ids) - set(ids[::20]):
        with pytest.raises(KeyboardInterrupt), store.create("goal", session_id=session_id):
            raise KeyboardInterrupt
    return ids


def test_every_session_is_completed_once_and_none_twice(tmp_path: Path) -> None:
    root = tmp_path / "root"
    store = SessionStore(root, durability="process")
    ids = interrupted_sessions(root, store)
    crew = Crew(root, random.Random(SEED))
    crew.work(store)

    assert crew.errors.read_text() == "", "a worker said something on stderr"
    assert crew.skipped == [], "only what another worker took is left out"
    crashes = 0
    for session_id in ids:
        state = read_state(root, session_id)
        assert state["status"] == "completed"
        assert state["result"]["output"] == {"nodes": len(NODES)}
        progress = state["progress"]
        assert progress["path"] == list(NODES), "no node is finished twice, and none left out"
        assert progress["node_visit_counts"] == dict.fromkeys(NODES, 1)
        assert (progress["steps_executed"], progress["resume_from"]) == (len(NODES), None)
        assert all(state["data_buffer"][node].startswith("done by ") for node in NODES)
        crashes += state["recovery"]["count"]
        # A resume of a completed session would have kept its state first.
        kept = (root / "sessions" / session_id / "checkpoints").iterdir()
        assert "completed" not in {json.loads(path.read_bytes())["status"] for path in kept}

    # A worker that was killed between the end of a session and its line wrote none.
    ended: Counter[str] = Counter()
    for line in crew.lines():
        fact, session_id = line.split()[0].split("=")
        assert session_id not in ended, f"{session_id} goes on after it was completed"
        ended.update([session_id] if fact == "completed" else [])
    assert SESSIONS - crew.kills <= len(ended) <= SESSIONS
    workers = {line.split("pid=")[1] for line in crew.lines()}
    assert crew.kills == KILLS
    assert len(workers) > 2
    # Each kill left at most one session; those that were dead from the start count, too.
    assert SESSIONS // 20 < crashes <= SESSIONS // 20 + crew.kills
    tally("kill points", promise=6, cases=crew.kills)
