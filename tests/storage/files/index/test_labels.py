"""Labels in the index find what the files say, and a page costs no more than a page."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessionstore import SessionStore
from sessionstore.model.query import Filters, SessionQuery, make_query
from sessionstore.storage.files.index import lookup, query_sql, schema
from tests.support.cli import GONE, put, state
from tests.support.index import ORDERS, index_files, listed, scanned

KEYS = ["user", "env", "a b=c, d", "", "'; DROP TABLE labels; --"]
VALUES = ["1", "2", "", "ü\x00", "x" * 300]
LABELS = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=3)
TIMES = st.sampled_from(["", "soon", *(f"2026-01-0{day}T00:00:00Z" for day in range(1, 6))])
SESSIONS = st.lists(
    st.fixed_dictionaries(
        {
            "labels": LABELS,
            "status": st.sampled_from(["active", "paused", "completed", "failed"]),
            "goal_id": st.sampled_from(["g1", "g2"]),
            "timestamps": st.fixed_dictionaries({"started_at": TIMES, "updated_at": TIMES}),
            "is_interrupted": st.booleans(),
        }
    ),
    max_size=12,
)
QUERIES = st.fixed_dictionaries(
    {"labels": LABELS},
    optional={
        "status": st.sampled_from(["paused", ["failed", "active"], []]),
        "goal_id": st.just("g1"),
        "agent_id": st.just(""),
        "interrupted": st.booleans(),
        "max_recoveries": st.integers(0, 1),
        "unfinished": st.booleans(),
        "id_prefix": st.just("s1"),
        "since": st.just("2026-01-03T00:00:00Z"),
        "started_until": st.just("2026-01-04T00:00:00Z"),
    },
)


def write(root: Path, number: int, fields: dict[str, Any]) -> None:
    """Write a session as other software does."""
    given = dict(fields)
    if given.pop("is_interrupted"):
        given["result"] = {"error": "killed"}
        given["recovery"] = {"count": 1, "reason": "killed"}
    put(root, f"s{number}", state(f"s{number}", pid=GONE, **given))


@settings(database=None, deadline=None, max_examples=40)
@given(sessions=SESSIONS, queries=st.lists(QUERIES, min_size=1, max_size=6))
def test_labels_find_what_a_scan_finds_whichever_filter_leads(
    sessions: list[dict[str, Any]], queries: list[dict[str, Any]]
) -> None:
    root = Path(tempfile.mkdtemp(prefix="labels-"))
    try:
        with SessionStore(root, durability="process") as store:
            store.create("g", session_id="z", labels={"user": "1"}).complete()
            for number, fields in enumerate(sessions):
                write(root, number, fields)
            store.find()
            for filters, order in zip(queries, itertools.cycle(ORDERS), strict=False):
                expected = scanned(store, filters, order)
                assert listed(store, filters, order) == expected
                assert store.count(**filters) == len(expected)
                for lead in (None, *range(len(filters["labels"]))):
                    with mock.patch.object(lookup, "_lead", return_value=lead):
                        assert listed(store, filters, order) == expected
                        assert store.count(**filters) == len(expected)
    finally:
        shutil.rmtree(root)


def rows(root: Path) -> set[tuple[str, str, str]]:
    """Return what the table of labels holds, read without the code under test."""
    (file,) = index_files(root)
    connection = sqlite3.connect(file)
    try:
        return set(connection.execute("SELECT id, key, value FROM labels"))
    finally:
        connection.close()


def test_the_table_follows_every_change_and_removal(tmp_path: Path) -> None:
    store = SessionStore(tmp_path, durability="process")
    for name in ("a", "b", "c"):
        store.create("g", session_id=name, labels={"user": name, "all": "1"}).complete()
    assert store.count(labels={"all": "1"}) == 3
    with store.edit("a") as session:
        session.state.labels = {"user": "new"}
    with store.edit("b") as session:
        session.state.labels.clear()
    assert store.count(labels={"all": "1"}) == 1
    assert rows(tmp_path) == {("a", "user", "new"), ("c", "user", "c"), ("c", "all", "1")}
    store.delete("c")
    assert store.count(labels={"all": "1"}) == 0
    assert rows(tmp_path) == {("a", "user", "new")}
    shutil.rmtree(tmp_path / "sessions/a")  # by somebody else: everything is compared
    assert store.count(labels={"user": "new"}) == 0
    assert rows(tmp_path) == set()


def test_a_held_session_is_found_once_and_by_what_its_file_says(tmp_path: Path) -> None:
    store = SessionStore(tmp_path, durability="process")
    store.create("g", session_id="s", labels={"user": "1", "stage": "one"}).pause()

    def found(**labels: str) -> list[str]:
        ids = [item.session_id for item in store.find(labels=labels)]
        assert store.count(labels=labels) == len(ids)
        return ids

    assert found(user="1") == ["s"]
    assert rows(tmp_path) == {("s", "user", "1"), ("s", "stage", "one")}
    with store.claim("s") as session:
        session.state.labels["stage"] = "two"
        session.save()
        assert rows(tmp_path) == {("s", "user", "1"), ("s", "stage", "one")}
        assert (found(user="1"), found(stage="one"), found(stage="two")) == (["s"], [], ["s"])
    assert (found(user="1"), found(stage="one"), found(stage="two")) == (["s"], [], ["s"])


def test_a_status_that_changes_changes_with_its_labels(tmp_path: Path) -> None:
    store = SessionStore(tmp_path, durability="process")
    store.create("g", session_id="s", labels={"user": "1"}).pause()
    assert store.count(labels={"user": "1"}, status="paused") == 1
    store.resume("s").complete()
    assert store.count(labels={"user": "1"}, status="paused") == 0
    assert [item.session_id for item in store.find(labels={"user": "1"}, status="completed")] == [
        "s"
    ]


# --- what a page costs ----------------------------------------------------------------------------


@contextmanager
def filled(count: int) -> Iterator[sqlite3.Connection]:
    """Give a database of so many sessions. All have the label env, ten the label user."""
    connection = sqlite3.connect(":memory:")
    try:
        for sql in (*schema.TABLES, *schema.INDEXES):
            connection.execute(sql)
        statuses = ["active", "paused", "completed", "failed", "cancelled"]
        found = []
        for number in range(count):
            labels = (
                '{"env": "prod"}' if number % (count // 10) else '{"env": "prod", "user": "42"}'
            )
            found.append(
                schema.Row(
                    f"s{number:06}", number, 1, 1, statuses[number % 5],
                    "few" if number % (count // 10) == 1 else "g", "", "", "",
                    None, float(number), float(-number), 0, 0, labels, "{}",
                )
            )  # fmt: skip
        connection.executemany(schema.STORE, found)
        connection.executemany(schema.STORE_LABEL, schema.label_rows(found))
        yield connection
    finally:
        connection.close()


def steps(connection: sqlite3.Connection, query: SessionQuery, *, counted: bool) -> int:
    """Return in how many steps of SQLite's machine, in tens, a page of 20 is found."""
    taken = 0

    def step() -> int:
        nonlocal taken
        taken += 1
        return 0

    class Opened:
        def snapshot(self, asked: Any) -> list[list[Any]]:
            return [connection.execute(*each).fetchall() for each in asked]

    lead = lookup._lead(Opened(), query)  # type: ignore[arg-type]  # as much of it as is used
    connection.set_progress_handler(step, 10)
    try:
        if counted:
            connection.execute(*query_sql.count_sql(query, None, lead)).fetchall()
        else:
            for stream in query_sql.streams(query, lead):
                connection.execute(*stream.chunk(query, query.after, 20)).fetchall()
    finally:
        connection.set_progress_handler(None, 0)
    return taken


PAGES: list[dict[str, Any]] = [
    {"labels": {"env": "prod"}},
    {"labels": {"env": "prod"}, "status": "paused"},
    {"labels": {"env": "prod"}, "stale": True},
    {"labels": {"user": "42"}},
    {"labels": {"env": "prod", "user": "42"}},
    {"labels": {"user": "42", "env": "prod"}, "status": ["paused", "failed"]},
    {"labels": {"env": "prod"}, "goal_id": "few"},
    {"labels": {"env": "prod"}, "interrupted": True},
    {"labels": {"env": "prod"}, "since": "1970-01-01T00:05:00Z"},
]


@pytest.mark.parametrize("filters", PAGES)
def test_a_page_costs_the_same_among_many_sessions(filters: dict[str, Any]) -> None:
    with filled(1_000) as few, filled(30_000) as many:
        for order in ORDERS:
            if "since" in filters and not order.endswith("updated_at"):
                continue
            query = make_query(Filters(**filters), limit=20, cursor=None, order=order)  # type: ignore[typeddict-item]
            small, large = (steps(each, query, counted=False) for each in (few, many))
            assert large <= 2 * small + 50, (order, small, large)


FEW: list[dict[str, Any]] = [
    {"labels": {"user": "42"}},
    {"labels": {"env": "prod", "user": "42"}},
    {"labels": {"env": "prod"}, "goal_id": "few"},
    {"labels": {"env": "prod"}, "interrupted": True},
]


@pytest.mark.parametrize("filters", FEW)
def test_a_count_costs_what_its_rarest_filter_lets_pass(filters: dict[str, Any]) -> None:
    with filled(1_000) as few, filled(30_000) as many:
        query = make_query(Filters(**filters), limit=None, cursor=None, order="session_id")  # type: ignore[typeddict-item]
        small, large = (steps(each, query, counted=True) for each in (few, many))
        assert large <= 2 * small + 50


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("status", [None, "paused"])
def test_a_page_of_a_label_is_read_in_its_order_and_not_sorted(order: str, status: Any) -> None:
    with filled(10) as connection:
        for labels in ({"env": "prod"}, {"user": "42", "env": "prod"}):
            filters = Filters(labels=labels, status=status)
            query = make_query(filters, limit=None, cursor=None, order=order)
            for stream in query_sql.streams(query):
                for after in (None, (0, 5.0, "s5")):
                    sql, values = stream.chunk(query, after, 64)
                    told = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)
                    plan = "; ".join(step[3] for step in told)
                    index = {"d": "by_label_id"}.get(order[-1], "by_label")
                    assert f"SEARCH labels USING COVERING INDEX {index}" in plan
                    assert "(key=? AND value=? AND status=?" in plan
                    assert "TEMP B-TREE" not in plan
                    assert "SCAN" not in plan
