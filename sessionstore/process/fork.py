"""What belongs to one process, and is made anew in a child that was forked from it.

Of all threads a forked child has only the one that forked. A lock that another thread held at that
moment is never released there, a pool has no threads, and a connection is the parent's. Some forks
run no code of Python in the child (a fork in C, uWSGI), so that the process id is asked instead.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_PATIENCE = 1.0
"""Seconds that a fork waits for those who are in the middle of something."""


class PerProcess(Generic[T]):
    """A value that each process makes for itself when it asks first."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        # What a parent made stays here on purpose: to close it is the parent's business.
        self._made: dict[int, T] = {}

    def get(self) -> T:
        """Return the value of this process."""
        found = self.made()
        # Of two threads that make one at once, both get the one that was there first.
        return self._made.setdefault(os.getpid(), self._make()) if found is None else found

    def made(self) -> T | None:
        """Return the value of this process, or None if it has made none."""
        return self._made.get(os.getpid())

    def drop(self) -> T | None:
        """Return the value of this process and forget it."""
        return self._made.pop(os.getpid(), None)

    def __reduce__(self) -> tuple[type[PerProcess[T]], tuple[Callable[[], T]]]:
        return type(self), (self._make,)


class Mutex:
    """A reentrant lock among the threads of one process; a forked child finds it free."""

    def __init__(self) -> None:
        # As in PerProcess, whose calls would take longer than the lock: each step takes several.
        self._made: dict[int, threading.RLock] = {}

    def __enter__(self) -> None:
        pid = os.getpid()
        lock = self._made.get(pid)
        if lock is None:
            lock = self._made.setdefault(pid, threading.RLock())
        lock.acquire()

    def __exit__(self, *_: object) -> None:
        lock = self._made.get(os.getpid())
        if lock is not None:  # else this process was forked within the block
            lock.release()

    def __reduce__(self) -> tuple[type[Mutex], tuple[()]]:
        return type(self), ()


class _Inside:
    """The threads that are within a :class:`ForkGate`, and how deep."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.threads: dict[int, int] = {}


class ForkGate:
    """A block that ``os.fork()`` in another thread waits for. Blocks do not wait for each other.

    A descriptor that is opened here is known before a child gets it. A fork waits a second at most:
    an open that hangs longer has no descriptor yet.
    """

    def __init__(self) -> None:
        self._inside = PerProcess(_Inside)
        self._works: list[Callable[[], object]] = []
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._close, after_in_parent=self._open)

    def before_fork(self, work: Callable[[], object]) -> None:
        """Do ``work`` before each fork of Python's that finds nobody inside."""
        self._works.append(work)

    def __enter__(self) -> None:
        inside, me = self._inside.get(), threading.get_ident()
        with inside.condition:
            inside.threads[me] = inside.threads.get(me, 0) + 1

    def __exit__(self, *_: object) -> None:
        inside, me = self._inside.made(), threading.get_ident()
        if inside is None:
            return  # this process was forked within the block
        with inside.condition:
            inside.threads[me] -= 1
            if not inside.threads[me]:
                del inside.threads[me]
                inside.condition.notify_all()

    def _close(self) -> None:
        inside, me = self._inside.get(), threading.get_ident()
        inside.condition.acquire()
        inside.condition.wait_for(lambda: not (inside.threads.keys() - {me}), _PATIENCE)
        if not inside.threads:
            for work in self._works:
                work()

    def _open(self) -> None:
        self._inside.get().condition.release()


FORK_GATE = ForkGate()
"""The gate of whatever must be whole in a forked child: lock files that are opened, databases."""
