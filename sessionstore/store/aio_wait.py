"""Wait for a session on an event loop: in turn, and without a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from sessionstore.errors import SessionClaimed
from sessionstore.storage.backend import Backend
from sessionstore.storage.turn import Turn
from sessionstore.store.threads import Runner

R = TypeVar("R")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.1
"""Seconds between attempts where the backend keeps no order."""


async def in_turn(
    backend: Backend,
    runner: Runner,
    session_id: str,
    attempt: Callable[..., R],
    timeout: float,  # noqa: ASYNC109 - part of the surface: it is the lock's, not the task's
    undo: Callable[[R], object],
) -> R:
    """Return ``attempt()``, tried until the session is free and nobody waits ahead.

    A task that is cancelled leaves the line; ``undo`` gets what it would have received.

    Raises:
        SessionClaimed: somebody else holds the session after ``timeout`` seconds.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    try:
        return await runner.run(attempt, undo=undo)
    except SessionClaimed as error:
        if timeout <= 0:
            raise
        refused = error
    turn = await runner.run(partial(backend.line_up, session_id), undo=_leave)
    try:
        pause = _FIRST_PAUSE
        while True:
            left = deadline - loop.time()
            if left <= 0:
                raise refused
            await asyncio.sleep(min(pause if turn is None else turn.pause(), left))
            pause = min(pause * 2, _LONGEST_PAUSE)
            # At the end, an attempt tells who holds it by now.
            if turn is None or loop.time() >= deadline or await runner.run(turn.is_due):
                try:
                    return await runner.run(partial(attempt, turn=turn), undo=undo)
                except SessionClaimed as error:
                    refused = error
    finally:
        if turn is not None:
            await runner.run(turn.close)


def _leave(turn: Turn | None) -> None:
    if turn is not None:
        turn.close()
