"""What find, count, recover, a new index and ``sessionstore ls`` cost, by the size of the store."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.fixtures import STALE, Population, lacks_room, populated, standing
from benchmarks.harness import KIB, Group, Options, Sample, peak_kib, repeat, say
from benchmarks.limits import TIMES, Figure
from sessionstore import SessionStore

_MILLION = 1_000_000
_BASE = 10_000
"""The size that others are compared with."""

_LOOKS = {
    "find(resumable=True, limit=50)": "find",
    "find(), a page of 50": "page",
    "find(stale=True)": "stale",
    'count(status="paused")': "count",
    "recover(dry_run=True)": "dry",
    "find(resumable=True, limit=50, verify=True)": "verify",
}


def measure_listing(options: Options) -> list[Figure]:
    """Ask stores of growing size the same questions, each in a process of its own."""
    sizes = [1_000, _BASE] if options.quick else [1_000, _BASE, 100_000]
    sizes += [_MILLION] if options.million else []
    figures: list[Figure] = []
    medians: dict[int, float] = {}
    with options.space() as space:
        writes = _cost_of_writes(space / "writes")
        for count in sizes:
            root = space / f"store-{count}"
            if count == _MILLION and options.million_in is not None:
                root = options.million_in
            elif why := lacks_room(space, count):
                options.skipped.append(f"listing of {count:,} sessions: {why}")
                continue
            with standing(root) if root == options.million_in else populated(root, count) as there:
                found = _measure_store(root, there, writes)
            medians[count] = next(one.value for one in found if one.who == "find")
            figures += found
    largest = max(medians, default=_BASE)
    if largest > _BASE and _BASE in medians:
        figures.append(
            Figure(
                "listing",
                f"find(resumable=True, limit=50), {largest:,} over {_BASE:,} sessions",
                TIMES,
                [medians[largest] / medians[_BASE]],
                goal="find ratio" if largest == _MILLION else "",
            )
        )
    return figures


def _cost_of_writes(root: Path) -> float:
    """Return the milliseconds that marking the stale sessions takes in a store of nothing else."""
    costs: list[float] = []
    for _ in range(3):
        with populated(root, STALE) as there:
            dry = _ask(root, "dry", there)["first"]
            costs.append((_ask(root, "recover", there)["first"] - dry) / 1000)
    return median(costs)


def _measure_store(root: Path, there: Population, writes: float) -> list[Figure]:
    at = f"{there.sessions:,}"
    goals = there.sessions == _MILLION
    say(f"listing, {at} sessions: a new index")
    rebuilt = [_rebuild(root, there) for _ in range(3)]
    rate = [there.sessions / (answer["first"] / 1e6) for answer in rebuilt]
    figures = [_figure("rebuilding the index", at, "sessions/s", rate, goals, "rebuild")]
    memory = {"memory rebuild": max(answer["peak"] for answer in rebuilt)}
    for name, look in _LOOKS.items():
        say(f"listing, {at} sessions: {name}")
        answer = _ask(root, look, there)
        sample = Sample([taken / 1000 for taken in answer["times"]])
        goal = "recover dry" if look == "dry" else look if look in ("find", "count") else ""
        figure = _figure(name, at, "ms", sample.times, goals, goal, who=look)
        figure.plot = "listing"
        figures.append(figure)
        first = f"{name}, first call of a process"
        figures.append(_figure(first, at, "ms", [answer["first"] / 1000], goals))
        if look == "find":
            memory["memory find"] = answer["peak"]
    if there.sessions <= _BASE:
        answer = _ask(root, "all", there)
        seconds = [taken / 1e6 for taken in answer["times"]]
        figures.append(_figure("find(limit=None)", at, "s", seconds, goals))
    say(f"listing, {at} sessions: sessionstore ls")
    ls = _figure("sessionstore ls, whole process", at, "ms", _time_ls(root), goals, "ls", who="ls")
    ls.plot = "listing"
    figures.append(ls)
    say(f"listing, {at} sessions: recover")
    answer = _ask(root, "recover", there)
    memory["memory recover"] = answer["peak"]
    beyond = answer["first"] / 1000 - writes
    name = f"recover beyond its {there.stale} writes"
    figures.append(_figure(name, at, "ms", [beyond], goals, "recover"))
    figures[-1].note = f"the writes are {writes:,.0f} ms, as in a store of nothing else"
    base = _ask(root, "nothing", there)["peak"]
    for goal, peak in memory.items():
        what = "find that rebuilds" if goal == "memory rebuild" else goal.partition(" ")[2]
        amount = (peak - base) * KIB / 1e6
        figures.append(_figure(f"peak memory of {what}", at, "MB", [amount], goals, goal))
    return figures


def _figure(
    name: str,
    at: str,
    unit: str,
    values: list[float],
    goals: bool,
    goal: str = "",
    *,
    who: str = "",
) -> Figure:
    sample = Sample(values)
    low, high = sample.middle_half
    return Figure(
        "listing",
        f"{name}, {at} sessions",
        unit,
        [sample.median],
        low=low,
        high=high,
        goal=goal if goals else "",
        who=who,
        at=at,
    )


def _rebuild(root: Path, there: Population) -> dict[str, Any]:
    for path in root.glob("index-*"):
        shutil.rmtree(path)
    return _ask(root, "find", there, once=True)


def _time_ls(root: Path) -> list[float]:
    command = [sys.executable, "-m", "sessionstore", "ls", "--root", str(root), "-o", "table"]
    times: list[float] = []
    with TemporaryDirectory() as compiled:
        # As it is installed: pip compiles what it installs, which a checkout need not be.
        environment = dict(os.environ, PYTHONPYCACHEPREFIX=compiled)
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        give_up = time.perf_counter() + 20
        while len(times) < 8 and (len(times) < 2 or time.perf_counter() < give_up):
            begin = time.perf_counter()
            ended = subprocess.run(command, capture_output=True, check=True, env=environment)
            times.append((time.perf_counter() - begin) * 1000)
            if b"session_" not in ended.stdout:
                raise AssertionError("sessionstore ls listed nothing")
    return times[1:]  # the first one compiles and reads what the others find ready


# --- in a child: the memory of one question, and no state of another -----------------------------


def _ask(root: Path, look: str, there: Population, *, once: bool = False) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.listing",
        str(root),
        look,
        json.dumps(asdict(there)),
    ]
    ended = subprocess.run(
        [*command, *(["once"] if once else [])], capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise RuntimeError(ended.stderr)
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


def _answer(root: str, look: str, there: Population, *, once: bool) -> dict[str, Any]:
    """Look once, check what is found, look again for a while; tell the times in microseconds."""
    if look == "nothing":
        return {"peak": peak_kib()}
    # Flushes would only add noise to the sweep's figure, which is what it takes beyond its writes.
    with SessionStore(root, create=False, durability="process") as store:
        looks: dict[str, Callable[[], int]] = {
            "find": lambda: len(store.find(resumable=True, limit=50)),
            "verify": lambda: len(store.find(resumable=True, limit=50, verify=True)),
            "page": lambda: len(store.find()),
            "stale": lambda: len(store.find(stale=True, limit=None)),
            "all": lambda: len(store.find(limit=None)),
            "count": lambda: store.count(status="paused"),
            "dry": lambda: len(store.recover(dry_run=True).swept),
            "recover": lambda: len(store.recover().swept),
        }
        expected = {
            "find": min(50, there.resumable),
            "verify": min(50, there.resumable),
            "page": min(50, there.sessions),
            "stale": there.stale,
            "all": there.sessions,
            "count": there.statuses.get("paused", 0),
            "dry": there.stale,
            "recover": there.stale,
        }
        begin = time.perf_counter_ns()
        found = looks[look]()
        first = (time.perf_counter_ns() - begin) / 1000
        if found != expected[look]:  # who misses sessions is quick for nothing
            raise AssertionError(f"{look} found {found} sessions, {expected[look]} are there")
        again = not once and look != "recover"
        times = repeat(looks[look], seconds=2).times if again else [first]
    return {"first": first, "times": times, "peak": peak_kib()}


GROUPS: dict[str, Group] = {"listing": measure_listing}

if __name__ == "__main__":  # a child of _ask
    directory, question, population, *rest = sys.argv[1:]
    known = Population(**json.loads(population))
    print(json.dumps(_answer(directory, question, known, once=bool(rest))))
