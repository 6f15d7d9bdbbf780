"""What journals write, keep on the disk and hold ahead; what reading them costs."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.backends import make_record
from benchmarks.harness import (
    KIB,
    Group,
    Options,
    bytes_written,
    interleave,
    peak_kib,
    raw,
    say,
)
from benchmarks.images import places
from benchmarks.journals import PlainAppend
from benchmarks.limits import TIMES, Figure
from sessionstore import SessionStore

TURNS = 300
HELD = 10_000
RECORDS = 100_000
_BATCH = 500
_SHORT = 5
"""How many records of 300 bytes a short journal has."""


# --- 300 turns of 4 KiB --------------------------------------------------------------------------


def measure_turns(options: Options) -> list[Figure]:
    """Count the bytes of 300 appends of 4 KiB: passed to write calls, to the device, kept."""
    figures: list[Figure] = []
    for place, there in places(options):
        say(f"turns: {place}")
        with there.space() as space:
            figures += _turns(space, place, is_alone=there is not options)
    return figures


def _turns(space: Path, place: str, *, is_alone: bool) -> list[Figure]:
    record = make_record(random.Random(1), 4 * KIB)
    store = SessionStore(space / "store")
    session = store.create("bench")
    journal = session.journal()
    file = session.directory / "journals" / "main.jsonl"
    size = TURNS * len(json.dumps(record, ensure_ascii=False).encode())
    device = _DeviceWrites(space)
    before = bytes_written()
    for _ in range(TURNS):
        journal.append(record)
    session.release()
    written = bytes_written() - before
    ours = device.taken()
    store.close()
    os.sync()  # a file system may choose blocks only when it writes them
    kept = file.stat().st_blocks * 512
    what = f"{TURNS} turns of 4 KiB"
    figures = [
        Figure("turns", f"{what}, passed to write calls / their bytes, {place}", TIMES,
               [written / size], limit=2.2),
        Figure("turns", f"{what}, on the disk after the release / their bytes, {place}", TIMES,
               [kept / size], limit=1.1),
    ]  # fmt: skip
    plain = PlainAppend(space / "plain", 0)
    plain.record = record
    device = _DeviceWrites(space)
    for _ in range(TURNS):
        plain.append()
    plain.close()
    theirs = device.taken()
    # Elsewhere other processes write to the same device.
    if is_alone and ours and theirs:
        name = f"{what}, written by the device / the same by a bare append, {place}"
        note = f"{ours / 1e6:.2f} and {theirs / 1e6:.2f} MB"
        figures.append(Figure("turns", name, TIMES, [ours / theirs], limit=1.0, note=note))
    return figures


class _DeviceWrites:
    """Counts the bytes that the device of a directory was given to write, since this was made."""

    def __init__(self, directory: Path) -> None:
        device = directory.stat().st_dev
        self._file = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
        self._before = self._count()

    def _count(self) -> int:
        os.sync()
        with suppress(OSError):
            return int(self._file.read_text().split()[6]) * 512
        return 0

    def taken(self) -> int:
        """Return how many they were; 0 where the system does not tell."""
        return self._count() - self._before


# --- padding -------------------------------------------------------------------------------------


def measure_padding(options: Options) -> list[Figure]:
    """Hold sessions with two short journals each, and add up what is written ahead."""
    count = HELD // 10 if options.quick else HELD
    say(f"padding: {count:,} held sessions")
    # Padding depends on what is flushed, not on what a flush costs: in memory it costs nothing.
    memory = Path("/dev/shm")  # not for a file: for a directory of its own
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else options.directory) as path:
        answer = _in_child("hold", path, count)
    scaled = HELD / answer["held"]
    note = f"{answer['held']:,} held" + (f", scaled to {HELD:,}" if scaled > 1 else "")
    name = f"padding of {HELD:,} held sessions, two journals of {_SHORT} records of 300 bytes each"
    return [
        Figure("padding", name, "MB", [answer["padding"] * scaled / 1e6], limit=100.0, note=note)
    ]


def _hold(root: str, wanted: int) -> dict[str, Any]:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(ValueError, OSError):  # only root raises the hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (4 * wanted, max(hard, 4 * wanted)))
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    wanted = min(wanted, limit // 4)
    store = SessionStore(root)
    record = make_record(random.Random(1), 300)
    held = []
    for _ in range(wanted):
        session = store.create("bench")
        for name in ("messages", "events"):
            journal = session.journal(name)
            for _ in range(_SHORT):
                journal.append(record)
        held.append(session)
    files = [
        session.directory / "journals" / f"{name}.jsonl"
        for session in held
        for name in ("messages", "events")
    ]
    before = sum(file.stat().st_size for file in files)
    for session in held:
        session.release()
    return {"held": wanted, "padding": before - sum(file.stat().st_size for file in files)}


# --- reading -------------------------------------------------------------------------------------


def measure_reading(options: Options) -> list[Figure]:
    """Read a long journal beside json.loads of its lines; look at the memory that it takes."""
    count = RECORDS // 10 if options.quick else RECORDS
    figures: list[Figure] = []
    with options.space() as space, SessionStore(space, durability="process") as store:
        for name, length in (("long", count), ("short", count // 20)):
            say(f"reading: write {length:,} records")
            record = make_record(random.Random(1))
            with store.create("bench", session_id=name) as session:
                journal = session.journal()
                for _ in range(length // _BATCH):
                    journal.append(*[record] * _BATCH)
        say(f"reading: {count:,} records")
        file = store.directory("long") / "journals" / "main.jsonl"

        def loads() -> None:
            with file.open("rb") as lines:
                for line in lines:
                    json.loads(line)

        runs: dict[str, Callable[[], object]] = {
            "json.loads of the lines": loads,
            "iterate": lambda: sum(1 for _ in store.journal("long")),
            "read": lambda: store.journal("long").read(),
            "count": lambda: store.journal("long").count(),
        }
        seen = interleave(runs, rounds=3 if options.quick else 5, warm_up=1)
        floor = seen["json.loads of the lines"].median
        for name in ("iterate", "read", "count"):
            what = f"{name} {count:,} records of 1 KiB / json.loads of the lines"
            figures.append(Figure("reading", what, TIMES, [seen[name].median / floor], limit=2.0))
        figures += raw("reading", seen, f"{count:,} records")
        peaks = [_in_child("iterate", str(space), one)["peak"] for one in (1, 0)]
    name = f"peak memory of iterating {count:,} records / {count // 20:,}"
    note = f"{peaks[0] / KIB:.1f} and {peaks[1] / KIB:.1f} MiB, the interpreter included"
    figures.append(Figure("reading", name, TIMES, [peaks[0] / peaks[1]], limit=1.1, note=note))
    return figures


def _iterate(root: str, is_long: int) -> dict[str, Any]:
    with SessionStore(root, create=False) as store:
        for _ in store.journal("long" if is_long else "short"):
            pass
    return {"peak": peak_kib()}


def _in_child(*arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.journal_bytes", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(ended.stderr)
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


GROUPS: dict[str, Group] = {
    "turns": measure_turns,
    "padding": measure_padding,
    "reading": measure_reading,
}

if __name__ == "__main__":  # a child of measure_padding or measure_reading
    child, where, number = sys.argv[1:]
    print(json.dumps((_hold if child == "hold" else _iterate)(where, int(number))))
