"""Open the sessions of one store: create one, or claim one, and return what writes it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Generic, Literal

from sessionstore.clock import Clock, utc_now
from sessionstore.model import StateT
from sessionstore.model.conversion import Default
from sessionstore.model.ids import check_id
from sessionstore.model.state import SessionOwner, SessionState
from sessionstore.process import identity
from sessionstore.session import resume
from sessionstore.session.create import NewSession, first_state
from sessionstore.session.writer import PreparedWrite, SessionWriter
from sessionstore.storage.backend import Backend
from sessionstore.storage.claim import Claim


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
        owner = identity.new_owner(self.clock())
        first = first_state(self.state_type, goal_id, state, fields, self.clock())
        writer = self._writer(None, first, owner)
        return writer, writer.begin_save()

    def claim(
        self, session_id: str, *, timeout: float = 0.0, expected_revision: int | None, force: bool
    ) -> SessionWriter[StateT]:
        """Claim a session as it is."""
        claim, state = self._claimed(session_id, timeout, expected_revision, force)
        return self._writer(claim, state)

    def resume(
        self,
        session_id: str,
        *,
        checkpoint_id: str | None,
        timeout: float = 0.0,
        expected_revision: int | None,
        again: bool,
        force: bool,
    ) -> SessionWriter[StateT]:
        """Claim a session, restore a checkpoint of it, and make it ACTIVE."""
        if checkpoint_id is not None:
            check_id(checkpoint_id, kind="checkpoint id")
        claim, state = self._claimed(session_id, timeout, expected_revision, force)
        try:
            if not again and expected_revision is None:
                resume.refuse_ended(state)
            writer = self._writer(claim, resume.restore(self.backend, claim, state, checkpoint_id))
            writer.run(writer.begin_save)
        except BaseException:
            claim.release()
            raise
        return writer

    def _claimed(
        self, session_id: str, timeout: float, expected_revision: int | None, force: bool
    ) -> tuple[Claim, StateT]:
        return resume.claim_session(
            self.backend,
            check_id(session_id),
            self.state_type,
            timeout=timeout,
            expected_revision=expected_revision,
            force=force,
        )

    def _writer(
        self, claim: Claim | None, state: StateT, owner: SessionOwner | None = None
    ) -> SessionWriter[StateT]:
        return SessionWriter(
            claim,
            state,
            clock=self.clock,
            keep_checkpoints=self.keep_checkpoints,
            owner=owner,
            default=self.default,
        )


def open_store(
    root: str | os.PathLike[str] | Backend,
    *,
    state_type: type[Any] | None = None,
    durability: Literal["power", "process"] = "power",
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
        raise TypeError("state_type is a subclass of SessionState")
    if keep_checkpoints is not None and (type(keep_checkpoints) is not int or keep_checkpoints < 1):
        raise ValueError("keep_checkpoints is None (keep all) or at least 1")
    if default is not None and not callable(default):
        raise TypeError("default is a function that converts one value, or None")
    if not isinstance(root, Backend):
        # Loaded before the first save, as the store itself is.
        import sessionstore.storage.files.claim
        import sessionstore.storage.files.create
        import sessionstore.storage.files.leftovers  # noqa: F401
        from sessionstore.storage.files.backend import FilesBackend

        root = FilesBackend(root, durability=durability, create=create, clock=clock)
    return SessionOpener(root, state_type, clock, keep_checkpoints, default)
