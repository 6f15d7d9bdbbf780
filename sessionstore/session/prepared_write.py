"""One write of a claimed session: what it keeps, checked, serialised, and not stored yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic_core import from_json, to_json

from sessionstore import clock
from sessionstore.errors import CancellationRequested
from sessionstore.model.checkpoint import Checkpoint
from sessionstore.model.ids import LAST_SAVE, is_last_save, make_checkpoint_id
from sessionstore.model.state import SessionOwner, SessionState
from sessionstore.session.stamp import Change


@dataclass(frozen=True, slots=True)
class Keep:
    """What kind of checkpoint a write makes of its state."""

    checkpoint_type: str
    node: str | None = None
    replaces: str | None = None
    """The checkpoint that goes once this one is stored."""

    def checkpoint(self, revision: int, now: datetime) -> Checkpoint:
        """Return the checkpoint, under an id that no other has."""
        return Checkpoint(
            make_checkpoint_id(self.checkpoint_type, self.node, revision, now),
            checkpoint_type=self.checkpoint_type,
            node=self.node,
            revision=revision,
            created_at=clock.to_text(now),
        )


def last_save(state: SessionState) -> Keep | None:
    """Return how to keep a state as its last save; None if another checkpoint is its latest."""
    latest = state.latest_checkpoint_id if state.is_resumable else None
    return Keep(LAST_SAVE, replaces=latest) if latest is None or is_last_save(latest) else None


@dataclass(slots=True)
class PreparedWrite:
    """A write that was checked: nothing that happens to the state changes it any more."""

    payload: bytes
    revision: int
    changes: tuple[Change, ...]
    follows: str | None
    """The latest checkpoint that was stored when this was prepared."""
    latest: str | None
    """The latest checkpoint that this write stores."""
    checkpoint: Checkpoint | None = None
    """The checkpoint that holds this state, or None."""
    keeps: bool = False
    """Whether this write makes that checkpoint; else an earlier write has."""
    needs_flush: bool = False
    """Whether the journals have to be flushed before it: it says where they end."""
    replaces: str | None = None
    """The checkpoint that goes once this is stored."""
    saves_from: int = 0
    """What :meth:`follow` made of the field of that name."""
    ending: str | None = None
    """How the claim ends once this is stored, for whoever uses it afterwards; None: it goes on."""
    cancellable: bool = False
    """Whether a request to cancel refuses it: nobody has said that the session ends otherwise."""
    if_cancelled: Callable[[CancellationRequested], PreparedWrite] | None = None
    """Prepares what is stored instead if a request to cancel refuses it."""
    undo: Callable[[], None] | None = None
    """Takes back what the caller has set in the state for this write."""
    on_stored: Callable[[int], None] | None = None
    """Is called with the revision once this is stored, to log it."""

    def follow(self, revision: int, latest: str | None, now: datetime, state: SessionState) -> None:
        """Become ``revision``, after a state whose latest checkpoint is ``latest``.

        The writes that were queued before this one have failed, or have kept a checkpoint.
        """
        raw = from_json(self.payload)
        if self.keeps and revision != self.revision:
            assert self.checkpoint is not None
            kind, node = self.checkpoint.checkpoint_type, self.checkpoint.node
            self.latest = make_checkpoint_id(kind, node, revision, now)
            self.checkpoint = replace(self.checkpoint, checkpoint_id=self.latest, revision=revision)
        elif not self.keeps and self.latest == self.follows:
            self.latest = latest
        is_save = all(name != "saves_from" for _, name, _ in self.changes)
        self.saves_from = revision if self.keeps else state.saves_from + (not is_save)
        if self.latest != raw["latest_checkpoint_id"]:
            enabled = raw["checkpoint_enabled"] or self.latest is not None
            resumable = enabled and self.latest is not None
            raw |= {
                "latest_checkpoint_id": self.latest,
                "checkpoint_enabled": enabled,
                "is_resumable_from_checkpoint": resumable,
                "is_resumable": resumable,
            }
        raw["revision"], raw["saves_from"] = revision, self.saves_from
        self.revision = revision
        self.payload = to_json(raw)
        self.changes = tuple(
            (part, name, self._value_of(name, value)) for part, name, value in self.changes
        )

    def name_owner(self, owner: SessionOwner) -> None:
        """Store another owner record of the same claim, where one is stored at all."""
        raw = from_json(self.payload)
        if raw["owner"] is None:
            return
        self.payload = to_json(raw | {"owner": owner.model_dump()})
        self.changes = tuple(
            (part, name, owner if name == "owner" else value) for part, name, value in self.changes
        )

    def _value_of(self, name: str, value: object) -> object:
        """Return the value of a change that names the revision or the checkpoint."""
        if name in ("revision", "saves_from"):
            return getattr(self, name)
        return self.latest if name == "latest_checkpoint_id" else value
