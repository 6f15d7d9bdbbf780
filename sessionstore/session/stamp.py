"""What every write sets in a state, as changes that can be made, undone and made again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from sessionstore import clock
from sessionstore.model import codec
from sessionstore.model.state import (
    SCHEMA_VERSION,
    Part,
    SessionOwner,
    SessionProgress,
    SessionResult,
    SessionState,
    SessionStatus,
    SessionTimestamps,
)

Change = tuple[Part, str, Any]
"""A part of a state, the name of a field in it, and the new value."""

_CARRIED_OVER = (
    "latest_checkpoint_id", "checkpoint_enabled", "recovery", "forked_from", "journals", "rewinds",
    "steps_from", "saves_from",
)  # fmt: skip

PartT = TypeVar("PartT", bound=Part)


def stamps(
    state: SessionState,
    changes: Iterable[Change],
    *,
    owner: SessionOwner,
    incarnation: str | None,
    revision: int,
    now: str,
) -> list[Change]:
    """Return what the write of ``state`` with ``changes`` sets besides.

    Raises:
        NotStorable: the application replaced the timestamps by something else.
    """
    times = times_of(state)
    status, completed_at = state.status, times.completed_at
    for part, name, value in changes:
        if part is state and name == "status":
            status = value
        elif part is times and name == "completed_at":
            completed_at = value
    # ACTIVE on disk means: held, or its holder died. In any other status nobody is named.
    holder = owner if status is SessionStatus.ACTIVE else None
    stamped: list[Change] = [
        (state, "revision", revision),
        (state, "incarnation", incarnation),
        (state, "owner", holder),
        (state, "pid", holder.pid if holder else None),
        (times, "updated_at", now),
    ]
    if _is_older(state.schema_version):
        stamped.append((state, "schema_version", SCHEMA_VERSION))
    if completed_at is not None:
        # The original framework's duration raises on a mix of naive and aware times.
        for name, text in (("started_at", times.started_at), ("completed_at", completed_at)):
            if clock.is_naive(text) and (moment := clock.parse(text)):
                stamped.append((times, name, clock.to_text(moment)))
    return stamped


def by_store(state: SessionState) -> list[Change]:
    """Return the change of a write that is no save of the application: it is not counted as one.

    A write that makes a checkpoint sets another value: the saves after it are counted anew.
    """
    return [(state, "saves_from", state.saves_from + 1)]


def apply(changes: Iterable[Change], before: list[Change]) -> None:
    """Make the changes; add to ``before`` what was there, each before it is changed.

    They bypass pydantic's own assignment, which takes longer than the rest of a stamp.
    """
    for part, name, value in changes:
        before.append((part, name, part.__dict__.get(name)))
        part.__dict__[name] = value


def undo(before: list[Change]) -> None:
    """Set back what :func:`apply` found; an exception from outside lets it be done again."""
    for part, name, value in reversed(before):
        part.__dict__[name] = value
    before.clear()


def carry_over(old: SessionState, new: SessionState) -> None:
    """Give a new state what only the store knows, and labels, unless it was set on purpose."""
    for name in _CARRIED_OVER:
        if name not in new.model_fields_set:
            new.__dict__[name] = getattr(old, name)
    if "labels" not in new.model_fields_set and not new.labels:
        new.__dict__["labels"] = dict(old.labels)


def times_of(state: SessionState) -> SessionTimestamps:
    """Return the timestamps of a state.

    Raises:
        NotStorable: the application replaced them by something else.
    """
    return _checked(state, state.timestamps, SessionTimestamps)


def progress_of(state: SessionState) -> SessionProgress:
    """Return the progress of a state; raise NotStorable as for :func:`times_of`."""
    return _checked(state, state.progress, SessionProgress)


def result_of(state: SessionState) -> SessionResult:
    """Return the result of a state; raise NotStorable as for :func:`times_of`."""
    return _checked(state, state.result, SessionResult)


def _checked(state: SessionState, part: PartT, kind: type[Part]) -> PartT:
    if not isinstance(part, kind):
        codec.encode(state)  # raises NotStorable, with the path of the part
    return part


def _is_older(version: str) -> bool:
    if version == SCHEMA_VERSION:
        return False
    try:
        return tuple(map(int, version.split("."))) < tuple(map(int, SCHEMA_VERSION.split(".")))
    except (ValueError, AttributeError):
        return False
