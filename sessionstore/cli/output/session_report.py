"""Everything known of one session, damaged or not."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json

from sessionstore.cli.output import json
from sessionstore.cli.output.journals import JournalReport, read_journals
from sessionstore.errors import SessionCorrupt
from sessionstore.model.checkpoint import Checkpoint
from sessionstore.model.liveness import Liveness
from sessionstore.model.state import SessionState, SessionStatus
from sessionstore.session.inspect import Resumability
from sessionstore.storage.values import Usage
from sessionstore.store.store import SessionStore


@dataclass
class SessionReport:
    """Everything known of a session; of a damaged one, what can be read."""

    session_id: str
    damaged: str | None = None
    file: str | None = None
    """The damaged file."""
    state: SessionState | None = None
    liveness: Liveness | None = None
    checkpoints: list[Checkpoint] = field(default_factory=list)
    checkpoints_damaged: str | None = None
    """Why the checkpoints cannot be listed."""
    journals: list[JournalReport] = field(default_factory=list)
    usage: Usage | None = None
    at: str | None = None
    """The checkpoint that ``state`` was read from; None if it is the current one."""

    @property
    def is_stale(self) -> bool:
        """Whether the session is ACTIVE and its owner is dead."""
        active = self.state is not None and self.state.status is SessionStatus.ACTIVE
        return active and self.liveness is not None and self.liveness.is_dead

    @property
    def is_finished(self) -> bool:
        """Whether the session is COMPLETED or CANCELLED: only ``again=True`` resumes it."""
        return self.state is not None and self.state.status in (
            SessionStatus.COMPLETED,
            SessionStatus.CANCELLED,
        )

    @property
    def unresumable(self) -> str | None:
        """Why it cannot be resumed, or None if it can."""
        if self.state is None:
            return "its state is damaged"
        found = Resumability.among(self.state, self.checkpoints)
        if found.is_missing:
            return self.checkpoints_damaged or f"its checkpoint {found.checkpoint_id} is missing"
        return found.damage

    @property
    def _is_dangling(self) -> bool:
        if self.at is not None or self.state is None:
            return False
        return Resumability.among(self.state, self.checkpoints).is_missing

    @property
    def shows_damage(self) -> bool:
        """Whether the session or a checkpoint is damaged, or the latest checkpoint missing."""
        return (
            self.damaged is not None
            or self.checkpoints_damaged is not None
            or self._is_dangling
            or any(checkpoint.damaged is not None for checkpoint in self.checkpoints)
            or any(journal.damaged is not None for journal in self.journals)
        )

    def sizes(self) -> dict[str, int] | None:
        """Return the sizes of the state and its larger parts as JSON, in bytes."""
        if self.state is None:
            return None
        parts: dict[str, Any] = {
            "state": self.state,
            "data_buffer": self.state.data_buffer,
            "input_data": self.state.input_data,
            "output": self.state.result.output,
            "decisions": self.state.decisions,
            "problems": self.state.problems,
        }
        return {name: len(to_json(part, inf_nan_mode="null")) for name, part in parts.items()}

    def item(self) -> json.Item:
        """Return the report as plain JSON data."""
        return {
            "session_id": self.session_id,
            "damaged": self.damaged,
            "file": self.file,
            "state": json.view(self.state),
            "liveness": json.view(self.liveness),
            "is_stale": self.is_stale,
            "is_resumable": self.unresumable is None,
            "is_finished": self.is_finished,
            "unresumable": self.unresumable,
            "checkpoints": json.view(self.checkpoints),
            "checkpoints_damaged": self.checkpoints_damaged,
            "journals": json.view(self.journals),
            "sizes": self.sizes(),
            "usage": json.view(self.usage),
            "at": self.at,
        }


def read_report(
    store: SessionStore[SessionState], session_id: str, at: str | None = None
) -> SessionReport:
    """Return the report of a session, now or at a checkpoint; damage is part of it."""
    report = SessionReport(session_id, at=at)
    try:
        if at is None:
            report.state = store.load(session_id)
            report.liveness = store.liveness(session_id)
        else:
            report.state = store.load_checkpoint(session_id, at)
    except SessionCorrupt as error:
        report.damaged, report.file = error.reason, error.file
    try:
        report.checkpoints = store.checkpoints(session_id)
    except SessionCorrupt as error:
        report.checkpoints_damaged = error.reason
    report.journals = read_journals(store, session_id)
    with suppress(SessionCorrupt):
        report.usage = store.usage(session_id)
    return report
