"""Store, one after the other, the writes of a claimed session that were prepared.

``begin_…`` stamps, serialises and checks in the caller's thread; ``finish`` stores. The
synchronous session does one after the other, the asynchronous one awaits between them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Self

from sessionstore import clock
from sessionstore.errors import (
    CancellationRequested,
    ClaimLost,
    DurabilityUncertain,
    SessionStoreError,
)
from sessionstore.model import StateT, codec
from sessionstore.model.state import SessionOwner
from sessionstore.model.summary import SessionSummary
from sessionstore.session import stamp
from sessionstore.session.checkpoint_limit import Keeper
from sessionstore.session.prepare import Prepared, Preparer
from sessionstore.storage.backend import Backend
from sessionstore.storage.claim import Claim


class Writer(Preparer[StateT]):
    """What a session writes through its claim, one write after the other."""

    def __init__(
        self,
        claim: Claim | None,
        state: StateT,
        *,
        clock: clock.Clock,
        keep_checkpoints: int | None = None,
        owner: SessionOwner | None = None,
    ) -> None:
        self._claim = claim
        super().__init__(state, owner or self.claim.owner, clock=clock)
        self.queue: AbstractContextManager[Any] = threading.RLock()
        """Held while something is stored, I/O included: writes queue up here."""
        self._keeper = Keeper(keep_checkpoints)
        self._attempt: Prepared | None = None

    @classmethod
    def for_new_session(
        cls,
        owner: SessionOwner,
        state: StateT,
        *,
        clock: clock.Clock,
        keep_checkpoints: int | None,
    ) -> tuple[Self, Prepared]:
        """Return a writer without a claim yet, and the first write, for finish_create()."""
        writer = cls(None, state, clock=clock, keep_checkpoints=keep_checkpoints, owner=owner)
        return writer, writer.begin_save()

    @property
    def claim(self) -> Claim:
        """The claim; there is none before the session is created."""
        if self._claim is None:
            raise ClaimLost(self.session_id, "this session was not created")
        return self._claim

    # --- both halves at once ----------------------------------------------------------------------

    def run(self, begin: Callable[[], Prepared]) -> Prepared:
        """Do both halves at once; saves from several threads queue up here.

        Returns what was stored, with its final revision.
        """
        with self.queue:
            planned = self._planned
            try:
                self._settle()
                prepared = begin()
                prepared.revision = self.finish(prepared)
            finally:
                self._planned = planned  # also if a KeyboardInterrupt came in between
            return prepared

    # --- finishing it ----------------------------------------------------------------------------

    def finish(self, prepared: Prepared) -> int:
        """Store what was prepared; return the new revision.

        Raises what :meth:`sessionstore.storage.claim.Claim.write` raises.
        """
        with self.queue:
            try:
                revision = self._store(prepared)
            finally:
                self.abandon()
            if prepared.summary is not None:
                self.free(replace(prepared.summary, revision=revision))
            elif prepared.checkpoint is not None:
                self._keeper.keep(self.claim, prepared.checkpoint.checkpoint_id)
            return revision

    def finish_create(self, backend: Backend, prepared: Prepared) -> None:
        """Create the session with the first write that was prepared.

        Raises what :meth:`sessionstore.storage.backend.Backend.create` raises.
        """
        with self.queue:
            self.abandon()
            self._claim = backend.create(self.session_id, prepared.payload, self._owner)
            self._landed(prepared)

    def abandon(self) -> None:
        """No longer count on a write that was prepared: it is stored now, or never will be."""
        with self._mutex:
            self._planned -= 1

    def _store(self, prepared: Prepared) -> int:
        self._check_usable()
        self._settle()
        payload, revision = prepared.payload, self.revision + 1
        if prepared.revision != revision:  # a write that was queued before this one failed
            payload = codec.with_revision(payload, revision)
        attempt = Prepared(b"", revision, prepared.changes)
        checkpoint_id = prepared.checkpoint.checkpoint_id if prepared.checkpoint else None
        self._attempt = attempt
        try:
            self.claim.write(
                payload, revision, checkpoint_id=checkpoint_id, heeds_requests=prepared.heeds
            )
        except DurabilityUncertain:
            self._landed(attempt)
            raise
        except CancellationRequested as request:
            self._request = request
            self._attempt = None
            raise
        except SessionStoreError:
            self._attempt = None
            raise
        # Any other exception came from outside: whether the write took effect is asked later.
        self._landed(attempt)
        return revision

    def _settle(self) -> None:
        """Find out what became of a write that an exception from outside interrupted."""
        attempt = self._attempt
        if attempt is not None:
            if self.claim.took_effect(attempt.revision):
                self._landed(attempt)
            self._attempt = None

    def _landed(self, attempt: Prepared) -> None:
        with self._mutex:
            self.revision: int = attempt.revision
            stamp.apply(attempt.changes)
            self._state.__dict__["revision"] = attempt.revision
            self._attempt = None

    # --- the end ---------------------------------------------------------------------------------

    def leave_with_last_saved(self, error: BaseException | None) -> None:
        """End the claim on top of the last stored state: the present one cannot be stored."""
        with self.queue:
            stored = self.claim.read()
            edited, saved = self._state, codec.decode(
                stored.payload, self._state_type, self.session_id, stored.file
            )  # fmt: skip
            self._state = saved
            try:
                self.finish(self.begin_verdict(error))
            finally:
                self._state = edited

    def free(self, summary: SessionSummary | None = None) -> None:
        """Give the claim back, whatever the state says; ``summary`` is that of the last write."""
        with self.queue:
            if not self._released:
                self.claim.release(summary)
                # Not before: after an exception in the middle it can be released again.
                self._released = True
