"""Listings and counts: filters, order, pages, sizes, and what is damaged."""

# ruff: noqa: D102
# The name of each test is the claim that it proves.

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from sessionstore.errors import InvalidQuery, SessionCorrupt, SessionNotFound
from sessionstore.model.liveness import Verdict
from sessionstore.model.query import Filters, SessionQuery, make_query
from sessionstore.model.state import SessionState
from sessionstore.model.summary import SessionSummary
from sessionstore.store.store import SessionStore
from sessionstore.testing.harness import BackendT, Harness, dead_owner, forget, stranger

Store = SessionStore[SessionState]

FOUND: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, "crashed done failed paused stale swept torn unknown"),
    ({"status": "paused"}, "paused"),
    ({"status": ["completed", "failed"]}, "crashed done failed swept"),
    ({"goal_id": "g1"}, "done paused"),
    ({"agent_id": "a1"}, "paused"),
    ({"stream_id": "s1"}, "done"),
    ({"correlation_id": "c1"}, "failed"),
    ({"labels": {}}, "crashed done failed paused stale swept torn unknown"),
    ({"labels": {"user": "42"}}, "done paused"),
    ({"labels": {"user": "42", "env": "test"}}, "paused"),
    ({"labels": {"user": "42", "env": "prod"}}, ""),
    ({"labels": {"user": "7", "env": "test"}}, ""),
    ({"labels": {"env": "42"}}, ""),
    ({"labels": {"user": "4"}}, ""),
    ({"labels": {"title": ""}}, "done"),
    ({"labels": {"user": "42"}, "status": "completed"}, "done"),
    ({"labels": {"user": "42"}, "goal_id": "g1", "agent_id": "a1"}, "paused"),
    ({"labels": {"user": "42"}, "interrupted": True}, ""),
    ({"labels": {"user": "7"}, "interrupted": True, "max_recoveries": 1}, "swept"),
    ({"labels": {"user": "42"}, "id_prefix": "p"}, "paused"),
    ({"labels": {"user": "7"}, "stale": True}, "stale"),
    (
        {"labels": {"user": "7"}, "resumable": True, "unfinished": True},
        "crashed stale swept unknown",
    ),
    ({"id_prefix": "s"}, "stale swept"),
    ({"resumable": True}, "crashed done failed paused stale swept unknown"),
    ({"unfinished": True}, "crashed failed paused stale swept unknown"),
    ({"unfinished": False}, "done"),
    ({"unfinished": True, "status": ["completed", "paused"]}, "paused"),
    ({"unfinished": True, "status": "completed"}, ""),
    ({"stale": True}, "stale"),
    ({"stale": False}, "crashed done failed paused swept unknown"),
    ({"interrupted": True}, "swept"),
    ({"interrupted": True, "max_recoveries": 0}, ""),
    ({"interrupted": True, "max_recoveries": 1}, "swept"),
    ({"max_recoveries": 0}, "done failed paused unknown"),
    ({"damaged": True}, "torn"),
    ({"damaged": False}, "crashed done failed paused stale swept unknown"),
    ({"status": "failed", "resumable": True, "interrupted": False}, "crashed failed"),
)
"""Filters, and the ids that they find among those of the fixture ``zoo``."""


class FindContract(Harness[BackendT]):
    """What is there is listed, once, and damage hides nothing."""

    @pytest.fixture
    def zoo(self, backend: BackendT, store: Store) -> Store:
        """Return the store with one session of each kind."""
        labels = {"user": "42"}
        store.create(
            "g1", session_id="paused", agent_id="a1", labels={**labels, "env": "test"}
        ).pause()
        store.create(
            "g1", session_id="done", stream_id="s1", labels={**labels, "title": ""}
        ).complete()
        store.create("g2", session_id="failed", correlation_id="c1").fail("no such city")
        for name in ("stale", "swept", "crashed", "unknown"):
            session = store.create("g3", session_id=name, labels={"user": "7"})
            session.checkpoint("step")
            self.abandon(backend, session)
            if name == "swept":
                store.recover()
            elif name == "crashed":
                store.recover()
                store.resume(name).fail("its own failure")
        # The sweeps above marked "stale" as well: it dies once more.
        self.abandon(backend, store.resume("stale"))
        self.rewrite(backend, "unknown", owner=None, pid=None)
        store.create("g3", session_id="torn").release()
        self.damage(backend, "torn")
        return store

    def test_a_filter_finds_what_it_says(self, zoo: Store) -> None:
        for filters, expected in FOUND:
            names = sorted(item.session_id for item in zoo.find(**filters))
            assert (filters, " ".join(names)) == (filters, expected)
            assert sorted(item.session_id for item in zoo.iter_find(**filters)) == names

    def test_damage_that_a_filter_cannot_judge_is_counted(self, zoo: Store) -> None:
        assert zoo.find(status="paused").damaged == 1
        page = zoo.find()
        assert page.damaged == 0
        (torn,) = [item for item in page if item.session_id == "torn"]
        assert torn.damaged
        assert not torn.is_resumable

    def test_a_listing_tells_who_lives(self, zoo: Store) -> None:
        session = zoo.create("g", session_id="running")
        verdicts = {item.session_id: item.liveness for item in zoo.find() if item.liveness}
        assert {name: seen.verdict for name, seen in verdicts.items()} == {
            "running": Verdict.ALIVE,
            "stale": Verdict.DEAD,
            "unknown": Verdict.UNKNOWN,
        }
        assert [item.session_id for item in zoo.find(stale=True)] == ["stale"]
        session.release()

    def test_a_session_is_idle_while_a_live_process_holds_it_and_writes_nothing(
        self, backend: BackendT
    ) -> None:
        now = datetime(2026, 1, 2, tzinfo=UTC)
        store = SessionStore(backend, clock=lambda: now)
        ids = ("idle", "saved", "appended", "stale", "unknown", "paused")
        made = {name: store.create("g", session_id=name) for name in ids}

        def found(idle: timedelta | float, **filters: Any) -> list[str]:
            items = store.find(idle=idle, order="session_id", **filters).items
            assert store.count(idle=idle, **filters) == len(items)
            assert list(store.iter_find(idle=idle, order="session_id", **filters)) == list(items)
            return [item.session_id for item in items]

        made["paused"].pause()
        self.abandon(backend, made["stale"])
        self.abandon(backend, made["unknown"], stranger())
        now += timedelta(minutes=10)
        made["saved"].save()
        made["appended"].journal().append("a record")
        assert found(timedelta(minutes=10)) == found(599.5) == ["idle"]
        assert found(600.5) == found(10**400) == found(600, status="paused") == []
        assert found(600, status="active", since=now - timedelta(minutes=11)) == ["idle"]
        assert found(1, until=now - timedelta(minutes=10)) == []
        # A clock that was set back makes no time negative.
        now -= timedelta(hours=1)
        assert found(0.001) == []
        assert found(0) == ["appended", "idle", "saved"]
        for name in ("idle", "saved", "appended"):
            made[name].complete()
        assert found(0) == []

    def test_what_the_states_say_is_selected_counted_and_listed(
        self, backend: BackendT, zoo: Store
    ) -> None:
        def read() -> dict[str, SessionSummary]:
            items = (backend.summary(session_id) for session_id in backend.ids())
            return {item.session_id: item for item in items if item is not None}

        with zoo.create("g3", session_id="held"):
            zoo.find()
            everything = read()
            for filters, _ in FOUND:
                query = make_query(
                    cast("Filters", filters), limit=2, cursor=None, order="-session_id"
                )
                expected = [
                    everything[name]
                    for name in sorted(everything, reverse=True)
                    if query.matches(everything[name])
                ]
                found = {item.session_id: item for item in backend.select(query)}
                assert found == {item.session_id: item for item in expected}, filters
                counts, (first, all_of_them) = backend.count_and_list(
                    [query, SessionQuery()], [query, replace(query, limit=None)]
                )
                assert list(counts) == [len(expected), len(everything)], filters
                assert list(first) == expected[:2], filters
                assert list(all_of_them) == expected, filters

    def test_a_session_is_found_by_the_labels_that_are_stored_held_or_not(
        self, store: Store
    ) -> None:
        def found(**labels: str) -> list[str]:
            items = store.find(labels=labels).items
            assert store.count(labels=labels) == len(items)
            assert all({**item.labels, **labels} == item.labels for item in items)
            return sorted(item.session_id for item in items)

        store.create("g", session_id="other", labels={"user": "42"}).complete()
        session = store.create("g", session_id="s", labels={"user": "42", "stage": "one"})
        assert found(user="42") == ["other", "s"]
        session.state.labels["stage"] = "two"
        assert found(stage="one") == ["s"]
        session.save()
        assert (found(stage="one"), found(stage="two")) == ([], ["s"])
        session.pause()
        assert (found(stage="one"), found(stage="two")) == ([], ["s"])
        with store.edit("s") as edited:
            del edited.state.labels["user"]
        assert (found(user="42"), found(stage="two")) == (["other"], ["s"])
        with store.edit("s") as edited:
            edited.state.labels.clear()
        assert found(stage="two") == []
        store.delete("other")
        assert found(user="42") == []

    def test_pages_of_a_label_neither_repeat_nor_skip(self, backend: BackendT) -> None:
        now = datetime(2026, 1, 2, tzinfo=UTC)
        store = SessionStore(backend, clock=lambda: now)
        for number in range(12):
            now += timedelta(seconds=number % 2)  # some at the same time
            session = store.create("g", session_id=f"s{number}", labels={"odd": str(number % 2)})
            session.complete() if number % 3 else session.pause()
        for order in ("updated_at", "-updated_at", "-started_at", "session_id", "-session_id"):
            every = store.find(order=order, limit=None)
            odd = [item.session_id for item in every if item.labels["odd"] == "1"]
            seen: list[str] = []
            cursor = None
            while cursor is not None or not seen:
                page = store.find(order=order, limit=2, cursor=cursor, labels={"odd": "1"})
                seen += [item.session_id for item in page]
                cursor = page.next_cursor
                if cursor is None:
                    break
            assert (order, seen) == (order, odd)

    def test_a_listing_changes_nothing(self, backend: BackendT, zoo: Store) -> None:
        before = {name: self.read_raw(backend, name) for name in backend.ids()}
        list(zoo.iter_find(resumable=True))
        zoo.find(stale=False)
        assert {name: self.read_raw(backend, name) for name in backend.ids()} == before

    def test_a_checkpoint_that_does_not_load_makes_nothing_resumable(
        self, backend: BackendT, store: Store
    ) -> None:
        missing = store.create("g", session_id="missing").pause()
        damaged = store.create("g", session_id="damaged").pause()
        self.remove_raw_checkpoint(backend, "missing", missing.checkpoint_id)
        self.write_raw_checkpoint(backend, "damaged", damaged.checkpoint_id, b"{")
        assert store.find(resumable=True).items == ()
        for item in store.find(resumable=False):
            assert item.is_resumable is False
            assert item.unresumable
            assert item.damaged is None
        # Who does not ask is told whether it is there.
        items = {item.session_id: item for item in store.find()}
        assert items["damaged"].is_resumable
        assert not items["missing"].is_resumable
        assert items["missing"].unresumable

    def test_pages_neither_repeat_nor_skip(self, backend: BackendT) -> None:
        now = datetime(2026, 1, 2, tzinfo=UTC)
        store = SessionStore(backend, clock=lambda: now)
        for number in range(7):
            now += timedelta(seconds=number % 2)  # some at the same time
            store.create("g", session_id=f"s{number}").release()
        for order in ("updated_at", "-updated_at", "-started_at", "session_id", "-session_id"):
            whole = [item.session_id for item in store.find(order=order, limit=None)]
            seen: list[str] = []
            cursor = None
            while True:
                page = store.find(order=order, limit=3, cursor=cursor)
                seen += [item.session_id for item in page]
                cursor = page.next_cursor
                if cursor is None:
                    break
            assert seen == whole
            assert sorted(seen) == [f"s{number}" for number in range(7)]
        times = [item.updated_at for item in store.find(order="-updated_at")]
        assert times == sorted(times, reverse=True)

    def test_a_range_takes_its_beginning_and_leaves_its_end(self, backend: BackendT) -> None:
        now = datetime(2026, 1, 2, tzinfo=UTC)
        store = SessionStore(backend, clock=lambda: now)
        for number in range(4):
            now = datetime(2026, 1, 2 + number, tzinfo=UTC)
            store.create("g", session_id=f"s{number}").release()
        found = store.find(
            since="2026-01-03T00:00:00+00:00", until=datetime(2026, 1, 5, tzinfo=UTC)
        )
        assert [item.session_id for item in found] == ["s2", "s1"]

    def test_a_question_that_makes_no_sense_is_refused(self, store: Store) -> None:
        questions: list[dict[str, Any]] = [
            {"status": "done"},
            {"order": "size"},
            {"limit": 0},
            {"cursor": "made up"},
            {"since": "yesterday"},
            {"owner": "me"},
            *({"idle": value} for value in (-1, float("nan"), "10m", True, timedelta(-1))),
            {"labels": "user=42"},
            {"labels": {"user": 42}},
            {"labels": {"user": "a\ud800"}},
            *({name: "a\ud800"} for name in ("goal_id", "agent_id", "stream_id", "id_prefix")),
        ]
        for question in questions:
            with pytest.raises(InvalidQuery):
                store.find(**question)
        with pytest.raises(InvalidQuery):
            store.count(goal_id="\udcff")

    def test_checkpoints_are_listed_in_the_order_of_their_making(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        made = [session.checkpoint("step", node=f"n{number}") for number in range(12)]
        made.append(session.pause(node="ask"))
        listed = self.other_store(backend).checkpoints("s")
        assert listed == made
        assert [item.revision for item in listed] == list(range(2, 15))
        assert listed[-1].checkpoint_type == "pause"

    def test_a_damaged_checkpoint_is_listed_as_such(self, backend: BackendT, store: Store) -> None:
        session = store.create("g", session_id="s")
        good, bad = session.checkpoint("step"), session.checkpoint("step")
        forget(session)
        self.write_raw_checkpoint(backend, "s", bad.checkpoint_id, b'{"session_id": "s"}')
        first, second = store.checkpoints("s")
        assert first == good
        assert second.checkpoint_id == bad.checkpoint_id
        assert second.damaged
        assert self.read_raw_checkpoint(backend, "s", bad.checkpoint_id) == b'{"session_id": "s"}'

    def test_an_empty_store_counts_nothing(self, store: Store) -> None:
        found = store.stats()
        assert (found.sessions, found.bytes, found.damaged) == (0, 0, 0)
        assert set(found.by_status.values()) == {0}
        assert (tuple(found.largest), tuple(found.oldest_unfinished)) == ((), ())
        assert [day.started for day in found.days] == [0] * 7

    def test_every_kind_of_session_is_counted_as_find_shows_it(
        self, backend: BackendT, store: Store
    ) -> None:
        for name, by in (("swept", dead_owner()), ("stale", dead_owner()), ("unknown", stranger())):
            session = store.create("g", session_id=name)
            if name == "stale":
                session.checkpoint("step")
            self.abandon(backend, session, by)
            if name == "swept":
                store.recover()
        store.create("g", session_id="paused").pause(node="ask")
        store.create("g", session_id="done").complete()
        store.create("g", session_id="torn").complete()
        self.damage(backend, "torn")
        with store.create("g", session_id="held") as session:
            found = store.stats()
            listed = store.find(limit=None).items
            session.complete()
        assert (found.sessions, found.damaged) == (7, 1)
        assert found.by_status == {
            "active": 3, "paused": 1, "completed": 1, "failed": 1, "cancelled": 0,
        }  # fmt: skip
        assert found.stale == sum(item.is_stale for item in listed) >= 1
        assert found.stale + found.unknown == 2  # whose lock proves what, depends on the place
        assert found.interrupted == sum(item.is_interrupted for item in listed) == 1
        unfinished = [item for item in listed if item.session_id not in ("done", "torn")]
        assert found.resumable == sum(item.is_resumable for item in unfinished) == 5
        names = [item.session_id for item in found.oldest_unfinished]
        assert set(names) >= {"held", "paused", "stale"}
        assert "done" not in names

    def test_sizes_add_up_to_what_each_session_takes(self, store: Store) -> None:
        for number in range(12):
            with store.create("g", session_id=f"s{number:02}") as session:
                session.state.data_buffer["bulk"] = "x" * (10_000 * number)
                session.checkpoint("step")
                session.complete()
        found = store.stats()
        used = {f"s{number:02}": store.usage(f"s{number:02}").bytes for number in range(12)}
        assert found.bytes == sum(used.values())
        assert found.checkpoints == 12
        assert [(item.session_id, item.bytes) for item in found.largest] == sorted(
            used.items(), key=lambda item: (item[1], item[0]), reverse=True
        )[:10]
        assert sum(day.bytes for day in found.days) == found.bytes
        counted = store.stats(sizes=False)
        assert (counted.sessions, counted.bytes, tuple(counted.largest)) == (12, 0, ())

    def test_progress_is_told_up_to_the_last_session(self, store: Store) -> None:
        for number in range(3):
            store.create("g", session_id=f"s{number}").complete()
        told: list[tuple[int, int]] = []
        store.stats(progress=lambda done, total: told.append((done, total)))
        assert told == [(1, 3), (2, 3), (3, 3)]

    def test_raw_bytes_are_those_that_are_kept_damaged_or_not(
        self, backend: BackendT, store: Store
    ) -> None:
        with store.create("g", session_id="s") as session:
            kept = session.checkpoint("step").checkpoint_id
            session.complete()
        assert store.raw("s") == self.read_raw(backend, "s")
        assert store.raw("s", kept) == self.read_raw_checkpoint(backend, "s", kept)
        torn = self.damage(backend, "s")
        assert store.raw("s") == torn
        with pytest.raises(SessionCorrupt):
            store.raw("s", "cp_none")
        with pytest.raises(SessionNotFound):
            store.raw("none")

    def test_a_listing_goes_on_from_a_cursor_without_a_limit(self, store: Store) -> None:
        for name in "abcd":
            store.create("g", session_id=name).complete()
        cursor = store.find(limit=2, order="session_id").next_cursor
        rest = store.iter_find(cursor=cursor, order="session_id")
        assert [item.session_id for item in rest] == ["c", "d"]

    def test_a_diagnosis_changes_no_session(self, backend: BackendT, store: Store) -> None:
        store.create("g", session_id="s").complete()
        before = self.read_raw(backend, "s")
        assert not [item for item in store.diagnose() if item.fitness == "fail"]
        assert self.read_raw(backend, "s") == before
        assert [item.session_id for item in store.find()] == ["s"]
