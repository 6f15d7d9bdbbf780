"""The files backend: one directory for each session, one atomically replaced file in it."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Literal

from sessionstore import clock
from sessionstore.durable import commit_order, paths
from sessionstore.durable.directory import Directory
from sessionstore.durable.version import Version
from sessionstore.errors import (
    SessionClaimed,
    SessionCorrupt,
    SessionExists,
    SessionNotFound,
    StorageError,
)
from sessionstore.model.query import Examine, SessionQuery
from sessionstore.model.summary import Matches, SessionSummary
from sessionstore.process import identity, liveness
from sessionstore.storage import scan
from sessionstore.storage.changes import ChangeNotifier
from sessionstore.storage.claim import Claim
from sessionstore.storage.files import root as root_checks
from sessionstore.storage.files import store_marker
from sessionstore.storage.files.index import index_directory
from sessionstore.storage.files.index.store_index import StoreIndex
from sessionstore.storage.files.layout import Layout, refuse_link
from sessionstore.storage.files.lock_place import LockPlace
from sessionstore.storage.files.reader import FilesReader
from sessionstore.storage.files.state_file import storage_errors
from sessionstore.storage.importer import SessionImporter
from sessionstore.storage.journal import NONE, Journals
from sessionstore.storage.turn import Turn
from sessionstore.storage.values import CancelRequest, CountsAndPages, Probe

# Loaded when first used: the index loads sqlite3, a claim loads pydantic.
if TYPE_CHECKING:
    from sessionstore.model.state import SessionOwner
    from sessionstore.storage.files import lock as locks
    from sessionstore.storage.files.claim import FilesClaim
    from sessionstore.storage.files.index.index import Index
    from sessionstore.storage.report import Diagnosis, Finding

_BUILDING = 2.0
"""Seconds that a create waits for another create or delete of the same id."""

Durability = Literal["power", "process"]
Flushes = Literal["auto", "two"]


class FilesBackend(FilesReader):
    """Keeps sessions below a root directory.

    Args:
        root: the directory; made with the first write if ``create`` is true.
        durability: what a save that returned survives: a loss of ``"power"``, or only the
            death of the ``"process"``. Checkpoints survive both.
        flushes: ``"auto"`` makes a save durable with one flush where the file system needs no
            second one; ``"two"`` always takes two.
        create: whether to make a store if there is none.
        clock: returns the current time, aware.

    Raises:
        StorageError: the root is no directory, is a store of a newer format, or is no store
            while ``create`` is false.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        durability: Durability = "power",
        flushes: Flushes = "auto",
        create: bool = True,
        clock: clock.Clock = clock.utc_now,
    ) -> None:
        if durability not in ("power", "process"):
            raise ValueError(f"durability must be 'power' or 'process', not {durability!r}")
        super().__init__(Layout(paths.real(root, "open the store")))
        self._flushes: Flushes = flushes
        self._two_flushes = commit_order.wants_two(flushes)
        self.clock = clock
        self._power = durability == "power"
        self._create = create
        marker = store_marker.read_marker(self._layout)
        root_checks.check_root(self._layout, warns=True)
        self._prepared = False
        self._copies = False
        self._lock_place = LockPlace(self._layout)
        self._index = StoreIndex(self._layout, partial(scan.find, self))
        if not create and marker is None and not os.path.isdir(self._layout.sessions):
            raise StorageError(
                "open the store",
                self._layout.root,
                FileNotFoundError(errno.ENOENT, "there is no store here: check the path"),
            )

    def __str__(self) -> str:
        return self._layout.root

    def __reduce__(self) -> tuple[Callable[[str], FilesBackend], tuple[str]]:
        durability: Durability = "power" if self._power else "process"
        make = partial(
            type(self),
            durability=durability,
            flushes=self._flushes,
            create=self._create,
            clock=self.clock,
        )
        return make, (self._layout.root,)

    def lock_is_proof(self, owner: SessionOwner) -> bool:
        return self._lock_place.lock_is_proof(owner)

    def is_copy(self, owner: SessionOwner) -> bool:
        return self._lock_place.is_copy(owner)

    def new_owner(self, now: datetime) -> SessionOwner:
        return identity.new_owner(now, **self._lock_place.last_seen)

    def located(self, owner: SessionOwner) -> SessionOwner:
        self._prepare()
        place = self._lock_place.describe()
        if all(getattr(owner, name) == value for name, value in place.items()):
            return owner
        return owner.model_copy(update=place)

    def _prepare(self) -> None:
        """Make the store if it is missing, before the first write of this backend."""
        if self._prepared:
            return
        marker = store_marker.read_marker(self._layout)
        root_checks.check_root(self._layout, warns=False)  # somebody may have made it since
        foreign = marker is None and store_marker.holds_foreign_sessions(self._layout)
        is_new = not os.path.isdir(self._layout.root)
        store_marker.prepare(self._layout, foreign=foreign)
        if is_new:  # only now its modes are known
            root_checks.check_root(self._layout, warns=True)
        self._copies = foreign or bool(marker and marker.get("foreign_writers"))
        self._prepared = True

    # --- listing ---------------------------------------------------------------------------------

    def find(self, query: SessionQuery, examine: Examine, *, verify: bool = False) -> Matches:
        listing = self._index.listing()
        if listing is None:
            return super().find(query, examine, verify=verify)
        return listing.find(query, examine, verify=verify)

    def count(self, query: SessionQuery, examine: Examine) -> int:
        listing = self._index.listing()
        return super().count(query, examine) if listing is None else listing.count(query, examine)

    def select(self, query: SessionQuery) -> Iterator[SessionSummary]:
        listing = self._index.listing()
        found = None if listing is None else listing.select(query)
        return super().select(query) if found is None else found

    def count_and_list(
        self, counted: Sequence[SessionQuery], listed: Sequence[SessionQuery]
    ) -> CountsAndPages:
        listing = self._index.listing()
        found = None if listing is None else listing.count_and_list(counted, listed)
        return super().count_and_list(counted, listed) if found is None else found

    @property
    def _own_index(self) -> Index | None:
        return self._index.index

    def close(self) -> None:
        self._index.close()

    # --- claiming --------------------------------------------------------------------------------

    def probe(self, session_id: str) -> Probe:
        from sessionstore.storage.files import lock as locks

        refuse_link(self._layout.locks)
        path = self._layout.lock(session_id)
        with storage_errors("look at the lock", path):
            held, record = locks.probe(path)
        if record is None:
            return Probe(held, file=path)
        return Probe(held, record.holder, released=record.released_at is not None, file=path)

    def request_cancellation(self, session_id: str, request: CancelRequest) -> bool:
        from sessionstore.storage.files import cancel_request

        with storage_errors("ask the holder of", self._layout.session(session_id)):
            return cancel_request.deliver(self._layout, session_id, request)

    def pending_request(self, session_id: str, token: str | None) -> CancelRequest | None:
        from sessionstore.storage.files import cancel_request

        return cancel_request.find(self._layout, session_id, token)

    def claim(
        self, session_id: str, owner: SessionOwner, *, timeout: float, turn: Turn | None = None
    ) -> Claim:
        return self._claim(session_id, owner, timeout, turn)

    def line_up(self, session_id: str) -> Turn:
        from sessionstore.storage.files.waiting import FilesTurn

        turn = FilesTurn(self._layout.lock(session_id))
        turn.join()
        return turn

    def _claim(
        self,
        session_id: str,
        owner: SessionOwner,
        timeout: float,
        turn: Turn | None = None,
        *,
        tidy: bool = True,
    ) -> FilesClaim:
        self._require(session_id)
        lock = self._acquire(session_id, self.located(owner), timeout, turn)
        try:
            # Look again under the lock: the session may have been deleted since.
            status = self._require(session_id)
            in_order = tidy and self._is_clear(session_id, lock)
        except SessionNotFound:
            lock.remove_file()
            lock.close()
            raise
        except BaseException:
            lock.close()
            raise
        root_checks.follow_session(self._layout, session_id, status.st_mode)
        identity = (status.st_dev, status.st_ino)
        return self._claimed(session_id, lock, identity, in_order=in_order)

    def _is_clear(self, session_id: str, lock: locks.HeldLock) -> bool:
        from sessionstore.storage.files import leftovers

        last = lock.previous_holder
        trusts_word = last is not None and self.lock_is_proof(last)
        return leftovers.clear(
            self._layout.session(session_id), session_id, lock, trusts_word=trusts_word
        )

    def _require(self, session_id: str) -> os.stat_result:
        status = self._directory_status(session_id)
        if status is None:
            raise SessionNotFound(session_id, self)
        if stat.S_ISLNK(status.st_mode):
            path = self._layout.session(session_id)
            raise SessionCorrupt(session_id, path, "it is a symbolic link, which is not followed")
        return status

    def _acquire(
        self, session_id: str, by: SessionOwner, timeout: float, turn: Turn | None = None
    ) -> locks.HeldLock:
        from sessionstore.storage.files import lock as locks
        from sessionstore.storage.files.waiting import FilesTurn

        place = turn if isinstance(turn, FilesTurn) else None

        refuse_link(self._layout.locks)
        path = self._layout.lock(session_id)
        with storage_errors("claim", path):
            try:
                try:
                    return locks.acquire(path, by, timeout=timeout, turn=place)
                except FileNotFoundError:  # somebody removed locks/
                    store_marker.prepare(self._layout, foreign=self._copies)
                    return locks.acquire(path, by, timeout=timeout, turn=place)
            except locks.Held as held:
                raise _refusal(session_id, held.holder, path) from None

    def _claimed(
        self,
        session_id: str,
        lock: locks.HeldLock,
        identity: tuple[int, int],
        state: Version | None = None,
        token: str | None = None,
        in_order: bool = False,
    ) -> FilesClaim:
        from sessionstore.storage.files.claim import FilesClaim

        return FilesClaim(
            self._layout,
            session_id,
            lock,
            identity,
            power=self._power,
            two_flushes=self._two_flushes,
            copies=self._copies,
            clock=self.clock,
            released=self._index.fold_released,
            state=state,
            token=token,
            in_order=in_order,
        )

    # --- creating --------------------------------------------------------------------------------

    def create(
        self, session_id: str, payload: bytes, owner: SessionOwner, *, journals: Journals = NONE
    ) -> Claim:
        from sessionstore.storage.files.create import build_session

        self._prepare()
        if self.exists(session_id):
            raise SessionExists(session_id, is_own=self._is_own(session_id))
        # The lock file is made together with the session: a full disk also stops new locks.
        try:
            lock = self._acquire(session_id, owner, 0.0)
        except SessionClaimed:
            # Its holder creates or deletes this session: wait for the result.
            deadline = time.monotonic() + _BUILDING
            while time.monotonic() < deadline:
                if self.exists(session_id):
                    raise SessionExists(session_id) from None
                time.sleep(0.005)
            raise
        try:
            built = build_session(
                self._layout,
                session_id,
                payload,
                power=self._power,
                two_flushes=self._two_flushes,
                journals=journals,
            )
        except BaseException:
            if not self.exists(session_id):
                lock.remove_file()
            lock.close()
            raise
        claim = self._claimed(
            session_id, lock, built.identity, built.state, built.token, in_order=True
        )
        claim.confirm()  # nobody else can hold a new session
        return claim

    def _is_own(self, session_id: str) -> bool:
        """Return whether this process is known to hold the session."""
        try:
            return identity.is_holding(self.probe(session_id).holder)
        except StorageError:
            return False

    # --- changes ---------------------------------------------------------------------------------

    def notifier(self, session_ids: Collection[str] | None) -> ChangeNotifier:
        from sessionstore.storage.files import changes

        return changes.FilesNotifier(self._layout, session_ids)

    # --- import ----------------------------------------------------------------------------------

    def importer(self) -> SessionImporter:
        self._prepare()
        from sessionstore.storage.files import importer

        released = self._index.fold_released
        return importer.FilesImporter(self._layout, self._acquire, self.clock, released)

    # --- check and repair ------------------------------------------------------------------------

    def claim_for_repair(self, session_id: str, owner: SessionOwner) -> Claim:
        return self._claim(session_id, owner, 0.0, tidy=False)

    def check_place(self, *, repair: bool) -> Iterator[Finding]:
        if repair and os.path.isdir(self._layout.sessions):
            with suppress(StorageError):  # then each repair says why it was refused
                self._prepare()
        with suppress(OSError):  # the check of the store names what is wrong with the root
            self._index.verify()
        from sessionstore.storage.files.repair.store import StoreCheck

        return StoreCheck(self._layout, repair=repair, now=self.clock).findings()

    def check_kept(self, session_id: str, claim: Claim | None, *, repair: bool) -> list[Finding]:
        in_use = claim is None and self.probe(session_id).held
        with self._opened(session_id) as directory, storage_errors("check", directory.path):
            from sessionstore.storage.files.repair import session

            return session.check_session(
                self._layout, session_id, directory, repair=repair, in_use=in_use, now=self.clock
            )

    def restore(self, claim: Claim, payload: bytes, revision: int, reason: str) -> str:
        from sessionstore.storage.files.repair import claimed_session

        return claimed_session.restore(self._layout, claim, payload, revision, reason, self.clock)

    def quarantine_checkpoint(self, claim: Claim, checkpoint_id: str | None, reason: str) -> str:
        from sessionstore.storage.files.repair import claimed_session

        return claimed_session.put_checkpoint(
            self._layout, claim, checkpoint_id, reason, self.clock
        )

    def quarantine_session(self, claim: Claim, reason: str) -> str:
        from sessionstore.storage.files.repair import claimed_session

        return claimed_session.put_session(self._layout, claim, reason, self.clock)

    def diagnose(self) -> Sequence[Diagnosis]:
        from sessionstore.storage.files.doctor import (
            environment,  # rarely needed, and slow to import
        )

        return environment.diagnose(self._layout.root, self.clock, two_flushes=self._two_flushes)

    def flushes(self) -> str:
        try:
            with Directory(self._layout.root, two_flushes=self._two_flushes) as root:
                return str(root.commit_order)
        except OSError:
            return ""

    # --- cleaning up -----------------------------------------------------------------------------

    def tidy(self) -> int:
        removed = store_marker.remove_unfinished_markers(self._layout)
        with suppress(OSError):
            removed += index_directory.remove_unused(self._layout)
        from sessionstore.storage.files import trash

        return removed + trash.empty(self._layout, self.probe)


def _refusal(session_id: str, holder: SessionOwner | None, path: str) -> SessionClaimed:
    """Return the error about a lock that is held: by its holder, or by who has it since."""
    reason = None
    if holder is not None:
        reason = liveness.why_orphaned(holder, path, names_heirs=True)
    return SessionClaimed(
        session_id,
        holder,
        reason=reason or "",
        is_orphaned=reason is not None,
        is_own=reason is None and identity.is_holding(holder),
    )
