"""A disk in a FUSE file that logs each write, each flush and what a program was told.

:func:`serve` runs in a process of its own: the kernel waits for it while it writes to the disk,
so that whoever uses the disk cannot serve it as well. Writes are handled by several threads, as a
drive does: a flush that comes while a write is under way does not cover that write.
"""

from __future__ import annotations

import errno
import json
import os
import random
import select
import shutil
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

ACKS = "acks"
"""The file that takes what a program was told, in one order with the writes."""

_HEAD = struct.Struct("<cBQQI")  # kind, device, offset or number, number of the beginning, length
_FULL = {b"W": "write", b"f": "flush begins", b"F": "flush", b"A": "told"}

SLOW = 0.1
"""The share of writes that take a millisecond: the next flush may overtake one."""


@dataclass(frozen=True)
class Entry:
    """What the disk saw, or what a program was told: entries are in the order of their ends."""

    kind: Literal["write", "flush begins", "flush", "told"]
    device: int
    offset: int
    begun: int
    """The entry before which it began: an index in the log."""
    data: bytes

    @property
    def is_told(self) -> bool:
        """Whether it is what a program was told."""
        return self.kind == "told"


def read(file: Path) -> list[Entry]:
    """Return the log."""
    raw = file.read_bytes()
    entries, at = [], 0
    while at < len(raw):
        kind, device, offset, begun, length = _HEAD.unpack_from(raw, at)
        at += _HEAD.size
        named: Any = _FULL[kind]
        entries.append(Entry(named, device, offset, begun, raw[at : at + length]))
        at += length
    return entries


class Disks:
    """The file system: a file for each image, and one for what a program was told."""

    use_ns = True  # mfusepy: times are in nanoseconds

    def __init__(self, log: Path, images: Sequence[Path]) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._images = [os.open(image, os.O_RDWR) for image in images]
        self._names = [image.name for image in images]
        self._lock = threading.Lock()
        self._chance = random.Random(0)
        self._count = 0

    def init(self, path: str) -> None:
        _say("serving")

    def destroy(self, path: str) -> None:
        pass

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        name = path[1:]
        if not name:
            return {"st_mode": stat.S_IFDIR | 0o700, "st_nlink": 2}
        if name == ACKS:
            return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": 0}
        if name not in self._names:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        size = os.fstat(self._images[self._names.index(name)]).st_size
        return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": size}

    def open(self, path: str, flags: int) -> int:
        return len(self._images) if path[1:] == ACKS else self._names.index(path[1:])

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(self._images[fh], size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        if fh == len(self._images):
            self._tell(b"A", 0, 0, data)
            return len(data)
        with self._lock:
            begun, slow = self._count, self._chance.random() < SLOW
        if slow:
            time.sleep(0.001)
        os.pwrite(self._images[fh], data, offset)
        self._tell(b"W", fh, offset, data, begun)
        return len(data)

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        # An image needs no flush of its own: only what stands in the log counts.
        begun = self._tell(b"f", fh, 0, b"")
        self._tell(b"F", fh, 0, b"", begun)
        return 0

    def _tell(self, kind: bytes, device: int, offset: int, data: bytes, begun: int = 0) -> int:
        with self._lock:
            head = _HEAD.pack(kind, device, offset, begun, len(data))
            os.writev(self._log, (head, data))
            self._count += 1
            return self._count - 1


def serve(place: str, *names: str) -> None:
    """Serve the images of these names below ``place``, until ``place``/disks is unmounted."""
    import mfusepy  # fails where there is no libfuse

    base = Path(place)
    images = [base / "images" / name for name in names]
    mfusepy.FUSE(
        Disks(base / "log", images),
        str(base / "disks"),
        foreground=True,
        direct_io=True,  # each write of the loop device comes here, in its size, at once
        default_permissions=True,
    )


def flush_all_the_time(path: str) -> None:
    """Write and flush a file in ``path``, so that a journal is committed at any moment."""
    fd = os.open(os.path.join(path, "other"), os.O_WRONLY | os.O_CREAT, 0o600)
    chance = random.Random(0)
    _say("flushing")
    while not select.select([sys.stdin], [], [], chance.random() / 500)[0]:
        os.pwrite(fd, chance.randbytes(100), chance.randrange(1 << 16))
        os.fsync(fd)


def _say(what: str) -> None:
    os.write(1, json.dumps({"now": what}).encode() + b"\n")


def clean_up_after(place: str) -> None:
    """Wait for the end of the process that started this one; leave nothing below ``place``."""
    os.setsid()  # what interrupts the other process leaves this one alone
    while os.read(0, 1):  # nobody writes there: the pipe closes when the other process ends
        pass
    base = Path(place)
    unmount_below(base)
    shutil.rmtree(base, ignore_errors=True)


def unmount_below(base: Path) -> None:
    """Unmount all below ``base``, the last first: a disk after what is on it."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    for line in reversed(lines):
        path = line.split()[4]
        if path.startswith(f"{base}/"):
            subprocess.run(["umount", "-l", path], capture_output=True, check=False)
