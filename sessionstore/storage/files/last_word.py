"""The word of a holder that leaves a session in order: no temporary file of its own lies about.

The next claim then looks for none, and costs the same however many checkpoints there are. The word
stands in the record of the lock file, which is not flushed. It counts only for what it names: this
boot, this version of the package, this lock file, these directories as they were left.
"""

from __future__ import annotations

import os
from typing import Any

import sessionstore
from sessionstore.process import kernel

PLACES = ("", "checkpoints")
"""Where temporary files may lie, below the session's directory."""


def give(path: str, lock: tuple[int, int]) -> dict[str, Any] | None:
    """Return the word for the session's directory ``path``; None if it cannot be looked at.

    ``lock`` are device and inode of the lock file, whose lock is held.
    """
    boot = kernel.boot_id()
    if boot is None:
        return None
    try:
        places = {place: _identity(path, place) for place in PLACES}
    except OSError:
        return None
    version = sessionstore.__version__
    return {"version": version, "boot_id": boot, "lock": list(lock), "places": places}


def counts(word: dict[str, Any] | None, path: str, lock: tuple[int, int]) -> bool:
    """Return whether ``word`` vouches for what lies in ``path`` now, under the lock of ``lock``."""
    # Race: Word that outlived its files. A crash of the machine brings back an older record, a
    # backup an older directory, and another version leaves other files: each is told by a number.
    return word is not None and word == give(path, lock)


def _identity(path: str, place: str) -> list[int] | None:
    """Return what changes with each name in a directory; None if there is none."""
    try:
        status = os.lstat(os.path.join(path, place) if place else path)
    except FileNotFoundError:
        return None
    return [status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]
