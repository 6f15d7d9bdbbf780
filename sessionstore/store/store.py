"""SessionStore: create, resume, claim, load and delete sessions."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from sessionstore import clock
from sessionstore.errors import NotResumable, SessionCorrupt
from sessionstore.log import about, logger
from sessionstore.model import StateT
from sessionstore.model.ids import check_id
from sessionstore.session.inspect import NO_CHECKPOINT
from sessionstore.storage.backend import Backend
from sessionstore.store.action import StoreActions
from sessionstore.store.inspection import StoreInspection
from sessionstore.store.jobs import StoreJobs
from sessionstore.store.loading import load_all
from sessionstore.store.maintenance import StoreMaintenance

if TYPE_CHECKING:  # loaded when a store is made: importing this module does without pydantic
    from sessionstore.model.state import SessionState
    from sessionstore.session.create import NewSession
    from sessionstore.session.opener import SessionOpener
    from sessionstore.session.session import Session


class SessionStore(StoreMaintenance, StoreInspection, StoreActions, StoreJobs[StateT]):
    """Sessions that outlive the process that runs them.

    Args:
        root: a directory, which the first write makes; or a backend.
        state_type: the class of the states, a subclass of SessionState with typed data.
        durability: what a save that returned survives: a loss of ``"power"``, or only the death
            of the ``"process"``.
        flushes: ``"auto"`` makes a save durable with one flush where the file system needs no
            second one (ext4 with a journal, XFS); ``"two"`` always takes two, and so does
            ``SESSIONSTORE_FLUSHES=two`` in the environment.
        create: whether to make the store if there is none; else that raises StorageError.
        keep_checkpoints: how many of its checkpoints a session keeps as it goes: the newest of the
            application's, and as many of the store's own (``before_resume``, ``last_save``). The
            latest always stays. None keeps all.
        default: converts what JSON lacks, as ``json.dumps(default=)`` does. It is called with each
            such value in ``data_buffer`` and wherever else any JSON may stand. What it returns
            replaces the value, in ``session.state`` too. A TypeError or ValueError from it becomes
            NotStorable. :func:`~sessionstore.plain` is one.
        clock: returns the current time as an aware datetime.

    ``durability``, ``flushes`` and ``create`` are for a directory: a backend has its own.

    Raises:
        StorageError: the root is not a directory, is missing, or is a store of a newer format.
        ValueError: an argument, or SESSIONSTORE_FLUSHES, has a value that is not known.

    Examples:
        >>> store = SessionStore("sessions")
        >>> with store.create("triage", session_id="ticket-1") as session:
        ...     session.state.data_buffer["step"] = 1
        ...     checkpoint = session.checkpoint("node_complete", node="classify")
        ...     revision = session.complete({"team": "billing"})
    """

    @overload
    def __init__(
        self: SessionStore[SessionState],
        root: str | os.PathLike[str] | Backend,
        *,
        durability: Literal["power", "process"] = ...,
        flushes: Literal["auto", "two"] = ...,
        create: bool = ...,
        keep_checkpoints: int | None = ...,
        default: Callable[[Any], Any] | None = ...,
        clock: clock.Clock = ...,
    ) -> None: ...

    @overload
    def __init__(
        self,
        root: str | os.PathLike[str] | Backend,
        *,
        state_type: type[StateT],
        durability: Literal["power", "process"] = ...,
        flushes: Literal["auto", "two"] = ...,
        create: bool = ...,
        keep_checkpoints: int | None = ...,
        default: Callable[[Any], Any] | None = ...,
        clock: clock.Clock = ...,
    ) -> None: ...

    def __init__(
        self,
        root: str | os.PathLike[str] | Backend,
        *,
        state_type: type[Any] | None = None,
        durability: Literal["power", "process"] = "power",
        flushes: Literal["auto", "two"] = "auto",
        create: bool = True,
        keep_checkpoints: int | None = None,
        default: Callable[[Any], Any] | None = None,
        clock: clock.Clock = clock.utc_now,
    ) -> None:
        # Loaded before the first save, which may run on an event loop, or without the right to
        # read this package any more.
        load_all()
        from sessionstore.session.opener import open_store

        self._opener: SessionOpener[StateT] = open_store(
            root,
            state_type=state_type,
            durability=durability,
            flushes=flushes,
            create=create,
            keep_checkpoints=keep_checkpoints,
            default=default,
            clock=clock,
        )
        super().__init__(self._opener.backend)
        self._clock = clock

    def __repr__(self) -> str:
        return f"<SessionStore {self._backend}>"

    def create(
        self,
        goal_id: str | None = None,
        *,
        state: StateT | None = None,
        **fields: Unpack[NewSession],
    ) -> Session[StateT]:
        """Create a session, claimed by this process.

        Args:
            goal_id: what the session is for; required unless ``state`` is given.
            state: a whole state instead, such as SessionState's constructors make. It is copied.
            fields: ``session_id``, ``agent_id``, ``entry_point``, ``stream_id``,
                ``correlation_id``, ``input_data`` and ``checkpoint_enabled`` of the state; with
                ``state`` only ``session_id``.

        Raises:
            SessionExists: there is a session with this id.
            InvalidSessionId: the id is not safe.
            NotStorable: a value would not read back equal.
            StateTypeMismatch: the state is not of the store's ``state_type``.
            StorageError: the system refused.
            TypeError: there is no such parameter; the error names the nearest.

        No session is left behind after an error.

        Examples:
            >>> with store.create("triage", session_id="ticket-2", agent_id="router") as session:
            ...     revision = session.save()
        """
        from sessionstore.session.session import Session

        writer, first = self._opener.begin_create(goal_id, state, fields)
        writer.finish_create(self._backend, first)
        return Session(writer)

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
    ) -> Session[StateT]:
        """Claim a session, restore a state of it, and make it ACTIVE.

        It restores the latest checkpoint or, if the application has kept none, goes on from the
        state that was saved last. The whole state of a checkpoint is restored, except that
        revision, incarnation, owner and recovery go on, and that the end (result, completed_at,
        paused_at_time) is cleared. A newer state is kept first, as a checkpoint of type
        ``before_resume``, with all that its journals hold. If the process that ran the session
        died, that goes on record in ``state.recovery``.

        Args:
            session_id: which one.
            checkpoint_id: which checkpoint; by default the latest.
            from_last_save: go on from the state that was saved last, though there is an older
                checkpoint. It becomes the latest checkpoint.
            timeout: how many seconds to wait for a live holder to release it, behind those who wait
                already. With 0 it is refused while others wait.
            expected_revision: of any number of processes that saw this revision and resume,
                exactly one wins.
            again: also resume a session that is COMPLETED or CANCELLED.
            force: as for :meth:`claim`.

        Raises:
            SessionEnded: it is COMPLETED or CANCELLED, and ``again`` is false.
            NotResumable: the checkpoint is missing or damaged.
            SessionNotFound: there is no such session.
            InvalidSessionId: the id, or that of the checkpoint, is not safe.
            SessionClaimed: a process that lives, or may live, holds it; the error names it.
            RevisionConflict: it is not at ``expected_revision``.
            SessionCorrupt: its state is damaged.
            StateTypeMismatch: its state is not of the store's ``state_type``.
            StorageError: the system refused.

        Examples:
            >>> with store.resume("ticket-1") as session:
            ...     team = session.state.data_buffer["team"]
            ...     revision = session.complete({"team": team})
        """
        from sessionstore.session.session import Session

        writer = self._opener.resume(
            session_id,
            checkpoint_id=checkpoint_id,
            from_last_save=from_last_save,
            timeout=timeout,
            expected_revision=expected_revision,
            again=again,
            force=force,
        )
        return Session(writer)

    def claim(
        self,
        session_id: str,
        *,
        timeout: float = 0.0,
        expected_revision: int | None = None,
        force: bool = False,
    ) -> Session[StateT]:
        """Claim a session as it is: its status does not change.

        Nothing is written, unless the session is ACTIVE and its process died: that goes on record
        in ``state.recovery``. If you then release it without a verdict, it is paused as
        interrupted.

        Args:
            session_id: which one.
            timeout: how many seconds to wait for a live holder to release it, behind those who wait
                already. With 0 it is refused while others wait.
            expected_revision: refuse the session if it has moved on since you saw it.
            force: also claim an ACTIVE session whose owner may live, which cannot be known from
                here. A session whose owner is known to live is never taken away.

        Raises:
            SessionNotFound: there is no such session.
            InvalidSessionId: the id is not safe.
            SessionClaimed: a process that lives, or may live, holds it; the error names it.
            RevisionConflict: it is not at ``expected_revision``; the error names who held it last.
            SessionCorrupt: its state is damaged.
            StateTypeMismatch: its state is not of the store's ``state_type``.
            StorageError: the system refused.

        Examples:
            >>> with store.claim("ticket-1", timeout=5.0) as session:
            ...     session.state.data_buffer["note"] = "the customer called"
            ...     revision = session.save()
        """
        from sessionstore.session.session import Session

        writer = self._opener.claim(
            session_id, timeout=timeout, expected_revision=expected_revision, force=force
        )
        return Session(writer)

    def load(self, session_id: str) -> StateT:
        """Return the stored state, complete and without a lock.

        Raises:
            SessionNotFound: there is no such session.
            InvalidSessionId: the id is not safe.
            SessionCorrupt: its state is damaged.
            StateTypeMismatch: its state is not of the store's ``state_type``.
            StorageError: the system refused.

        Examples:
            >>> store.load("ticket-1").status
            <SessionStatus.PAUSED: 'paused'>
        """
        from sessionstore.model import codec

        stored = self._backend.read(check_id(session_id))
        return codec.decode(stored.payload, self._opener.state_type, session_id, stored.file)

    def load_checkpoint(self, session_id: str, checkpoint_id: str | None = None) -> StateT:
        """Return the state that a checkpoint holds; by default that of the latest.

        Raises:
            NotResumable: the session has no checkpoint.
            SessionNotFound: there is no such session.
            InvalidSessionId: the id, or that of the checkpoint, is not safe.
            SessionCorrupt: the state or the checkpoint is damaged or missing.
            StateTypeMismatch: one of them is not of the store's ``state_type``.
            StorageError: the system refused.

        Examples:
            >>> store.load_checkpoint("ticket-1").progress.current_node
            'ask'
        """
        from sessionstore.model import checkpoint

        current = self.load(session_id)
        chosen = current.latest_checkpoint_id if checkpoint_id is None else checkpoint_id
        if chosen is None:
            raise NotResumable(session_id, NO_CHECKPOINT)
        check_id(chosen, kind="checkpoint id")
        stored = self._backend.read_checkpoint(session_id, chosen)
        return checkpoint.load(current, stored, chosen)

    def delete(self, session_id: str, *, force: bool = False) -> None:
        """Delete a session with its checkpoints and files; it is gone whole, or there whole.

        Args:
            session_id: which one.
            force: also delete one whose owner may live without a lock, or whose state is
                damaged, so that its owner cannot be known. A live claim is never overridden.

        Raises:
            SessionNotFound: there is no such session.
            InvalidSessionId: the id is not safe.
            SessionClaimed: a process that lives, or may live, holds it; the error names it.
            SessionCorrupt: its state is damaged, and ``force`` is false.
            DurabilityUncertain: it is gone, but may be there again after a loss of power.
            StorageError: the system refused.

        Examples:
            >>> store.delete("ticket-1")
        """
        from sessionstore.model import codec
        from sessionstore.model.state import SessionState
        from sessionstore.session.resume import check_owner_dead

        by = self._backend.new_owner(self._opener.clock())
        claim = self._backend.claim(check_id(session_id), by, timeout=0.0)
        try:
            try:
                stored = claim.read()
                state = codec.decode(stored.payload, SessionState, session_id, stored.file)
                check_owner_dead(self._backend, state, force=force)
            except SessionCorrupt:
                if not force:
                    raise
            claim.delete()
            logger.info(
                "%s: deleted", session_id, extra=about("session_deleted", session_id=session_id)
            )
        finally:
            claim.release()
