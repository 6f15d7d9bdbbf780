"""The awaitable store over the backend."""

# ruff: noqa: D102
# The name of each test is the claim that it proves.

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sessionstore.errors import ClaimLost, NotStorable, SessionClaimed
from sessionstore.model.state import SessionState
from sessionstore.store.aio import AsyncSessionStore
from sessionstore.store.aio_session import AsyncSession
from sessionstore.store.store import SessionStore
from sessionstore.testing.harness import DEADLINE, BackendT, Harness

Store = SessionStore[SessionState]


class Gate:
    """Stops calls of one method on their way, so that a test can act meanwhile."""

    def __init__(self) -> None:
        self.reached: threading.Event = threading.Event()
        self.open: threading.Event = threading.Event()

    async def wait(self) -> None:
        """Wait until somebody stands before the gate."""
        assert await asyncio.to_thread(self.reached.wait, DEADLINE)


@contextmanager
def gate(kind: type[Any], name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Stop the calls of ``kind.name``, in whatever thread, until the gate is opened."""
    gate = Gate()
    method = getattr(kind, name)

    def stopped(*arguments: Any, **options: Any) -> Any:
        gate.reached.set()
        assert gate.open.wait(DEADLINE)
        return method(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(kind, name, stopped)
        try:
            yield gate
        finally:
            gate.open.set()


async def cancelled_at(stop: Gate, doing: Awaitable[Any]) -> None:
    """Cancel ``doing`` before the gate, and see that the cancellation is delivered."""
    task = asyncio.ensure_future(doing)
    await stop.wait()
    task.cancel()
    stop.open.set()
    with pytest.raises(asyncio.CancelledError):
        await task


@asynccontextmanager
async def stopped_write(
    backend: Any, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[AsyncSession[SessionState], Gate]]:
    """Yield a new session ``s``, and the gate before which its writes stop until it is opened."""
    async with AsyncSessionStore(backend) as store:
        session = await store.create("g", session_id="s")
        with gate(type(session._writer.claim), "write", monkeypatch) as write:
            yield session, write
        await session.release()


class AsyncContract(Harness[BackendT]):
    """The same store, awaited."""

    def test_a_session_lives_and_ends_awaited(self, backend: BackendT) -> None:
        async def main() -> None:
            async with AsyncSessionStore(backend) as store:
                async with store.create("g", session_id="s") as session:
                    session.state.data_buffer["n"] = 1
                    assert await session.save() == 2
                    kept = await session.checkpoint("step", node="plan")
                    assert (await store.liveness("s")).is_alive
                    with pytest.raises(SessionClaimed):
                        await store.claim("s")
                assert await store.checkpoints("s") == [kept]  # nothing has changed since
                session = await store.resume("s")
                await session.complete({"answer": 42})
                with pytest.raises(ClaimLost):
                    await session.save()
                assert [item.session_id async for item in store.iter_find()] == ["s"]
                assert (await store.load("s")).result.output == {"answer": 42}

        asyncio.run(main())
        raw = self.raw(backend, "s")
        assert (raw["status"], raw["revision"]) == ("completed", 6)
        assert not backend.probe("s").held

    def test_labels_are_given_found_and_changed_awaited(self, backend: BackendT) -> None:
        async def main() -> None:
            async with AsyncSessionStore(backend) as store:
                for name in ("a", "b"):
                    session = await store.create("g", session_id=name, labels={"user": name})
                    await session.pause()
                async with store.create_or_resume("c", "g", labels={"user": "a"}) as session:
                    session.state.labels["stage"] = "two"
                    await session.complete()
                async with store.edit("b") as session:
                    session.state.labels["user"] = "a"
                page = await store.find(labels={"user": "a"}, order="session_id")
                assert [item.session_id for item in page] == ["a", "b", "c"]
                assert await store.count(labels={"user": "a", "stage": "two"}) == 1
                found = store.iter_find(labels={"user": "b"})
                assert [item.session_id async for item in found] == []

        asyncio.run(main())
        assert self.raw(backend, "b")["labels"] == {"user": "a"}

    def test_an_idle_session_is_found_awaited(self, backend: BackendT) -> None:
        now = datetime(2026, 1, 2, tzinfo=UTC)

        async def main() -> None:
            nonlocal now
            async with (
                AsyncSessionStore(backend, clock=lambda: now) as store,
                store.create("g", session_id="idle") as idle,
                store.create("g", session_id="busy") as busy,
            ):
                now += timedelta(minutes=10)
                await busy.journal().append("a record")
                found = await store.find(idle=timedelta(minutes=10))
                assert [item.session_id for item in found] == ["idle"]
                assert [item async for item in store.iter_find(idle=600)] == list(found)
                assert (await store.count(idle=0), await store.count(idle=600.5)) == (2, 0)
                await idle.complete()
                await busy.complete()

        asyncio.run(main())

    def test_leaving_is_a_verdict(self, backend: BackendT) -> None:
        async def stumble(store: AsyncSessionStore[SessionState], error: BaseException) -> None:
            async with store.create("g", session_id=type(error).__name__):
                raise error

        async def main() -> None:
            async with AsyncSessionStore(backend) as store:
                with pytest.raises(ValueError, match="no such city"):
                    await stumble(store, ValueError("no such city"))
                with pytest.raises(asyncio.CancelledError):
                    await stumble(store, asyncio.CancelledError())
                async with store.create("g", session_id="none"):
                    pass

        asyncio.run(main())
        statuses = {name: self.raw(backend, name)["status"] for name in backend.ids()}
        assert statuses == {"ValueError": "failed", "CancelledError": "paused", "none": "paused"}
        assert not any(backend.probe(name).held for name in backend.ids())

    def test_an_awaited_verdict_goes_on_top_of_the_last_save(self, backend: BackendT) -> None:
        async def stumble(store: AsyncSessionStore[SessionState]) -> None:
            async with store.create("g", session_id="s") as session:
                session.state.data_buffer["good"] = 1
                await session.save()
                session.state.data_buffer["bad"] = float("nan")

        async def main() -> None:
            async with AsyncSessionStore(backend) as store:
                with pytest.raises(NotStorable):
                    await stumble(store)

        asyncio.run(main())
        raw = self.raw(backend, "s")
        assert (raw["status"], raw["data_buffer"]) == ("failed", {"good": 1})
        assert not backend.probe("s").held

    def test_two_saves_are_stored_in_the_order_of_their_calls(
        self, backend: BackendT, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def main() -> None:
            async with stopped_write(backend, monkeypatch) as (session, write):
                session.state.data_buffer["n"] = 1
                first = asyncio.create_task(session.save())
                await write.wait()
                session.state.data_buffer["n"] = 2
                second = asyncio.create_task(session.save())
                await asyncio.sleep(0)  # it has serialised now, and queues
                session.state.data_buffer["n"] = 3
                write.open.set()
                assert list(await asyncio.gather(first, second)) == [2, 3]
                assert self.raw(backend, "s")["data_buffer"] == {"n": 2}

        asyncio.run(main())
        assert self.raw(backend, "s")["data_buffer"] == {"n": 3}

    def test_an_edit_during_the_write_changes_nothing_that_was_checked(
        self, backend: BackendT, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def main() -> None:
            async with stopped_write(backend, monkeypatch) as (session, write):
                session.state.data_buffer["list"] = [1]
                saving = asyncio.create_task(session.save())
                await write.wait()
                session.state.data_buffer["list"].append(float("nan"))
                session.state.status = "nonsense"  # type: ignore[assignment]  # that is it
                write.open.set()
                assert await saving == 2
                raw = self.raw(backend, "s")
                assert (raw["data_buffer"], raw["status"]) == ({"list": [1]}, "active")
                with pytest.raises(NotStorable):
                    await session.save()
                session.state = store.load("s")

        asyncio.run(main())

    def test_a_cancelled_save_is_finished_first(
        self, backend: BackendT, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def main() -> None:
            async with stopped_write(backend, monkeypatch) as (session, write):
                session.state.data_buffer["n"] = 1
                saving = asyncio.create_task(session.save())
                await write.wait()
                saving.cancel()
                await asyncio.sleep(0)
                assert not saving.done()
                write.open.set()
                with pytest.raises(asyncio.CancelledError):
                    await saving
                raw = self.raw(backend, "s")
                assert (raw["revision"], raw["data_buffer"]) == (2, {"n": 1})
                assert await session.save() == 3

        asyncio.run(main())

    def test_a_save_that_is_cancelled_in_the_queue_leaves_no_gap(
        self, backend: BackendT, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def main() -> None:
            async with stopped_write(backend, monkeypatch) as (session, write):
                saves = [asyncio.create_task(session.save()) for _ in range(3)]
                await write.wait()
                saves[1].cancel()
                await asyncio.sleep(0)
                write.open.set()
                outcomes = await asyncio.gather(*saves, return_exceptions=True)
                assert isinstance(outcomes[1], asyncio.CancelledError)
                assert [revision for revision in outcomes if isinstance(revision, int)] == [2, 3]
                assert self.raw(backend, "s")["revision"] == 3

        asyncio.run(main())

    @pytest.mark.parametrize("how", ["claim", "resume"])
    def test_a_cancelled_claim_leaks_nothing(
        self, backend: BackendT, store: Store, monkeypatch: pytest.MonkeyPatch, how: str
    ) -> None:
        store.create("g", session_id="s").pause()

        async def main() -> None:
            async with AsyncSessionStore(backend) as awaited:

                async def take() -> None:
                    await getattr(awaited, how)("s")

                with gate(type(backend), "claim", monkeypatch) as claiming:
                    await cancelled_at(claiming, take())

        asyncio.run(main())
        assert not backend.probe("s").held
        assert self.raw(backend, "s")["status"] == "paused"
        with store.claim("s"):
            pass

    def test_a_cancelled_create_leaves_no_session(
        self, backend: BackendT, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def main() -> None:
            async with AsyncSessionStore(backend) as store:

                async def make() -> None:
                    await store.create("g", session_id="s")

                with gate(type(backend), "create", monkeypatch) as creating:
                    await cancelled_at(creating, make())
                assert not await store.exists("s")
                assert not backend.probe("s").held
                async with store.create("g", session_id="s"):
                    pass

        asyncio.run(main())

    def test_a_claim_waits_without_stopping_the_others(
        self, backend: BackendT, store: Store
    ) -> None:
        holder = store.create("g", session_id="s")

        async def main() -> None:
            async with AsyncSessionStore(backend) as awaited:

                async def take() -> int:
                    async with awaited.claim("s", timeout=DEADLINE) as session:
                        return session.revision

                waiting = [asyncio.create_task(take()) for _ in range(3)]
                async with awaited.create("g", session_id="other") as other:
                    await other.save()
                assert not any(task.done() for task in waiting)
                await asyncio.to_thread(holder.pause)
                assert await asyncio.gather(*waiting) == [2, 2, 2]

        asyncio.run(main())
        assert not backend.probe("s").held

    def test_many_sessions_run_at_once(self, backend: BackendT) -> None:
        async def main() -> None:
            async with AsyncSessionStore(backend) as store:

                async def run(number: int) -> None:
                    async with store.create("g", session_id=f"s{number}") as session:
                        for step in range(3):
                            session.state.data_buffer["step"] = step
                            await session.save()
                        await session.complete({"number": number})

                await asyncio.gather(*(run(number) for number in range(20)))
                assert len(await store.find(status="completed")) == 20

        asyncio.run(main())
        for number in range(20):
            raw = self.raw(backend, f"s{number}")
            assert (raw["revision"], raw["result"]["output"]) == (5, {"number": number})
