"""A request to cancel reaches the claim that it names, and no other."""

# ruff: noqa: D102
# The name of each test is the claim that it proves.

from __future__ import annotations

from typing import Literal

import pytest

from sessionstore.errors import (
    CancellationRequested,
    CheckpointNotFound,
    NotResumable,
    SessionClaimed,
    SessionEnded,
)
from sessionstore.model.state import SessionState
from sessionstore.session.session import Session
from sessionstore.storage.values import CancelRequest
from sessionstore.store.store import SessionStore
from sessionstore.testing.harness import BackendT, Harness, forget, leave, stranger

Store = SessionStore[SessionState]


class CancelContract(Harness[BackendT]):
    """The holder learns of it with its next step, and everybody else not at all."""

    def test_the_next_save_of_the_holder_raises_and_writes_nothing(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        assert self.other_store(backend).cancel("s", reason="too late").outcome == "requested"
        before = self.read_raw(backend, "s")
        session.state.data_buffer["more"] = 1
        for step in (session.save, session.checkpoint, session.save):  # again and again
            with pytest.raises(CancellationRequested) as request:
                step()
            assert request.value.reason == "too late"
            assert request.value.by is not None
            assert request.value.by.pid == session.owner.pid
        assert self.read_raw(backend, "s") == before
        assert backend.checkpoint_ids("s") == []
        session.cancel("as I was told")

    def test_a_request_that_leaves_the_block_ends_the_session_as_cancelled(
        self, backend: BackendT, store: Store
    ) -> None:
        def work(session: Session[SessionState]) -> None:
            with session:
                store.cancel("s", reason="too late")
                session.state.data_buffer["last"] = 1
                session.save()

        with pytest.raises(CancellationRequested):
            work(store.create("g", session_id="s"))
        raw = self.raw(backend, "s")
        assert (raw["status"], raw["owner"], raw["revision"]) == ("cancelled", None, 2)
        assert raw["result"]["success"] is False
        assert raw["result"]["error"].endswith(": too late")
        assert raw["data_buffer"] == {"last": 1}
        assert not backend.probe("s").held

    @pytest.mark.parametrize("how", ["leaves", "releases", "groups"])
    def test_a_request_that_was_met_counts_where_nothing_else_is_said(
        self, backend: BackendT, store: Store, how: str
    ) -> None:
        session = store.create("g", session_id="s")
        store.cancel("s")
        with pytest.raises(CancellationRequested) as met:
            session.save()
        if how == "leaves":
            leave(session)
        elif how == "releases":
            session.release()
        else:
            with pytest.raises(ExceptionGroup):
                leave(session, ExceptionGroup("of tasks", [met.value]))
        assert self.raw(backend, "s")["status"] == "cancelled"

    @pytest.mark.parametrize("mixed", [True, False])
    def test_another_error_still_fails_the_session(
        self, backend: BackendT, store: Store, mixed: bool
    ) -> None:
        session = store.create("g", session_id="s")
        store.cancel("s")
        with pytest.raises(CancellationRequested) as met:
            session.save()
        error = ValueError("on the way out")
        raised = ExceptionGroup("of tasks", [met.value, error]) if mixed else error
        with pytest.raises(type(raised)):
            leave(session, raised)
        assert self.raw(backend, "s")["status"] == "failed"

    @pytest.mark.parametrize("verdict", ["pause", "complete", "fail", "cancel"])
    @pytest.mark.parametrize("has_met_it", [True, False], ids=["met", "unmet"])
    def test_whatever_the_holder_says_itself_stands(
        self,
        backend: BackendT,
        store: Store,
        verdict: Literal["pause", "complete", "fail", "cancel"],
        has_met_it: bool,
    ) -> None:
        session = store.create("g", session_id="s")
        assert store.cancel("s").is_pending
        if has_met_it:
            with pytest.raises(CancellationRequested):
                session.save()
        if verdict == "fail":
            session.fail("by itself")
        else:
            getattr(session, verdict)()
        statuses = {"pause": "paused", "complete": "completed", "fail": "failed"}
        assert self.raw(backend, "s")["status"] == statuses.get(verdict, "cancelled")
        self._next_holder_meets_nothing(backend)

    def test_a_request_that_came_too_late_never_meets_the_next_holder(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        assert store.cancel("s").is_pending
        forget(session)  # as a process that dies before it meets the request
        self._next_holder_meets_nothing(backend)

    def _next_holder_meets_nothing(self, backend: BackendT) -> None:
        with self.other_store(backend).claim("s", force=True) as session:
            session.save()
            session.checkpoint()
            session.complete()

    def test_a_request_names_a_claim_and_not_a_session(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        for token in ("0" * 16, "", "../../x", "F" * 16, str(session.owner.token)[:-1]):
            assert not backend.request_cancellation("s", CancelRequest(token))
            session.save()
        token = str(session.owner.token)
        session.release()
        assert not backend.request_cancellation("s", CancelRequest(token))
        assert not backend.request_cancellation("none", CancelRequest(token))
        assert not backend.exists("none")
        self._next_holder_meets_nothing(backend)

    def test_asking_again_replaces_the_reason(self, backend: BackendT, store: Store) -> None:
        session = store.create("g", session_id="s")
        store.cancel("s", reason="first")
        self.other_store(backend).cancel("s", reason="second \ud800\x1b[31m" + "x" * 100_000)
        assert store.cancel("s").is_pending  # which gives none
        with pytest.raises(CancellationRequested) as request:
            session.save()
        assert str(request.value.reason).startswith("second \\ud800\x1b[31m")
        assert "\x1b" not in str(request.value)
        session.release()
        assert self.raw(backend, "s")["status"] == "cancelled"

    def test_a_request_survives_that_the_holder_says_who_it_is(
        self, backend: BackendT, store: Store
    ) -> None:
        with store.create("g", session_id="s") as session:
            session.pause()
        by = stranger(token="ab" * 8)
        claim = backend.claim("s", by, timeout=0.0)
        stored = claim.read()
        assert backend.request_cancellation("s", CancelRequest("ab" * 8, "early"))
        claim.confirm()
        with pytest.raises(CancellationRequested, match="early"):
            claim.write(stored.payload, 3, cancellable=True)
        claim.write(stored.payload, 3)  # one that takes no requests goes through
        claim.release()

    def test_a_request_is_told_of_until_its_claim_ends(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        token = session.owner.token
        assert backend.pending_request("s", token) is None
        self.other_store(backend).cancel("s", reason="too late")
        found = backend.pending_request("s", token)
        assert found is not None
        assert (found.reason, found.token) == ("too late", token)
        assert found.by is not None
        assert backend.pending_request("s", "ab" * 8) is None
        told = store.explain("s")
        assert ": too late" in str(told.cancel_request)
        assert told.cancel_requested_at == found.at
        session.complete()
        assert backend.pending_request("s", token) is None
        assert store.explain("s").cancel_request is None

    def test_a_session_is_tried_again_from_the_state_that_was_chosen(
        self, backend: BackendT, store: Store
    ) -> None:
        def offered() -> Session[SessionState]:
            (session,) = store.resume_interrupted(sweep=False)
            return session

        session = store.create("g", session_id="s")
        session.state.data_buffer["at"] = 1
        first = session.checkpoint()
        session.state.data_buffer["at"] = 2
        session.checkpoint()
        session.state.data_buffer["at"] = 3
        session.fail("no")
        with pytest.raises(TypeError):
            store.retry("s", checkpoint_id="r2", from_last_save=True)
        with pytest.raises(CheckpointNotFound):
            store.retry("s", checkpoint_id="r99")
        before = self.read_raw(backend, "s")
        store.retry("s", checkpoint_id=f"r{first.revision}")
        raw = self.raw(backend, "s")
        assert (raw["status"], raw["data_buffer"]) == ("failed", {"at": 1})
        assert raw["result"]["error"] == raw["recovery"]["reason"]
        assert raw["result"]["error"].endswith(": no")
        kept = [one for one in store.checkpoints("s") if one.checkpoint_type == "before_resume"]
        assert len(kept) == 1  # what it goes back from
        assert self.read_raw_checkpoint(backend, "s", kept[0].checkpoint_id) == before
        with offered() as again:
            assert again.state.data_buffer == {"at": 1}
            again.state.data_buffer["at"] = 4
            again.complete({"answer": 42})
        for refused in (store.retry, lambda name: store.retry(name, from_last_save=True)):
            with pytest.raises(SessionEnded):
                refused("s")
        store.retry("s", again=True, from_last_save=True)
        assert self.raw(backend, "s")["status"] == "paused"
        with offered() as again:
            assert again.state.data_buffer == {"at": 4}
            again.pause()
        with pytest.raises(NotResumable, match="again=True"):
            store.retry("s")
        store.retry("s", again=True)
        with offered() as again:
            again.complete()

    def test_an_interrupted_session_is_cancelled_at_once_or_tried_again(
        self, backend: BackendT, store: Store
    ) -> None:
        for name in ("cancelled", "retried"):
            with pytest.raises(KeyboardInterrupt):
                leave(store.create("g", session_id=name), KeyboardInterrupt())
        assert store.cancel("cancelled", reason="enough").outcome == "cancelled"
        raw = self.raw(backend, "cancelled")
        assert (raw["status"], raw["result"]["error"]) == ("cancelled", "enough")
        with pytest.raises(SessionEnded):
            store.retry("cancelled")
        store.retry("retried")
        recovery = self.raw(backend, "retried")["recovery"]
        assert (recovery["count"], recovery["stops"]) == (0, 0)
        assert [item.session_id for item in store.find(interrupted=True)] == ["retried"]

    def test_a_session_whose_process_died_is_cancelled_at_once(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        session.checkpoint()
        self.abandon(backend, session)
        done = self.other_store(backend).cancel("s", reason="no longer needed")
        assert (done.outcome, done.status) == ("cancelled", "cancelled")
        raw = self.raw(backend, "s")
        assert (raw["status"], raw["pid"], raw["recovery"]["count"]) == ("cancelled", None, 1)
        assert raw["result"]["error"] == "no longer needed"
        assert store.cancel("s").outcome == "cancelled"
        assert self.raw(backend, "s") == raw  # it says so, and changes nothing
        with store.resume("s", again=True) as resumed:
            resumed.complete()

    @pytest.mark.parametrize("verdict", ["pause", "complete"])
    def test_a_session_that_does_not_run_is_not_cancelled(
        self, backend: BackendT, store: Store, verdict: str
    ) -> None:
        getattr(store.create("g", session_id="s"), verdict)()
        before = self.read_raw(backend, "s")
        seen = store.cancel("s")
        assert (seen.outcome, seen.owner) == ("ended", None)
        assert seen.status.startswith(verdict)
        assert self.read_raw(backend, "s") == before

    def test_an_owner_that_cannot_be_known_is_not_cancelled(
        self, backend: BackendT, store: Store
    ) -> None:
        self.abandon(backend, store.create("g", session_id="s"))
        self.rewrite(backend, "s", owner=None, pid=None)
        before = self.read_raw(backend, "s")
        with pytest.raises(SessionClaimed, match="no owner recorded"):
            store.cancel("s")
        with pytest.raises(SessionClaimed, match="force=True"):
            store.mark("s", "failed", reason="it hangs")
        assert self.read_raw(backend, "s") == before
        assert store.mark("s", "failed", reason="it hangs", force=True) == 2
        raw = self.raw(backend, "s")
        assert (raw["status"], raw["result"]["error"]) == ("failed", "it hangs")
        assert "assumed dead" in raw["recovery"]["reason"]

    def test_a_mark_is_refused_while_a_process_holds_the_session(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        with pytest.raises(SessionClaimed):
            self.other_store(backend).mark("s", "failed", reason="no", force=True)
        assert session.save() == 2
        session.complete()

    @pytest.mark.parametrize("status", ["failed", "cancelled", "paused"])
    @pytest.mark.parametrize("died", [True, False], ids=["died", "ended"])
    def test_a_mark_says_how_a_session_ended_and_keeps_its_data(
        self,
        backend: BackendT,
        store: Store,
        status: Literal["failed", "cancelled", "paused"],
        died: bool,
    ) -> None:
        session = store.create("g", session_id="s")
        session.state.data_buffer["plan"] = [1, 2]
        kept = session.checkpoint()
        if died:
            self.abandon(backend, session)
        else:
            session.complete({"answer": 42})
        assert store.mark("s", status, reason="by hand") == (3 if died else 4)
        raw = self.raw(backend, "s")
        assert (raw["status"], raw["owner"], raw["pid"]) == (status, None, None)
        assert raw["result"]["error"] == "by hand"
        assert raw["result"]["success"] is (None if status == "paused" else False)
        assert (raw["timestamps"]["completed_at"] is None) is (status == "paused")
        assert (raw["recovery"] is not None) is died
        assert raw["data_buffer"] == {"plan": [1, 2]}
        assert raw["latest_checkpoint_id"] == kept.checkpoint_id
        assert not backend.probe("s").held

    @pytest.mark.parametrize(("status", "reason"), [("completed", "x"), ("failed", " ")])
    def test_a_mark_that_says_nothing_is_refused(
        self, store: Store, status: Literal["failed"], reason: str
    ) -> None:
        store.create("g", session_id="s").complete()
        with pytest.raises(ValueError, match=r"status must be|reason must"):
            store.mark("s", status, reason=reason)
        assert store.load("s").revision == 2
