"""Start a job, or go on with it: what an application calls when it starts, and between its runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, Unpack

from sessionstore.model import StateT

if TYPE_CHECKING:
    from sessionstore.model.query import SessionFilters
    from sessionstore.operations.start_up import InterruptedSessions
    from sessionstore.session.create import NewFields
    from sessionstore.session.opener import SessionOpener
    from sessionstore.session.session import Session


class StoreJobs(Generic[StateT]):
    """The methods of :class:`~sessionstore.SessionStore` that start jobs and go on with them."""

    _opener: SessionOpener[StateT]

    def create_or_resume(
        self,
        session_id: str,
        goal_id: str | None = None,
        *,
        max_recoveries: int = 3,
        state: StateT | None = None,
        **fields: Unpack[NewFields],
    ) -> Session[StateT]:
        """Start this job, or go on with it: ``session.is_resumed`` tells which of the two.

        A session that is not there is created. One that is PAUSED, also to wait for a person,
        FAILED, or left behind by a dead process is resumed, from where :meth:`resume` goes on.
        What is given for the creation is ignored then.

        Args:
            session_id: which one.
            goal_id: what it is for; required unless it is there or ``state`` is given.
            max_recoveries: refuse it if more processes than that died while they ran it.
            state: as for :meth:`create`.
            fields: as for :meth:`create`.

        Raises:
            SessionEnded: it is COMPLETED or CANCELLED; the error has its state.
            SessionClaimed: a process that lives, or may live, holds it, or came first.
            SessionExists: it is there for another goal.
            NotResumable: too many processes died, or its checkpoint is missing or damaged.
            SessionCorrupt: its state is damaged; it is never replaced by a new one.
            StateTypeMismatch: its state is not of the store's ``state_type``.
            InvalidSessionId: the id is not safe.
            NotStorable: a value would not read back equal.
            StorageError: the system refused.

        Examples:
            >>> with store.create_or_resume("nightly-2026-11-22", "report") as session:
            ...     if not session.is_resumed:
            ...         session.state.data_buffer["pages"] = []
            ...     revision = session.complete()
        """
        from sessionstore.session.session import Session

        writer = self._opener.create_or_resume(
            session_id, goal_id, max_recoveries=max_recoveries, state=state, fields=fields
        )
        return Session(writer)

    def resume_interrupted(
        self,
        *,
        max_recoveries: int = 3,
        max_stops: int = 10,
        sweep: bool = True,
        **filters: Unpack[SessionFilters],
    ) -> InterruptedSessions[StateT]:
        """Return an iterator that resumes each interrupted session: the loop of a start-up.

        A session is claimed when the loop comes to it, not before. It is yours: end it with
        ``with``. What another process took meanwhile, has another type, is damaged, or was
        interrupted too often is left out; ``skipped`` of the iterator tells which and why.

        Args:
            max_recoveries: leave out a session if more processes than that died while they ran it.
            max_stops: leave out a session that was stopped more often than that.
            sweep: call :meth:`recover` first.
            filters: as for :meth:`find`, without ``interrupted`` and ``max_recoveries``.

        Raises:
            InvalidQuery: a filter makes no sense.
            StorageError: the store cannot be listed.

        Examples:
            >>> for session in store.resume_interrupted():
            ...     with session:
            ...         revision = session.complete()
        """
        from sessionstore.operations.start_up import InterruptedSessions, StartUp

        return InterruptedSessions(
            StartUp(
                self._opener,
                max_recoveries=max_recoveries,
                max_stops=max_stops,
                sweep=sweep,
                filters=filters,
            )
        )

    @contextmanager
    def edit(
        self, session_id: str, *, create: str | None = None, timeout: float = 10.0
    ) -> Iterator[Session[StateT]]:
        """Change a session that nobody runs; a worker goes on with it later.

        At the end of the block the state is stored, if it changed, and becomes the latest
        checkpoint, of type ``edit``, so that a resume sees it. It replaces an edit that nobody has
        resumed yet. After an exception nothing of the state is stored, and a session that was
        created is gone. The status stays; ``complete()``, ``cancel()``, … inside the block end the
        session. If the process that ran it died, that goes on record first, as a sweep does it.

        Args:
            session_id: which one.
            create: the goal of the session if it has to be created; it is PAUSED then. None: it
                has to be there.
            timeout: how many seconds to wait for a live holder to release it, behind those who wait
                already. With 0 it is refused while others wait.

        Raises:
            SessionNotFound: there is no such session, and ``create`` is None.
            SessionClaimed: a process that lives, or may live, holds it; the error names it.
            SessionCorrupt: its state is damaged.
            StateTypeMismatch: its state is not of the store's ``state_type``.
            InvalidSessionId: the id is not safe.
            NotStorable: a value would not read back equal; nothing was stored.
            StorageError: the system refused.

        Examples:
            >>> with store.edit("ticket-1") as session:
            ...     session.state.data_buffer["answer"] = "yes"
        """
        from sessionstore.session.edit import begin_edit
        from sessionstore.session.session import Session

        edit = begin_edit(self._opener, session_id, create=create, timeout=timeout)
        try:
            yield Session(edit.writer)
            if (prepared := edit.prepare()) is not None:
                edit.writer.finish(prepared)
        except BaseException:
            edit.discard()
            raise
        edit.writer.free()
