"""A verdict on the owner of a session: alive, dead or unknown, with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # loaded by who makes a record: what only looks at places does without pydantic
    from sessionstore.model.state import SessionOwner


class Verdict(StrEnum):
    """Whether the owner of a session lives. What cannot be known is UNKNOWN."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Liveness:
    """A verdict on the owner of a session, with the reason in words."""

    verdict: Verdict
    reason: str
    owner: SessionOwner | None = None

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
        """Whether it cannot be known from here."""
        return self.verdict is Verdict.UNKNOWN

    def __str__(self) -> str:
        return f"{self.verdict}: {self.reason}"
