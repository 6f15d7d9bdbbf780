"""The directory of a claimed session, and the state in it as the claim left it.

Each use proves first that the claim still holds. Numbers that differ are a reason to look, not a
proof: see durable/version.py.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from sessionstore.durable import mounts
from sessionstore.durable.directory import Directory
from sessionstore.durable.replace import temporary_name
from sessionstore.durable.version import Version
from sessionstore.errors import ClaimLost, RevisionConflict, SessionStoreError, StorageError
from sessionstore.model import codec
from sessionstore.storage.files import last_word, state_file
from sessionstore.storage.files.layout import STATE
from sessionstore.storage.files.lock import HeldLock


class ClaimedDirectory:
    """A session's directory under its lock; it stays open between saves where that is cheap."""

    def __init__(
        self,
        session_id: str,
        path: str,
        identity: tuple[int, int],
        lock: HeldLock,
        state: Version | None,
        *,
        in_order: bool,
        two_flushes: str,
    ) -> None:
        self.path: str = path
        self.is_in_order: bool = in_order
        """Whether no temporary file lies about, as far as this claim knows."""
        self.state: Version | None = state
        """The state file as this claim read or wrote it last; None before that."""
        self._session_id = session_id
        self._identity = identity
        self._lock = lock
        self._two_flushes = two_flushes
        self._directory: Directory | None = None

    def opened(self, action: str, *, checks_lock: bool = True) -> Use:
        """Return the directory, to be used in a ``with`` block if the claim still holds.

        Raises:
            ClaimLost: it does not.
            StorageError: the system refused ``action``, now or in the block.
        """
        return Use(self, action, checks_lock=checks_lock)

    def last_word(self) -> dict[str, Any] | None:
        """Return the word that the session is left in order; None if it is not."""
        return last_word.give(self.path, self._lock.identity) if self.is_in_order else None

    def check_held(self) -> None:
        """Raise ClaimLost unless the lock is ours, and the one at its path."""
        if self._lock.is_inherited:
            raise ClaimLost(
                self._session_id, "this is a forked child: the claim belongs to its parent"
            )
        if not self._lock.is_in_place():
            self._lock.lose()
            raise ClaimLost(
                self._session_id,
                "its claim was released"
                if self._lock.is_closed
                else "its lock file was removed or replaced, so another may hold it",
            )

    def take(self) -> Directory:
        """Return the open directory, to be given back with :meth:`give_back`.

        Raises:
            ClaimLost: what is at its path is not, or no longer, the one that was claimed.
            RevisionConflict: nobody can tell, and the state in it is not the one that was left.
        """
        self._lock.resume_use()
        was_open = self._directory is not None
        try:
            if self._directory is not None:
                status = os.lstat(self.path)
                identity = (status.st_dev, status.st_ino)
            else:
                self._directory = Directory(self.path, two_flushes=self._two_flushes)
                identity = self._directory.identity()
        except (FileNotFoundError, NotADirectoryError):
            raise ClaimLost(self._session_id, "its directory is gone") from None
        if identity != self._identity:
            is_ours = False
            try:
                is_ours = self._is_still_ours(self._directory, was_open=was_open)
            finally:
                if not is_ours and not was_open:
                    self.close()
            if not is_ours:
                raise ClaimLost(self._session_id, "its directory was replaced by another")
            self._identity = identity
        return self._directory

    def _is_still_ours(self, directory: Directory, *, was_open: bool) -> bool:
        """Return whether the directory at the path is the claimed one under another number.

        A file that is made through the open descriptor shows up below the path, or it does not. A
        directory that was not kept open is known by its state, on file systems that give out new
        numbers: elsewhere another number means another directory, perhaps a copy.
        """
        # Race: Copy in the place of the original. Only the open directory shows its new file.
        if os.path.islink(self.path) or os.path.islink(os.path.dirname(self.path)):
            return False
        try:
            if was_open:
                name = temporary_name()
                os.close(directory.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
                try:
                    return os.path.lexists(os.path.join(self.path, name))
                finally:
                    directory.unlink(name)
            if mounts.keeps_inodes(self.path):
                return False
        except FileNotFoundError:  # it was removed
            return False
        # As long as nothing was read, whatever lies under the lock is what was claimed.
        if self.state is not None:
            self.check_state(directory, None)
        return True

    def check_state(self, directory: Directory, expected_revision: int | None) -> Version:
        """Return the version of the state file; raise RevisionConflict unless we left it so."""
        try:
            found = self.state and self.state.found_at(directory, STATE)
        except FileNotFoundError:
            found = None
        if found is None:
            raise self.conflict(directory, expected_revision)
        self.state = found
        return found

    def conflict(self, directory: Directory, expected: int | None) -> RevisionConflict:
        """Return the error for a state file that is not the one that was left."""
        found = None
        detail = "state.json was removed"
        with suppress(OSError, SessionStoreError):
            payload, _ = state_file.read(directory, STATE, self._session_id)
            found = codec.peek_revision(payload)
            detail = "something else, which holds no claim, changed state.json"
        return RevisionConflict(self._session_id, expected=expected, found=found, detail=detail)

    def give_back(self) -> None:
        """Keep the directory open for the next save, unless descriptors are getting scarce."""
        directory = self._directory
        if directory is not None and not directory.is_cheap_to_keep:
            self.close()

    def close(self) -> None:
        """Close the descriptor; the next use opens the directory again."""
        directory, self._directory = self._directory, None
        if directory is not None:
            directory.close()


class Use:
    """One use of the directory; an OSError leaves it as a StorageError.

    A class, because the two generators that would say the same cost as much as a system call
    or two on each save.
    """

    def __init__(self, claimed: ClaimedDirectory, action: str, *, checks_lock: bool) -> None:
        self._claimed = claimed
        self._action = action
        self._checks_lock = checks_lock

    def __enter__(self) -> Directory:
        claimed = self._claimed
        self._was_in_order = claimed.is_in_order
        claimed.is_in_order = False  # until this use has come to a good end
        try:
            if self._checks_lock:
                claimed.check_held()
            self._directory = claimed.take()
            return self._directory
        except OSError as error:
            raise StorageError(self._action, self._claimed.path, error) from error

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if kind is None and not self._directory.has_leftover:
            self._claimed.is_in_order = self._was_in_order
        self._claimed.give_back()
        if isinstance(error, OSError) and not isinstance(error, SessionStoreError):
            if isinstance(error, FileNotFoundError):
                # Who came after a removed lock file takes ours for left over.
                self._claimed.check_held()
            raise StorageError(self._action, self._claimed.path, error) from error
