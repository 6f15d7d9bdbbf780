"""The directory of a claimed session: each use proves first that the claim on it still holds."""

from __future__ import annotations

import os

from sessionstore.durable.directory import Directory
from sessionstore.errors import ClaimLost, SessionStoreError, StorageError
from sessionstore.storage.files.lock import HeldLock


class ClaimedDirectory:
    """A session's directory under its lock; it stays open between saves where that is cheap."""

    def __init__(
        self, session_id: str, path: str, identity: tuple[int, int], lock: HeldLock
    ) -> None:
        self.path: str = path
        self._session_id = session_id
        self._identity = identity
        self._lock = lock
        self._directory: Directory | None = None

    def opened(self, action: str, *, checks_lock: bool = True) -> Use:
        """Return the directory, to be used in a ``with`` block if the claim still holds.

        Raises:
            ClaimLost: it does not.
            StorageError: the system refused ``action``, now or in the block.
        """
        return Use(self, action, checks_lock=checks_lock)

    def check_held(self) -> None:
        """Raise ClaimLost unless the lock is ours, and the one at its path."""
        if self._lock.is_inherited:
            raise ClaimLost(self._session_id, "this is a forked child, the claim is its parent's")
        if not self._lock.is_in_place():
            self._lock.lose()
            raise ClaimLost(
                self._session_id,
                "the claim was released"
                if self._lock.is_closed
                else "its lock file was removed or replaced, so another may hold it",
            )

    def take(self) -> Directory:
        """Return the open directory, to be given back with :meth:`give_back`.

        Raises:
            ClaimLost: what is at its path is not, or no longer, the one that was claimed.
        """
        try:
            if self._directory is not None:
                status = os.lstat(self.path)
                identity = (status.st_dev, status.st_ino)
            else:
                self._directory = Directory(self.path)
                identity = self._directory.identity()
        except (FileNotFoundError, NotADirectoryError):
            raise ClaimLost(self._session_id, "its directory is gone") from None
        if identity != self._identity:
            self.close()
            raise ClaimLost(self._session_id, "its directory was replaced by another")
        return self._directory

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
        try:
            if self._checks_lock:
                self._claimed.check_held()
            return self._claimed.take()
        except OSError as error:
            raise StorageError(self._action, self._claimed.path, error) from error

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self._claimed.give_back()
        if isinstance(error, OSError) and not isinstance(error, SessionStoreError):
            if isinstance(error, FileNotFoundError):
                # Who came after a removed lock file takes ours for left over.
                self._claimed.check_held()
            raise StorageError(self._action, self._claimed.path, error) from error
