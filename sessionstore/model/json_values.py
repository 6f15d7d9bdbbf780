"""Refuse a value that would not read back equal, and name its path.

JSON through pydantic changes values silently: NaN becomes null, a tuple a list, an integer key
text (:func:`offence` has the list). One walk over the live values costs less than reading the bytes
back, and finds the path at once. Fields of a ``state_type`` whose annotation the walk does not know
are compared after such a read.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import takewhile
from pathlib import PurePath
from typing import Any
from uuid import UUID

from pydantic import BaseModel

MAX_DEPTH = 200
"""How many levels of objects and arrays pydantic_core reads. The state is the first level
(measured: ``from_json`` of level 201 fails with "recursion limit exceeded")."""

TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels cannot be read back"

MAX_DIGITS = 4300
"""How many digits of an integer pydantic_core reads (measured; the default limit of CPython)."""

SAFE_INTEGER = 1 << 64
"""An integer below is short enough."""
_MAX_INTEGER = 10**MAX_DIGITS
_SCALARS = frozenset({str, bool, type(None)})


class Unstorable(Exception):
    """A value that would not read back equal, and why.

    ``reason`` ends with what to store instead. ``ways`` tells what else helps in a state.
    """

    def __init__(self, reason: str, *steps: str | int, ways: tuple[str, ...] = ()) -> None:
        self.reason: str = reason
        self.steps: list[str | int] = list(steps)
        self.ways: tuple[str, ...] = ways
        super().__init__(reason)

    def under(self, step: str | int) -> Unstorable:
        """Put ``step`` in front of the path, and return this error."""
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

    def in_state(self) -> str:
        """Return the reason, and everything that helps in a state."""
        return _or(self.reason, *self.ways)

    def in_record(self) -> str:
        """Return the reason, and what helps in a record of a journal: it has no declared field."""
        return _or(self.reason, "pass it through plain()") if PLAIN in self.ways else self.reason


def _or(first: str, *others: str) -> str:
    *middle, last = (first, *others)
    return f"{', '.join(middle)}, or {last}" if middle else last


def difference(before: Any, after: Any) -> None:
    """Raise :class:`Unstorable` for the first value that came back unequal or of another type."""
    if type(before) is not type(after):
        raise Unstorable(
            f"{name_of(before)} would come back as {name_of(after)}: store the declared type"
        )
    if isinstance(before, BaseModel):
        if set(before.model_extra or ()) != set(after.model_extra or ()):
            raise Unstorable("its extra fields would come back changed")
        _compare(_declared(before), _declared(after))
    elif is_dataclass(before):
        _compare(vars(before), vars(after))
    elif isinstance(before, set | frozenset):
        if set(map(_typed_key, before)) != set(map(_typed_key, after)):
            raise Unstorable("its items would come back changed")
    elif isinstance(before, dict):
        if list(map(_typed_key, before)) != list(map(_typed_key, after)):
            raise Unstorable("its keys would come back changed")
        _compare(before, after)
    elif isinstance(before, list | tuple | deque):
        if len(before) != len(after):
            raise Unstorable("would come back with another length")
        _compare(dict(enumerate(before)), dict(enumerate(after)))
    elif before != after:
        raise Unstorable(f"this {name_of(before)} would come back unequal")


def _declared(model: BaseModel) -> dict[str, Any]:
    """Return fields and extras, without cached properties."""
    names = type(model).__pydantic_fields__
    return {name: getattr(model, name) for name in names} | (model.model_extra or {})


def _compare(before: dict[Any, Any], after: dict[Any, Any]) -> None:
    for key, value in before.items():
        try:
            difference(value, after.get(key))
        except Unstorable as bad:
            raise bad.under(key if isinstance(key, int) else str(key)) from None


DECLARE = "declare a field of that type in a state_type="
PLAIN = "open the store with default=plain"
CONVERT = "convert it with default= of the store"
"""What helps in a state, beside storing another value. ``plain`` does not convert every type."""


def offence(value: Any) -> Unstorable | None:
    """Return why ``value`` itself (not what it contains) cannot be stored as JSON, or None."""
    kind = type(value)
    if kind in _SCALARS:
        return None if kind is not str else _text_offence(value)
    if kind is int:
        if -_MAX_INTEGER < value < _MAX_INTEGER:
            return None
        return Unstorable(
            f"an integer of more than {MAX_DIGITS:,} digits cannot be read back: store text"
        )
    if kind is float:
        if value - value == 0:
            return None
        return Unstorable(f"{value} cannot be stored as JSON: store None or text")
    if kind is dict or kind is list:
        return None
    if is_of_arrays(value):
        return _array_offence(value)
    for known, reason, ways in _REASONS:
        if isinstance(value, known):
            return Unstorable(reason.format(name_of(value)), ways=ways)
    if is_dataclass(value):
        return Unstorable(
            f"the dataclass {name_of(value)} cannot be stored as JSON: store asdict() of it",
            ways=(DECLARE, PLAIN),
        )
    return Unstorable(_NOT_JSON.format(name_of(value)) + "text or a dict", ways=(DECLARE, CONVERT))


_ARRAYS = frozenset({"numpy", "pandas", "torch", "tensorflow", "jax", "jaxlib", "cupy", "polars"})
"""Libraries whose scalars look like builtins: their ``bool`` and ``float64`` are none of Python's.
None of them is imported here."""


def is_of_arrays(value: Any) -> bool:
    """Return whether the type of ``value`` comes from a library of arrays or tables."""
    return type(value).__module__.partition(".")[0] in _ARRAYS


def _array_offence(value: Any) -> Unstorable:
    """Return what to do with a value of such a library."""
    if hasattr(value, "isoformat"):  # a time of pandas
        instead, way = ".isoformat()", PLAIN
    elif hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        instead, way = ".item()", PLAIN
    elif hasattr(value, "tolist"):
        instead, way = ".tolist()", PLAIN
    else:
        instead, way = ".to_dict()" if hasattr(value, "to_dict") else "str() of it", CONVERT
    return Unstorable(_NOT_JSON.format(name_of(value)) + instead, ways=(way,))


def find_bad_text(value: Any) -> Unstorable | None:
    """Return the first text at or below ``value`` that UTF-8 cannot carry, keys included."""
    if isinstance(value, str):
        return _text_offence(value)
    if isinstance(value, BaseModel):
        value = dict(_members(value))
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(key, str) and (bad := _text_offence(key)):
                return Unstorable(f"a key is {bad.reason}")
            if bad := find_bad_text(item):
                return bad.under(key)
    return None


_NOT_JSON = "{} cannot be stored as JSON: store "

_REASONS: tuple[tuple[type | tuple[type, ...], str, tuple[str, ...]], ...] = (
    (tuple, "{} would come back as a list: store a list", (DECLARE, PLAIN)),
    ((set, frozenset), _NOT_JSON + "a sorted list", (DECLARE, PLAIN)),
    ((bytes, bytearray, memoryview), _NOT_JSON + "text (base64)", (DECLARE, CONVERT)),
    (Enum, "the enum {} would come back as its bare value: store .value", (DECLARE, PLAIN)),
    ((str, int, float), "{} would come back as its plain builtin type: store that", (PLAIN,)),
    (dict, "{} would come back as a plain dict: store dict() of it", (PLAIN,)),
    (list, "{} would come back as a plain list: store list() of it", (PLAIN,)),
    (deque, _NOT_JSON + "list() of it", (DECLARE, PLAIN)),
    ((date, time), _NOT_JSON + ".isoformat()", (DECLARE, PLAIN)),
    (timedelta, _NOT_JSON + ".total_seconds()", (DECLARE, PLAIN)),
    ((Decimal, UUID, PurePath), _NOT_JSON + "str() of it", (DECLARE, PLAIN)),
    (
        BaseModel,
        "the model {} would come back as a dict: store .model_dump(mode='json')",
        (DECLARE, PLAIN),
    ),
    (
        (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType),
        _NOT_JSON + "its name",
        (CONVERT,),
    ),
)
"""Types, why JSON does not hold them, and what helps in a state. A datetime is a date."""


def _text_offence(text: str) -> Unstorable | None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ascii(text[error.start])
        return Unstorable(
            f"text with a lone surrogate ({code}) cannot be stored as UTF-8: remove or escape it"
        )
    return None


def check_json(value: Any, depth: int) -> None:
    """Check a dict or list of JSON values; ``depth`` is its own level.

    The common scalars are decided inline: this loop is most of what a check costs.
    """
    if depth > MAX_DEPTH:
        raise Unstorable(TOO_DEEP)
    if type(value) is dict:
        check_keys(value)
        items: Iterable[tuple[Any, Any]] = value.items()
    else:
        items = enumerate(value)
    for key, item in items:
        kind = type(item)
        if (
            kind in _SCALARS
            or (kind is int and -SAFE_INTEGER < item < SAFE_INTEGER)
            or (kind is float and item - item == 0)
        ):
            continue
        if kind is dict or kind is list:
            if item or depth == MAX_DEPTH:
                try:
                    check_json(item, depth + 1)
                except Unstorable as deeper:
                    raise deeper.under(key) from None
        elif bad := offence(item):
            raise bad.under(key)


def check_keys(value: dict[Any, Any]) -> None:
    """Raise :class:`Unstorable` for a key that is not text."""
    for key in value:
        if type(key) is not str:
            raise bad_key(key)


def bad_key(key: Any) -> Unstorable:
    """Return the refusal of a key that is not text."""
    told = f"the key {shown(key)} is" if type(key) in _SHOWN else "a key is"
    return Unstorable(f"{told} {name_of(key)}: JSON keys are text, so use str() of it")


# --- names ---------------------------------------------------------------------------------------


def _members(part: BaseModel) -> Iterator[tuple[str, Any]]:
    yield from part.__dict__.items()
    yield from (part.__pydantic_extra__ or {}).items()


def _typed_key(key: Any) -> tuple[type, Any]:
    return type(key), key


def name_of(value: Any) -> str:
    """Return the name of the type of ``value`` with its module: ``numpy.bool``, ``uuid.UUID``.

    Builtins have no module. Of a module the public part is named: ``pandas``, ``pathlib``.
    """
    kind = type(value)
    parts = kind.__module__.split(".")
    if parts == ["builtins"] or kind is types.NoneType:
        return kind.__name__
    if is_of_arrays(value):
        return f"{parts[0]}.{kind.__name__}"
    public = list(takewhile(lambda part: not part.startswith("_"), parts)) or parts
    return f"{'.'.join(public)}.{kind.__qualname__}"


_SHOWN = (str, int, float, bool, types.NoneType)


def shown(value: Any) -> str:
    """Return a short description of ``value`` for a message."""
    if type(value) is int and offence(value):
        return f"an integer of more than {MAX_DIGITS:,} digits"
    text = repr(value) if type(value) in _SHOWN else name_of(value)
    return text if len(text) <= 60 else text[:59] + "…"
