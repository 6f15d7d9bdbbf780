"""Time two checkouts of the package in turn: is anything slower than before?

``python -m benchmarks.compare BEFORE`` compares the checkout in BEFORE with this one, and
prints medians and ratios. ``--listed DIR`` adds listings of a standing store, which
``python -m benchmarks.fixtures DIR COUNT`` makes; ``--first-index`` throws its index away.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from pydantic_core import from_json

from benchmarks.harness import Options, say

HERE = Path(__file__).parents[1]
SIDES = ("before", "after")


class Side:
    """A worker that runs with the package of one checkout."""

    def __init__(self, checkout: Path, space: Path, listed: Path | None) -> None:
        self.environment = {**os.environ, "PYTHONPATH": str(checkout)}
        self.cwd = space
        space.mkdir()
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "benchmarks/compare_worker.py"), space, str(listed or "")],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.names: list[str] = json.loads(_line(self.process.stdout))

    def ask(self, name: str) -> float:
        """Return the microseconds of one run of a workload."""
        assert self.process.stdin is not None
        print(name, file=self.process.stdin, flush=True)
        return float(_line(self.process.stdout))

    def run(self, *command: str) -> float:
        """Return the microseconds of a whole process."""
        begin = time.perf_counter_ns()
        subprocess.run(
            [sys.executable, *command],
            env=self.environment,
            cwd=self.cwd,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        return (time.perf_counter_ns() - begin) / 1000

    def close(self) -> None:
        """End the worker."""
        self.process.kill()
        self.process.communicate()


def _line(stream: IO[str] | None) -> str:
    assert stream is not None
    line = stream.readline()
    if not line:
        raise SystemExit("a worker ended; what it said stands above")
    return line


def compare(
    sides: dict[str, Side], name: str, rounds: int, run: Callable[[Side], float]
) -> dict[str, float]:
    """Run a workload on both sides in turn; print and return the medians and their ratio."""
    times: dict[str, list[float]] = {side: [] for side in SIDES}
    order = list(SIDES)
    chance = random.Random(20260101)
    for turn in range(-3, rounds):
        chance.shuffle(order)
        for side in order:
            taken = run(sides[side])
            if turn >= 0:
                times[side].append(taken)
    medians = {side: statistics.median(taken) for side, taken in times.items()}
    ratio = medians["after"] / medians["before"]
    print(
        f"{name:<36} {medians['before']:>12,.0f} {medians['after']:>12,.0f} {ratio:>6.2f}",
        flush=True,
    )
    return {**medians, "ratio": ratio}


def bare_reading(root: Path) -> float:
    """Return the microseconds that reading and parsing the states of a store takes bare."""
    begin = time.perf_counter_ns()
    with os.scandir(root / "sessions") as entries:
        for entry in entries:
            fd = os.open(f"{entry.path}/state.json", os.O_RDONLY)
            from_json(os.read(fd, 1 << 20))
            os.close(fd)
    return (time.perf_counter_ns() - begin) / 1000


def main(arguments: list[str] | None = None) -> None:
    """Compare the checkouts that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("before", type=Path, help="a checkout of the older version")
    parser.add_argument("--listed", type=Path, help="a standing store to list")
    parser.add_argument("--first-index", action="store_true", help="make its index anew")
    parser.add_argument("--only-listings", action="store_true", help="leave the rest out")
    parser.add_argument("--rounds", type=int, default=400)
    given = parser.parse_args(arguments)
    options = Options(Path.cwd(), quick=False)
    with options.space() as space:
        sides = {
            side: Side(checkout.resolve(), space / side, given.listed)
            for side, checkout in (("before", given.before), ("after", HERE))
        }
        try:
            print(f"{'median, µs':<36} {'before':>12} {'after':>12} {'ratio':>6}")
            _compare_all(sides, given)
        finally:
            for side in sides.values():
                side.close()
    say("")


def _compare_all(sides: dict[str, Side], given: argparse.Namespace) -> None:
    medians = {}
    for name in sides["after"].names:
        listing = name.startswith(("find", "count"))
        if given.only_listings and not listing:
            continue
        rounds = max(5, given.rounds // 10) if name == "count" else given.rounds
        medians[name] = compare(sides, name, rounds, lambda side, name=name: side.ask(name))  # type: ignore[misc]  # bound now
    for what in ("claim + release", "claim + save + release"):
        if f"{what}, index" in medians:
            with_index, without = (medians[f"{what}, {which}"] for which in ("index", "no index"))
            print(
                f"{what}: with an index over without: before"
                f" {with_index['before'] / without['before']:.2f},"
                f" after {with_index['after'] / without['after']:.2f}"
            )
    processes = {
        "import sessionstore": ("-c", "import sessionstore"),
        "from sessionstore import SessionStore": ("-c", "from sessionstore import SessionStore"),
        "first store and session": (
            "-c",
            "from sessionstore import SessionStore; SessionStore('made').create('x').release()",
        ),
    }
    if given.listed is not None:
        processes["ls"] = ("-m", "sessionstore", "--root", str(given.listed), "ls")
    for name, command in processes.items():
        if not given.only_listings or name == "ls":
            compare(sides, name, 20, lambda side, command=command: side.run(*command))  # type: ignore[misc]  # bound now
    if given.first_index:
        bare = min(bare_reading(given.listed) for _ in range(3))
        first = compare(sides, "first index", 3, lambda side: side.ask("first index"))
        print(f"first index over bare reading and parsing ({bare:,.0f} µs):", end=" ")
        print(f"before {first['before'] / bare:.2f}, after {first['after'] / bare:.2f}")


if __name__ == "__main__":
    main()
