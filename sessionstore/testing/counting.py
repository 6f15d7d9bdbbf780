"""Counts and sizes of a whole store, and the bytes as they are kept."""

# ruff: noqa: D102
# The name of each test is the claim that it proves.

from __future__ import annotations

import pytest

from sessionstore.errors import SessionCorrupt, SessionNotFound
from sessionstore.model.state import SessionState
from sessionstore.store.store import SessionStore
from sessionstore.testing.harness import BackendT, Harness, dead_owner, stranger

Store = SessionStore[SessionState]


class CountingContract(Harness[BackendT]):
    """What ``stats`` counts, ``raw`` returns, and ``diagnose`` leaves alone."""

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
        assert found.resumable == sum(item.is_resumable for item in listed) == 2
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
