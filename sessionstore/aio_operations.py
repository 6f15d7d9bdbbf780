"""What looks after sessions, awaited: the counterparts of :mod:`sessionstore.operations`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import TYPE_CHECKING, Generic, Unpack

from sessionstore.backends.base import Usage
from sessionstore.findings import CheckReport
from sessionstore.query import Filters
from sessionstore.recovery import MarkAs, Progress, RecoveryReport
from sessionstore.runner import Runner
from sessionstore.state import SessionStatus, StateT
from sessionstore.store import SessionStore

if TYPE_CHECKING:
    from sessionstore.ops.export import ExportReport
    from sessionstore.ops.importing import ImportReport
    from sessionstore.ops.prune import PruneReport
    from sessionstore.ops.retention import RetentionPolicy
    from sessionstore.ops.sources import Source
    from sessionstore.ops.targets import Place
    from sessionstore.ops.watch import SessionChange, Watched

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
