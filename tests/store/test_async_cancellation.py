"""What a cancelled claim, create, resume or save leaves behind: nothing, or all of it."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any

import pytest

from sessionstore import (
    AsyncSession,
    FilesBackend,
    SessionOwner,
    SessionStore,
)
from sessionstore.storage.claim import Claim
from sessionstore.storage.journal import NONE, Journals
from sessionstore.storage.turn import Turn
from tests.support.aio import Gate, Store, gated_flush, opened, run
from tests.support.processes import Child, leftovers, new_session, read_state, rounds


class GatedBackend(FilesBackend):
    """The real backend, which stops right after it took a claim."""

    def __init__(self, root: Path, gate: Gate) -> None:
        super().__init__(root)
        self.gate = gate

    def claim(
        self, session_id: str, owner: SessionOwner, *, timeout: float, turn: Turn | None = None
    ) -> Claim:
        claim = super().claim(session_id, owner, timeout=timeout, turn=turn)
        self.gate.passes()
        return claim

    def create(
        self, session_id: str, payload: bytes, owner: SessionOwner, *, journals: Journals = NONE
    ) -> Claim:
        claim = super().create(session_id, payload, owner, journals=journals)
        self.gate.passes()
        return claim


async def cancel_at(gate: Gate, task: asyncio.Task[Any], *, times: int = 1) -> None:
    """Cancel ``task`` while its thread stands at the gate, then let the thread go on."""
    await gate.wait()
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    gate.open.set()
    with pytest.raises(asyncio.CancelledError):
        await task


# --- cancellation -------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 3])
def test_a_cancelled_claim_leaks_nothing(tmp_path: Path, times: int) -> None:
    new_session(tmp_path)
    gate = Gate()

    async def work(store: Store) -> None:
        task = asyncio.create_task(opened(store.claim("s1")))
        await cancel_at(gate, task, times=times)
        # The lock is free before the cancellation arrives: another process may have it.
        with Child("act", tmp_path) as other:
            other.hear()
            assert other.ask("claim", session_id="s1")["pid"] == other.pid

    run(work, GatedBackend(tmp_path, gate))
    assert read_state(tmp_path, "s1")["revision"] == 2  # a claim writes nothing, nor does its end


def test_a_cancelled_create_leaves_no_session(tmp_path: Path) -> None:
    gate = Gate()

    async def work(store: Store) -> None:
        task = asyncio.create_task(opened(store.create("goal", session_id="s1")))
        await cancel_at(gate, task)
        assert os.listdir(tmp_path / "sessions") == []
        assert os.listdir(tmp_path / "trash") == []
        gate.open.set()
        async with store.create("goal", session_id="s1") as session:
            assert session.revision == 1
            await session.complete()

    run(work, GatedBackend(tmp_path, gate))


def test_a_cancelled_resume_leaves_the_session_paused_and_free(tmp_path: Path) -> None:
    new_session(tmp_path)
    gate = Gate()

    async def work(store: Store) -> None:
        task = asyncio.create_task(opened(store.resume("s1")))
        await cancel_at(gate, task)

    run(work, GatedBackend(tmp_path, gate))
    state = read_state(tmp_path, "s1")
    assert state["status"] == "paused"
    assert state["owner"] is None
    SessionStore(tmp_path).resume("s1").complete()


def test_claims_cancelled_at_any_instant_leak_nothing(tmp_path: Path) -> None:
    ids = [new_session(tmp_path, f"s{number}") for number in range(10)]
    chance = random.Random(5)

    async def work(store: Store) -> None:
        cancelled = 0
        for number in rounds("more than 50 claims that were cancelled"):
            if number >= 15 and cancelled > 50:
                break
            tasks = [asyncio.create_task(opened(store.claim(name))) for name in ids]
            for _ in range(chance.randrange(12)):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, AsyncSession):
                    await outcome.release()
                else:
                    assert isinstance(outcome, asyncio.CancelledError), outcome
                    cancelled += 1

    run(work, tmp_path)
    for name in ids:
        SessionStore(tmp_path).claim(name).release()
    # That no descriptor and no thread is left is looked at after every test.


@pytest.mark.parametrize("times", [1, 3])
def test_a_save_that_is_cancelled_in_the_middle_is_finished_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    gate = Gate()

    async def work(store: Store) -> None:
        async with store.create("goal", session_id="s1") as session:
            session.state.data_buffer["step"] = 1
            with gated_flush(gate, monkeypatch):
                task = asyncio.create_task(session.save())
                await gate.wait()
                assert read_state(tmp_path, "s1")["revision"] == 1
                await cancel_at(gate, task, times=times)
            assert read_state(tmp_path, "s1")["data_buffer"] == {"step": 1}
            assert session.revision == session.state.revision == 2
            assert await session.save() == 3
            await session.complete()

    run(work, tmp_path)
    assert leftovers(tmp_path) == []


def test_a_save_that_is_cancelled_in_the_queue_never_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()

    async def work(store: Store) -> None:
        async with store.create("goal", session_id="s1") as session:
            with gated_flush(gate, monkeypatch):
                first = asyncio.create_task(session.save())
                await gate.wait()
                second, third = (asyncio.create_task(session.save()) for _ in range(2))
                await asyncio.sleep(0)
                second.cancel()
                await asyncio.sleep(0)
                gate.open.set()
                assert await first == 2
                assert await third == 3  # no gap where the second would have been
                with pytest.raises(asyncio.CancelledError):
                    await second
            assert read_state(tmp_path, "s1")["revision"] == 3
            await session.complete()

    run(work, tmp_path)


def test_cancelling_the_body_pauses_the_session_as_interrupted(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        inside = asyncio.Event()

        async def body() -> None:
            async with store.create("goal", session_id="s1") as session:
                session.state.data_buffer["step"] = 1
                inside.set()
                await asyncio.sleep(600)

        task = asyncio.create_task(body())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(work, tmp_path)
    state = read_state(tmp_path, "s1")
    assert state["status"] == "paused"
    assert state["recovery"]["reason"].startswith("it was stopped by CancelledError")
    assert (state["recovery"]["count"], state["recovery"]["stops"]) == (0, 1)
    assert state["data_buffer"] == {"step": 1}
    assert state["owner"] is None
