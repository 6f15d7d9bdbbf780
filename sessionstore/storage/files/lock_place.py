"""Where the locks of a store lie: what a free one proves, and whether the store is a copy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sessionstore.durable import mounts
from sessionstore.storage.files.layout import Layout

if TYPE_CHECKING:
    from sessionstore.model.state import SessionOwner


class LockPlace:
    """The directory of the locks, as the file system shows it now: it may be mounted anew."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._kinds: dict[tuple[int, int], str] = {}
        self.last_seen: dict[str, str | None] = {}
        """The last answer of :meth:`describe`; at first, nothing is known."""

    def describe(self) -> dict[str, str | None]:
        """Return the fields of an owner record that say where its lock lies."""
        kind = self._kind()
        self.last_seen = {
            "file_system": None if kind == mounts.UNKNOWN else kind,
            "root": self._root_name(),
            "root_id": _identity(self._layout.root),
        }
        return self.last_seen

    def is_local(self) -> bool:
        """Return whether one kernel has all the locks of this store."""
        return mounts.has_one_kernel(self._kind())

    def lock_is_proof(self, owner: SessionOwner) -> bool:
        """Return whether a free lock proves that ``owner`` does not hold it.

        The same files may be seen through two mounts, whose locks are separate: the upper directory
        of an overlay and the overlay itself. Then the two are of different kinds.
        """
        kind = self._kind()
        return mounts.has_one_kernel(kind) and owner.file_system in (None, kind)

    def is_copy(self, owner: SessionOwner) -> bool:
        """Return whether ``owner`` claimed the session in the store that this one is a copy of.

        A store that was renamed is the same directory. A store that is reached by another path
        (a link, a bind mount) is so, too. A restored backup has the same path.
        """
        here = _identity(self._layout.root)
        if None in (owner.root, owner.root_id, here):
            return False
        if owner.root == self._root_name() or owner.root_id == here:
            return False
        # An overlay may renumber a directory: only one that can be seen is known to be another.
        return self._kind() != "overlay" or _identity(str(owner.root)) == owner.root_id

    def _root_name(self) -> str:
        return os.fsencode(self._layout.root).decode("utf-8", "backslashreplace")

    def _kind(self) -> str:
        locks = self._layout.locks
        path = locks if os.path.isdir(locks) else self._layout.root
        try:
            status = os.stat(path)
        except OSError:  # the root is not made yet
            return mounts.kind_of(path)
        key = (status.st_dev, status.st_ino)
        if key not in self._kinds:
            kind = mounts.kind_of(path)
            if kind == mounts.UNKNOWN:
                return kind  # perhaps only for the moment
            self._kinds[key] = kind
        return self._kinds[key]


def _identity(path: str) -> str | None:
    """Return the device and inode of a directory, as text; None if they cannot be read."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return f"{status.st_dev}:{status.st_ino}"
