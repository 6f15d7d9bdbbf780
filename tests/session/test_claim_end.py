"""How a claim ends, and what a later use of the variable is told about it."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sessionstore import (
    AsyncSessionStore,
    CheckpointNotFound,
    ClaimLost,
    InvalidSessionId,
    NotStorable,
    Session,
    SessionState,
    SessionStore,
)
from tests.support.processes import Child, read_state

Store = SessionStore[SessionState]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return SessionStore(tmp_path, durability="process")


def leave(error: BaseException | None) -> Callable[[Any, Store], object]:
    def end(session: Any, store: Store) -> None:
        with suppress(BaseException), session:
            if error is not None:
                raise error

    return end


def hear(session: Any, store: Store) -> None:
    with suppress(BaseException), session:
        store.cancel("s-1", reason="too late")
        session.save()


def meet(session: Any, store: Store) -> None:
    with session:
        store.cancel("s-1", reason="too late")


ENDS: list[tuple[str, Callable[[Any, Store], object], str]] = [
    ("pause", lambda session, _: session.pause(), r"pause\(\) was called"),
    ("complete", lambda session, _: session.complete(), r"complete\(\) was called"),
    ("fail", lambda session, _: session.fail("no"), r"fail\(\) was called"),
    ("cancel", lambda session, _: session.cancel(), r"cancel\(\) was called"),
    ("delete", lambda session, _: session.delete(), r"delete\(\) deleted the session"),
    ("release", lambda session, _: session.release(), r"release\(\) was called, and it was paused"),
    ("end", leave(None), r"its block ended, or release\(\) was called, and it was paused"),
    ("error", leave(ValueError("no")), "ValueError: no left its block, and it failed"),
    ("ctrl-c", leave(KeyboardInterrupt()), "KeyboardInterrupt left its block.* as interrupted"),
    ("exit", leave(SystemExit(3)), "SystemExit: 3 left its block.* as interrupted"),
    ("stop", leave(asyncio.CancelledError()), "CancelledError left its block.* as interrupted"),
    ("heard", hear, "cancellation was requested by pid .*too late"),
    ("met", meet, "cancellation was requested by pid .*too late"),
]


@pytest.mark.parametrize(("end", "words"), [one[1:] for one in ENDS], ids=[one[0] for one in ENDS])
def test_a_later_use_says_what_ended_the_claim(
    store: Store, end: Callable[[Any, Store], object], words: str
) -> None:
    session = store.create("triage", session_id="s-1")
    end(session, store)
    for use in (session.save, session.checkpoint, session.pause, session.complete, session.cancel):
        with pytest.raises(ClaimLost, match=words):
            use()
    session.release()  # safe to call twice
    assert session.is_released


def test_a_later_use_of_an_awaited_session_says_it_too(tmp_path: Path) -> None:
    async def work() -> None:
        async with AsyncSessionStore(tmp_path, durability="process") as store:
            session = await store.create("triage")

            async def body() -> None:
                async with session:
                    await asyncio.sleep(60)

            with pytest.raises(TimeoutError):
                await asyncio.wait_for(body(), 0.01)
            with pytest.raises(ClaimLost, match="CancelledError left its block"):
                await session.save()

    asyncio.run(work())


def test_a_claim_that_only_looked_says_that_it_was_released(store: Store) -> None:
    store.create("triage", session_id="s-1").complete()
    session = store.claim("s-1")
    session.release()
    with pytest.raises(ClaimLost, match="its claim was released"):
        session.save()


# --- what a session says and removes -------------------------------------------------------------


def test_only_a_resumed_session_says_that_it_is(store: Store, tmp_path: Path) -> None:
    with store.create("triage", session_id="s-1") as session:
        assert not session.is_resumed
    with store.claim("s-1") as session:
        assert not session.is_resumed
    with store.resume("s-1") as session:
        assert session.is_resumed
        session.pause()

    async def work() -> bool:
        async with AsyncSessionStore(tmp_path) as astore, astore.resume("s-1") as resumed:
            return resumed.is_resumed

    assert asyncio.run(work())


def test_delete_removes_the_session_with_its_files_and_a_new_one_can_follow(
    store: Store, tmp_path: Path
) -> None:
    session = store.create("triage", session_id="s-1")
    session.checkpoint()
    (session.directory / "notes.txt").write_text("mine")
    session.delete()
    assert session.is_released
    assert not (tmp_path / "sessions/s-1").exists()
    assert not store.exists("s-1")
    with store.create("triage", session_id="s-1") as anew:
        assert not list(anew.directory.glob("notes.txt"))
        anew.complete()


def test_a_delete_in_a_block_leaves_nothing_that_the_end_of_the_block_brings_back(
    store: Store, tmp_path: Path
) -> None:
    with store.create("triage", session_id="s-1") as session:
        session.delete()

    async def work() -> None:
        async with (
            AsyncSessionStore(tmp_path, durability="process") as astore,
            astore.create("triage", session_id="s-2") as awaited,
        ):
            await awaited.delete()

    asyncio.run(work())
    assert list((tmp_path / "sessions").iterdir()) == []


def test_remove_checkpoint_removes_one_but_never_the_latest(store: Store, tmp_path: Path) -> None:
    with store.create("triage", session_id="s-1") as session:
        first, latest = session.checkpoint(), session.checkpoint()
        with pytest.raises(ValueError, match="latest"):
            session.remove_checkpoint(latest.checkpoint_id)
        with pytest.raises(CheckpointNotFound, match=latest.checkpoint_id):
            session.remove_checkpoint("cp_none")
        with pytest.raises(InvalidSessionId):
            session.remove_checkpoint("../../state")
        session.remove_checkpoint(first.checkpoint_id)
        names = [path.stem for path in (tmp_path / "sessions/s-1/checkpoints").iterdir()]
        assert names == [latest.checkpoint_id]
        session.pause()
    with pytest.raises(ClaimLost):
        session.remove_checkpoint(latest.checkpoint_id)


# --- a state that cannot be stored ---------------------------------------------------------------


def unstorable(session: Session[SessionState]) -> None:
    session.state.data_buffer["step"] = 1
    session.save()
    session.state.data_buffer["step"] = float("nan")


def test_release_of_a_state_that_cannot_be_stored_ends_it_on_top_of_the_last_save(
    store: Store, tmp_path: Path
) -> None:
    session = store.create("triage", session_id="s-1")
    unstorable(session)
    with pytest.raises(NotStorable, match=r"data_buffer\.step"):
        session.release()
    assert session.is_released
    stored = read_state(tmp_path, "s-1")
    assert (stored["status"], stored["data_buffer"], stored["owner"]) == (
        "failed",
        {"step": 1},
        None,
    )
    assert "data_buffer.step" in stored["result"]["error"]
    with store.resume("s-1") as resumed:
        assert resumed.state.data_buffer == {"step": 1}
        resumed.complete()


def test_an_awaited_release_does_the_same(tmp_path: Path) -> None:
    async def work() -> None:
        async with AsyncSessionStore(tmp_path, durability="process") as store:
            session = await store.create("triage", session_id="s-1")
            session.state.data_buffer["step"] = float("nan")
            with pytest.raises(NotStorable):
                await session.release()

    asyncio.run(work())
    assert read_state(tmp_path, "s-1")["status"] == "failed"


def test_an_awaited_block_with_a_state_that_cannot_be_stored_ends_on_top_of_the_last_save(
    tmp_path: Path,
) -> None:
    async def work() -> None:
        async with (
            AsyncSessionStore(tmp_path, durability="process") as store,
            store.create("triage", session_id="s-1") as session,
        ):
            session.state.data_buffer["step"] = 1
            await session.save()
            session.state.data_buffer["step"] = float("nan")

    with pytest.raises(NotStorable):
        asyncio.run(work())
    stored = read_state(tmp_path, "s-1")
    assert (stored["status"], stored["data_buffer"]) == ("failed", {"step": 1})


def test_a_stop_with_a_state_that_cannot_be_stored_is_still_interrupted(
    store: Store, tmp_path: Path
) -> None:
    session = store.create("triage", session_id="s-1")
    unstorable(session)
    with pytest.raises(KeyboardInterrupt) as stop, session:
        raise KeyboardInterrupt
    assert "data_buffer.step" in "".join(stop.value.__notes__)
    (found,) = store.find(interrupted=True)
    assert (found.session_id, found.status, found.stops) == ("s-1", "paused", 1)
    assert read_state(tmp_path, "s-1")["data_buffer"] == {"step": 1}


# --- crashes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("checkpoint", [True, False])
def test_five_kills_with_a_plain_resume_in_between_count_five(
    tmp_path: Path, checkpoint: bool
) -> None:
    for number in range(5):
        with Child("act", tmp_path) as child:
            child.hear()
            if number == 0:
                child.ask("create", session_id="s-1", checkpoint=checkpoint)
            else:
                child.ask("resume", session_id="s-1")
            child.ask("save", step=number)
            child.process.send_signal(signal.SIGKILL)
            child.wait()
    assert read_state(tmp_path, "s-1")["recovery"]["count"] == 4
    store = SessionStore(tmp_path)
    with store.resume("s-1") as session:
        recovery = session.state.recovery
        assert recovery is not None
        assert (recovery.count, recovery.stops) == (5, 0)
        session.complete()
    assert json.loads((tmp_path / "sessions/s-1/state.json").read_bytes())["recovery"]["count"] == 5
