"""The contract of journals: append-only lists of records beside the state of a session."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from sessionstore.model.journal import JournalRecord, Position, Rewind


class Batch(NamedTuple):
    """What one append stored: its lines count all or not at all."""

    items: list[JournalRecord | Rewind]
    end: Position
    """Behind its last line; where the next read begins."""


class Appended(NamedTuple):
    """A batch that was appended, and may still have to be flushed."""

    number: int
    """Of its last line."""
    flush: object = None
    """What :meth:`JournalAppender.flush` needs to know of it; None if nothing is left to flush."""


class JournalAppender(ABC):
    """A journal of a claimed session, open to append to it. It ends with the claim.

    One thread at a time appends; several may wait for a flush at once, which they share.
    """

    @property
    @abstractmethod
    def last(self) -> int:
        """The number of the last line, 0 for none."""

    @property
    @abstractmethod
    def position(self) -> Position:
        """Where the last line that is known to survive a loss of power ends."""

    @abstractmethod
    def append(
        self, items: Sequence[bytes | Rewind], key: str | None, at: str, *, cancellable: bool
    ) -> Appended:
        """Append a batch of values, as JSON, and ways back; its last item gets the key.

        After an error nothing was appended. If the exception came from outside
        (KeyboardInterrupt), the next call finds out. With ``cancellable`` it is refused once this
        claim was asked to end.

        Raises:
            ClaimLost: the claim no longer gives the right to write.
            CancellationRequested: this claim was asked to end.
            RevisionConflict: somebody else changed the journal.
            StorageError: the place refused.
        """

    @abstractmethod
    def flush(self, appended: Appended | None = None) -> Position:
        """Have a batch survive a loss of power, or all of them; return :attr:`position`.

        Raises:
            DurabilityUncertain: it is there, and may not survive.
        """
