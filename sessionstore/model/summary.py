"""What a listing tells of a session, and a page of a listing.

This module loads no pydantic. An index keeps the two parts of a summary that are models as plain
JSON; they become models when somebody asks for them, which most listings never do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sessionstore import clock
from sessionstore.model.liveness import Liveness
from sessionstore.model.status import FINISHED, SessionStatus
from sessionstore.text import first_line

if TYPE_CHECKING:
    from sessionstore.model.state import SessionOwner, SessionRecovery, SessionState


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """One line of a listing.

    Of a damaged session only ``session_id`` and ``damaged`` are known; every other field has its
    default.

    Examples:
        >>> for item in store.find(status="paused"):
        ...     print(item.session_id, item.paused_at, item.is_resumable)
        ticket-1 ask True
    """

    session_id: str
    """The id of the session."""
    damaged: str | None = None
    """Why the state cannot be read, or None."""
    status: SessionStatus | None = None
    """The status that is stored; None where the session is damaged."""
    goal_id: str = ""
    """The goal that the session works for."""
    agent_id: str = ""
    """The agent that runs it."""
    stream_id: str = ""
    """The stream of events that it belongs to."""
    correlation_id: str = ""
    """An id that it shares with related sessions."""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Its labels: texts to find it by."""
    forked_from: str | None = None
    """The session that this one was forked from. ``forks`` tells which state was taken."""
    entry_point: str = ""
    """The node that the session started at."""
    revision: int = 0
    """How many times the state was written."""
    incarnation: str | None = None
    """A random name that changes when a session is deleted and created anew."""
    started_at: str = ""
    """ISO 8601 time of the first state."""
    updated_at: str = ""
    """ISO 8601 time of the last write of the state, or of the last append to a journal."""
    completed_at: str | None = None
    """ISO 8601 time of the end, or None."""
    current_node: str | None = None
    """The node that was at work when the state was written last."""
    paused_at: str | None = None
    """The node that the session is paused at, or None."""
    steps_executed: int = 0
    """How many steps were done."""
    error: str | None = None
    """The first line of the error that the session ended with, or None."""
    latest_checkpoint_id: str | None = None
    """The checkpoint that a resume takes unless it is told another."""
    is_resumable: bool = False
    """Whether there is a state to go on from: the latest checkpoint or, where there is none, the
    state that was saved last. Such a checkpoint is there; it also loads, if ``resumable`` was
    asked. What is COMPLETED or CANCELLED is resumed only with ``again=True``."""
    unresumable: str | None = None
    """Why the latest checkpoint cannot be resumed from, or None."""
    is_interrupted: bool = False
    """Whether the session was stopped without a verdict and nothing has run in it since."""
    recovery: SessionRecovery | None = None
    """How the session was last stopped without a verdict, or None."""
    pid: int | None = None
    """The process id that the state names. ``liveness`` tells whether that process lives."""
    owner: SessionOwner | None = None
    """The process that holds the session, or held it last."""
    liveness: Liveness | None = None
    """Whether the owner of an ACTIVE session lives; None for any other status."""
    unsettled_steps: tuple[str, ...] = ()
    """The steps that may run at most once, and that a death or a stop met at work: somebody has to
    say what came of them. Only ``find`` and ``iter_find`` look for them."""

    @property
    def is_stale(self) -> bool:
        """Whether the session is ACTIVE and its owner is dead."""
        return self.liveness is not None and self.liveness.is_dead

    @property
    def is_finished(self) -> bool:
        """Whether the session is COMPLETED or CANCELLED: only ``again=True`` resumes it."""
        return self.status in FINISHED

    @property
    def recoveries(self) -> int:
        """How many times a process died while it ran this session."""
        return self._count("count")

    @property
    def stops(self) -> int:
        """How many times a cancelled task, Ctrl-C or SystemExit stopped this session."""
        return self._count("stops")

    def _count(self, name: str) -> int:
        recovery: Any = _recovery_slot.__get__(self)
        found: int = recovery.get(name, 0) if type(recovery) is dict else getattr(recovery, name, 0)
        return found


_recovery_slot: Any = SessionSummary.__dict__["recovery"]
"""The recovery as it is kept: a count needs no model, which would load pydantic."""


def _make_lazy(name: str, model: str) -> None:
    """Let the field ``name`` of a summary take plain JSON, which the first look turns into a model.

    The field stays a field: it is compared, pickled and shown like the others.
    """
    slot: Any = SessionSummary.__dict__[name]

    def read(summary: SessionSummary) -> Any:
        value = slot.__get__(summary)
        if type(value) is dict:
            from sessionstore.model import state

            value = getattr(state, model).model_validate(value)
            slot.__set__(summary, value)
        return value

    setattr(SessionSummary, name, property(read, slot.__set__))


_make_lazy("recovery", "SessionRecovery")
_make_lazy("owner", "SessionOwner")


def parent_of(lineage: dict[str, Any] | None) -> str | None:
    """Return the session that ``forked_from`` of a state names, or None."""
    parent = lineage.get("session_id") if lineage else None
    return parent if isinstance(parent, str) else None


def later_of(updated_at: str, appended_at: str | None) -> str:
    """Return the time of the last write, or of the last append to a journal if that was later."""
    if appended_at is None:
        return updated_at
    updated, appended = clock.seconds(updated_at), clock.seconds(appended_at)
    # A session without a readable time is never old, whatever is appended to it.
    is_later = updated is not None and appended is not None and updated < appended
    return appended_at if is_later else updated_at


def summarize(state: SessionState, appended_at: str | None = None) -> SessionSummary:
    """Return the summary of ``state``, without what only the store knows.

    ``appended_at`` is the time of the last append to one of its journals, if there was one.
    """
    times, progress = state.timestamps, state.progress
    return SessionSummary(
        session_id=state.session_id,
        status=state.status,
        goal_id=state.goal_id,
        agent_id=state.agent_id,
        stream_id=state.stream_id,
        correlation_id=state.correlation_id,
        labels=dict(state.labels),
        forked_from=parent_of(state.forked_from),
        entry_point=state.entry_point,
        revision=state.revision,
        incarnation=state.incarnation,
        started_at=times.started_at,
        updated_at=later_of(times.updated_at, appended_at),
        completed_at=times.completed_at,
        current_node=progress.current_node,
        paused_at=progress.paused_at,
        steps_executed=progress.steps_executed,
        error=state.result.error and first_line(state.result.error),
        latest_checkpoint_id=state.latest_checkpoint_id if state.is_resumable else None,
        is_resumable=True,
        is_interrupted=state.is_interrupted,
        recovery=state.recovery,
        pid=state.pid,
        owner=state.owner,
    )


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the sessions that match, and where to go on.

    A page iterates over its items and has their number as its length.

    Examples:
        >>> page = store.find(limit=100)
        >>> ids = [item.session_id for item in page]
        >>> while page.next_cursor:
        ...     page = store.find(limit=100, cursor=page.next_cursor)
        ...     ids += [item.session_id for item in page]
    """

    items: Sequence[SessionSummary]
    """The sessions, in the order that was asked for."""
    next_cursor: str | None = None
    """Pass it as ``cursor=`` for the next page; None on the last one."""
    damaged: int = 0
    """How many damaged sessions were seen. No filter on their content can be decided."""

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[SessionSummary]:
        return iter(self.items)


class Matches(Iterator[SessionSummary]):
    """The sessions that match, in order, each looked at when it is asked for."""

    def __init__(self, items: Iterator[SessionSummary], damaged: int) -> None:
        self.items: Iterator[SessionSummary] = items
        self.damaged: int = damaged
        """How many damaged sessions were seen so far."""

    def __next__(self) -> SessionSummary:
        return next(self.items)
