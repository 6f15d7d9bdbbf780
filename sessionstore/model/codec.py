"""Turn a state into the bytes that are stored, and back: equal, or refused with a path."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json

from sessionstore.errors import NotStorable, SessionCorrupt, StateTypeMismatch
from sessionstore.model import StateT, conversion, field_checks, json_values, mending
from sessionstore.model.state import SessionState
from sessionstore.model.stored import MAX_STATE_BYTES, why_no_json
from sessionstore.text import printable


def encode(state: SessionState, default: conversion.Default | None = None) -> bytes:
    """Return ``state`` as UTF-8 JSON that reads back equal, as the same types.

    What ``default`` converts, and an int where a float is declared, is converted in ``state``.

    Raises:
        NotStorable: a value would not read back equal; the error names its path.
    """
    try:
        try:
            payload = _checked(state)
        except json_values.Unstorable:
            conversion.convert(state, default)
            payload = _checked(state)
    except json_values.Unstorable as bad:
        raise NotStorable(state.session_id, bad.path, bad.in_state()) from bad.__cause__
    except (PydanticSerializationError, UnicodeEncodeError) as error:
        if signalled := _raised_by_signal(error):
            raise signalled from error
        culprit = json_values.find_bad_text(state) or _find_unserializable(state, error)
        raise NotStorable(state.session_id, culprit.path, culprit.in_state()) from error
    except RuntimeError as error:  # dict or list changed size: another thread edits the state
        if type(error) is not RuntimeError:
            raise  # a signal handler's own
        raise NotStorable(
            state.session_id,
            "the state",
            f"another thread edited it during the save ({error}): edit and save in one thread",
        ) from error
    if len(payload) > MAX_STATE_BYTES:
        raise NotStorable(
            state.session_id,
            "the state",
            f"{len(payload):,} bytes are more than {MAX_STATE_BYTES:,}:"
            " keep large data in files of the session's directory",
        )
    return payload


def _checked(state: SessionState) -> bytes:
    field_checks.check(state)
    payload = _serialize(state)
    if typed := field_checks.typed_fields(type(state)):
        _compare_typed(state, payload, typed)
    return payload


_DERIVED = ("duration_ms", "is_resumable_from_checkpoint", "is_resumable")
_LEFT_OUT = set(_DERIVED)


def _serialize(state: SessionState) -> bytes:
    """Return ``state`` as JSON, with its derived fields last.

    They are computed here and not by pydantic. A signal handler may raise wherever Python code
    runs, and pydantic keeps only the text of an exception that is raised inside a serializer.
    """
    kind = type(state)
    serializer = kind.__pydantic_serializer__
    if not _is_derived_as_ours(kind):
        whole: bytes = serializer.to_json(state, warnings=False)
        return whole
    body = serializer.to_json(state, exclude=_LEFT_OUT, warnings=False)
    resumable = b"true" if state.is_resumable else b"false"
    derived = b',"duration_ms":%d,"is_resumable_from_checkpoint":%b,"is_resumable":%b}' % (
        state.duration_ms,
        resumable,
        resumable,
    )
    return b"".join((memoryview(body)[:-1], derived))  # without the brace that closes it


@cache
def _is_derived_as_ours(kind: type[SessionState]) -> bool:
    """Return whether ``kind`` derives the same fields as SessionState, under the same names."""
    config = kind.model_config
    return (
        tuple(kind.__pydantic_computed_fields__) == _DERIVED
        and all(getattr(kind, name) is getattr(SessionState, name) for name in _DERIVED)
        and not kind.__pydantic_decorators__.model_serializers
        and not config.get("alias_generator")
        and not config.get("serialize_by_alias")
    )


_LOST = re.compile(r": (KeyboardInterrupt|SystemExit|CancelledError)(?:: (.*))?\Z", re.DOTALL)


def _raised_by_signal(error: Exception) -> BaseException | None:
    """Return a copy of the exception that a signal handler raised inside a serializer, or None.

    pydantic passes on neither that exception nor its cause. It is not an error of a value.
    """
    found = _LOST.search(str(error)) if isinstance(error, PydanticSerializationError) else None
    if found is None:
        return None
    name, said = found.groups()
    if name == "SystemExit":
        return SystemExit(int(said) if said and said.isdecimal() else said)
    if name == "CancelledError":
        from asyncio import CancelledError

        return CancelledError(*([said] if said else []))
    return KeyboardInterrupt(*([said] if said else []))


def _find_unserializable(state: SessionState, error: Exception) -> json_values.Unstorable:
    """Return the field that pydantic could not turn into JSON, by trying each alone."""
    for name in type(state).__pydantic_fields__:
        try:
            state.model_dump_json(include={name}, warnings=False)
        except (PydanticSerializationError, UnicodeEncodeError) as trouble:
            return json_values.Unstorable(brief(trouble), name)
    return json_values.Unstorable(brief(error))


def _compare_typed(state: SessionState, payload: bytes, names: tuple[str, ...]) -> None:
    kind = type(state)
    try:
        back = kind.model_validate_json(payload)
    except ValidationError as error:
        steps = error.errors(include_url=False, include_context=False, include_input=False)[0][
            "loc"
        ]
        raise json_values.Unstorable(f"would not load back: {brief(error)}", *steps) from None
    for name in names:
        before, after = getattr(state, name), getattr(back, name)
        try:
            try:
                json_values.difference(before, after)
            except json_values.Unstorable:
                before = state.__dict__[name] = conversion.take_floats(before, after)
                json_values.difference(before, after)
        except json_values.Unstorable as bad:
            raise bad.under(name) from None


def decode(payload: bytes, state_type: type[StateT], session_id: str, file: object) -> StateT:
    """Return the state that ``payload`` holds, with foreign values replaced.

    A NaN and an infinity become null or, where null is not allowed, the default of the field.
    ``file`` is the place that errors name.

    Raises:
        SessionCorrupt: the bytes are not a state of this session.
        StateTypeMismatch: the state is sound, and does not fit ``state_type``.
    """
    try:
        state = _validate(payload, state_type)
    except ValidationError as error:
        if state_type is not SessionState:
            decode(payload, SessionState, session_id, file)  # raises if it is damaged
            raise StateTypeMismatch(session_id, state_type.__name__, brief(error)) from None
        reason = why_no_json(payload) or brief(error)
        raise SessionCorrupt(session_id, file, reason) from None
    if state.session_id != session_id:
        raise SessionCorrupt(
            session_id,
            file,
            f"it is the state of another session, {printable(state.session_id, limit=80)}",
        )
    return state


def _validate(payload: bytes, state_type: type[StateT]) -> StateT:
    mended = mending.mend(payload) if mending.has_constants(payload) else None
    if mended is None:
        try:
            return state_type.model_validate_json(payload)
        except ValidationError:
            mended = mending.mend(payload) or mending.Mended(payload, ())
    try:
        return state_type.model_validate_json(mended.payload)
    except ValidationError as error:
        smaller = mended.without(*_misfits(error))
        if smaller is None:
            raise
        return state_type.model_validate_json(smaller)


def _misfits(error: ValidationError) -> tuple[list[mending.Steps], list[mending.Steps]]:
    """Return where the values are that do not fit, and which of them are a null for a float.

    pydantic writes a NaN as null, and then does not read it back. No float is declared in
    SessionState: only a field of a ``state_type`` can be one.
    """
    problems = error.errors(include_url=False, include_context=False)
    lost = [
        item["loc"] for item in problems if (item["type"], item["input"]) == ("float_type", None)
    ]
    return [item["loc"] for item in problems], lost


def brief(error: Exception) -> str:
    """Return the first complaint on one line, without input values: they may be secret."""
    if not isinstance(error, ValidationError):
        return printable(error)
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    first = problems[0]
    place = ".".join(str(step) for step in first["loc"])
    text = f"{place}: {first['msg']}" if place else first["msg"]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return printable(text) + more


def json_view(value: object) -> Any:
    """Return a model, dataclass or container as JSON to look at; NaN, which JSON lacks, as null."""
    if is_dataclass(value):
        # Some fields of a summary are made on the first look, by Python code. Where pydantic
        # looks, it takes an exception there, even a Ctrl-C, for a missing attribute.
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    try:
        return from_json(to_json(value, inf_nan_mode="null"))
    except PydanticSerializationError as error:  # the value of an enum is Python code
        if signalled := _raised_by_signal(error):
            raise signalled from error
        raise


def peek_revision(payload: bytes) -> int | None:
    """Return the revision in ``payload`` for a message, or None if it cannot be read."""
    try:
        state = mending.parse(payload)
    except ValueError:
        return None
    revision = state.get("revision", 0) if isinstance(state, dict) else None
    return revision if type(revision) is int else None
