"""A claim as the operating system sees it: a lock on an open descriptor.

The kernel gives it back when the process dies, however it dies, and keeps it while the process is
stopped. filelock's ``FileLock`` is not used: it creates missing parents, never compares path and
descriptor, and falls back to files that outlive their owner. Its ``lock_descriptor`` does none of
that.

Each descriptor belongs to one ``io.FileIO`` from the moment it is opened: that closes it once and
never again, whatever exception arrives in between (a signal handler may raise anywhere). A bare
number that is closed twice may by then be the lock of another session.
"""

from __future__ import annotations

import errno
import io
import os
import random
import stat
import sys
import time
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sessionstore import clock
from sessionstore.durable import making, replace
from sessionstore.durable.directory import SAFE_FLAGS, Directory
from sessionstore.model.liveness import Verdict
from sessionstore.process import identity, liveness
from sessionstore.process.fork import FORK_GATE, PerProcess
from sessionstore.storage.files import lock_record, os_lock
from sessionstore.storage.files.lock_record import Record
from sessionstore.storage.files.waiting import FilesTurn

if TYPE_CHECKING:
    from sessionstore.model.state import SessionOwner

LOOK_GRACE = 2.0
"""Seconds for which a refused claim waits while the lock file names nobody who keeps the lock:
somebody took it and has yet to write its record, reads the state under it to say whether it keeps
it, has written that it let go and is about to, or only looks. Each takes an instant on a machine
that is not starved; and a claim that the state refuses must not be named as the holder."""

PROBE_GRACE = 0.1
"""Seconds for which a claim that is being decided may be taken for a holder by who looks."""

UNKNOWN_GRACE = 0.0 if os_lock.LOOKS_SHARE else 0.003
"""The same where the lock file names a holder whose process cannot be looked at, as in another PID
namespace. Only where a look takes the lock as a claim does, the two have to be told apart by time:
a look takes microseconds, so a lock that stays held longer is the holder's."""

_TOUCHED = 3600.0
"""Seconds after which a look at a held lock touches its file: programs such as systemd-tmpfiles
remove files that are older than some days."""


class Held(Exception):
    """Somebody else has the lock: ``holder``, as far as the lock file tells."""

    def __init__(self, holder: SessionOwner | None) -> None:
        self.holder = holder
        super().__init__()


class HeldLock:
    """A lock file whose lock this process has."""

    def __init__(self, path: str, file: io.FileIO, holder: SessionOwner) -> None:
        self.path = path
        self.holder = holder
        self._file = file
        status = os.fstat(file.fileno())
        self._inode = status.st_ino
        self.identity: tuple[int, int] = (status.st_dev, status.st_ino)
        """Device and inode of the lock file."""
        self._pid = os.getpid()
        found = lock_record.read_json(file)
        # Race: Claim that only looks. The record before a tentative one stays the last holder's.
        self._before = lock_record.before(found)
        self.last_word: dict[str, Any] | None = lock_record.last_word(found)
        """The word of the last holder that it left the session in order; None if it gave none."""
        self._is_tentative = True
        self._is_ended = False
        previous = lock_record.parse(self._before)
        self.previous_holder: SessionOwner | None = previous.holder if previous else None
        identity.hold(holder)
        _held.add(self)

    def __del__(self) -> None:
        if hasattr(self, "_file") and not self._file.closed and not sys.is_finalizing():
            warnings.warn(f"unreleased claim: {self.path}", ResourceWarning, 2, self)
            self.close()

    @property
    def is_inherited(self) -> bool:
        """Whether this is the forked child of the process that took the lock."""
        return os.getpid() != self._pid

    @property
    def is_closed(self) -> bool:
        """Whether the lock was given back."""
        return self._file.closed

    def is_in_place(self) -> bool:
        """Return whether the lock file at the path is still the one that is locked.

        On FUSE a file may get another inode number while it is locked. The file at the path is
        then ours if it has our token, and if it is locked: a copy of it is not.
        """
        if self._file.closed:
            return False
        try:
            status = os.lstat(self.path)
            if status.st_ino == self._inode:
                if abs(clock.utc_now().timestamp() - status.st_mtime) > _TOUCHED:
                    with suppress(OSError):  # only a courtesy, to keep cleaners away
                        os.utime(self._file.fileno() if os.utime in os.supports_fd else self.path)
                return True
            held, record = _look(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return held and record is not None and record.holder.token == self.holder.token

    def lose(self) -> None:
        """Forget the claim, since its lock file was removed: this process may claim anew."""
        identity.let_go(self.holder)

    def write_record(self) -> None:
        """Tell others who has the lock, for now. Not flushed: a lock does not outlive a reboot.

        Raises:
            OSError: the record of the last holder can neither be replaced nor removed.
        """
        tentative = {"owner": self.holder.model_dump(), "tentative": True, "before": self._before}
        # Race: Word of an older holder. It is withdrawn before anything else is done, also where
        # a full disk keeps this holder from naming itself.
        if not self._write(tentative):
            self._file.truncate(0)

    def confirm(self) -> None:
        """Tell others that the holder keeps the lock."""
        self._is_tentative = False
        self._write({"owner": self.holder.model_dump()})

    def write_end(self, released_at: datetime, word: dict[str, Any] | None = None) -> None:
        """Tell others who let go; one that only looked leaves the record as it was.

        ``word`` is that of a holder that leaves the session in order.
        """
        self._is_ended = True
        if self._is_tentative:
            if self._before is not None and word is None:
                self._before.pop("in_order", None)
            self._write(self._before)
        else:
            ended = clock.to_text(released_at)
            self._write({"owner": self.holder.model_dump(), "released_at": ended, "in_order": word})

    def resume_use(self) -> None:
        """Withdraw the record of the end, if it was written and the claim is used all the same."""
        if self._is_ended:
            # Race: Use after the last word. A release that was interrupted has not let go.
            self.confirm()
            self._is_ended = False

    def _write(self, record: dict[str, Any] | None) -> bool:
        """Replace the record, and return whether that was done.

        To name the holder is a courtesy to those who are refused: the lock holds without it.
        """
        return self._file.closed or lock_record.write(self._file, record)

    def remove_file(self) -> None:
        """Remove the lock file while it is held, so that nobody can hold it afterwards."""
        # Windows refuses to remove an open file; an empty lock file does no harm.
        with suppress(OSError):
            if self.is_in_place():
                os.unlink(self.path)

    def close(self) -> None:
        """Give the lock back; in a forked child only the descriptor, not the parent's lock.

        Safe to call again, and to be called again after an exception came in between.
        """
        # Closing the last descriptor unlocks. An explicit unlock would also end the lock of a
        # parent that shares the description with a forked child.
        self._file.close()
        identity.let_go(self.holder)
        _held.discard(self)


_held: weakref.WeakSet[HeldLock] = weakref.WeakSet()


def _close_inherited() -> bool:
    """Close what a parent holds: a child that kept it would hold the lock after its death."""
    for held in list(_held):
        held.close()
    for file in list(os_lock.open_files):
        file.close()
    return True


_inherited = PerProcess(_close_inherited)
_inherited.get()  # of this process there is nothing yet
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_inherited.get)


def acquire(
    path: str, by: SessionOwner, *, timeout: float, turn: FilesTurn | None = None
) -> HeldLock:
    """Return the lock of ``path``, which is created if it is not there.

    Waits at most ``timeout`` seconds, behind those who wait already. With a place in their line,
    ``turn``, it does not wait: whoever has the place does.

    Raises:
        Held: somebody else has it.
        OSError: the file cannot be opened or locked.
    """
    started = time.monotonic()
    line = turn or FilesTurn(path)
    try:
        while True:
            lock, record = _try(path, by) if line.is_next() else (None, _held_by(path))
            if lock is not None:
                try:
                    lock.write_record()
                except BaseException:
                    lock.close()
                    raise
                return lock
            # Unless it is stopped, whoever has the lock and is not named is about to say so, or to
            # give it back.
            waited = time.monotonic() - started
            if turn or waited >= max(timeout, _grace(record, unnamed=LOOK_GRACE)):
                raise Held(record.holder if record and not record.released_at else None)
            line.wait(started + timeout)
    finally:
        if turn is None:
            line.close()


def _held_by(path: str) -> Record | None:
    """Return what the lock file says of who has the lock; None if nobody has it."""
    held, record = _look(path)
    return record if held else None


def _try(path: str, by: SessionOwner) -> tuple[HeldLock | None, Record | None]:
    """Return the lock, or else what the lock file says: None where others only look at it."""
    _inherited.get()  # a fork in C runs no code in the child: it is done by now
    lock_descriptor = os_lock.lock_descriptor()
    while True:
        keeps = False
        # Race: Fork while a descriptor is opened. It would leak the descriptor into the child.
        with FORK_GATE:
            # Race: Exception from a signal handler. The FileIO closes the descriptor only once.
            file = io.FileIO(path, "r+", opener=_create)
            try:
                _require_regular(file)
                if not lock_descriptor(file.fileno(), blocking=False):
                    # Race: Look that seems a claim. Those who look share the lock: if it can be
                    # shared, nobody holds it.
                    return None, lock_record.read(file) if os_lock.is_claimed(
                        file.fileno()
                    ) else None
                lock = HeldLock(path, file, by)
                # Race: Lock file removed before it is locked. Its session may be gone, too.
                keeps = lock.is_in_place()
                if not keeps:  # unless its number changes from look to look
                    lock.write_record()
                    keeps = lock.is_in_place()
            finally:
                if not keeps:
                    file.close()
        if keeps:
            return lock, None
        lock.close()


@contextmanager
def locked(path: str, *, timeout: float, create: bool = False) -> Iterator[io.FileIO | None]:
    """Hold the lock of a file that is no session's for the block, and give the open file.

    Gives None where the file is not there, cannot be opened, or is locked for ``timeout`` seconds.
    """
    lock_descriptor = os_lock.lock_descriptor()
    give_up = time.monotonic() + timeout
    file: io.FileIO | None = None
    with suppress(OSError), FORK_GATE:  # a fork in between would leak the descriptor into the child
        file = io.FileIO(path, "r+", opener=_create if create else _open_present)
        os_lock.open_files.add(file)
    if file is None:
        yield None
        return
    try:
        is_ours = False
        with suppress(OSError):
            while not (is_ours := lock_descriptor(file.fileno(), blocking=False)):
                if time.monotonic() >= give_up:
                    break
                time.sleep(random.uniform(0.0002, 0.001))  # noqa: S311 - only spreads the waiters
        yield file if is_ours else None
    finally:
        file.close()


def lock_file(directory: Directory, name: str) -> io.FileIO | None:
    """Open ``name``, which is made if it is missing, under its lock; None if somebody has it.

    The lock ends when the file is closed, or with the process.
    """

    def opened(entry: str, _: int) -> int:
        while True:
            try:  # as in durable/making.py
                return directory.open(entry, os.O_RDWR)
            except FileNotFoundError:
                pass
            with suppress(FileExistsError):
                replace.write_new(directory, entry, b"", flush_file=False)

    is_ours = False
    with FORK_GATE:  # a fork in between would leak the descriptor into the child
        file = io.FileIO(name, "r+", opener=opened)
        try:
            _require_regular(file)
            is_ours = os_lock.lock_descriptor()(file.fileno(), blocking=False)
        finally:
            if not is_ours:
                file.close()
        if is_ours:
            os_lock.open_files.add(file)
    return file if is_ours else None


def _create(path: str, _: int) -> int:
    return making.open_or_make(path)


def _open_present(path: str, _: int) -> int:
    return os.open(path, os.O_RDWR | SAFE_FLAGS)


def _look_at(path: str, _: int) -> int:
    return os.open(path, os.O_RDONLY | SAFE_FLAGS)


def probe(path: str) -> tuple[bool, Record | None]:
    """Return whether somebody has the lock of ``path``, and what its file says.

    Shares a free lock for an instant; reads only, so that it works on a read-only file system.
    """
    started = time.monotonic()
    pause = 0.001
    while True:
        held, record = _look(path)
        # Race: Claim that only looks. A file that names a dead holder, or one that let go, is
        # looked at again before the session counts as held.
        waited = time.monotonic() - started
        if not held or waited >= _grace(record, unnamed=PROBE_GRACE):
            return held, record
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - only spreads those who look
        pause = min(pause * 2, 0.02)


def is_free(locks: Directory, session_id: str) -> bool:
    """Return whether no claim has the lock of a session."""

    def look_at(name: str, _: int) -> int:
        return locks.open(name, os.O_RDONLY)

    try:
        with io.FileIO(f"{session_id}.lock", opener=look_at) as file:
            # Whatever else than a file it may be: no claim of it is given.
            return not os_lock.is_claimed(file.fileno())
    except FileNotFoundError:
        return True
    except IsADirectoryError:
        return False


def _look(path: str) -> tuple[bool, Record | None]:
    try:
        with io.FileIO(path, opener=_look_at) as file:
            _require_regular(file)
            held = os_lock.is_claimed(file.fileno())
            return held, lock_record.read(file)
    except FileNotFoundError:
        return False, None


def _require_regular(file: io.FileIO) -> None:
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        raise OSError(errno.EINVAL, "the lock file is not a regular file: remove it")


def _grace(record: Record | None, *, unnamed: float) -> float:
    """Return for how many seconds whoever has the lock may be one that only looks.

    ``unnamed`` is the answer where the lock file names nobody who keeps the lock and may live.
    """
    if record is None or record.released_at is not None or record.is_tentative:
        return unnamed
    # Not judge_owner(): for that a free lock is evidence, and this one is not free.
    verdict = liveness.look_up(record.holder)
    if verdict is Verdict.DEAD:
        return unnamed
    return 0.0 if verdict is Verdict.ALIVE else UNKNOWN_GRACE
