"""What JSON lacks is stored as default= says, and the live state becomes what is on disk."""

from __future__ import annotations

import asyncio
import enum
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from sessionstore import (
    AsyncSessionStore,
    MemoryBackend,
    NotStorable,
    Part,
    SessionState,
    SessionStore,
    SessionTimestamps,
    plain,
)
from sessionstore.model import codec, conversion
from tests.support.processes import read_state

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Mood(enum.StrEnum):
    CALM = "calm"


class Point(BaseModel):
    x: float = 0.0
    tags: tuple[str, ...] = ()


@dataclass
class Size:
    width: int = 0


def new(kind: type[SessionState] = SessionState, **fields: Any) -> Any:
    times = SessionTimestamps(started_at="", updated_at="")
    return kind(session_id="s-1", goal_id="g", timestamps=times, **fields)


def saved(
    edit: Callable[[Any], Any],
    default: Callable[[Any], Any] | None,
    kind: type[SessionState] = SessionState,
) -> Any:
    """Save an edited state; return the live one, which is what a reload gives."""
    store = SessionStore(MemoryBackend(), state_type=kind, default=default)
    with store.create("g", session_id="s-1") as session:
        edit(session.state)
        session.save()
        assert repr(session.state) == repr(store.load("s-1")), "equal, as the same types"
        live = session.state
    assert repr(live) == repr(store.load("s-1")), "after the pause, too"
    return live


def refused(
    edit: Callable[[Any], Any],
    default: Callable[[Any], Any] | None,
    kind: type[SessionState] = SessionState,
) -> NotStorable:
    store = SessionStore(MemoryBackend(), state_type=kind, default=default)
    session = store.create("g", session_id="s-1")
    before = store.raw("s-1")
    edit(session.state)
    with pytest.raises(NotStorable) as error:
        session.save()
    assert store.raw("s-1") == before
    session.state = store.load("s-1")
    session.complete()
    return error.value


# --- default= ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ((1, (2,)), [1, [2]]),
        ({"b", "a"}, ["a", "b"]),
        (NOON, "2026-11-22T12:00:00Z"),
        (date(2026, 1, 1), "2026-01-01"),
        (Decimal("1.50"), "1.50"),
        (Mood.CALM, "calm"),
        (Path("a/b"), "a/b"),
        (Point(x=1, tags=("a",)), {"x": 1.0, "tags": ["a"]}),
        (Size(3), {"width": 3}),
        (OrderedDict(a=1), {"a": 1}),
        (Counter("aa"), {"a": 2}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_stored_as_default_says_and_is_that_in_memory_too(
    value: Any, stored: Any
) -> None:
    state = saved(lambda s: s.data_buffer.update(found={"rows": [0, value]}), plain)
    assert state.data_buffer == {"found": {"rows": [0, stored]}}


class Rich(SessionState):
    notes: dict[str, Any] = Field(default_factory=dict)
    rows: list[Any] = Field(default_factory=list)
    either: dict[str, Any] | list[Any] | None = None
    anything: Any = None
    point: Point | None = None
    pair: tuple[int, int] = (0, 0)
    bounded: Annotated[dict[str, Any], Field(max_length=3)] = Field(default_factory=dict)


@pytest.mark.parametrize(
    "edit",
    [
        lambda s: s.input_data.update(a=[(1,)]),
        lambda s: s.result.output.update(a=(1,)),
        lambda s: s.problems.append({"a": (1,)}),
        lambda s: s.problems.append(OrderedDict(a=1)),
        lambda s: s.__pydantic_extra__.update(vendor=(1,)),
        lambda s: s.progress.__pydantic_extra__.update(vendor={"a": (1,)}),
        lambda s: setattr(s, "data_buffer", OrderedDict(a=(1,))),
        lambda s: setattr(s, "forked_from", {"a": (1,)}),
        lambda s: setattr(s.progress, "path", ("a", "b")),
        lambda s: s.notes.update(a={"b": (1,)}),
        lambda s: s.rows.append((1,)),
        lambda s: setattr(s, "either", {"a": (1,)}),
        lambda s: setattr(s, "either", [(1,)]),
        lambda s: setattr(s, "anything", (1,)),
        lambda s: setattr(s, "anything", Size(2)),
        lambda s: setattr(s, "bounded", {"a": (1,)}),
    ],
)
def test_every_place_where_any_json_may_stand_is_converted(edit: Callable[[Any], Any]) -> None:
    saved(edit, plain, Rich)


def test_a_declared_type_is_left_to_its_declaration() -> None:
    asked: list[Any] = []

    def edit(state: Any) -> None:
        state.pair = (1, 2)
        state.notes["a"] = {1}

    def default(value: Any) -> Any:
        asked.append(value)
        return sorted(value)

    state = saved(edit, default, Rich)
    assert asked == [{1}]
    assert state.pair == (1, 2)
    assert "status" in refused(lambda s: setattr(s, "status", "done"), plain).path


def test_what_json_has_is_never_handed_to_default() -> None:
    def default(value: Any) -> Any:
        raise AssertionError(value)

    data: dict[str, Any] = {"a": [1, 2.5, True, None, "x", {"b": []}]}
    assert saved(lambda s: s.data_buffer.update(data), default).data_buffer == data


@pytest.mark.parametrize(
    "value",
    [float("nan"), "\ud800", 10**4300, {1: "a"}, {Mood.CALM: 1}, [float("inf")]],
    ids=["nan", "surrogate", "digits", "key", "enum key", "inf"],
)
def test_a_wrong_value_of_a_type_that_json_has_stays_refused(value: Any) -> None:
    error = refused(lambda s: s.data_buffer.update(a=(1,), found=value), lambda _: "never")
    assert error.path.startswith("data_buffer.found")


def test_what_default_returns_is_checked_and_converted_again() -> None:
    def default(value: Any) -> Any:
        return {"x": value.x, "tags": value.tags} if isinstance(value, Point) else list(value)

    state = saved(lambda s: s.data_buffer.update(p=Point(tags=("a",))), default)
    assert state.data_buffer == {"p": {"x": 0.0, "tags": ["a"]}}
    error = refused(lambda s: s.data_buffer.update(p=Point(x=float("nan"))), default)
    assert (error.path, error.reason) == (
        "data_buffer.p.x",
        "nan cannot be stored as JSON: store None or text",
    )


def test_an_object_whose_dict_is_returned_keeps_it() -> None:
    thing = Size()
    thing.__dict__["seen"] = [("a",)]
    saved(
        lambda s: s.data_buffer.update(thing=thing),
        lambda value: vars(value) if isinstance(value, Size) else list(value),
    )
    assert thing.__dict__ == {"width": 0, "seen": [("a",)]}
    assert type(thing.__dict__["seen"][0]) is tuple


@pytest.mark.parametrize("error", [TypeError("no tuples here"), ValueError("no tuples here")])
def test_an_error_of_default_becomes_a_refusal_with_the_path(error: Exception) -> None:
    def default(_: Any) -> Any:
        raise error

    told = refused(lambda s: s.data_buffer.update(a=[{"b": (1,)}]), default)
    assert told.path == "data_buffer.a[0].b"
    assert told.reason == "default= does not convert tuple: no tuples here"
    assert told.__cause__ is error


def test_another_error_of_default_arrives_as_it_is() -> None:
    with SessionStore(MemoryBackend(), default=lambda _: 1 // 0).create("g") as session:
        session.state.data_buffer["a"] = (1,)
        with pytest.raises(ZeroDivisionError):
            session.save()
        session.state.data_buffer.clear()


@pytest.mark.parametrize(
    "default", [lambda value: value, lambda value: (value,)], ids=["itself", "for ever"]
)
def test_a_default_that_converts_nothing_is_refused_and_ends(
    default: Callable[[Any], Any],
) -> None:
    told = refused(lambda s: s.data_buffer.update(a=(1,)), default)
    assert told.path == "data_buffer.a"
    assert "default= returned tuple, which JSON lacks" in told.reason


def test_a_default_that_nests_for_ever_is_refused_and_ends() -> None:
    told = refused(lambda s: s.data_buffer.update(a=(1,)), lambda value: [value, value])
    assert "nested deeper than 200 levels" in told.reason


def test_a_converted_value_may_stand_at_the_deepest_level_that_is_read_back() -> None:
    deep: Any = ()
    for _ in range(197):
        deep = [deep]
    saved(lambda s: s.data_buffer.update(deep=deep), list)


def test_the_output_of_an_end_is_converted_on_disk_and_in_memory(tmp_path: Path) -> None:
    store = SessionStore(tmp_path, default=plain, durability="process")
    with store.create("g", session_id="whole") as session:
        session.complete(Point(tags=("a",)))  # type: ignore[arg-type]  # the claim
    assert session.state.result.output == {"x": 0.0, "tags": ["a"]}
    assert store.load("whole") == session.state
    with store.create("g", session_id="part") as session:
        session.complete({"tags": ("a",)})
    assert session.state.result.output == {"tags": ["a"]} == store.load("part").result.output


def test_the_first_state_is_converted_and_what_was_given_is_not() -> None:
    store = SessionStore(MemoryBackend(), default=plain)
    inner: list[Any] = [(1,)]
    with store.create("g", session_id="s-1", input_data={"rows": inner}) as session:
        assert session.state.input_data == {"rows": [[1]]} == store.load("s-1").input_data
    given = new(data_buffer={"rows": [(1,)]})
    given.session_id = "s-2"
    with store.create(state=given) as session:
        assert session.state.data_buffer == {"rows": [[1]]} == store.load("s-2").data_buffer
    assert inner == [(1,)]
    assert given.data_buffer == {"rows": [(1,)]}


def test_an_async_save_converts_in_the_callers_thread_before_its_first_await(
    tmp_path: Path,
) -> None:
    here = threading.get_ident()
    threads: list[int] = []

    def default(value: Any) -> Any:
        threads.append(threading.get_ident())
        return list(value)

    async def work() -> None:
        store = AsyncSessionStore(tmp_path, default=default, durability="process")
        async with store, store.create("g", session_id="s", input_data={"a": (1,)}) as session:
            assert session.state.input_data == {"a": [1]}
            session.state.data_buffer["a"] = [(1,)]
            saving = asyncio.ensure_future(session.save())
            await asyncio.sleep(0)  # the save runs up to its first await
            assert session.state.data_buffer == {"a": [[1]]}
            session.state.data_buffer["late"] = (1,)
            await saving
            assert read_state(tmp_path, "s")["data_buffer"] == {"a": [[1]]}

    asyncio.run(work())
    assert threads == [here] * 3
    assert read_state(tmp_path, "s")["data_buffer"] == {"a": [[1]], "late": [1]}


def test_a_default_that_cannot_be_called_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="default must be a function"):
        SessionStore(MemoryBackend(), default="plain")  # type: ignore[call-overload]  # the claim


def test_a_state_that_needs_nothing_is_checked_once_and_never_walked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def walk(*_: Any) -> None:
        raise AssertionError("walked")

    monkeypatch.setattr(conversion, "convert", walk)
    state = new(data_buffer={"a": [1, 2.5, {"b": "c"}]})
    assert codec.encode(state, plain) == codec.encode(state)


# --- an int where a float is declared ------------------------------------------------------------


@dataclass
class Weight:
    grams: float = 0.0


class Reading(Part):
    value: float = 0.0


class Floats(SessionState):
    score: float = 0.0
    maybe: float | None = None
    many: list[float] = Field(default_factory=list)
    named: dict[str, float] = Field(default_factory=dict)
    nested: dict[str, list[float | None]] = Field(default_factory=dict)
    reading: Reading = Field(default_factory=Reading)
    readings: list[Reading] = Field(default_factory=list)
    positive: float = Field(0.0, ge=0)
    pair: tuple[int, float] = (0, 0.0)
    queue: deque[float] = Field(default_factory=deque)
    numbers: set[float] = Field(default_factory=set)
    frozen: frozenset[float] = frozenset()
    by_number: dict[float, float] = Field(default_factory=dict)
    weight: Weight = Field(default_factory=Weight)
    point: Point = Field(default_factory=Point)
    points: list[Point] = Field(default_factory=list)
    text: float | str = 0.0


FLOATS: list[tuple[str, Any, Any]] = [
    ("score", 1, 1.0),
    ("maybe", -3, -3.0),
    ("many", [1, 2.5, 3], [1.0, 2.5, 3.0]),
    ("named", {"a": 1}, {"a": 1.0}),
    ("nested", {"a": [1, None]}, {"a": [1.0, None]}),
    ("positive", 2, 2.0),
    ("pair", (1, 2), (1, 2.0)),
    ("queue", deque([1, 2.5]), deque([1.0, 2.5])),
    ("numbers", {1, 2.5}, {1.0, 2.5}),
    ("frozen", frozenset({1}), frozenset({1.0})),
    ("by_number", {1: 2, 2.5: 3}, {1.0: 2.0, 2.5: 3.0}),
    ("text", 1, 1.0),
    ("score", 2**53, 2.0**53),
    ("score", 10**22, 1e22),
]


@pytest.mark.parametrize(("name", "value", "stored"), FLOATS)
@pytest.mark.parametrize("default", [None, plain])
def test_an_int_is_taken_where_a_float_is_declared_and_becomes_one(
    name: str, value: Any, stored: Any, default: Any
) -> None:
    state = saved(lambda s: setattr(s, name, value), default, Floats)
    assert repr(getattr(state, name)) == repr(stored)


@pytest.mark.parametrize(
    "edit",
    [
        lambda s: setattr(s.reading, "value", 1),
        lambda s: s.readings.extend([Reading(), Reading.model_construct(value=1)]),
        lambda s: setattr(s.weight, "grams", 1),
        lambda s: setattr(s.point, "x", 1),
        lambda s: s.points.append(Point.model_construct(x=1)),
    ],
)
def test_an_int_inside_of_a_declared_part_becomes_a_float_in_place(
    edit: Callable[[Any], Any],
) -> None:
    held: dict[str, Any] = {}

    def hold_and_edit(state: Any) -> None:
        held.update({name: getattr(state, name) for name in ("reading", "weight", "point")})
        edit(state)

    state = saved(hold_and_edit, None, Floats)
    assert all(getattr(state, name) is part for name, part in held.items())


@pytest.mark.parametrize(
    ("name", "value", "path"),
    [
        ("score", True, "score"),
        ("many", [1, True], "many[1]"),
        ("named", {"a": "1"}, "named.a"),
        ("pair", (1, True), "pair[1]"),
        ("queue", deque([1, True]), "queue[1]"),
        ("numbers", {True}, "numbers"),
        ("score", 2**53 + 1, "score"),
        ("many", [0.0, -(2**63) - 1], "many[1]"),
        ("named", {"a": 10**400}, "named.a"),
        ("pair", (1, 2**53 + 1), "pair[1]"),
    ],
)
def test_a_bool_and_an_int_without_an_exact_float_are_refused_with_their_path(
    name: str, value: Any, path: str
) -> None:
    assert refused(lambda s: setattr(s, name, value), None, Floats).path == path


def test_the_refusal_says_that_the_int_has_no_exact_float() -> None:
    assert refused(lambda s: setattr(s, "score", 10**5000), None, Floats).path == "score"
    told = refused(lambda s: setattr(s, "score", 2**53 + 1), None, Floats)
    assert told.reason == "9007199254740993 has no exact float, and float is declared"


def test_an_int_in_data_buffer_stays_an_int() -> None:
    assert type(saved(lambda s: s.data_buffer.update(a=1), plain).data_buffer["a"]) is int


class Tree(Part):
    children: list[Tree] = Field(default_factory=list)


class Forest(SessionState):
    tree: Tree = Field(default_factory=Tree)
    score: float = 0.0


def test_a_part_that_contains_itself_is_refused_after_an_int_too() -> None:
    def knot(state: Any) -> None:
        state.tree.children.append(state.tree)
        state.score = 1

    assert refused(knot, plain, Forest).path.startswith("tree")
