"""What looks after sessions, awaited: the counterparts of :mod:`sessionstore.store.maintenance`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Generic, Literal, Unpack

from sessionstore.errors import SessionStoreError
from sessionstore.model import StateT
from sessionstore.model.ids import check_id
from sessionstore.model.query import Filters
from sessionstore.model.state import SessionStatus
from sessionstore.operations.recovery import MarkAs, RecoveryReport
from sessionstore.storage.report import CheckReport, Diagnosis, Progress
from sessionstore.storage.values import Usage
from sessionstore.store.store import SessionStore
from sessionstore.store.threads import Runner

if TYPE_CHECKING:
    from sessionstore.operations.cancel import Cancellation
    from sessionstore.operations.diff import StateDiff
    from sessionstore.operations.explanation import Explanation
    from sessionstore.operations.fork import Fork
    from sessionstore.operations.history import History
    from sessionstore.operations.prune import PruneReport
    from sessionstore.operations.retention import RetentionPolicy
    from sessionstore.operations.stats import Counted, StoreStats
    from sessionstore.operations.transfer.export import ExportReport
    from sessionstore.operations.transfer.export_target import Place
    from sessionstore.operations.transfer.import_ import ImportReport
    from sessionstore.operations.transfer.import_source import Source
    from sessionstore.operations.watch import SessionChange, Watched

_GLANCE = 0.1
"""Seconds that a watch waits in a thread at a time: a cancellation is delivered as soon."""


class AsyncOperations(Generic[StateT]):
    """The methods of :class:`~sessionstore.AsyncSessionStore` that look after sessions."""

    _store: SessionStore[StateT]
    _runner: Runner

    async def recover(
        self,
        *,
        dry_run: bool = False,
        mark_as: MarkAs = "failed",
        assume_dead: Iterable[str] = (),
        progress: Progress | None = None,
    ) -> RecoveryReport:
        """Mark the ACTIVE sessions whose process died; ``progress`` is called in a thread."""
        return await self._runner.run(
            partial(
                self._store.recover,
                dry_run=dry_run,
                mark_as=mark_as,
                assume_dead=assume_dead,
                progress=progress,
            )
        )

    async def check(self, *, repair: bool = False, progress: Progress | None = None) -> CheckReport:
        """Look for damage and for what is left over; ``progress`` is called in a thread."""
        return await self._runner.run(partial(self._store.check, repair=repair, progress=progress))

    # --- sizes -----------------------------------------------------------------------------------

    async def usage(self, session_id: str) -> Usage:
        """Return what a session takes where it is kept, in bytes; a damaged one, too."""
        return await self._runner.run(partial(self._store.usage, session_id))

    async def raw(self, session_id: str, checkpoint_id: str | None = None) -> bytes:
        """Return the stored bytes of a state, or of a checkpoint, whatever they say."""
        return await self._runner.run(partial(self._store.raw, session_id, checkpoint_id))

    async def stats(
        self,
        *,
        sizes: bool = True,
        progress: Progress | None = None,
        counted: Counted | None = None,
    ) -> StoreStats:
        """Return counts and sizes; ``progress`` is called in a thread."""
        return await self._runner.run(
            partial(self._store.stats, sizes=sizes, progress=progress, counted=counted)
        )

    async def diagnose(self) -> Sequence[Diagnosis]:
        """Try whether the place of this store is fit for it."""
        return await self._runner.run(self._store.diagnose)

    # --- one session: say how it ended, ask it to end -------------------------------------------

    async def mark(
        self,
        session_id: str,
        status: Literal["failed", "cancelled", "paused"],
        *,
        reason: str,
        force: bool = False,
    ) -> int:
        """Say how a session ended that nobody holds; return its new revision."""
        return await self._runner.run(
            partial(self._store.mark, session_id, status, reason=reason, force=force)
        )

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
        from sessionstore.operations import cancel as cancelling

        chosen = [check_id(session_id) for session_id in session_ids]
        together = cancelling.CancelBatch(self._store._backend, chosen, reason)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        pause = cancelling.FIRST_PAUSE
        while True:
            left = deadline - loop.time()
            for seen in await self._runner.run(partial(together.look, is_last=left <= 0)):
                yield seen
            if together.is_done:
                return
            await asyncio.sleep(min(pause, max(left, 0.0)))
            pause = min(pause * 2, cancelling.LONGEST_PAUSE)

    # --- one session: what became of it, and what it was -----------------------------------------

    async def explain(self, session_id: str) -> Explanation:
        """Tell who held a session, how it ended and how that is known, and what to do next."""
        return await self._runner.run(partial(self._store.explain, session_id))

    async def history(self, session_id: str) -> History:
        """Return the life of a session as it was kept: its beginning, checkpoints, and present."""
        return await self._runner.run(partial(self._store.history, session_id))

    async def find_checkpoint(self, session_id: str, named: str) -> str:
        """Return the id of the checkpoint that is called so, begins so, or holds ``r12``."""
        return await self._runner.run(partial(self._store.find_checkpoint, session_id, named))

    async def diff(
        self,
        session_id: str,
        a: str | None = None,
        b: str | None = None,
        *,
        everything: bool = False,
    ) -> StateDiff:
        """Return how two states of a session differ, value by value, each with its path."""
        return await self._runner.run(
            partial(self._store.diff, session_id, a, b, everything=everything)
        )

    async def fork(
        self, session_id: str, checkpoint_id: str | None = None, *, new_id: str | None = None
    ) -> str:
        """Begin a new session from a kept state of another one; a cancelled fork leaves none."""
        return await self._runner.run(
            partial(self._store.fork, session_id, checkpoint_id, new_id=new_id),
            undo=self._store.delete,
        )

    async def forks(self, session_id: str, *, progress: Progress | None = None) -> list[Fork]:
        """Return the sessions forked from this one; ``progress`` is called in a thread."""
        return await self._runner.run(partial(self._store.forks, session_id, progress=progress))

    # --- retention -------------------------------------------------------------------------------

    async def prune(
        self,
        policy: RetentionPolicy,
        *,
        apply: bool = False,
        progress: Progress | None = None,
    ) -> PruneReport:
        """Delete what ``policy`` lets go; by default only say what; ``progress`` in a thread."""
        return await self._runner.run(
            partial(self._store.prune, policy, apply=apply, progress=progress)
        )

    # --- whole sessions out and in ---------------------------------------------------------------

    async def export_sessions(
        self,
        target: Place,
        session_ids: Iterable[str] | None = None,
        *,
        progress: Progress | None = None,
        **filters: Unpack[Filters],
    ) -> ExportReport:
        """Write sessions to take elsewhere; ``target`` is written, ``progress`` called in a thread.

        Once begun it is finished before a cancellation is delivered.
        """
        return await self._runner.run(
            partial(self._store.export_sessions, target, session_ids, progress=progress, **filters)
        )

    async def import_sessions(
        self,
        source: Source,
        *,
        session_id: str | None = None,
        max_bytes: int | None = None,
        progress: Progress | None = None,
    ) -> ImportReport:
        """Take in exported sessions; ``source`` is read, ``progress`` called in a thread."""
        return await self._runner.run(
            partial(
                self._store.import_sessions,
                source,
                session_id=session_id,
                max_bytes=max_bytes,
                progress=progress,
            )
        )

    # --- watching --------------------------------------------------------------------------------

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
        watching = await self._runner.run(
            partial(self._store._watching, session_ids, until, timeout, poll, events, filters),
            undo=lambda watching: watching.close(),
        )
        try:
            while not watching.is_over:
                for change in await self._runner.run(partial(watching.step, _GLANCE)):
                    yield change
        finally:
            watching.close()
