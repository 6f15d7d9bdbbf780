"""The contract of a claim: the right to write one session."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from sessionstore.errors import StorageError
from sessionstore.model.journal import Position
from sessionstore.model.stored import Stored
from sessionstore.storage.journal import JournalAppender

if TYPE_CHECKING:  # what a listing does without
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from sessionstore.model.journal import JournalRecord, Rewind
    from sessionstore.model.mending import ForeignValue
    from sessionstore.model.state import SessionOwner


class Claim(ABC):
    """The right to write one session. It ends with :meth:`release`, or with the process.

    One thread at a time uses a claim: the session above it queues its saves.
    """

    keeps_last_save: bool = True
    """Whether a session that stops without a checkpoint keeps its last state as one. Not where
    other software writes, too: nothing is added to its sessions."""

    def __init__(
        self, session_id: str, owner: SessionOwner, previous_owner: SessionOwner | None
    ) -> None:
        self.session_id: str = session_id
        self.owner: SessionOwner = owner
        self.previous_owner: SessionOwner | None = previous_owner
        """The last recorded holder before this one."""
        self.foreign_values: Sequence[ForeignValue] = ()
        """What JSON or UTF-8 lacks in the state that :meth:`read` returned last: the next write
        replaces it. Its bytes have to be kept first."""

    @property
    def directory(self) -> Path:
        """The directory in which the application may keep files beside the state.

        Raises:
            StorageError: this backend has no directories.
        """
        raise StorageError("find the directory of", self.session_id, "this store keeps no files")

    @abstractmethod
    def read(self) -> Stored:
        """Return the stored state, which is what the next write replaces.

        Raises:
            RevisionConflict: the state is not what this claim read or wrote last.
            ClaimLost: the state cannot be read.
            SessionCorrupt: the state cannot be read.
            StorageError: the state cannot be read.
        """

    @abstractmethod
    def write(
        self,
        payload: bytes,
        revision: int,
        *,
        checkpoint_id: str | None = None,
        cancellable: bool = False,
    ) -> None:
        """Replace the stored state by ``payload`` of ``revision``.

        - A reader sees the old bytes or the new, never a mix.
        - Only the state that this claim read or wrote last is replaced; otherwise nothing changes.
        - On return the new state survives the death of the process, and as much more as the
          durability of the store says.
        - With ``checkpoint_id`` the same bytes become that checkpoint, durably, before anybody
          can see the state that refers to it.
        - After any exception but DurabilityUncertain nothing has changed. If the exception came
          from outside (KeyboardInterrupt), ask :meth:`took_effect`.
        - With ``cancellable`` every write is refused once this claim was asked to end. Requests to
          other claims on the session do not matter. Looking for one costs next to nothing.

        Raises:
            CancellationRequested: see above; nothing was changed.
            ClaimLost: this claim no longer gives the right to write.
            RevisionConflict: somebody else changed the stored state, which was kept.
            DurabilityUncertain: the new state is visible, but may not survive a power loss.
            StorageError: the place refused.
        """

    @abstractmethod
    def took_effect(self, revision: int) -> bool:
        """Return whether the interrupted write of ``revision`` took place.

        Ask before the next write.
        """

    @abstractmethod
    def keep_current(self, checkpoint_id: str) -> None:
        """Make the stored state a checkpoint, durably.

        Raises:
            ClaimLost: as for :meth:`write`.
            RevisionConflict: as for :meth:`write`.
            StorageError: as for :meth:`write`.
        """

    def keep_original(self, reason: str) -> str:
        """Keep a copy of the stored state in quarantine, with the reason; return its place.

        Keep the same bytes once only. Return "" if this backend has no quarantine.

        Raises:
            ClaimLost: as for :meth:`write`.
            StorageError: as for :meth:`write`.
        """
        del reason
        return ""

    @abstractmethod
    def checkpoint_ids(self) -> list[str]:
        """Return the ids of the session's checkpoints, in any order."""

    @abstractmethod
    def remove_checkpoint(self, checkpoint_id: str) -> None:
        """Remove a checkpoint; a missing one is no error."""

    @abstractmethod
    def open_journal(self, name: str, saved: Position) -> JournalAppender:
        """Return a journal, open to append to it; it is made if it is missing.

        ``saved`` is where the stored state says that it ends: the look for its end begins there.
        What follows the last whole batch is erased. It ends with the claim.

        Raises:
            ClaimLost: this claim no longer gives the right to write.
            SessionClaimed: another process appends to it, which lost its claim.
            SessionCorrupt: it is damaged.
            StorageError: the place refused.
        """

    def rewrite_journal(
        self, name: str, batches: Iterable[Sequence[JournalRecord | Rewind]]
    ) -> None:
        """Replace a journal, which this claim has not opened, by ``batches`` of its lines.

        - They keep their numbers, keys and times; the space of all other lines is freed.
        - The journal is the old one or the new one, also after a crash; it is as durable as before.
        - A checkpoint that was removed before does not come back after a crash.
        - ``batches`` may be read from that very journal, meanwhile.
        - A place that keeps no journals in a form of its own may leave this out.

        Raises:
            ClaimLost: nothing was changed.
            SessionClaimed: another process appends to it, which lost its claim.
            StorageError: nothing was changed, or what was may not survive a power loss.
        """
        del batches
        raise StorageError(
            "free the space of", f"{self.session_id}/{name}", "this store does not support it"
        )

    @abstractmethod
    def delete(self) -> None:
        """Delete the session and end the claim.

        The session is complete or gone, also after a crash.
        """

    def confirm(self) -> None:  # noqa: B027 - a place whose refusals name nobody has nothing to do
        """Confirm the claim, once the state was found to allow it.

        A claim that ends unconfirmed was only a look. Others that are refused meanwhile learn who
        holds the session, not who looked at it.
        """

    @abstractmethod
    def release(self) -> None:
        """End the claim. Safe to call twice, and in a forked child, where it ends nothing."""
