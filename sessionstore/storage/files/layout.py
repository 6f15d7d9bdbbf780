"""The paths and names below the root of a store."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sessionstore.durable import directory, making, replace
from sessionstore.errors import StorageError
from sessionstore.model.ids import is_id

MARKER = "sessionstore.json"
STATE = "state.json"
JOURNALS = "journals"
JOURNAL_SUFFIX = ".jsonl"
QUARANTINE = "quarantine"
_BUILT = re.compile(
    re.escape(replace.TEMPORARY_PREFIX) + r"[0-9a-f]{16}-(?P<session_id>.+)", re.ASCII
)
_RANDOM = re.compile(r"[0-9a-f]{16}", re.ASCII)


@dataclass(frozen=True)
class Layout:
    """The paths of a store, as text: they are joined on every save."""

    root: str

    @property
    def marker(self) -> str:
        """The file that marks and versions a store."""
        return os.path.join(self.root, MARKER)

    @property
    def sessions(self) -> str:
        """One directory for each session."""
        return os.path.join(self.root, "sessions")

    @property
    def locks(self) -> str:
        """One lock file for each session that was ever claimed."""
        return os.path.join(self.root, "locks")

    @property
    def trash(self) -> str:
        """Deleted sessions until they are removed, and sessions that are being built."""
        return os.path.join(self.root, "trash")

    @property
    def quarantine(self) -> str:
        """What was damaged, each thing with the reason beside it. The first makes it."""
        return os.path.join(self.root, QUARANTINE)

    @property
    def directories(self) -> tuple[str, str, str]:
        """The directories that every store has in its root."""
        return self.sessions, self.locks, self.trash

    def session(self, session_id: str) -> str:
        """The directory of a session."""
        return os.path.join(self.root, "sessions", session_id)

    def state(self, session_id: str) -> str:
        """The state file of a session."""
        return os.path.join(self.root, "sessions", session_id, STATE)

    def checkpoints(self, session_id: str) -> str:
        """The checkpoints of a session."""
        return os.path.join(self.root, "sessions", session_id, "checkpoints")

    def lock(self, session_id: str) -> str:
        """The lock file of a session."""
        return os.path.join(self.root, "locks", session_id + ".lock")

    def request(self, session_id: str, token: str) -> str:
        """The file of a request to cancel, made to the claim of ``token``."""
        return os.path.join(self.root, "locks", f"{session_id}.{token}.cancel")


def refuse_link(place: str) -> None:
    """Refuse a directory of a store, such as sessions/, that is a symbolic link.

    A system call refuses only a link that ends a path, and so not one in the middle.

    Raises:
        StorageError: ``place`` is a symbolic link.
    """
    if os.path.islink(place):
        raise StorageError("use the store", place, directory.LINK_IN_STORE)


@contextmanager
def opened_trash(layout: Layout) -> Iterator[directory.Directory]:
    """Open trash/; make it again if somebody removed it."""
    try:
        trash = directory.Directory(layout.trash)
    except FileNotFoundError:
        making.make_directory(layout.trash)
        trash = directory.Directory(layout.trash)
    with trash:
        yield trash


def built_session(name: str) -> str | None:
    """Return the id of the session that is being built in the entry ``name`` of trash/, if any."""
    found = _BUILT.fullmatch(name)
    return found["session_id"] if found and is_id(found["session_id"]) else None


def is_trashed(name: str) -> bool:
    """Return whether this package gave an entry of trash/ its name."""
    session_id, _, random = name.rpartition(".")
    deleted = is_id(session_id) and _RANDOM.fullmatch(random) is not None
    return deleted or built_session(name) is not None
