"""The result of a step: its declared type, and the JSON that it is kept as."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json

from sessionstore.errors import NotStorable
from sessionstore.model import journal_codec
from sessionstore.model.codec import brief
from sessionstore.model.journal import STEPS
from sessionstore.model.step import UNDECLARED

_AWAITED = (collections.abc.Awaitable, collections.abc.Coroutine)


class ResultType:
    """The type of a step's result: what is kept is what comes back, on the first run, too."""

    def __init__(self, session_id: str, name: str, declared: Any) -> None:
        """Find out how to keep results of the type ``declared``, or JSON where there is none.

        Raises:
            NotStorable: pydantic does not know the type, or JSON cannot hold it.
        """
        self._session_id = session_id
        self._adapter = None if declared is UNDECLARED else _adapter(session_id, name, declared)

    def encode(self, result: Any) -> bytes:
        """Return a result as it is kept.

        Raises:
            ValueError: it is not of the declared type, or JSON cannot hold it.
        """
        if self._adapter is None:
            return journal_codec.encode(self._session_id, STEPS, [result])[0]
        try:
            checked = self._adapter.validate_python(result)
            return self._adapter.dump_json(checked, by_alias=True, warnings="error")
        except (ValidationError, PydanticSerializationError, UnicodeEncodeError) as error:
            raise ValueError(brief(error)) from error

    def decode(self, payload: bytes) -> Any:
        """Return the result that is kept as ``payload``.

        Raises:
            ValueError: it is not of the declared type.
        """
        if self._adapter is None:
            return from_json(payload)
        return self._adapter.validate_json(payload)

    def revive(self, value: Any) -> Any:
        """Return the result of which a journal holds ``value``; raise as :meth:`decode`."""
        return value if self._adapter is None else self._adapter.validate_json(to_json(value))


@functools.lru_cache(maxsize=256)
def _known_adapter(declared: Any) -> TypeAdapter[Any]:
    adapter = TypeAdapter[Any](declared)
    adapter.json_schema(mode="serialization")  # what has none cannot be kept as JSON
    return adapter


def _adapter(session_id: str, name: str, declared: Any) -> TypeAdapter[Any]:
    try:
        try:
            hash(declared)
        except TypeError:
            return _known_adapter.__wrapped__(declared)
        return _known_adapter(declared)
    except (PydanticSchemaGenerationError, PydanticUserError, NameError) as error:
        raise NotStorable(
            session_id,
            f"the result of {name}",
            f"{_spelled(declared)} cannot be kept as JSON: return a type that pydantic knows, or"
            f" pass Step({name!r}, returns=...); {brief(error)}",
        ) from error


_declared: WeakKeyDictionary[types.FunctionType, Any] = WeakKeyDictionary()
"""What functions declare to return: to look it up each time would take as long as an append."""


def declared_type(session_id: str, name: str, function: Callable[..., Any]) -> Any:
    """Return the type that a function declares to return, awaited; UNDECLARED if it does not.

    Raises:
        NotStorable: the annotation cannot be looked up.
    """
    plain = function.__func__ if isinstance(function, types.MethodType) else function
    if not isinstance(plain, types.FunctionType):
        return _look_up(session_id, name, function)
    found = _declared.get(plain)
    if found is None:
        found = _declared[plain] = _look_up(session_id, name, function)
    return found


def _look_up(session_id: str, name: str, function: Callable[..., Any]) -> Any:
    if isinstance(function, type):
        return function
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(_function_of(function))
    annotations = _annotations_of(function)
    if "return" not in annotations:
        return UNDECLARED
    # Only this one: names that the parameters need may be imported for type checkers alone.
    alone = SimpleNamespace(__annotations__={"return": annotations["return"]})
    names = getattr(inspect.unwrap(getattr(function, "__func__", function)), "__globals__", {})
    try:
        found = typing.get_type_hints(alone, names, include_extras=True)["return"]
    except NameError as error:
        raise NotStorable(
            session_id,
            f"the result of {name}",
            f"its declared type cannot be looked up ({error}): pass Step({name!r}, returns=...)",
        ) from error
    if typing.get_origin(found) in _AWAITED:
        return typing.get_args(found)[-1]
    return UNDECLARED if isinstance(found, typing.TypeVar) else found


def _annotations_of(function: Callable[..., Any]) -> Mapping[str, Any]:
    """Return the annotations of a function, none if it has none."""
    if sys.version_info >= (3, 14):
        # They are evaluated here, all at once: a name that is missing must not hide the others.
        from annotationlib import Format, get_annotations

        return get_annotations(function, format=Format.FORWARDREF)
    annotations: Mapping[str, Any] = getattr(function, "__annotations__", {})
    return annotations


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Return whether a call of ``function`` has to be awaited."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(_function_of(function))


def _function_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what runs: of an object that can be called, its method."""
    if inspect.isroutine(function) or isinstance(function, type):
        return function
    return types.MethodType(type(function).__call__, function)


def _spelled(declared: Any) -> str:
    return declared.__qualname__ if isinstance(declared, type) else str(declared)
