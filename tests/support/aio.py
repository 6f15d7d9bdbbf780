"""Run a store in an event loop, and stop its threads where a test wants to come in."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from sessionstore import AsyncSession, AsyncSessionStore, FilesBackend, SessionState
from sessionstore.durable import replace
from tests.support.processes import DEADLINE

T = TypeVar("T")
Store = AsyncSessionStore[SessionState]


def run(work: Callable[[Store], Coroutine[Any, Any, T]], backend: Path | FilesBackend) -> T:
    """Run ``work`` with a store in an event loop of its own."""

    async def main() -> T:
        async with AsyncSessionStore(backend) as store:
            return await work(store)

    return asyncio.run(main())


class Gate:
    """Lets the test come in while a thread is in the middle of its work."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()

    def passes(self) -> None:
        self.reached.set()
        assert self.open.wait(DEADLINE)

    async def wait(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.reached.wait)


async def opened(opening: Any) -> AsyncSession[SessionState]:
    session: AsyncSession[SessionState] = await opening
    return session


@contextmanager
def gated_flush(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every flush of a file wait at the gate, and every write-out that stands in for one."""

    def gated(real: Callable[[int], None]) -> Callable[[int], None]:
        def flush(fd: int) -> None:
            gate.passes()
            real(fd)

        return flush

    with monkeypatch.context() as patch:
        for name in ("flush", "write_out"):
            patch.setattr(replace, name, gated(getattr(replace, name)))
        yield
