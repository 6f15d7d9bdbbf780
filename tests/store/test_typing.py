"""``session.state`` is inferred as the store's state_type, in every way to get at a session."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import assert_type

import pytest

from sessionstore import (
    AsyncSession,
    AsyncSessionStore,
    MemoryBackend,
    Session,
    SessionState,
    SessionStore,
    SessionTimestamps,
)
from tests.support.processes import DEADLINE


class MyState(SessionState):
    """A state with typed data."""

    budget: int = 0


# The assertions below hold twice: pytest sees the types at run time, `mypy --strict` the inferred.


def test_without_a_state_type_a_state_is_a_session_state(tmp_path: Path) -> None:
    store = SessionStore(tmp_path, durability="process")
    assert_type(store, SessionStore[SessionState])
    with store.create("triage", session_id="s-1") as session:
        assert_type(session, Session[SessionState])
        assert_type(session.state, SessionState)
        session.checkpoint("node_complete")
        session.complete()
    state = store.load("s-1")
    assert_type(state, SessionState)
    assert type(state) is SessionState


def test_with_a_state_type_every_way_to_a_state_gives_it(tmp_path: Path) -> None:
    store = SessionStore(tmp_path, state_type=MyState, durability="process")
    assert_type(store, SessionStore[MyState])
    with store.create("triage", session_id="s-1") as session:
        assert_type(session, Session[MyState])
        assert_type(session.state.budget, int)
        session.state.budget = 3
        kept = session.checkpoint("node_complete")
        session.complete()
    with store.claim("s-1") as session:
        assert_type(session.state, MyState)
        assert type(session.state) is MyState
    with store.resume("s-1", again=True) as session:
        assert_type(session.state, MyState)
        assert type(session.state) is MyState
        session.complete()
    loaded, restored = store.load("s-1"), store.load_checkpoint("s-1", kept.checkpoint_id)
    assert_type(loaded, MyState)
    assert_type(restored, MyState)
    assert type(loaded) is type(restored) is MyState
    assert loaded.budget == restored.budget == 3


def test_a_given_state_and_a_backend_are_typed_alike() -> None:
    store = SessionStore(MemoryBackend(), state_type=MyState)
    assert_type(store, SessionStore[MyState])
    times = SessionTimestamps(started_at="", updated_at="")
    state = MyState(session_id="s-1", goal_id="g", timestamps=times)
    with store.create(state=state) as session:
        assert_type(session.state, MyState)
        assert session.state is state
    with SessionStore(MemoryBackend()) as plain:
        assert_type(plain, SessionStore[SessionState])


def test_the_async_face_infers_the_same(tmp_path: Path) -> None:
    async def plain() -> None:
        async with AsyncSessionStore(tmp_path / "plain", durability="process") as store:
            assert_type(store, AsyncSessionStore[SessionState])
            async with store.create("triage", session_id="s-1") as session:
                assert_type(session, AsyncSession[SessionState])
                assert_type(session.state, SessionState)
                await session.complete()
            assert_type(await store.load("s-1"), SessionState)

    async def typed() -> None:
        root = tmp_path / "typed"
        async with AsyncSessionStore(root, state_type=MyState, durability="process") as store:
            assert_type(store, AsyncSessionStore[MyState])
            session = await store.create("triage", session_id="s-1")
            assert_type(session, AsyncSession[MyState])
            assert_type(session.state, MyState)
            await session.pause()
            async with store.claim("s-1") as claimed:
                assert_type(claimed.state, MyState)
                assert type(claimed.state) is MyState
            async with store.resume("s-1") as resumed:
                assert_type(resumed.state.budget, int)
                await resumed.complete()
            loaded = await store.load("s-1")
            assert_type(loaded, MyState)
            assert_type(await store.load_checkpoint("s-1"), MyState)
            assert type(loaded) is MyState

    asyncio.run(plain())
    asyncio.run(typed())


WRONG = """\
    from sessionstore import AsyncSessionStore, SessionState, SessionStore

    class MyState(SessionState):
        budget: int = 0

    plain = SessionStore("root")
    typed = SessionStore("root", state_type=MyState)
    fine: int = typed.load("s-1").budget
    plain.load("s-1").budget  # wrong
    typed.load("s-1").budgte  # wrong
    text: str = typed.create("g").state.budget  # wrong
    typed.create("g").state.budget = "3"  # wrong
    typed.create("g").state.budgte = 3  # wrong
    typed.create("g", sesion_id="s-1")  # wrong
    typed.find(stauts="paused")  # wrong
    typed.find(goal_id="g", status=["paused"])
    SessionStore("root", state_type=int)  # wrong
    SessionStore("root", durability="perhaps")  # wrong
    typed.create(state=plain.load("s-1"))  # wrong

    async def asynchronous() -> None:
        store = AsyncSessionStore("root", state_type=MyState)
        good: int = (await store.load("s-1")).budget
        bad: str = (await store.load("s-1")).budget  # wrong
        async with store.claim("s-1") as session:
            session.state.budgte  # wrong
"""


def test_a_type_checker_finds_the_mistakes_of_a_user_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(WRONG))
    (tmp_path / "mypy.ini").write_text("[mypy]\n")  # not the one of this checkout
    lines = program.read_text().splitlines()
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--no-color-output",
         "--config-file", "mypy.ini", "--cache-dir", str(tmp_path / "cache"), "program.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )  # fmt: skip
    assert checked.stderr == ""
    complaints = [line.split(":") for line in checked.stdout.splitlines() if ": error:" in line]
    assert {parts[0] for parts in complaints} == {"program.py"}
    assert {int(parts[1]) for parts in complaints} == {
        number for number, line in enumerate(lines, 1) if line.endswith("# wrong")
    }, checked.stdout
