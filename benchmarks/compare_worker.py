"""One side of a comparison: does what it is told on stdin, and answers with microseconds.

It runs with another checkout's package, so it uses nothing but the public surface, and nothing
of ``benchmarks``.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sessionstore import SessionStore

KIB = 1024


class Worker:
    """The stores and held sessions of this side; each workload is timed once a call."""

    def __init__(self, space: Path, listed: Path | None) -> None:
        self.space = space
        self.listed = listed
        self.work: dict[str, Callable[[], object]] = {}
        for durability in ("process", "power"):
            store = SessionStore(space / durability, durability=durability)  # type: ignore[arg-type]  # of the two
            session = store.create("held", session_id="held")
            _fill(session, 4 * KIB)
            self.work[f"save, {durability}"] = session.save
            self.work[f"checkpoint, {durability}"] = session.checkpoint
        for name in ("no index", "index"):
            store = SessionStore(space / name, durability="process")
            for number in range(200):
                with store.create("one of many", session_id=f"s{number}") as session:
                    _fill(session, 4 * KIB)
                    session.complete()
            if name == "index":
                store.count()
            self.work[f"claim + release, {name}"] = Turns(store, saves=False)
            self.work[f"claim + save + release, {name}"] = Turns(store, saves=True)
        if listed is not None:
            there = SessionStore(listed, create=False)
            there.count()
            self.work["find, 50 resumable"] = lambda: list(there.find(resumable=True, limit=50))
            self.work["find, 50 unsorted by status"] = lambda: list(
                there.find(status="paused", limit=50)
            )
            self.work["count"] = there.count

    def measure(self, name: str) -> float:
        """Return what one run of a workload took."""
        if name == "first index":
            return self._first_index()
        run = self.work[name]
        begin = time.perf_counter_ns()
        run()
        return (time.perf_counter_ns() - begin) / 1000

    def _first_index(self) -> float:
        assert self.listed is not None
        for entry in sorted(self.listed.glob("index*"), reverse=True):
            shutil.rmtree(entry) if entry.is_dir() else os.unlink(entry)
        store = SessionStore(self.listed, create=False)
        begin = time.perf_counter_ns()
        store.count()
        taken = (time.perf_counter_ns() - begin) / 1000
        store.close()
        return taken


class Turns:
    """Claims one session after the other, so that none is in anybody's memory."""

    def __init__(self, store: Any, *, saves: bool) -> None:
        self.store = store
        self.saves = saves
        self.turn = 0

    def __call__(self) -> None:
        self.turn += 1
        with self.store.claim(f"s{self.turn % 200}") as session:
            if self.saves:
                session.save()


def _fill(session: Any, size: int) -> None:
    session.state.data_buffer["text"] = "What the agent has found so far. " * (size // 33)
    session.save()


def main() -> None:
    """Serve one line after the other: a name in, microseconds out."""
    space, listed = Path(sys.argv[1]), sys.argv[2]
    worker = Worker(space, Path(listed) if listed else None)
    print(json.dumps(sorted(worker.work)), flush=True)
    for line in sys.stdin:
        print(worker.measure(line.strip()), flush=True)


if __name__ == "__main__":
    main()
