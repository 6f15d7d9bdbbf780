"""What looks after sessions, awaited: the counterparts of :mod:`sessionstore.operations`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Generic

from sessionstore.backends.base import Usage
from sessionstore.findings import CheckReport
from sessionstore.recovery import MarkAs, Progress, RecoveryReport
from sessionstore.runner import Runner
from sessionstore.state import StateT
from sessionstore.store import SessionStore

if TYPE_CHECKING:
    from sessionstore.ops.prune import PruneReport
    from sessionstore.ops.retention import RetentionPolicy


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
