"""SessionStore: create, claim, resume, list and sweep sessions."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, Unpack, cast, overload

from sessionstore import clock
from sessionstore.errors import NotResumable, SessionCorrupt
from sessionstore.log import about, logger
from sessionstore.model import StateT
from sessionstore.model.ids import check_id
from sessionstore.model.liveness import Liveness
from sessionstore.process import identity
from sessionstore.session import inspect
from sessionstore.storage.backend import Backend
from sessionstore.store.inspection import SessionOperations
from sessionstore.store.maintenance import Operations

if TYPE_CHECKING:  # loaded when a store is made: importing this module does without pydantic
    from sessionstore.model.checkpoint import Checkpoint
    from sessionstore.model.state import SessionState
    from sessionstore.session.create import NewSession
    from sessionstore.session.prepare import Prepared
    from sessionstore.session.session import Session
    from sessionstore.session.writer import Writer
    from sessionstore.storage.claim import Claim


class SessionStore(Operations, SessionOperations[StateT]):
    """Sessions that outlive the process that runs them.

    Args:
        root: a directory, made with the first write; or a backend.
        state_type: the class of the states, a subclass of SessionState with typed data.
        durability: what a save that returned survives: a loss of ``"power"``, or only the death
            of the ``"process"``.
        create: whether to make the store if there is none; else that raises StorageError.
        keep_checkpoints: how many of a session's checkpoints to keep as it goes; None keeps all.
        clock: returns the current time as an aware datetime.

    ``durability`` and ``create`` are for a directory: a backend has its own.

    Raises:
        StorageError: the root is no directory, a store of a newer format, or missing.
    """

    @overload
    def __init__(
        self: SessionStore[SessionState],
        root: str | os.PathLike[str] | Backend,
        *,
        durability: Literal["power", "process"] = ...,
        create: bool = ...,
        keep_checkpoints: int | None = ...,
        clock: clock.Clock = ...,
    ) -> None: ...

    @overload
    def __init__(
        self,
        root: str | os.PathLike[str] | Backend,
        *,
        state_type: type[StateT],
        durability: Literal["power", "process"] = ...,
        create: bool = ...,
        keep_checkpoints: int | None = ...,
        clock: clock.Clock = ...,
    ) -> None: ...

    def __init__(
        self,
        root: str | os.PathLike[str] | Backend,
        *,
        state_type: type[Any] | None = None,
        durability: Literal["power", "process"] = "power",
        create: bool = True,
        keep_checkpoints: int | None = None,
        clock: clock.Clock = clock.utc_now,
    ) -> None:
        # All that a first save needs is loaded here: that may run on an event loop, or without
        # the right to read this package any more.
        from sessionstore.model.state import SessionState
        from sessionstore.session import create as creating  # noqa: F401
        from sessionstore.session import resume as taking  # noqa: F401
        from sessionstore.session import session  # noqa: F401

        if state_type is None:
            state_type = SessionState
        if not (isinstance(state_type, type) and issubclass(state_type, SessionState)):
            raise TypeError("state_type is a subclass of SessionState")
        if keep_checkpoints is not None and (
            type(keep_checkpoints) is not int or keep_checkpoints < 1
        ):
            raise ValueError("keep_checkpoints is None (keep all) or at least 1")
        if isinstance(root, Backend):
            super().__init__(root)
        else:
            from sessionstore.storage.files import claim, leftovers  # noqa: F401 - as above
            from sessionstore.storage.files import create as building  # noqa: F401 - as above
            from sessionstore.storage.files.backend import FilesBackend

            files = FilesBackend(root, durability=durability, create=create, clock=clock)
            super().__init__(files)
        self._state_type = cast("type[StateT]", state_type)
        self._keep_checkpoints = keep_checkpoints
        self._clock = clock

    def __repr__(self) -> str:
        return f"<SessionStore {self._backend}>"

    # --- making and claiming ---------------------------------------------------------------------

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
            state: a whole state instead, such as SessionState's constructors make.
            fields: see :class:`NewSession`; with ``state`` only ``session_id``.

        Raises:
            SessionExists, InvalidSessionId, NotStorable, StateTypeMismatch, StorageError: and
                no session is there.
        """
        from sessionstore.session.session import Session

        writer, first = self._begin_create(goal_id, state, fields)
        writer.finish_create(self._backend, first)
        return Session(writer)

    def _begin_create(
        self, goal_id: str | None, state: StateT | None, fields: NewSession
    ) -> tuple[Writer[StateT], Prepared]:
        """Return the writer of a new session, and its first write: what remains is I/O."""
        from sessionstore.session import create as creating
        from sessionstore.session.writer import Writer

        return Writer.for_new_session(
            identity.new_owner(self._clock()),
            creating.first_state(self._state_type, goal_id, state, fields, self._clock()),
            clock=self._clock,
            keep_checkpoints=self._keep_checkpoints,
        )

    # --- claim and resume ------------------------------------------------------------------------

    def claim(
        self,
        session_id: str,
        *,
        timeout: float = 0.0,
        expected_revision: int | None = None,
        force: bool = False,
    ) -> Session[StateT]:
        """Claim a session as it is: its status does not change, and nothing is written.

        Args:
            session_id: which one.
            timeout: how many seconds to wait for a live holder to release it.
            expected_revision: refuse the session if it has moved on since you saw it.
            force: also claim an ACTIVE session of which cannot be known whether its owner
                lives. One that is known to live is never taken away.

        Raises:
            SessionNotFound, InvalidSessionId: there is no such session.
            SessionClaimed: a live process holds it, or one that may live; it is named.
            RevisionConflict: it is not at ``expected_revision``; who held it last is named.
            SessionCorrupt, StateTypeMismatch, StorageError: its state cannot be read.
        """
        from sessionstore.session import resume as taking
        from sessionstore.session.session import Session

        claim, state = taking.claim_session(
            self._backend,
            check_id(session_id),
            self._state_type,
            timeout=timeout,
            expected_revision=expected_revision,
            force=force,
        )
        return Session(self._writer(claim, state))

    def resume(
        self,
        session_id: str,
        *,
        checkpoint_id: str | None = None,
        timeout: float = 0.0,
        expected_revision: int | None = None,
        again: bool = False,
        force: bool = False,
    ) -> Session[StateT]:
        """Claim a session, restore a checkpoint of it, and make it ACTIVE.

        Restored is the whole state of the checkpoint, except that revision, incarnation, owner
        and recovery go on, and that the end (result, completed_at, paused_at_time) is cleared.
        A newer state is kept first, as a checkpoint of type ``before_resume``.

        Args:
            session_id: which one.
            checkpoint_id: which checkpoint; by default the latest.
            timeout: how many seconds to wait for a live holder to release it.
            expected_revision: of any number of processes that saw this revision and resume,
                exactly one wins.
            again: also resume a session that is COMPLETED or CANCELLED; not needed with
                ``expected_revision``, which says that you know what you resume.
            force: as for :meth:`claim`.

        Raises:
            NotResumable: no checkpoint, a missing or a damaged one, or an ended session.
            SessionNotFound, InvalidSessionId, SessionClaimed, RevisionConflict, SessionCorrupt,
                StateTypeMismatch, StorageError: as for :meth:`claim`.
        """
        from sessionstore.session import resume as taking
        from sessionstore.session.session import Session

        if checkpoint_id is not None:
            check_id(checkpoint_id, kind="checkpoint id")
        claim, state = taking.claim_session(
            self._backend,
            check_id(session_id),
            self._state_type,
            timeout=timeout,
            expected_revision=expected_revision,
            force=force,
        )
        try:
            if not again and expected_revision is None:
                taking.refuse_ended(state)
            writer = self._writer(claim, taking.restore(self._backend, claim, state, checkpoint_id))
            writer.run(writer.begin_save)
        except BaseException:
            claim.release()
            raise
        return Session(writer)

    # --- reading ---------------------------------------------------------------------------------

    def load(self, session_id: str) -> StateT:
        """Return the stored state, complete and without a lock.

        Raises:
            SessionNotFound, InvalidSessionId, SessionCorrupt, StateTypeMismatch, StorageError.
        """
        from sessionstore.model import codec

        stored = self._backend.read(check_id(session_id))
        return codec.decode(stored.payload, self._state_type, session_id, stored.file)

    def exists(self, session_id: str) -> bool:
        """Return whether there is such a session, damaged or not."""
        return self._backend.exists(check_id(session_id))

    def liveness(self, session_id: str) -> Liveness:
        """Return whether the process that holds the session lives, and how that is known.

        Raises:
            SessionNotFound, InvalidSessionId, SessionCorrupt, StorageError.
        """
        return inspect.look(self._backend, check_id(session_id))[1]

    def checkpoints(self, session_id: str) -> list[Checkpoint]:
        """Return the checkpoints of a session, oldest first, damaged ones included.

        Raises:
            SessionNotFound, InvalidSessionId, SessionCorrupt, StorageError.
        """
        return inspect.list_checkpoints(self._backend, check_id(session_id))

    def load_checkpoint(self, session_id: str, checkpoint_id: str | None = None) -> StateT:
        """Return the state that a checkpoint holds; by default that of the latest.

        Raises:
            NotResumable: there is none.
            SessionCorrupt, StateTypeMismatch: it cannot be read.
            SessionNotFound, InvalidSessionId, StorageError: as for :meth:`load`.
        """
        from sessionstore.model import checkpoint

        current = self.load(session_id)
        chosen = current.latest_checkpoint_id if checkpoint_id is None else checkpoint_id
        if chosen is None:
            raise NotResumable(session_id, "it has no checkpoint")
        check_id(chosen, kind="checkpoint id")
        stored = self._backend.read_checkpoint(session_id, chosen)
        return checkpoint.load(current, stored, chosen)

    # --- the end ---------------------------------------------------------------------------------

    def delete(self, session_id: str, *, force: bool = False) -> None:
        """Delete a session with its checkpoints and files; it is gone whole, or there whole.

        Args:
            session_id: which one.
            force: also delete one whose owner may live without a lock, or whose state is
                damaged, so that its owner cannot be known. A live claim is never overridden.

        Raises:
            SessionNotFound, InvalidSessionId: there is no such session.
            SessionClaimed: a live process holds it, or one that may live.
            SessionCorrupt: its state cannot be read, and ``force`` is false.
            DurabilityUncertain, StorageError: the system refused.
        """
        from sessionstore.model import codec
        from sessionstore.model.state import SessionState
        from sessionstore.session import resume as taking

        by = identity.new_owner(self._clock())
        claim = self._backend.claim(check_id(session_id), by, timeout=0.0)
        try:
            try:
                stored = claim.read()
                state = codec.decode(stored.payload, SessionState, session_id, stored.file)
                taking.check_owner_dead(self._backend, state, force=force)
            except SessionCorrupt:
                if not force:
                    raise
            claim.delete()
            logger.info(
                "%s: deleted", session_id, extra=about("session_deleted", session_id=session_id)
            )
        finally:
            claim.release()

    def _writer(self, claim: Claim, state: StateT) -> Writer[StateT]:
        from sessionstore.session.writer import Writer

        return Writer(claim, state, clock=self._clock, keep_checkpoints=self._keep_checkpoints)
