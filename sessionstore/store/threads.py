"""Do I/O in threads for an event loop, finishing what was begun before a cancellation arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from sessionstore.log import about, logger

T = TypeVar("T")

_THREADS = 32
"""Writes that can wait for the disk at once; each thread only waits."""


class Runner:
    """Threads for I/O, and what becomes of it when the waiting task is cancelled."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    async def run(self, work: Callable[[], T], undo: Callable[[T], object] | None = None) -> T:
        """Return ``work()``, done in a thread; once begun it is finished, cancelled or not.

        A cancellation is delivered afterwards; ``undo`` then gets what nobody will receive.
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="sessionstore")
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._pool, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await _done(future)
            failure = future.exception()
            if failure is not None:
                logger.warning(
                    "a cancelled operation failed: %s",
                    failure,
                    extra=about("cancelled_work_failed", reason=failure, session_id=_of(failure)),
                )
            elif undo is not None:
                undoing = loop.run_in_executor(self._pool, undo, future.result())
                await _done(undoing)
                if (failure := undoing.exception()) is not None:
                    logger.warning(
                        "a cancelled operation could not be undone: %s",
                        failure,
                        extra=about(
                            "cancelled_undo_failed", reason=failure, session_id=_of(failure)
                        ),
                    )
            raise

    async def close(self) -> None:
        """End the threads."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.get_running_loop().run_in_executor(None, pool.shutdown)


def _of(failure: BaseException) -> str | None:
    """Return the session that an error of ours is about, if any."""
    session_id = getattr(failure, "session_id", None)
    return session_id if isinstance(session_id, str) else None


async def _done(future: asyncio.Future[Any]) -> None:
    """Wait until ``future`` is done; further cancellations wait, too."""
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            continue
