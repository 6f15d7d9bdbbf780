"""A claimed session directory: replace its state, keep its checkpoints, notice what others do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from sessionstore.clock import Clock
from sessionstore.durable import replace
from sessionstore.durable.directory import Directory, Signature, flush
from sessionstore.errors import (
    ClaimLost,
    DurabilityUncertain,
    RevisionConflict,
    SessionCorrupt,
    SessionStoreError,
    StorageError,
)
from sessionstore.model import codec
from sessionstore.model.chance import random_hex
from sessionstore.storage.backend import Claim, Stored
from sessionstore.storage.files import cancel_request, state_file
from sessionstore.storage.files.checkpoint_file import linked, opened_checkpoints
from sessionstore.storage.files.index import live_names
from sessionstore.storage.files.layout import STATE, Layout, opened_trash
from sessionstore.storage.files.lock import HeldLock

_REPLACED_UNSEEN = (
    "its lock file was removed or replaced, so another may hold it; this last save replaced a state"
    " that the other may have written: look at what is stored before you write it again"
)


class _Opened:
    """A session's directory, in use under its claim; an OSError leaves it as a StorageError.

    A class, because the two generators that would say the same cost as much as a system call
    or two on each save.
    """

    def __init__(self, claim: FilesClaim, action: str, *, checks_lock: bool) -> None:
        self._claim = claim
        self._action = action
        self._checks_lock = checks_lock

    def __enter__(self) -> Directory:
        try:
            if self._checks_lock:
                self._claim.check_held()
            return self._claim.checked_directory()
        except OSError as error:
            raise StorageError(self._action, self._claim.directory, error) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._claim.put_directory_back()
        if isinstance(error, OSError) and not isinstance(error, SessionStoreError):
            if isinstance(error, FileNotFoundError):
                # Who came after a removed lock file takes ours for left over.
                self._claim.check_held()
            raise StorageError(self._action, self._claim.directory, error) from error


class FilesClaim(Claim):
    """The right to write one session directory: its lock, held."""

    def __init__(
        self,
        layout: Layout,
        session_id: str,
        lock: HeldLock,
        identity: tuple[int, int],
        *,
        power: bool,
        copies: bool,
        clock: Clock,
        released: Callable[[str, str], None],
        expected: Signature | None = None,
        token: str | None = None,
    ) -> None:
        super().__init__(session_id, lock.holder, lock.previous_holder)
        self._layout = layout
        self._path = layout.session(session_id)
        self._lock = lock
        self._identity = identity
        self._directory: Directory | None = None
        self._power = power
        self._copies = copies
        self._clock = clock
        self._released = released
        self._token = token or random_hex(8)
        self._is_live = token is not None
        self._expected = expected
        self._attempted: tuple[int, Signature] | None = None
        self._heeds_requests = False
        self._anchored = power  # in power mode every step was flushed as it was made

    @property
    def directory(self) -> Path:
        return Path(self._path)

    # --- reading and writing ---------------------------------------------------------------------

    def read(self) -> Stored:
        with self._opened("read") as directory:
            try:
                payload, found = state_file.read(directory, STATE, self.session_id)
            except FileNotFoundError:
                raise SessionCorrupt(
                    self.session_id, self._layout.state(self.session_id), "state.json is missing"
                ) from None
            if self._expected not in (None, found):
                raise self._conflict(directory, None)
            self._expected = found
        return Stored(payload, self._layout.state(self.session_id))

    def write(
        self,
        payload: bytes,
        revision: int,
        *,
        checkpoint_id: str | None = None,
        heeds_requests: bool = False,
    ) -> None:
        self._attempted = None
        self._heeds_requests = heeds_requests
        with self._opened("save", checks_lock=False) as directory:  # but before the swap
            self.name_live()
            if checkpoint_id is None:
                staged = replace.Staged(directory, payload, flush_file=self._power)
                self._swap(directory, staged, revision)
            else:
                self._anchor(directory)
                staged = replace.Staged(directory, payload, flush_file=True)
                with self._kept(directory, staged, payload, checkpoint_id):
                    self._swap(directory, staged, revision)
            if self._power:
                try:
                    directory.flush()
                except OSError as error:
                    raise DurabilityUncertain(self.session_id, revision, error) from error

    def _heed_request(self) -> None:
        request = cancel_request.find(self._layout, self.session_id, self.owner.token)
        if request is not None:
            raise request.to_error(self.session_id)

    def _swap(self, directory: Directory, staged: replace.Staged, revision: int) -> None:
        try:
            # Not before the staged file is there. If somebody deletes the lock file after this
            # look, whoever claims the session next removes what is left over, the staged file
            # included, before it reads the state: it reads what was swapped in, or nothing is
            # swapped in any more. Looked at earlier, two could write the same revision.
            self.check_held()
            if self._heeds_requests:
                self._heed_request()
            self._check_state(directory, revision - 1)
        except BaseException:
            staged.discard()
            raise
        assert self._expected is not None
        # Remembered before the swap: an exception from outside may come right after it.
        self._attempted = (revision, staged.signature)
        try:
            staged.swap_in(STATE, self._expected)
        except replace.Displaced:
            self._attempted = None
            self.check_held()
            raise self._conflict(directory, revision - 1) from None
        except replace.Unseen:
            # Either way what we wrote is in place, and a checkpoint of it has to stay.
            self._expected = staged.signature
            if not self._lock.is_in_place():
                # Who came after removed what it took for left over. Others may have been
                # told that they wrote this very revision: nobody is told so twice.
                raise ClaimLost(self.session_id, _REPLACED_UNSEEN) from None
            # Nobody else had the claim: some other software removed what we were about to.
        except FileNotFoundError:
            self._attempted = None
            self.check_held()  # who comes after a removed lock file takes ours for left over
            self._check_state(directory, revision - 1)
            raise
        except OSError:
            self._attempted = None
            raise
        except BaseException:
            self.took_effect(revision)
            raise
        self._expected = staged.signature

    @contextmanager
    def _kept(
        self, directory: Directory, staged: replace.Staged, payload: bytes, checkpoint_id: str
    ) -> Iterator[None]:
        """Keep the staged bytes as a checkpoint too, unless the block fails to swap them in."""
        name = f"{checkpoint_id}.json"
        try:
            with opened_checkpoints(directory) as checkpoints:
                try:
                    if self._copies or not linked(directory, staged.name, checkpoints, name):
                        replace.write_new(checkpoints, name, payload, flush_file=True)
                    # Durable before a state that refers to it can be seen.
                    checkpoints.flush()
                    yield
                except BaseException:
                    if self._expected != staged.signature:
                        with suppress(OSError):
                            checkpoints.unlink(name)
                    raise
        except BaseException:
            staged.discard()
            raise

    def took_effect(self, revision: int) -> bool:
        if self._attempted is None or self._attempted[0] != revision:
            return False
        signature = self._attempted[1]
        if self._expected != signature:
            try:
                with Directory(self._path) as directory:
                    found = Signature.of(directory.status(STATE))
            except OSError:
                return False
            if found == signature:
                self._expected = signature
        return self._expected == signature

    # --- checkpoints -----------------------------------------------------------------------------

    def keep_current(self, checkpoint_id: str) -> None:
        name = f"{checkpoint_id}.json"
        with self._opened("checkpoint") as directory:
            self._check_state(directory, None)
            self._anchor(directory)
            with opened_checkpoints(directory) as checkpoints:
                fd = directory.open(STATE, os.O_RDONLY)
                try:
                    flush(fd)  # in process mode, or by somebody else, it was not flushed
                finally:
                    os.close(fd)
                if self._copies or not linked(directory, STATE, checkpoints, name):
                    payload, _ = state_file.read(directory, STATE, self.session_id)
                    replace.write_new(checkpoints, name, payload, flush_file=True)
                checkpoints.flush()

    def checkpoint_ids(self) -> list[str]:
        with self._opened("list the checkpoints of") as directory:
            return state_file.checkpoint_ids(directory, self.session_id)

    def remove_checkpoint(self, checkpoint_id: str) -> None:
        with (
            self._opened("remove a checkpoint of") as directory,
            suppress(FileNotFoundError),
            Directory("checkpoints", directory) as checkpoints,
        ):
            checkpoints.unlink(f"{checkpoint_id}.json")

    def _anchor(self, directory: Directory) -> None:
        """Make the way to the checkpoints durable, once for each claim.

        A checkpoint survives a power loss in process mode too, but there nothing has flushed
        the names above it yet.
        """
        if not self._anchored:
            directory.flush()
            with Directory(self._layout.sessions) as parent:
                parent.flush()
            self._anchored = True

    # --- the end ---------------------------------------------------------------------------------

    def delete(self) -> None:
        trashed = f"{self.session_id}.{random_hex(8)}"
        with self._opened("delete"), Directory(self._layout.sessions) as sessions:
            with opened_trash(self._layout) as trash, self.leaving():
                replace.move_new(sessions, self.session_id, trash, trashed)
            # Before anything in it is removed: half a session must not come back (rmtree
            # without this comes back whole or in part after a power loss).
            try:
                sessions.flush()
            except OSError as error:
                self.release()
                raise DurabilityUncertain(self.session_id, None, error) from error
        self._lock.remove_file()
        self._end()
        shutil.rmtree(os.path.join(self._layout.trash, trashed), ignore_errors=True)

    def confirm(self) -> None:
        self._lock.confirm()
        if self.previous_owner is not None:  # it may have died before it could heed one
            cancel_request.remove(self._layout, self.session_id, self.previous_owner.token)

    def release(self) -> None:
        if self._lock.is_inherited or self._lock.is_closed:
            self._close_directory()
            self._lock.close()
            return
        self._lock.write_end(self._clock())
        self._end()

    def _end(self) -> None:
        self._close_directory()
        self._lock.close()
        # Only now: who asks, and then still sees the lock held, may leave it to us to clean up.
        cancel_request.remove(self._layout, self.session_id, self.owner.token)
        if self._is_live:
            self._released(self.session_id, self._token)

    # --- what the index has to know --------------------------------------------------------------

    def name_live(self) -> None:
        """Name the session as live, before its file changes for the first time in this claim."""
        if not self._is_live:
            live_names.add(self._layout, self.session_id, self._token)
            self._is_live = True

    @contextmanager
    def leaving(self) -> Iterator[None]:
        """Let the block move the session out of ``sessions/``."""
        with live_names.recorded_move(self._layout, self.session_id, self._token):
            yield
        self._is_live = True

    # --- is it still ours? -----------------------------------------------------------------------

    def _opened(self, action: str, *, checks_lock: bool = True) -> _Opened:
        """Return the session's directory, to be used if the claim on it still holds."""
        return _Opened(self, action, checks_lock=checks_lock)

    def checked_directory(self) -> Directory:
        """Return the session's directory, to be given back with :meth:`put_directory_back`.

        Raises:
            ClaimLost: what is at its path is not, or no longer, the one that was claimed.
        """
        try:
            if self._directory is not None:
                status = os.lstat(self._path)
                identity = (status.st_dev, status.st_ino)
            else:
                self._directory = Directory(self._path)
                identity = self._directory.identity()
        except (FileNotFoundError, NotADirectoryError):
            raise ClaimLost(self.session_id, "its directory is gone") from None
        if identity != self._identity:
            self._close_directory()
            raise ClaimLost(self.session_id, "its directory was replaced by another")
        return self._directory

    def put_directory_back(self) -> None:
        """Keep the directory open for the next save, unless descriptors are getting scarce."""
        directory = self._directory
        if directory is not None and not directory.is_cheap_to_keep:
            self._close_directory()

    def _close_directory(self) -> None:
        directory, self._directory = self._directory, None
        if directory is not None:
            directory.close()

    def check_held(self) -> None:
        """Raise ClaimLost unless the lock is ours, and the one at its path."""
        if self._lock.is_inherited:
            raise ClaimLost(self.session_id, "this is a forked child, the claim is its parent's")
        if not self._lock.is_in_place():
            raise ClaimLost(
                self.session_id,
                "the claim was released"
                if self._lock.is_closed
                else "its lock file was removed or replaced, so another may hold it",
            )

    def _check_state(self, directory: Directory, expected_revision: int | None) -> None:
        try:
            found = Signature.of(directory.status(STATE))
        except FileNotFoundError:
            found = None
        if found is None or found != self._expected:
            raise self._conflict(directory, expected_revision)

    def _conflict(self, directory: Directory, expected: int | None) -> RevisionConflict:
        found = None
        detail = "state.json was removed"
        with suppress(OSError, SessionStoreError):
            payload, _ = state_file.read(directory, STATE, self.session_id)
            found = codec.peek_revision(payload)
            detail = "something else, which holds no claim, changed state.json"
        return RevisionConflict(self.session_id, expected=expected, found=found, detail=detail)
