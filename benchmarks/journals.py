"""Appends to the journal of a held session, beside the floor of a save and what others do."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

from benchmarks import peers
from benchmarks.backends import FLOOR, OURS, Durability, Floor, fill, make_record
from benchmarks.harness import KIB, Group, Options, interleave, raw, say
from benchmarks.images import JOURNALED, places
from benchmarks.limits import TIMES, Figure
from sessionstore import SessionStore

_LENGTHS = (1_000, 100_000)
_STATES = {"4 KiB": 4 * KIB, "1 MiB": KIB * KIB}
_BATCH = 500


class Log(ABC):
    """Appends records in a directory of its own, each flushed."""

    name: ClassVar[str]

    def __init__(self, directory: Path, length: int) -> None:
        """Begin with ``length`` records."""
        directory.mkdir(parents=True)
        self.directory = directory
        self.record = make_record(random.Random(1))
        self.open()
        for _ in range(length // _BATCH):
            self.extend([self.record] * _BATCH)

    @abstractmethod
    def open(self) -> None:
        """Make ready for the first record."""

    @abstractmethod
    def extend(self, records: list[dict[str, Any]]) -> object:
        """Append records at once."""

    def append(self) -> None:
        """Append one record."""
        self.extend([self.record])

    def close(self) -> None:
        """Let go of everything."""
        return


class Journal(Log):
    name = OURS
    durability: Durability = "power"
    state_size = 4 * KIB

    def open(self) -> None:
        self._store = SessionStore(self.directory / "store", durability=self.durability)
        self._session = self._store.create("bench", session_id="bench")
        fill(self._session.state, self.state_size)
        self._session.save()
        self._journal = self._session.journal()

    def extend(self, records: list[dict[str, Any]]) -> None:
        self._journal.append(*records)

    def close(self) -> None:
        self._session.release()
        self._store.close()


class LargeState(Journal):
    state_size = _STATES["1 MiB"]


class Process(Journal):
    durability = "process"


class PlainAppend(Log):
    """The least: a line of JSON, and a flush of the data."""

    name = "bare append"

    def open(self) -> None:
        self._fd = os.open(
            self.directory / "log.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
        )

    def extend(self, records: list[dict[str, Any]]) -> None:
        lines = b"".join(json.dumps(one).encode() + b"\n" for one in records)
        os.write(self._fd, lines)
        os.fdatasync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


class SQLiteInsert(Log):
    name = "SQLite insert, FULL"

    def open(self) -> None:
        self._db = sqlite3.connect(self.directory / "log.db", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("CREATE TABLE records (n INTEGER PRIMARY KEY, session TEXT, value TEXT)")

    def extend(self, records: list[dict[str, Any]]) -> None:
        rows = [("bench", json.dumps(one)) for one in records]
        if len(rows) == 1:
            self._db.execute("INSERT INTO records (session, value) VALUES (?, ?)", rows[0])
            return
        self._db.execute("BEGIN")
        self._db.executemany("INSERT INTO records (session, value) VALUES (?, ?)", rows)
        self._db.execute("COMMIT")

    def close(self) -> None:
        self._db.close()


class OpenAIAgents(Log):
    name = "openai-agents add_items"

    def open(self) -> None:
        from agents.memory import SQLiteSession

        self._loop = asyncio.new_event_loop()
        self._session = SQLiteSession("bench", self.directory / "items.db")

    def extend(self, records: list[dict[str, Any]]) -> None:
        items: Any = records
        self._loop.run_until_complete(self._session.add_items(items))

    def close(self) -> None:
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
        self._session.close()


_OTHERS: dict[type[Log], float] = {SQLiteInsert: 0.6, OpenAIAgents: 0.4}
"""How much of their time an append may take at most."""


def measure_appends(options: Options) -> list[Figure]:
    """Compare an append of 1 KiB with the floor of a save and with inserts, in each place."""
    return [
        figure
        for place, there in places(options)
        for measure in (_measure_power, _measure_process)
        for figure in measure(there, place)
    ]


def _measure_power(options: Options, place: str) -> list[Figure]:
    say(f"append, power: {place}")
    is_there = {OpenAIAgents: "openai-agents" not in peers.absent()}
    others = {kind: most for kind, most in _OTHERS.items() if is_there.get(kind, True)}
    lengths = _LENGTHS[:1] if options.quick else _LENGTHS
    runs: dict[str, Callable[[], object]] = {}
    ours: list[tuple[str, int]] = []
    with options.space() as space, ExitStack() as stack:
        for length in lengths:
            for kind in (Journal, LargeState, PlainAppend, *others):
                name = f"{kind.name}, {length:,} records"
                if issubclass(kind, Journal):
                    size = "4 KiB" if kind is Journal else "1 MiB"
                    name += f", state of {size}"
                    ours.append((name, length))
                log = kind(space / str(len(runs)), length)
                stack.callback(log.close)
                runs[name] = log.append
        runs |= _floors(stack, space)
        seen = interleave(runs, rounds=options.rounds(300))
    floor = seen[FLOOR].median
    figures = []
    limit = 0.3 if place.startswith(JOURNALED) else 0.4
    for name, length in ours:
        took = seen[name].median
        figures.append(_ratio("append / floor of a save", name, place, took / floor, limit))
        for kind, most in others.items():
            theirs = seen[f"{kind.name}, {length:,} records"].median
            figures.append(_ratio(f"append / {kind.name}", name, place, took / theirs, most))
    noise = seen["floor again"].median / floor
    figures.append(Figure("append", f"floor again / floor (the noise), {place}", TIMES, [noise]))
    return figures + raw("append", seen, place, plot="append, power")


def _measure_process(options: Options, place: str) -> list[Figure]:
    """Time appends that nothing flushes beside the floor, one by one and ten by ten."""
    say(f"append, process: {place}")
    figures = []
    with options.space() as space, ExitStack() as stack:
        log = Process(space / "ours", _LENGTHS[0])
        stack.callback(log.close)
        runs: dict[str, Callable[[], object]] = {OURS: log.append, **_floors(stack, space)}
        for how, block in (("one by one", 1), ("ten by ten", 10)):
            rounds = max(5, options.rounds(300) // block)
            seen = interleave(runs, rounds=rounds, block=block, warm_up=2)
            ratio = seen[OURS].median / seen[FLOOR].median
            figures.append(_ratio("append, process / floor of a save", how, place, ratio, 0.06))
            figures += raw("append", seen, place, how=f"process, {how}")
    return figures


def _floors(stack: ExitStack, space: Path) -> dict[str, Callable[[], object]]:
    with (
        SessionStore(space / "floors", durability="process") as store,
        store.create("bench") as session,
    ):
        state = session.state
    fill(state, 4 * KIB)
    runs: dict[str, Callable[[], object]] = {}
    for name in (FLOOR, "floor again"):
        floor = Floor(space / name.replace(" ", "-"), state)
        stack.callback(floor.close)
        runs[name] = floor.save
    return runs


def _ratio(what: str, who: str, place: str, value: float, limit: float) -> Figure:
    return Figure("append", f"{what}, {who}, {place}", TIMES, [value], limit=limit)


def measure_edits(options: Options) -> list[Figure]:
    """Compare ``edit`` around one append with what it cannot do without."""
    figures = []
    for place, there in places(options):
        say(f"edit around an append: {place}")
        with there.space() as space, ExitStack() as stack:
            bare = PlainAppend(space / "bare", 0)
            stack.callback(bare.close)
            store = stack.enter_context(SessionStore(space / "store"))
            for name in ("edited", "claimed"):
                with store.create("bench", session_id=name) as session:
                    session.journal().append(bare.record)

            def edit(store: SessionStore = store, record: object = bare.record) -> None:
                with store.edit("edited") as session:
                    session.journal().append(record)

            def claim(store: SessionStore = store) -> None:
                store.claim("claimed").release()

            seen = interleave(
                {"edit around an append": edit, "claim and release": claim, "append": bare.append},
                rounds=there.rounds(300),
            )
        least = seen["claim and release"].median + seen["append"].median
        ratio = seen["edit around an append"].median / least
        name = f"edit around an append / (claim and release + bare append), {place}"
        figures.append(Figure("edit", name, TIMES, [ratio], limit=1.3))
        figures += raw("edit", seen, place)
    return figures


GROUPS: dict[str, Group] = {"append": measure_appends, "edit": measure_edits}
