"""Time contenders in turn, on the file system that is measured; leave nothing behind."""

from __future__ import annotations

import gc
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.limits import Figure

KIB = 1024
SIZES = {"4 KiB": 4 * KIB, "64 KiB": 64 * KIB, "1 MiB": KIB * KIB}


@dataclass(frozen=True)
class Options:
    """What a run was asked for, and the directory it may fill."""

    directory: Path
    quick: bool
    million: bool = False
    million_in: Path | None = None
    """A store of a million sessions that is there already, and stays."""
    skipped: list[str] = field(default_factory=list)
    """Takes the reason for everything that is left out."""

    def rounds(self, count: int) -> int:
        """Return how often to go round, for a full run's ``count``."""
        return max(20, count // 5) if self.quick else count

    @contextmanager
    def space(self) -> Iterator[Path]:
        """Give a directory of the file system that is measured, and remove it afterwards."""
        with tempfile.TemporaryDirectory(dir=self.directory, prefix="space-") as path:
            _spread(path)
            yield Path(path)


def say(text: str) -> None:
    """Tell on stderr what is running: in place on a terminal, else line by line."""
    line = f"{time.monotonic() - _BEGIN:5.0f} s  {text}" if text else ""
    sys.stderr.write(f"\r\x1b[K{line}" if sys.stderr.isatty() else f"{line}\n")
    sys.stderr.flush()


_BEGIN = time.monotonic()


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


@dataclass(frozen=True)
class Sample:
    """The times of one contender, in microseconds."""

    times: list[float] = field(repr=False)

    @property
    def median(self) -> float:
        return statistics.median(self.times)

    @property
    def middle_half(self) -> tuple[float, float]:
        """The quartiles; of a single time, that time."""
        if len(self.times) < 2:
            return self.times[0], self.times[0]
        low, _, high = statistics.quantiles(self.times, n=4, method="inclusive")
        return low, high


def interleave(
    contenders: Mapping[str, Callable[[], object]], *, rounds: int, warm_up: int = 5, block: int = 1
) -> dict[str, Sample]:
    """Time each contender in every round, ``block`` times: A B C, B A C, … ``rounds`` times.

    The order changes from round to round: a flush also pays for what the one before it left in
    the journal, and so nobody comes after the same neighbour each time. The peers' libraries
    are many objects: they are kept out of the garbage collection that falls into our turns.
    """
    order = list(contenders)
    shuffled = random.Random(20260101)
    times: dict[str, list[float]] = {name: [] for name in order}
    gc.collect()
    gc.freeze()
    try:
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
    finally:
        gc.unfreeze()
    return {name: Sample(taken) for name, taken in times.items()}


def repeat(run: Callable[[], object], *, seconds: float, most: int = 50) -> Sample:
    """Time ``run`` again and again, for about ``seconds`` but once at least."""
    times: list[float] = []
    give_up = time.perf_counter() + seconds
    while not times or (len(times) < most and time.perf_counter() < give_up):
        begin = time.perf_counter_ns()
        run()
        times.append((time.perf_counter_ns() - begin) / 1000)
    return Sample(times)


def raw(
    group: str, samples: Mapping[str, Sample], at: str, *, plot: str = "", how: str = ""
) -> list[Figure]:
    """Return the plain medians, so that every ratio can be checked by hand."""
    figures = []
    for who, sample in samples.items():
        low, high = sample.middle_half
        name = ", ".join(part for part in (who, at, how) if part)
        figures.append(
            Figure(
                group, name, "µs", [sample.median], low=low, high=high, plot=plot, who=who, at=at
            )
        )
    return figures


def bytes_written() -> int:
    """Return what this process handed to write calls so far (wchar), in all its threads."""
    with open("/proc/self/io", "rb") as stream:
        for line in stream:
            if line.startswith(b"wchar:"):
                return int(line.split()[1])
    raise RuntimeError("/proc/self/io has no wchar")


def disk_use(directory: Path) -> int:
    """Return the bytes of the blocks in use; a file of two names counts once."""
    seen: dict[int, int] = {}
    for path, _, names in os.walk(directory):
        for name in [".", *names]:
            status = os.lstat(os.path.join(path, name))
            seen[status.st_ino] = status.st_blocks * 512
    return sum(seen.values())


def peak_kib() -> int:
    """Return the most memory that this process held, in KiB.

    On Linux not from getrusage, as what it tells goes on over exec: a child would inherit the
    peak of the process that started it.
    """
    if sys.platform == "linux":
        with open("/proc/self/status", encoding="ascii", errors="replace") as stream:
            for line in stream:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // KIB if sys.platform == "darwin" else peak


Group = Callable[[Options], list[Figure]]
