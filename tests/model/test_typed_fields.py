"""Typed states: what a subclass declares comes back as declared, or is refused with its path."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    computed_field,
    field_serializer,
    field_validator,
    model_validator,
)

from sessionstore import (
    MemoryBackend,
    NotStorable,
    Part,
    SessionState,
    SessionStore,
    SessionTimestamps,
    StateTypeMismatch,
)
from sessionstore.model import field_checks


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


class Step(Part):
    name: str = ""
    took: float = 0.0


class Tally(Part):
    values: list[int] = Field(default_factory=list)

    @computed_field  # type: ignore[prop-decorator]  # pydantic documents this order for mypy
    @property
    def total(self) -> int:
        return sum(self.values)


class Counted(SessionState):
    tally: Tally = Field(default_factory=Tally)


class Address(BaseModel):
    street: str
    tags: set[str] = Field(default_factory=set)


@dataclass
class Money:
    amount: Decimal
    currency: str = "EUR"


class Rich(SessionState):
    """One field of each kind that pydantic brings back from JSON."""

    due: datetime | None = None
    day: date | None = None
    wait: timedelta = timedelta()
    seen: set[str] = Field(default_factory=set)
    frozen: frozenset[int] = frozenset()
    pair: tuple[int, str] = (0, "")
    raw: bytes = b""
    price: Decimal = Decimal(0)
    key: UUID | None = None
    mood: Mood = Mood.GOOD
    mode: Literal["fast", "slow"] = "slow"
    by_number: dict[int, str] = Field(default_factory=dict)
    step: Step = Field(default_factory=Step)
    steps: list[Step] = Field(default_factory=list)
    steps_by_name: dict[str, Step] = Field(default_factory=dict)
    address: Address | None = None
    money: Money | None = None
    either: int | str = 0
    path: Path = Path()
    anything: Any = None


def new(kind: type[SessionState], **fields: Any) -> Any:
    times = SessionTimestamps(started_at="", updated_at="")
    return kind(session_id="s-1", goal_id="g", timestamps=times, **fields)


def assert_same(before: Any, after: Any) -> None:
    assert type(before) is type(after)
    assert before == after
    if isinstance(before, BaseModel):
        assert set(before.__dict__) == set(after.__dict__)
        assert before.model_extra == after.model_extra
        for name, value in before.__dict__.items():
            assert_same(value, after.__dict__[name])
    elif isinstance(before, dict):
        for one, other in zip(before.items(), after.items(), strict=True):
            assert_same(list(one), list(other))
    elif isinstance(before, list | tuple):
        for one, other in zip(before, after, strict=True):
            assert_same(one, other)


def outcome(state: Any) -> NotStorable | None:
    """Store a state; return the refusal, or None where it came back equal and of the same types.

    Anything else, a silent change or a state that cannot be loaded, fails.
    """
    store = SessionStore(MemoryBackend(), state_type=type(state))
    try:
        session = store.create(state=state)
    except NotStorable as refused:
        assert not store.exists("s-1")
        return refused
    try:
        assert_same(session.state, store.load("s-1"))
    finally:
        session.complete()
    assert_same(session.state, store.load("s-1"))
    return None


# --- what comes back -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"due": datetime(2026, 1, 1, 12, tzinfo=UTC)},
        {"due": datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))},
        {"due": datetime(2026, 1, 1, 12, 0, 0, 123456)},  # noqa: DTZ001 - a naive one is claimed
        {"day": date(2026, 1, 1)},
        {"wait": timedelta(days=3, microseconds=1)},
        {"seen": {"a", "b"}, "frozen": frozenset({1, 2})},
        {"pair": (7, "x")},
        {"raw": b"text"},
        {"price": Decimal("1.10"), "key": UUID(int=5)},
        {"mood": Mood.BAD, "mode": "fast"},
        {"by_number": {1: "a", -2: "b"}},
        {"step": Step(name="a", took=1.5), "steps": [Step(), Step(name="b")]},
        {"steps_by_name": {"a": Step(name="a")}},
        {"address": Address(street="x", tags={"home"})},
        {"money": Money(Decimal("1.5"))},
        {"either": "1"},
        {"either": 1},
        {"path": Path("a/b")},
        {"anything": {"deep": [1, 2.5, None, "x"]}},
    ],
    ids="-".join,
)
def test_a_typed_field_loads_back_as_declared(fields: dict[str, Any]) -> None:
    assert outcome(new(Rich, **fields)) is None


def test_a_typed_state_is_plain_json_on_disk_and_other_programs_read_its_base(
    tmp_path: Path,
) -> None:
    typed = SessionStore(tmp_path, state_type=Rich, durability="process")
    typed.create(state=new(Rich, seen={"a"}, step=Step(name="x"))).complete()
    plain = SessionStore(tmp_path, durability="process")
    with plain.claim("s-1") as session:
        assert session.state.model_extra is not None
        assert session.state.model_extra["seen"] == ["a"]
        session.save()
    assert typed.load("s-1").seen == {"a"}
    assert typed.load("s-1").step == Step(name="x")


def test_the_wrong_type_for_a_stored_session_is_a_mismatch_and_no_damage(tmp_path: Path) -> None:
    plain = SessionStore(tmp_path, durability="process")
    with plain.create("g", session_id="s-1") as session:
        session.state = SessionState.model_validate({**session.state.model_dump(), "pair": "x"})
        session.complete()
    with pytest.raises(StateTypeMismatch, match="does not fit state_type Rich: pair"):
        SessionStore(tmp_path, state_type=Rich).load("s-1")
    assert [item.damaged for item in plain.find().items] == [None]


def test_a_given_state_of_another_class_of_the_same_name_is_told_apart() -> None:
    class Rich(SessionState):
        pass

    store = SessionStore(MemoryBackend(), state_type=Rich)
    now = "2026-01-01T00:00:00Z"
    given = SessionState.model_validate(
        {"session_id": "s-1", "goal_id": "g", "timestamps": {"started_at": now, "updated_at": now}}
    )
    expected = f"expected {__name__}.{Rich.__qualname__}, got sessionstore.model.state.SessionState"
    with pytest.raises(StateTypeMismatch) as refused:
        store.create(state=given)  # type: ignore[arg-type]  # the claim
    assert refused.value.reason == expected
    assert (refused.value.session_id, refused.value.state_type) == (None, "Rich")
    with store.create("g") as session:
        with pytest.raises(StateTypeMismatch) as refused:
            session.state = given  # type: ignore[assignment]  # the claim
        assert refused.value.reason == expected


# --- what would not, and is refused --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("due", "2026-01-01T00:00:00Z"),
        ("due", date(2026, 1, 1)),
        ("wait", 5),
        ("seen", ["a"]),
        ("seen", {1}),
        ("frozen", {1}),
        ("pair", [1, "a"]),
        ("pair", (1,)),
        ("pair", (True, "a")),
        ("raw", "text"),
        ("raw", b"\xff"),
        ("price", 1.5),
        ("price", Decimal("NaN")),
        ("mood", "good"),
        ("mode", "medium"),
        ("by_number", {"1": "a"}),
        ("step", {"name": "a"}),
        ("step", Address(street="")),
        ("steps", (Step(),)),
        ("address", {"street": "x"}),
        ("money", Address(street="")),
        ("either", 1.5),
        ("either", True),
        ("anything", (1,)),
        ("anything", float("nan")),
    ],
)
def test_a_value_of_another_type_than_declared_is_refused(name: str, value: Any) -> None:
    state = new(Rich)
    setattr(state, name, value)
    refused = outcome(state)
    assert refused is not None
    assert refused.path.split("[")[0].split(".")[0] == name


def test_the_path_goes_into_nested_parts() -> None:
    state = new(Rich, steps=[Step(), Step()])
    state.steps[1].took = "3"  # text where a float is declared
    refused = outcome(state)
    assert refused is not None
    assert refused.path == "steps[1].took"


class Numbers(SessionState):
    numbers: set[int] = Field(default_factory=set)
    money: Money | None = None


@pytest.mark.parametrize("number", [1.0, True])
def test_a_set_of_equals_of_another_type_is_refused(number: Any) -> None:
    state = new(Numbers)
    state.numbers = {number}  # equal to {1}, but it would come back as that
    refused = outcome(state)
    assert refused is not None
    assert refused.path.startswith("numbers")


def test_a_dataclass_field_of_another_type_is_refused() -> None:
    state = new(Numbers)
    state.money = Money(1)  # type: ignore[arg-type]  # the claim: equal to Decimal(1)
    refused = outcome(state)
    assert refused is not None
    assert refused.path.startswith("money")


# --- validators, serializers, aliases and excluded fields of the user's own ---------------------


class Validated(SessionState):
    word: str = ""

    @field_validator("word")
    @classmethod
    def lower(cls, value: str) -> str:
        return value.lower()


class Serialized(SessionState):
    word: str = ""

    @field_serializer("word")
    def shout(self, value: str) -> str:
        return value.upper()


class Checked(SessionState):
    low: int = 0
    high: int = 1

    @model_validator(mode="after")
    def in_order(self) -> Checked:
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


class Annotated_(SessionState):  # noqa: N801 - the plain name is typing's
    word: Annotated[str, AfterValidator(str.strip)] = ""


class SerializedByAnnotation(SessionState):
    word: Annotated[str, PlainSerializer(str.upper)] = ""


class Bounded(SessionState):
    word: str = Field("", max_length=3)


class Stripped(SessionState):
    model_config = ConfigDict(str_strip_whitespace=True)
    word: str = ""


class Excluded(SessionState):
    word: str = Field("", exclude=True)


class ExcludedIfEmpty(SessionState):
    word: str = Field("default", exclude_if=lambda value: value == "")


class Aliased(SessionState):
    word: str = Field("", alias="Word")
    model_config = ConfigDict(validate_by_name=True)


class WrittenByAlias(SessionState):
    word: str = Field("", serialization_alias="Word")
    model_config = ConfigDict(serialize_by_alias=True)


class ReadByAlias(SessionState):
    word: str = Field("", validation_alias=AliasChoices("Word", "word"))


class NestedAnnotation(SessionState):
    words: list[Annotated[str, AfterValidator(str.strip)]] = Field(default_factory=list)


class NestedCode(Part):
    word: str = ""

    @field_validator("word")
    @classmethod
    def lower(cls, value: str) -> str:
        return value.lower()


class Nesting(SessionState):
    inner: NestedCode = Field(default_factory=NestedCode)
    inners: list[NestedCode] = Field(default_factory=list)


@pytest.mark.parametrize(
    ("kind", "name", "survives", "changed"),
    [
        (Validated, "word", "abc", "ABC"),
        (Serialized, "word", "ABC", "abc"),
        (Checked, "low", 1, 2),
        (Annotated_, "word", "abc", " abc "),
        (SerializedByAnnotation, "word", "ABC", "abc"),
        (Bounded, "word", "abc", "abcd"),
        (Stripped, "word", "abc", " abc "),
        (Excluded, "word", "", "abc"),
        (ExcludedIfEmpty, "word", "abc", ""),
        (WrittenByAlias, "word", None, "abc"),
        (NestedAnnotation, "words", ["a"], [" a "]),
    ],
)
def test_code_of_the_users_own_is_obeyed_and_what_it_would_change_is_refused(
    kind: type[SessionState], name: str, survives: Any, changed: Any
) -> None:
    state = new(kind)
    if survives is not None:
        setattr(state, name, survives)
        assert outcome(state) is None
    setattr(state, name, changed)
    refused = outcome(state)
    assert refused is not None
    assert name in str(refused) or "low is above high" in refused.reason


@pytest.mark.parametrize("kind", [Aliased, ReadByAlias])
def test_an_aliased_field_comes_back_or_is_refused_but_is_never_lost(
    kind: type[SessionState],
) -> None:
    state = new(kind)
    state.word = "abc"
    outcome(state)


@pytest.mark.parametrize("word", ["abc", "ABC"])
def test_code_in_a_nested_part_is_obeyed_too(word: str) -> None:
    state = new(Nesting)
    state.inner.word = word
    assert (outcome(state) is None) is (word == "abc")
    state = new(Nesting)
    state.inners.append(NestedCode())
    state.inners[0].word = word
    assert (outcome(state) is None) is (word == "abc")


class Strict(SessionState):
    model_config = ConfigDict(extra="forbid")


def test_a_state_type_that_forbids_extras_is_refused_before_it_locks_itself_out() -> None:
    # The computed keys are in the file: a type that refuses them could never load it again.
    try:
        SessionStore(MemoryBackend(), state_type=Strict)
    except TypeError:
        return  # refusing the type as such is as good
    outcome(new(Strict))


class Coordinates(enum.Enum):
    HOME = (1, 2)


class At(SessionState):
    place: Coordinates = Coordinates.HOME


def test_an_enum_whose_value_json_changes_is_refused() -> None:
    assert outcome(new(At)) is not None


class Tree(Part):
    name: str = ""
    children: list[Tree] = Field(default_factory=list)


class Forest(SessionState):
    tree: Tree = Field(default_factory=Tree)


def test_a_part_that_contains_its_own_kind_is_stored() -> None:
    assert outcome(new(Forest, tree=Tree(children=[Tree(name="a", children=[Tree()])]))) is None


class Doubling(BaseModel):
    model_config = ConfigDict(extra="allow")
    value: int = 1

    @computed_field  # type: ignore[prop-decorator]  # pydantic documents this order for mypy
    @property
    def twice(self) -> int:
        return self.value * 2


class WithDoubling(SessionState):
    inner: Doubling = Field(default_factory=Doubling)


def test_a_computed_key_of_a_nested_model_does_not_come_back_as_an_extra() -> None:
    outcome(new(WithDoubling))


class PostInit(SessionState):
    note: str = ""

    def model_post_init(self, context: Any, /) -> None:
        """Forget to call super, as users do."""


def test_a_post_init_of_the_users_own_does_not_double_the_computed_keys(tmp_path: Path) -> None:
    store = SessionStore(tmp_path, state_type=PostInit, durability="process")
    with store.create(state=new(PostInit)) as session:
        session.complete()
    with store.claim("s-1") as session:
        session.save()
        text = (session.directory / "state.json").read_text()
    assert text.count('"duration_ms"') == 1
    assert_same(session.state, store.load("s-1"))


class Remembers(BaseModel):
    value: int = 1

    @cached_property
    def twice(self) -> int:
        return self.value * 2


class WithRemembers(SessionState):
    inner: Remembers = Field(default_factory=Remembers)


def test_a_cached_property_of_a_nested_model_is_no_obstacle() -> None:
    state = new(WithRemembers)
    assert state.inner.twice == 2
    store = SessionStore(MemoryBackend(), state_type=WithRemembers)
    store.create(state=state).complete()
    assert store.load("s-1").inner == Remembers()


# --- data_buffer as a model ----------------------------------------------------------------------


class Plan(BaseModel):
    steps: list[str] = Field(default_factory=list)
    due: datetime | None = None


class Planned(SessionState):
    data_buffer: Plan = Field(default_factory=Plan)  # type: ignore[assignment]  # typed on purpose


def test_data_buffer_can_be_a_model(tmp_path: Path) -> None:
    store = SessionStore(tmp_path, state_type=Planned, durability="process")
    with store.create("g", session_id="s-1") as session:
        session.state.data_buffer.steps.append("plan")
        session.state.data_buffer.due = datetime(2026, 1, 1, tzinfo=UTC)
        session.checkpoint("node_complete", node="plan")
        session.complete()
    loaded = store.load("s-1")
    assert loaded.data_buffer == Plan(steps=["plan"], due=datetime(2026, 1, 1, tzinfo=UTC))
    with store.resume("s-1", again=True) as session:
        assert session.state.data_buffer == loaded.data_buffer
        session.complete()


def test_a_wrong_value_in_a_typed_data_buffer_is_refused_with_its_path() -> None:
    state = new(Planned)
    state.data_buffer.steps = [1]
    refused = outcome(state)
    assert refused is not None
    assert refused.path == "data_buffer.steps[0]"


# --- the property --------------------------------------------------------------------------------


class Loose(SessionState):
    """Any of these may be given any value: assignments are not validated."""

    when: datetime | None = None
    names: set[str] | None = None
    pair: tuple[int, float] | None = None
    counts: dict[int, float] = Field(default_factory=dict)
    inner: Address | None = None
    step: Step | None = None
    mood: Mood | None = None
    number: float = 0.0


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.sampled_from(list(Mood)),
    st.sets(st.text(max_size=3), max_size=3),
    st.tuples(st.integers(), st.floats()),
    st.tuples(st.integers() | st.booleans(), st.floats() | st.integers()),
    st.dictionaries(st.integers(), st.floats(), max_size=3),
    st.dictionaries(st.integers() | st.text(max_size=3), st.floats(), max_size=3),
    st.builds(Address, street=st.text(max_size=5), tags=st.sets(st.text(max_size=3), max_size=3)),
    st.builds(Step, name=st.text(max_size=5), took=st.floats()),
)


@settings(database=None, deadline=None, max_examples=300)
@given(name=st.sampled_from(list(Loose.__annotations__)), value=values)
def test_any_value_in_any_typed_field_comes_back_the_same_or_is_refused(
    name: str, value: Any
) -> None:
    state = new(Loose)
    setattr(state, name, value)
    refused = outcome(state)
    if refused is not None:
        assert refused.path.startswith(name)


def test_a_validator_sees_no_more_than_the_bytes() -> None:
    seen: list[str | None] = []

    class Watching(SessionState):
        word: str = ""

        @field_validator("word")
        @classmethod
        def watch(cls, value: str, info: ValidationInfo) -> str:
            seen.append(info.mode)
            return value

    assert outcome(new(Watching, word="a")) is None
    assert "json" in seen


def test_a_plain_state_has_no_field_that_only_a_read_can_check() -> None:
    """A save of a plain SessionState must not read back what it wrote: that doubles its cost."""
    assert field_checks.typed_fields(SessionState) == ()


def test_computed_keys_of_a_part_are_written_once_after_a_load(tmp_path: Path) -> None:
    store = SessionStore(tmp_path, state_type=Counted)
    with store.create("count", session_id="s1") as session:
        session.state.tally.values = [1, 2]
        session.save()
        saved = session.state.model_copy(deep=True)
    loaded = store.load("s1")
    assert loaded.tally == saved.tally
    assert loaded.model_dump_json().count('"total"') == 1
