"""Take from the bytes of a state what its row in the index says, and make no model of it.

Half the time, and a state of any size costs no more than its parsing: what a row does not tell is
checked, but not turned into objects. It never accepts what SessionState refuses; what is refused
here is read again by :mod:`sessionstore.model.codec`, which knows why.
"""

from __future__ import annotations

import types
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin

from pydantic import AliasChoices, AliasPath, ValidationError
from pydantic_core import SchemaValidator, core_schema

from sessionstore.durable.directory import Signature
from sessionstore.model.state import (
    Part,
    SessionOwner,
    SessionRecovery,
    SessionState,
    SessionStatus,
)
from sessionstore.model.summary import parent_of
from sessionstore.storage.files.index import schema as rows
from sessionstore.storage.files.index.schema import Row

_WHOLE = (SessionOwner, SessionRecovery)
"""What a row tells with all that somebody else added to it."""


def settled_row(payload: bytes, session_id: str, signature: Signature) -> Row | None:
    """Return the row of the session, whose lock is free; None: look at it closely."""
    try:
        state: dict[str, Any] = _validator().validate_json(payload)
    except ValidationError:
        return None
    status, owner, recovery = state["status"], state["owner"], state["recovery"]
    if state["session_id"] != session_id or (status == SessionStatus.ACTIVE and owner is None):
        return None
    times, progress, error = state["timestamps"], state["progress"], state["result"]["error"]
    checkpoint_id = state["latest_checkpoint_id"]
    return rows.make_row(
        session_id,
        signature,
        status,
        state["goal_id"],
        state["agent_id"],
        state["stream_id"],
        state["correlation_id"],
        parent_of(state["forked_from"]),
        state["checkpoint_enabled"] and checkpoint_id is not None,
        recovery is not None and status != SessionStatus.ACTIVE and error == recovery["reason"],
        state["entry_point"],
        state["revision"],
        state["incarnation"],
        times["started_at"],
        times["updated_at"],
        times["completed_at"],
        progress["current_node"],
        progress["paused_at"],
        progress["steps_executed"],
        error,
        checkpoint_id,
        state["pid"],
        recovery,
        owner,
    )


@cache
def _validator() -> SchemaValidator:
    return SchemaValidator(_part(SessionState))


def _part(kind: type[Part]) -> core_schema.CoreSchema:
    """Return what checks a part as its model does, and gives a plain dict."""
    fields: dict[str, core_schema.TypedDictField] = {}
    for name, field in kind.__pydantic_fields__.items():
        schema = _LINEAGE if name == "forked_from" else _schema(field.annotation)
        if not field.is_required():
            default = _default(field.get_default(call_default_factory=True))
            schema = core_schema.with_default_schema(schema, default=default)
        alias: Any = field.validation_alias
        if isinstance(alias, AliasChoices | AliasPath):
            alias = alias.convert_to_aliases()
        fields[name] = core_schema.typed_dict_field(
            schema, required=field.is_required(), validation_alias=alias
        )
    return core_schema.typed_dict_schema(
        fields, extra_behavior="allow" if kind in _WHOLE else "ignore"
    )


def _default(value: object) -> object:
    return value.model_dump() if isinstance(value, Part) else value


def _schema(annotation: Any) -> core_schema.CoreSchema:
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        (inner,) = (one for one in args if one is not type(None))
        return core_schema.nullable_schema(_schema(inner))
    if origin is list:
        return core_schema.list_schema(_schema(args[0]))
    if origin is dict:
        if args[1] is Any:  # an object it has to be; what is in it no row tells
            return core_schema.typed_dict_schema({}, extra_behavior="ignore")
        return core_schema.dict_schema(_schema(args[0]), _schema(args[1]))
    if issubclass(annotation, Enum):
        return core_schema.literal_schema([member.value for member in annotation])
    return _part(annotation)


_PLAIN: dict[Any, core_schema.CoreSchema] = {
    str: core_schema.str_schema(),
    int: core_schema.int_schema(),
    bool: core_schema.bool_schema(),
}
_LINEAGE = core_schema.nullable_schema(
    core_schema.typed_dict_schema(
        {"session_id": core_schema.typed_dict_field(core_schema.any_schema(), required=False)},
        extra_behavior="ignore",
    )
)
"""Of an object that may hold anything, what names the parent of a fork."""
