"""SessionStore: create, claim, resume, list and sweep sessions."""

from __future__ import annotations

import os
from itertools import islice
from typing import Any, Literal, Unpack, cast, overload

from sessionstore import (
    checkpoints,
    clock,
    codec,
    creating,
    inspection,
    owner,
    taking,
)
from sessionstore.backends.base import Backend, Claim
from sessionstore.checkpoints import Checkpoint
from sessionstore.creating import NewSession
from sessionstore.errors import (
    NotResumable,
    SessionCorrupt,
)
from sessionstore.ids import check_id
from sessionstore.log import about, logger
from sessionstore.operations import Operations
from sessionstore.owner import Liveness
from sessionstore.preparing import Prepared
from sessionstore.query import Filters, Matches, Page, SessionQuery, SessionSummary, make_query
from sessionstore.session import Session
from sessionstore.state import (
    SessionState,
    StateT,
)
from sessionstore.writing import Writer


class SessionStore(Operations[StateT]):
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
        state_type: type[Any] = SessionState,
        durability: Literal["power", "process"] = "power",
        create: bool = True,
        keep_checkpoints: int | None = None,
        clock: clock.Clock = clock.utc_now,
    ) -> None:
        if not (isinstance(state_type, type) and issubclass(state_type, SessionState)):
            raise TypeError("state_type is a subclass of SessionState")
        if keep_checkpoints is not None and (
            type(keep_checkpoints) is not int or keep_checkpoints < 1
        ):
            raise ValueError("keep_checkpoints is None (keep all) or at least 1")
        if isinstance(root, Backend):
            self._backend = root
        else:
            from sessionstore.backends.files import FilesBackend

            self._backend = FilesBackend(
                root,
                durability=durability,
                create=create,
                clock=clock,
            )
        self._state_type = cast("type[StateT]", state_type)
        self._keep_checkpoints = keep_checkpoints
        self._clock = clock

    def __repr__(self) -> str:
        return f"<SessionStore {self._backend}>"

    def __enter__(self) -> SessionStore[StateT]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of what the store itself holds; sessions stay claimed until released."""
        self._backend.close()

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
        writer, first = self._begin_create(goal_id, state, fields)
        writer.finish_create(self._backend, first)
        return Session(writer)

    def _begin_create(
        self, goal_id: str | None, state: StateT | None, fields: NewSession
    ) -> tuple[Writer[StateT], Prepared]:
        """Return the writer of a new session, and its first write: what remains is I/O."""
        return Writer.for_new_session(
            owner.new_owner(self._clock()),
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
        claim, state = taking.take(
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
        if checkpoint_id is not None:
            check_id(checkpoint_id, kind="checkpoint id")
        claim, state = taking.take(
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
        return inspection.look(self._backend, check_id(session_id))[1]

    def checkpoints(self, session_id: str) -> list[Checkpoint]:
        """Return the checkpoints of a session, oldest first, damaged ones included.

        Raises:
            SessionNotFound, InvalidSessionId, SessionCorrupt, StorageError.
        """
        return inspection.list_checkpoints(self._backend, check_id(session_id))

    def load_checkpoint(self, session_id: str, checkpoint_id: str | None = None) -> StateT:
        """Return the state that a checkpoint holds; by default that of the latest.

        Raises:
            NotResumable: there is none.
            SessionCorrupt, StateTypeMismatch: it cannot be read.
            SessionNotFound, InvalidSessionId, StorageError: as for :meth:`load`.
        """
        current = self.load(session_id)
        chosen = current.latest_checkpoint_id if checkpoint_id is None else checkpoint_id
        if chosen is None:
            raise NotResumable(session_id, "it has no checkpoint")
        check_id(chosen, kind="checkpoint id")
        stored = self._backend.read_checkpoint(session_id, chosen)
        return checkpoints.load(current, stored, chosen)

    # --- listing ---------------------------------------------------------------------------------

    def find(
        self,
        *,
        limit: int | None = 50,
        cursor: str | None = None,
        order: str = "-updated_at",
        verify: bool = False,
        **filters: Unpack[Filters],
    ) -> Page:
        """Return a page of the sessions that match.

        A damaged session is an item with ``damaged`` set; where a filter asks for something
        that cannot be read from it, it is only counted, in ``Page.damaged``.

        Args:
            limit: how many at most; None for all.
            cursor: ``next_cursor`` of the page before. Sessions that did not change in between
                are neither repeated nor skipped.
            order: updated_at, started_at or session_id; with ``-`` in front, descending.
            verify: also notice what other software wrote underneath in sessions that are not
                on this page: a look at each, about 4 µs.
            filters: see :class:`~sessionstore.query.Filters`.

        Raises:
            InvalidQuery: a filter, the order or the cursor makes no sense.
        """
        query = make_query(filters, limit=limit, cursor=cursor, order=order)
        matches = self._matches(query, verify=verify)
        if limit is None:
            return Page(tuple(matches), None, matches.damaged)
        items = tuple(islice(matches, limit))
        more = len(items) == limit and next(matches, None) is not None
        return Page(items, query.cursor_after(items[-1]) if more else None, matches.damaged)

    def iter_find(
        self,
        *,
        cursor: str | None = None,
        order: str = "-updated_at",
        **filters: Unpack[Filters],
    ) -> Matches:
        """Return an iterator over every session that matches, in order, after ``cursor`` if any."""
        query = make_query(filters, limit=None, cursor=cursor, order=order)
        return self._matches(query)

    def count(self, **filters: Unpack[Filters]) -> int:
        """Return how many sessions match: as many as ``iter_find`` would yield.

        Raises:
            InvalidQuery: a filter makes no sense.
        """
        query = make_query(filters, limit=None, cursor=None, order="session_id")
        return self._backend.count(query, self._examine)

    def _matches(self, query: SessionQuery, *, verify: bool = False) -> Matches:
        return self._backend.find(query, self._examine, verify=verify)

    def _examine(self, item: SessionSummary) -> SessionSummary:
        return inspection.examine(self._backend, item)

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
        by = owner.new_owner(self._clock())
        claim = self._backend.claim(check_id(session_id), by, timeout=0.0)
        try:
            try:
                stored = claim.read()
                state = codec.decode(stored.payload, SessionState, session_id, stored.file)
                taking.refuse_unless_dead(self._backend, state, force=force)
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
        return Writer(claim, state, clock=self._clock, keep_checkpoints=self._keep_checkpoints)
