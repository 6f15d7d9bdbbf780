"""Write a claimed session: prepare each write, store the writes in turn, and undo what failed.

A write has two halves. ``begin_…`` stamps, serialises and checks the state in the caller's thread,
without I/O; ``finish`` stores the result. :class:`~sessionstore.Session` runs one half after the
other, :class:`~sessionstore.AsyncSession` awaits between them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic

from sessionstore import clock
from sessionstore.errors import (
    CancellationRequested,
    ClaimLost,
    DurabilityUncertain,
    NotStorable,
    SessionStoreError,
    StateTypeMismatch,
)
from sessionstore.model import StateT, codec
from sessionstore.model.checkpoint import PAUSE, Checkpoint
from sessionstore.model.conversion import Default
from sessionstore.model.ids import make_checkpoint_id
from sessionstore.model.state import SessionOwner, SessionStatus
from sessionstore.session import outcome, stamp
from sessionstore.session.checkpoint_limit import CheckpointLimit
from sessionstore.session.stamp import Change
from sessionstore.storage.backend import Backend
from sessionstore.storage.claim import Claim
from sessionstore.text import class_name


@dataclass(slots=True)
class PreparedWrite:
    """A write that was checked: nothing that happens to the state changes it any more."""

    payload: bytes
    revision: int
    changes: tuple[Change, ...]
    checkpoint: Checkpoint | None = None
    ends: bool = False
    """Whether the claim ends once this is stored."""
    cancellable: bool = False
    """Whether a request to cancel refuses it: it is a step of the application, not its end."""


class SessionWriter(Generic[StateT]):
    """The state of a claimed session, and the writes of it, one after the other."""

    def __init__(
        self,
        claim: Claim | None,
        state: StateT,
        *,
        clock: clock.Clock,
        keep_checkpoints: int | None = None,
        owner: SessionOwner | None = None,
        default: Default | None = None,
    ) -> None:
        self._claim = claim
        self.session_id: str = state.session_id
        self.revision: int = state.revision
        """The revision of the state as it is stored."""
        self.owner: SessionOwner = owner or self.claim.owner
        """The owner record of the claim."""
        self.queue: AbstractContextManager[Any] = threading.RLock()
        """Held while something is stored, I/O included: writes queue up here."""
        self.is_released: bool = False
        """Whether the claim has ended."""
        self._mutex = threading.RLock()
        """Held while the state is stamped or serialised; never during I/O, so that an event
        loop may wait for it."""
        self._state = state
        self._state_type = type(state)
        self._incarnation = state.incarnation
        self._clock = clock
        self._default = default
        self._pid = os.getpid()
        self._planned = 0
        """How many writes were prepared and are not stored yet."""
        self._attempt: PreparedWrite | None = None
        """The write that is being stored, or that an exception from outside interrupted."""
        self._request: CancellationRequested | None = None
        self._limit = CheckpointLimit(keep_checkpoints)

    def __str__(self) -> str:
        held = "released" if self.is_released else str(self.state.status)
        return f"{self.session_id} revision {self.revision}, {held}"

    # --- the claim and the state ------------------------------------------------------------------

    @property
    def claim(self) -> Claim:
        """The claim; there is none before the session is created."""
        if self._claim is None:
            raise ClaimLost(self.session_id, "this session was not created")
        return self._claim

    @property
    def state(self) -> StateT:
        """The state as the application edits it."""
        return self._state

    @state.setter
    def state(self, state: StateT) -> None:
        if type(state) is not self._state_type:  # another type would not load back as this one
            reason = f"expected {class_name(self._state_type)}, got {class_name(type(state))}"
            raise StateTypeMismatch(self.session_id, self._state_type.__name__, reason)
        if state is not self._state:
            self._carry_over(state)
        self._state = state

    def _carry_over(self, state: StateT) -> None:
        """Give a new state what only the store knows, unless it was set on purpose."""
        for name in ("latest_checkpoint_id", "checkpoint_enabled", "recovery", "forked_from"):
            if name not in state.model_fields_set:
                state.__dict__[name] = getattr(self._state, name)
        state.__dict__["revision"] = self.revision
        state.__dict__["incarnation"] = self._incarnation

    @property
    def needs_verdict(self) -> bool:
        """Whether leaving now has to say how the session ended."""
        return (
            not self.is_released
            and os.getpid() == self._pid
            and self._state.status is SessionStatus.ACTIVE
        )

    # --- prepare a write -------------------------------------------------------------------------

    def begin_save(self) -> PreparedWrite:
        """Prepare to store the state as it is, even if somebody asks to cancel."""
        return self._prepare(())

    def begin_step(self) -> PreparedWrite:
        """Prepare to store the state as it is, unless somebody asks to cancel."""
        return self._prepare((), cancellable=True)

    def begin_checkpoint(self, checkpoint_type: str, node: str | None) -> PreparedWrite:
        """Prepare to store the state and to keep it, unless somebody asks to cancel."""
        if node is not None:
            stamp.progress_of(self._state).current_node = node
        return self._prepare((), keep_as=(checkpoint_type, node), cancellable=True)

    def begin_pause(self, node: str | None, resume_from: str | None) -> PreparedWrite:
        """Prepare to store the state as paused, to keep it, and to end the claim."""
        changes = outcome.paused(self._state, node, resume_from, self._now())
        return self._prepare(changes, keep_as=(PAUSE, node), ends=True)

    def begin_complete(self, output: dict[str, Any] | None) -> PreparedWrite:
        """Prepare to store the state as completed and to end the claim."""
        return self._prepare(outcome.completed(self._state, output, self._now()), ends=True)

    def begin_fail(self, error: BaseException | str) -> PreparedWrite:
        """Prepare to store the state as failed and to end the claim."""
        return self._prepare(outcome.failed(self._state, error, self._now()), ends=True)

    def begin_cancel(self, reason: str | None) -> PreparedWrite:
        """Prepare to store the state as cancelled and to end the claim."""
        return self._prepare(outcome.cancelled(self._state, reason, self._now()), ends=True)

    def begin_verdict(self, error: BaseException | None) -> PreparedWrite:
        """Prepare the end that leaving a ``with`` block means."""
        if error is None or isinstance(error, SystemExit | GeneratorExit):
            if self._request is not None:  # it was heard, and nobody said anything else since
                return self.begin_cancel(self._request.verdict())
            return self.begin_pause(None, None)  # nobody said that it succeeded
        if request := outcome.find_request(error):
            return self.begin_cancel(request.verdict())
        if outcome.is_cancellation(error):
            return self.begin_cancel(outcome.describe_error(error))
        return self.begin_fail(error)

    def _now(self) -> str:
        return clock.to_text(self._clock())

    def _prepare(
        self,
        changes: Iterable[Change],
        *,
        keep_as: tuple[str, str | None] | None = None,
        ends: bool = False,
        cancellable: bool = False,
    ) -> PreparedWrite:
        with self._mutex:
            self._check_usable()
            state = self._state
            if state.session_id != self.session_id:
                raise NotStorable(
                    self.session_id,
                    "session_id",
                    f"it is another session's: restore {self.session_id!r}",
                )
            revision = self.revision + self._planned + 1
            now = self._clock()
            stamped = list(changes)
            checkpoint = None
            if keep_as is not None:
                kind, node = keep_as
                checkpoint = Checkpoint(
                    make_checkpoint_id(kind, node, revision, now),
                    checkpoint_type=kind,
                    node=node,
                    revision=revision,
                    created_at=clock.to_text(now),
                )
                stamped.append((state, "latest_checkpoint_id", checkpoint.checkpoint_id))
                stamped.append((state, "checkpoint_enabled", True))
            stamped += stamp.stamps(
                state,
                stamped,
                owner=self.owner,
                incarnation=self._incarnation,
                revision=revision,
                now=clock.to_text(now),
            )
            before = stamp.apply(stamped)
            try:
                payload = codec.encode(state, self._default)
                # A value may have been converted: the output of a session, say.
                stamped = [(part, name, part.__dict__[name]) for part, name, _ in stamped]
            finally:
                stamp.apply(before)
            self._planned += 1
            return PreparedWrite(payload, revision, tuple(stamped), checkpoint, ends, cancellable)

    def _check_usable(self) -> None:
        if os.getpid() != self._pid:
            raise ClaimLost(
                self.session_id,
                f"this is a forked child: the claim belongs to its parent, pid {self._pid}",
            )
        if self.is_released:
            raise ClaimLost(self.session_id, "this claim was released")

    # --- store it ---------------------------------------------------------------------------------

    def run(self, begin: Callable[[], PreparedWrite]) -> PreparedWrite:
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

    def finish(self, prepared: PreparedWrite) -> int:
        """Store what was prepared; return the new revision.

        Raises what :meth:`sessionstore.storage.claim.Claim.write` raises.
        """
        with self.queue:
            try:
                revision = self._store(prepared)
            finally:
                self.abandon()
            if prepared.ends:
                self.free()
            elif prepared.checkpoint is not None:
                self._limit.enforce(self.claim, prepared.checkpoint.checkpoint_id)
            return revision

    def finish_create(self, backend: Backend, prepared: PreparedWrite) -> None:
        """Create the session with the first write that was prepared.

        Raises what :meth:`sessionstore.storage.backend.Backend.create` raises.
        """
        with self.queue:
            self.abandon()
            self._claim = backend.create(self.session_id, prepared.payload, self.owner)
            self._landed(prepared)

    def abandon(self) -> None:
        """Stop counting a write that was prepared: it is stored now, or never will be."""
        with self._mutex:
            self._planned -= 1

    def _store(self, prepared: PreparedWrite) -> int:
        self._check_usable()
        self._settle()
        payload, revision = prepared.payload, self.revision + 1
        if prepared.revision != revision:  # a write that was queued before this one failed
            payload = codec.with_revision(payload, revision)
        attempt = PreparedWrite(b"", revision, prepared.changes)
        checkpoint_id = prepared.checkpoint.checkpoint_id if prepared.checkpoint else None
        self._attempt = attempt
        try:
            self.claim.write(
                payload, revision, checkpoint_id=checkpoint_id, cancellable=prepared.cancellable
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

    def _landed(self, attempt: PreparedWrite) -> None:
        with self._mutex:
            self.revision = attempt.revision
            stamp.apply(attempt.changes)
            self._state.__dict__["revision"] = attempt.revision
            self._attempt = None

    # --- end the claim ----------------------------------------------------------------------------

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

    def release(self) -> None:
        """End the claim; a session that is still ACTIVE is paused first.

        The claim ends even if the pause cannot be written.
        """
        with self.queue:
            try:
                if self.needs_verdict:
                    self.run(lambda: self.begin_verdict(None))
            finally:
                self.free()

    def free(self) -> None:
        """Give the claim back, whatever the state says."""
        with self.queue:
            if not self.is_released:
                self.claim.release()
                # Race: Exception from a signal handler. It may end the release half-way: only a
                # claim that is not marked yet can be released again.
                self.is_released = True
