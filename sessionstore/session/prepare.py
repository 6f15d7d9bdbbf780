"""Prepare the writes of a claimed session: stamp, serialise and check, without any I/O.

What was prepared is stored by :class:`sessionstore.session.writer.Writer`, perhaps in another
thread: nothing that happens to the state meanwhile changes it any more.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sessionstore import clock
from sessionstore.errors import CancellationRequested, ClaimLost, NotStorable, StateTypeMismatch
from sessionstore.model import StateT, codec
from sessionstore.model.checkpoint import PAUSE, Checkpoint
from sessionstore.model.ids import make_checkpoint_id
from sessionstore.model.state import (
    Part,
    SessionOwner,
    SessionProgress,
    SessionResult,
    SessionStatus,
    SessionTimestamps,
)
from sessionstore.model.summary import SessionSummary, summarize
from sessionstore.session import stamp
from sessionstore.session.outcome import describe_error, find_request, is_cancellation
from sessionstore.session.stamp import Change

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


class Preparer(Generic[StateT]):
    """The state of a claimed session, and the writes of it that are on their way."""

    def __init__(self, state: StateT, owner: SessionOwner, *, clock: clock.Clock) -> None:
        self._owner = owner
        self.session_id: str = state.session_id
        self.revision: int = state.revision
        """Of the state as it is stored."""
        self._mutex = threading.RLock()
        """Held while the state is stamped or serialised; never during I/O, so that an event
        loop may wait for it."""
        self._state = state
        self._state_type = type(state)
        self._incarnation = state.incarnation
        self._clock = clock
        self._pid = os.getpid()
        self._released = False
        self._planned = 0
        """How many writes were prepared, and are not stored yet."""
        self._request: CancellationRequested | None = None

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
            stamped += stamp.stamps(
                state,
                stamped,
                times=self._times(),
                owner=self._owner,
                incarnation=self._incarnation,
                revision=revision,
                now=clock.to_text(now),
            )
            before = stamp.apply(stamped)
            try:
                payload = codec.encode(state)
                summary = summarize(state) if ends else None
            finally:
                stamp.apply(before)
            self._planned += 1
            return Prepared(payload, revision, tuple(stamped), checkpoint, summary, heeds)

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
