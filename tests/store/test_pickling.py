"""A store is given to another process, before and after it was used; a session is not."""

from __future__ import annotations

import asyncio
import copy
import multiprocessing
import pickle
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sessionstore import AsyncSessionStore, MemoryBackend, SessionState, SessionStore
from tests.support.processes import CHECKOUT, DEADLINE


class Typed(SessionState):
    count: int = 7


def noon() -> datetime:
    return datetime(2026, 5, 1, 12, tzinfo=UTC)


def as_text(value: object) -> str:
    return str(value)


def work(store: SessionStore[Typed], session_id: str) -> None:
    with store.create("elsewhere", session_id=session_id) as session:
        session.state.count += 1
        session.state.data_buffer["place"] = Path("here")  # default= converts it
        session.complete()
    assert session_id in {one.session_id for one in store.find()}


async def work_awaited(store: AsyncSessionStore[Typed], session_id: str) -> None:
    async with store.create("elsewhere", session_id=session_id) as session:
        session.state.count += 1
        await session.complete()
    assert session_id in {one.session_id for one in (await store.find()).items}


def run_awaited(store: AsyncSessionStore[Typed], session_id: str) -> None:
    asyncio.run(work_awaited(store, session_id))


def options(root: Path) -> dict[str, Any]:
    return {
        "root": root, "state_type": Typed, "durability": "process", "keep_checkpoints": 2,
        "default": as_text, "clock": noon,
    }  # fmt: skip


def hand_over(method: str, is_async: str, root: str) -> None:
    """Give a store to children; a program of its own, since forkserver leaves processes behind."""
    kind: Any = AsyncSessionStore if is_async else SessionStore
    target: Callable[[Any, str], None] = run_awaited if is_async else work
    store = kind(**options(Path(root)))
    for session_id in ("fresh", "used"):
        context: Any = multiprocessing.get_context(method)
        child = context.Process(target=target, args=(store, session_id))
        child.start()
        child.join(DEADLINE)
        assert child.exitcode == 0
        target(store, f"{session_id}-here")  # an index, a pool and an owner record from now on


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("is_async", ["", "async"], ids=["sync", "async"])
def test_another_process_gets_a_store_with_all_its_options(
    tmp_path: Path, method: str, is_async: str
) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    root = tmp_path / "store"
    code = "import sys; from tests.store.test_pickling import hand_over; hand_over(*sys.argv[1:])"
    subprocess.run(
        [sys.executable, "-c", code, method, is_async, root],
        cwd=CHECKOUT, check=True, timeout=DEADLINE, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    found = SessionStore(root, state_type=Typed).load("used")
    assert found.count == 8
    assert found.timestamps.updated_at.startswith("2026-05-01T12:00:00")


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))]
)
def test_a_copy_of_a_store_works_beside_it(
    tmp_path: Path, copied: Callable[[SessionStore[Typed]], SessionStore[Typed]]
) -> None:
    store = SessionStore(**options(tmp_path / "store"))
    work(store, "one")
    work(copied(store), "two")
    work(store, "three")
    assert store.count() == 3


def test_a_session_says_why_it_cannot_be_pickled(tmp_path: Path) -> None:
    with SessionStore(tmp_path / "store").create("goal", session_id="mine") as session:
        for way in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match=r"holds the claim on mine; pass its id"):
                way(session)
        session.complete()


def test_an_awaited_session_says_so_too(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncSessionStore(tmp_path / "store") as store, store.create("goal") as session:
            with pytest.raises(TypeError, match="only this process holds the claim"):
                pickle.dumps(session)
            await session.complete()

    asyncio.run(main())


def test_a_store_in_memory_says_that_its_sessions_are_in_this_process() -> None:
    with pytest.raises(TypeError, match="its sessions are in this process alone"):
        pickle.dumps(SessionStore(MemoryBackend()))
