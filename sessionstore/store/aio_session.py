"""AsyncSession: a claimed session whose writes are prepared at once and stored in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self

from sessionstore.errors import NotStorable, SessionStoreError
from sessionstore.model import StateT
from sessionstore.model.checkpoint import Checkpoint
from sessionstore.model.ids import check_id
from sessionstore.model.state import SessionOwner
from sessionstore.session import verdict
from sessionstore.session.journal import OpenedJournal
from sessionstore.session.position import End
from sessionstore.session.prepared_write import PreparedWrite
from sessionstore.session.writer import SessionWriter
from sessionstore.store.aio_journal import AsyncJournal
from sessionstore.store.threads import Runner

if TYPE_CHECKING:
    from sessionstore.operations.recovery import RecoveryReport
    from sessionstore.operations.start_up import SkippedSession, StartUp
    from sessionstore.session.edit import SessionEdit


class AsyncSession(Generic[StateT]):
    """A claimed session whose methods are awaited; see :class:`~sessionstore.Session`.

    A save serialises and checks the state before its first await, so that an edit during the
    write changes nothing that was checked. Once its write has begun it is finished before a
    cancellation is delivered. Saves of one session are stored in the order of their calls.

    Examples:
        >>> async with store.create("triage") as session:
        ...     session.state.data_buffer["step"] = 1
        ...     await session.save()
    """

    def __init__(self, writer: SessionWriter[StateT], runner: Runner) -> None:
        self._writer = writer
        self._runner = runner
        self._order = asyncio.Lock()
        self._appends = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<AsyncSession {self._writer}>"

    def __reduce__(self) -> NoReturn:
        self._writer.refuse_pickling()

    @property
    def session_id(self) -> str:
        """The id of the session."""
        return self._writer.session_id

    @property
    def revision(self) -> int:
        """The revision that is stored; it grows by one with every write."""
        return self._writer.revision

    @property
    def owner(self) -> SessionOwner:
        """The owner record of this claim."""
        return self._writer.owner

    @property
    def directory(self) -> Path:
        """The session's directory; see :attr:`sessionstore.Session.directory`."""
        return self._writer.claim.directory

    @property
    def is_released(self) -> bool:
        """Whether the claim has ended."""
        return self._writer.is_released

    @property
    def is_resumed(self) -> bool:
        """Whether it goes on from a stored state; False where it was created or only claimed."""
        return self._writer.is_resumed

    @property
    def state(self) -> StateT:
        """The state, to edit or to replace; see :attr:`sessionstore.Session.state`."""
        return self._writer.state

    @state.setter
    def state(self, state: StateT) -> None:
        self._writer.state = state

    def journal(self, name: str = "main") -> AsyncJournal:
        """Return a journal of this session; see :meth:`sessionstore.Session.journal`."""
        return AsyncJournal(OpenedJournal(self._writer, name), self._runner, self._appends)

    async def save(self) -> int:
        """Store the state; return its revision. The session stays claimed."""
        return await self._finish(self._writer.begin_step())

    async def checkpoint(
        self,
        checkpoint_type: str = "manual",
        *,
        node: str | None = None,
        next_node: str | End | None = None,
    ) -> Checkpoint:
        """Store the state, keep it, and make it the one that a resume restores."""
        return await self._keep(self._writer.begin_checkpoint(checkpoint_type, node, next_node))

    async def pause(self, node: str | None = None, *, resume_from: str | None = None) -> Checkpoint:
        """Store the state as paused, keep a checkpoint of it, and release the session."""
        return await self._keep(verdict.begin_pause(self._writer, node, resume_from))

    async def complete(self, output: dict[str, Any] | None = None) -> int:
        """Store the state as completed and release the session; return the revision."""
        return await self._finish(verdict.begin_complete(self._writer, output))

    async def fail(self, error: BaseException | str) -> int:
        """Store the state as failed with ``error``, release the session; return the revision."""
        return await self._finish(verdict.begin_fail(self._writer, error))

    async def cancel(self, reason: str | None = None) -> int:
        """Store the state as cancelled and release the session; return the revision."""
        return await self._finish(verdict.begin_cancel(self._writer, reason))

    async def release(self) -> None:
        """Give the session back; one that is still ACTIVE is paused first."""
        async with self._order:
            await self._runner.run(partial(verdict.end, self._writer, None))

    async def delete(self) -> None:
        """Delete the session with its checkpoints and files; the claim ends with it."""
        async with self._order:
            await self._runner.run(self._writer.delete)

    async def remove_checkpoint(self, checkpoint_id: str) -> None:
        """Remove a checkpoint of the session, but not the latest."""
        check_id(checkpoint_id, kind="checkpoint id")
        async with self._order:
            await self._runner.run(partial(self._writer.remove_checkpoint, checkpoint_id))

    async def _keep(self, prepared: PreparedWrite) -> Checkpoint:
        await self._finish(prepared)
        assert prepared.checkpoint is not None
        return prepared.checkpoint

    async def _finish(self, prepared: PreparedWrite) -> int:
        """Store what was prepared, after what was prepared before; return the revision."""
        started = False
        try:
            async with self._order:  # first come, first stored
                started = True
                return await self._runner.run(partial(self._writer.finish, prepared))
        finally:
            if not started:
                self._writer.abandon(prepared)

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
            if writer.needs_verdict:
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
            await self._finish(verdict.begin_verdict(writer, error))
        except NotStorable as unstorable:
            end = partial(verdict.end_with_last_saved, writer, error or unstorable)
            await self._runner.run(end)
            raise


@asynccontextmanager
async def edited(edit: SessionEdit[StateT], runner: Runner) -> AsyncIterator[AsyncSession[StateT]]:
    """Yield the session of an edit; store it at a clean end, else discard it."""
    session = AsyncSession(edit.writer, runner)
    try:
        yield session
        if (prepared := edit.prepare()) is not None:
            await session._finish(prepared)
    except BaseException:
        await runner.run(edit.discard)
        raise
    await runner.run(edit.writer.free)


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


def interrupt_cancelled(writer: SessionWriter[Any]) -> None:
    """Undo an open that a cancelled task never got: a session that it made is deleted."""
    if writer.is_resumed:
        verdict.interrupt(writer, asyncio.CancelledError())
    else:
        writer.delete()


class AsyncInterruptedSessions(Generic[StateT]):
    """The interrupted sessions of a store; see :class:`~sessionstore.InterruptedSessions`.

    Examples:
        >>> async for session in store.resume_interrupted():
        ...     async with session:
        ...         await session.complete()
    """

    def __init__(self, start_up: StartUp[StateT], runner: Runner) -> None:
        self._start_up = start_up
        self._runner = runner

    @property
    def skipped(self) -> list[SkippedSession]:
        """The sessions that were left out so far."""
        return self._start_up.skipped

    @property
    def swept(self) -> RecoveryReport | None:
        """The result of the sweep; None before the first step, or without a sweep."""
        return self._start_up.swept

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AsyncSession[StateT]:
        writer = await self._runner.run(self._start_up.next, undo=_interrupt_any)
        if writer is None:
            raise StopAsyncIteration
        return AsyncSession(writer, self._runner)


def _interrupt_any(writer: SessionWriter[Any] | None) -> None:
    if writer is not None:
        interrupt_cancelled(writer)
