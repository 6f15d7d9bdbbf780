"""create() takes only what it has, and leaves what it is given as it was."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field, PrivateAttr

from sessionstore import (
    AsyncSessionStore,
    MemoryBackend,
    NotStorable,
    SessionExists,
    SessionState,
    SessionStore,
    SessionTimestamps,
    StateTypeMismatch,
)
from tests.support.processes import read_state

# --- keywords that create() does not have --------------------------------------------------------

GUESSES = [
    ("id", "a", "create() has no 'id'; did you mean 'session_id'?"),
    ("sesion_id", "a", "create() has no 'sesion_id'; did you mean 'session_id'?"),
    ("corelation_id", "x", "create() has no 'corelation_id'; did you mean 'correlation_id'?"),
    ("agent", "x", "create() has no 'agent'; did you mean 'agent_id'?"),
    ("input", {}, "create() has no 'input'; did you mean 'input_data'?"),
    ("goal", "x", "create() has no 'goal'; did you mean 'goal_id'?"),
    ("tags", ["a"], "create() has no 'tags': it takes goal_id, state, session_id, agent_id"),
    ("timeout", 3, "Put your own data into input_data, into state.data_buffer, or"),
    ("timeout", None, "a field of a state_type="),
    ("revision", 7, "create() has no 'revision'"),
    ("budget", 7, "create() has no 'budget'"),
]


class Budgeted(SessionState):
    budget: int = 0


@pytest.mark.parametrize(("name", "value", "told"), GUESSES)
def test_an_unknown_keyword_is_a_type_error_and_creates_nothing(
    name: str, value: Any, told: str
) -> None:
    store = SessionStore(MemoryBackend(), state_type=Budgeted)
    guess: Any = {name: value}
    with pytest.raises(TypeError) as refused:
        store.create("g", **guess)
    assert told in str(refused.value)
    with pytest.raises(TypeError, match=f"has no '{name}'"):
        store.create(state=new(Budgeted), **guess)
    assert store.count() == 0


@pytest.mark.parametrize(("name", "value", "told"), GUESSES)
def test_the_async_create_refuses_it_too_and_creates_nothing(
    tmp_path: Path, name: str, value: Any, told: str
) -> None:
    guess: Any = {name: value}

    async def guessing() -> None:
        async with AsyncSessionStore(tmp_path / "store") as store:
            with pytest.raises(TypeError) as refused:
                await store.create("g", **guess)
            assert told in str(refused.value)
            with pytest.raises(TypeError):
                async with store.create("g", **guess):
                    pass
            assert await store.count() == 0

    asyncio.run(guessing())
    assert not list(tmp_path.glob("store/sessions/*"))


# --- a state that is given -----------------------------------------------------------------------


class Plan(BaseModel):
    steps: list[str] = Field(default_factory=list)


@dataclass
class Attachment:
    tags: set[str] = field(default_factory=set)


class Rich(SessionState):
    plan: Plan = Field(default_factory=Plan)
    attachments: list[Attachment] = Field(default_factory=list)
    seen: set[str] = Field(default_factory=set)
    score: float = 0.0
    _client: Any = PrivateAttr(default=None)


def new(kind: type[SessionState] = SessionState, **fields: Any) -> Any:
    times = SessionTimestamps(started_at="", updated_at="")
    given = {"session_id": "s-1", "revision": 7, "latest_checkpoint_id": "cp", **fields}
    return kind(goal_id="g", timestamps=times, incarnation="another", **given)


def edit_everywhere(state: Any) -> None:
    """Change a state at every depth."""
    state.goal_id = "another"
    state.progress.path.append("plan")
    state.timestamps.started_at = "another"
    state.data_buffer["rows"][0]["a"].append(3)
    state.data_buffer["new"] = 1
    state.__pydantic_extra__["vendor"]["x"] = 2
    state.plan.steps.append("plan")
    state.attachments[0].tags.add("new")
    state.seen.add("new")


@pytest.mark.parametrize("session_id", [None, "s-2"])
def test_a_given_state_is_copied_and_stays_as_it_was(session_id: str | None) -> None:
    given = new(
        Rich,
        data_buffer={"rows": [{"a": [1, 2]}]},
        attachments=[Attachment({"a"})],
        seen={"b"},
        vendor={"x": 1},
    )
    given._client = client = threading.Lock()
    before = repr(given)
    store = SessionStore(MemoryBackend(), state_type=Rich)
    with store.create(state=given, session_id=session_id) as session:
        assert repr(given) == before
        assert session.state._client is client
        edit_everywhere(session.state)
        session.save()
        assert repr(given) == before
        saved = repr(session.state)
        edit_everywhere(given)
        assert repr(session.state) == saved
        session.checkpoint("n")
    loaded = store.load(session_id or "s-1")
    assert (loaded.revision, loaded.seen) == (4, {"b", "new"})
    assert loaded.data_buffer == {"rows": [{"a": [1, 2, 3]}], "new": 1}
    assert (given.revision, given.incarnation, given.latest_checkpoint_id) == (7, "another", "cp")


@pytest.mark.parametrize(
    ("fields", "options", "error"),
    [
        ({}, {}, SessionExists),
        ({}, {"session_id": "s-0"}, SessionExists),
        ({"data_buffer": {"a": (1,)}}, {}, NotStorable),
        ({"data_buffer": {"a": threading.Lock()}}, {}, NotStorable),
        ({}, {"goal_id": "g"}, TypeError),
        ({}, {"agent_id": "a"}, TypeError),
        ({}, {"id": "s-2"}, TypeError),
        ({}, {"session_id": "../s"}, ValueError),
    ],
)
def test_a_given_state_stays_as_it_was_when_create_fails(
    fields: dict[str, Any], options: dict[str, Any], error: type[Exception]
) -> None:
    store = SessionStore(MemoryBackend())
    store.create("g", session_id="s-0").release()
    store.create("g", session_id="s-1").release()
    if error is not SessionExists:
        store.delete("s-1")
    given = new(**fields)
    before = repr(given)
    with pytest.raises(error):
        store.create(state=given, **options)
    assert repr(given) == before
    assert store.count() == (2 if error is SessionExists else 1)


def test_a_refused_state_can_be_saved_as_the_error_says(tmp_path: Path) -> None:
    store = SessionStore(tmp_path, durability="process")
    with store.create("g", session_id="j") as session:
        session.checkpoint("n", node="plan")
        session.pause()
    mine = store.load("j")
    with pytest.raises(SessionExists):
        store.create(state=mine)
    with store.claim("j") as session:
        session.state = mine
        session.save()
    with store.resume("j") as session:
        assert session.state.progress.current_node == "plan"


class Uncopyable:
    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("cannot be copied")


@pytest.mark.parametrize(
    "thing",
    [threading.Lock(), Uncopyable(), iter([1]), (Uncopyable(),)],
    ids=lambda t: str(type(t)),
)
def test_a_state_with_what_cannot_be_copied_is_not_storable_and_its_path_is_named(
    thing: Any,
) -> None:
    store = SessionStore(MemoryBackend())
    with pytest.raises(NotStorable) as refused:
        store.create(state=new(data_buffer={"rows": [{"thing": thing}]}))
    assert refused.value.path == "data_buffer.rows[0].thing"
    with SessionStore(MemoryBackend(), default=lambda _: "converted").create(
        state=new(data_buffer={"thing": thing})
    ) as session:
        assert session.state.data_buffer == {"thing": "converted"}


def test_a_state_that_contains_itself_is_not_storable() -> None:
    given = new()
    given.data_buffer["loop"] = [given.data_buffer, given.data_buffer]
    with pytest.raises(NotStorable):
        SessionStore(MemoryBackend()).create(state=given)
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(NotStorable, match="nested deeper than 200 levels"):
        SessionStore(MemoryBackend()).create(state=new(data_buffer={"deep": deep}))


def test_a_given_state_of_another_type_is_refused_before_it_is_copied() -> None:
    with pytest.raises(StateTypeMismatch):
        SessionStore(MemoryBackend(), state_type=Rich).create(state=new())


def test_an_int_of_a_given_state_stays_an_int_there() -> None:
    given = new(Rich)
    given.score = 3
    with SessionStore(MemoryBackend(), state_type=Rich).create(state=given) as session:
        assert repr(session.state.score) == "3.0"
    assert repr(given.score) == "3"


def test_the_async_create_copies_a_given_state_too(tmp_path: Path) -> None:
    given = new(data_buffer={"rows": [1]})
    before = repr(given)

    async def main() -> None:
        async with AsyncSessionStore(tmp_path, durability="process") as store:
            async with store.create(state=given) as session:
                session.state.data_buffer["rows"].append(2)
                await session.save()
            with pytest.raises(SessionExists):
                await store.create(state=given)

    asyncio.run(main())
    assert repr(given) == before
    assert read_state(tmp_path, "s-1")["data_buffer"] == {"rows": [1, 2]}


def test_the_input_of_a_session_is_a_copy_of_what_was_given() -> None:
    given: dict[str, Any] = {"rows": [{"a": 1}]}
    with SessionStore(MemoryBackend()).create("g", input_data=given) as session:
        session.state.input_data["rows"][0]["a"] = 2
    assert given == {"rows": [{"a": 1}]}
