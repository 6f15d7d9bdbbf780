"""The sweep: who is dead, who lives, what cannot be known; and how a crash is told apart."""

# ruff: noqa: D102
# The name of each test is the claim that it proves.

from __future__ import annotations

import os
from typing import Any

import pytest

from sessionstore.errors import SessionNotFound
from sessionstore.model.liveness import Verdict
from sessionstore.model.state import SessionOwner, SessionState
from sessionstore.operations.recovery import MarkAs, RecoveryReport, SweptSession
from sessionstore.store.store import SessionStore
from sessionstore.testing.harness import (
    BackendT,
    Harness,
    dead_owner,
    forget,
    in_threads,
    live_owner,
    stranger,
)

Store = SessionStore[SessionState]


def ids(found: Any) -> list[str]:
    """Return the ids in a part of a report."""
    return [item.session_id for item in found]


class RecoveryContract(Harness[BackendT]):
    """A dead owner is found, a live one is never taken for dead, a doubt is reported."""

    def left_behind(
        self,
        backend: BackendT,
        store: Store,
        session_id: str = "s",
        *,
        by: SessionOwner | None = None,
    ) -> dict[str, Any]:
        """Make a session that its process left behind; return it as it is stored."""
        session = store.create("g", session_id=session_id)
        session.state.data_buffer["done"] = 3
        session.checkpoint("step", node="plan")
        self.abandon(backend, session, by)
        return self.raw(backend, session_id)

    def test_what_a_dead_process_left_is_marked_failed(
        self, backend: BackendT, store: Store
    ) -> None:
        before = self.left_behind(backend, store)
        report = store.recover()
        assert ids(report.swept) == ["s"]
        raw = self.raw(backend, "s")
        assert (raw["status"], raw["revision"]) == ("failed", before["revision"] + 1)
        assert raw["owner"] is raw["pid"] is None
        assert raw["result"]["success"] is False
        assert str(dead_owner().pid) in raw["result"]["error"]
        assert raw["timestamps"]["completed_at"] == before["timestamps"]["updated_at"]
        assert raw["data_buffer"] == {"done": 3}
        assert raw["incarnation"] == before["incarnation"]
        assert raw["latest_checkpoint_id"] == before["latest_checkpoint_id"]
        assert raw["recovery"]["count"] == 1
        assert raw["recovery"]["owner"]["token"] == dead_owner().token
        assert raw["recovery"]["reason"] == raw["result"]["error"]
        (swept,) = report.swept
        assert swept.is_resumable
        assert swept.recoveries == 1
        assert f"{dead_owner().pid}" in swept.reason
        assert not backend.probe("s").held
        assert store.recover().swept == ()

    @pytest.mark.parametrize("mark_as", ["failed", "paused", "cancelled"])
    def test_the_mark_can_be_chosen(self, backend: BackendT, store: Store, mark_as: MarkAs) -> None:
        self.left_behind(backend, store)
        store.recover(mark_as=mark_as)
        raw = self.raw(backend, "s")
        assert raw["status"] == mark_as
        assert raw["result"]["error"] == raw["recovery"]["reason"]
        assert (raw["timestamps"]["completed_at"] is None) is (mark_as == "paused")
        interrupted = [item.session_id for item in store.find(interrupted=True)]
        assert interrupted == ([] if mark_as == "cancelled" else ["s"])

    def test_no_other_mark_is_taken(self, store: Store) -> None:
        with pytest.raises(ValueError, match="mark_as"):
            store.recover(mark_as="completed")  # type: ignore[arg-type]  # that is the point

    def test_a_dry_run_reports_the_same_and_changes_nothing(
        self, backend: BackendT, store: Store
    ) -> None:
        self.left_behind(backend, store)
        before = self.read_raw(backend, "s")
        expected = store.recover(dry_run=True)
        assert self.read_raw(backend, "s") == before
        assert expected.dry_run
        assert store.recover().swept == expected.swept

    def test_a_held_session_is_never_swept(self, backend: BackendT, store: Store) -> None:
        session = store.create("g", session_id="s")
        # Whatever its record says: the lock is what counts.
        before = self.rewrite(backend, "s", owner=dead_owner().model_dump(), pid=dead_owner().pid)
        report = self.other_store(backend).recover(assume_dead=["s"])
        assert ids(report.alive) == ["s"]
        assert report.swept == ()
        assert self.read_raw(backend, "s") == before
        forget(session)

    def test_a_live_process_without_its_lock_is_never_swept(
        self, backend: BackendT, store: Store
    ) -> None:
        with live_owner() as owner:
            self.left_behind(backend, store, by=owner)
            before = self.read_raw(backend, "s")
            verdict = store.liveness("s")
            assert (verdict.verdict, verdict.owner) == (Verdict.ALIVE, owner)
            report = store.recover(assume_dead=["s"])
            assert ids(report.alive) == ["s"]
            assert self.read_raw(backend, "s") == before
        assert store.liveness("s").is_dead
        assert ids(store.recover().swept) == ["s"]

    def test_a_process_of_which_only_the_pid_is_known_is_looked_at(
        self, backend: BackendT, store: Store
    ) -> None:
        with live_owner() as owner:
            self.left_behind(backend, store)
            self.rewrite(backend, "s", owner=None, pid=owner.pid)
            assert store.liveness("s").is_alive
            assert ids(store.recover().alive) == ["s"]
        assert store.liveness("s").is_dead
        assert ids(store.recover().swept) == ["s"]
        assert str(owner.pid) in self.raw(backend, "s")["result"]["error"]

    @pytest.mark.parametrize("pid", [None, 0, -1])
    def test_what_cannot_be_known_is_reported_and_not_touched(
        self, backend: BackendT, store: Store, pid: int | None
    ) -> None:
        self.left_behind(backend, store)
        before = self.rewrite(backend, "s", owner=None, pid=pid)
        assert store.liveness("s").is_unknown
        report = store.recover()
        assert ids(report.unknown) == ["s"]
        assert report.unknown[0].reason
        assert self.read_raw(backend, "s") == before

    def test_a_person_can_name_it(self, backend: BackendT, store: Store) -> None:
        for name in ("named", "other"):
            self.left_behind(backend, store, name)
            self.rewrite(backend, name, owner=None, pid=None)
        other = self.read_raw(backend, "other")
        report = store.recover(assume_dead=["named"])
        assert (ids(report.swept), ids(report.unknown)) == (["named"], ["other"])
        assert "assumed dead by a person" in self.raw(backend, "named")["result"]["error"]
        assert self.read_raw(backend, "other") == other
        with pytest.raises(SessionNotFound):
            store.recover(assume_dead=["no-such-session"])

    @pytest.mark.parametrize(
        "changes",
        [{}, {"boot_id": dead_owner().boot_id, "pid_namespace": "pid:[1]"}],
        ids=["another host", "another PID namespace"],
    )
    def test_a_free_lock_is_proof_only_where_the_backend_says_so(
        self, backend: BackendT, store: Store, changes: dict[str, Any]
    ) -> None:
        by = stranger(pid=os.getpid(), **changes)
        self.left_behind(backend, store, by=by)
        verdict = store.liveness("s")
        certain = backend.lock_is_proof(by)
        assert verdict.verdict is (Verdict.DEAD if certain else Verdict.UNKNOWN)
        report = store.recover()
        assert ids(report.swept if certain else report.unknown) == ["s"]

    def test_the_liveness_of_a_held_session_names_the_holder(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        verdict = self.other_store(backend).liveness("s")
        assert verdict.is_alive
        assert verdict.owner is not None
        assert verdict.owner.token == session.owner.token
        assert f"pid {os.getpid()}" in verdict.reason
        session.release()
        with pytest.raises(SessionNotFound):
            store.liveness("no-such-session")

    def test_damage_is_reported_and_stops_nobody(self, backend: BackendT, store: Store) -> None:
        for name in ("a", "torn", "z"):
            self.left_behind(backend, store, name)
        torn = self.damage(backend, "torn")
        report = store.recover()
        assert (ids(report.swept), ids(report.damaged)) == (["a", "z"], ["torn"])
        assert self.read_raw(backend, "torn") == torn

    def test_crashes_are_counted(self, backend: BackendT, store: Store) -> None:
        self.left_behind(backend, store)
        for crash in range(1, 4):
            (swept,) = store.recover().swept
            assert swept.recoveries == crash
            assert self.raw(backend, "s")["recovery"]["count"] == crash
            assert len(store.find(interrupted=True, max_recoveries=crash)) == 1
            assert len(store.find(interrupted=True, max_recoveries=crash - 1)) == 0
            self.abandon(backend, store.resume("s"))

    def test_a_nodes_own_failure_after_a_crash_is_no_crash(
        self, backend: BackendT, store: Store
    ) -> None:
        self.left_behind(backend, store)
        store.recover()
        assert store.load("s").is_interrupted
        with store.resume("s") as session:
            assert not session.state.is_interrupted
            session.fail("its own failure")
        assert store.load("s").recovery is not None
        assert not store.load("s").is_interrupted
        assert store.find(interrupted=True).items == ()

    def test_unknown_fields_survive_a_sweep(self, backend: BackendT, store: Store) -> None:
        self.left_behind(backend, store)
        self.rewrite(backend, "s", something_else={"kept": [1]})
        store.recover()
        assert self.raw(backend, "s")["something_else"] == {"kept": [1]}

    def test_of_racing_sweepers_one_marks_each_session(
        self, backend: BackendT, store: Store
    ) -> None:
        names = [f"s{number}" for number in range(6)]
        for name in names:
            self.left_behind(backend, store, name)
        swept: list[SweptSession] = []
        for report in in_threads(4, lambda _: self.other_store(backend).recover()):
            assert isinstance(report, RecoveryReport), report
            assert not report.failed
            swept += report.swept
        assert sorted(ids(swept)) == names
        for name in names:
            raw = self.raw(backend, name)
            assert (raw["recovery"]["count"], raw["revision"]) == (1, 3)
