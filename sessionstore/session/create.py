"""Make the first state of a session, from a goal and fields or from a whole state."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypedDict

from pydantic import ValidationError

from sessionstore import clock
from sessionstore.errors import StateTypeMismatch
from sessionstore.model import StateT, codec, labels
from sessionstore.model.conversion import copied
from sessionstore.model.ids import check_id, make_session_id, random_hex
from sessionstore.model.state import SessionTimestamps
from sessionstore.text import class_name


class NewFields(TypedDict, total=False):
    """The fields of a new session that ``create_or_resume`` takes beside its id and goal."""

    agent_id: str
    """Which agent runs it."""
    entry_point: str
    """Where it begins; by default ``start``."""
    stream_id: str
    """Which execution stream created it."""
    correlation_id: str
    """Which other work it belongs to."""
    input_data: dict[str, Any] | None
    """The input, for debugging and replay."""
    labels: dict[str, str] | None
    """Texts to find it by: at most 64; keys as ids, values of up to 256 characters."""
    checkpoint_enabled: bool
    """Whether it is meant to be checkpointed; the first checkpoint sets this anyway."""


class NewSession(NewFields, total=False):
    """The fields of a new session that ``create`` takes beside its goal."""

    session_id: str | None
    """Any safe id; by default ``session_YYYYMMDD_HHMMSS_{8 hex}``."""


def first_state(
    state_type: type[StateT],
    goal_id: str | None,
    state: StateT | None,
    fields: NewSession,
    now: datetime,
) -> StateT:
    """Return the state that a new session begins with, under an incarnation of its own.

    What is given is copied, so that nothing changes it.

    Raises:
        TypeError: a field is none of :class:`NewSession`.
        StateTypeMismatch: it cannot be made from these arguments.
        InvalidSessionId: the id is not safe.
        NotStorable: a label is not allowed.
    """
    check_fields(fields)
    if state is None:
        state = _made(state_type, goal_id, fields, now)
    else:
        state = _copy_of(state_type, state, goal_id, fields)
    state.revision = state.saves_from = 0
    state.incarnation = random_hex(8)
    # Checkpoints belong to the session that they came from.
    state.latest_checkpoint_id = None
    return state


def check_fields(fields: NewFields) -> None:
    """Raise TypeError for a field that a new session does not have; name the nearest."""
    for name in fields:
        if name not in NewSession.__annotations__:
            raise TypeError(_no_such_parameter(name))


def _made(
    state_type: type[StateT], goal_id: str | None, fields: NewSession, now: datetime
) -> StateT:
    if goal_id is None:
        raise TypeError("create() needs a goal_id, or a whole state=")
    given: dict[str, Any] = {
        name: copied(value, deep=False) for name, value in fields.items() if value is not None
    }
    # 32 random bits within one second: a collision is refused, not overwritten.
    session_id = check_id(given.get("session_id", make_session_id(now)))
    labels.check(session_id, given.get("labels", {}), {})
    given["session_id"] = session_id
    text = clock.to_text(now)
    given["timestamps"] = SessionTimestamps(started_at=text, updated_at=text)
    try:
        return state_type(goal_id=goal_id, **given)
    except ValidationError as error:
        raise StateTypeMismatch(
            None,
            state_type.__name__,
            f"it cannot be made from these arguments ({codec.brief(error)})",
        ) from None


def _copy_of(
    state_type: type[StateT], state: StateT, goal_id: str | None, fields: NewSession
) -> StateT:
    if goal_id is not None or set(fields) - {"session_id"}:
        raise TypeError("create() takes a whole state=, or a goal_id and fields, not both")
    if type(state) is not state_type:
        reason = f"expected {class_name(state_type)}, got {class_name(type(state))}"
        raise StateTypeMismatch(None, state_type.__name__, reason)
    twin: StateT = copied(state, deep=True)
    if (session_id := fields.get("session_id")) is not None:
        twin.session_id = session_id
    check_id(twin.session_id)
    return twin


def _no_such_parameter(name: str) -> str:
    from difflib import get_close_matches

    known = ["goal_id", "state", "session_id", *NewFields.__annotations__]
    nearest = ["session_id"] if name == "id" else get_close_matches(name, known, n=1)
    if nearest:
        return f"create() has no {name!r}; did you mean {nearest[0]!r}?"
    return (
        f"create() has no {name!r}: it takes {', '.join(known)}. Put your own data into input_data,"
        " into state.data_buffer, or into a field of a state_type="
    )
