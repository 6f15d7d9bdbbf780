"""The awaitable face: the same names, with only the I/O outside of the caller's thread."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Any, Generic, Literal, Self, Unpack, overload

from sessionstore import clock
from sessionstore.errors import NotStorable, SessionClaimed, SessionStoreError
from sessionstore.model import StateT
from sessionstore.model.checkpoint import Checkpoint
from sessionstore.model.liveness import Liveness
from sessionstore.model.query import Filters
from sessionstore.model.state import SessionState
from sessionstore.model.summary import Page, SessionSummary
from sessionstore.session.create import NewSession
from sessionstore.session.prepare import Prepared
from sessionstore.session.session import Held, Session
from sessionstore.session.writer import Writer
from sessionstore.storage.backend import Backend
from sessionstore.store.aio_operations import AsyncOperations
from sessionstore.store.store import SessionStore
from sessionstore.store.threads import Runner

_BATCH = 200
"""Summaries that iter_find fetches at a time."""


class AsyncSession(Held[StateT]):
    """A claimed session whose methods are awaited; see :class:`~sessionstore.Session`.

    A save serialises and checks the state before its first await, so that an edit during the
    write changes nothing that was checked. Once its write has begun it is finished before a
    cancellation is delivered. Saves of one session are stored in the order of their calls.
    """

    def __init__(self, writer: Writer[StateT], runner: Runner) -> None:
        super().__init__(writer)
        self._runner = runner
        self._order = asyncio.Lock()

    async def save(self) -> int:
        """Store the state; return its revision. The session stays claimed."""
        return await self._finish(self._writer.begin_step())

    async def checkpoint(
        self, checkpoint_type: str = "manual", *, node: str | None = None
    ) -> Checkpoint:
        """Store the state, keep it, and make it the one that a resume restores."""
        prepared = self._writer.begin_checkpoint(checkpoint_type, node)
        await self._finish(prepared)
        assert prepared.checkpoint is not None
        return prepared.checkpoint

    async def pause(self, node: str | None = None, *, resume_from: str | None = None) -> Checkpoint:
        """Store the state as paused, keep a checkpoint of it, and release the session."""
        prepared = self._writer.begin_pause(node, resume_from)
        await self._finish(prepared)
        assert prepared.checkpoint is not None
        return prepared.checkpoint

    async def complete(self, output: dict[str, Any] | None = None) -> int:
        """Store the state as completed and release the session; return the revision."""
        return await self._finish(self._writer.begin_complete(output))

    async def fail(self, error: BaseException | str) -> int:
        """Store the state as failed with ``error``, release the session; return the revision."""
        return await self._finish(self._writer.begin_fail(error))

    async def cancel(self, reason: str | None = None) -> int:
        """Store the state as cancelled and release the session; return the revision."""
        return await self._finish(self._writer.begin_cancel(reason))

    async def release(self) -> None:
        """Give the session back; one that is still ACTIVE is paused first."""
        async with self._order:
            await self._runner.run(Session(self._writer).release)

    async def _finish(self, prepared: Prepared) -> int:
        started = False
        try:
            async with self._order:  # first come, first stored
                started = True
                return await self._runner.run(partial(self._writer.finish, prepared))
        finally:
            if not started:
                self._writer.abandon()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        writer = self._writer
        try:
            if self._needs_verdict:
                await self._end(error)
        except SessionStoreError as trouble:
            if error is None:
                raise
            error.add_note(f"sessionstore could not store how the session ended: {trouble}")
        finally:
            await self._runner.run(writer.free)

    async def _end(self, error: BaseException | None) -> None:
        writer = self._writer
        try:
            await self._finish(writer.begin_verdict(error))
        except NotStorable as unstorable:
            await self._runner.run(partial(writer.leave_with_last_saved, error or unstorable))
            raise


class PendingSession(Generic[StateT]):
    """A session that is about to be opened: await it, or enter it with ``async with``."""

    def __init__(self, open_session: Callable[[], Awaitable[AsyncSession[StateT]]]) -> None:
        self._open = open_session
        self._session: AsyncSession[StateT] | None = None

    def __await__(self) -> Generator[Any, None, AsyncSession[StateT]]:
        return self._open().__await__()

    async def __aenter__(self) -> AsyncSession[StateT]:
        self._session = await self._open()
        return await self._session.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._session is not None
        await self._session.__aexit__(kind, error, traceback)


class AsyncSessionStore(AsyncOperations[StateT]):
    """A store whose methods are awaited; see :class:`~sessionstore.SessionStore`.

    ``create``, ``claim`` and ``resume`` can be awaited or entered with ``async with``.
    """

    @overload
    def __init__(
        self: AsyncSessionStore[SessionState],
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

    def __init__(self, root: str | os.PathLike[str] | Backend, **options: Any) -> None:
        self._store: SessionStore[StateT] = SessionStore(root, **options)
        self._runner = Runner()

    def __repr__(self) -> str:
        return repr(self._store).replace("<SessionStore", "<AsyncSessionStore", 1)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the threads; sessions stay claimed until released."""
        self._store.close()
        await self._runner.close()

    def create(
        self,
        goal_id: str | None = None,
        *,
        state: StateT | None = None,
        **fields: Unpack[NewSession],
    ) -> PendingSession[StateT]:
        """Create a session; a cancelled create leaves none."""

        async def open_session() -> AsyncSession[StateT]:
            store = self._store
            writer, first = store._begin_create(goal_id, state, fields)
            await self._runner.run(
                partial(writer.finish_create, store._backend, first),
                undo=lambda _: writer.claim.delete(),
            )
            return AsyncSession(writer, self._runner)

        return PendingSession(open_session)

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
            self._store.claim, session_id, expected_revision=expected_revision, force=force
        )
        return PendingSession(
            lambda: self._take(attempt, timeout, lambda session: session._writer.free())
        )

    def resume(
        self,
        session_id: str,
        *,
        checkpoint_id: str | None = None,
        timeout: float = 0.0,
        expected_revision: int | None = None,
        again: bool = False,
        force: bool = False,
    ) -> PendingSession[StateT]:
        """Restore a checkpoint and make the session ACTIVE; a cancelled resume pauses it."""
        attempt = partial(
            self._store.resume,
            session_id,
            checkpoint_id=checkpoint_id,
            expected_revision=expected_revision,
            again=again,
            force=force,
        )
        return PendingSession(
            lambda: self._take(attempt, timeout, lambda session: session.release())
        )

    async def _take(
        self,
        attempt: Callable[[], Session[StateT]],
        timeout: float,  # noqa: ASYNC109 - part of the surface: it is the lock's, not the task's
        undo: Callable[[Session[StateT]], None],
    ) -> AsyncSession[StateT]:
        """Try until the session is free, waiting without a thread."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        pause = 0.005
        while True:
            try:
                session = await self._runner.run(attempt, undo=undo)
            except SessionClaimed:
                left = deadline - loop.time()
                if left <= 0:
                    raise
                await asyncio.sleep(min(pause, left))
                pause = min(pause * 2, 0.1)
            else:
                return AsyncSession(session._writer, self._runner)

    async def load(self, session_id: str) -> StateT:
        """Return the stored state, complete and without a lock."""
        return await self._runner.run(partial(self._store.load, session_id))

    async def exists(self, session_id: str) -> bool:
        """Return whether there is such a session, damaged or not."""
        return await self._runner.run(partial(self._store.exists, session_id))

    async def delete(self, session_id: str, *, force: bool = False) -> None:
        """Delete a session with its checkpoints and files."""
        await self._runner.run(partial(self._store.delete, session_id, force=force))

    async def liveness(self, session_id: str) -> Liveness:
        """Return whether the process that holds the session lives, and how that is known."""
        return await self._runner.run(partial(self._store.liveness, session_id))

    async def checkpoints(self, session_id: str) -> list[Checkpoint]:
        """Return the checkpoints of a session, oldest first."""
        return await self._runner.run(partial(self._store.checkpoints, session_id))

    async def load_checkpoint(self, session_id: str, checkpoint_id: str | None = None) -> StateT:
        """Return the state that a checkpoint holds; by default that of the latest."""
        return await self._runner.run(
            partial(self._store.load_checkpoint, session_id, checkpoint_id)
        )

    async def find(
        self,
        *,
        limit: int | None = 50,
        cursor: str | None = None,
        order: str = "-updated_at",
        verify: bool = False,
        **filters: Unpack[Filters],
    ) -> Page:
        """Return a page of the sessions that match."""
        return await self._runner.run(
            partial(
                self._store.find,
                limit=limit,
                cursor=cursor,
                order=order,
                verify=verify,
                **filters,
            )
        )

    async def count(self, **filters: Unpack[Filters]) -> int:
        """Return how many sessions match."""
        return await self._runner.run(partial(self._store.count, **filters))

    async def iter_find(
        self,
        *,
        cursor: str | None = None,
        order: str = "-updated_at",
        **filters: Unpack[Filters],
    ) -> AsyncIterator[SessionSummary]:
        """Yield every session that matches, in order, after ``cursor`` if any."""
        matches = await self._runner.run(
            partial(self._store.iter_find, cursor=cursor, order=order, **filters)
        )
        while batch := await self._runner.run(lambda: list(islice(matches, _BATCH))):
            for item in batch:
                yield item
