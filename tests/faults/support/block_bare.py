"""Bare system calls on a recorded disk: what a file system itself keeps of its word."""

from __future__ import annotations

import os
import random
from pathlib import Path

from tests.faults.support.block_disks import Recording, running
from tests.faults.support.block_states import WAYS, Crash, Crashes
from tests.faults.support.images import Unavailable

_NAME = "store"
_APPENDS = 40


def append(recording: Recording, seed: int) -> None:
    """Append to a file and flush it, many times; tell its length each time."""
    chance = random.Random(seed)
    with running(recording) as root:
        fd = os.open(root, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        parent = os.open(root.parent, os.O_RDONLY)
        try:
            os.fsync(fd)
            os.fsync(parent)
            length = 0
            for number in range(_APPENDS):
                length += os.write(fd, b"%05d" % number * chance.randrange(1, 300))
                os.fdatasync(fd)
                recording.tell(str(length))
        finally:
            os.close(fd)
            os.close(parent)


def lost(recording: Recording, states: int, seed: int) -> list[str]:
    """Return in which states the file is shorter than was told, or does not mount."""
    chance = random.Random(seed)
    crashes = Crashes(recording)
    told = [
        (index, int(entry.data)) for index, entry in enumerate(crashes.entries) if entry.is_told
    ]
    chosen = [Crash(chance.choice(told)[0] + 1, "none") for _ in range(states // 2)]
    chosen += [
        Crash(chance.randrange(told[0][0] + 1, len(crashes.entries)), chance.choice(WAYS))
        for _ in range(states - len(chosen))
    ]
    wrong = []
    for crash in sorted(chosen, key=lambda crash: crash.instant):
        length = max(length for index, length in told if index < crash.instant)
        try:
            with crashes.after(crash, chance) as root:
                found = _length(root)
        except Unavailable as error:
            wrong.append(f"{crash}: {error}")
            continue
        if found < length:
            wrong.append(f"{crash}: {found} bytes of {length}")
    return wrong


def _length(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
