"""Tell that a stored state is sound, without pydantic, wherever that is certain.

A listing looks whether the checkpoint of each session loads, and shows nothing of it. What is said
here to be sound :func:`sessionstore.model.codec.decode` certainly accepts as a SessionState; of
anything else nothing is said: whoever asks decodes it. Nothing is converted, so ``"7"`` for a
number, which pydantic would take, is left to it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

from sessionstore.model.status import SessionStatus

_BRACKETS = 200
"""Objects and arrays of a state that cannot be nested too deep, however they are nested: it is as
many levels as pydantic_core reads. Most states have a few dozen of them."""

_LARGE = 256 * 1024
"""Bytes beyond which pydantic is so much faster that it pays to load it."""

_DIGITS = 4300
"""Of an integer that pydantic_core reads; Python reads as many unless it is told otherwise."""

_TEXT, _NUMBER, _FLAG = frozenset({str}), frozenset({int}), frozenset({bool})
_TEXT_OR_NONE = _TEXT | {type(None)}
_NUMBER_OR_NONE = _NUMBER | {type(None)}
_OBJECT = frozenset({dict})


class Items(NamedTuple):
    """The declaration of a list, or of an object, all of whose values are of one type."""

    kind: Any
    of: type


class Declared(NamedTuple):
    """The declaration of an object with fields of its own; what else is in it may be anything."""

    fields: dict[str, Declaration]
    required: frozenset[str] = frozenset()
    may_be_none: bool = False


Declaration = frozenset[type] | Items | Declared

_TEXTS, _COUNTS = Items(list, str), Items(dict, int)
_OWNER = Declared(
    {
        "host": _TEXT_OR_NONE,
        "boot_id": _TEXT_OR_NONE,
        "pid": _NUMBER_OR_NONE,
        "start_token": _TEXT_OR_NONE,
        "pidfd_inode": _NUMBER_OR_NONE,
        "pid_namespace": _TEXT_OR_NONE,
        "token": _TEXT_OR_NONE,
        "command": _TEXT_OR_NONE,
        "claimed_at": _TEXT_OR_NONE,
    },
    may_be_none=True,
)
STATE = Declared(
    {
        "schema_version": _TEXT,
        "session_id": _TEXT,
        "stream_id": _TEXT,
        "correlation_id": _TEXT,
        "status": _TEXT,
        "goal_id": _TEXT,
        "agent_id": _TEXT,
        "entry_point": _TEXT,
        "timestamps": Declared(
            {
                "started_at": _TEXT,
                "updated_at": _TEXT,
                "completed_at": _TEXT_OR_NONE,
                "paused_at_time": _TEXT_OR_NONE,
            },
            required=frozenset({"started_at", "updated_at"}),
        ),
        "progress": Declared(
            {
                "current_node": _TEXT_OR_NONE,
                "paused_at": _TEXT_OR_NONE,
                "resume_from": _TEXT_OR_NONE,
                "steps_executed": _NUMBER,
                "total_tokens": _NUMBER,
                "total_latency_ms": _NUMBER,
                "path": _TEXTS,
                "total_retries": _NUMBER,
                "nodes_with_failures": _TEXTS,
                "retry_details": _COUNTS,
                "had_partial_failures": _FLAG,
                "execution_quality": _TEXT,
                "node_visit_counts": _COUNTS,
            }
        ),
        "result": Declared(
            {"success": _FLAG | {type(None)}, "error": _TEXT_OR_NONE, "output": _OBJECT}
        ),
        "data_buffer": _OBJECT,
        "metrics": Declared(
            {
                "decision_count": _NUMBER,
                "problem_count": _NUMBER,
                "total_input_tokens": _NUMBER,
                "total_output_tokens": _NUMBER,
                "nodes_executed": _TEXTS,
                "edges_traversed": _TEXTS,
            }
        ),
        "problems": Items(list, dict),
        "decisions": Items(list, dict),
        "input_data": _OBJECT,
        "current_run_id": _TEXT_OR_NONE,
        "pid": _NUMBER_OR_NONE,
        "isolation_level": _TEXT,
        "checkpoint_enabled": _FLAG,
        "latest_checkpoint_id": _TEXT_OR_NONE,
        "active_triggers": _TEXTS,
        "trigger_tasks": Items(dict, str),
        "worker_configured": _FLAG,
        "revision": _NUMBER,
        "incarnation": _TEXT_OR_NONE,
        "owner": _OWNER,
        "recovery": Declared(
            {"count": _NUMBER, "at": _TEXT, "reason": _TEXT, "owner": _OWNER}, may_be_none=True
        ),
        "forked_from": _OBJECT | {type(None)},
    },
    required=frozenset({"session_id", "goal_id", "timestamps"}),
)
"""What SessionState declares; a test compares the two."""


def is_certainly_sound(payload: bytes, session_id: str) -> bool:
    """Return whether these bytes certainly are a state of this session. False: decode them."""
    if len(payload) > _LARGE:
        return False
    try:
        text = payload.decode()
        if (
            text.count("{") + text.count("[") > _BRACKETS
            or "\\ud" in text  # the escape of a surrogate, which may be a lone one
            or "\\uD" in text
            or not 0 < sys.get_int_max_str_digits() <= _DIGITS
        ):
            return False
        # Of keys that are there more than once both take the last.
        state = _parse(text)
    except ValueError:
        return False
    return (
        type(state) is dict
        and state.get("session_id") == session_id
        and state.get("status", SessionStatus.ACTIVE) in _STATUSES
        and "memory" not in state  # the old name of data_buffer
        and _fits(state, STATE)
    )


_STATUSES = tuple(map(str, SessionStatus))  # what is compared with them may be anything


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_parse = json.JSONDecoder(parse_constant=_refuse).decode


def _fits(value: Any, declared: Declared) -> bool:
    if type(value) is not dict:
        return value is None and declared.may_be_none
    if not declared.required <= value.keys():
        return False
    fields = declared.fields
    for name, item in value.items():
        field = fields.get(name)
        if type(field) is frozenset:
            if type(item) not in field:
                return False
        elif isinstance(field, Items):
            if type(item) is not field.kind:
                return False
            inside: Iterable[Any] = item.values() if field.kind is dict else item
            if inside and not all(type(one) is field.of for one in inside):
                return False
        elif isinstance(field, Declared) and not _fits(item, field):
            return False
    return True
