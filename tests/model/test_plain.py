"""plain() writes a value as JSON that loads back equal, and loses nothing in silence."""

from __future__ import annotations

import doctest
import enum
import json
import math
import re
from collections import Counter, OrderedDict, deque, namedtuple
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from ipaddress import ip_address
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AnyUrl, BaseModel, Field, RootModel, SecretStr, field_serializer

from sessionstore import MemoryBackend, NotStorable, SessionStore, plain
from sessionstore.model import json_values


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "another"


class Number(int):
    pass


class Real(float):
    pass


class Mood(enum.StrEnum):
    CALM = "calm"


class Colour(enum.Enum):
    RED = "red"
    GREEN = (0, 255, 0)


class Level(enum.IntEnum):
    LOW = 1


class Base(BaseModel):
    x: int = 0


class Sub(Base):
    tags: tuple[str, ...] = ("a",)


class Owner(BaseModel):
    base: Base = Field(default_factory=Sub)
    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    hidden: str = Field(default="secret", exclude=True)
    word: str = "abc"

    @field_serializer("word")
    def shout(self, value: str) -> str:
        return value.upper()


@dataclass
class Size:
    width: int = 0
    seen: set[str] = field(default_factory=set)


Pair = namedtuple("Pair", "a b")


class FakeNumpy:
    """Stands for what numpy has: a value that can list itself."""

    def __init__(self, listed: Any) -> None:
        self.listed = listed

    def tolist(self) -> Any:
        return self if self.listed is None else self.listed


FakeNumpy.__module__ = "numpy"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, None),
        (True, True),
        (1, 1),
        (1.5, 1.5),
        ("é", "é"),
        (Text("a"), "a"),
        (Number(3), 3),
        (Real(1.5), 1.5),
        (Mood.CALM, "calm"),
        (Colour.RED, "red"),
        (Colour.GREEN, [0, 255, 0]),
        (Level.LOW, 1),
        ((1, (2,)), [1, [2]]),
        (Pair(1, "x"), [1, "x"]),
        (deque([1]), [1]),
        ({"b", "a"}, ["a", "b"]),
        (frozenset({2, 1}), [1, 2]),
        ({Mood.CALM, "angry"}, ["angry", "calm"]),
        ({(2, 1), (1, 2)}, [[1, 2], [2, 1]]),
        ({"b": 1, "a": 2}.keys(), ["a", "b"]),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (Counter("aab"), {"a": 2, "b": 1}),
        (MappingProxyType({"a": (1,)}), {"a": [1]}),
        ({Mood.CALM: 1, Colour.RED: 2, Text("t"): 3}, {"calm": 1, "red": 2, "t": 3}),
        (Size(3, {"b", "a"}), {"width": 3, "seen": ["a", "b"]}),
        (Base(x=1), {"x": 1}),
        (
            Owner(),
            {"base": {"x": 0, "tags": ["a"]}, "at": "2026-01-01T00:00:00Z", "word": "ABC"},
        ),
        (RootModel[tuple[int, ...]]((1, 2)), [1, 2]),
        (datetime(2026, 1, 1, 12, tzinfo=UTC), "2026-01-01T12:00:00Z"),
        (datetime(2026, 1, 1, 12), "2026-01-01T12:00:00"),  # noqa: DTZ001 - a naive one is claimed
        (date(2026, 1, 1), "2026-01-01"),
        (time(12, 30), "12:30:00"),
        (timedelta(hours=36), "P1DT12H"),
        (Decimal("1.50"), "1.50"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (PurePosixPath("a/b"), "a/b"),
        (ip_address("127.0.0.1"), "127.0.0.1"),
        (AnyUrl("http://a/b"), "http://a/b"),
        (FakeNumpy(3), 3),
        (FakeNumpy([[1.5, (2,)]]), [[1.5, [2]]]),
        ({"deep": [{"x": ({Mood.CALM},)}]}, {"deep": [{"x": [["calm"]]}]}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_becomes_json_that_stores_and_loads_back_equal(value: Any, written: Any) -> None:
    found = plain(value)
    assert repr(found) == repr(written)
    store = SessionStore(MemoryBackend())
    with store.create("g", session_id="s-1") as session:
        session.state.data_buffer["found"] = found
    assert repr(store.load("s-1").data_buffer["found"]) == repr(written)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (math.nan, "nan cannot be stored as JSON"),
        ({"a": [Real("inf")]}, "a[0]: inf cannot be stored as JSON"),
        (Decimal("NaN"), "NaN cannot be stored as JSON"),
        (FakeNumpy([math.nan]), "[0]: nan cannot be stored as JSON"),
        ("\ud800", "lone surrogate"),
        (PurePosixPath("a\udcff"), "lone surrogate"),
        ({"\ud800": 1}, "lone surrogate"),
        (10**4300, "4,300 digits"),
        ({Colour.RED: 1, "red": 2}, "two keys become 'red'"),
        (Base.model_construct(x=math.nan), "x: nan cannot be stored"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_json_lacks_is_a_value_error_and_never_null(value: Any, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        plain(value)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b"raw", "bytes has no plain form"),
        ({"a": [object()]}, "a[0]: object has no plain form"),
        (SecretStr("x"), "SecretStr has no plain form"),
        (Size, "type has no plain form"),
        (Fraction(1, 3), "Fraction has no plain form"),
        (iter([1]), "has no plain form"),
        ({1: "a"}, "the key 1 is int: JSON keys are text"),
        ({"a": {Level.LOW: 1}}, "a: the key 1 is int"),
        ({1, "a"}, "the items of this set have no order"),
        (FakeNumpy(None), "FakeNumpy has no plain form"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_type_that_has_no_plain_form_is_a_type_error(value: Any, told: str) -> None:
    with pytest.raises(TypeError) as error:
        plain(value)
    assert told in str(error.value)


def test_a_container_that_contains_itself_is_a_value_error() -> None:
    loop: list[Any] = []
    loop += [loop, loop]
    with pytest.raises(ValueError, match="nested deeper than 200 levels"):
        plain(loop)


def test_what_is_json_already_is_copied() -> None:
    value = {"a": [{"b": 1}]}
    found = plain(value)
    assert found == value
    found["a"][0]["b"] = 2
    assert value == {"a": [{"b": 1}]}


def test_as_the_default_of_a_store_its_error_names_the_path_and_the_place_inside() -> None:
    store = SessionStore(MemoryBackend(), default=plain)
    with pytest.raises(NotStorable) as refused:
        store.create("g", input_data={"size": Size(math.nan)})  # type: ignore[arg-type]  # the claim
    assert refused.value.path == "input_data.size"
    assert "width: nan cannot be stored as JSON" in refused.value.reason


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.datetimes()
    | st.decimals()
    | st.binary(max_size=3)
    | st.sampled_from([*Mood, *Colour, *Level])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3) | st.sampled_from(list(Mood)), inner, max_size=4)
        | st.frozensets(st.integers() | st.text(max_size=3), max_size=4)
    ),
    max_leaves=10,
)


@settings(database=None, deadline=None, max_examples=300)
@given(values)
def test_any_value_becomes_json_that_comes_back_equal_or_is_an_error(value: Any) -> None:
    try:
        found = plain(value)
    except (TypeError, ValueError):
        return
    json_values.check_json([found], 1)
    assert json.loads(json.dumps(found)) == found
    assert plain(found) == found


def test_its_example_runs() -> None:
    example = doctest.DocTestFinder().find(plain, "plain", globs={})[0]
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0
