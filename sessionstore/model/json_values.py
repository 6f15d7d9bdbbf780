"""Refuse a value that would not read back equal, and name its path.

JSON through pydantic changes values silently: NaN becomes null, a tuple a list, an integer key
text (:func:`offence` has the list). One walk over the live values costs less than reading the bytes
back, and finds the path at once. Fields of a ``state_type`` whose annotation the walk does not know
are compared after such a read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from enum import Enum
from typing import Any

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
    """A value that would not read back equal, and why."""

    def __init__(self, reason: str, *steps: str | int) -> None:
        self.reason: str = reason
        self.steps: list[str | int] = list(steps)
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
    if is_of_arrays(value):
        return f"{name_of(value)} cannot be stored as JSON: {_way_out(value)}"
    for known, reason in _REASONS:
        if isinstance(value, known):
            return reason.format(kind.__name__)
    return f"{name_of(value)} cannot be stored as JSON: store text or a dict{_DECLARE}"


_ARRAYS = frozenset({"numpy", "pandas", "torch", "tensorflow", "jax", "jaxlib", "cupy", "polars"})
"""Libraries whose scalars look like builtins: their ``bool`` and ``float64`` are none of Python's.
None of them is imported here."""


def is_of_arrays(value: Any) -> bool:
    """Return whether the type of ``value`` comes from a library of arrays or tables."""
    return type(value).__module__.partition(".")[0] in _ARRAYS


def _way_out(value: Any) -> str:
    """Return what to do with a value of such a library."""
    if hasattr(value, "isoformat"):  # a time of pandas
        return "call .isoformat(), or give the store default=plain"
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return "call .item(), or give the store default=plain"
    if hasattr(value, "tolist"):
        return "call .tolist(), or give the store default=plain"
    call = ".to_dict()" if hasattr(value, "to_dict") else "str() of it"
    return f"store {call}{_DEFAULT}"


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


_DEFAULT = ", or convert it with default= of the store"
_DECLARE = ", declare a field of that type in a state_type=" + _DEFAULT
"""The advice for types that pydantic can read back where a field declares them."""

_REASONS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (tuple, "a {} would come back as a list: store a list" + _DECLARE),
    ((set, frozenset), "a {} cannot be stored as JSON: store a sorted list" + _DECLARE),
    (
        (bytes, bytearray, memoryview),
        "{} cannot be stored as JSON: store text, e.g. base64" + _DECLARE,
    ),
    (Enum, "the enum {} would come back as its bare value: store .value" + _DECLARE),
    ((str, int, float), "{} would come back as its plain builtin type: store that" + _DEFAULT),
    (dict, "{} would come back as a plain dict: store dict(…) of it" + _DEFAULT),
    (list, "{} would come back as a plain list: store list(…) of it" + _DEFAULT),
    (
        BaseModel,
        "the model {} would come back as a dict: store .model_dump(mode='json')" + _DECLARE,
    ),
)


def _text_offence(text: str) -> str | None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ascii(text[error.start])
        return f"text with a lone surrogate ({code}) cannot be stored as UTF-8"
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
                except Unstorable as bad:
                    raise bad.under(key) from None
        elif reason := offence(item):
            raise Unstorable(reason, key)


def check_keys(value: dict[Any, Any]) -> None:
    """Raise :class:`Unstorable` for a key that is not text."""
    for key in value:
        if type(key) is not str:
            raise Unstorable(f"the key {shown(key)} is {name_of(key)}: JSON keys are text")


# --- names ---------------------------------------------------------------------------------------


def _members(part: BaseModel) -> Iterator[tuple[str, Any]]:
    yield from part.__dict__.items()
    yield from (part.__pydantic_extra__ or {}).items()


def _typed_key(key: Any) -> tuple[type, Any]:
    return type(key), key


def name_of(value: Any) -> str:
    """Return the name of the type of ``value``; ``numpy.bool`` with its library."""
    name = type(value).__name__
    if is_of_arrays(value):
        return f"{type(value).__module__.partition('.')[0]}.{name}"
    return name


def shown(value: Any) -> str:
    """Return a short description of ``value`` for a message."""
    if type(value) is int and offence(value):
        return f"an integer of more than {MAX_DIGITS:,} digits"
    text = repr(value) if type(value) in (str, int, float, bool, type(None)) else name_of(value)
    return text if len(text) <= 60 else text[:59] + "…"
