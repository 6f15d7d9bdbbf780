"""The contract of a claim: the right to write one session, and all that it allows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from sessionstore.errors import StorageError
from sessionstore.model.stored import Stored
from sessionstore.model.summary import SessionSummary

if TYPE_CHECKING:  # what a listing does without
    from pathlib import Path

    from sessionstore.model.state import SessionOwner


class Claim(ABC):
    """The right to write one session. It ends with :meth:`release`, or with the process.

    A claim is used by one thread at a time: the session above it queues its saves.
    """

    def __init__(
        self, session_id: str, owner: SessionOwner, previous_owner: SessionOwner | None
    ) -> None:
        self.session_id: str = session_id
        self.owner: SessionOwner = owner
        self.previous_owner: SessionOwner | None = previous_owner
        """Who held the session before, as far as that was recorded."""

    @property
    def directory(self) -> Path:
        """Where the application may keep files beside the state.

        Raises:
            StorageError: this backend has no directories.
        """
        raise StorageError("find the directory of", self.session_id, "this store keeps no files")

    @abstractmethod
    def read(self) -> Stored:
        """Return the stored state; the first read sets what the first write replaces.

        Raises:
            RevisionConflict: it is not what this claim read or wrote last.
            ClaimLost, SessionCorrupt, StorageError: it cannot be read.
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
        """Replace the stored state by ``payload``, which is of ``revision``.

        - A reader sees the old bytes or the new, never a mix.
        - What is replaced is what this claim read or wrote last; else nothing changes.
        - On return the new state survives the death of the process, and as much more as the
          durability of the store says.
        - With ``checkpoint_id`` the same bytes are kept under that name too, durably, before
          the state that refers to it can be seen.
        - After any other exception than DurabilityUncertain nothing has changed, except where
          it came from outside (KeyboardInterrupt): then ask :meth:`took_effect`.
        - With ``cancellable`` it is refused, each time, once somebody has asked this very
          claim to end; a request to another claim on the session, before or after, is nothing
          to it. Looking for one costs next to nothing.

        Raises:
            CancellationRequested: see above; nothing was changed.
            ClaimLost: this claim no longer gives the right to write.
            RevisionConflict: the stored state was changed by somebody else; it was kept.
            DurabilityUncertain: the new state is visible, but may not survive a power loss.
            StorageError: the place refused.
        """

    @abstractmethod
    def took_effect(self, revision: int) -> bool:
        """Return whether the write of ``revision``, which was interrupted, took place after all.

        Asked before the next write only.
        """

    @abstractmethod
    def keep_current(self, checkpoint_id: str) -> None:
        """Keep the state as it is stored now as a checkpoint, durably.

        Raises:
            ClaimLost, RevisionConflict, StorageError: as for :meth:`write`.
        """

    @abstractmethod
    def checkpoint_ids(self) -> list[str]:
        """Return the ids of the session's checkpoints, in any order."""

    @abstractmethod
    def remove_checkpoint(self, checkpoint_id: str) -> None:
        """Remove a checkpoint; one that is not there is no error."""

    @abstractmethod
    def delete(self) -> None:
        """Delete the session and end the claim.

        The session is there, complete, or it is gone, also after a crash.
        """

    def confirm(self) -> None:  # noqa: B027 - nothing to do where refusals name nobody wrongly
        """Say that the claim stands: the state allows it. A claim that ends without was a look.

        Those who are refused meanwhile are told who holds the session, not who looked at it.
        """

    @abstractmethod
    def release(self, summary: SessionSummary | None = None) -> None:
        """End the claim; safe to call twice, and after a fork, where it ends nothing.

        ``summary`` is that of the state that this claim wrote last, where it is at hand: a place
        that keeps an index need not read it again.
        """
