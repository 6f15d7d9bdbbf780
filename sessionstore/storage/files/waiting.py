"""A line of those who wait for one session: who came first is next, whatever process it is in.

Each waiter has an empty file of its own, named by its number, in a directory beside the lock file,
and keeps that file locked. A place whose file is not locked is that of a dead process. The line
only orders attempts: the lock of the session decides, so that no place is in the way for long.

filelock, SQLite and a non-blocking flock() poll without an order: who let go is mostly next again.
The kernel queues those who block in flock(), but no timeout ends that, nor a signal in a thread.
"""

from __future__ import annotations

import io
import os
import random
import time
from contextlib import suppress

from sessionstore.durable import making
from sessionstore.durable.directory import SAFE_FLAGS, Directory
from sessionstore.process.fork import FORK_GATE
from sessionstore.storage.files import os_lock
from sessionstore.storage.turn import LIES_FREE, Turn

_SHORTEST_PAUSE = 0.0002
_LONGEST_PAUSE = 0.05
_ATTEMPTS = 100
"""How often a waiter tries to get a place: each time another one was faster."""
_SHARE = 8
"""Which part of the time that nothing has moved for a waiter sleeps until it looks again."""


class FilesTurn(Turn):
    """A place in the line of a lock file; before :meth:`join`, only a look at the line."""

    def __init__(self, lock_path: str) -> None:
        self._lock_path = lock_path
        self._line = lock_path.removesuffix(".lock") + ".waiting"
        self._file: io.FileIO | None = None
        self._number = 0
        self._before: str | None = None
        """The file of a waiter that was ahead at the last look."""
        self._passed: set[str] = set()
        self._moved = time.monotonic()
        self._free_since: float | None = None

    # --- who is ahead -----------------------------------------------------------------------------

    def is_next(self) -> bool:
        """Return whether nobody who is alive and awake waits ahead."""
        if self._before is not None:
            if self._is_waiting(self._before):
                return False
            self._before = None
            self._moved = time.monotonic()
            self._free_since = None
        for name in reversed(self._ahead()):  # the one right ahead is the last to go
            if self._is_waiting(name):
                self._before = name
                return False
        return True

    def _ahead(self) -> list[str]:
        """Return the files of those who came before, in order; of all, if we have no place."""
        try:
            with Directory(self._line) as line:
                numbers = sorted(_numbers(line))
        except OSError:
            return []  # as nearly always: there is no line
        return [str(number) for number in numbers if not self._file or number < self._number]

    def _is_waiting(self, name: str) -> bool:
        """Return whether the waiter of a file keeps it; remove the file of a dead one."""
        if name in self._passed:
            return False
        path = os.path.join(self._line, name)
        try:
            with io.FileIO(path, opener=_look_at) as file:
                if os_lock.is_claimed(file.fileno()):
                    return True
                os.unlink(path)
        except OSError:
            return False
        return False

    def _is_free(self) -> bool:
        """Return whether nobody has the lock of the session."""
        try:
            with io.FileIO(self._lock_path, opener=_look_at) as file:
                return not os_lock.is_claimed(file.fileno())
        except OSError:
            return True  # it may have gone with its session

    def is_due(self) -> bool:
        if self.is_next():
            return self._is_free()
        now = time.monotonic()
        if now - self._moved < LIES_FREE:
            return False
        # Race: Waiter that does not take its turn. It may be stopped: the lock, which lies free,
        # is left to it for a moment only.
        if not self._is_free():
            self._free_since = None
        elif self._free_since is None:
            self._free_since = now
        elif now - self._free_since >= LIES_FREE:
            first = next(filter(self._is_waiting, self._ahead()), None)
            if first is not None:
                self._passed.add(first)
            self._free_since = None
        return False

    # --- waiting ----------------------------------------------------------------------------------

    def join(self) -> None:
        """Take the last place. Where that cannot be written, the wait goes on without a place."""
        if self._file is None:
            with suppress(OSError):
                self._join()

    def _join(self) -> None:
        for _ in range(_ATTEMPTS):
            try:
                with Directory(self._line) as line:
                    self._take_place(line)
            except FileNotFoundError:
                making.make_directory(self._line)
            except FileExistsError:
                pass  # another one was faster
            if self._file is not None:
                return

    def _take_place(self, line: Directory) -> None:
        number = 1 + max(_numbers(line), default=0)

        def make(name: str, _: int) -> int:
            return line.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL)

        is_ours = False
        with FORK_GATE:  # a fork in between would leak the descriptor into the child
            file = io.FileIO(str(number), "r+", opener=make)
            try:
                # Race: Place that looks deserted. Before its file is locked, another waiter may
                # take it for that of a dead process and remove it.
                if os_lock.lock_descriptor()(file.fileno(), blocking=False):
                    with suppress(FileNotFoundError):
                        is_ours = line.status(str(number)).st_ino == os.fstat(file.fileno()).st_ino
            finally:
                if not is_ours:
                    file.close()
            if is_ours:
                os_lock.open_files.add(file)
                self._file, self._number = file, number
                # Who was ahead before may have left, and its number may now be ours.
                self._before = None

    def pause(self) -> float:
        # Short while the line moves; those who wait for long take no time from the others.
        still = (time.monotonic() - self._moved) / _SHARE
        return min(max(still, _SHORTEST_PAUSE), _LONGEST_PAUSE) * random.uniform(0.7, 1.0)  # noqa: S311

    def wait(self, until: float) -> None:
        """Sleep once at least, and until it is our turn or ``until``, of the monotonic clock."""
        if time.monotonic() < until:
            self.join()
        while True:
            left = until - time.monotonic()
            time.sleep(min(self.pause(), left) if left > 0 else self.pause())
            if self.is_due() or time.monotonic() >= until:
                return

    def close(self) -> None:
        """Leave the line; safe to call twice."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                os.unlink(os.path.join(self._line, str(self._number)))
            file.close()
            with suppress(OSError):  # others wait
                os.rmdir(self._line)


def _numbers(line: Directory) -> list[int]:
    return [int(name) for name in line.names() if name.isdecimal()]


def _look_at(path: str, _: int) -> int:
    return os.open(path, os.O_RDONLY | SAFE_FLAGS)
