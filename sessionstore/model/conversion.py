"""Put into a state what is stored instead of a value that JSON lacks.

Both conversions change the live state, so that it stays equal to what a reload gives: ``default=``
of a store replaces values where any JSON may stand, and an ``int`` becomes the ``float`` that is
declared. A save converts only after a refusal: a state that needs nothing is never walked here.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable
from copy import copy, deepcopy
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from sessionstore.model.json_values import (
    MAX_DEPTH,
    TOO_DEEP,
    Unstorable,
    check_keys,
    name_of,
    shown,
)
from sessionstore.text import printable

Default = Callable[[Any], Any]
"""Returns what is stored instead of a value, as ``json.dumps(default=)`` does."""

MAX_ROUNDS = 10
"""How many times in a row one value is converted."""

_JSON = frozenset({str, int, float, bool, type(None), dict, list})
_CONTAINERS = (dict, list)


def convert(model: BaseModel, default: Default | None, depth: int = 1) -> None:
    """Convert the fields of ``model`` in place, at every depth.

    Values that are wrong for another reason stay: the check that follows names them.

    Raises:
        Unstorable: ``default`` does not convert a value, or an int has no exact float.
    """
    if depth > MAX_DEPTH:
        raise Unstorable(TOO_DEEP)
    values = model.__dict__
    for name, field in type(model).__pydantic_fields__.items():
        if name in values:
            _put(values, name, _declared, field.annotation, depth + 1, default)
    for name in model.__pydantic_extra__ or ():
        _put(model.__pydantic_extra__, name, _json, Any, depth + 1, default)


def take_floats(before: Any, after: Any) -> Any:
    """Return ``before`` with each int that came back as an equal float replaced by that float.

    ``after`` is what was read back. Values are replaced in place where that can be done.
    """
    kind = type(before)
    if kind is int and type(after) is float:
        return after if before == after else before
    if kind is not type(after):
        return before
    if isinstance(before, set | frozenset):
        same = {item: item for item in after}
        return kind(take_floats(item, same.get(item)) for item in before)
    if isinstance(before, tuple) and len(before) == len(after):
        return tuple.__new__(kind, map(take_floats, before, after))
    if isinstance(before, list | deque) and len(before) == len(after):
        for index, other in enumerate(after):
            before[index] = take_floats(before[index], other)
    elif isinstance(before, dict) and len(before) == len(after):
        pairs = list(zip(before, after, strict=True))
        for key, other in pairs:
            before[key] = take_floats(before[key], after[other])
        if any(take_floats(key, other) is not key for key, other in pairs):  # keys that are floats
            renamed = {take_floats(key, other): before[key] for key, other in pairs}
            before = copy(before)
            before.clear()
            before.update(renamed)
    elif isinstance(before, BaseModel):
        for name in kind.__pydantic_fields__:
            before.__dict__[name] = take_floats(getattr(before, name), getattr(after, name))
    elif is_dataclass(before):
        for field in fields(before):
            value = take_floats(getattr(before, field.name), getattr(after, field.name))
            object.__setattr__(before, field.name, value)  # it may be frozen
    return before


def copied(value: Any, *, deep: bool, depth: int = 0, memo: dict[int, Any] | None = None) -> Any:
    """Return a copy that shares no dict and no list with ``value``, at any depth.

    Models and other values are copied, too, if ``deep``. What cannot be copied is shared: it is
    refused when it is stored, unless a ``default=`` replaces it.
    """
    kind = type(value)
    memo = {} if memo is None else memo
    if id(value) in memo:
        return memo[id(value)]
    if (kind not in _CONTAINERS and (kind in _JSON or not deep)) or depth > MAX_DEPTH:
        return value
    held: list[Any]
    if kind in _CONTAINERS:
        twin = value.copy()
        held = [twin]
    elif isinstance(value, BaseModel):
        twin = copy(value)
        held = [twin.__dict__, twin.__pydantic_extra__ or {}]
    else:
        try:
            return deepcopy(value, memo)
        except Exception:  # code of the value's own class
            return value
    memo[id(value)] = twin
    for holder in held:
        for key, item in _items(holder):
            holder[key] = copied(item, deep=deep, depth=depth + 1, memo=memo)
    return twin


# --- one value -----------------------------------------------------------------------------------


def _declared(value: Any, annotation: Any, depth: int, default: Default | None) -> Any:
    """Return what is stored instead of ``value`` where ``annotation`` is declared."""
    origin, args = get_origin(annotation) or annotation, get_args(annotation)
    if origin is Annotated:
        return _declared(value, args[0], depth, default)
    if origin in (Union, types.UnionType):
        options = [option for option in args if option is not type(None)]
        if len(options) > 1:
            options = [one for one in options if (get_origin(one) or one) is type(value)]
        return (
            value if value is None or not options else _declared(value, options[0], depth, default)
        )
    if origin is float and type(value) is int:
        return _exact_float(value)
    if origin is Any:
        return _json(value, Any, depth, default)
    if origin in _CONTAINERS:
        value = _asked(value, default)
        if type(value) is origin:
            of = args[-1] if args else Any
            for key, _ in _items(value):
                _put(value, key, _declared, of, depth + 1, default)
    elif (
        isinstance(value, BaseModel) and isinstance(origin, type) and issubclass(origin, BaseModel)
    ):
        convert(value, default, depth)
    return value


def _json(value: Any, _annotation: Any, depth: int, default: Default | None) -> Any:
    """Return what is stored instead of ``value`` where any JSON may stand."""
    if default is None:
        return value
    if depth > MAX_DEPTH + 1:
        raise Unstorable(TOO_DEEP)
    value = _asked(value, default)
    if type(value) is dict:
        check_keys(value)
    if type(value) in _CONTAINERS:
        for key, _ in _items(value):
            _put(value, key, _json, Any, depth + 1, default)
    return value


def _asked(value: Any, default: Default | None) -> Any:
    """Return what ``default`` makes of a value whose type JSON lacks."""
    if default is None or type(value) in _JSON:
        return value
    for _ in range(MAX_ROUNDS):
        try:
            new = default(value)
        except (TypeError, ValueError) as error:
            said = printable(error) or name_of(error)
            raise Unstorable(f"default= does not convert {name_of(value)}: {said}") from error
        if type(new) in _JSON:
            # It may belong to the value still, as vars(value) does.
            return copied(new, deep=False)
        if new is value:
            break
        value = new
    raise Unstorable(
        f"default= returned {name_of(value)}, which JSON lacks: return text, a dict or a list"
    )


def _exact_float(value: int) -> float:
    try:
        if (number := float(value)) == value:
            return number
    except OverflowError:
        pass
    raise Unstorable(f"{shown(value)} has no exact float, and float is declared")


def _put(
    holder: Any,
    key: Any,
    converted: Callable[[Any, Any, int, Default | None], Any],
    annotation: Any,
    depth: int,
    default: Default | None,
) -> None:
    value = holder[key]
    try:
        new = converted(value, annotation, depth, default)
    except Unstorable as bad:
        raise bad.under(key if isinstance(key, int) else str(key)) from bad.__cause__
    if new is not value:
        holder[key] = new


def _items(holder: Any) -> list[tuple[Any, Any]]:
    return list(holder.items() if type(holder) is dict else enumerate(holder))
