"""What a row keeps of a session: its file's signature, what filters ask, what a listing shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from sessionstore import clock
from sessionstore.durable.directory import Signature
from sessionstore.model.status import SessionStatus
from sessionstore.model.summary import SessionSummary, later_of, parent_of
from sessionstore.text import first_line

if TYPE_CHECKING:
    from sessionstore.model.state import SessionState

_SHOWN_LIMIT = 8 * 1024
"""Bytes of a summary that are kept; of one with a longer text the file is read instead."""
LARGEST = (1 << 63) - 1  # SQLite's integers


class Row(NamedTuple):
    """One session, as its file said."""

    id: str
    inode: int
    size: int
    mtime_ns: int
    status: str
    goal_id: str
    agent_id: str
    stream_id: str
    correlation_id: str
    forked_from: str | None
    updated: float | None
    """Seconds since the epoch; None where the text is no time."""
    started: float | None
    interrupted: int
    recoveries: int
    labels: str | None
    """As JSON; None if it has none. Table ``labels`` has them one by one."""
    shown: str | None
    """What a listing shows, as JSON; None if it was too long."""

    @property
    def signature(self) -> tuple[int, int, int]:
        """What the file looked like."""
        return self.inode, self.size, self.mtime_ns


COLUMNS = Row._fields

TABLES = (
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE sessions (
        id TEXT PRIMARY KEY, inode INTEGER, size INTEGER, mtime_ns INTEGER,
        status TEXT, goal_id TEXT, agent_id TEXT, stream_id TEXT, correlation_id TEXT,
        forked_from TEXT, updated REAL, started REAL,
        interrupted INTEGER, recoveries INTEGER, labels TEXT, shown TEXT
    )""",
    """CREATE TABLE labels (
        id TEXT, key TEXT, value TEXT, status TEXT, updated REAL, started REAL,
        PRIMARY KEY (id, key)
    ) WITHOUT ROWID""",
)

# Made once the first rows are in: sorting them all at once is faster than placing each.
INDEXES = tuple(
    f"CREATE INDEX IF NOT EXISTS {name} ON {what}"
    for name, what in (
        ("by_updated", "sessions (updated)"),
        ("by_started", "sessions (started)"),
        ("by_status", "sessions (status, updated)"),
        ("by_status_started", "sessions (status, started)"),
        ("by_status_id", "sessions (status, id)"),
        ("by_interrupted", "sessions (updated) WHERE interrupted = 1"),
        ("by_goal", "sessions (goal_id, updated) WHERE goal_id <> ''"),
        ("by_agent", "sessions (agent_id, updated) WHERE agent_id <> ''"),
        ("by_stream", "sessions (stream_id, updated) WHERE stream_id <> ''"),
        ("by_correlation", "sessions (correlation_id, updated) WHERE correlation_id <> ''"),
        ("by_parent", "sessions (forked_from) WHERE forked_from <> ''"),
        # SQLite adds the id to each: the rows of one status come in the order of the listing.
        ("by_label", "labels (key, value, status, updated)"),
        ("by_label_started", "labels (key, value, status, started)"),
        ("by_label_id", "labels (key, value, status)"),
    )
)

STORE = f"INSERT OR REPLACE INTO sessions VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 - only question marks
REMOVE = "DELETE FROM sessions WHERE id = ?"
STORE_LABEL = "INSERT INTO labels VALUES (?, ?, ?, ?, ?, ?)"
REMOVE_LABELS = "DELETE FROM labels WHERE id = ?"


def signature_values(signature: Signature) -> tuple[int, int, int]:
    """Return ``signature`` as SQLite can keep it: some systems have inodes beyond 63 bits."""
    return signature.inode & LARGEST, signature.size, signature.mtime_ns & LARGEST


# --- rows and summaries -------------------------------------------------------------------------


def row_of(state: SessionState, signature: Signature, appended_at: str | None = None) -> Row:
    """Return the row of a sound session whose file has ``signature``.

    ``appended_at`` is the time of the last append to one of its journals, if there was one.
    """
    status, times, progress = str(state.status), state.timestamps, state.progress
    parent, recovery, interrupted = (
        parent_of(state.forked_from),
        state.recovery,
        state.is_interrupted,
    )
    updated_at = later_of(times.updated_at, appended_at)
    latest = state.latest_checkpoint_id if state.is_resumable else None
    error = state.result.error
    shown = _to_json()(  # the fields of a summary, in their order, from the status on, no labels
        (
            status, state.goal_id, state.agent_id, state.stream_id, state.correlation_id, parent,
            state.entry_point, state.revision, state.incarnation, times.started_at,
            updated_at, times.completed_at, progress.current_node, progress.paused_at,
            progress.steps_executed, error and first_line(error), latest, True,
            None, interrupted, recovery, state.pid, state.owner,
        )
    )  # fmt: skip
    return Row(
        state.session_id,
        *signature_values(signature),
        status,
        state.goal_id,
        state.agent_id,
        state.stream_id,
        state.correlation_id,
        parent,
        clock.seconds(updated_at),
        clock.seconds(times.started_at),
        interrupted,
        min(recovery.count, LARGEST) if recovery else 0,
        _to_json()(state.labels).decode() if state.labels else None,
        shown.decode() if len(shown) <= _SHOWN_LIMIT else None,
    )


@cache
def _to_json() -> Callable[..., bytes]:
    """Return pydantic_core's function: found once, and not before something is written."""
    from pydantic_core import to_json

    return to_json


def summary_of(row: Row) -> SessionSummary | None:
    """Return the summary that a row keeps, or None if it was too long for it."""
    if row.shown is None:
        return None
    status, goal_id, agent_id, stream_id, correlation_id, *others = json.loads(row.shown)
    return SessionSummary(
        row.id,
        None,
        SessionStatus(status),
        goal_id,
        agent_id,
        stream_id,
        correlation_id,
        _labels_of(row),
        *others,
    )


def label_rows(rows: list[Row]) -> Iterator[tuple[str | float | None, ...]]:
    """Yield what the table of labels has of these sessions."""
    for row in rows:
        for key, value in _labels_of(row).items():
            yield row.id, key, value, row.status, row.updated, row.started


def _labels_of(row: Row) -> dict[str, str]:
    found: dict[str, str] = json.loads(row.labels) if row.labels else {}
    return found
