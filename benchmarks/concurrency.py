"""How many saves a second 1, 8 and 64 sessions make at once, in threads and under asyncio."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from benchmarks.backends import Contender, Durability, Floor, fill, open_session
from benchmarks.harness import KIB, Group, Options, Sample, say
from benchmarks.images import places
from benchmarks.limits import TIMES, Figure
from benchmarks.peers import OriginalWay, SQLiteRowFull
from sessionstore import AsyncSession, AsyncSessionStore, SessionState

AT_ONCE = (1, 8, 64)
_SIZE = 4 * KIB
_SAVES = 192
"""Saves of a turn, whatever the number of sessions."""


class Crew(ABC):
    """Some sessions that are saved at once, each ``saves`` times."""

    @abstractmethod
    def run(self, saves: int) -> float:
        """Save; return the seconds from the first save to the end of the last."""

    @abstractmethod
    def close(self) -> None:
        """Release everything."""


class ThreadCrew(Crew):
    """A thread for each session; they start together."""

    def __init__(self, stack: ExitStack, saves: Sequence[Callable[[], object]]) -> None:
        self._stack = stack
        self._saves = saves
        self._pool = ThreadPoolExecutor(len(saves))
        self._start = threading.Barrier(len(saves))

    def run(self, saves: int) -> float:
        def work(save: Callable[[], object]) -> tuple[float, float]:
            self._start.wait()
            begin = time.perf_counter()
            for _ in range(saves):
                save()
            return begin, time.perf_counter()

        running = [self._pool.submit(work, save) for save in self._saves]
        times = [one.result() for one in running]
        return max(end for _, end in times) - min(begin for begin, _ in times)

    def close(self) -> None:
        self._pool.shutdown()
        self._stack.close()


class LoopCrew(Crew):
    """A task for each session, on one event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def run(self, saves: int) -> float:
        return self._loop.run_until_complete(self._run(saves))

    async def _run(self, saves: int) -> float:
        begin = time.perf_counter()
        await asyncio.gather(*(self._work(number, saves) for number in range(self._count())))
        return time.perf_counter() - begin

    @abstractmethod
    def _count(self) -> int: ...

    @abstractmethod
    async def _work(self, number: int, saves: int) -> None: ...

    def close(self) -> None:
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


class OurLoopCrew(LoopCrew):
    def __init__(self, root: Path, count: int, durability: Durability) -> None:
        super().__init__()
        self._loop.run_until_complete(self._open(root, count, durability))

    async def _open(self, root: Path, count: int, durability: Durability) -> None:
        self._store = AsyncSessionStore(root, durability=durability)
        self._sessions: list[AsyncSession[SessionState]] = []
        for _ in range(count):
            session = await self._store.create("bench")
            fill(session.state, _SIZE)
            await session.save()
            self._sessions.append(session)

    def _count(self) -> int:
        return len(self._sessions)

    async def _work(self, number: int, saves: int) -> None:
        for _ in range(saves):
            await self._sessions[number].save()

    def close(self) -> None:
        self._loop.run_until_complete(self._end())
        super().close()

    async def _end(self) -> None:
        for session in self._sessions:
            await session.complete()
        await self._store.close()


class OriginalCrew(LoopCrew):
    def __init__(self, stack: ExitStack, writers: list[OriginalWay]) -> None:
        super().__init__()
        self._stack = stack
        self._writers = writers

    def _count(self) -> int:
        return len(self._writers)

    async def _work(self, number: int, saves: int) -> None:
        for _ in range(saves):
            await self._writers[number].save_async()

    def close(self) -> None:
        self._stack.close()
        super().close()


def _our_threads(space: Path, count: int, durability: Durability) -> Crew:
    stack = ExitStack()
    sessions = [open_session(stack, space / "store", _SIZE, durability) for _ in range(count)]
    return ThreadCrew(stack, [session.save for session in sessions])


def _state(space: Path) -> SessionState:
    with ExitStack() as stack:
        return open_session(stack, space / "model", _SIZE, "process").state.model_copy(deep=True)


def _floors(space: Path, count: int) -> Crew:
    stack, state = ExitStack(), _state(space)
    return ThreadCrew(stack, _saves(stack, [Floor(space / f"{n}", state) for n in range(count)]))


def _saves(stack: ExitStack, contenders: Sequence[Contender]) -> list[Callable[[], object]]:
    for contender in contenders:
        stack.callback(contender.close)
    return [contender.save for contender in contenders]


def _one_database(space: Path, count: int) -> Crew:
    """Sessions are rows of one database behind one connection, which takes one at a time."""
    stack, state, turn = ExitStack(), _state(space), threading.Lock()
    rows = SQLiteRowFull(space / "db", state)

    def save() -> None:
        with turn:
            rows.save()

    stack.callback(rows.close)
    return ThreadCrew(stack, [save] * count)


def _originals(space: Path, count: int) -> Crew:
    stack, state = ExitStack(), _state(space)
    writers = [OriginalWay(space / f"{number}", state) for number in range(count)]
    _saves(stack, writers)
    return OriginalCrew(stack, writers)


CREWS: dict[str, Callable[[Path, int], Crew]] = {
    "sessionstore, threads, power": lambda space, n: _our_threads(space, n, "power"),
    "sessionstore, asyncio, power": lambda space, n: OurLoopCrew(space / "store", n, "power"),
    "sessionstore, threads, process": lambda space, n: _our_threads(space, n, "process"),
    "sessionstore, asyncio, process": lambda space, n: OurLoopCrew(space / "store", n, "process"),
    "floor, threads": _floors,
    "SQLite row, FULL, one connection": _one_database,
    "original way, asyncio": _originals,
}
_JUDGED = {"sessionstore, threads, power": "threads", "sessionstore, asyncio, power": "asyncio"}


def measure_together(options: Options) -> list[Figure]:
    """Let each crew of each size take turns; compare its saves per second with one session's."""
    return _figures(_rates(options, CREWS, AT_ONCE))


def measure_together_in_places(options: Options) -> list[Figure]:
    """Compare 64 sessions of ours with one on each file system."""
    ours = {name: CREWS[name] for name in _JUDGED}
    figures = []
    for place, there in places(options):
        rates = _rates(there, ours, (1, AT_ONCE[-1]))
        journaled = not place.startswith("here")
        figures += [
            Figure(
                "together, places",
                f"{name}, {AT_ONCE[-1]} at once / one session, {place}",
                TIMES,
                [Sample(rates[name, AT_ONCE[-1]]).median / Sample(rates[name, 1]).median],
                limit=2.2 if journaled else 1.8,
                at_least=True,
            )
            for name in ours
        ]
    return figures


def _rates(
    options: Options, makers: Mapping[str, Callable[[Path, int], Crew]], counts: Sequence[int]
) -> dict[tuple[str, int], list[float]]:
    rounds = 3 if options.quick else 7
    rates: dict[tuple[str, int], list[float]] = {}
    with options.space() as space, ExitStack() as stack:
        crews: dict[tuple[str, int], Crew] = {}
        for number, (name, make) in enumerate(makers.items()):
            for count in counts:
                say(f"together: opening {count} of {name}")
                directory = space / f"{number}-{count}"
                directory.mkdir()
                crews[name, count] = crew = make(directory, count)
                stack.callback(crew.close)
        shuffled = random.Random(3)
        order = list(crews)
        for turn in range(-1, rounds):
            say(f"together: round {turn + 1} of {rounds}")
            shuffled.shuffle(order)
            for name, count in order:
                saves = _SAVES // count
                seconds = crews[name, count].run(saves)
                if turn >= 0:
                    rates.setdefault((name, count), []).append(saves * count / seconds)
    return rates


def _figures(rates: dict[tuple[str, int], list[float]]) -> list[Figure]:
    figures: list[Figure] = []
    for name in CREWS:
        samples = {count: Sample(rates[name, count]) for count in AT_ONCE}
        for count, sample in samples.items():
            low, high = sample.middle_half
            figures.append(
                Figure(
                    "together",
                    f"{name}, {count} at once",
                    "saves/s",
                    [sample.median],
                    low=low,
                    high=high,
                    plot="together",
                    who=name,
                    at=str(count),
                )
            )
        figures += [
            Figure(
                "together",
                f"{name}, {count} at once / one session",
                TIMES,
                [samples[count].median / samples[1].median],
                goal=_JUDGED.get(name, "") if count == AT_ONCE[-1] else "",
            )
            for count in AT_ONCE[1:]
        ]
    return figures


GROUPS: dict[str, Group] = {
    "together": measure_together,
    "together-places": measure_together_in_places,
}
