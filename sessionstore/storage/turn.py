"""The contract of a place in the line of those who wait for one session."""

from __future__ import annotations

from abc import ABC, abstractmethod

LIES_FREE = 0.25
"""Seconds for which a free session is left to the waiter whose turn it is. One that is stopped or
starves holds up the others no longer."""


class Turn(ABC):
    """A place in line that is kept from one attempt to claim to the next."""

    @abstractmethod
    def is_due(self) -> bool:
        """Return whether nobody waits ahead, and nobody holds the session."""

    @abstractmethod
    def pause(self) -> float:
        """Return after how many seconds to ask again."""

    @abstractmethod
    def close(self) -> None:
        """Give the place up. Safe to call twice."""
