"""The contract of journals: append-only lists of records beside the state of a session."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sessionstore.model.journal import JournalRecord, Position, Rewind

Journals = Mapping[str, Iterable[Sequence[JournalRecord | Rewind]]]
"""Journals by name, each as the batches that it holds, with their numbers."""

NONE: Journals = {}
"""No journals."""


class Batch(NamedTuple):
    """What one append stored: its lines count all or not at all."""

    items: list[JournalRecord | Rewind]
    end: Position
    """Behind its last line; where the next read begins."""


class Appended(NamedTuple):
    """A batch that was appended, and may still have to be flushed."""

    number: int
    """Of its last line."""
    flush: Any = None
    """What :meth:`JournalAppender.flush` needs to know of it; None if nothing is left to flush."""


class JournalAppender(ABC):
    """A journal of a claimed session, open to append to it. It ends with the claim.

    One thread at a time appends; several may wait for a flush at once, which they share.
    """

    @property
    @abstractmethod
    def end(self) -> Position:
        """Where the last line ends."""

    @property
    @abstractmethod
    def flushed(self) -> Position:
        """Where the last line that is known to survive a loss of power ends."""

    @abstractmethod
    def append(
        self, items: Sequence[bytes | Rewind], key: str | None, at: str, *, cancellable: bool
    ) -> Appended:
        """Append a batch of values, as JSON, and ways back; its last item gets the key.

        A way back becomes the line :attr:`Rewind.number`, which is behind the last. After an error
        nothing was appended. If the exception came from outside (KeyboardInterrupt), the next call
        finds out. With ``cancellable`` it is refused once this claim was asked to end.

        Raises:
            ClaimLost: the claim no longer gives the right to write.
            CancellationRequested: this claim was asked to end.
            RevisionConflict: somebody else changed the journal.
            StorageError: the place refused.
        """

    @abstractmethod
    def flush(self, appended: Appended | None = None) -> None:
        """Have a batch be as durable as the store promises; without one, all survive a power cut.

        Several threads may flush a batch at once. All are flushed by one, which appends nothing
        meanwhile.

        Raises:
            DurabilityUncertain: it is there, and may not survive.
            StorageError: the place refused to write a journal anew whose flush has failed.
        """
