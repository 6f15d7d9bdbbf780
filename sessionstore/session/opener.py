"""Open the sessions of one store: create one, or claim one, and return what writes it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Literal

from sessionstore import clock
from sessionstore.clock import Clock, utc_now
from sessionstore.errors import SessionEnded, SessionExists, SessionNotFound, SessionStoreError
from sessionstore.model import StateT, labels
from sessionstore.model.checkpoint import BEFORE_RESUME
from sessionstore.model.conversion import Default
from sessionstore.model.ids import check_id, make_checkpoint_id
from sessionstore.model.state import SessionOwner, SessionState, SessionStatus
from sessionstore.session import outcome, resume, verdict
from sessionstore.session.checkpoint_limit import remove_quietly
from sessionstore.session.create import NewFields, NewSession, check_fields, first_state
from sessionstore.session.prepared_write import PreparedWrite
from sessionstore.session.resume import ClaimedState, Restored
from sessionstore.session.writer import SessionWriter
from sessionstore.storage.backend import Backend
from sessionstore.storage.claim import Claim
from sessionstore.storage.turn import Turn


@dataclass(frozen=True, slots=True)
class SessionOpener(Generic[StateT]):
    """What every session of a store has in common, and the three ways to open one.

    The arguments and errors are those of the methods of :class:`~sessionstore.SessionStore`.
    """

    backend: Backend
    state_type: type[StateT]
    clock: Clock
    keep_checkpoints: int | None = None
    default: Default | None = None

    def begin_create(
        self, goal_id: str | None, state: StateT | None, fields: NewSession
    ) -> tuple[SessionWriter[StateT], PreparedWrite]:
        """Return the writer of a new session and its first write; the I/O is left to do."""
        owner = self.backend.new_owner(self.clock())
        first = first_state(self.state_type, goal_id, state, fields, self.clock())
        labels.check(first.session_id, first.labels, {})
        writer = self.writer(None, first, owner)
        return writer, writer.begin_save()

    def claim(
        self,
        session_id: str,
        *,
        timeout: float = 0.0,
        expected_revision: int | None,
        force: bool,
        turn: Turn | None = None,
    ) -> SessionWriter[StateT]:
        """Claim a session as it is; record that its process died, if it did."""
        found = self.claim_found(session_id, timeout, expected_revision, force, turn)
        claim, state, died, asked = found
        writer = self.writer(claim, state)
        if died is not None:
            now = clock.to_text(self.clock())
            if asked is None:
                outcome.note_death(state, died, now)
                begin = writer.begin_save
            else:
                outcome.mark_dead(state, died, SessionStatus.FAILED, now, asked)
                begin = partial(verdict.begin_stop, writer)
            return _take_over(writer, begin, partial(verdict.log_interrupted, writer))
        return writer

    def resume(
        self,
        session_id: str,
        *,
        checkpoint_id: str | None = None,
        from_last_save: bool = False,
        timeout: float = 0.0,
        expected_revision: int | None = None,
        again: bool = False,
        force: bool = False,
        turn: Turn | None = None,
    ) -> SessionWriter[StateT]:
        """Claim a session, restore a state of it, and make it ACTIVE."""
        if checkpoint_id is not None:
            if from_last_save:
                raise TypeError("resume() takes checkpoint_id= or from_last_save=True, not both")
            check_id(checkpoint_id, kind="checkpoint id")
        found = self.claim_found(session_id, timeout, expected_revision, force, turn)
        claim, state = found.claim, found.state
        try:
            self.mark_dead(found)
            if not again:
                self.refuse_ended(found)
            restored = resume.restore(
                self.backend, state, checkpoint_id, from_last_save=from_last_save
            )
            return self.begin(found, restored)
        except BaseException:
            claim.release()
            raise

    def create_or_resume(
        self, session_id: str, goal_id: str | None, *, max_recoveries: int, state: StateT | None,
        fields: NewFields,
    ) -> SessionWriter[StateT]:  # fmt: skip
        """Create a session, or go on with the one that is there."""
        check_fields(fields)
        while True:
            try:
                found = self.claim_found(session_id)
            except SessionNotFound:
                with suppress(SessionExists):  # somebody was faster: go on with that one
                    given: NewSession = {**fields, "session_id": session_id}
                    writer, first = self.begin_create(goal_id, state, given)
                    writer.finish_create(self.backend, first)
                    return writer
            else:
                wanted = goal_id if state is None else state.goal_id
                return self._go_on(found, wanted, max_recoveries)

    def _go_on(
        self, found: ClaimedState[StateT], goal_id: str | None, max_recoveries: int
    ) -> SessionWriter[StateT]:
        claim, state, died, _ = found
        try:
            self.mark_dead(found)
            try:
                if goal_id is not None and state.goal_id != goal_id:
                    raise SessionExists(state.session_id, wanted=goal_id, found=state.goal_id)
                resume.refuse_ended(state)
                resume.refuse_crashing(state, max_recoveries)
                restored = resume.restore(self.backend, state, None, from_last_save=False)
            except SessionStoreError:
                if died is not None:  # no crash goes uncounted
                    self._store_death(found)
                raise
            return self.begin(found, restored)
        except BaseException:
            claim.release()
            raise

    def mark_dead(self, found: ClaimedState[StateT]) -> None:
        """Mark in the state, if so, that the process that ran the session died."""
        if found.died is not None:
            now = clock.to_text(self.clock())
            outcome.mark_dead(found.state, found.died, SessionStatus.FAILED, now, found.asked)

    def _store_death(self, found: ClaimedState[StateT]) -> None:
        writer = self.writer(found.claim, found.state)
        writer.run(lambda: verdict.begin_stop(writer))
        verdict.log_interrupted(writer)

    def refuse_ended(self, found: ClaimedState[StateT]) -> None:
        """Refuse a session that has ended, also because a dead process was asked to cancel it."""
        try:
            resume.refuse_ended(found.state)
        except SessionEnded:
            if found.asked is not None:
                self._store_death(found)
            raise

    def begin(
        self, found: ClaimedState[StateT], restored: Restored[StateT]
    ) -> SessionWriter[StateT]:
        """Store the state to go on from. After an error nothing of the resume is left."""
        claim, current = found.claim, found.state
        writer = self.writer(claim, restored.state)
        kept = None
        ends = None if writer.journals is None else writer.journals.flushed_ends()
        if restored.keeps_current or (restored.rewound and ends is not None):
            if ends is not None:
                # What is kept has to count all records: nobody would get back to the others.
                current.journals = ends
                before = SessionWriter(claim, current, clock=self.clock, backend=self.backend)
                writer.revision = before.run(before.begin_save).revision
            node = current.progress.current_node
            kept = make_checkpoint_id(BEFORE_RESUME, node, writer.revision, self.clock())

        def begin() -> PreparedWrite:
            prepared = writer.begin_resume(restored.kept, as_last_save=restored.as_last_save)
            if kept is not None:
                claim.keep_current(kept)
            return prepared

        def log() -> None:
            if found.died is not None:
                verdict.log_interrupted(writer)
            for name, back_to in restored.rewound.items():
                writer.journal(name).log_rewound(f"back to record {back_to}")

        return _take_over(writer, begin, log, kept)

    def claim_found(
        self,
        session_id: str,
        timeout: float = 0.0,
        expected_revision: int | None = None,
        force: bool = False,
        turn: Turn | None = None,
    ) -> ClaimedState[StateT]:
        """Claim a session, and return it as it was found; its death is not recorded yet."""
        return resume.claim_session(
            self.backend,
            check_id(session_id),
            self.state_type,
            timeout=timeout,
            expected_revision=expected_revision,
            force=force,
            turn=turn,
        )

    def writer(
        self, claim: Claim | None, state: StateT, owner: SessionOwner | None = None
    ) -> SessionWriter[StateT]:
        """Return what writes a session that was claimed, or is to be created by ``owner``.

        After an error the claim has ended.
        """
        writer = SessionWriter(
            claim,
            state,
            clock=self.clock,
            keep_checkpoints=self.keep_checkpoints,
            owner=owner,
            default=self.default,
            backend=self.backend,
        )
        if claim is not None:
            try:
                writer.open_unsaved_journals()
            except BaseException:
                claim.release()
                raise
        return writer


def _take_over(
    writer: SessionWriter[StateT],
    begin: Callable[[], PreparedWrite],
    log: Callable[[], None],
    kept: str | None = None,
) -> SessionWriter[StateT]:
    """Store and log what becomes of a session that was claimed; return its writer.

    After an error the session is not ACTIVE, and the claim has ended. ``kept`` is the checkpoint
    that ``begin`` makes of the state before it.
    """
    found = writer.revision
    try:
        writer.run(begin)
        if kept is not None:
            writer.limit_checkpoints(kept)
        log()
        return writer
    except BaseException as error:
        try:
            if writer.settle() > found:
                if writer.needs_verdict:  # it is ACTIVE, and nobody gets it
                    verdict.interrupt(writer, error)
            elif kept is not None:
                remove_quietly(writer.claim, kept)
        finally:
            writer.free()
        raise


def open_store(
    root: str | os.PathLike[str] | Backend,
    *,
    state_type: type[Any] | None = None,
    durability: Literal["power", "process"] = "power",
    flushes: Literal["auto", "two"] = "auto",
    create: bool = True,
    keep_checkpoints: int | None = None,
    default: Default | None = None,
    clock: Clock = utc_now,
) -> SessionOpener[Any]:
    """Return the opener of the store at ``root``.

    The arguments and errors are those of :class:`~sessionstore.SessionStore`.
    """
    if state_type is None:
        state_type = SessionState
    if not (isinstance(state_type, type) and issubclass(state_type, SessionState)):
        raise TypeError("state_type must be a subclass of SessionState")
    if keep_checkpoints is not None and (type(keep_checkpoints) is not int or keep_checkpoints < 1):
        raise ValueError("keep_checkpoints must be None (keep all) or at least 1")
    if default is not None and not callable(default):
        raise TypeError("default must be a function that converts one value, or None")
    if not isinstance(root, Backend):
        # Loaded before the first save, as the store itself is.
        import sessionstore.storage.files.claim
        import sessionstore.storage.files.create
        import sessionstore.storage.files.leftovers  # noqa: F401
        from sessionstore.storage.files.backend import FilesBackend

        root = FilesBackend(
            root, durability=durability, flushes=flushes, create=create, clock=clock
        )
    return SessionOpener(root, state_type, clock, keep_checkpoints, default)
