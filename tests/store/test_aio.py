"""The awaitable face: the same names, and which threads do the I/O."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sessionstore import FilesBackend, NotStorable, SessionClaimed, SessionOwner, SessionStore
from sessionstore.durable import directory as directory_
from sessionstore.model.stored import Stored
from sessionstore.storage.claim import Claim
from sessionstore.storage.journal import NONE, Journals
from sessionstore.storage.turn import Turn
from tests.support.aio import Gate, Store, gated_flush, opened, run
from tests.support.processes import DEADLINE, Child, read_state

# --- waiting ------------------------------------------------------------------------------------


def test_a_claim_that_waits_too_long_is_refused_and_names_the_holder(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        async with store.create("goal", session_id="s1"):
            for timeout in (0.0, 0.05):
                with pytest.raises(SessionClaimed, match=f"pid {os.getpid()} "):
                    await store.claim("s1", timeout=timeout)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await store.claim("s1", timeout=600)
        await (await store.claim("s1")).release()

    run(work, tmp_path)


def test_a_waiting_claim_gets_the_session_once_it_is_free(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        holder = await store.create("goal", session_id="s1")
        waiters = [
            asyncio.create_task(opened(store.claim("s1", timeout=DEADLINE))) for _ in range(3)
        ]
        await asyncio.sleep(0)
        await holder.release()
        got = set[str | None]()
        for waiter in asyncio.as_completed(waiters):
            session = await waiter
            got.add(session.owner.token)
            await session.release()
        assert len(got) == 3

    run(work, tmp_path)


def test_more_waiters_than_threads_do_not_keep_the_holder_from_saving(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        holder = await store.create("goal", session_id="s1")
        waiters = [asyncio.create_task(opened(store.claim("s1", timeout=600))) for _ in range(100)]
        await asyncio.sleep(0)
        for revision in range(2, 12):
            assert await holder.save() == revision
        for waiter in waiters:
            waiter.cancel()
        for outcome in await asyncio.gather(*waiters, return_exceptions=True):
            assert isinstance(outcome, asyncio.CancelledError)
        await holder.complete()

    run(work, tmp_path)


# --- the same names, awaited --------------------------------------------------------------------


def test_sessions_are_awaited_or_entered(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        awaited = await store.create("goal", session_id="awaited")
        kept = await awaited.checkpoint("node_complete", node="plan")
        await awaited.pause()
        async with store.resume("awaited", checkpoint_id=kept.checkpoint_id) as session:
            assert session.state.progress.current_node == "plan"
        assert (await store.load("awaited")).status == "paused"  # nobody said that it succeeded
        with pytest.raises(ZeroDivisionError):
            async with store.create("goal", session_id="failed"):
                1 / 0
        error = (await store.load("failed")).result.error or ""
        assert error.split("\n")[0] == "ZeroDivisionError: division by zero"
        assert error.endswith("    1 / 0")
        assert {item.session_id async for item in store.iter_find()} == {"awaited", "failed"}
        await store.delete("failed")
        assert not await store.exists("failed")
        assert (await store.recover()).swept == ()

    run(work, tmp_path)


def test_sixty_four_sessions_at_once_each_keep_their_own(tmp_path: Path) -> None:
    async def one(store: Store, number: int) -> None:
        async with store.create("goal", session_id=f"s{number}") as session:
            for step in range(5):
                session.state.data_buffer["mine"] = [number, step]
                await session.save()
            await session.complete({"number": number})

    async def work(store: Store) -> None:
        await asyncio.gather(*(one(store, number) for number in range(64)))

    run(work, tmp_path)
    for number in range(64):
        state = read_state(tmp_path, f"s{number}")
        assert state["data_buffer"] == {"mine": [number, 4]}
        assert state["result"]["output"] == {"number": number}
        assert state["revision"] == 7


def test_saves_of_one_session_are_stored_in_the_order_of_their_calls(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        async with store.create("goal", session_id="s1") as session:
            saves = list[asyncio.Task[int]]()
            for step in range(20):
                session.state.data_buffer["step"] = step
                saves.append(asyncio.create_task(session.save()))
                await asyncio.sleep(0)
            assert await asyncio.gather(*saves) == list(range(2, 22))
            assert read_state(tmp_path, "s1")["data_buffer"] == {"step": 19}
            await session.complete()

    run(work, tmp_path)


def test_an_edit_during_the_write_changes_nothing_that_was_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()

    async def work(store: Store) -> None:
        async with store.create("goal", session_id="s1") as session:
            session.state.data_buffer["plan"] = ["a"]
            with gated_flush(gate, monkeypatch):
                task = asyncio.create_task(session.save())
                await gate.wait()
                session.state.data_buffer["plan"].append(float("nan"))
                gate.open.set()
                await task
            assert read_state(tmp_path, "s1")["data_buffer"] == {"plan": ["a"]}
            with pytest.raises(NotStorable, match=r"data_buffer\.plan"):
                await session.save()
            session.state.data_buffer["plan"].pop()
            await session.complete()

    run(work, tmp_path)


# --- which threads ------------------------------------------------------------------------------


class RecordingBackend(FilesBackend):
    """The real backend, which notes who calls it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.callers = dict[str, set[int]]()

    def note(self, what: str) -> None:
        self.callers.setdefault(what, set()).add(threading.get_ident())

    def claim(
        self, session_id: str, owner: SessionOwner, *, timeout: float, turn: Turn | None = None
    ) -> Claim:
        self.note("claim")
        return super().claim(session_id, owner, timeout=timeout, turn=turn)

    def create(
        self, session_id: str, payload: bytes, owner: SessionOwner, *, journals: Journals = NONE
    ) -> Claim:
        self.note("create")
        return super().create(session_id, payload, owner, journals=journals)

    def read(self, session_id: str) -> Stored:
        self.note("read")
        return super().read(session_id)


def test_no_file_is_touched_in_the_thread_of_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = RecordingBackend(tmp_path)
    real: Callable[..., Any] = directory_.Directory.__init__

    def noted(directory: directory_.Directory, *arguments: Any, **options: Any) -> None:
        backend.note("open a directory")  # each read and write begins with this
        real(directory, *arguments, **options)

    async def work(store: Store) -> None:
        monkeypatch.setattr(directory_.Directory, "__init__", noted)
        async with store.create("goal", session_id="s1") as session:
            await session.save()
            await session.checkpoint()
            await session.pause()
        async with store.claim("s1"):
            pass
        async with store.resume("s1"):
            pass
        await store.load("s1")
        await store.checkpoints("s1")
        await store.find(resumable=True)
        await store.recover()
        await store.delete("s1")

    run(work, backend)
    assert backend.callers.keys() == {"create", "claim", "read", "open a directory"}
    for what, threads in backend.callers.items():
        assert threading.get_ident() not in threads, what


def test_a_killed_event_loop_leaves_a_session_that_is_swept(tmp_path: Path) -> None:
    with Child("save_async_until_killed", tmp_path) as child:
        acknowledged = [child.hear()["revision"] for _ in range(5)][-1]
        child.crash()
    assert read_state(tmp_path, "s1")["revision"] >= acknowledged
    assert [item.session_id for item in SessionStore(tmp_path).recover().swept] == ["s1"]
