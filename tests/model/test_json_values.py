"""What was accepted for saving loads back equal, as the same type; all else is refused in place."""

from __future__ import annotations

import enum
import importlib
import json
import math
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from sessionstore import (
    MemoryBackend,
    NotStorable,
    Session,
    SessionProgress,
    SessionState,
    SessionStatus,
    SessionStore,
    SessionTimestamps,
    StateTypeMismatch,
    plain,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Real(float):
    pass


class Mapping(dict[str, Any]):
    pass


class Row(list[Any]):
    pass


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Point(BaseModel):
    x: int = 0


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session[SessionState]]:
    store = SessionStore(tmp_path, durability="process")
    with store.create("triage", session_id="s-1") as session:
        yield session
        session.state = store.load("s-1")  # what a test spoilt cannot be paused


def same(first: Any, second: Any) -> bool:
    """Return whether two JSON values are equal and of the same types all the way down."""
    if type(first) is not type(second):
        return False
    if isinstance(first, dict):
        return list(first) == list(second) and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, float):
        return first == second and math.copysign(1, first) == math.copysign(1, second)
    return bool(first == second)


def is_exact(value: Any) -> bool:
    """Return whether a value is JSON in exact builtin types: written down here a second time."""
    if value is None or type(value) in (bool, int):
        return True
    if type(value) is float:
        return math.isfinite(value)
    if type(value) is str:
        return not any(0xD800 <= ord(char) <= 0xDFFF for char in value)
    if type(value) is list:
        return all(map(is_exact, value))
    if type(value) is dict:
        return all(type(key) is str and is_exact(key) and is_exact(value[key]) for key in value)
    return False


def refusal(session: Session[Any]) -> NotStorable:
    """Return the refusal of a save that left the file as it was."""
    file = session.directory / "state.json"
    before, revision = file.read_bytes(), session.revision
    around = sorted(session.directory.rglob("*"))
    with pytest.raises(NotStorable) as refused:
        session.save()
    assert file.read_bytes() == before
    assert session.revision == revision
    assert sorted(session.directory.rglob("*")) == around
    assert refused.value.session_id == "s-1"
    assert refused.value.path[:300] in str(refused.value)
    return refused.value


# --- every refusal, with its path ----------------------------------------------------------------

REFUSED: list[tuple[Any, str]] = [
    (math.nan, "nan cannot be stored as JSON: store None or text"),
    (math.inf, "inf cannot be stored as JSON"),
    (-math.inf, "-inf cannot be stored as JSON"),
    ((1, 2), "tuple would come back as a list: store a list"),
    ({1, 2}, "set cannot be stored as JSON: store a sorted list"),
    (frozenset({1}), "frozenset cannot be stored as JSON: store a sorted list"),
    (b"raw", "bytes cannot be stored as JSON: store text (base64)"),
    (bytearray(b"raw"), "bytearray cannot be stored"),
    (memoryview(b"raw"), "memoryview cannot be stored"),
    (Colour.RED, f"the enum {__name__}.Colour would come back as its bare value: store .value"),
    (Level.LOW, f"the enum {__name__}.Level would come back as its bare value"),
    (SessionStatus.PAUSED, "the enum sessionstore.model.status.SessionStatus would come back"),
    (Text("a"), f"{__name__}.Text would come back as its plain builtin type"),
    (Number(1), "Number would come back as its plain builtin type"),
    (Real(1.5), "Real would come back as its plain builtin type"),
    (Mapping(a=1), "Mapping would come back as a plain dict"),
    (
        OrderedDict(a=1),
        "collections.OrderedDict would come back as a plain dict: store dict() of it",
    ),
    (defaultdict(int), "defaultdict would come back as a plain dict"),
    (Counter("a"), "Counter would come back as a plain dict"),
    (Row([1]), "Row would come back as a plain list"),
    (deque([1]), "collections.deque cannot be stored as JSON: store list() of it"),
    (Point(), f"the model {__name__}.Point would come back as a dict: store .model_dump("),
    (
        SessionProgress(),
        "the model sessionstore.model.state.SessionProgress would come back as a dict",
    ),
    (
        datetime(2026, 1, 1, tzinfo=UTC),
        "datetime.datetime cannot be stored as JSON: store .isoformat()",
    ),
    (date(2026, 1, 1), "datetime.date cannot be stored as JSON: store .isoformat()"),
    (Decimal("1.5"), "decimal.Decimal cannot be stored as JSON: store str() of it"),
    (Fraction(1, 2), "fractions.Fraction cannot be stored as JSON: store text or a dict"),
    (UUID(int=1), "uuid.UUID cannot be stored as JSON: store str() of it"),
    (Path("a"), f"pathlib.{type(Path()).__name__} cannot be stored as JSON: store str() of it"),
    (1j, "complex cannot be stored as JSON"),
    (range(2), "range cannot be stored as JSON"),
    (object(), "object cannot be stored as JSON"),
    (len, "cannot be stored as JSON: store its name"),
    (iter([1]), "cannot be stored as JSON"),
    ("a\ud800b", "lone surrogate ('\\ud800') cannot be stored as UTF-8: remove or escape it"),
    ({"\udfff": 1}, "lone surrogate ('\\udfff')"),
    ({1: "a"}, "the key 1 is int: JSON keys are text, so use str() of it"),
    ({None: "a"}, "the key None is NoneType: JSON keys are text"),
    ({(1, 2): "a"}, "a key is tuple: JSON keys are text"),
    ({Text("a"): 1}, f"a key is {__name__}.Text: JSON keys are text"),
    ({Colour.RED: 1}, f"a key is {__name__}.Colour: JSON keys are text"),
    (
        {SessionStatus.PAUSED: 1},
        "a key is sessionstore.model.status.SessionStatus: JSON keys are text",
    ),
    (10**4300, "more than 4,300 digits"),
    (-(10**4300), "more than 4,300 digits"),
]


@pytest.mark.parametrize(
    ("value", "reason"),
    REFUSED,
    ids=[f"{i}-{type(v).__name__}" for i, (v, _) in enumerate(REFUSED)],
)
def test_a_value_that_would_not_come_back_is_refused_with_its_path(
    session: Session[SessionState], value: Any, reason: str
) -> None:
    session.state.data_buffer = {"fine": [1], "fetch": {"rows": [0, {"score": value}]}}
    refused = refusal(session)
    assert refused.path.startswith("data_buffer.fetch.rows[1].score")
    assert reason in refused.reason


OPEN = "open the store with default=plain"
CONVERT = "convert it with default= of the store"


@dataclass
class Letter:
    sender: str = "Anna"


@pytest.mark.parametrize(
    ("value", "way"),
    [
        ((1, 2), OPEN),
        ({1}, OPEN),
        (frozenset({1}), OPEN),
        (b"raw", CONVERT),
        (Colour.RED, OPEN),
        (SessionStatus.PAUSED, OPEN),
        (Point(), OPEN),
        (Letter(), OPEN),
        (datetime(2026, 1, 1, tzinfo=UTC), OPEN),
        (timedelta(1), OPEN),
        (Decimal(1), OPEN),
        (UUID(int=1), OPEN),
        (PurePosixPath("a"), OPEN),
        (Fraction(1, 2), CONVERT),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_refusal_names_state_type_and_default_where_both_could_hold_the_value(
    session: Session[SessionState], value: Any, way: str
) -> None:
    session.state.data_buffer["found"] = value
    assert refusal(session).reason.endswith(
        ", declare a field of that type in a state_type=, or " + way
    )


@pytest.mark.parametrize(
    ("value", "way"),
    [
        (Text("a"), OPEN),
        (Number(1), OPEN),
        (Real(1.5), OPEN),
        (Row([1]), OPEN),
        (Mapping(a=1), OPEN),
        (len, CONVERT),
        (Point, CONVERT),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_refusal_names_default_alone_where_a_declared_field_would_not_help(
    session: Session[SessionState], value: Any, way: str
) -> None:
    session.state.data_buffer["found"] = value
    reason = refusal(session).reason
    assert reason.endswith(f", or {way}")
    assert "state_type" not in reason


@pytest.mark.parametrize("value", [one for one, _ in REFUSED], ids=lambda one: type(one).__name__)
def test_a_store_with_plain_takes_each_value_whose_refusal_names_it(
    tmp_path: Path, session: Session[SessionState], value: Any
) -> None:
    session.state.data_buffer["found"] = value
    says = OPEN in refusal(session).reason
    with SessionStore(tmp_path, default=plain).create("g") as other:
        other.state.data_buffer["found"] = value
        if says:
            other.save()
        other.state.data_buffer.clear()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (
            datetime(2026, 1, 1, tzinfo=UTC),
            (
                "datetime.datetime cannot be stored as JSON: store .isoformat(), or pass it through"
                " plain()"
            ),
        ),
        (b"raw", "bytes cannot be stored as JSON: store text (base64)"),
    ],
)
def test_a_refused_record_names_no_way_that_only_a_state_has(
    session: Session[SessionState], value: Any, told: str
) -> None:
    with pytest.raises(NotStorable) as refused:
        session.journal("messages").append({"at": value})
    assert refused.value.reason == told


@pytest.mark.parametrize(
    "value", [math.nan, "\ud800", 10**4300, {1: "a"}], ids=["nan", "surrogate", "digits", "key"]
)
def test_a_refusal_of_a_value_rather_than_its_type_names_neither(
    session: Session[SessionState], value: Any
) -> None:
    session.state.data_buffer["found"] = value
    reason = refusal(session).reason
    assert "state_type" not in reason
    assert "default=" not in reason


def test_the_message_is_the_one_of_the_design(session: Session[SessionState]) -> None:
    session.state.data_buffer["fetch"] = {"score": math.nan}
    refused = refusal(session)
    assert str(refused).startswith("data_buffer.fetch.score: nan cannot be stored as JSON")


@pytest.mark.parametrize(
    ("edit", "path"),
    [
        (lambda s: s.data_buffer.update({"a b": {"": [math.nan]}}), "data_buffer['a b'][''][0]"),
        (lambda s: s.data_buffer.update({"x-1": math.nan}), "data_buffer.x-1"),
        (lambda s: s.input_data.update(a=math.nan), "input_data.a"),
        (lambda s: s.result.output.update(a=[math.nan]), "result.output.a[0]"),
        (lambda s: s.problems.append({"a": math.nan}), "problems[0].a"),
        (lambda s: s.decisions.extend([{}, {"a": math.nan}]), "decisions[1].a"),
        (lambda s: s.__pydantic_extra__.update(vendor={"a": math.nan}), "vendor.a"),
        (lambda s: s.progress.__pydantic_extra__.update(v=[math.nan]), "progress.v[0]"),
        (lambda s: setattr(s, "forked_from", {"a": math.nan}), "forked_from.a"),
        (lambda s: s.progress.path.append(7), "progress.path[0]"),
        (lambda s: s.progress.path.append(Text("a")), "progress.path[0]"),
        (lambda s: s.progress.retry_details.update(plan="1"), "progress.retry_details.plan"),
        (lambda s: s.progress.retry_details.update(plan=True), "progress.retry_details.plan"),
        (lambda s: s.progress.node_visit_counts.update({7: 1}), "progress.node_visit_counts"),
        (lambda s: setattr(s.progress, "path", ("a",)), "progress.path"),
        (lambda s: setattr(s.progress, "steps_executed", 1.0), "progress.steps_executed"),
        (lambda s: setattr(s.progress, "steps_executed", True), "progress.steps_executed"),
        (lambda s: setattr(s.progress, "steps_executed", 10**4300), "progress.steps_executed"),
        (lambda s: setattr(s.progress, "had_partial_failures", 1), "progress.had_partial_failures"),
        (lambda s: setattr(s.progress, "current_node", 3), "progress.current_node"),
        (lambda s: setattr(s.progress, "current_node", "\ud800"), "progress.current_node"),
        (lambda s: setattr(s.result, "success", "yes"), "result.success"),
        (lambda s: setattr(s.result, "output", None), "result.output"),
        (lambda s: setattr(s.metrics, "decision_count", None), "metrics.decision_count"),
        (lambda s: setattr(s, "progress", {"path": []}), "progress"),
        (lambda s: setattr(s, "progress", None), "progress"),
        (lambda s: setattr(s, "result", SessionProgress()), "result"),
        (lambda s: setattr(s, "timestamps", None), "timestamps"),
        (lambda s: setattr(s, "metrics", Point()), "metrics"),
        (lambda s: setattr(s, "data_buffer", []), "data_buffer"),
        (lambda s: setattr(s, "data_buffer", Mapping()), "data_buffer"),
        (lambda s: setattr(s, "problems", ["text"]), "problems[0]"),
        (lambda s: setattr(s, "trigger_tasks", {"a": 1}), "trigger_tasks.a"),
        (lambda s: setattr(s, "active_triggers", {"a"}), "active_triggers"),
        (lambda s: setattr(s, "status", "paused"), "status"),
        (lambda s: setattr(s, "status", "done"), "status"),
        (lambda s: setattr(s, "status", None), "status"),
        (lambda s: setattr(s, "goal_id", 5), "goal_id"),
        (lambda s: setattr(s, "goal_id", Text("a")), "goal_id"),
        (lambda s: setattr(s, "goal_id", "\ud800"), "goal_id"),
        (lambda s: setattr(s, "goal_id", 10**4300), "goal_id"),
        (lambda s: setattr(s, "schema_version", 1.2), "schema_version"),
        (lambda s: setattr(s, "checkpoint_enabled", "true"), "checkpoint_enabled"),
        (lambda s: setattr(s, "recovery", {"count": 1}), "recovery"),
        (lambda s: setattr(s, "session_id", "another"), "session_id"),
        (lambda s: setattr(s, "session_id", None), "session_id"),
        (lambda s: setattr(s, "session_id", 10**4300), "session_id"),
        (lambda s: setattr(s.timestamps, "started_at", 5), "timestamps.started_at"),
        (lambda s: setattr(s.timestamps, "completed_at", NOON), "timestamps.completed_at"),
        (lambda s: delattr(s, "goal_id"), "goal_id"),
        (lambda s: delattr(s.progress, "path"), "progress.path"),
    ],
)  # fmt: skip
def test_the_path_names_the_place_wherever_it_is(
    session: Session[SessionState], edit: Any, path: str
) -> None:
    edit(session.state)
    assert refusal(session).path == path


def test_a_start_that_is_no_text_is_refused_also_when_the_session_completes(
    session: Session[SessionState],
) -> None:
    session.state.timestamps.started_at = 5  # type: ignore[assignment]  # the claim
    with pytest.raises(NotStorable) as refused:
        session.complete()
    assert refused.value.path == "timestamps.started_at"
    assert not session.is_released


def test_a_key_too_long_to_print_is_refused_like_any_other_key(
    session: Session[SessionState],
) -> None:
    session.state.data_buffer["counts"] = {10**4300: 1}
    assert refusal(session).path == "data_buffer.counts"


def test_a_container_that_contains_itself_is_refused(session: Session[SessionState]) -> None:
    loop: list[Any] = []
    loop.append(loop)
    session.state.data_buffer["loop"] = loop
    assert refusal(session).path.startswith("data_buffer.loop[0][0]")


def test_a_key_with_a_lone_surrogate_is_named_printably(session: Session[SessionState]) -> None:
    session.state.data_buffer["a"] = {"\x1b[31m\ud800": 1}
    assert str(refusal(session)).isprintable()


def test_after_a_refusal_the_repaired_state_is_saved(session: Session[SessionState]) -> None:
    session.state.data_buffer["x"] = math.nan
    refusal(session)
    session.state.data_buffer["x"] = 1.5
    assert session.save() == 2
    stored = json.loads((session.directory / "state.json").read_text())
    assert stored["data_buffer"] == {"x": 1.5}


def test_a_create_that_is_refused_leaves_no_session(tmp_path: Path) -> None:
    store = SessionStore(tmp_path, durability="process")
    with pytest.raises(NotStorable):
        store.create("triage", session_id="s-1", input_data={"a": (1,)})
    assert not store.exists("s-1")
    assert not (tmp_path / "sessions" / "s-1").exists()


# --- exact limits --------------------------------------------------------------------------------


def nest(levels: int, kind: type = list) -> Any:
    """Return ``levels`` containers inside each other, the innermost one empty."""
    value: Any = kind()
    for _ in range(levels - 1):
        value = [value] if kind is list else {"k": value}
    return value


@pytest.mark.parametrize("kind", [list, dict])
def test_two_hundred_levels_are_stored_and_one_more_is_refused(
    session: Session[SessionState], kind: type
) -> None:
    # The state is the first level and data_buffer the second.
    session.state.data_buffer["deep"] = nest(198, kind)
    session.save()
    session.state.data_buffer["deep"] = nest(199, kind)
    assert "200 levels" in refusal(session).reason
    session.state.data_buffer["deep"] = nest(198, kind)
    innermost = session.state.data_buffer["deep"]
    while innermost:
        innermost = innermost[0] if kind is list else innermost["k"]
    if kind is list:
        innermost.append("a scalar adds no level")
    session.save()
    stored = json.loads((session.directory / "state.json").read_text())
    assert stored["data_buffer"] == session.state.data_buffer


def test_two_hundred_levels_load_again(tmp_path: Path) -> None:
    store = SessionStore(tmp_path, durability="process")
    with store.create("triage", session_id="s-1") as session:
        session.state.data_buffer["deep"] = nest(198)
        session.state.result.output["deep"] = nest(197)
        session.save()
        assert store.load("s-1") == session.state


@pytest.mark.parametrize(
    "value", [10**4299, 10**4300 - 1, -(10**4300 - 1)], ids=["least", "most", "negative"]
)
def test_integers_of_four_thousand_three_hundred_digits_load_again(
    tmp_path: Path, value: int
) -> None:
    assert len(str(abs(value))) == 4300
    store = SessionStore(tmp_path, durability="process")
    with store.create("triage", session_id="s-1") as session:
        session.state.data_buffer["n"] = value
        session.state.progress.total_tokens = value
        session.save()
        loaded = store.load("s-1")
        assert loaded.data_buffer["n"] == loaded.progress.total_tokens == value


@pytest.mark.parametrize("value", [10**4300, -(10**4300)], ids=["positive", "negative"])
def test_one_digit_more_is_refused(session: Session[SessionState], value: int) -> None:
    session.state.data_buffer["n"] = [value]
    assert refusal(session).path == "data_buffer.n[0]"


@pytest.mark.parametrize("value", [0, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63) - 1, -(2**64)])
def test_integers_around_the_machine_word_load_again(
    session: Session[SessionState], tmp_path: Path, value: int
) -> None:
    session.state.data_buffer["n"] = value
    session.save()
    assert same(SessionStore(tmp_path).load("s-1").data_buffer, {"n": value})


# --- the property --------------------------------------------------------------------------------

exact_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
exact = st.recursive(
    exact_scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
foreign_scalars = (
    st.sampled_from([math.nan, math.inf, -math.inf, Colour.RED, Level.LOW, SessionStatus.ACTIVE])
    | st.text().map(Text)
    | st.integers().map(Number)
    | st.floats(allow_nan=False).map(Real)
    | st.binary()
    | st.binary().map(bytearray)
    | st.datetimes()
    | st.dates()
    | st.decimals()
    | st.uuids()
    | st.complex_numbers()
    | st.builds(Point)
    | st.builds(SessionTimestamps, started_at=st.text(), updated_at=st.text())
    | st.frozensets(st.integers(), max_size=2)
    | st.sets(st.integers(), max_size=2)
    | st.sampled_from(["\ud800", "a\udfff", "\udbff\U0001f600"])
)
keys = st.text() | st.integers() | st.none() | st.booleans() | st.text().map(Text) | st.floats()
mixed = st.recursive(
    exact_scalars | foreign_scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(), inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.lists(inner, max_size=3).map(Row)
        | st.dictionaries(st.text(), inner, max_size=3).map(Mapping)
        | st.dictionaries(st.text(), inner, max_size=3).map(OrderedDict)
    ),
    max_leaves=12,
)


@settings(database=None, deadline=None, max_examples=200)
@given(value=exact)
@example(value=-0.0)
@example(value=[5e-324, 1.7976931348623157e308, 1e16, 0.1 + 0.2, 1.0])
@example(value={"": "\0\x1f\x7f\u2028\ufeff\U0001f600", "__class__": None, "\\": '"'})
def test_json_in_exact_builtin_types_loads_back_the_same(value: Any) -> None:
    store = SessionStore(MemoryBackend())
    with store.create("triage", session_id="s-1") as session:
        session.state.data_buffer["value"] = value
        session.state.result.output = {"value": value}
        session.state.problems.append({"value": value})
        session.save()
        loaded = store.load("s-1")
    assert same(loaded.data_buffer, {"value": value})
    assert same(loaded.result.output, {"value": value})
    assert same(loaded.problems, [{"value": value}])


@settings(database=None, deadline=None, max_examples=300)
@given(value=mixed)
def test_whatever_is_not_exact_json_is_refused_never_silently_changed(value: Any) -> None:
    store = SessionStore(MemoryBackend())
    with store.create("triage", session_id="s-1") as session:
        before = store.load("s-1")
        session.state.data_buffer["value"] = value
        if is_exact(value):
            session.save()
            assert same(store.load("s-1").data_buffer, {"value": value})
        else:
            with pytest.raises(NotStorable) as refused:
                session.save()
            assert refused.value.path.startswith("data_buffer.value")
            assert str(refused.value).isprintable()
            assert store.load("s-1") == before
        session.state.data_buffer = {}


# --- a whole state -------------------------------------------------------------------------------


def test_a_state_of_another_type_cannot_be_assigned(session: Session[SessionState]) -> None:
    class Other(SessionState):
        pass

    times = SessionTimestamps(started_at="", updated_at="")
    with pytest.raises(StateTypeMismatch):
        session.state = Other(session_id="s-1", goal_id="g", timestamps=times)
    assert type(session.state) is SessionState


class _Table:
    """Stands for a value of a library that need not be installed for the tests."""

    ndim = 0

    def item(self) -> bool:
        return True

    def tolist(self) -> list[int]:
        return [1]


class _Row(_Table):
    ndim = 1


class _Frame:
    def to_dict(self) -> dict[str, int]:
        return {}


class _Number(float, _Table):
    pass


def of_library(base: type, module: str, name: str, *arguments: Any) -> Any:
    return type(name, (base,), {"__module__": module})(*arguments)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (of_library(_Table, "numpy", "bool"), "numpy.bool {} .item(), or {}"),
        (of_library(_Number, "numpy", "float64", 1.5), "numpy.float64 {} .item(), or {}"),
        (of_library(_Row, "torch", "Tensor"), "torch.Tensor {} .tolist(), or {}"),
        (
            of_library(_Row, "pandas.core.series", "Series"),
            "pandas.Series {} .tolist(), or {}",
        ),
        (
            of_library(datetime, "pandas._libs.tslibs.timestamps", "Timestamp", 2026, 1, 1),
            "pandas.Timestamp {} .isoformat(), or {}",
        ),
        (
            of_library(_Frame, "pandas.core.frame", "DataFrame"),
            "pandas.DataFrame {} .to_dict(), or convert it with default= of the store",
        ),
    ],
)
def test_a_value_of_an_array_library_is_named_with_it_and_the_way_out(
    session: Session[SessionState], value: Any, words: str
) -> None:
    session.state.data_buffer["found"] = [value]
    error = refusal(session)
    assert error.path == "data_buffer.found[0]"
    assert error.reason == words.format("cannot be stored as JSON: store", OPEN)
    session.state.data_buffer.clear()
    session.state.metrics.decision_count = value
    reason = refusal(session).reason
    assert reason == f"expected int, got {words.partition(' ')[0]}"


def test_each_value_of_numpy_itself_is_refused_with_the_way_out_that_works(
    session: Session[SessionState], tmp_path: Path
) -> None:
    numpy: Any = importlib.import_module("numpy")
    for made, call in (
        (numpy.bool_(True), "item"),
        (numpy.int64(7), "item"),
        (numpy.float64(0.5), "item"),
        (numpy.str_("a"), "item"),
        (numpy.array([1, 2]), "tolist"),
        (numpy.array(3), "item"),
    ):
        session.state.data_buffer["found"] = {"rows": [made]}
        error = refusal(session)
        assert error.path == "data_buffer.found.rows[0]"
        assert error.reason.startswith(f"numpy.{type(made).__name__} cannot be stored as JSON")
        assert error.reason.endswith(f": store .{call}(), or {OPEN}")
        session.state.data_buffer["found"] = getattr(made, call)()
        session.save()
        with SessionStore(tmp_path, default=plain).create("g") as other:
            other.state.data_buffer["found"] = made
            other.save()
            assert other.state.data_buffer == session.state.data_buffer


@pytest.mark.parametrize(
    "value",
    [
        datetime(2026, 1, 1, tzinfo=UTC), Decimal("1.5"), UUID(int=1), PurePosixPath("a"), {1},
        b"x", Point(x=1), complex(1, 2), timedelta(seconds=1),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_type_that_could_be_declared_names_both_ways_out(
    session: Session[SessionState], value: Any
) -> None:
    session.state.data_buffer["found"] = value
    reason = refusal(session).reason
    assert "state_type=" in reason
    assert "default=" in reason
