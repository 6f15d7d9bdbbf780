"""The values that cross the contract: they say nothing about the place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sessionstore.errors import CancellationRequested
from sessionstore.model.summary import SessionSummary

if TYPE_CHECKING:  # it loads pydantic, which a listing does without
    from sessionstore.model.state import SessionOwner


class CountsAndPages(NamedTuple):
    """Counts and listings of a store, from the states of its sessions."""

    counts: Sequence[int]
    """How many match each of the queries to count."""
    items: Sequence[Sequence[SessionSummary]]
    """The first of those that match each of the queries to list, in its order."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether a claim on a session is held right now."""

    held: bool
    holder: SessionOwner | None = None
    """The holder, or the last one that was recorded."""
    released: bool = False
    """Whether ``holder`` is known to have released it."""
    file: str | None = None
    """The lock file, where there is one: it leads to the processes that have it open."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The space that a session takes, in bytes; bytes with several names count once."""

    bytes: int
    """State, checkpoints, journals, the application's files and directories together."""
    checkpoints: int = 0
    """How many checkpoints there are."""
    checkpoint_bytes: int = 0
    """The space of the checkpoints; one that shares the bytes of the state takes none."""
    application_bytes: int = 0
    """The space of the application's own files."""
    shared_bytes: int = 0
    """The space that a delete would not free: files that also have names elsewhere."""
    journals: int = 0
    """How many journals there are."""
    journal_bytes: int = 0
    """The space of the journals."""


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """A request to the holder of one claim, which ``token`` names, to end its session."""

    token: str
    reason: str | None = None
    at: str = ""
    by: SessionOwner | None = None
    user: str | None = None
    """The name of the user who asked, as the system of the process ``by`` knows it."""

    def to_error(self, session_id: str) -> CancellationRequested:
        """Return what the holder's next save raises."""
        return CancellationRequested(session_id, self.reason, requested_at=self.at, by=self.by)


@dataclass(frozen=True, slots=True)
class ApplicationFile:
    """Something that an application keeps beside a state: a file, a directory, or a link."""

    name: str
    """The path below the session, with ``/`` between the names."""
    is_directory: bool = False
    is_executable: bool = False
    mtime: int = 0
    """When it was last changed, in seconds since 1970."""
    omitted: str | None = None
    """Why it cannot be read (a link, a socket), or None."""
