"""A claim as its session uses it: in the process that took it, until it ends."""

from __future__ import annotations

import os

from sessionstore.errors import ClaimLost, DurabilityUncertain
from sessionstore.model.state import SessionOwner
from sessionstore.session.prepared_write import PreparedWrite
from sessionstore.storage.backend import Backend
from sessionstore.storage.claim import Claim
from sessionstore.storage.journal import Journals


class HeldClaim:
    """The claim of one session object. There is none before the session is created."""

    def __init__(self, session_id: str, claim: Claim | None, owner: SessionOwner | None) -> None:
        self._session_id = session_id
        self._claim = claim
        self.owner: SessionOwner = owner or self.claim.owner
        """The owner record of the claim."""
        self.is_released: bool = False
        """Whether the claim has ended."""
        self._ending: str | None = None
        """How the claim ended, as far as a write ended it."""
        self._pid = os.getpid()

    @property
    def claim(self) -> Claim:
        """The claim; raise ClaimLost if the session was not created."""
        if self._claim is None:
            raise ClaimLost(self._session_id, "it was not created")
        return self._claim

    @property
    def is_usable(self) -> bool:
        """Whether it has not ended, and this is no forked child."""
        return not self.is_released and os.getpid() == self._pid

    def check_usable(self) -> None:
        """Raise ClaimLost unless it is usable."""
        if os.getpid() != self._pid:
            raise ClaimLost(
                self._session_id,
                f"this is a forked child: the claim belongs to its parent, pid {self._pid}",
            )
        if self.is_released:
            how = (
                f"its claim has ended: {self._ending}" if self._ending else "its claim was released"
            )
            raise ClaimLost(self._session_id, how)

    def create(self, backend: Backend, first: PreparedWrite, journals: Journals) -> None:
        """Create the session with its first write, and with ``journals``.

        Raises what :meth:`sessionstore.storage.backend.Backend.create` raises.
        """
        owner = backend.located(self.owner)
        if owner is not self.owner:
            first.name_owner(owner)
            self.owner = owner
        self._claim = backend.create(self._session_id, first.payload, owner, journals=journals)

    def delete(self) -> None:
        """Delete the session; the claim ends with it."""
        try:
            self.claim.delete()
        except DurabilityUncertain:
            self.end("delete() deleted the session")
            raise
        self.end("delete() deleted the session")

    def end(self, how: str) -> None:
        """Release the claim, and remember ``how`` it ended for whoever uses it afterwards."""
        self._ending = how
        self.release()

    def release(self) -> None:
        """Give the claim back, once."""
        if not self.is_released:
            self.claim.release()
            # Race: Exception from a signal handler. It may end the release half-way: only a
            # claim that is not marked yet can be released again.
            self.is_released = True
