"""Hold every declared field of a state to its declaration, at the cost of a glance.

pydantic does not look at what is assigned to a field. A declaration that is known here is checked
on the live value; any other, and every one of a model with code of its own, after a real read.
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

from sessionstore.state import Part
from sessionstore.storable import Unstorable, check_json, check_keys, offence, shown

Check = Callable[[Any, int], None]


def check(part: Part, depth: int = 1) -> None:
    """Raise :class:`Unstorable` for the first value below ``part`` that would not survive."""
    plan, values = _plan(type(part)), part.__dict__
    if not plan.passes_scalars(values):
        _check_each(plan.checks, values, depth)
    _check_each(plan.rest, values, depth)
    if extra := part.__pydantic_extra__:
        check_json(extra, depth)


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


# --- what a declared field may hold -------------------------------------------------------------


_PLAIN_CONFIG = {"extra": "allow", "protected_namespaces": (), "frozen": True}
_planning: set[type[Part]] = set()


class _Plan:
    """How to check the declared fields of a model.

    Most are scalars whose type decides alone: these pass in one sweep at C speed, and only if
    one does not, the checks are made one by one, to say which.
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
    return bool(
        field.exclude
        or getattr(field, "exclude_if", None)  # pydantic 2.12 and newer
        or field.alias
        or field.serialization_alias
        or field.metadata  # validators, serializers and bounds of Annotated[…] and Field(…)
        or (aliases and "data_buffer" not in names)
    )


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
            plain = all(type(member.value) in (str, int) for member in annotation)
            return _member(annotation) if plain else None
        if annotation in _planning:
            return None  # a part that contains its own kind: let a real read judge it
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
    if reason := offence(value):
        raise Unstorable(reason)
    if type(value) in (dict, list):
        check_json(value, depth)


def _exact(kind: type) -> Check:
    def check_exact(value: Any, _depth: int) -> None:
        if type(value) is not kind:
            raise Unstorable(f"{shown(value)} where {kind.__name__} is declared")
        if (kind is int or kind is float) and (reason := offence(value)):
            raise Unstorable(reason)

    return check_exact


def _member(kind: type[Enum]) -> Check:
    def check_member(value: Any, _depth: int) -> None:
        if type(value) is not kind:
            allowed = ", ".join(str(member) for member in kind)
            raise Unstorable(f"{shown(value)} is no {kind.__name__} (it has {allowed})")

    return check_member


def _part(kind: type[Part]) -> Check:
    def check_part(value: Any, depth: int) -> None:
        if type(value) is not kind:
            raise Unstorable(f"{shown(value)} where {kind.__name__} is declared")
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
            raise Unstorable(f"{shown(value)} where a dict is declared")
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
            raise Unstorable(f"{shown(value)} where a list is declared")
        if of is str and set(map(type, value)) <= {str}:  # a path of many nodes, at C speed
            return
        for index, item in enumerate(value):
            try:
                inner(item, depth + 1)
            except Unstorable as bad:
                raise bad.under(index) from None

    return check_sequence
