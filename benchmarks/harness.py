"""Time contenders in turn, and set the figures beside their limits; a miss is never hidden."""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pydantic

import sessionstore
from sessionstore.owner import is_local

KIB = 1024
TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Options:
    """What a run was asked for, and the directory it may fill."""

    directory: Path
    quick: bool

    def rounds(self, count: int) -> int:
        """Return how often to go round, for a full run's ``count``."""
        return max(20, count // 5) if self.quick else count

    @contextmanager
    def space(self) -> Iterator[Path]:
        """Give a directory of the file system that is measured, and remove it afterwards."""
        with tempfile.TemporaryDirectory(dir=self.directory, prefix="space-") as path:
            _spread(path)
            yield Path(path)


def _spread(path: str) -> None:
    """Ask ext4 to put each directory made in ``path`` into a block group of its own (chattr +T).

    Looking for a free inode, ext4 steps over those that were deleted in the last minutes, one by
    one: in a group where a thousand files were just replaced, every new file costs 100 µs more.
    So the contenders, and what ran here before, would pay for each other.
    """
    if sys.platform != "linux":
        return
    import fcntl

    top_of_hierarchy = 0x00020000  # EXT4_TOPDIR_FL
    fd = os.open(path, os.O_RDONLY)
    try:
        flags = bytearray(8)
        fcntl.ioctl(fd, 0x80086601, flags)  # FS_IOC_GETFLAGS
        wanted = int.from_bytes(flags[:4], sys.byteorder) | top_of_hierarchy
        flags[:4] = wanted.to_bytes(4, sys.byteorder)
        fcntl.ioctl(fd, 0x40086602, bytes(flags))  # FS_IOC_SETFLAGS
    except OSError:
        pass  # another file system: it has no such thing, or it needs none
    finally:
        os.close(fd)


@dataclass
class Figure:
    """One figure: a value for each repeat, and the limit that its median must not pass."""

    group: str
    name: str
    unit: str
    values: list[float]
    limit: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def value(self) -> float:
        """The median of the repeats."""
        return statistics.median(self.values)

    def within(self, value: float) -> bool:
        """Return whether ``value`` keeps the limit; true where there is none."""
        if self.limit is None:
            return True
        return value >= self.limit if self.at_least else value <= self.limit

    @property
    def verdict(self) -> str:
        """``pass`` or ``MISS`` of the median, and in how many repeats it was otherwise."""
        if self.limit is None:
            return ""
        passed = self.within(self.value)
        otherwise = sum(self.within(value) is not passed for value in self.values)
        word = "pass" if passed else "MISS"
        return f"{word} (not {otherwise} of {len(self.values)})" if otherwise else word


@dataclass(frozen=True)
class Sample:
    """The times of one contender, in microseconds."""

    times: list[float] = field(repr=False)

    @property
    def median(self) -> float:
        return statistics.median(self.times)

    @property
    def quartiles(self) -> str:
        """The middle half, as text."""
        low, _, high = statistics.quantiles(self.times, n=4)
        return f"middle half {low:,.0f} to {high:,.0f}"


def interleave(
    contenders: Mapping[str, Callable[[], object]], *, rounds: int, warm_up: int = 5, block: int = 1
) -> dict[str, Sample]:
    """Time each contender in every round, ``block`` times: A B C, B A C, … ``rounds`` times.

    The order changes from round to round: a flush also pays for what the one before it left in
    the journal, and so nobody comes after the same neighbour each time.
    """
    order = list(contenders)
    shuffled = random.Random(20260101)
    times: dict[str, list[float]] = {name: [] for name in order}
    for turn in range(-warm_up, rounds):
        shuffled.shuffle(order)
        for name in order:
            run = contenders[name]
            for _ in range(block):
                begin = time.perf_counter_ns()
                run()
                taken = time.perf_counter_ns() - begin
                if turn >= 0:
                    times[name].append(taken / 1000)
    return {name: Sample(taken) for name, taken in times.items()}


def raw(group: str, samples: dict[str, Sample], suffix: str = "") -> list[Figure]:
    """Return the plain medians, so that every ratio can be checked by hand."""
    return [
        Figure(group, f"{name}{suffix}", "µs", [sample.median], note=sample.quartiles)
        for name, sample in samples.items()
    ]


Group = Callable[[Options], list[Figure]]


def main(groups: dict[str, Group], description: str) -> int:
    """Run the groups that were asked for, print their figures, return the exit code."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--dir", type=Path, help="measure the file system of this directory")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, one repeat")
    parser.add_argument("--repeat", type=int, help="how often to run everything (3; quick: 1)")
    parser.add_argument(
        "--only", action="append", choices=list(groups), help="this group only (may be repeated)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a limit is missed")
    given = parser.parse_args()
    repeats = given.repeat or (1 if given.quick else 3)
    figures: dict[tuple[str, str], Figure] = {}
    # Not the system's temporary directory: it may be a tmpfs, where a flush costs nothing.
    with tempfile.TemporaryDirectory(dir=given.dir or Path.cwd(), prefix=".bench-") as path:
        options = Options(Path(path), given.quick)
        machine = describe_machine(options.directory)
        _print_machine(machine)
        try:
            for name, measure in groups.items():
                if given.only and name not in given.only:
                    continue
                for turn in range(repeats):
                    print(f"{name}: {turn + 1} of {repeats}", file=sys.stderr)
                    for figure in measure(options):
                        key = figure.group, figure.name
                        if key in figures:
                            figures[key].values += figure.values
                        else:
                            figures[key] = figure
        except KeyboardInterrupt:
            print("interrupted: this is what was measured so far", file=sys.stderr)
    _print_figures(list(figures.values()), repeats)
    missed = [figure for figure in figures.values() if not figure.within(figure.value)]
    if given.json:
        report = {
            "machine": machine,
            "quick": given.quick,
            "repeats": repeats,
            "missed": [f"{figure.group}: {figure.name}" for figure in missed],
            "figures": [
                asdict(figure) | {"value": figure.value, "verdict": figure.verdict}
                for figure in figures.values()
            ],
        }
        given.json.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    return 1 if missed and given.strict else 0


def describe_machine(directory: Path) -> dict[str, str]:
    """Return what the figures depend on; nothing that names the machine."""
    return {
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "file system": is_local(str(directory))[1],
        "python": platform.python_version(),
        "pydantic": pydantic.VERSION,
        "sessionstore": sessionstore.__version__,
    }


def _print_machine(machine: dict[str, str]) -> None:
    print(", ".join(f"{name}: {value}" for name, value in machine.items()), flush=True)
    if machine["file system"] in ("tmpfs", "ramfs"):
        print("This file system is memory: a flush costs nothing here. Choose another --dir.")


def _print_figures(figures: Iterable[Figure], repeats: int) -> None:
    judged = [figure for figure in figures if figure.limit is not None]
    plain = [figure for figure in figures if figure.limit is None]
    _print_table("Limits", judged, repeats)
    _print_table("Without a limit", plain, repeats)
    passed = sum(figure.within(figure.value) for figure in judged)
    print(f"\n{passed} of {len(judged)} limits kept, {len(judged) - passed} missed")
    for figure in judged:
        if not figure.within(figure.value):
            print(f"  MISS {figure.group}: {figure.name}")


def _print_table(title: str, figures: Sequence[Figure], repeats: int) -> None:
    if not figures:
        return
    print(f"\n{title} (median of {repeats}; lowest to highest)")
    rows = [
        (
            figure.group,
            figure.name,
            "" if figure.limit is None else _limit(figure),
            _amount(figure.value, figure.unit),
            f"{_number(min(figure.values))} to {_number(max(figure.values))}"
            if len(figure.values) > 1
            else "",
            figure.verdict,
            figure.note,
        )
        for figure in figures
    ]
    heads = ("group", "what", "limit", "seen", "spread", "", "note")
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    for row in [heads, *rows]:
        cells = (
            cell.rjust(width) if i in (2, 3, 4) else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join(cells).rstrip())


def _limit(figure: Figure) -> str:
    assert figure.limit is not None
    sign = "≥" if figure.at_least else "≤"
    return f"{sign} {_amount(figure.limit, figure.unit)}"


def _amount(value: float, unit: str) -> str:
    return f"{_number(value)} {unit}".rstrip()


def _number(value: float) -> str:
    if value == int(value) and abs(value) < 1e6 and abs(value) >= 10:
        return f"{value:,.0f}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
