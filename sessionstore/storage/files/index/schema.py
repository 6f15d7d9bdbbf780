"""What the index keeps of a session, and how a query reads in SQL.

Values never become part of SQL text: they are bound. The names in it are our own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from sessionstore import clock
from sessionstore.durable.directory import Signature
from sessionstore.model.status import SessionStatus
from sessionstore.model.summary import SessionSummary

_REST_LIMIT = 8 * 1024
"""Bytes of a summary that are kept; of one with a longer text the file is read instead."""
_LARGEST = (1 << 63) - 1  # SQLite's integers


class Row(NamedTuple):
    """One session. Of a live one only ``id`` and ``live`` mean something."""

    id: str
    live: int
    """0 if the row is settled; else the mark of who made it live."""
    inode: int | None = None
    size: int | None = None
    mtime_ns: int | None = None
    status: str | None = None
    goal_id: str | None = None
    agent_id: str | None = None
    stream_id: str | None = None
    correlation_id: str | None = None
    forked_from: str | None = None
    updated: float | None = None
    """Seconds since the epoch; None where the text is no time."""
    started: float | None = None
    resumable: int | None = None
    interrupted: int | None = None
    recoveries: int | None = None
    rest: str | None = None
    """What a listing shows besides, as JSON; None if it was too long."""

    @property
    def signature(self) -> tuple[int | None, int | None, int | None]:
        """What the file looked like."""
        return self.inode, self.size, self.mtime_ns


COLUMNS = Row._fields
ALL = ", ".join(COLUMNS)

TABLES = (
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE sessions (
        id TEXT PRIMARY KEY, live INTEGER NOT NULL,
        inode INTEGER, size INTEGER, mtime_ns INTEGER,
        status TEXT, goal_id TEXT, agent_id TEXT, stream_id TEXT, correlation_id TEXT,
        forked_from TEXT, updated REAL, started REAL,
        resumable INTEGER, interrupted INTEGER, recoveries INTEGER, rest TEXT
    )""",
    "CREATE INDEX by_live ON sessions (live) WHERE live <> 0",
)

# Made once the first rows are in: sorting them all at once is faster than placing each.
INDEXES = tuple(
    f"CREATE INDEX IF NOT EXISTS {name} ON sessions {what}"
    for name, what in (
        ("by_updated", "(updated)"),
        ("by_started", "(started)"),
        ("by_status", "(status, updated)"),
        ("by_status_started", "(status, started)"),
        ("by_status_id", "(status, id)"),
        ("by_resumable", "(updated) WHERE resumable = 1"),
        ("by_resumable_started", "(started) WHERE resumable = 1"),
        ("by_interrupted", "(updated) WHERE interrupted = 1"),
        ("by_goal", "(goal_id, updated) WHERE goal_id <> ''"),
        ("by_agent", "(agent_id, updated) WHERE agent_id <> ''"),
        ("by_stream", "(stream_id, updated) WHERE stream_id <> ''"),
        ("by_correlation", "(correlation_id, updated) WHERE correlation_id <> ''"),
        ("by_parent", "(forked_from) WHERE forked_from <> ''"),
    )
)


# --- rows and summaries -------------------------------------------------------------------------


def signature_values(signature: Signature) -> tuple[int, int, int]:
    """Return ``signature`` as SQLite can keep it: some systems have inodes beyond 63 bits."""
    return signature.inode & _LARGEST, signature.size, signature.mtime_ns & _LARGEST


def settled_row(item: SessionSummary, signature: Signature) -> Row:
    """Return the row of a sound session whose file has ``signature``."""
    return make_row(
        item.session_id,
        signature,
        str(item.status),
        item.goal_id,
        item.agent_id,
        item.stream_id,
        item.correlation_id,
        item.forked_from,
        item.is_resumable,
        item.is_interrupted,
        item.entry_point,
        item.revision,
        item.incarnation,
        item.started_at,
        item.updated_at,
        item.completed_at,
        item.current_node,
        item.paused_at,
        item.steps_executed,
        item.error,
        item.latest_checkpoint_id,
        item.pid,
        item.recovery.model_dump() if item.recovery else None,
        item.owner.model_dump() if item.owner else None,
    )


@cache
def _to_json() -> Callable[..., bytes]:
    """Return pydantic_core's function: found once, and not before something is written."""
    from pydantic_core import to_json

    return to_json


def make_row(
    session_id: str,
    signature: Signature,
    status: str,
    goal_id: str,
    agent_id: str,
    stream_id: str,
    correlation_id: str,
    forked_from: str | None,
    is_resumable: bool,
    is_interrupted: bool,
    entry_point: str,
    revision: int,
    incarnation: str | None,
    started_at: str,
    updated_at: str,
    completed_at: str | None,
    current_node: str | None,
    paused_at: str | None,
    steps_executed: int,
    error: str | None,
    latest_checkpoint_id: str | None,
    pid: int | None,
    recovery: dict[str, Any] | None,
    owner: dict[str, Any] | None,
) -> Row:
    """Return the row of a sound session, from what a summary of it says.

    By position, as it is called a million times for a new index.
    """
    rest = _to_json()(
        [
            entry_point,
            revision,
            incarnation,
            started_at,
            updated_at,
            completed_at,
            current_node,
            paused_at,
            steps_executed,
            error,
            latest_checkpoint_id,
            pid,
            recovery,
            owner,
        ]
    )
    return Row(
        session_id,
        0,
        *signature_values(signature),
        status,
        goal_id,
        agent_id,
        stream_id,
        correlation_id,
        forked_from,
        clock.seconds(updated_at),
        clock.seconds(started_at),
        int(is_resumable),
        int(is_interrupted),
        min(recovery["count"], _LARGEST) if recovery else 0,
        rest.decode() if len(rest) <= _REST_LIMIT else None,
    )


def summary_of(row: Row) -> SessionSummary | None:
    """Return the summary that a settled row keeps, or None if it was too long for it."""
    if row.rest is None:
        return None
    *plain, recovery, owner = json.loads(row.rest)
    (
        entry_point,
        revision,
        incarnation,
        started_at,
        updated_at,
        completed_at,
        current_node,
        paused_at,
        steps_executed,
        error,
        latest_checkpoint_id,
        pid,
    ) = plain
    return SessionSummary(
        session_id=row.id,
        status=SessionStatus(row.status or ""),
        goal_id=row.goal_id or "",
        agent_id=row.agent_id or "",
        stream_id=row.stream_id or "",
        correlation_id=row.correlation_id or "",
        forked_from=row.forked_from,
        entry_point=entry_point,
        revision=revision,
        incarnation=incarnation,
        started_at=started_at,
        updated_at=updated_at,
        completed_at=completed_at,
        current_node=current_node,
        paused_at=paused_at,
        steps_executed=steps_executed,
        error=error,
        latest_checkpoint_id=latest_checkpoint_id,
        is_resumable=bool(row.resumable),
        is_interrupted=bool(row.interrupted),
        recovery=recovery,  # plain JSON, which becomes a model when it is asked for
        pid=pid,
        owner=owner,
    )


# --- queries ------------------------------------------------------------------------------------
