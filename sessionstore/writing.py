"""The writes of a claimed session, split where the I/O begins.

``begin_…`` stamps, serialises and checks in the caller's thread; ``finish`` stores. The
synchronous session does one after the other, the asynchronous one awaits between them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Generic, Self, TypeVar

from sessionstore import clock, codec, stamping
from sessionstore.backends.base import Backend, Claim
from sessionstore.checkpoints import PAUSE, Checkpoint
from sessionstore.endings import describe_error, find_request, is_cancellation
from sessionstore.errors import (
    CancellationRequested,
    ClaimLost,
    DurabilityUncertain,
    NotStorable,
    SessionStoreError,
    StateTypeMismatch,
)
from sessionstore.ids import make_checkpoint_id
from sessionstore.keeping import Keeper
from sessionstore.query import SessionSummary, summarize
from sessionstore.stamping import Change
from sessionstore.state import (
    Part,
    SessionOwner,
    SessionProgress,
    SessionResult,
    SessionStatus,
    SessionTimestamps,
    StateT,
)

PartT = TypeVar("PartT", bound=Part)


@dataclass(slots=True)
class Prepared:
    """A write that was checked: nothing that happens to the state changes it any more."""

    payload: bytes
    revision: int
    changes: tuple[Change, ...]
    checkpoint: Checkpoint | None = None
    summary: SessionSummary | None = None
    """What a listing shows of the state, where the claim ends once this is stored."""
    heeds: bool = False
    """Whether a request to cancel stops it: a step of the application, not an end of it."""


class Writer(Generic[StateT]):
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
        self._owner = owner or self.claim.owner
        self.session_id: str = state.session_id
        self.revision: int = state.revision
        self.queue: AbstractContextManager[Any] = threading.RLock()
        """Held while something is stored, I/O included: writes queue up here."""
        self._mutex = threading.RLock()
        """Held while the state is stamped or serialised; never during I/O, so that an event
        loop may wait for it."""
        self._state = state
        self._state_type = type(state)
        self._incarnation = state.incarnation
        self._clock = clock
        self._keeper = Keeper(keep_checkpoints)
        self._pid = os.getpid()
        self._released = False
        self._planned = 0
        self._attempt: Prepared | None = None
        self._request: CancellationRequested | None = None

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

    # --- the state -------------------------------------------------------------------------------

    @property
    def state(self) -> StateT:
        """The state as it is edited."""
        return self._state

    @state.setter
    def state(self, state: StateT) -> None:
        if type(state) is not self._state_type:  # another type would not load back as this one
            raise StateTypeMismatch(
                self.session_id, self._state_type.__name__, f"it is a {type(state).__name__}"
            )
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
    def owner(self) -> SessionOwner:
        """The owner record of this claim."""
        return self._owner

    @property
    def is_released(self) -> bool:
        """Whether the claim has ended."""
        return self._released

    @property
    def is_forked(self) -> bool:
        """Whether this is a child of the process that claimed the session."""
        return os.getpid() != self._pid

    # --- beginning a write -----------------------------------------------------------------------

    def begin_save(self) -> Prepared:
        """Prepare to store the state as it is, whoever asks for what."""
        return self._prepare(())

    def begin_step(self) -> Prepared:
        """Prepare to store the state as it is, unless somebody asks to cancel."""
        return self._prepare((), heeds=True)

    def begin_checkpoint(self, checkpoint_type: str, node: str | None) -> Prepared:
        """Prepare to store the state and to keep it."""
        if node is not None:
            self._progress().current_node = node
        return self._prepare((), keep_as=(checkpoint_type, node), heeds=True)

    def begin_pause(self, node: str | None, resume_from: str | None) -> Prepared:
        """Prepare to store the state as paused, to keep it, and to end the claim."""
        changes: list[Change] = [
            (self._state, "status", SessionStatus.PAUSED),
            (self._times(), "paused_at_time", clock.to_text(self._clock())),
        ]
        if node is not None:
            changes.append((self._progress(), "paused_at", node))
            changes.append((self._progress(), "current_node", node))
        if resume_from is not None:
            changes.append((self._progress(), "resume_from", resume_from))
        return self._prepare(changes, keep_as=(PAUSE, node), ends=True)

    def begin_complete(self, output: dict[str, Any] | None) -> Prepared:
        """Prepare to store the state as completed and to end the claim."""
        result: list[Change] = [
            (self._result(), "success", True),
            (self._result(), "error", None),
            (self._progress(), "paused_at", None),
        ]
        if output is not None:
            result.append((self._result(), "output", output))
        return self._begin_end(SessionStatus.COMPLETED, result)

    def begin_fail(self, error: BaseException | str) -> Prepared:
        """Prepare to store the state as failed and to end the claim."""
        return self._begin_end(
            SessionStatus.FAILED,
            [(self._result(), "success", False), (self._result(), "error", describe_error(error))],
        )

    def begin_cancel(self, reason: str | None) -> Prepared:
        """Prepare to store the state as cancelled and to end the claim."""
        return self._begin_end(
            SessionStatus.CANCELLED,
            [(self._result(), "success", False), (self._result(), "error", reason)],
        )

    def begin_verdict(self, error: BaseException | None) -> Prepared:
        """Prepare the end that leaving a ``with`` block means."""
        if error is None or isinstance(error, SystemExit | GeneratorExit):
            if self._request is not None:  # it was heard, and nobody said anything else since
                return self.begin_cancel(self._request.verdict())
            return self.begin_pause(None, None)  # nobody said that it succeeded
        if request := find_request(error):
            return self.begin_cancel(request.verdict())
        if is_cancellation(error):
            return self.begin_cancel(describe_error(error))
        return self.begin_fail(error)

    def _begin_end(self, status: SessionStatus, changes: list[Change]) -> Prepared:
        now = clock.to_text(self._clock())
        changes.append((self._state, "status", status))
        changes.append((self._times(), "completed_at", now))
        return self._prepare(changes, ends=True)

    def _prepare(
        self,
        changes: Iterable[Change],
        *,
        keep_as: tuple[str, str | None] | None = None,
        ends: bool = False,
        heeds: bool = False,
    ) -> Prepared:
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
            stamped += stamping.stamps(
                state,
                stamped,
                times=self._times(),
                owner=self._owner,
                incarnation=self._incarnation,
                revision=revision,
                now=clock.to_text(now),
            )
            before = stamping.apply(stamped)
            try:
                payload = codec.encode(state)
                summary = summarize(state) if ends else None
            finally:
                stamping.apply(before)
            self._planned += 1
            return Prepared(payload, revision, tuple(stamped), checkpoint, summary, heeds)

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

        Raises what :meth:`sessionstore.backends.base.Claim.write` raises.
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

        Raises what :meth:`sessionstore.backends.base.Backend.create` raises.
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
            self.revision = attempt.revision
            stamping.apply(attempt.changes)
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
                self._released = True
                self.claim.release(summary)

    def _check_usable(self) -> None:
        if os.getpid() != self._pid:
            raise ClaimLost(
                self.session_id,
                f"this is a forked child: the claim belongs to its parent, pid {self._pid}",
            )
        if self._released:
            raise ClaimLost(self.session_id, "this claim was released")

    # A part of the wrong type cannot be stamped; the check of the state then says what it is.

    def _times(self) -> SessionTimestamps:
        return self._sound(self._state.timestamps, SessionTimestamps)

    def _progress(self) -> SessionProgress:
        return self._sound(self._state.progress, SessionProgress)

    def _result(self) -> SessionResult:
        return self._sound(self._state.result, SessionResult)

    def _sound(self, part: PartT, kind: type[Part]) -> PartT:
        if not isinstance(part, kind):
            codec.encode(self._state)
        return part
