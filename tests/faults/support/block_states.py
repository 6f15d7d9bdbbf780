"""What a loss of power may leave of a recorded disk, and a file system mounted from it.

All writes that were complete when a completed flush began are there. Of the later ones, those
included that were still under way, any subset may be there; a large one may be there in part.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.support.block_disks import Recording, copy, mounted, store_in
from tests.faults.support.block_log import Entry

WAYS = ("none", "all", "first ones", "some", "all but one", "some, one in part")
"""Which of the writes that were not flushed survive."""

_PIECE = 4096  # bytes: what is torn is torn between two of these


def survivors(pending: Sequence[Entry], way: str, chance: random.Random) -> list[tuple[Entry, int]]:
    """Choose writes, each with how many bytes of it survive."""
    whole = [(entry, len(entry.data)) for entry in pending]
    if way == "none" or not whole:
        return []
    if way == "all":
        return whole
    if way == "first ones":
        return whole[: chance.randrange(len(whole) + 1)]
    if way == "all but one":
        lost = chance.randrange(len(whole))
        return whole[:lost] + whole[lost + 1 :]
    share = chance.choice((0.2, 0.5, 0.8))
    some = [each for each in whole if chance.random() < share]
    if way == "some, one in part" and some:
        torn = chance.randrange(len(some))
        entry, length = some[torn]
        some[torn] = entry, chance.randrange(0, length + 1, _PIECE)
    return some


@dataclass(frozen=True)
class Crash:
    """A loss of power before an entry of the log."""

    instant: int
    way: str


class Crashes:
    """The states that a recording may leave, from earlier to later instants."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._entries = recording.entries()
        self._stable = [recording.place / f"stable-{name}" for name in recording.kind.devices]
        for base, stable in zip(recording.base(), self._stable, strict=True):
            copy(base, stable)
        self._flushed = [0] * len(self._stable)
        self._instant = 0
        self._written: set[int] = set()

    @property
    def entries(self) -> Sequence[Entry]:
        """The log."""
        return self._entries

    def _pending_at(self, instant: int) -> list[Entry]:
        """Write what is durable at ``instant`` to the stable images; return the other writes."""
        assert instant >= self._instant, "crashes are tried in the order of time"
        for entry in self._entries[self._instant : instant]:
            if entry.kind == "flush":
                self._flushed[entry.device] = max(self._flushed[entry.device], entry.begun)
        self._instant = instant
        pending: list[Entry] = []
        durable: list[tuple[Entry, int]] = []
        for index, entry in enumerate(self._entries):
            if entry.kind != "write" or index in self._written:
                continue
            if index < self._flushed[entry.device]:
                durable.append((entry, len(entry.data)))
                self._written.add(index)
            elif index < instant or entry.begun <= instant:
                pending.append(entry)
        _write(self._stable, durable)
        return pending

    @contextmanager
    def after(self, crash: Crash, chance: random.Random) -> Iterator[Path]:
        """Mount what is left, and yield where the store is.

        Raises:
            Unavailable: the kernel does not mount it.
        """
        kept = survivors(self._pending_at(crash.instant), crash.way, chance)
        place = self._recording.place
        files = [place / f"crashed-{name}" for name in self._recording.kind.devices]
        for stable, file in zip(self._stable, files, strict=True):
            # A new file each time: the last one may still be mounted where a process has a copy
            # of our mounts in a namespace of its own.
            file.unlink(missing_ok=True)
            copy(stable, file)
        _write(files, kept)
        with mounted(self._recording.kind, files, place / "crashed"):
            yield store_in(self._recording.kind, place / "crashed")


def _write(files: Sequence[Path], kept: Sequence[tuple[Entry, int]]) -> None:
    opened = [os.open(file, os.O_WRONLY) for file in files]
    try:
        for entry, length in kept:
            os.pwrite(opened[entry.device], entry.data[:length], entry.offset)
    finally:
        for fd in opened:
            os.close(fd)
