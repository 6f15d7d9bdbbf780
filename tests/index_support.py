"""What the tests of the index share: a scan to compare with, and processes that die on the way."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sessionstore import SessionState, SessionStore, SessionStoreError, SessionSummary, durable
from sessionstore.backends.files import FilesBackend, claim, lock
from sessionstore.backends.files.index import Index
from sessionstore.query import Filters, make_query
from tests import children

Store = SessionStore[SessionState]

QUERIES: list[dict[str, Any]] = [
    {},
    {"status": "paused"},
    {"status": ["failed", "completed", "active"]},
    {"goal_id": "g1"},
    {"goal_id": "g1", "status": "paused"},
    {"agent_id": "a1"},
    {"agent_id": ""},
    {"correlation_id": "c"},
    {"stream_id": "s"},
    {"resumable": True},
    {"resumable": False},
    {"stale": True},
    {"stale": False},
    {"interrupted": True},
    {"max_recoveries": 0},
    {"damaged": True},
    {"damaged": False},
    {"id_prefix": "s1"},
    {"since": "2026-01-02T00:00:00+00:00"},
    {"until": "2026-01-02T00:00:00+00:00"},
    {"started_since": "2026-01-02T00:00:00+00:00"},
    {"started_until": "2026-01-02T00:00:00+00:00", "resumable": True},
]
ORDERS = ("-updated_at", "updated_at", "-started_at", "started_at", "session_id", "-session_id")


def fill(root: Path, count: int = 8) -> None:
    """Make sessions of every kind."""
    with SessionStore(root, durability="process") as store:
        for number in range(count):
            session = store.create(f"g{number % 3}", session_id=f"s{number}", agent_id="a1")
            if number % 4 == 0:
                session.pause("ask")
            elif number % 4 == 1:
                session.complete({"n": number})
            elif number % 4 == 2:
                session.fail("oops")
            else:
                session.cancel()


def scanned(store: Store, filters: dict[str, Any], order: str) -> list[SessionSummary]:
    """Return what reading every file finds, without the index."""
    query = make_query(Filters(**filters), limit=None, cursor=None, order=order)  # type: ignore[typeddict-item]
    return list(store._backend.scan(query, store._examine))


def listed(store: Store, filters: dict[str, Any], order: str) -> list[SessionSummary]:
    """Return what the store finds, page by page."""
    found: list[SessionSummary] = []
    cursor = None
    while True:
        page = store.find(limit=3, cursor=cursor, order=order, **filters)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


def check_query(store: Store, number: int, *, counts: bool) -> None:
    """Fail unless a query finds, or counts, what a scan finds, in the same order."""
    filters, order = QUERIES[number], ORDERS[number % len(ORDERS)]
    expected = scanned(store, filters, order)
    if counts:
        assert store.count(**filters) == len(expected), filters
    else:
        assert listed(store, filters, order) == expected, (filters, order)


def assert_true(store: Store) -> None:
    """Fail unless every query finds and counts what a scan finds, in the same order."""
    for number in range(len(QUERIES)):
        check_query(store, number, counts=True)
        check_query(store, number, counts=False)


def index_files(root: Path) -> list[Path]:
    """Return the databases of the index."""
    return sorted(root.glob("index-*.sqlite"))


def orphans(root: Path) -> list[str]:
    """Return the logs of databases that are gone: what was removed was not removed whole."""
    databases = {file.name for file in index_files(root)}
    return [
        path.name
        for path in root.glob("index-*")
        if path.name.partition(".sqlite")[0] + ".sqlite" not in databases
    ]


def row(root: Path, session_id: str) -> dict[str, Any] | None:
    """Return what the index says of a session, read without the code under test."""
    (file,) = index_files(root)
    connection = sqlite3.connect(file)
    try:
        connection.row_factory = sqlite3.Row
        found = connection.execute("SELECT * FROM sessions WHERE id = ?", (session_id,)).fetchone()
        return dict(found) if found else None
    finally:
        connection.close()


# --- a process that dies on the way -------------------------------------------------------------

Point = tuple[Any, str]
POINTS: dict[str, Point] = {
    "the swap": (claim.FilesClaim, "_swap"),
    "the mark in the index": (Index, "mark_live"),
    "the row of a release": (Index, "settle"),
    "the lock's release": (lock.HeldLock, "close"),
    "a rename": (durable, "move_new"),
    "the record of a rename": (Index, "directory_identity"),
    "the unlock of a delete": (lock.HeldLock, "remove_file"),
    "nothing": (FilesBackend, "close"),
}


def reaper() -> None:
    """Be a process that forks on demand: the child does as it is told, and dies on the way."""
    for told in children.messages():
        pid = os.fork()
        if pid == 0:
            try:
                _arm(told["point"], told["when"])
                with suppress(SessionStoreError):
                    act(SessionStore(told["root"]), told["do"], told["session_id"], told["goal"])
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        children.say(died=os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL)


def _arm(point: str, when: str) -> None:
    owner, name = POINTS[point]
    real: Callable[..., Any] = getattr(owner, name)

    def deadly(*given: Any, **named: Any) -> Any:
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        real(*given, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, deadly)


def act(store: Store, action: str, session_id: str, goal: str) -> None:
    """Do one thing that an orchestrator does, from the claim to the release."""
    if action == "create":
        store.create(goal, session_id=session_id, agent_id="a1", stream_id="s").pause()
    elif action == "delete":
        store.delete(session_id)
    elif action == "recover":
        store.recover()
    elif action == "find":
        store.find(limit=None)
    elif action == "resume":
        store.resume(session_id, again=True).complete({"by": "resume"})
    else:
        session = store.claim(session_id)
        session.state.goal_id = goal
        session.state.correlation_id = "c"
        session.save()
        getattr(session, action)(*(["oops"] if action == "fail" else []))


ACTIONS = ("create", "delete", "recover", "find", "resume", "pause", "complete", "fail", "release")
