"""Programs that fork while their threads use a store; each is started as a process of its own."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from sessionstore import AsyncSessionStore, ClaimLost, SessionStore

_FORKS = 25


def in_fork(work: Callable[[], bool], *, by_python: bool = True) -> bool:
    """Return what ``work`` returned in a forked child; False for a child that hung."""
    pid: int = os.fork() if by_python else ctypes.PyDLL(None).fork()
    if pid == 0:
        signal.alarm(60)
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitpid(pid, 0)[1] == 0


def _fork(how: str) -> int:
    return os.fork() if how == "python" else int(ctypes.PyDLL(None).fork())


def _wait(pid: int) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        sys.exit(f"a forked child ended with {code}" + (": it hung" if code == -14 else ""))


def _child(work: Callable[[], None]) -> None:
    signal.alarm(120)
    try:
        work()
    except BaseException as error:
        os.write(2, f"child: {type(error).__name__}: {error}\n".encode())
        os._exit(1)
    os._exit(0)


class _Pauses:
    """Lets threads stop at a safe place: after a fork in C, a child of CPython with threads that
    wait for the interpreter's lock hangs, whatever it does (PyOS_AfterFork_Child() is missing)."""

    def __init__(self, how: str, threads: int) -> None:
        self._stops = threading.Barrier(threads + 1) if how == "c" else None
        self._wanted = threading.Event()

    def point(self) -> None:
        """Wait here while a fork is wanted."""
        if self._stops is not None and self._wanted.is_set():
            self._stops.wait()
            self._stops.wait()

    def __enter__(self) -> None:
        if self._stops is not None:
            self._wanted.set()
            self._stops.wait()
            time.sleep(0.01)  # until all of them wait

    def __exit__(self, *_: object) -> None:
        if self._stops is not None:
            self._wanted.clear()
            self._stops.wait()


def busy(root: str, how: str) -> None:
    """Fork again and again while other threads save, list and claim; each child uses the store."""
    pauses = _Pauses(how, 3)
    store = SessionStore(root, durability="process")
    awaited = AsyncSessionStore(root, durability="process")
    asyncio.run(_list(awaited))
    ends = threading.Event()
    session = store.create("held", session_id="held")

    def save() -> None:
        while not ends.is_set():
            session.state.data_buffer["n"] = session.save()
            pauses.point()

    def use() -> None:
        while not ends.is_set():
            with store.create("short") as short:
                short.checkpoint("node_complete")
                pauses.point()  # it holds a session
            store.find(limit=3)
            store.claim(short.session_id, timeout=60).delete()  # a child may still have its lock

    threads = [threading.Thread(target=one) for one in (save, use, use)]
    for thread in threads:
        thread.start()
    try:
        for number in range(_FORKS):
            with pauses:
                pid = _fork(how)
                if pid == 0:
                    _child(partial(_use_all, store, awaited, session, number))
            _wait(pid)
    finally:
        ends.set()
        for thread in threads:
            thread.join()
    assert session.state.data_buffer["n"] > 1
    session.complete()
    assert store.count(goal_id="child") == 2 * _FORKS


def _use_all(store, awaited, session, number: int) -> None:  # type: ignore[no-untyped-def]
    for use in (session.save, session.checkpoint):
        with pytest.raises(ClaimLost, match="forked child"):
            use()
    session.release()
    assert store.liveness("held").is_alive
    with store.create("child", session_id=f"plain-{number}") as mine:
        mine.checkpoint("node_complete")
        mine.pause()
    with store.resume(f"plain-{number}") as mine:
        mine.complete()
    assert f"plain-{number}" in {one.session_id for one in store.iter_find(goal_id="child")}
    store.recover()
    asyncio.run(_await_all(awaited, number))


async def _list(store: AsyncSessionStore) -> None:
    await store.find()


async def _await_all(store, number: int) -> None:  # type: ignore[no-untyped-def]
    async with store.create("child", session_id=f"awaited-{number}") as mine:
        await mine.save()
        await mine.complete()
    # More at once than the parent had idle threads.
    found = await asyncio.gather(*(store.find(goal_id="child") for _ in range(40)))
    assert all(found)


def daemon(root: str, how: str) -> None:
    """List, fork, end; the child creates a session for each line that it reads, and lists."""
    store = SessionStore(root)
    store.create("goal", session_id="before").complete()
    store.find()
    if _fork(how):
        os._exit(0)
    with open(0, closefd=False) as orders:
        for order in orders:
            store.create("goal", session_id=order.strip()).complete()
            assert order.strip() in {one.session_id for one in store.find()}
            os.write(1, f"created {order}".encode())
    os._exit(0)
