"""What a listing tells of a session, and a page of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sessionstore.model.late import Late
from sessionstore.model.liveness import Liveness
from sessionstore.model.status import SessionStatus

if TYPE_CHECKING:  # a listing needs no pydantic as long as it shows nobody's owner record
    from sessionstore.model.state import SessionOwner, SessionRecovery, SessionState


@dataclass(frozen=True, slots=True)
class SessionSummary(Late):
    """One line of a listing. Of a damaged session only the id and ``damaged`` are known."""

    session_id: str
    damaged: str | None = None
    """Why the state cannot be read, or None."""
    status: SessionStatus | None = None
    goal_id: str = ""
    agent_id: str = ""
    stream_id: str = ""
    correlation_id: str = ""
    forked_from: str | None = None
    """The session that this one was forked from; ``forks`` tells which state of it."""
    entry_point: str = ""
    revision: int = 0
    incarnation: str | None = None
    started_at: str = ""
    updated_at: str = ""
    completed_at: str | None = None
    current_node: str | None = None
    paused_at: str | None = None
    steps_executed: int = 0
    error: str | None = None
    latest_checkpoint_id: str | None = None
    is_resumable: bool = False
    """Whether there is a checkpoint, and it was seen to load."""
    unresumable: str | None = None
    """Why the named checkpoint cannot be resumed from, or None."""
    is_interrupted: bool = False
    recovery: SessionRecovery | None = None
    pid: int | None = None
    owner: SessionOwner | None = None
    liveness: Liveness | None = None
    """Of an ACTIVE session; None for any other."""

    @property
    def is_stale(self) -> bool:
        """Whether the session is ACTIVE and its owner is dead."""
        return self.liveness is not None and self.liveness.is_dead

    @property
    def recoveries(self) -> int:
        """How many times a sweep has found this session left behind."""
        return self.recovery.count if self.recovery else 0


def parent_of(lineage: dict[str, Any] | None) -> str | None:
    """Return the session that ``forked_from`` of a state names, as far as it makes sense."""
    parent = lineage.get("session_id") if lineage else None
    return parent if isinstance(parent, str) else None


def summarize(state: SessionState) -> SessionSummary:
    """Return the summary of ``state``, without what only the store knows."""
    times, progress = state.timestamps, state.progress
    return SessionSummary(
        session_id=state.session_id,
        status=state.status,
        goal_id=state.goal_id,
        agent_id=state.agent_id,
        stream_id=state.stream_id,
        correlation_id=state.correlation_id,
        forked_from=parent_of(state.forked_from),
        entry_point=state.entry_point,
        revision=state.revision,
        incarnation=state.incarnation,
        started_at=times.started_at,
        updated_at=times.updated_at,
        completed_at=times.completed_at,
        current_node=progress.current_node,
        paused_at=progress.paused_at,
        steps_executed=progress.steps_executed,
        error=state.result.error,
        latest_checkpoint_id=state.latest_checkpoint_id,
        is_resumable=state.is_resumable,
        is_interrupted=state.is_interrupted,
        recovery=state.recovery,
        pid=state.pid,
        owner=state.owner,
    )


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the matches, and where to go on."""

    items: Sequence[SessionSummary]
    next_cursor: str | None = None
    """Pass it as ``cursor=`` for the next page; None on the last one."""
    damaged: int = 0
    """Damaged sessions that were seen, of which a filter cannot say whether they match."""

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Any:
        return iter(self.items)


class Matches(Iterator[SessionSummary]):
    """The sessions that match, in order, looked at one by one as they are asked for."""

    def __init__(self, items: Iterator[SessionSummary], damaged: int) -> None:
        self.items: Iterator[SessionSummary] = items
        self.damaged: int = damaged
        """Damaged sessions seen so far, of which a filter cannot say whether they match."""

    def __next__(self) -> SessionSummary:
        return next(self.items)
