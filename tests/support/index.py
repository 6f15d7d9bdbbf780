"""What the tests of the index share: a scan to compare with, and processes that die on the way."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sessionstore import (
    RetentionPolicy,
    SessionState,
    SessionStore,
    SessionStoreError,
    SessionSummary,
)
from sessionstore.durable import replace as durable
from sessionstore.model.query import Examine, Filters, SessionQuery, make_query
from sessionstore.model.summary import Matches
from sessionstore.operations.stats import StoreStats
from sessionstore.storage import scan
from sessionstore.storage.backend import Backend
from sessionstore.storage.files import FilesBackend, claim, lock
from sessionstore.storage.files.index import index, live_names
from sessionstore.storage.files.index.index import Index
from sessionstore.storage.values import CountsAndPages
from tests.support import children

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
    {"labels": {"user": "42"}},
    {"labels": {"user": "42", "goal": "g1"}},
    {"labels": {"goal": "g1"}, "status": ["paused", "failed"]},
    {"labels": {"user": "42"}, "goal_id": "g1"},
    {"labels": {"user": "42"}, "interrupted": True},
    {"labels": {"user": "theirs"}, "since": "2026-01-01T00:00:00+00:00"},
    {"labels": {"goal": "g1", "user": "42"}, "agent_id": "a1", "id_prefix": "s"},
]
LABELLED = [number for number, filters in enumerate(QUERIES) if "labels" in filters]
ORDERS = ("-updated_at", "updated_at", "-started_at", "started_at", "session_id", "-session_id")


def fill(root: Path, count: int = 8) -> None:
    """Make sessions of every kind."""
    with SessionStore(root, durability="process") as store:
        for number in range(count):
            session = store.create(
                f"g{number % 3}",
                session_id=f"s{number}",
                agent_id="a1",
                labels={"user": "42", "goal": f"g{number % 2}"} if number % 3 else {},
            )
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
    return list(scan.find(store._backend, query, store._examine(query)))


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
    return sorted(root.glob("index-*/rows.sqlite"))


def remove_index(root: Path) -> None:
    """Remove every index, as a person may."""
    for directory in root.glob("index-*"):
        (directory / "rows.sqlite").unlink(missing_ok=True)
        shutil.rmtree(directory)


def live(root: Path) -> set[str]:
    """Return the ids of the sessions that the index names as live."""
    (file,) = index_files(root)
    return {name.partition("+")[0] for name in os.listdir(file.parent / "live")}


def orphans(root: Path) -> list[str]:
    """Return what is left of an index: one that was removed, or made, was not so whole."""
    whole = {file.parent for file in index_files(root)}
    left = [*root.glob("index-*"), *root.glob("trash/index.*")]
    return [path.name for path in left if path not in whole]


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


# --- operations that ask the index --------------------------------------------------------------


class Scanned(FilesBackend):
    """The same store, but every question is answered by reading every session."""

    def find(self, query: SessionQuery, examine: Examine, *, verify: bool = False) -> Matches:
        return Backend.find(self, query, examine, verify=verify)

    def select(self, query: SessionQuery) -> Iterator[SessionSummary]:
        return Backend.select(self, query)

    def count_and_list(
        self, counted: Sequence[SessionQuery], listed: Sequence[SessionQuery]
    ) -> CountsAndPages:
        return Backend.count_and_list(self, counted, listed)


class JudgesAll(RetentionPolicy):
    """The same policy, but nothing is taken to stay, or to have nothing to lose, unjudged."""

    def only_before(self, now: datetime) -> float | None:
        del now
        return None

    def may_choose(self, checkpoint_ids: Sequence[str], latest: str | None) -> bool:
        del checkpoint_ids, latest
        return True


POLICIES: list[dict[str, Any]] = [
    {"older_than": timedelta(days=30)},
    {"older_than": timedelta(days=30), "keep_last": 1},
    {"older_than": 0, "keep_last": 2},
    {"older_than": 0, "statuses": ["paused", "cancelled"]},
    {"older_than": timedelta(days=30), "statuses": ["paused", "failed"], "keep_last": 1},
    {"keep_last": 1, "statuses": ["paused", "completed", "failed", "cancelled"]},
    {"max_total_size": 30_000, "keep_last": 1},
    {"older_than": timedelta(days=30), "max_total_size": 30_000, "keep_checkpoints": 1},
    {"keep_checkpoints": 1, "statuses": ["paused", "completed", "failed"]},
    {"older_than": timedelta(days=30), "keep_checkpoints": 1},
    {"checkpoints_older_than": 0},
]


def what_goes(store: Store, policy: RetentionPolicy) -> dict[str, Any]:
    """Return what a dry run says, but for words that tell the time."""
    report = store.prune(policy)
    told: dict[str, Any] = {
        outcome: [
            (item.session_id, item.status, item.updated_at, item.freed, item.checkpoints)
            for item in getattr(report, outcome)
        ]
        for outcome in ("sessions", "checkpoints", "spared", "damaged", "failed")
    }
    return told | {"total": report.total_bytes}


def counts(stats: StoreStats) -> dict[str, Any]:
    """Return what is counted whether sizes are measured or not."""
    return {
        "sessions": stats.sessions,
        "by_status": stats.by_status,
        "stale": stats.stale,
        "unknown": stats.unknown,
        "interrupted": stats.interrupted,
        "resumable": stats.resumable + stats.unresumable,
        "damaged": stats.damaged,
        "started": [(day.day, day.started) for day in stats.days],
        "oldest": stats.oldest_unfinished,
    }


def check_policy(store: Store, root: Path, number: int) -> None:
    """Fail unless a policy lets go what it does if every session is read and judged."""
    policy = POLICIES[number]
    judged = what_goes(SessionStore(Scanned(root)), JudgesAll(**policy))
    assert what_goes(store, RetentionPolicy(**policy)) == judged, policy


def check_stats(store: Store, root: Path) -> None:
    """Fail unless the counts are those of reading every session, measured or not."""
    scanned = SessionStore(Scanned(root)).stats()
    assert counts(store.stats(sizes=False)) == counts(scanned)
    assert replace(store.stats(), taken_at="") == replace(scanned, taken_at="")


def check_forks(store: Store, root: Path) -> None:
    """Fail unless each session has the forks that reading every session finds."""
    by_scan = SessionStore(Scanned(root))
    for session_id in [*by_scan._backend.ids(), "gone"]:
        assert store.forks(session_id) == by_scan.forks(session_id), session_id


OPERATIONS = range(2 + len(POLICIES))


def check_operation(store: Store, root: Path, number: int) -> None:
    """Fail unless an operation answers as if every session had been read."""
    if number == 0:
        check_stats(store, root)
    elif number == 1:
        check_forks(store, root)
    else:
        check_policy(store, root, number - 2)


def check_operations(store: Store, root: Path) -> None:
    """Fail unless all of them answer as if every session had been read."""
    for number in OPERATIONS:
        check_operation(store, root, number)


# --- a process that dies on the way -------------------------------------------------------------

Point = tuple[Any, str]
POINTS: dict[str, Point] = {
    "the swap": (claim.FilesClaim, "_swap"),
    "the name of a live session": (live_names, "add_to"),
    "the taking of a name": (live_names, "take"),
    "the rows of a fold": (index, "store"),
    "the removal of a name": (live_names, "drop"),
    "the fold of a release": (Index, "released"),
    "the lock's release": (lock.HeldLock, "close"),
    "a rename": (durable, "move_new"),
    "the record of a rename": (live_names, "_write"),
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
        labels = {"user": "42", "goal": goal}
        store.create(
            goal, session_id=session_id, agent_id="a1", stream_id="s", labels=labels
        ).pause()
    elif action == "delete":
        store.delete(session_id)
    elif action == "fork":
        store.fork("t" if session_id == "s1" else "s1", new_id=session_id)
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
        session.state.labels = {} if action == "fail" else {"goal": goal}
        session.save()
        getattr(session, action)(*(["oops"] if action == "fail" else []))


ACTIONS = (
    "create", "delete", "fork", "recover", "find",
    "resume", "pause", "complete", "fail", "release",
)  # fmt: skip
