"""The lock of the operating system on an open file: take it, look at it."""

from __future__ import annotations

import errno
import io
import weakref
from collections.abc import Callable
from functools import cache

from sessionstore.process import kernel

LOOKS_SHARE = kernel.PLATFORM != "win32"
"""Whether those who only look share the lock with each other."""

open_files: weakref.WeakSet[io.FileIO] = weakref.WeakSet()
"""Locked files that are no session's. A forked child that kept one would hold its lock."""


@cache
def lock_descriptor() -> Callable[..., bool]:
    """Return filelock's function: found once, as a new index looks at a million locks."""
    from filelock import lock_descriptor

    return lock_descriptor


def is_claimed(fd: int) -> bool:
    """Return whether a claim has the lock of an open file. A look shares it with other looks.

    Where locks cannot be shared (Windows), a look seems a claim, too.
    """
    if not LOOKS_SHARE:
        return not lock_descriptor()(fd, blocking=False)
    import fcntl  # Windows has none

    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return True
        raise
    return False
