"""Refuse what would not read back equal, naming the path of the value.

JSON through pydantic changes values in silence (NaN becomes null, tuples become lists, integer
keys text; see :func:`offence` for the list). One walk over the live values, in the order in which
they are written, costs less than reading the bytes back and finds the path at once. Fields of a
``state_type`` whose annotation the walk does not know are compared after a real read instead.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

from sessionstore.state import Part

MAX_DEPTH = 200
"""Levels of objects and arrays that pydantic_core reads, the state itself being the first
(measured: ``from_json`` of level 201 fails with "recursion limit exceeded")."""

MAX_DIGITS = 4300
"""Digits of an integer that pydantic_core reads (measured; CPython's own default limit)."""

_SAFE_INTEGER = 1 << 64  # anything below is certainly short enough
_MAX_INTEGER = 10**MAX_DIGITS
_SCALARS = frozenset({str, bool, type(None)})

Check = Callable[[Any, str, int], None]


class Unstorable(Exception):
    """A value at ``path`` that would not read back equal, and why."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(path, reason)


def check(part: Part, path: str = "", depth: int = 1) -> None:
    """Raise :class:`Unstorable` for the first value below ``part`` that would not survive."""
    values = part.__dict__
    for name, check_value in _plan(type(part)):
        try:
            value = values[name]
        except KeyError:
            raise Unstorable(_join(path, name), "this declared field was deleted") from None
        if check_value is not None:
            check_value(value, f"{path}.{name}" if path else name, depth + 1)
    if extra := part.__pydantic_extra__:
        _check_json(extra, path, depth)


def typed_fields(kind: type[Part]) -> tuple[str, ...]:
    """Return the fields of ``kind`` that only a real read can judge.

    These are all of them where ``kind`` brings validators or serializers of its own.
    """
    if _has_own_code(kind):
        return tuple(kind.__pydantic_fields__)
    return tuple(name for name, check_value in _plan(kind) if check_value is None)


def difference(before: Any, after: Any, path: str) -> None:
    """Raise :class:`Unstorable` at the first place where a typed value came back another."""
    if type(before) is not type(after):
        raise Unstorable(
            path, f"{_name(before)} would come back as {_name(after)}: store the declared type"
        )
    if isinstance(before, BaseModel):
        for name, value in _members(before):
            difference(value, dict(_members(after)).get(name), _join(path, name))
    elif isinstance(before, dict):
        if list(map(_typed_key, before)) != list(map(_typed_key, after)):
            raise Unstorable(path, "its keys would come back changed")
        for key, value in before.items():
            difference(value, after[key], _join(path, str(key)))
    elif isinstance(before, list | tuple):
        if len(before) != len(after):
            raise Unstorable(path, "would come back with another length")
        for index, value in enumerate(before):
            difference(value, after[index], f"{path}[{index}]")
    elif before != after:
        raise Unstorable(path, f"this {_name(before)} would come back unequal")


def offence(value: Any) -> str | None:
    """Return why ``value`` itself (not what it contains) cannot be stored as JSON, or None."""
    kind = type(value)
    if kind in _SCALARS:
        return None if kind is not str else _text_offence(value)
    if kind is int:
        if -_MAX_INTEGER < value < _MAX_INTEGER:
            return None
        return f"an integer of more than {MAX_DIGITS:,} digits cannot be read back"
    if kind is float:
        return None if value - value == 0 else f"{value} cannot be stored as JSON"
    if kind is dict or kind is list:
        return None
    for known, reason in _REASONS:
        if isinstance(value, known):
            return reason.format(kind.__name__)
    return f"{_name(value)} is no JSON type: store text or a dict that describes it"


def find_bad_text(part: Part) -> Unstorable | None:
    """Return the first text below ``part`` that UTF-8 cannot carry, keys included."""
    for path, text in _texts(dict(_members(part)), ""):
        if reason := _text_offence(text):
            return Unstorable(path, reason)
    return None


_REASONS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (tuple, "a {} would come back as a list: store a list"),
    ((set, frozenset), "a {} cannot be stored as JSON: store a sorted list"),
    ((bytes, bytearray, memoryview), "{} cannot be stored as JSON: store text, e.g. base64"),
    (Enum, "the enum {} would come back as its bare value: store .value"),
    ((str, int, float), "{} would come back as its plain builtin type: convert it first"),
    (dict, "{} would come back as a plain dict: store dict(…) of it"),
    (list, "{} would come back as a plain list: store list(…) of it"),
    (BaseModel, "the model {} would come back as a dict: store .model_dump(mode='json')"),
)


def _text_offence(text: str) -> str | None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ascii(text[error.start])
        return f"text with a lone surrogate ({code}) cannot be stored as UTF-8"
    return None


def _check_json(value: Any, path: str, depth: int) -> None:
    """Check a dict or list of JSON values; ``depth`` is its own level.

    The common scalars are decided inline: this loop is most of what a check costs.
    """
    if depth > MAX_DEPTH:
        raise Unstorable(path, f"nested deeper than {MAX_DEPTH} levels cannot be read back")
    if type(value) is dict:
        _check_keys(value, path)
        items: Iterable[tuple[Any, Any]] = value.items()
    else:
        items = enumerate(value)
    for key, item in items:
        kind = type(item)
        if (
            kind in _SCALARS
            or (kind is int and -_SAFE_INTEGER < item < _SAFE_INTEGER)
            or (kind is float and item - item == 0)
        ):
            continue
        if kind is dict or kind is list:
            if item or depth == MAX_DEPTH:
                _check_json(item, _step(path, key), depth + 1)
        elif reason := offence(item):
            raise Unstorable(_step(path, key), reason)


def _check_keys(value: dict[Any, Any], path: str) -> None:
    for key in value:
        if type(key) is not str:
            place = path or "the state"
            raise Unstorable(place, f"the key {key!r} is {_name(key)}: JSON keys are text")


# --- what a declared field may hold -------------------------------------------------------------


@cache
def _plan(kind: type[Part]) -> tuple[tuple[str, Check | None], ...]:
    return tuple(
        (name, None if _stored_otherwise(field) else _shape(field.annotation))
        for name, field in kind.__pydantic_fields__.items()
    )


def _stored_otherwise(field: FieldInfo) -> bool:
    """Return whether the field may be left out, or read under another name than it is written."""
    aliases = field.validation_alias
    names = aliases.choices if isinstance(aliases, AliasChoices) else ()
    return bool(field.exclude or field.alias or (aliases and "data_buffer" not in names))


def _shape(annotation: Any) -> Check | None:
    """Return the check for a declared type, or None where only a real read can judge it."""
    if annotation is Any:
        return _any
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return _optional(args)
    if origin is dict and args[0] is str:
        return _mapping(args[1])
    if origin is list:
        return _sequence(args[0])
    if annotation in (str, int, float, bool):
        return _exact(annotation)
    if isinstance(annotation, type):
        if issubclass(annotation, Enum):
            return _member(annotation)
        if issubclass(annotation, Part) and not typed_fields(annotation):
            return _part(annotation)
    return None


def _has_own_code(kind: type[Part]) -> bool:
    code = kind.__pydantic_decorators__
    return bool(
        code.field_serializers
        or code.model_serializers
        or code.field_validators
        or code.model_validators
    )


def _any(value: Any, path: str, depth: int) -> None:
    if reason := offence(value):
        raise Unstorable(path, reason)
    if type(value) in (dict, list):
        _check_json(value, path, depth)


def _exact(kind: type) -> Check:
    def check_exact(value: Any, path: str, _depth: int) -> None:
        if type(value) is not kind:
            raise Unstorable(path, f"{_shown(value)} where {kind.__name__} is declared")
        if (kind is int or kind is float) and (reason := offence(value)):
            raise Unstorable(path, reason)

    return check_exact


def _member(kind: type[Enum]) -> Check:
    def check_member(value: Any, path: str, _depth: int) -> None:
        if type(value) is not kind:
            allowed = ", ".join(str(member.value) for member in kind)
            raise Unstorable(path, f"{_shown(value)} is no {kind.__name__} (it has {allowed})")

    return check_member


def _part(kind: type[Part]) -> Check:
    def check_part(value: Any, path: str, depth: int) -> None:
        if type(value) is not kind:
            raise Unstorable(path, f"{_shown(value)} where {kind.__name__} is declared")
        check(value, path, depth)

    return check_part


def _optional(options: tuple[Any, ...]) -> Check | None:
    rest = [option for option in options if option is not type(None)]
    inner = _shape(rest[0]) if len(rest) == 1 and len(options) == 2 else None
    if inner is None:
        return None

    def check_optional(value: Any, path: str, depth: int) -> None:
        if value is not None:
            inner(value, path, depth)

    return check_optional


def _mapping(of: Any) -> Check | None:
    """Check ``dict[str, of]``."""
    inner = _shape(of)
    if inner is None:
        return None

    def check_mapping(value: Any, path: str, depth: int) -> None:
        if type(value) is not dict:
            raise Unstorable(path, f"{_shown(value)} where a dict is declared")
        if of is Any:
            _check_json(value, path, depth)
            return
        _check_keys(value, path)
        for key, item in value.items():
            inner(item, _step(path, key), depth + 1)

    return check_mapping


def _sequence(of: Any) -> Check | None:
    """Check ``list[of]``."""
    inner = _shape(of)
    if inner is None:
        return None

    def check_sequence(value: Any, path: str, depth: int) -> None:
        if type(value) is not list:
            raise Unstorable(path, f"{_shown(value)} where a list is declared")
        if of is str and set(map(type, value)) <= {str}:  # a path of many nodes, at C speed
            return
        for index, item in enumerate(value):
            inner(item, f"{path}[{index}]", depth + 1)

    return check_sequence


# --- paths and names -----------------------------------------------------------------------------


def _members(part: BaseModel) -> Iterator[tuple[str, Any]]:
    yield from part.__dict__.items()
    yield from (part.__pydantic_extra__ or {}).items()


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            if isinstance(key, str):
                yield f"{path or 'the state'} (a key)", key
            yield from _texts(item, _step(path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, _step(path, index))
    elif isinstance(value, BaseModel):
        yield from _texts(dict(_members(value)), path)


def _typed_key(key: Any) -> tuple[type, Any]:
    return type(key), key


def _step(path: str, key: object) -> str:
    return f"{path}[{key}]" if type(key) is int else _join(path, str(key))


def _join(path: str, name: str) -> str:
    step = name if name.replace("-", "_").isidentifier() else f"[{name!r}]"
    if not path:
        return step
    return f"{path}{step}" if step.startswith("[") else f"{path}.{step}"


def _name(value: Any) -> str:
    return type(value).__name__


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str | int | float | bool | None) else _name(value)
    return text if len(text) <= 60 else text[:59] + "…"
