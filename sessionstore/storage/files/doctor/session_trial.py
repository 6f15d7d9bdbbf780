"""Try what a session goes through, twice, with the same calls as a store, and compare.

Some places give a file another inode number, a rounded time or another size once the kernel has
forgotten it. So the kernel is told to forget in between, where it may be told.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sessionstore import clock
from sessionstore.durable import mounts
from sessionstore.durable.directory import Directory, Signature
from sessionstore.durable.version import Version
from sessionstore.errors import ClaimLost, RevisionConflict
from sessionstore.process import identity
from sessionstore.storage.files import lock as locks
from sessionstore.storage.files import state_file, store_marker
from sessionstore.storage.files.claim import FilesClaim
from sessionstore.storage.files.create import build_session
from sessionstore.storage.files.layout import STATE, Layout
from sessionstore.storage.report import Diagnosis, Fitness

_ID = "trial"
_ELSEWHERE = "choose another root, on a local file system"


def try_session(path: str, now: clock.Clock) -> Diagnosis:
    """Create, save, checkpoint, claim and resume a session below the directory ``path``.

    Raises:
        OSError: the system refused.
    """
    layout = Layout(os.path.join(path, "store"))
    store_marker.prepare(layout, foreign=False)
    trial = _Trial(layout, now)
    try:
        with trial.created() as claim:
            trial.work(claim)
        with trial.claimed() as claim:
            trial.resume(claim)
            trial.work(claim)
    except (RevisionConflict, ClaimLost) as error:
        return Diagnosis(
            "sessions",
            Fitness.FAIL,
            f"unfit: what a save left is not found again: {error.args[0]}",
            _ELSEWHERE,
        )
    if trial.differs:
        return Diagnosis(
            "sessions", Fitness.FAIL, "unfit: what was saved is not what is read", _ELSEWHERE
        )
    done = "a session is created, saved, kept and resumed"
    if trial.changed:
        return Diagnosis(
            "sessions",
            Fitness.WARN,
            f"{done}, but {' and '.join(sorted(trial.changed))} change once the kernel has"
            " forgotten a file: a save then compares its bytes",
            "nothing needs to be done; a local file system is faster",
        )
    if not trial.was_forgotten:
        done += "; that the kernel forgets files was not tried: only root can tell it to"
    return Diagnosis("sessions", Fitness.OK, done)


class _Trial:
    """One session in a store of its own."""

    def __init__(self, layout: Layout, now: clock.Clock) -> None:
        self._layout = layout
        self._now = now
        self._revision = 1
        self.changed: set[str] = set()
        """What else than the bytes changed of the files."""
        self.differs = False
        """Whether other bytes were read than written."""
        self.was_forgotten = True
        """Whether the kernel forgot the files, or never changes their numbers."""

    @contextmanager
    def created(self) -> Iterator[FilesClaim]:
        lock = self._lock()
        try:
            built = build_session(self._layout, _ID, self._payload(), power=True)
            claim = self._claim(lock, built.identity, built.state)
            claim.confirm()
            yield claim
            claim.release()
        finally:
            lock.close()

    @contextmanager
    def claimed(self) -> Iterator[FilesClaim]:
        lock = self._lock()
        try:
            status = os.lstat(self._layout.session(_ID))
            claim = self._claim(lock, (status.st_dev, status.st_ino), None)
            yield claim
            claim.delete()
        finally:
            lock.close()

    def _lock(self) -> locks.HeldLock:
        owner = identity.new_owner(self._now())
        return locks.acquire(self._layout.lock(_ID), owner, timeout=0.0)

    def _claim(
        self, lock: locks.HeldLock, directory: tuple[int, int], state: Version | None
    ) -> FilesClaim:
        return FilesClaim(
            self._layout,
            _ID,
            lock,
            directory,
            power=True,
            copies=False,
            clock=self._now,
            released=lambda *_: None,
            state=state,
        )

    def _payload(self) -> bytes:
        return b'{"revision": %d}' % self._revision

    def work(self, claim: FilesClaim) -> None:
        """Save and keep, have the kernel forget, save and keep again."""
        for _ in range(2):
            for name in (None, "kept"):
                self._revision += 1
                kept = name and f"{name}-{self._revision}"
                claim.write(self._payload(), self._revision, checkpoint_id=kept)
            self._compare()
            claim.keep_current(f"again-{self._revision}")

    def resume(self, claim: FilesClaim) -> None:
        """Read the state and what was kept of it."""
        self.differs |= claim.read().payload != self._payload()
        with Directory(self._layout.checkpoints(_ID)) as checkpoints:
            kept, _ = state_file.read(checkpoints, f"kept-{self._revision}.json", _ID)
        self.differs |= kept != self._payload()

    def _compare(self) -> None:
        """Have the kernel forget the files, and compare them with what they were."""
        with Directory(self._layout.session(_ID)) as directory:
            before = Signature.of(directory.status(STATE))
        self.was_forgotten = _forget(self._layout.state(_ID)) and self.was_forgotten
        with Directory(self._layout.session(_ID)) as directory:
            payload, after = state_file.read(directory, STATE, _ID)
        self.differs |= payload != self._payload()
        names = ("inode numbers", "sizes", "times")
        self.changed |= {
            name for name, was, now in zip(names, before, after, strict=True) if was != now
        }


def _forget(file: str) -> bool:
    """Have the kernel forget ``file``; return False where it may still change its number.

    That takes dropping the cached entries of all directories, for an instant. So it is done only
    where a number may change by it: not on ext4, XFS and the like. Cached data stays.
    """
    with suppress(OSError, AttributeError):  # macOS has no such call
        fd = os.open(file, os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)
    if mounts.keeps_inodes(file):
        return True
    try:
        with open("/proc/sys/vm/drop_caches", "w") as drop:
            drop.write("2")  # entries and inodes (proc_sys_vm(5))
    except OSError:
        return False
    return True
