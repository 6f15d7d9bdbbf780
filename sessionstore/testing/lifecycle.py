"""A session's life over the backend: created, saved, checkpointed, ended, deleted."""

# ruff: noqa: D102
# The name of each test is the claim that it proves.

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from sessionstore.errors import (
    ClaimLost,
    InvalidSessionId,
    NotStorable,
    RevisionConflict,
    SessionClaimed,
    SessionCorrupt,
    SessionExists,
    SessionNotFound,
)
from sessionstore.model.state import SessionState, SessionStatus, SessionTimestamps
from sessionstore.session.session import Session
from sessionstore.store.store import SessionStore
from sessionstore.testing.harness import BackendT, Harness, forget, leave, stranger

Store = SessionStore[SessionState]

ENDS = ("complete", "fail", "cancel", "pause")
STATUS = {"complete": "completed", "fail": "failed", "cancel": "cancelled", "pause": "paused"}

VERDICTS: tuple[tuple[BaseException, str, str], ...] = (
    (ValueError("no such city"), "failed", "ValueError: no such city"),
    (asyncio.CancelledError(), "paused", "it was stopped by CancelledError"),
    (KeyboardInterrupt(), "paused", "it was stopped by KeyboardInterrupt"),
    (SystemExit(3), "paused", "it was stopped by SystemExit: 3"),
    (GeneratorExit(), "paused", "it was stopped by GeneratorExit"),
)


def end(session: Session[SessionState], how: str) -> None:
    """End a session by the method of that name."""
    if how == "fail":
        session.fail("no such city")
    else:
        getattr(session, how)()


class LifecycleContract(Harness[BackendT]):
    """The life of one session in one process; leaving while ACTIVE says how it ended."""

    def test_a_created_session_is_stored_whole_and_owned_at_once(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create(
            "triage", agent_id="a1", correlation_id="c1", input_data={"question": "why"}
        )
        raw = self.raw(backend, session.session_id)
        assert (raw["status"], raw["revision"], raw["goal_id"]) == ("active", 1, "triage")
        assert (raw["agent_id"], raw["correlation_id"]) == ("a1", "c1")
        assert raw["input_data"] == {"question": "why"}
        assert raw["pid"] == raw["owner"]["pid"] == os.getpid()
        assert raw["owner"]["token"] == session.owner.token
        assert raw["incarnation"]
        assert store.load(session.session_id) == session.state
        session.release()

    def test_a_whole_state_can_be_given(self, backend: BackendT, store: Store) -> None:
        times = SessionTimestamps(started_at="2026-01-02T03:04:05", updated_at="2026-01-02")
        given = SessionState(
            session_id="given", goal_id="g", timestamps=times, latest_checkpoint_id="another's"
        )
        session = store.create(state=given)
        raw = self.raw(backend, "given")
        assert raw["timestamps"]["started_at"] == "2026-01-02T03:04:05"
        assert raw["latest_checkpoint_id"] is None
        session.release()

    def test_an_id_that_is_taken_is_refused_and_what_has_it_is_kept(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("first", session_id="s")
        before = self.read_raw(backend, "s")
        with pytest.raises(SessionExists):
            store.create("second", session_id="s")
        assert self.read_raw(backend, "s") == before
        session.release()

    def test_a_state_that_cannot_be_stored_creates_no_session(
        self, backend: BackendT, store: Store
    ) -> None:
        with pytest.raises(NotStorable) as refusal:
            store.create("g", session_id="s", input_data={"score": float("nan")})
        assert refusal.value.path == "input_data.score"
        assert not backend.exists("s")
        with pytest.raises(InvalidSessionId):
            store.create("g", session_id="../s")
        assert list(backend.ids()) == []

    def test_every_write_counts_the_revision_by_one(self, backend: BackendT, store: Store) -> None:
        session = store.create("g", session_id="s")
        revisions = [session.revision, session.save(), session.save()]
        revisions += [session.checkpoint("step").revision or 0, session.save()]
        with pytest.raises(NotStorable):
            session.complete(output={"bad": {1, 2}})
        revisions.append(session.save())
        session.pause()
        with store.claim("s") as claimed:
            revisions += [claimed.revision, claimed.save()]
        with store.resume("s") as resumed:
            revisions.append(resumed.revision)
            resumed.fail("enough")
        assert revisions == list(range(1, 10))
        assert self.raw(backend, "s")["revision"] == 10

    def test_what_was_saved_loads_back_equal(self, backend: BackendT, store: Store) -> None:
        data: dict[str, Any] = {
            "text": "grüße \u2028 \U0001f600 \x00",
            "numbers": [0, -1, 2**63, 10**300, 1.5, -0.0, 1e-300],
            "nothing": None,
            "nested": {"": [[], {}, True, False]},
        }
        with store.create("g", session_id="s") as session:
            session.state.data_buffer = data
            session.state.progress.path += ["a", "b"]
            session.save()
            loaded = self.other_store(backend).load("s")
            assert loaded == session.state
            assert loaded.data_buffer == data
            assert [type(n) for n in loaded.data_buffer["numbers"]] == [int] * 4 + [float] * 3

    def test_a_refused_save_changes_nothing(self, backend: BackendT, store: Store) -> None:
        session = store.create("g", session_id="s")
        session.state.data_buffer["fetch"] = {"score": float("nan")}
        before = self.read_raw(backend, "s")
        for write in (session.save, session.checkpoint, session.pause, session.complete):
            with pytest.raises(NotStorable) as refusal:
                write()
            assert refusal.value.path == "data_buffer.fetch.score"
        assert self.read_raw(backend, "s") == before
        assert backend.checkpoint_ids("s") == []
        assert session.state.status is SessionStatus.ACTIVE
        session.state.data_buffer.clear()
        assert session.save() == 2
        session.release()

    def test_a_checkpoint_holds_the_state_that_names_it(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        kept = session.checkpoint("node_complete", node="plan ../ 1")
        assert self.read_raw_checkpoint(backend, "s", kept.checkpoint_id) == self.read_raw(
            backend, "s"
        )
        raw = self.raw(backend, "s")
        assert raw["latest_checkpoint_id"] == kept.checkpoint_id
        assert raw["checkpoint_enabled"] is raw["is_resumable"] is True
        assert raw["progress"]["current_node"] == "plan ../ 1"
        assert raw["status"] == "active"
        session.release()

    @pytest.mark.parametrize("how", ENDS)
    def test_an_end_is_stored_and_gives_the_session_back(
        self, backend: BackendT, store: Store, how: str
    ) -> None:
        session = store.create("g", session_id="s")
        end(session, how)
        raw = self.raw(backend, "s")
        assert raw["status"] == STATUS[how]
        assert raw["owner"] is raw["pid"] is None
        assert session.is_released
        assert not backend.probe("s").held
        assert (raw["timestamps"]["completed_at"] is None) is (how == "pause")
        expected = {"complete": True, "fail": False, "cancel": False, "pause": None}
        assert raw["result"]["success"] is expected[how]

    def test_an_end_says_what_came_of_it(self, backend: BackendT, store: Store) -> None:
        store.create("g", session_id="done").complete(output={"answer": 42})
        store.create("g", session_id="bad").fail(ValueError("no such city"))
        store.create("g", session_id="off").cancel(reason="changed my mind")
        assert self.raw(backend, "done")["result"]["output"] == {"answer": 42}
        assert self.raw(backend, "bad")["result"]["error"] == "ValueError: no such city"
        assert self.raw(backend, "off")["result"]["error"] == "changed my mind"

    def test_a_pause_keeps_a_checkpoint(self, backend: BackendT, store: Store) -> None:
        session = store.create("g", session_id="s")
        kept = session.pause(node="ask_user", resume_from="ask_user")
        raw = self.raw(backend, "s")
        assert raw["latest_checkpoint_id"] == kept.checkpoint_id
        assert raw["progress"]["paused_at"] == raw["progress"]["resume_from"] == "ask_user"
        assert raw["timestamps"]["paused_at_time"]
        assert backend.checkpoint_ids("s") == [kept.checkpoint_id]

    def test_a_release_of_a_running_session_pauses_it(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        session.release()
        session.release()
        raw = self.raw(backend, "s")
        assert (raw["status"], raw["revision"]) == ("paused", 2)
        assert store.count(resumable=True, interrupted=False) == 1

    def test_after_a_release_nothing_is_written(self, backend: BackendT, store: Store) -> None:
        session = store.create("g", session_id="s")
        session.complete()
        before = self.read_raw(backend, "s")
        for write in (session.save, session.checkpoint, session.pause, session.complete):
            with pytest.raises(ClaimLost):
                write()
        assert self.read_raw(backend, "s") == before

    @pytest.mark.parametrize("how", ENDS)
    def test_a_claim_never_changes_the_status(
        self, backend: BackendT, store: Store, how: str
    ) -> None:
        end(store.create("g", session_id="s"), how)
        before = self.read_raw(backend, "s")
        with store.claim("s") as claimed:
            assert claimed.state.status == STATUS[how]
            assert self.read_raw(backend, "s") == before
        assert self.read_raw(backend, "s") == before

    def test_only_a_running_session_names_an_owner(self, backend: BackendT, store: Store) -> None:
        store.create("g", session_id="s").pause()
        with store.claim("s") as claimed:  # a web server hands over what a person said
            claimed.state.data_buffer["answer"] = "yes"
            claimed.state.owner, claimed.state.pid = stranger(), 1
            claimed.checkpoint("input")
            raw = self.raw(backend, "s")
            assert raw["status"] == "paused"
            assert raw["owner"] is raw["pid"] is None
            claimed.state.status = SessionStatus.ACTIVE
            claimed.save()
            assert self.raw(backend, "s")["owner"]["token"] == claimed.owner.token
        raw = self.raw(backend, "s")
        assert raw["status"] == "paused"
        assert raw["owner"] is raw["pid"] is None

    def test_the_incarnation_names_one_session_for_ever(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        first = self.raw(backend, "s")["incarnation"]
        session.state.incarnation = "forged"
        session.pause()
        store.resume("s").complete()
        assert self.raw(backend, "s")["incarnation"] == first
        store.delete("s")
        store.create("g", session_id="s").release()
        assert self.raw(backend, "s")["incarnation"] != first

    def test_a_delete_takes_the_checkpoints_along(self, backend: BackendT, store: Store) -> None:
        session = store.create("g", session_id="s")
        kept = session.checkpoint("step")
        session.pause()
        store.delete("s")
        assert not self.other_store(backend).exists("s")
        with pytest.raises(SessionNotFound):
            store.load("s")
        with pytest.raises(SessionNotFound):
            store.delete("s")
        assert store.find().items == ()
        store.create("g", session_id="s").complete()
        assert store.checkpoints("s") == []
        assert self.read_raw_checkpoint(backend, "s", kept.checkpoint_id) is None

    def test_a_live_session_is_not_deleted(self, backend: BackendT, store: Store) -> None:
        session = store.create("g", session_id="s")
        before = self.read_raw(backend, "s")
        for force in (False, True):
            with pytest.raises(SessionClaimed) as refusal:
                self.other_store(backend).delete("s", force=force)
            assert refusal.value.owner.pid == os.getpid()
        assert self.read_raw(backend, "s") == before
        session.save()
        session.release()

    def test_what_may_live_is_deleted_only_if_somebody_insists(
        self, backend: BackendT, store: Store
    ) -> None:
        forget(store.create("g", session_id="s"))
        self.rewrite(backend, "s", owner=None, pid=None)
        with pytest.raises(SessionClaimed):
            store.delete("s")
        assert backend.exists("s")
        store.delete("s", force=True)
        assert not backend.exists("s")

    def test_a_damaged_session_is_deleted_only_if_somebody_insists(
        self, backend: BackendT, store: Store
    ) -> None:
        store.create("g", session_id="s").release()
        torn = self.damage(backend, "s")
        with pytest.raises(SessionCorrupt):
            store.delete("s")
        assert self.read_raw(backend, "s") == torn
        assert not backend.probe("s").held
        store.delete("s", force=True)
        assert not backend.exists("s")

    def test_only_the_newest_checkpoints_are_kept(self, backend: BackendT) -> None:
        store = SessionStore(backend, keep_checkpoints=2)
        session = store.create("g", session_id="s")
        self.write_raw_checkpoint(backend, "s", "somebody-elses", b"{}")
        made = [session.checkpoint("step").checkpoint_id for _ in range(5)]
        assert set(backend.checkpoint_ids("s")) == {"somebody-elses", *made[-2:]}
        session.fail("over")
        with store.resume("s") as resumed:
            made.append(resumed.checkpoint("step").checkpoint_id)
            assert made[-1] in backend.checkpoint_ids("s")
            assert made[-3] not in backend.checkpoint_ids("s")
            assert store.load_checkpoint("s").latest_checkpoint_id == made[-1]

    @pytest.mark.parametrize(
        ("error", "status", "text"), VERDICTS, ids=[type(v[0]).__name__ for v in VERDICTS]
    )
    def test_an_exception_is_a_verdict_and_goes_on(
        self, backend: BackendT, store: Store, error: BaseException, status: str, text: str
    ) -> None:
        session = store.create("g", session_id="s")
        with pytest.raises(type(error)) as raised:
            leave(session, error)
        assert raised.value is error
        raw = self.raw(backend, "s")
        said, trace, _ = raw["result"]["error"].partition("\nTraceback (most recent call last):\n")
        assert (raw["status"], said, bool(trace)) == (status, text, True)
        assert raw["owner"] is None
        assert not backend.probe("s").held
        interrupted = [item.session_id for item in store.find(interrupted=True)]
        assert interrupted == (["s"] if status == "paused" else [])

    def test_an_end_without_a_verdict_pauses(self, backend: BackendT, store: Store) -> None:
        with store.create("g", session_id="s") as session:
            session.state.data_buffer["unsaved"] = 1
        raw = self.raw(backend, "s")
        assert (raw["status"], raw["result"]["success"]) == ("paused", None)
        assert raw["data_buffer"] == {"unsaved": 1}
        assert store.count(interrupted=True) == 0
        with store.resume("s") as resumed:
            assert resumed.state.data_buffer == {"unsaved": 1}

    @pytest.mark.parametrize("error", [None, ValueError("late")], ids=["none", "exception"])
    def test_any_other_status_stays_as_it_is(
        self, backend: BackendT, store: Store, error: Exception | None
    ) -> None:
        store.create("g", session_id="s").complete()
        before = self.read_raw(backend, "s")
        session = store.claim("s")
        if error is None:
            leave(session)
        else:
            with pytest.raises(ValueError, match="late"):
                leave(session, error)
        assert self.read_raw(backend, "s") == before
        assert not backend.probe("s").held

    def test_an_exception_after_the_verdict_changes_nothing(
        self, backend: BackendT, store: Store
    ) -> None:
        def complete_and_stumble() -> None:
            with store.create("g", session_id="s") as session:
                session.complete()
                raise ValueError("late")

        with pytest.raises(ValueError, match="late"):
            complete_and_stumble()
        assert self.raw(backend, "s")["status"] == "completed"

    def test_a_verdict_goes_on_top_of_the_last_save_if_the_state_cannot_be_stored(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        session.state.data_buffer["good"] = 1
        session.save()
        session.state.data_buffer["bad"] = float("inf")
        with pytest.raises(ValueError, match="went wrong") as raised:
            leave(session, ValueError("went wrong"))
        assert any("data_buffer.bad" in note for note in raised.value.__notes__)
        raw = self.raw(backend, "s")
        assert raw["data_buffer"] == {"good": 1}
        assert (raw["status"], raw["revision"]) == ("failed", 3)
        assert raw["result"]["error"].startswith("ValueError: went wrong\n")
        assert not backend.probe("s").held

    def test_a_state_that_cannot_be_stored_is_itself_a_failure(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        session.state.data_buffer["bad"] = float("inf")
        with pytest.raises(NotStorable):
            leave(session)
        raw = self.raw(backend, "s")
        assert (raw["status"], raw["data_buffer"]) == ("failed", {})
        assert "data_buffer.bad" in raw["result"]["error"]
        assert not backend.probe("s").held

    def test_a_verdict_never_replaces_what_somebody_else_wrote(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        foreign = self.rewrite(backend, "s", status="paused", revision=9, owner=None, pid=None)
        with pytest.raises(ValueError, match="went wrong") as raised:
            leave(session, ValueError("went wrong"))
        assert any("revision 9" in note for note in raised.value.__notes__)
        assert self.read_raw(backend, "s") == foreign
        with store.claim("s") as claimed:  # the lock is free although the last write failed
            assert claimed.revision == 9

    def test_a_failed_last_write_is_raised_where_nothing_else_is(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        foreign = self.rewrite(backend, "s", revision=9)
        with pytest.raises(RevisionConflict):
            leave(session)
        assert self.read_raw(backend, "s") == foreign
        assert not backend.probe("s").held
