"""AsyncSessionStore: the same methods, awaited, with the I/O outside of the caller's thread."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from functools import partial, update_wrapper, wraps
from itertools import islice
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Generic,
    Literal,
    ParamSpec,
    Self,
    TypeVar,
    Unpack,
    overload,
)

from sessionstore import clock
from sessionstore.errors import SessionStoreError
from sessionstore.model import StateT
from sessionstore.model.ids import check_id
from sessionstore.model.query import Filters, SessionFilters
from sessionstore.model.state import SessionState, SessionStatus
from sessionstore.model.summary import SessionSummary
from sessionstore.session.create import NewFields, NewSession
from sessionstore.session.journal_reader import open_reader
from sessionstore.session.opener import SessionOpener, open_store
from sessionstore.session.writer import SessionWriter
from sessionstore.storage.backend import Backend
from sessionstore.store.aio_journal import AsyncJournalView
from sessionstore.store.aio_session import (
    AsyncInterruptedSessions,
    AsyncSession,
    PendingSession,
    edited,
    interrupt_cancelled,
)
from sessionstore.store.aio_wait import in_turn
from sessionstore.store.store import SessionStore
from sessionstore.store.threads import Runner

if TYPE_CHECKING:
    from pathlib import Path

    from sessionstore.operations.cancel import Cancellation
    from sessionstore.operations.history import History
    from sessionstore.operations.watch import SessionChange, Watched

StoredT = TypeVar("StoredT", bound=SessionState)
P = ParamSpec("P")
R = TypeVar("R")

_BATCH = 200
"""Summaries that iter_find fetches at a time."""
_WATCH_STEP = 0.1
"""Seconds that a watch waits in a thread at a time: a cancellation is delivered as soon."""


def awaited(
    method: Callable[Concatenate[SessionStore[StoredT], P], R],
    *,
    undo: Callable[[SessionStore[StoredT], R], object] | None = None,
) -> Callable[Concatenate[AsyncSessionStore[StoredT], P], Coroutine[Any, Any, R]]:
    """Return the twin of a store's method: the same arguments and result, done in a thread.

    A task that was cancelled meanwhile receives no result: ``undo`` then gets it.
    """

    @wraps(method)
    async def twin(self: AsyncSessionStore[StoredT], /, *args: P.args, **kwargs: P.kwargs) -> R:
        store = self._store
        return await self._runner.run(
            partial(method, store, *args, **kwargs),
            undo=None if undo is None else partial(undo, store),
        )

    twin.__module__, twin.__qualname__ = __name__, f"AsyncSessionStore.{method.__name__}"
    return twin


def _read_history(
    store: SessionStore[StoredT], session_id: str, *, limit: int | None = None
) -> History:
    found = store.history(session_id, limit=limit)
    _ = found.shows_damage  # its entries read their files: not in the thread of the event loop
    return found


update_wrapper(_read_history, SessionStore.history)


class AsyncSessionStore(Generic[StateT]):
    """A store whose methods are awaited; see :class:`~sessionstore.SessionStore`.

    ``create``, ``resume`` and ``claim`` can be awaited or entered with ``async with``. Every
    method takes the arguments of the synchronous one, does its work in a thread, and calls
    ``progress`` there. Work that has begun is finished before a cancellation is delivered.

    Examples:
        >>> async with AsyncSessionStore("sessions") as store:
        ...     async with store.resume("ticket-1") as session:
        ...         await session.complete()
    """

    @overload
    def __init__(
        self: AsyncSessionStore[SessionState],
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

    def __init__(self, root: str | os.PathLike[str] | Backend, **options: Any) -> None:
        self._opener: SessionOpener[StateT] = open_store(root, **options)
        opener = self._opener
        self._store: SessionStore[StateT] = SessionStore(
            opener.backend,
            state_type=opener.state_type,
            default=opener.default,
            clock=opener.clock,
        )
        self._runner = Runner()

    def __repr__(self) -> str:
        return f"<AsyncSessionStore {self._opener.backend}>"

    def create(
        self,
        goal_id: str | None = None,
        *,
        state: StateT | None = None,
        **fields: Unpack[NewSession],
    ) -> PendingSession[StateT]:
        """Create a session; a cancelled create leaves none."""

        async def open_session() -> AsyncSession[StateT]:
            writer, first = self._opener.begin_create(goal_id, state, fields)
            await self._runner.run(
                partial(writer.finish_create, self._opener.backend, first),
                undo=lambda _: writer.claim.delete(),
            )
            return AsyncSession(writer, self._runner)

        return PendingSession(open_session)

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
    ) -> PendingSession[StateT]:
        """Restore a state and make the session ACTIVE; a cancelled resume leaves it interrupted."""
        attempt = partial(
            self._opener.resume,
            session_id,
            checkpoint_id=checkpoint_id,
            from_last_save=from_last_save,
            expected_revision=expected_revision,
            again=again,
            force=force,
        )
        undo = interrupt_cancelled
        return PendingSession(lambda: self._claimed(session_id, attempt, timeout, undo))

    def create_or_resume(
        self,
        session_id: str,
        goal_id: str | None = None,
        *,
        max_recoveries: int = 3,
        state: StateT | None = None,
        **fields: Unpack[NewFields],
    ) -> PendingSession[StateT]:
        """Start this job, or go on with it; see :meth:`SessionStore.create_or_resume`."""

        async def open_session() -> AsyncSession[StateT]:
            attempt = partial(
                self._opener.create_or_resume,
                session_id,
                goal_id,
                max_recoveries=max_recoveries,
                state=state,
                fields=fields,
            )
            return AsyncSession(
                await self._runner.run(attempt, undo=interrupt_cancelled), self._runner
            )

        return PendingSession(open_session)

    def resume_interrupted(
        self,
        *,
        max_recoveries: int = 3,
        max_stops: int = 10,
        sweep: bool = True,
        **filters: Unpack[SessionFilters],
    ) -> AsyncInterruptedSessions[StateT]:
        """Return an asynchronous iterator; see :meth:`SessionStore.resume_interrupted`."""
        from sessionstore.operations.start_up import StartUp

        start_up = StartUp(
            self._opener,
            max_recoveries=max_recoveries,
            max_stops=max_stops,
            sweep=sweep,
            filters=filters,
        )
        return AsyncInterruptedSessions(start_up, self._runner)

    @asynccontextmanager
    async def edit(
        self,
        session_id: str,
        *,
        create: str | None = None,
        timeout: float = 10.0,  # noqa: ASYNC109 - part of the surface
    ) -> AsyncIterator[AsyncSession[StateT]]:
        """Change a session that nobody runs; see :meth:`SessionStore.edit`."""
        from sessionstore.session.edit import SessionEdit, begin_edit

        attempt = partial(begin_edit, self._opener, session_id, create=create, timeout=0.0)
        undo = SessionEdit[StateT].discard
        backend, runner = self._opener.backend, self._runner
        edit = await in_turn(backend, runner, session_id, attempt, timeout, undo)
        async with edited(edit, self._runner) as session:
            yield session

    def claim(
        self,
        session_id: str,
        *,
        timeout: float = 0.0,
        expected_revision: int | None = None,
        force: bool = False,
    ) -> PendingSession[StateT]:
        """Claim a session as it is; a cancelled claim leaks nothing."""
        attempt = partial(
            self._opener.claim, session_id, expected_revision=expected_revision, force=force
        )
        undo = SessionWriter[StateT].free
        return PendingSession(lambda: self._claimed(session_id, attempt, timeout, undo))

    async def _claimed(
        self,
        session_id: str,
        attempt: Callable[..., SessionWriter[StateT]],
        timeout: float,  # noqa: ASYNC109 - as for in_turn
        undo: Callable[[SessionWriter[StateT]], None],
    ) -> AsyncSession[StateT]:
        backend, runner = self._opener.backend, self._runner
        writer = await in_turn(backend, runner, session_id, attempt, timeout, undo)
        return AsyncSession(writer, runner)

    load: Final = awaited(SessionStore[StateT].load)
    load_checkpoint: Final = awaited(SessionStore[StateT].load_checkpoint)
    delete: Final = awaited(SessionStore[StateT].delete)

    find: Final = awaited(SessionStore[StateT].find)
    count: Final = awaited(SessionStore[StateT].count)

    async def iter_find(
        self, *, cursor: str | None = None, order: str = "-updated_at", **filters: Unpack[Filters]
    ) -> AsyncIterator[SessionSummary]:
        """Yield every session that matches, in order, after ``cursor`` if any."""
        matches = await self._runner.run(
            partial(self._store.iter_find, cursor=cursor, order=order, **filters)
        )
        while batch := await self._runner.run(lambda: list(islice(matches, _BATCH))):
            for item in batch:
                yield item

    exists: Final = awaited(SessionStore[StateT].exists)
    liveness: Final = awaited(SessionStore[StateT].liveness)
    steps: Final = awaited(SessionStore[StateT].steps)

    def journal(self, session_id: str, name: str = "main") -> AsyncJournalView:
        """Return a journal of a session, to read; a plain method, as it reads nothing yet."""
        reader = open_reader(self._opener.backend, session_id, name)
        return AsyncJournalView(session_id, name, reader, self._runner)

    async def journals(self, session_id: str) -> list[AsyncJournalView]:
        """Return the journals of a session, by name."""
        found = await self._runner.run(partial(self._store.journals, session_id))
        return [self.journal(session_id, one.name) for one in found]

    checkpoints: Final = awaited(SessionStore[StateT].checkpoints)
    checkpoint_names: Final = awaited(SessionStore[StateT].checkpoint_names)

    def directory(self, session_id: str) -> Path:
        """Return the directory of a session; a plain method, as it looks at nothing."""
        return self._store.directory(session_id)

    explain: Final = awaited(SessionStore[StateT].explain)
    history: Final = awaited(_read_history)
    diff: Final = awaited(SessionStore[StateT].diff)
    find_checkpoint: Final = awaited(SessionStore[StateT].find_checkpoint)
    fork: Final = awaited(SessionStore[StateT].fork, undo=SessionStore[StateT].delete)
    forks: Final = awaited(SessionStore[StateT].forks)

    async def cancel(
        self,
        session_id: str,
        *,
        reason: str | None = None,
        timeout: float = 0.0,  # noqa: ASYNC109 - part of the surface; the request stays after it
    ) -> Cancellation:
        """Ask the live process that holds a session to end it, or end one whose process died.

        Waits without a thread. A cancelled wait takes no request back.
        """
        found = [
            outcome
            async for _, outcome in self.cancel_all([session_id], reason=reason, timeout=timeout)
        ]
        if isinstance(found[0], SessionStoreError):
            raise found[0]
        return found[0]

    async def cancel_all(
        self,
        session_ids: Iterable[str],
        *,
        reason: str | None = None,
        timeout: float = 0.0,  # noqa: ASYNC109 - as above
    ) -> AsyncIterator[tuple[str, Cancellation | SessionStoreError]]:
        """Cancel several sessions; ask all before any is waited for, without a thread."""
        from sessionstore.operations.cancel import FIRST_PAUSE, LONGEST_PAUSE, CancelBatch

        chosen = [check_id(session_id) for session_id in session_ids]
        batch = CancelBatch(self._opener.backend, chosen, reason)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        pause = FIRST_PAUSE
        while True:
            left = deadline - loop.time()
            for seen in await self._runner.run(partial(batch.look, is_last=left <= 0)):
                yield seen
            if batch.is_done:
                return
            await asyncio.sleep(min(pause, max(left, 0.0)))
            pause = min(pause * 2, LONGEST_PAUSE)

    mark: Final = awaited(SessionStore[StateT].mark)
    retry: Final = awaited(SessionStore[StateT].retry)
    usage: Final = awaited(SessionStore[StateT].usage)
    raw: Final = awaited(SessionStore[StateT].raw)

    recover: Final = awaited(SessionStore[StateT].recover)
    check: Final = awaited(SessionStore[StateT].check)
    stats: Final = awaited(SessionStore[StateT].stats)
    prune: Final = awaited(SessionStore[StateT].prune)
    export_sessions: Final = awaited(SessionStore[StateT].export_sessions)
    import_sessions: Final = awaited(SessionStore[StateT].import_sessions)
    diagnose: Final = awaited(SessionStore[StateT].diagnose)

    async def watch(
        self,
        session_ids: Iterable[str] | None = None,
        *,
        until: str | SessionStatus | Iterable[str | SessionStatus] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the end of the watch, not of a call
        poll: float = 1.0,
        events: bool = True,
        **filters: Unpack[Watched],
    ) -> AsyncIterator[SessionChange]:
        """Yield sessions as they change; see :meth:`~sessionstore.SessionStore.watch`.

        Leave it early through ``contextlib.aclosing``, or by cancelling the task.
        """
        from sessionstore.operations.watch import Watch, make_watch

        watching = await self._runner.run(
            partial(
                make_watch,
                self._opener.backend,
                session_ids,
                until=until,
                timeout=timeout,
                poll=poll,
                events=events,
                filters=filters,
            ),
            undo=Watch.close,
        )
        try:
            while not watching.is_over:
                for change in await self._runner.run(partial(watching.step, _WATCH_STEP)):
                    yield change
        finally:
            watching.close()

    async def close(self) -> None:
        """End the threads; sessions stay claimed until they are released."""
        self._store.close()
        await self._runner.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
