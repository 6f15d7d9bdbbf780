"""What is said to be sound without pydantic, pydantic accepts; and of what we write it is said."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import pytest

from sessionstore import SessionCorrupt, SessionState, SessionStatus, SessionStore
from sessionstore.model import codec
from sessionstore.model.soundness import STATE, Declaration, Declared, Items, is_certainly_sound
from sessionstore.model.state import Part, SessionOwner, SessionRecovery, SessionTimestamps

PALETTE: list[Any] = [
    None, True, False, 0, 1, -1, 2**70, 0.0, 1.0, 1.5, "", "active", "7", "true", "é\u202e", [],
    ["a"], ["a", 1], [None], [{}], [{"a": 1}], [[]], {}, {"a": 1}, {"a": "b"}, {"a": 1.0},
    {"a": True}, {"a": None}, {"started_at": "", "updated_at": ""},
]  # fmt: skip


def full() -> dict[str, Any]:
    """A state in which every declared field is there."""
    owner = SessionOwner(host="h", pid=7, token="00" * 8)
    state = SessionState(
        session_id="s1",
        goal_id="g",
        timestamps=SessionTimestamps(started_at="", updated_at=""),
        owner=owner,
        recovery=SessionRecovery(count=1, owner=owner),
    )
    content: dict[str, Any] = json.loads(state.model_dump_json())
    return content


def accepted(payload: bytes) -> bool:
    try:
        codec.decode(payload, SessionState, "s1", "state.json")
    except SessionCorrupt:
        return False
    return True


def places(content: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of each value that is declared."""
    for name, value in content.items():
        yield (*above, name)
        if isinstance(value, dict):
            yield from places(value, (*above, name))


def changed(path: tuple[str, ...], value: Any) -> bytes:
    content = inside = full()
    for name in path[:-1]:
        inside = inside[name]
    if value is ...:
        del inside[path[-1]]
    else:
        inside[path[-1]] = value
    return json.dumps(content).encode()


@pytest.mark.parametrize("path", list(places(full())), ids=".".join)
def test_no_value_anywhere_is_taken_that_the_model_refuses(path: tuple[str, ...]) -> None:
    for value in [*PALETTE, ...]:
        payload = changed(path, value)
        if is_certainly_sound(payload, "s1"):
            assert accepted(payload), value


def declared(annotation: Any) -> Declaration:
    """Turn the annotation of a field into the declaration that the look without pydantic has."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        (inner,) = (declared(one) for one in args if one is not NoneType)
        if isinstance(inner, Declared):
            return inner._replace(may_be_none=True)
        assert isinstance(inner, frozenset)
        return inner | {NoneType}
    if origin is dict and args[1] is Any:
        return frozenset({dict})
    if origin in (dict, list):
        return Items(origin, get_origin(args[-1]) or args[-1])
    if annotation is SessionStatus:
        return frozenset({str})
    if issubclass(annotation, Part):
        fields = annotation.model_fields
        return Declared(
            {name: declared(field.annotation) for name, field in fields.items()},
            frozenset(name for name, field in fields.items() if field.is_required()),
        )
    return frozenset({annotation})


def test_every_declared_field_is_known_as_it_is_declared() -> None:
    assert declared(SessionState) == STATE


@pytest.mark.parametrize("status", SessionStatus)
def test_what_the_store_writes_is_certain(tmp_path: Path, status: SessionStatus) -> None:
    with SessionStore(tmp_path).create("g", session_id="s1") as session:
        session.state.data_buffer["notes"] = ["a", {"b": 1.5, "c": "café\n\x1b"}]
        session.checkpoint("node_complete", node="plan")
        session.state.status = status
        session.save()
        for file in tmp_path.glob("sessions/s1/**/*.json"):
            assert is_certainly_sound(file.read_bytes(), "s1"), file


def with_buffer(text: str) -> bytes:
    return json.dumps(full()).replace('"data_buffer": {}', f'"data_buffer": {text}').encode()


DEEP = [f"{open_ * levels}{close * levels}" for levels in (197, 198, 199, 200, 201, 5000)
        for open_, close in (('{"a":', "}"), ("[", "]"))]  # fmt: skip

RAW = [
    b"", b"\0\0", b"[]", b"1", b"null", b"\xef\xbb\xbf" + json.dumps(full()).encode(),
    json.dumps(full()).encode("utf-16"), json.dumps(full()).encode() + b" x",
    json.dumps(full() | {"session_id": "s2"}).encode(),
    json.dumps(full() | {"status": "done"}).encode(),
    json.dumps(full() | {"memory": 7}).encode(),
    json.dumps(full()).replace('"data_buffer": {}', '"memory": 7').encode(),
    *(with_buffer(f'{{"x": {text}}}') for text in (
        "NaN", "Infinity", "-Infinity", "1e999", "-0", "01", "1.", ".5", "+1", "1e5", "0x1",
        '"\\ud800"', '"\\uDC00"', '"\\uD83D\\uDE00"', '"\\udc00\\ud800"',
        '"a\nb"', '"\\x"', '"\\u00"',
        "'a'", "1,", '1, "x": 2', "tru", "9" * 4300, "9" * 4301, "-" + "9" * 4300,
        "1." + "9" * 5000,
    )),
    with_buffer('{"x": "').replace(b'"x": "', b'"x": "\xff"}'),
    with_buffer('{"x": "').replace(b'"x": "', b'"x": "\xed\xa0\x80"}'),
    *(with_buffer(f'{{"x": {text if "[" in text else text.replace("}", "1}", 1)}}}')
      for text in DEEP),
    json.dumps(full()).replace('"status": "active"', '"status": 7, "status": "active"').encode(),
    json.dumps(full()).replace('"status": "active"', '"status": "active", "status": 7').encode(),
    json.dumps(full()).replace('"pid": 7', '"pid": 7, "pid": "x"').encode(),
]  # fmt: skip


@pytest.mark.parametrize("raw", RAW, ids=lambda raw: f"{raw[:20]!r}-{len(raw)}")
def test_no_bytes_are_taken_that_the_model_refuses(raw: bytes) -> None:
    limit = sys.get_int_max_str_digits()
    for digits in (limit, 0, 100_000):  # an application may allow longer ones to be read
        sys.set_int_max_str_digits(digits)
        try:
            certain = is_certainly_sound(raw, "s1")
        finally:
            sys.set_int_max_str_digits(limit)
        assert not certain or accepted(raw)
