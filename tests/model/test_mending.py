"""What JSON or UTF-8 lacks in a file is replaced as it is read, value by value, and named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import Field

from sessionstore import SessionState
from sessionstore.errors import SessionCorrupt, StateTypeMismatch
from sessionstore.model import codec, mending
from sessionstore.model.state import SessionMetrics

NOW = "2026-01-01T00:00:00"


def written(**fields: Any) -> bytes:
    """Return a state as the original framework writes it, with Python's json."""
    state = {
        "session_id": "s",
        "goal_id": "g",
        "timestamps": {"started_at": NOW, "updated_at": NOW},
    }
    return json.dumps({**state, **fields}).encode()


def loaded(payload: bytes) -> SessionState:
    return codec.decode(payload, SessionState, "s", "file")


def named(payload: bytes, *, thorough: bool = False) -> list[str]:
    mended = mending.mend(payload, thorough=thorough)
    return [] if mended is None else list(map(str, mended.values))


@pytest.mark.parametrize(
    ("payload", "replaced", "names"),
    [
        (b'{"a":[1,[NaN,{"b":-Infinity}]]}', {"a": [1, [None, {"b": None}]]},
         ["a[1][0]: NaN", "a[1][1].b: -Infinity"]),
        (b'{"a":"x\\ud83d"}', {"a": "x\\ud83d"}, ['a: "x\\ud83d", with a lone surrogate']),
        (b'{"a":"\xed\xa0\xbd!"}', {"a": "\\ud83d!"}, ['a: "\\ud83d!", with a lone surrogate']),
        (b'{"k\\udfff":{"z":NaN}}', {"k\\udfff": {"z": None}},
         ["['k\\\\udfff']: a key: \"k\\udfff\", with a lone surrogate", "['k\\\\udfff'].z: NaN"]),
    ],
)  # fmt: skip
def test_each_value_is_replaced_and_named(
    payload: bytes, replaced: dict[str, Any], names: list[str]
) -> None:
    assert mending.parse(payload) == replaced
    assert named(payload) == names


@pytest.mark.parametrize(
    "payload",
    [b'{"a":"NaN, Infinity"}', b'{"a":"\\ud83d\\ude00"}', b'{"\xc3\xad":1.5}', b'"\xed\x95\x9c"'],
    ids=["words", "a pair", "accents", "Korean"],
)
def test_sound_text_stays_as_it_is(payload: bytes) -> None:
    assert mending.mend(payload) is None
    assert mending.mend(payload, thorough=True) is None


def test_keys_that_would_become_the_same_stay_apart() -> None:
    found = mending.parse(b'{"a\\ud83d":1,"a\\\\ud83d":2,"a\\\\ud83d_":3}')
    assert sorted(found.values()) == [1, 2, 3]


@pytest.mark.parametrize(
    ("payload", "replaced", "name"),
    [
        (b'\xef\xbb\xbf{"a":1}', {"a": 1}, "byte order mark (utf-8-sig)"),
        ('{"a":"\xe9"}'.encode("utf-16"), {"a": "\xe9"}, "byte order mark (utf-16)"),
        (b'{"a":"caf\xe9"}', {"a": "caf\\xe9"}, 'a: "caf\\xe9", with bytes that are not UTF-8'),
        (b'{"a":' + b"7" * 4301 + b"}", {"a": "7" * 4301}, "a: an integer of 4,301 digits"),
        (b'{"a":[1e999]}', {"a": [None]}, "a[0]: Infinity"),
    ],
)
def test_only_a_repair_mends_other_damage(
    payload: bytes, replaced: dict[str, Any], name: str
) -> None:
    assert mending.mend(payload) is None
    mended = mending.mend(payload, thorough=True)
    assert mended is not None
    assert json.loads(mended.payload) == replaced
    assert name in mending.say(mended.values)


def test_what_is_nested_too_deep_becomes_its_own_text() -> None:
    mended = mending.mend(b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", thorough=True)
    assert mended is not None
    inner = json.loads(mended.payload)["a"]
    while not isinstance(inner, str):
        (inner,) = inner
    assert inner == "[" * 101 + "]" * 101
    assert "nested deeper than 200 levels" in mending.say(mended.values)


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff", b'{"a":NaN', b"[" * 100_000, b"NaN}"])
def test_what_is_no_json_is_not_mended(payload: bytes) -> None:
    assert mending.mend(payload) is None
    assert mending.mend(payload, thorough=True) is None


def test_a_state_loads_with_all_that_pythons_json_writes() -> None:
    nan, inf = float("nan"), float("inf")
    state = loaded(
        written(
            goal_id="g\ud83d",
            data_buffer={"loss": [nan, [inf]], "k\udc00": 1},
            metrics={"score": -inf},
            progress={"total_tokens": nan, "node_visit_counts": {"a": inf, "b": 2}},
        )
    )
    assert state.goal_id == "g\\ud83d"
    assert state.data_buffer == {"loss": [None, [None]], "k\\udc00": 1}
    assert state.metrics.model_extra == {"score": None}
    # Null is no integer: what is left out has its default.
    assert state.progress.total_tokens == 0
    assert state.progress.node_visit_counts == {"b": 2}
    assert codec.encode(state)


@pytest.mark.parametrize("field", ["revision", "goal_id", "timestamps"])
def test_what_has_no_default_is_damage_and_so_is_a_lost_revision(field: str) -> None:
    with pytest.raises(SessionCorrupt):
        loaded(written(**{field: float("nan")}))


class Scored(SessionMetrics):
    score: float = 0.5
    best: float | None = 1.0


class Trained(SessionState):
    metrics: Scored = Field(default_factory=Scored)
    curve: list[float] = Field(default_factory=list)


class Required(SessionState):
    score: float


@pytest.mark.parametrize("lost", [float("nan"), float("inf"), None])
def test_a_declared_float_gets_null_or_its_default(lost: float | None) -> None:
    """pydantic itself writes a NaN as null, which it then does not read back."""
    payload = written(metrics={"score": lost, "best": lost}, curve=[1.0, lost])
    state = codec.decode(payload, Trained, "s", "file")
    assert (state.metrics.score, state.metrics.best, state.curve) == (0.5, None, [])


def test_a_declared_float_without_a_default_is_named() -> None:
    with pytest.raises(StateTypeMismatch, match=r"score: .*give the new fields of \w+ a default"):
        codec.decode(written(score=float("nan")), Required, "s", "file")
