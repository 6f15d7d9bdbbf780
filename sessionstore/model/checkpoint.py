"""Checkpoints: kept states, ours and those of the original framework, and how one is restored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import from_json, to_json

from sessionstore import clock
from sessionstore.errors import SessionCorrupt
from sessionstore.model import StateT, codec
from sessionstore.model.ids import parse_checkpoint_id
from sessionstore.model.state import SessionState
from sessionstore.model.stored import Stored

BEFORE_RESUME = "before_resume"
PAUSE = "pause"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A saved state that is kept. Of a damaged one only the id and ``damaged`` are certain."""

    checkpoint_id: str
    checkpoint_type: str = ""
    node: str | None = None
    revision: int | None = None
    """Of the state in it; None in checkpoints of the original framework."""
    created_at: str = ""
    damaged: str | None = None
    """Why it cannot be read, or None."""


class ForeignCheckpoint(BaseModel, extra="ignore"):
    """A checkpoint file of the original framework, as far as it is restored."""

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
        """The working data, under its new name or its old one."""
        if self.data_buffer is not None:
            return self.data_buffer
        return self.shared_memory or {}


def describe(session_id: str, checkpoint_id: str, stored: Stored) -> Checkpoint:
    """Return what the file tells of a checkpoint.

    Raises:
        SessionCorrupt: it is damaged, or of another session.
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
    name = parse_checkpoint_id(checkpoint_id)
    return Checkpoint(
        checkpoint_id,
        checkpoint_type=name.checkpoint_type if name else "",
        node=name.node if name and name.node else state.progress.current_node,
        revision=state.revision,
        created_at=state.timestamps.updated_at,
    )


def in_order(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Return them oldest first: by revision, those without one first, by their time."""

    def age(item: Checkpoint) -> tuple[int, float, str]:
        moment = clock.parse(item.created_at)
        revision = item.revision
        if revision is None:
            name = parse_checkpoint_id(item.checkpoint_id)
            revision = name.revision if name else -1
        return revision, moment.timestamp() if moment else 0.0, item.checkpoint_id

    return sorted(checkpoints, key=age)


def load(current: StateT, stored: Stored, checkpoint_id: str) -> StateT:
    """Return the state that a checkpoint holds, which names itself as the latest.

    One of the original framework holds only data_buffer, path and current_node: the rest is
    taken from ``current``.

    Raises:
        SessionCorrupt, StateTypeMismatch: it cannot be read as the type of ``current``.
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
        # It is no revision of ours: whatever is stored is newer.
        raw["revision"], raw["incarnation"] = 0, None
        raw["progress"]["path"] = foreign.execution_path
        raw["progress"]["current_node"] = foreign.current_node
        state = codec.decode(to_json(raw), kind, session_id, stored.file)
    state.latest_checkpoint_id = checkpoint_id
    state.checkpoint_enabled = True
    return state


def _as_foreign(session_id: str, stored: Stored) -> ForeignCheckpoint | None:
    """Return the checkpoint if the original framework wrote it; None if it is a state of ours."""
    try:
        raw = from_json(stored.payload)
    except ValueError:
        return None  # decoding it as a state says what is wrong
    if not isinstance(raw, dict) or "checkpoint_id" not in raw or "timestamps" in raw:
        return None
    try:
        foreign = ForeignCheckpoint.model_validate(raw)
    except ValidationError as error:
        raise SessionCorrupt(session_id, stored.file, codec.brief(error)) from None
    if foreign.session_id not in (None, session_id):
        raise SessionCorrupt(session_id, stored.file, "it is a checkpoint of another session")
    return foreign
