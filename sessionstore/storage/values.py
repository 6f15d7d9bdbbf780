"""What a backend and the store tell each other: plain values, which say nothing of the place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sessionstore.errors import CancellationRequested
from sessionstore.model.summary import SessionSummary

if TYPE_CHECKING:  # it loads pydantic, which a listing does without
    from sessionstore.model.state import SessionOwner


class CountsAndPages(NamedTuple):
    """Counts and listings of a store, as far as the states of its sessions say."""

    counts: Sequence[int]
    """How many match each of the queries to count."""
    items: Sequence[Sequence[SessionSummary]]
    """The first of those that match each of the queries to list, in its order."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether somebody holds the claim on a session right now."""

    held: bool
    holder: SessionOwner | None = None
    """Who holds it, or held it last, as far as that was recorded."""
    released: bool = False
    """Whether ``holder`` is known to have given it back."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a session takes where it is kept, in bytes; what several names share counts once."""

    bytes: int
    """All of it: state, checkpoints, the application's files, directories."""
    checkpoints: int = 0
    """How many checkpoints there are."""
    checkpoint_bytes: int = 0
    """What the checkpoints take beside the state: one that shares its bytes takes none."""
    application_bytes: int = 0
    """What the application's own files take."""
    shared_bytes: int = 0
    """What would stay if the session were deleted: files that have names elsewhere, too."""


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """What somebody asks of the holder of one claim, which ``token`` names."""

    token: str
    reason: str | None = None
    at: str = ""
    by: SessionOwner | None = None

    def to_error(self, session_id: str) -> CancellationRequested:
        """Return what the holder's next save raises."""
        return CancellationRequested(session_id, self.reason, requested_at=self.at, by=self.by)


@dataclass(frozen=True, slots=True)
class ApplicationFile:
    """What an application keeps beside a state: a file, a directory, or something else."""

    name: str
    """Below the session, with ``/`` between the names."""
    is_directory: bool = False
    is_executable: bool = False
    mtime: int = 0
    """When it was last changed, in seconds since 1970."""
    omitted: str | None = None
    """Why it is not to be read (a link, a socket), or None."""
