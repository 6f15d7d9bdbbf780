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
from operator import contains, itemgetter
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

Check = Callable[[Any, int], None]


class Unstorable(Exception):
    """A value that would not read back equal, and why."""

    def __init__(self, reason: str, *steps: str | int) -> None:
        self.reason = reason
        self.steps = list(steps)
        super().__init__(reason)

    def under(self, step: str | int) -> Unstorable:
        """Return this, found below ``step``: paths are built only where something is wrong."""
        self.steps.insert(0, step)
        return self

    @property
    def path(self) -> str:
        """Where the value is: ``data_buffer.fetch.scores[3]``."""
        text = ""
        for step in self.steps:
            if isinstance(step, int):
                text += f"[{step}]"
            elif step.replace("-", "_").isidentifier():
                text += f".{step}" if text else step
            else:
                text += f"[{step!r}]"
        return text or "the state"


def check(part: Part, depth: int = 1) -> None:
    """Raise :class:`Unstorable` for the first value below ``part`` that would not survive."""
    plan, values = _plan(type(part)), part.__dict__
    if not plan.passes_scalars(values):
        _check_each(plan.checks, values, depth)
    _check_each(plan.rest, values, depth)
    if extra := part.__pydantic_extra__:
        _check_json(extra, depth)


def _check_each(
    checks: Iterable[tuple[str, Check | None]], values: dict[str, Any], depth: int
) -> None:
    for name, check_value in checks:
        if name not in values:
            raise Unstorable("this declared field was deleted", name)
        if check_value is not None:
            try:
                check_value(values[name], depth + 1)
            except Unstorable as bad:
                raise bad.under(name) from None


def typed_fields(kind: type[Part]) -> tuple[str, ...]:
    """Return the fields of ``kind`` that only a real read can judge.

    These are all of them where ``kind`` brings validators or serializers of its own.
    """
    if _has_own_code(kind):
        return tuple(kind.__pydantic_fields__)
    return tuple(name for name, check_value in _plan(kind).checks if check_value is None)


def difference(before: Any, after: Any) -> None:
    """Raise :class:`Unstorable` at the first place where a typed value came back another."""
    if type(before) is not type(after):
        raise Unstorable(
            f"{_name(before)} would come back as {_name(after)}: store the declared type"
        )
    if isinstance(before, BaseModel):
        _compare(dict(_members(before)), dict(_members(after)))
    elif isinstance(before, dict):
        if list(map(_typed_key, before)) != list(map(_typed_key, after)):
            raise Unstorable("its keys would come back changed")
        _compare(before, after)
    elif isinstance(before, list | tuple):
        if len(before) != len(after):
            raise Unstorable("would come back with another length")
        _compare(dict(enumerate(before)), dict(enumerate(after)))
    elif before != after:
        raise Unstorable(f"this {_name(before)} would come back unequal")


def _compare(before: dict[Any, Any], after: dict[Any, Any]) -> None:
    for key, value in before.items():
        try:
            difference(value, after.get(key))
        except Unstorable as bad:
            raise bad.under(key if isinstance(key, int) else str(key)) from None


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


def find_bad_text(value: Any) -> Unstorable | None:
    """Return the first text at or below ``value`` that UTF-8 cannot carry, keys included."""
    if isinstance(value, str):
        reason = _text_offence(value)
        return Unstorable(reason) if reason else None
    if isinstance(value, BaseModel):
        value = dict(_members(value))
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(key, str) and (reason := _text_offence(key)):
                return Unstorable(f"a key is {reason}")
            if bad := find_bad_text(item):
                return bad.under(key)
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


def _check_json(value: Any, depth: int) -> None:
    """Check a dict or list of JSON values; ``depth`` is its own level.

    The common scalars are decided inline: this loop is most of what a check costs.
    """
    if depth > MAX_DEPTH:
        raise Unstorable(f"nested deeper than {MAX_DEPTH} levels cannot be read back")
    if type(value) is dict:
        _check_keys(value)
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
                try:
                    _check_json(item, depth + 1)
                except Unstorable as bad:
                    raise bad.under(key) from None
        elif reason := offence(item):
            raise Unstorable(reason, key)


def _check_keys(value: dict[Any, Any]) -> None:
    for key in value:
        if type(key) is not str:
            raise Unstorable(f"the key {key!r} is {_name(key)}: JSON keys are text")


# --- what a declared field may hold -------------------------------------------------------------


class _Plan:
    """How to check the declared fields of a model.

    Most are scalars whose type decides alone: these pass in one sweep at C speed, and only if
    one does not, the checks are made one by one, to say which.
    """

    def __init__(self, kind: type[Part]) -> None:
        fields = kind.__pydantic_fields__
        self.checks: list[tuple[str, Check | None]] = [
            (name, None if _stored_otherwise(field) else _shape(field.annotation))
            for name, field in fields.items()
        ]
        scalars = {
            name: allowed
            for name, shape in self.checks
            if shape is not None and (allowed := _scalar_types(fields[name].annotation))
        }
        self.rest = [(name, shape) for name, shape in self.checks if name not in scalars]
        self._allowed = tuple(scalars.values())
        self._pick = itemgetter(*scalars) if len(scalars) > 1 else None

    def passes_scalars(self, values: dict[str, Any]) -> bool:
        """Return whether every scalar field is there and of a declared type."""
        if self._pick is None:
            return False
        try:
            found = self._pick(values)
        except KeyError:
            return False
        return all(map(contains, self._allowed, map(type, found)))


_plan = cache(_Plan)


def _scalar_types(annotation: Any) -> frozenset[type] | None:
    """Return the types of a declaration that need no second look; integers may be too long."""
    is_union = get_origin(annotation) in (Union, types.UnionType)
    options = get_args(annotation) if is_union else (annotation,)
    if all(
        isinstance(option, type) and (option in (str, bool, type(None)) or issubclass(option, Enum))
        for option in options
    ):
        return frozenset(options)
    return None


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


def _any(value: Any, depth: int) -> None:
    if reason := offence(value):
        raise Unstorable(reason)
    if type(value) in (dict, list):
        _check_json(value, depth)


def _exact(kind: type) -> Check:
    def check_exact(value: Any, _depth: int) -> None:
        if type(value) is not kind:
            raise Unstorable(f"{_shown(value)} where {kind.__name__} is declared")
        if (kind is int or kind is float) and (reason := offence(value)):
            raise Unstorable(reason)

    return check_exact


def _member(kind: type[Enum]) -> Check:
    def check_member(value: Any, _depth: int) -> None:
        if type(value) is not kind:
            allowed = ", ".join(str(member) for member in kind)
            raise Unstorable(f"{_shown(value)} is no {kind.__name__} (it has {allowed})")

    return check_member


def _part(kind: type[Part]) -> Check:
    def check_part(value: Any, depth: int) -> None:
        if type(value) is not kind:
            raise Unstorable(f"{_shown(value)} where {kind.__name__} is declared")
        check(value, depth)

    return check_part


def _optional(options: tuple[Any, ...]) -> Check | None:
    rest = [option for option in options if option is not type(None)]
    inner = _shape(rest[0]) if len(rest) == 1 and len(options) == 2 else None
    if inner is None:
        return None

    def check_optional(value: Any, depth: int) -> None:
        if value is not None:
            inner(value, depth)

    return check_optional


def _mapping(of: Any) -> Check | None:
    """Check ``dict[str, of]``."""
    inner = _shape(of)
    if inner is None:
        return None

    def check_mapping(value: Any, depth: int) -> None:
        if type(value) is not dict:
            raise Unstorable(f"{_shown(value)} where a dict is declared")
        if not value:
            return
        if of is Any:
            _check_json(value, depth)
        else:
            _check_keys(value)
            _check_each(((key, inner) for key in value), value, depth)

    return check_mapping


def _sequence(of: Any) -> Check | None:
    """Check ``list[of]``."""
    inner = _shape(of)
    if inner is None:
        return None

    def check_sequence(value: Any, depth: int) -> None:
        if type(value) is not list:
            raise Unstorable(f"{_shown(value)} where a list is declared")
        if of is str and set(map(type, value)) <= {str}:  # a path of many nodes, at C speed
            return
        for index, item in enumerate(value):
            try:
                inner(item, depth + 1)
            except Unstorable as bad:
                raise bad.under(index) from None

    return check_sequence


# --- names ---------------------------------------------------------------------------------------


def _members(part: BaseModel) -> Iterator[tuple[str, Any]]:
    yield from part.__dict__.items()
    yield from (part.__pydantic_extra__ or {}).items()


def _typed_key(key: Any) -> tuple[type, Any]:
    return type(key), key


def _name(value: Any) -> str:
    return type(value).__name__


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str | int | float | bool | None) else _name(value)
    return text if len(text) <= 60 else text[:59] + "…"
