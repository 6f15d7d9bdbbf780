"""Checkpoints, of this package and of the original framework: describe, order and restore them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import from_json, to_json

from sessionstore import clock
from sessionstore.errors import SessionCorrupt
from sessionstore.model import StateT, codec, mending
from sessionstore.model.ids import LAST_SAVE, parse_checkpoint_id
from sessionstore.model.state import SessionState
from sessionstore.model.stored import Stored

BEFORE_RESUME = "before_resume"
"""The type of what a resume from an older checkpoint goes back from."""
PAUSE = "pause"
EDIT = "edit"
STORE_OWN = frozenset({BEFORE_RESUME, LAST_SAVE})
"""The types that the store keeps by itself: they count as none of the application's."""
RESERVED = STORE_OWN | {EDIT}
"""The types of checkpoints that the store makes by its own rules."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A state that was kept, to resume from.

    Of a damaged checkpoint only ``checkpoint_id`` and ``damaged`` are known.

    Examples:
        >>> for kept in store.checkpoints("ticket-1"):
        ...     print(kept.checkpoint_type, kept.node, kept.revision)
        node_complete classify 2
        pause ask 3
    """

    checkpoint_id: str
    """The id, which names the file."""
    checkpoint_type: str = ""
    """Why it was kept, as in ``node_complete``, ``pause`` or ``before_resume``."""
    node: str | None = None
    """The node that it belongs to, or None."""
    revision: int | None = None
    """The revision of its state; None in a checkpoint of the original framework."""
    created_at: str = ""
    """ISO 8601 time at which the state was written."""
    damaged: str | None = None
    """Why it cannot be read, or None."""


class ForeignCheckpoint(BaseModel, extra="ignore"):
    """The part of a checkpoint file of the original framework that is restored."""

    checkpoint_id: str
    checkpoint_type: str = ""
    session_id: str | None = None
    created_at: str = ""
    current_node: str | None = None
    execution_path: list[str] = Field(default_factory=list)
    data_buffer: dict[str, Any] | None = None
    shared_memory: dict[str, Any] | None = None

    @property
    def data(self) -> dict[str, Any]:
        """The working data, under its new name or its old name."""
        if self.data_buffer is not None:
            return self.data_buffer
        return self.shared_memory or {}


def describe(session_id: str, checkpoint_id: str, stored: Stored) -> Checkpoint:
    """Return what the file of a checkpoint tells.

    Raises:
        SessionCorrupt: it is damaged, or belongs to another session.
    """
    foreign = _as_foreign(session_id, stored)
    if foreign is not None:
        return Checkpoint(
            checkpoint_id,
            checkpoint_type=foreign.checkpoint_type,
            node=foreign.current_node,
            created_at=foreign.created_at,
        )
    state = codec.decode(stored.payload, SessionState, session_id, stored.file)
    return of_state(checkpoint_id, state)


def of_state(checkpoint_id: str, state: SessionState) -> Checkpoint:
    """Return what is known of a checkpoint whose state was read."""
    name = parse_checkpoint_id(checkpoint_id)
    return Checkpoint(
        checkpoint_id,
        checkpoint_type=name.checkpoint_type if name else "",
        node=name.node if name and name.node else state.progress.current_node,
        revision=state.revision,
        created_at=state.timestamps.updated_at,
    )


def in_order(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Return the oldest first, by revision. Those without a revision come first, by time."""

    def age(item: Checkpoint) -> tuple[int, float, str]:
        moment = clock.parse(item.created_at)
        revision = item.revision
        if revision is None:
            name = parse_checkpoint_id(item.checkpoint_id)
            revision = name.revision if name else -1
        return revision, moment.timestamp() if moment else 0.0, item.checkpoint_id

    return sorted(checkpoints, key=age)


def newest_sound(checkpoints: Iterable[Checkpoint], *, whole: bool) -> Checkpoint | None:
    """Return the newest checkpoint that can be read; with ``whole`` one that holds a whole state.

    One of type before_resume holds what a resume went back from on purpose: it counts only
    where there is no other.
    """
    found = [
        item
        for item in checkpoints
        if item.damaged is None and (item.revision is not None or not whole)
    ]
    meant = [item for item in found if item.checkpoint_type != BEFORE_RESUME]
    return in_order(meant or found)[-1] if found else None


def load(current: StateT, stored: Stored, checkpoint_id: str) -> StateT:
    """Return the state that a checkpoint holds, with that checkpoint as its latest.

    A checkpoint of the original framework holds data_buffer, path and current_node only. All other
    fields are those of ``current``.

    Raises:
        SessionCorrupt: it is damaged, or belongs to another session.
        StateTypeMismatch: its state does not fit the type of ``current``.
    """
    kind, session_id = type(current), current.session_id
    foreign = _as_foreign(session_id, stored)
    if foreign is None:
        state = codec.decode(stored.payload, kind, session_id, stored.file)
    else:
        computed = set(kind.__pydantic_computed_fields__)
        raw = from_json(
            kind.__pydantic_serializer__.to_json(current, exclude=computed, warnings=False)
        )
        raw["data_buffer"] = foreign.data
        # It has no revision: every stored state counts as newer.
        raw["revision"], raw["incarnation"] = 0, None
        raw["progress"]["path"] = foreign.execution_path
        raw["progress"]["current_node"] = foreign.current_node
        state = codec.decode(to_json(raw), kind, session_id, stored.file)
    state.latest_checkpoint_id = checkpoint_id
    state.checkpoint_enabled = True
    return state


def _as_foreign(session_id: str, stored: Stored) -> ForeignCheckpoint | None:
    """Return the checkpoint if the original framework wrote it, else None."""
    try:
        raw = mending.parse(stored.payload)
    except ValueError:
        return None  # codec.decode says what is wrong
    if not isinstance(raw, dict) or "checkpoint_id" not in raw or "timestamps" in raw:
        return None
    try:
        foreign = ForeignCheckpoint.model_validate(raw)
    except ValidationError as error:
        raise SessionCorrupt(session_id, stored.file, codec.brief(error)) from None
    if foreign.session_id not in (None, session_id):
        raise SessionCorrupt(session_id, stored.file, "it is a checkpoint of another session")
    return foreign
