"""Check every declared field of a state against its declaration before it is stored.

pydantic does not check assignments. Common declarations are checked here on the live value, which
is cheap. All others, and all those of a model with validators or serializers of its own, are
checked by reading the stored bytes back.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from enum import Enum
from functools import cache
from operator import contains, itemgetter
from typing import Any, Union, get_args, get_origin

from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from sessionstore.model.json_values import (
    SAFE_INTEGER,
    Unstorable,
    check_json,
    check_keys,
    offence,
    shown,
)
from sessionstore.model.state import Part

Check = Callable[[Any, int], None]


def check(part: Part, depth: int = 1) -> None:
    """Raise :class:`Unstorable` for the first value of ``part`` that would not read back."""
    plan, values = _plan(type(part)), part.__dict__
    found = plan.pick(values)
    if found is None:
        _check_each(plan.checks, values, depth)
    else:
        for index, name, look in plan.deeper:
            value = found[index]
            kind = type(value)
            if kind is int and -SAFE_INTEGER < value < SAFE_INTEGER:
                continue
            if not value and kind in _LEAN:
                continue  # an empty container, a zero or None: its type was enough
            try:
                look(value, depth + 1)
            except Unstorable as bad:
                raise bad.under(name) from None
        _check_each(plan.rest, values, depth)
    if extra := part.__pydantic_extra__:
        check_json(extra, depth)


def _check_each(
    checks: Iterable[tuple[str, Check | None]], values: dict[str, Any], depth: int
) -> None:
    for name, check_value in checks:
        if name not in values:
            raise Unstorable("this declared field was deleted: give it a value", name)
        if check_value is not None:
            try:
                check_value(values[name], depth + 1)
            except Unstorable as bad:
                raise bad.under(name) from None


@cache
def typed_fields(kind: type[Part]) -> tuple[str, ...]:
    """Return the fields of ``kind`` that only a read of the stored bytes can check.

    If ``kind`` has validators or serializers of its own, these are all of its fields.
    """
    if _has_own_code(kind):
        return tuple(kind.__pydantic_fields__)
    return tuple(name for name, check_value in _plan(kind).checks if check_value is None)


# --- what a declared field may hold -------------------------------------------------------------


_PLAIN_CONFIG = {"extra": "allow", "protected_namespaces": (), "frozen": True}
_planning: set[type[Part]] = set()


class _Plan:
    """How to check the declared fields of a model.

    The types of most fields are compared at once, at C speed. Only values that contain others are
    then looked into. If a type is wrong, the fields are checked one by one, to find which.
    """

    def __init__(self, kind: type[Part]) -> None:
        fields = kind.__pydantic_fields__
        _planning.add(kind)
        try:
            self.checks: list[tuple[str, Check | None]] = [
                (name, None if _stored_otherwise(field) else _shape(field.annotation))
                for name, field in fields.items()
            ]
        finally:
            _planning.discard(kind)
        swept = {
            name: allowed
            for name, shape in self.checks
            if shape is not None and (allowed := _types_of(fields[name].annotation))
        }
        self.rest = [(name, shape) for name, shape in self.checks if name not in swept]
        shapes = dict(self.checks)
        self.deeper: list[tuple[int, str, Check]] = [
            # The type of a part was compared already.
            (index, name, check if _is_part(allowed) else shape)
            for index, (name, allowed) in enumerate(swept.items())
            if (shape := shapes[name]) is not None
            and not all(kind in _PLAIN or issubclass(kind, Enum) for kind in allowed)
        ]
        self._allowed = tuple(swept.values())
        self._pick = itemgetter(*swept) if len(swept) > 1 else None
        self._proven: set[tuple[type, ...]] = set()

    def pick(self, values: dict[str, Any]) -> tuple[Any, ...] | None:
        """Return the fields that are compared at once, if all are there and of a declared type."""
        if self._pick is None:
            return None
        try:
            found: tuple[Any, ...] = self._pick(values)
        except KeyError:
            return None
        kinds = tuple(map(type, found))
        if kinds not in self._proven:  # most saves have the types of the last one
            if not all(map(contains, self._allowed, kinds)):
                return None
            if len(self._proven) < _COMBINATIONS:
                self._proven.add(kinds)
        return found


_plan = cache(_Plan)


_COMBINATIONS = 256
"""How many combinations of types are remembered for each model."""
_PLAIN = frozenset({str, bool, type(None)})
_LEAN = frozenset({dict, list, int, float, type(None)})


def _types_of(annotation: Any) -> frozenset[type] | None:
    """Return the exact types that a declaration allows, or None if it allows any."""
    is_union = get_origin(annotation) in (Union, types.UnionType)
    options = get_args(annotation) if is_union else (annotation,)
    bare = frozenset(get_origin(option) or option for option in options)
    return None if Any in bare else bare


def _is_part(allowed: frozenset[type]) -> bool:
    """Return whether only parts, or None, are allowed."""
    return all(kind is type(None) or issubclass(kind, Part) for kind in allowed)


def _stored_otherwise(field: FieldInfo) -> bool:
    """Return whether the field can be omitted, or is read under another name than written."""
    aliases = field.validation_alias
    names = aliases.choices if isinstance(aliases, AliasChoices) else ()
    return bool(
        field.exclude
        or getattr(field, "exclude_if", None)  # pydantic 2.12 and newer
        or field.alias
        or field.serialization_alias
        or field.metadata  # validators, serializers and bounds of Annotated[…] and Field(…)
        or (aliases and "data_buffer" not in names)
    )


def _shape(annotation: Any) -> Check | None:
    """Return the check for a declared type, or None if only a read of the bytes can check it."""
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
            plain = all(type(member.value) in (str, int) for member in annotation)
            return _member(annotation) if plain else None
        if annotation in _planning:
            return None  # it contains its own kind: only a read can check it
        if issubclass(annotation, Part) and not typed_fields(annotation):
            return _part(annotation)
    return None


def _has_own_code(kind: type[Part]) -> bool:
    code = kind.__pydantic_decorators__
    config = kind.model_config
    return bool(
        any(_PLAIN_CONFIG.get(name, ...) != value for name, value in config.items())
        or code.field_serializers
        or code.model_serializers
        or code.field_validators
        or code.model_validators.keys() - Part.__pydantic_decorators__.model_validators.keys()
    )


def _any(value: Any, depth: int) -> None:
    if bad := offence(value):
        raise bad
    if type(value) in (dict, list):
        check_json(value, depth)


def _unexpected(value: Any, declared: str) -> Unstorable:
    return Unstorable(f"expected {declared}, got {shown(value)}")


def _exact(kind: type) -> Check:
    def check_exact(value: Any, _depth: int) -> None:
        if type(value) is not kind:
            raise _unexpected(value, kind.__name__)
        if (kind is int or kind is float) and (bad := offence(value)):
            raise bad

    return check_exact


def _member(kind: type[Enum]) -> Check:
    def check_member(value: Any, _depth: int) -> None:
        if type(value) is not kind:
            allowed = ", ".join(str(member) for member in kind)
            raise _unexpected(value, f"a {kind.__name__} ({allowed})")

    return check_member


def _part(kind: type[Part]) -> Check:
    def check_part(value: Any, depth: int) -> None:
        if type(value) is not kind:
            raise _unexpected(value, kind.__name__)
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
            raise _unexpected(value, "a dict")
        if not value:
            return
        if of is Any:
            check_json(value, depth)
        else:
            check_keys(value)
            _check_each(((key, inner) for key in value), value, depth)

    return check_mapping


def _sequence(of: Any) -> Check | None:
    """Check ``list[of]``."""
    inner = _shape(of)
    if inner is None:
        return None

    def check_sequence(value: Any, depth: int) -> None:
        if type(value) is not list:
            raise _unexpected(value, "a list")
        if of is str and set(map(type, value)) <= {str}:  # a path of many nodes, at C speed
            return
        for index, item in enumerate(value):
            try:
                inner(item, depth + 1)
            except Unstorable as bad:
                raise bad.under(index) from None

    return check_sequence
