"""Do I/O in threads for an event loop; work that has begun ends before a cancellation arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

from sessionstore.log import about, logger
from sessionstore.process.fork import PerProcess

T = TypeVar("T")

_THREADS = 32
"""How many writes can wait for the disk at once; each thread only waits."""


class Runner:
    """Threads that do the I/O of an event loop."""

    def __init__(self) -> None:
        # A forked child has no threads of its parent's.
        self._pool = PerProcess(_new_pool)
        self._calls = PerProcess(_new_pool)
        """For the application's own functions, which may take long: no save waits for them."""

    def __reduce__(self) -> tuple[type[Runner], tuple[()]]:
        return type(self), ()

    async def run(self, work: Callable[[], T], undo: Callable[[T], object] | None = None) -> T:
        """Return ``work()``, done in a thread; once begun it is finished, cancelled or not.

        A cancellation is delivered afterwards. Nobody receives the result then: ``undo`` gets it.
        The work runs in the context of the caller, so that its log records are part of the
        caller's trace.
        """
        return await self._run(self._pool.get(), work, undo)

    async def call(self, work: Callable[[], T], undo: Callable[[T], object] | None = None) -> T:
        """Do ``work``, which is the application's own, as :meth:`run` does."""
        return await self._run(self._calls.get(), work, undo)

    async def _run(
        self,
        pool: ThreadPoolExecutor,
        work: Callable[[], T],
        undo: Callable[[T], object] | None,
    ) -> T:
        loop, context = asyncio.get_running_loop(), copy_context()
        future = loop.run_in_executor(pool, context.run, work)
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
                undoing = loop.run_in_executor(pool, context.run, undo, future.result())
                await _done(undoing)
                if (failure := undoing.exception()) is not None:
                    logger.warning(
                        "rolling back a cancelled operation failed: %s",
                        failure,
                        extra=about(
                            "cancelled_undo_failed", reason=failure, session_id=_of(failure)
                        ),
                    )
            raise

    async def close(self) -> None:
        """End the threads."""
        for pool in (self._calls.drop(), self._pool.drop()):
            if pool is not None:
                await asyncio.get_running_loop().run_in_executor(None, pool.shutdown)


def _new_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="sessionstore")


def _of(failure: BaseException) -> str | None:
    """Return the id of the session that an error names, if it names one."""
    session_id = getattr(failure, "session_id", None)
    return session_id if isinstance(session_id, str) else None


async def _done(future: asyncio.Future[Any]) -> None:
    """Wait until ``future`` is done, whatever cancellations arrive meanwhile."""
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            continue
