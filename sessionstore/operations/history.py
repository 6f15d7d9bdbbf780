"""The history of a session: its beginning, its checkpoints, and the stored state.

The names of checkpoints tell their type, node and revision, so that a history of very many costs
little more than their names. A file is read when somebody looks at what only it tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sessionstore.errors import (
    SessionCorrupt,
    SessionNotFound,
    SessionStoreError,
    StorageError,
)
from sessionstore.model import checkpoint, mending
from sessionstore.model.checkpoint import Checkpoint
from sessionstore.model.journal import last_numbers
from sessionstore.model.state import SessionState, SessionStatus
from sessionstore.operations.fork import Fork, to_fork
from sessionstore.operations.journal_counts import JournalCounts
from sessionstore.operations.step_counts import StepCounts
from sessionstore.session import inspect
from sessionstore.session.inspect import MISSING_CHECKPOINT, Resumability
from sessionstore.storage.backend import Backend


class HistoryEntryKind(StrEnum):
    """The kind of an entry."""

    CREATED = "created"
    """The session began."""
    CHECKPOINT = "checkpoint"
    """A checkpoint was kept."""
    PRESENT = "present"
    """The stored state."""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One entry of a history.

    ``at``, ``steps``, ``size``, ``journals``, ``damaged``, ``records`` and ``kept_steps`` of a
    checkpoint are read from its file when one of them is first looked at. They are empty if the
    checkpoint was removed meanwhile.
    """

    kind: HistoryEntryKind
    at: str = ""
    """ISO 8601; empty if unknown."""
    revision: int | None = None
    """None for a checkpoint of the original framework."""
    checkpoint_id: str | None = None
    checkpoint_type: str = ""
    node: str | None = None
    steps: int | None = None
    """Steps executed by then; nodes visited if the application counts no steps."""
    size: int | None = None
    """Of the stored state, in bytes."""
    journals: dict[str, int] = field(default_factory=dict)
    """The number of the last record that was in each journal for sure, by name."""
    status: SessionStatus | None = None
    """The present status; None for a checkpoint."""
    is_latest: bool = False
    """Whether a resume restores it."""
    damaged: str | None = None
    """Why it cannot be read, or None."""
    records: int | None = None
    """How many records of all journals counted then; None if unknown."""
    kept_steps: int | None = None
    """How many results of ``session.step`` were kept by then; None if unknown."""


@dataclass(frozen=True, slots=True)
class _Unread:
    """What tells the rest of a checkpoint's entry: its file, which is read on the first look."""

    backend: Backend
    session_id: str
    counts: JournalCounts
    step_counts: StepCounts

    def read(
        self, checkpoint_id: str
    ) -> tuple[str, int | None, int | None, dict[str, int], str | None, int | None, int | None]:
        """Return the time, steps, size, journals, damage, records and kept steps of it."""
        try:
            stored = self.backend.read_checkpoint(self.session_id, checkpoint_id)
            item = checkpoint.describe(self.session_id, checkpoint_id, stored)
            raw: Any = mending.parse(stored.payload)
            steps, journals = _progress(raw)
            counts = self.counts.at(raw), self.step_counts.at(raw)
            return item.created_at, steps, len(stored.payload), journals, None, *counts
        except (SessionCorrupt, SessionNotFound, StorageError) as error:
            if not self._is_there(checkpoint_id):
                return "", None, None, {}, None, None, None  # keep_checkpoints may have removed it
            reason = error.reason if isinstance(error, SessionCorrupt) else str(error)
            return "", None, None, {}, reason, None, None

    def _is_there(self, checkpoint_id: str) -> bool:
        try:
            return checkpoint_id in self.backend.checkpoint_ids(self.session_id)
        except SessionNotFound:
            return False
        except SessionStoreError:
            return True


def _make_lazy(*names: str) -> None:
    """Let these fields of an entry be read from the checkpoint's file on the first look at one."""
    slots: list[Any] = [HistoryEntry.__dict__[name] for name in names]

    def make(slot: Any) -> property:
        def look(entry: HistoryEntry) -> Any:
            value = slot.__get__(entry)
            if type(value) is _Unread:
                assert entry.checkpoint_id is not None
                for each, found in zip(slots, value.read(entry.checkpoint_id), strict=True):
                    each.__set__(entry, found)
                value = slot.__get__(entry)
            return value

        return property(look, slot.__set__)

    for name, slot in zip(names, slots, strict=True):
        setattr(HistoryEntry, name, make(slot))


_make_lazy("at", "steps", "size", "journals", "damaged", "records", "kept_steps")


@dataclass(frozen=True, slots=True)
class History:
    """The entries of a session's history, oldest first."""

    session_id: str
    moments: Sequence[HistoryEntry]
    forked_from: Fork | None = None
    """Where the session began, if it is a fork."""
    older: int = 0
    """How many older checkpoints were left out, as ``limit`` says."""

    def __len__(self) -> int:
        return len(self.moments)

    def __iter__(self) -> Iterator[HistoryEntry]:
        return iter(self.moments)

    @property
    def shows_damage(self) -> bool:
        """Whether the state or a checkpoint cannot be read. Reads every checkpoint in it."""
        return any(moment.damaged is not None for moment in self.moments)


def history(
    backend: Backend,
    session_id: str,
    limit: int | None = None,
    step_counts: StepCounts | None = None,
) -> History:
    """Return the history of a session, damage included, with its newest ``limit`` checkpoints.

    ``step_counts`` are those of the same session from an earlier look, which go on from there.
    """
    older = 0
    counts = JournalCounts(backend, session_id)
    step_counts = step_counts or StepCounts(backend, session_id)
    state: SessionState | None = None
    try:
        state, stored = inspect.read_base(backend, session_id)
    except SessionCorrupt as error:
        present = HistoryEntry(HistoryEntryKind.PRESENT, damaged=error.reason)
    else:
        present = _present(state, len(stored.payload), counts.now(state), step_counts.now(state))
    moments: list[HistoryEntry] = [] if state is None else [_created(state)]
    latest = None if state is None else Resumability.named(state).checkpoint_id
    try:
        kept = inspect.name_checkpoints(backend, session_id)
    except SessionCorrupt as error:  # checkpoints/ is no directory
        moments.append(HistoryEntry(HistoryEntryKind.CHECKPOINT, damaged=error.reason))
    else:
        older = 0 if limit is None else max(0, len(kept) - limit)
        unread = _Unread(backend, session_id, counts, step_counts)
        moments += [_kept(unread, item, latest) for item in kept[older:]]
        if latest is not None and latest not in {item.checkpoint_id for item in kept}:
            moments.append(
                HistoryEntry(
                    HistoryEntryKind.CHECKPOINT,
                    checkpoint_id=latest,
                    is_latest=True,
                    damaged=MISSING_CHECKPOINT,
                )
            )
    moments.append(present)
    lineage = to_fork(session_id, state.forked_from) if state is not None else None
    return History(session_id, tuple(moments), lineage, older)


def _created(state: SessionState) -> HistoryEntry:
    return HistoryEntry(
        HistoryEntryKind.CREATED,
        at=state.timestamps.started_at,
        # A session of other software has no revision for its beginning.
        revision=None if state.incarnation is None else 1,
        node=state.entry_point or None,
        steps=0,
        records=0,
        kept_steps=0,
    )


def _present(
    state: SessionState, size: int, records: int | None, kept_steps: int | None
) -> HistoryEntry:
    progress = state.progress
    return HistoryEntry(
        HistoryEntryKind.PRESENT,
        at=state.timestamps.updated_at,
        revision=state.revision,
        node=progress.current_node or progress.paused_at,
        steps=progress.steps_executed or len(progress.path),
        size=size,
        journals=last_numbers(state.journals),
        status=state.status,
        records=records,
        kept_steps=kept_steps,
    )


def _kept(unread: Any, item: Checkpoint, latest: str | None) -> HistoryEntry:
    return HistoryEntry(
        HistoryEntryKind.CHECKPOINT,
        at=unread,
        revision=item.revision,
        checkpoint_id=item.checkpoint_id,
        checkpoint_type=item.checkpoint_type,
        node=item.node,
        steps=unread,
        size=unread,
        journals=unread,
        is_latest=item.checkpoint_id == latest,
        damaged=unread,
        records=unread,
        kept_steps=unread,
    )


def _progress(raw: Any) -> tuple[int | None, dict[str, int]]:
    """Return the steps and the journals that a checkpoint, which may be foreign, has counted."""
    is_ours = "checkpoint_id" not in raw
    return _steps(raw), last_numbers(raw.get("journals", {})) if is_ours else {}


def _steps(raw: dict[str, Any]) -> int | None:
    """Return the steps that the fields of a checkpoint count."""
    progress = raw.get("progress", raw)  # a foreign one has no parts
    if not isinstance(progress, dict):
        return None
    executed = progress.get("steps_executed")
    if type(executed) is int and executed:
        return executed
    path = progress.get("path", progress.get("execution_path"))
    return len(path) if isinstance(path, list) else None
