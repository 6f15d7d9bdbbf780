"""Return a Python value as the JSON values that stand for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from pathlib import PurePath
from typing import Any
from uuid import UUID

from pydantic import AnyUrl, BaseModel
from pydantic_core import to_jsonable_python

from sessionstore.model.json_values import (
    MAX_DEPTH,
    TOO_DEEP,
    Unstorable,
    bad_key,
    is_of_arrays,
    name_of,
    offence,
)

_TIMES = (date, time, timedelta)
_TEXTUAL = (Decimal, UUID, PurePath, IPv4Address, IPv6Address, AnyUrl)


class _NoPlainForm(Unstorable):
    """The type of a value says not how to write it as JSON."""


def plain(value: Any) -> Any:
    """Return ``value`` as JSON values that store and load back equal, such as a dict or text.

    An enum becomes its value, a tuple a list, and a set a sorted list. A model, a dataclass and any
    mapping become a dict. A model is written as its ``model_dump()`` says. A date, a time, a
    duration (ISO 8601), a Decimal, a UUID, a path, a URL and an IP address become text. Values of
    numpy, pandas and torch become numbers and lists. Subclasses of ``str``, ``int``, ``float``,
    ``dict`` and ``list`` become their base. What is JSON already is copied. To convert all of a
    store's data, use it as ``SessionStore(root, default=plain)``.

    Args:
        value: what to write.

    Raises:
        TypeError: a value has no plain form (bytes, a secret, an open file), a key is not text, or
            the items of a set have no order.
        ValueError: JSON cannot carry a value (NaN, an infinity, a lone surrogate, too many digits
            or levels), or two keys become the same text.

    Both errors name the place inside of ``value``.

    Examples:
        >>> from sessionstore import plain
        >>> plain({"seen": {"b", "a"}, "size": (3, 4)})
        {'seen': ['a', 'b'], 'size': [3, 4]}
    """
    try:
        return _plain(value, 1)
    except Unstorable as bad:
        kind = TypeError if isinstance(bad, _NoPlainForm) else ValueError
        raise kind(f"{bad.path}: {bad.reason}" if bad.steps else bad.reason) from None


def _plain(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise Unstorable(TOO_DEEP)
    if isinstance(value, Enum):
        return _plain(value.value, depth)
    if isinstance(value, BaseModel):
        return _plain(value.model_dump(warnings=False, serialize_as_any=True), depth)
    if is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return _plain_dict(value, depth)
    if isinstance(value, list | tuple | deque | Set):
        row = [_step(index, item, depth) for index, item in enumerate(value)]
        return _in_order(row, value) if isinstance(value, Set) else row
    if is_of_arrays(value) and hasattr(value, "tolist"):
        listed = value.tolist()
        if type(listed) is not type(value):  # a longdouble lists itself
            return _plain(listed, depth)
    return _scalar(value)


def _plain_dict(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in value.items():
        text = key.value if isinstance(key, Enum) else key
        if not isinstance(text, str):
            raise _NoPlainForm(bad_key(text).reason)
        text = _scalar(text)
        if text in found:
            raise Unstorable(f"two keys become {text!r}")
        found[text] = _step(text, item, depth)
    return found


def _step(step: str | int, item: Any, depth: int) -> Any:
    try:
        return _plain(item, depth + 1)
    except Unstorable as bad:
        raise bad.under(step) from None


def _in_order(row: list[Any], value: Any) -> list[Any]:
    try:
        return sorted(row)
    except TypeError:
        raise _NoPlainForm(
            f"the items of this {name_of(value)} have no order: store a list"
        ) from None


def _scalar(value: Any) -> Any:
    """Return one value without parts as text, a number, a boolean or None."""
    if type(value) not in (str, int, float, bool, type(None)):
        if isinstance(value, Decimal) and not value.is_finite():
            raise Unstorable(f"{value} cannot be stored as JSON: store None or text")
        if isinstance(value, str):
            value = str.__str__(value)
        elif isinstance(value, int):
            value = int.__int__(value)
        elif isinstance(value, float):
            value = float.__float__(value)
        elif isinstance(value, _TIMES):
            value = to_jsonable_python(value)
        elif isinstance(value, _TEXTUAL):
            value = str(value)
        else:
            raise _NoPlainForm(f"{name_of(value)} has no plain form: store text or a dict")
    if bad := offence(value):
        raise bad
    return value
