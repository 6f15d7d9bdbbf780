"""What asks the index instead of the files answers as if it had read every file."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessionstore import (
    FilesBackend,
    MemoryBackend,
    RetentionPolicy,
    SessionState,
    SessionStore,
    SessionSummary,
)
from sessionstore.model.query import Filters, SessionQuery, make_query
from sessionstore.storage.backend import Backend
from sessionstore.storage.files.index import query_sql, schema
from sessionstore.storage.files.index.observation import SessionObserver
from tests.support.cli import GONE, invoke, put, state
from tests.support.index import (
    POLICIES,
    JudgesAll,
    Scanned,
    check_forks,
    check_operations,
    check_policy,
    check_stats,
    counts,
    fill,
    index_files,
)
from tests.support.processes import Child, edit_state, session_path, state_path

Store = SessionStore[SessionState]

NOW = datetime(2026, 3, 10, 0, 30, tzinfo=UTC)
DAY = timedelta(days=1)


def at(days_ago: float) -> dict[str, str]:
    text = (NOW - timedelta(days=days_ago)).isoformat()
    return {"started_at": text, "updated_at": text}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store of every kind of session, with an index."""
    fill(tmp_path)
    (tmp_path / "sessions").mkdir(exist_ok=True)
    put(tmp_path, "left", state("left", status="active", pid=GONE))
    put(tmp_path, "torn", "{")
    times = {"started_at": "whenever", "updated_at": "whenever"}
    put(tmp_path, "odd", state("odd", status="failed", timestamps=times))
    store = SessionStore(FilesBackend(tmp_path, durability="process"))
    store.fork("s0", new_id="fork")
    with store.create("g", session_id="kept") as session:
        for _ in range(2):
            session.checkpoint()
        session.complete()
    store.find()
    assert index_files(tmp_path)
    return store


# --- as if every session had been read ----------------------------------------------------------


def test_every_operation_answers_as_if_every_session_had_been_read(
    store: Store, tmp_path: Path
) -> None:
    check_operations(store, tmp_path)
    with store.claim("s1") as held, store.create("g", session_id="new"):
        held.state.goal_id = "moved"
        held.save()
        check_operations(store, tmp_path)
    store.delete("s2")
    store.recover()
    check_operations(store, tmp_path)


KINDS = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["active", "paused", "completed", "failed", "cancelled"]),
        # Some at one time, some around the border of a policy, some of no time at all.
        "updated": st.sampled_from(["", "whenever", 0, 29.99999, 30, 30.00001, 31, 31, 400, -1]),
        "is_damaged": st.sampled_from([False, False, False, True]),
        "parent": st.sampled_from([None, None, "s0", "s1", 7]),
    }
)
AGE_ALONE = st.fixed_dictionaries(
    {"older_than": st.sampled_from([0, 30 * DAY, 30 * DAY])},
    optional={"keep_last": st.integers(0, 4)},
)
LIMITS = AGE_ALONE | st.fixed_dictionaries(
    {},
    optional={
        "older_than": st.sampled_from([0, 30 * DAY, 1000 * DAY]),
        "keep_last": st.integers(0, 7),
        "max_total_size": st.sampled_from([0, 10_000, 30_000, 10**9]),
        "keep_checkpoints": st.integers(0, 2),
        "statuses": st.sampled_from([["paused"], ["failed", "completed"]]),
    },
).filter(lambda limits: bool(set(limits) - {"statuses"}))


def content(number: int, kind: dict[str, Any]) -> dict[str, Any] | str:
    if kind["is_damaged"]:
        return "{"
    updated = kind["updated"]
    known = isinstance(updated, (int, float))
    times = at(updated) if known else {"started_at": updated, "updated_at": updated}
    parent = None if kind["parent"] is None else {"session_id": kind["parent"], "at": str(number)}
    name = f"s{number}"
    return state(name, status=kind["status"], timestamps=times, forked_from=parent, pid=GONE)


@contextmanager
def made_of(root: Path, kinds: list[dict[str, Any]]) -> Iterator[Store]:
    """Give a store with these sessions and an index, and remove them afterwards."""
    try:
        with SessionStore(root) as maker:
            maker.create("g", session_id="first").complete()
            maker.delete("first")
        for number, kind in enumerate(kinds):
            put(root, f"s{number}", content(number, kind))
        with SessionStore(FilesBackend(root, clock=lambda: NOW), clock=lambda: NOW) as store:
            store.find()
            yield store
    finally:
        shutil.rmtree(root)


@settings(max_examples=60)
@given(kinds=st.lists(KINDS, max_size=9), limits=LIMITS)
def test_whatever_is_there_a_policy_lets_go_what_it_says(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[dict[str, Any]], limits: dict[str, Any]
) -> None:
    root = tmp_path_factory.mktemp("kinds") / "store"
    with made_of(root, kinds) as store:
        plain = SessionStore(Scanned(root, clock=lambda: NOW), clock=lambda: NOW)
        expected = plain.prune(JudgesAll(**limits))
        assert store.prune(RetentionPolicy(**limits)) == expected
        assert counts(store.stats(sizes=False)) == counts(plain.stats())
        check_forks(store, root)
    root.parent.rmdir()


@settings(max_examples=60)
@given(kinds=st.lists(KINDS, min_size=1, max_size=7), theirs=KINDS, limits=LIMITS, data=st.data())
def test_what_others_wrote_unnoticed_lets_nothing_go_that_is_to_stay(
    tmp_path_factory: pytest.TempPathFactory,
    kinds: list[dict[str, Any]],
    theirs: dict[str, Any],
    limits: dict[str, Any],
    data: st.DataObject,
) -> None:
    root = tmp_path_factory.mktemp("kinds") / "store"
    with made_of(root, kinds) as store:
        place = data.draw(st.integers(0, len(kinds) - 1))
        written = content(place, theirs)
        new = state_path(root, f"s{place}").with_name("theirs.tmp")
        new.write_text(written if isinstance(written, str) else json.dumps(written))
        new.replace(state_path(root, f"s{place}"))
        expected = SessionStore(Scanned(root, clock=lambda: NOW)).prune(JudgesAll(**limits))
        policy = RetentionPolicy(**limits)
        for report in (store.prune(policy), store.prune(policy)):
            assert set(report.sessions) <= set(expected.sessions)
            assert policy.max_total_size is None or report == expected
        store.find(verify=True)
        assert store.prune(policy) == expected
    root.parent.rmdir()


def test_the_newest_stay_and_the_old_go_though_only_the_old_are_judged(tmp_path: Path) -> None:
    kinds = [{"status": "completed", "updated": ago} for ago in (50, 40, 1)]
    both = {"is_damaged": False, "parent": None}
    with made_of(tmp_path / "store", [kind | both for kind in kinds]) as store:
        report = store.prune(RetentionPolicy(older_than=30 * DAY, keep_last=1))
        assert [item.session_id for item in report.sessions] == ["s0", "s1"]
        report = store.prune(RetentionPolicy(older_than=30 * DAY, keep_last=2))
        assert [item.session_id for item in report.sessions] == ["s0"]


def test_what_has_no_readable_time_is_among_the_newest(tmp_path: Path) -> None:
    kinds = [{"status": "completed", "updated": when} for when in ("whenever", 50, 40)]
    both = {"is_damaged": False, "parent": None}
    with made_of(tmp_path / "store", [kind | both for kind in kinds]) as store:
        report = store.prune(RetentionPolicy(older_than=30 * DAY, keep_last=2))
        assert [item.session_id for item in report.sessions] == ["s1"]


def test_what_others_wrote_makes_room_like_any_other(tmp_path: Path) -> None:
    kinds = [{"status": status, "updated": 50} for status in ("paused", "completed", "completed")]
    both = {"is_damaged": False, "parent": None}
    with made_of(tmp_path / "store", [kind | both for kind in kinds]) as store:
        edit_state(tmp_path / "store", "s0", status="completed", timestamps=at(60))
        size = sum(store.usage(f"s{number}").bytes for number in range(3))
        report = store.prune(RetentionPolicy(max_total_size=size - 1))
        assert [item.session_id for item in report.sessions] == ["s0"]


def test_measuring_notices_what_others_wrote(store: Store, tmp_path: Path) -> None:
    state_path(tmp_path, "s0").write_bytes(b"{")
    edit_state(tmp_path, "s1", status="cancelled")
    plain = SessionStore(Scanned(tmp_path)).stats()
    assert counts(store.stats()) == counts(plain)
    assert counts(store.stats(sizes=False)) == counts(plain), "the index has learnt nothing"


def test_without_an_index_every_operation_reads_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessionstore.durable.mounts.is_local", lambda _: (False, "nfs"))
    fill(tmp_path)
    put(tmp_path, "torn", "{")
    store = SessionStore(tmp_path)
    store.fork("s0", new_id="fork")
    check_operations(store, tmp_path)
    assert index_files(tmp_path) == []


def test_an_index_that_is_damaged_in_between_does_no_harm(store: Store, tmp_path: Path) -> None:
    for check in (check_stats, check_forks, lambda one, root: check_policy(one, root, 1)):
        for file in index_files(tmp_path):
            file.write_bytes(b"noise" * 1000)
        check(store, tmp_path)


@pytest.mark.parametrize("kind", ["files", "memory"])
def test_a_selection_is_what_a_listing_finds_without_a_look_at_owners(
    kind: str, tmp_path: Path
) -> None:
    backend: Backend = MemoryBackend() if kind == "memory" else FilesBackend(tmp_path)
    store = SessionStore(backend)
    for number in range(6):
        with store.create(f"g{number % 2}", session_id=f"s{number}") as session:
            session.pause() if number % 3 else session.complete()
    with store.create("g0", session_id="held"):
        query = SessionQuery(equal=(("goal_id", "g0"),))
        chosen = list(backend.select(query))
        assert sorted(item.session_id for item in chosen) == ["held", "s0", "s2", "s4"]
        assert all(item.liveness is None for item in chosen)
        counted, listed = backend.count_and_list(
            [SessionQuery(), query, SessionQuery(damaged=True)],
            [SessionQuery(order="-session_id", limit=2), query],
        )
        assert list(counted) == [7, 4, 0]
        assert [item.session_id for item in listed[0]] == ["s5", "s4"]
        assert len(listed[1]) == 4


# --- sessions that change meanwhile -------------------------------------------------------------


def test_who_is_resumed_while_sessions_are_judged_stays(tmp_path: Path) -> None:
    """The rows were read before: what is deleted was read after that, and again under its claim."""
    for number in range(200):
        put(tmp_path, f"s{number:03}", state(f"s{number:03}", status="paused", timestamps=at(50)))
    store = SessionStore(tmp_path)
    store.create("g", session_id="first").complete()
    store.delete("first")
    store.find()
    policy = RetentionPolicy(older_than=30 * DAY, keep_last=3, statuses=["paused"])
    touched: list[str] = []

    def touch(done: int, total: int) -> None:
        del total
        if done in (0, 70, 150, 220):
            name = f"s{len(touched) * 40:03}"
            touched.append(name)
            with store.claim(name) as session:
                session.state.goal_id = "alive"
                session.pause()

    report = store.prune(policy, apply=True, progress=touch)
    assert len(touched) == 4
    for name in touched:
        assert store.load(name).goal_id == "alive"
    left = {item.session_id for item in store.find(limit=None)}
    assert left == {f"s{number:03}" for number in range(200)} - {
        item.session_id for item in report.sessions
    }
    assert len(left) >= 3


def test_a_live_process_is_counted_as_it_is_while_it_saves(store: Store, tmp_path: Path) -> None:
    with Child("act", tmp_path) as other:
        other.hear()
        other.ask("create", session_id="running", checkpoint=True)
        for turn in range(3):
            other.ask("save", turn=turn)
            check_stats(store, tmp_path)
            for number in range(len(POLICIES)):
                check_policy(store, tmp_path, number)
        assert store.stats(sizes=False).by_status["active"] == 2


# --- how SQLite finds it ------------------------------------------------------------------------


def plan(order: str, **filters: Any) -> list[str]:
    """Return how SQLite goes about each part of a listing, and whether it has to sort."""
    connection = sqlite3.connect(":memory:")
    try:
        for sql in (*schema.TABLES, *schema.INDEXES):
            connection.execute(sql)
        query = make_query(Filters(**filters), limit=None, cursor=None, order=order)  # type: ignore[typeddict-item]
        found = []
        for stream in query_sql.streams(query):
            sql, values = stream.chunk(query, None, 64)
            steps = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)
            found.append("; ".join(step[3] for step in steps))
        return found
    finally:
        connection.close()


def test_a_page_of_one_status_costs_no_look_at_all_of_that_status() -> None:
    (by_id,) = plan("session_id", status="paused")
    assert by_id.endswith("USING INDEX by_status_id (status=?)"), "it sorts, for each page anew"
    known, unknown = plan("-updated_at", status="paused")
    assert "USING INDEX by_status (status=? AND updated>?)" in known
    assert "USING INDEX by_status (status=? AND updated=?)" in unknown
    known, unknown = plan("-started_at", status="paused", id_prefix="s")
    assert "USING INDEX by_status_started (status=? AND started>?)" in known
    assert "USING INDEX by_status_started (status=? AND started=?)" in unknown
    (of_a_goal,) = plan("session_id", status="paused", goal_id="g")
    assert "USING INDEX by_goal (goal_id=?)" in of_a_goal, "a goal has fewer than a status"


# --- what is read -------------------------------------------------------------------------------


@contextmanager
def reads() -> Iterator[list[str]]:
    """Give the ids of the sessions whose files were read."""
    seen: list[str] = []
    by_name, by_eyes = FilesBackend.read, SessionObserver.read

    def read(self: FilesBackend, session_id: str) -> Any:
        seen.append(session_id)
        return by_name(self, session_id)

    def look(self: SessionObserver, session_id: str, **given: Any) -> Any:
        seen.append(session_id)
        return by_eyes(self, session_id, **given)

    with (
        mock.patch.object(FilesBackend, "read", read),
        mock.patch.object(SessionObserver, "read", look),
    ):
        yield seen


def test_only_what_may_go_is_looked_at(tmp_path: Path) -> None:
    fill(tmp_path, 40)
    store = SessionStore(FilesBackend(tmp_path), clock=lambda: datetime.now(UTC) - 90 * DAY)
    store.create("g", session_id="old").complete()
    store.fork("s0", new_id="fork")
    store.find()
    measured: list[str] = []
    usage = FilesBackend.usage

    def measure(self: FilesBackend, session_id: str) -> Any:
        measured.append(session_id)
        return usage(self, session_id)

    with reads() as seen, mock.patch.object(FilesBackend, "usage", measure):
        steps: list[int] = []
        report = store.prune(
            RetentionPolicy(older_than=30 * DAY), progress=lambda done, _: steps.append(done)
        )
        assert [item.session_id for item in report.sessions] == ["old"]
        assert (seen, measured, max(steps)) == ([], ["old"], 2)
        assert store.stats(sizes=False).sessions == 42
        assert (seen, measured) == ([], ["old"])
        assert [item.session_id for item in store.forks("s0")] == ["fork"]
        assert set(seen) == {"s0", "fork"}


def test_checkpoints_are_read_only_where_some_may_go(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    for name, count in (("few", 2), ("many", 4)):
        with store.create("g", session_id=name) as session:
            for _ in range(count):
                session.checkpoint()
            session.complete()
    read: list[str] = []
    real = FilesBackend.read_checkpoint

    def reading(self: FilesBackend, session_id: str, checkpoint_id: str) -> Any:
        read.append(session_id)
        return real(self, session_id, checkpoint_id)

    with mock.patch.object(FilesBackend, "read_checkpoint", reading):
        (trimmed,) = store.prune(RetentionPolicy(keep_checkpoints=2)).checkpoints
    assert (trimmed.session_id, set(read)) == ("many", {"many"})


# --- counts first, sizes after ------------------------------------------------------------------


def test_the_counts_are_told_before_anything_is_measured(store: Store) -> None:
    told: list[Any] = []
    usage = FilesBackend.usage

    def measure(self: FilesBackend, session_id: str) -> Any:
        told.append(session_id)
        return usage(self, session_id)

    with mock.patch.object(FilesBackend, "usage", measure):
        found = store.stats(counted=told.append)
    first, *others = told
    assert counts(first) == counts(found)
    assert (first.bytes, len(others)) == (0, found.sessions)


def test_the_command_prints_the_counts_before_it_measures(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: FilesBackend, session_id: str) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(FilesBackend, "usage", interrupted)
    result = invoke(tmp_path, "stats")
    assert result.exit_code == 130
    assert "SESSIONS" in result.stdout
    assert "OLDEST UNFINISHED" in result.stdout
    assert "ON DISK" not in result.stdout
    assert invoke(tmp_path, "stats", "-o", "json").stdout == ""


def test_a_checkpoint_that_does_not_load_is_found_while_sizes_are_measured(
    tmp_path: Path,
) -> None:
    store = SessionStore(tmp_path)
    for name in ("good", "bad"):
        store.create("g", session_id=name).pause()
    (kept,) = (session_path(tmp_path, "bad") / "checkpoints").iterdir()
    kept.unlink()
    found = store.stats()
    assert (found.resumable, found.unresumable) == (1, 1)
    assert found.resumable == len(store.find(resumable=True))
    counted = store.stats(sizes=False)
    assert (counted.resumable, counted.unresumable) == (2, 0)
    said = invoke(tmp_path, "stats").stderr
    assert "1 session with a checkpoint that does not load: sessionstore fsck" in said
    assert json.loads(invoke(tmp_path, "stats", "-o", "json").stdout)["unresumable"] == 1


def test_a_fork_that_is_damaged_is_found_if_it_says_so(store: Store, tmp_path: Path) -> None:
    whole = json.loads(state_path(tmp_path, "fork").read_bytes())
    put(tmp_path, "bent", whole | {"session_id": "bent", "status": "no such status"})
    assert {item.session_id for item in store.find(damaged=True)} == {"bent", "torn"}
    assert sorted(item.session_id for item in store.forks("s0")) == ["bent", "fork"]
    check_forks(store, tmp_path)


def test_a_listing_tells_what_a_session_was_forked_from(store: Store) -> None:
    def parents(items: Any) -> dict[str, str | None]:
        return {item.session_id: item.forked_from for item in items if not item.damaged}

    found = parents(store.find(limit=None))
    assert (found["fork"], found["s0"]) == ("s0", None)
    scanned: list[SessionSummary] = list(Backend.select(store._backend, SessionQuery()))
    assert parents(scanned) == found
