"""Several processes change one session, or one row of SQLite, in turn: how long it takes them all.

Each worker is a process that makes short edits of one object of 4 KiB. It measures the time that
each edit waited for its turn. All ways write durably: a change that returned survives a loss of
power. ``python -m benchmarks.contention`` prints the figures alone.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.backends import fill
from benchmarks.harness import KIB, Group, Options, Sample, say
from benchmarks.limits import TIMES, Figure
from sessionstore import SessionState, SessionStore

PROCESSES, EDITS = 4, 60
_SIZE = 4 * KIB

Waits = list[float]
"""Seconds that each edit waited."""


@dataclass(frozen=True)
class Turnout:
    """What one round of one way took, in milliseconds."""

    total: float
    longest_wait: float


def _prepare_session(space: Path) -> None:
    store = SessionStore(space / "store")
    with store.create("bench", session_id="shared") as session:
        fill(session.state, _SIZE)
        session.checkpoint()


def _edit_sessions(space: Path, count: int) -> Iterator[float]:
    store: SessionStore[SessionState] = SessionStore(space / "store")
    for _ in range(count):
        begin = time.perf_counter()
        with store.edit("shared", timeout=60.0) as session:
            waited = time.perf_counter() - begin
            session.state.data_buffer["n"] = session.state.data_buffer.get("n", 0) + 1
        yield waited
    store.close()


def _connect(space: Path, mode: str) -> sqlite3.Connection:
    database = sqlite3.connect(space / "rows.db", timeout=60.0, isolation_level=None)
    database.execute(f"PRAGMA journal_mode={mode}")
    database.execute("PRAGMA synchronous=FULL")
    return database


def _prepare_rows(space: Path, mode: str) -> None:
    database = _connect(space, mode)
    database.execute("CREATE TABLE state (id TEXT PRIMARY KEY, json TEXT)")
    row = json.dumps({"n": 0, "filling": "x" * _SIZE})
    database.execute("INSERT INTO state VALUES ('shared', ?)", [row])
    database.close()


def _edit_rows(space: Path, count: int, mode: str) -> Iterator[float]:
    database = _connect(space, mode)
    for _ in range(count):
        begin = time.perf_counter()
        database.execute("BEGIN IMMEDIATE")
        waited = time.perf_counter() - begin
        (text,) = database.execute("SELECT json FROM state WHERE id = 'shared'").fetchone()
        state = json.loads(text)
        state["n"] += 1
        database.execute("UPDATE state SET json = ? WHERE id = 'shared'", [json.dumps(state)])
        database.execute("COMMIT")
        yield waited
    database.close()


OURS, WAL, ROLLBACK = "store.edit, power", "SQLite WAL, FULL", "SQLite rollback, FULL"
_PREPARE: dict[str, Callable[[Path], None]] = {
    OURS: _prepare_session,
    WAL: lambda space: _prepare_rows(space, "WAL"),
    ROLLBACK: lambda space: _prepare_rows(space, "DELETE"),
}
_EDIT: dict[str, Callable[[Path, int], Iterator[float]]] = {
    OURS: _edit_sessions,
    WAL: lambda space, count: _edit_rows(space, count, "WAL"),
    ROLLBACK: lambda space, count: _edit_rows(space, count, "DELETE"),
}


@contextmanager
def _workers(way: str, space: Path, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "benchmarks.contention", "work", way, str(space)]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    try:
        yield started
    finally:
        for worker in started:
            worker.kill()
            worker.communicate()


def _say(worker: subprocess.Popen[str], line: object) -> None:
    assert worker.stdin is not None
    worker.stdin.write(f"{line}\n")
    worker.stdin.flush()


def _hear(worker: subprocess.Popen[str]) -> Any:
    assert worker.stdout is not None
    return json.loads(worker.stdout.readline())


def _run(workers: list[subprocess.Popen[str]], edits: int) -> Turnout:
    for worker in workers:
        _say(worker, edits)
    told = [_hear(worker) for worker in workers]
    total = max(one["end"] for one in told) - min(one["begin"] for one in told)
    return Turnout(total * 1000, max(max(one["waits"]) for one in told) * 1000)


def compete(directory: Path, rounds: int) -> dict[str, list[Turnout]]:
    """Let the ways take turns: in each round every way, its processes at once."""
    seen: dict[str, list[Turnout]] = {way: [] for way in _EDIT}
    spaces = {way: directory / str(number) for number, way in enumerate(_EDIT)}
    for way, space in spaces.items():
        space.mkdir()
        _PREPARE[way](space)
    with (
        _workers(OURS, spaces[OURS], PROCESSES) as ours,
        _workers(WAL, spaces[WAL], PROCESSES) as wal,
        _workers(ROLLBACK, spaces[ROLLBACK], PROCESSES) as rollback,
    ):
        crews = {OURS: ours, WAL: wal, ROLLBACK: rollback}
        for turn in range(-1, rounds):
            for way, crew in crews.items():
                turnout = _run(crew, EDITS if turn >= 0 else 5)
                if turn >= 0:
                    seen[way].append(turnout)
    return seen


def measure_contention(options: Options) -> list[Figure]:
    """Compare the time of all, and the longest wait of any, with SQLite's BEGIN IMMEDIATE."""
    say(f"contention: {PROCESSES} processes, {EDITS} edits each")
    with options.space() as space:
        seen = compete(space, 5 if options.quick else 15)
    figures: list[Figure] = []
    for way, turnouts in seen.items():
        for what, times in (
            ("all done", [one.total for one in turnouts]),
            ("longest wait", [one.longest_wait for one in turnouts]),
        ):
            low, high = Sample(times).middle_half
            figure = Figure(
                "contention", f"{way}, {what}", "ms", [Sample(times).median], low=low, high=high
            )
            figures.append(figure)
    value = {figure.name: figure.value for figure in figures}
    for other in (WAL, ROLLBACK):
        for what, limit in (("all done", 1.5), ("longest wait", 3.0)):
            ratio = value[f"{OURS}, {what}"] / value[f"{other}, {what}"]
            name = f"{PROCESSES} times {EDITS} edits, {what}, over {other}"
            figures.append(Figure("contention", name, TIMES, [ratio], limit=limit))
    return figures


def _work(way: str, space: Path) -> None:
    for line in sys.stdin:
        begin = time.perf_counter()
        waits = list(_EDIT[way](space, int(line)))
        answer = {"begin": begin, "end": time.perf_counter(), "waits": waits}
        print(json.dumps(answer), flush=True)


GROUPS: dict[str, Group] = {"contention": measure_contention}

if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:  # a child of compete
        _work(sys.argv[2], Path(sys.argv[3]))
    else:
        with tempfile.TemporaryDirectory(prefix="contention-") as path:
            for figure in measure_contention(Options(Path(path), quick="--quick" in sys.argv)):
                print(f"{figure.value:10.2f} {figure.unit:3} {figure.name} {figure.verdict}")
