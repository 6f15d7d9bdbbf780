"""Compare two states of a session: what was added, removed and changed, and where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sessionstore.errors import CheckpointNotFound, SessionCorrupt
from sessionstore.model import codec
from sessionstore.model.json_values import Unstorable
from sessionstore.model.state import SessionState
from sessionstore.operations import checkpoint_names
from sessionstore.operations.checkpoint_names import CURRENT
from sessionstore.session import inspect
from sessionstore.storage.backend import Backend

BOOKKEEPING = frozenset(
    [
        ("schema_version",),
        ("revision",),
        ("incarnation",),
        ("owner",),
        ("pid",),
        ("recovery",),
        ("checkpoint_enabled",),
        ("latest_checkpoint_id",),
        ("journals",),
        ("rewinds",),
        ("saves_from",),
        ("timestamps", "updated_at"),
        ("duration_ms",),
        ("is_resumable",),
        ("is_resumable_from_checkpoint",),
    ]
)
"""The fields that the store itself maintains: they differ between any two states."""


class DifferenceKind(StrEnum):
    """The kind of a difference."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that differs; values are plain JSON data."""

    kind: DifferenceKind
    path: str
    """The place in the state, such as ``data_buffer.fetch.scores[3]``."""
    before: Any = None
    """None also for an added value."""
    after: Any = None
    """None also for a removed value."""


@dataclass(frozen=True, slots=True)
class DiffSide:
    """One of the two states."""

    name: str
    """The id of a checkpoint, or ``current``."""
    revision: int | None = None
    at: str = ""


@dataclass(frozen=True, slots=True)
class StateDiff:
    """The differences of two states of a session; empty, and false, if they are equal."""

    session_id: str
    before: DiffSide
    after: DiffSide
    differences: Sequence[Difference]

    def __len__(self) -> int:
        return len(self.differences)

    def __iter__(self) -> Iterator[Difference]:
        return iter(self.differences)


def diff(
    backend: Backend, session_id: str, a: str | None, b: str | None, *, everything: bool
) -> StateDiff:
    """Return the differences between the states that ``a`` and ``b`` name."""
    before, old = _state(backend, session_id, _latest(backend, session_id) if a is None else a)
    after, new = _state(backend, session_id, CURRENT if b is None else b)
    if not everything:
        for side in (old, new):
            for path in BOOKKEEPING:
                _drop(side, path)
    return StateDiff(session_id, before, after, tuple(compare(old, new)))


def _latest(backend: Backend, session_id: str) -> str:
    state = inspect.read_base(backend, session_id)[0]
    wanted = "be compared with its checkpoint"
    return checkpoint_names.latest(backend, state, wanted=wanted, parameter="as a")


def _state(backend: Backend, session_id: str, named: str) -> tuple[DiffSide, dict[str, Any]]:
    current: SessionState | None = None
    try:
        current = inspect.read_base(backend, session_id)[0]
    except SessionCorrupt:
        if named == CURRENT:
            raise  # two checkpoints of a damaged session can still be compared
    if named == CURRENT:
        assert current is not None
        return _side(CURRENT, current)
    try:
        chosen = checkpoint_names.find_checkpoint(backend, session_id, named)
    except CheckpointNotFound:
        # Besides the checkpoints only the stored state can be named by its revision.
        if current is not None and checkpoint_names.revision_named(named) == current.revision:
            return _side(CURRENT, current)
        raise
    return _side(chosen, checkpoint_names.load(backend, session_id, chosen, current))


def _side(name: str, state: SessionState) -> tuple[DiffSide, dict[str, Any]]:
    raw: dict[str, Any] = codec.json_view(state)
    revision = None if state.incarnation is None and name != CURRENT else state.revision
    return DiffSide(name, revision, state.timestamps.updated_at), raw


def _drop(raw: dict[str, Any], path: tuple[str, ...]) -> None:
    *above, last = path
    for step in above:
        raw = raw.get(step, {})
    raw.pop(last, None)


def compare(old: Any, new: Any, *steps: str | int) -> Iterator[Difference]:
    """Yield the differences of two JSON values, in the order of the newer one."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key, value in new.items():
            if key in old:
                yield from compare(old[key], value, *steps, key)
            else:
                yield _added(value, *steps, key)
        for key, value in old.items():
            if key not in new:
                yield _removed(value, *steps, key)
    elif isinstance(old, list) and isinstance(new, list):
        yield from _compare_lists(old, new, *steps)
    elif type(old) is not type(new) or old != new:
        yield Difference(DifferenceKind.CHANGED, _path(steps), old, new)


def _compare_lists(old: list[Any], new: list[Any], *steps: str | int) -> Iterator[Difference]:
    """Compare item by item, without the common beginning and end.

    So a list that only grew, or lost its first items, shows just that.
    """
    shorter = min(len(old), len(new))
    head = 0
    while head < shorter and _same(old[head], new[head]):
        head += 1
    tail = 0
    while tail < shorter - head and _same(old[-1 - tail], new[-1 - tail]):
        tail += 1
    before, after = old[head : len(old) - tail], new[head : len(new) - tail]
    for place, (one, other) in enumerate(zip(before, after, strict=False), head):
        yield from compare(one, other, *steps, place)
    common = min(len(before), len(after))
    for place, value in enumerate(after[common:], head + common):
        yield _added(value, *steps, place)
    for place, value in enumerate(before[common:], head + common):
        yield _removed(value, *steps, place)


def _same(old: Any, new: Any) -> bool:
    """Return whether two values are equal, and of the same types: 1 is neither 1.0 nor True."""
    if type(old) is not type(new):
        return False
    if isinstance(old, dict):
        return old.keys() == new.keys() and all(_same(old[key], new[key]) for key in old)
    if isinstance(old, list):
        return len(old) == len(new) and all(map(_same, old, new))
    return bool(old == new)


def _added(value: Any, *steps: str | int) -> Difference:
    return Difference(DifferenceKind.ADDED, _path(steps), None, value)


def _removed(value: Any, *steps: str | int) -> Difference:
    return Difference(DifferenceKind.REMOVED, _path(steps), value, None)


def _path(steps: tuple[str | int, ...]) -> str:
    return Unstorable("", *steps).path  # the notation for places in a state
