"""``session.state`` is inferred as the store's state_type, in every way to get at a session."""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import assert_type

import pytest

from sessionstore import (
    AsyncSession,
    AsyncSessionStore,
    Checkpoint,
    Liveness,
    MemoryBackend,
    Page,
    RecoveryReport,
    Session,
    SessionState,
    SessionStatus,
    SessionStore,
    SessionSummary,
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
        assert session.state is not state
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


def test_what_a_store_finds_is_typed(tmp_path: Path) -> None:
    store = SessionStore(tmp_path, durability="process")
    with store.create("triage", session_id="s-1", labels={"user": "42"}) as session:
        session.pause()
        assert_type(session.state.labels, dict[str, str])
    page = store.find(status="paused", labels={"user": "42"})
    assert_type(page, Page)
    for item in page:
        assert_type(item, SessionSummary)
        assert_type(item.labels, Mapping[str, str])
        assert_type(item.status, SessionStatus | None)
    for item in store.iter_find():
        assert_type(item, SessionSummary)
    assert_type(list(page), list[SessionSummary])
    assert [item.session_id for item in page] == ["s-1"]


def test_an_awaited_twin_takes_and_gives_what_its_method_does(tmp_path: Path) -> None:
    async def use() -> None:
        async with AsyncSessionStore(tmp_path, state_type=MyState, durability="process") as store:
            session = await store.create("triage", session_id="s-1")
            kept = await session.checkpoint("node_complete")
            await session.pause()
            assert_type(await store.exists("s-1"), bool)
            assert_type(await store.load_checkpoint("s-1", kept.checkpoint_id), MyState)
            page = await store.find(limit=3, goal_id="triage", status=["paused"])
            assert_type(page, Page)
            assert [item.session_id for item in page] == ["s-1"]
            assert_type(await store.count(resumable=True), int)
            assert_type(await store.checkpoints("s-1"), list[Checkpoint])
            assert_type(await store.liveness("s-1"), Liveness)
            assert_type(await store.fork("s-1", new_id="s-2"), str)
            assert_type(await store.mark("s-1", "failed", reason="given up"), int)
            assert_type(await store.recover(dry_run=True), RecoveryReport)
            assert_type(await store.raw("s-1"), bytes)
            assert_type(await store.delete("s-2"), None)

    asyncio.run(use())


def test_a_twin_shows_the_signature_and_the_prose_of_its_method() -> None:
    twins = [
        name
        for name, twin in vars(AsyncSessionStore).items()
        if hasattr(twin, "__wrapped__") and not name.startswith("_") and name != "edit"
    ]
    assert len(twins) == 27
    for name in twins:
        twin, method = getattr(AsyncSessionStore, name), getattr(SessionStore, name)
        assert inspect.iscoroutinefunction(twin)
        assert inspect.signature(twin) == inspect.signature(method)
        assert inspect.getdoc(twin) == inspect.getdoc(method)
        assert twin.__qualname__ == f"AsyncSessionStore.{name}"


def test_the_awaited_store_has_every_method_of_the_other() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert public(AsyncSessionStore) == public(SessionStore)
    assert public(AsyncSession) == public(Session)


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
    typed.create("g", labels={"user": 42})  # wrong
    typed.create_or_resume("s-1", "g", labels={"user": 42})  # wrong
    typed.find(stauts="paused")  # wrong
    typed.find(labels={"user": 42})  # wrong
    typed.count(labels="user=42")  # wrong
    typed.resume_interrupted(labels=["user"])  # wrong
    typed.find(labels={"user": "42"})
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
        page = await store.find(limit=3, status="paused")
        ids: list[str] = [item.session_id for item in page]
        [item.sesion_id for item in page]  # wrong
        await store.find(stauts="paused")  # wrong
        await store.find(limit="3")  # wrong
        await store.load(3)  # wrong
        await store.load()  # wrong
        await store.mark("s-1", "failed")  # wrong
        await store.mark("s-1", "completed", reason="r")  # wrong
        number: int = await store.mark("s-1", "failed", reason="r")
        text: str = await store.count()  # wrong
        store.exists("s-1") + 1  # wrong
"""


def mypy(program: Path) -> list[tuple[str, int]]:
    """Return the places of the errors that mypy finds; it has no cache, and checks all again."""
    (program.parent / "mypy.ini").write_text("[mypy]\n")  # not the one of this checkout
    checked = run(
        "mypy", "--strict", "--no-error-summary", "--no-color-output",
        "--config-file", "mypy.ini", "--cache-dir", "cache", program.name, at=program.parent,
    )  # fmt: skip
    assert checked.stderr == ""
    places = [line.split(":") for line in checked.stdout.splitlines() if ": error:" in line]
    return [(name, int(line)) for name, line, *_ in places]


def pyright(program: Path) -> list[tuple[str, int]]:
    """Return the places of the errors that pyright finds."""
    (program.parent / "pyrightconfig.json").write_text("{}")
    checked = run(
        "pyright", "--outputjson", "--pythonpath", sys.executable, program.name, at=program.parent
    )
    found = json.loads(checked.stdout)["generalDiagnostics"]
    return [
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1)
        for one in found
        if one["severity"] == "error"
    ]


def run(module: str, *args: str, at: Path) -> subprocess.CompletedProcess[str]:
    """Return what a checker says."""
    pytest.importorskip(module)
    return subprocess.run(
        [sys.executable, "-m", module, *args],
        cwd=at, capture_output=True, text=True, timeout=DEADLINE, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_type_checker_finds_the_mistakes_of_a_user_and_nothing_else(
    tmp_path: Path, checker: Callable[[Path], list[tuple[str, int]]]
) -> None:
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(WRONG))
    lines = program.read_text().splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}
    assert set(checker(program)) == {("program.py", number) for number in wrong}
