"""A verdict on the owner of a session: alive, dead or unknown, with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it loads pydantic: a listing that meets no owner record does without
    from sessionstore.model.state import SessionOwner


class Verdict(StrEnum):
    """Whether the owner of a session lives."""

    ALIVE = "alive"
    """A live process holds the session."""
    DEAD = "dead"
    """It is certain that no live process holds it."""
    UNKNOWN = "unknown"
    """Nobody can tell from here."""


@dataclass(frozen=True, slots=True)
class Liveness:
    """A verdict on the owner of a session.

    Examples:
        >>> liveness = store.liveness("ticket-1")
        >>> liveness.is_dead, liveness.reason
        (True, 'nobody holds it (paused)')
    """

    verdict: Verdict
    """Alive, dead or unknown."""
    reason: str
    """How that is known, in words."""
    owner: SessionOwner | None = None
    """The owner record that was judged, or None."""
    is_orphaned: bool = False
    """Whether that owner is gone, and another process still has its lock."""

    @property
    def is_alive(self) -> bool:
        """Whether a live process holds the session."""
        return self.verdict is Verdict.ALIVE

    @property
    def is_dead(self) -> bool:
        """Whether it is certain that no live process holds the session."""
        return self.verdict is Verdict.DEAD

    @property
    def is_unknown(self) -> bool:
        """Whether nobody can tell from here."""
        return self.verdict is Verdict.UNKNOWN

    def __str__(self) -> str:
        return f"{self.verdict}: {self.reason}"
