"""Resume: what is restored, what goes on, what is kept, what is refused."""

# ruff: noqa: D102
# The name of each test is the claim that it proves.

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from sessionstore.errors import (
    InvalidSessionId,
    NotResumable,
    RevisionConflict,
    SessionCorrupt,
    SessionEnded,
    StorageError,
)
from sessionstore.model.state import SessionState, SessionStatus
from sessionstore.store.store import SessionStore
from sessionstore.testing.harness import BackendT, Harness, leave
from sessionstore.testing.lifecycle import end

Store = SessionStore[SessionState]

ORIGINAL = "cp_node_complete_plan_20260102_030405"
"""An id as the original framework makes them."""


class ResumeContract(Harness[BackendT]):
    """A checkpoint is restored whole, and nothing newer is lost by it."""

    def failed(self, store: Store) -> str:
        """Make a session ``s`` that went on after its checkpoint and failed; return its id."""
        session = store.create("g", session_id="s")
        session.state.data_buffer["n"] = 1
        session.state.progress.path += ["a"]
        kept = session.checkpoint("node_complete", node="a")
        session.state.data_buffer["n"] = 2
        session.state.progress.path += ["b"]
        session.state.problems.append({"what": "b failed"})
        session.fail("b failed")
        return kept.checkpoint_id

    def test_the_latest_checkpoint_is_restored_whole(self, backend: BackendT, store: Store) -> None:
        kept = self.failed(store)
        before = self.raw(backend, "s")
        session = store.resume("s")
        raw = self.raw(backend, "s")
        assert (raw["data_buffer"], raw["progress"]["path"]) == ({"n": 1}, ["a"])
        assert (raw["problems"], raw["progress"]["current_node"]) == ([], "a")
        assert raw["status"] == "active"
        assert raw["revision"] == before["revision"] + 1
        assert raw["incarnation"] == before["incarnation"]
        assert raw["latest_checkpoint_id"] == kept
        assert raw["result"] == {"success": None, "error": None, "output": {}}
        assert raw["timestamps"]["completed_at"] is None
        assert raw["timestamps"]["started_at"] == before["timestamps"]["started_at"]
        assert raw["owner"]["token"] == session.owner.token
        assert raw["pid"] == os.getpid()
        assert self.other_store(backend).load("s") == session.state
        session.release()

    def test_a_newer_state_is_kept_but_is_never_the_latest(
        self, backend: BackendT, store: Store
    ) -> None:
        kept = self.failed(store)
        newer = self.read_raw(backend, "s")
        with store.resume("s") as session:
            added = [item for item in store.checkpoints("s") if item.checkpoint_id != kept]
            assert [item.checkpoint_type for item in added] == ["before_resume"]
            assert self.read_raw_checkpoint(backend, "s", added[0].checkpoint_id) == newer
            assert session.state.latest_checkpoint_id == kept
            session.fail("again")
        with store.resume("s", checkpoint_id=added[0].checkpoint_id) as session:
            assert session.state.data_buffer == {"n": 2}
            assert session.state.status is SessionStatus.ACTIVE
            assert session.state.result.error is None

    def test_nothing_is_kept_twice(self, backend: BackendT, store: Store) -> None:
        kept = store.create("g", session_id="s").pause(node="ask")
        with store.resume("s") as session:
            assert backend.checkpoint_ids("s") == [kept.checkpoint_id]
            assert session.state.timestamps.paused_at_time is None
            session.fail("enough")

    def test_a_named_checkpoint_becomes_the_latest(self, backend: BackendT, store: Store) -> None:
        session = store.create("g", session_id="s")
        kept = []
        for number in range(3):
            session.state.data_buffer["n"] = number
            kept.append(session.checkpoint("step").checkpoint_id)
        session.fail("at once")
        with store.resume("s", checkpoint_id=kept[1]) as resumed:
            assert resumed.state.data_buffer == {"n": 1}
            assert resumed.state.latest_checkpoint_id == kept[1]
            resumed.fail("once more")
        with store.resume("s") as resumed:
            assert resumed.state.data_buffer == {"n": 1}
        assert set(kept) <= set(backend.checkpoint_ids("s"))

    def test_labels_go_on_whichever_checkpoint_is_restored(self, store: Store) -> None:
        with store.create("g", session_id="s", labels={"user": "1", "old": ""}) as session:
            first = session.checkpoint("step").checkpoint_id
            session.state.labels = {"user": "2"}
            session.save()
        with store.resume("s", checkpoint_id=first) as session:
            assert session.state.labels == {"user": "2"}
        assert store.load("s").labels == {"user": "2"}
        assert store.load_checkpoint("s", first).labels == {"user": "1", "old": ""}
        store.fork("s", checkpoint_id=first, new_id="fork")
        assert store.load("fork").labels == {"user": "2"}
        started = store.create_or_resume("job", "g", labels={"user": "3"})
        started.pause()
        with store.create_or_resume("job", "g", labels={"user": "ignored"}) as session:
            assert session.state.labels == {"user": "3"}

    def test_the_recovery_survives(self, backend: BackendT, store: Store) -> None:
        session = store.create("g", session_id="s")
        session.checkpoint("step")
        self.abandon(backend, session)
        assert len(store.recover().swept) == 1
        marked = self.raw(backend, "s")["recovery"]
        with store.resume("s"):
            assert self.raw(backend, "s")["recovery"] == marked
        assert marked["count"] == 1

    def test_a_dead_session_is_resumed_without_a_sweep(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        session.checkpoint("step")
        session.state.data_buffer["lost"] = False
        session.save()
        self.abandon(backend, session)
        with store.resume("s") as resumed:
            assert resumed.state.data_buffer == {}
            newer = [c for c in store.checkpoints("s") if c.checkpoint_type == "before_resume"]
            assert store.load_checkpoint("s", newer[0].checkpoint_id).data_buffer == {"lost": False}

    @pytest.mark.parametrize("how", ["complete", "cancel"])
    def test_what_has_ended_is_resumed_only_on_purpose(
        self, backend: BackendT, store: Store, how: str
    ) -> None:
        session = store.create("g", session_id="s")
        session.checkpoint("step")
        getattr(session, how)()
        before = self.read_raw(backend, "s")
        with pytest.raises(NotResumable, match="again=True"):
            store.resume("s")
        assert self.read_raw(backend, "s") == before
        assert not backend.probe("s").held
        with pytest.raises(SessionEnded) as refusal:  # whoever knows the revision, too
            store.resume("s", expected_revision=self.raw(backend, "s")["revision"])
        assert str(refusal.value.state.status) == self.raw(backend, "s")["status"]
        with store.resume("s", again=True) as resumed:
            assert resumed.state.result.success is None
            assert resumed.is_resumed

    @pytest.mark.parametrize("how", ["kill", "fail", "cancel", "complete", "leave", "mark", "stop"])
    def test_without_a_checkpoint_a_resume_goes_on_from_the_last_save(
        self, backend: BackendT, store: Store, how: str
    ) -> None:
        session = store.create("g", session_id="s")
        for number in range(3):
            session.state.data_buffer["n"] = number
            session.save()
        if how in ("kill", "mark"):
            self.abandon(backend, session)
            if how == "mark":
                store.recover()
        elif how == "stop":
            with pytest.raises(SystemExit):
                leave(session, SystemExit(1))
        elif how == "leave":
            leave(session)
        else:
            end(session, how)
        assert [item.session_id for item in store.find(resumable=True)] == ["s"]
        again = how in ("cancel", "complete")
        with store.resume("s", again=again) as resumed:
            assert resumed.state.data_buffer == {"n": 2}
            assert resumed.state.status == "active"

    def test_a_last_save_is_replaced_and_never_in_the_way_of_a_newer_state(
        self, backend: BackendT, store: Store
    ) -> None:
        store.create("g", session_id="s").fail("at once")
        for number in range(3):
            session = store.resume("s")
            session.state.data_buffer["n"] = number
            session.save()
            session.fail("again")
            assert len(backend.checkpoint_ids("s")) <= 1
        self.abandon(backend, store.resume("s"))
        with store.resume("s") as resumed:  # without a sweep in between
            assert resumed.state.data_buffer == {"n": 2}
            assert resumed.state.recovery is not None
            assert resumed.state.recovery.count == 1
            kept = resumed.checkpoint("step")
            resumed.state.data_buffer["n"] = 9
            resumed.fail("once more")
        with store.resume("s") as resumed:  # now the application keeps its own
            assert resumed.state.latest_checkpoint_id == kept.checkpoint_id
            assert resumed.state.data_buffer == {"n": 2}

    def test_a_resume_may_go_on_from_the_last_save_though_there_is_a_checkpoint(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        old = session.checkpoint("step").checkpoint_id
        session.state.data_buffer["n"] = 1
        session.save()
        self.abandon(backend, session)
        with pytest.raises(TypeError, match="not both"):
            store.resume("s", checkpoint_id=old, from_last_save=True)
        resumed = store.resume("s", from_last_save=True)
        assert resumed.state.data_buffer == {"n": 1}
        self.abandon(backend, resumed)
        if resumed.state.latest_checkpoint_id != old:  # nothing is added to foreign sessions
            with store.resume("s") as resumed:
                assert resumed.state.data_buffer == {"n": 1}

    def test_a_pause_keeps_no_second_copy_of_a_checkpoint(
        self, backend: BackendT, store: Store
    ) -> None:
        with store.create("g", session_id="s") as session:
            session.state.data_buffer["n"] = 1
            kept = session.checkpoint("step")
            assert session.pause() == kept
        session = store.resume("s")
        assert session.pause().checkpoint_id == kept.checkpoint_id
        session = store.resume("s")
        session.state.data_buffer["n"] = 2
        newer = session.pause()
        both = {kept.checkpoint_id, newer.checkpoint_id}
        assert set(backend.checkpoint_ids("s")) == both
        assert store.load_checkpoint("s").data_buffer == {"n": 2}

    def test_a_resume_that_fails_leaves_nothing_behind(
        self, backend: BackendT, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session = store.create("g", session_id="s")
        session.checkpoint("step")
        session.state.data_buffer["n"] = 1
        session.fail("at once")
        before = self.read_raw(backend, "s"), backend.checkpoint_ids("s")
        claim = type(session._writer.claim)
        for error in (StorageError("save", "s", OSError(28, "no space left")), KeyboardInterrupt()):

            def refuse(*_: object, error: BaseException = error, **__: object) -> None:
                raise error

            with monkeypatch.context() as patch:
                patch.setattr(claim, "write", refuse)
                with pytest.raises(type(error)):
                    store.resume("s")
            assert (self.read_raw(backend, "s"), backend.checkpoint_ids("s")) == before
            assert not backend.probe("s").held

    @pytest.mark.parametrize("trouble", ["missing", "torn", "another's"])
    def test_a_checkpoint_that_does_not_load_is_refused_and_others_are_named(
        self, backend: BackendT, store: Store, trouble: str
    ) -> None:
        session = store.create("g", session_id="s")
        good = session.checkpoint("step").checkpoint_id
        bad = session.checkpoint("step").checkpoint_id
        session.fail("at once")
        content = self.read_raw_checkpoint(backend, "s", bad) or b""
        self.remove_raw_checkpoint(backend, "s", bad)
        if trouble == "torn":
            self.write_raw_checkpoint(backend, "s", bad, content[: len(content) // 2])
        elif trouble == "another's":
            other = content.replace(b'"session_id":"s"', b'"session_id":"t"')
            self.write_raw_checkpoint(backend, "s", bad, other)
        before = self.read_raw(backend, "s")
        for checkpoint_id in (None, bad):
            with pytest.raises(NotResumable) as refusal:
                store.resume("s", checkpoint_id=checkpoint_id)
            assert refusal.value.checkpoint_id == bad
            assert refusal.value.available == (good,)
            assert good in str(refusal.value)
        with pytest.raises(SessionCorrupt):
            store.load_checkpoint("s")
        assert self.read_raw(backend, "s") == before
        assert not backend.probe("s").held
        with store.resume("s", checkpoint_id=good) as resumed:
            assert resumed.state.latest_checkpoint_id == good

    def test_an_id_that_is_no_id_is_refused(self, backend: BackendT, store: Store) -> None:
        self.failed(store)
        with pytest.raises(InvalidSessionId):
            store.resume("s", checkpoint_id="../../other/checkpoints/cp")
        self.rewrite(backend, "s", latest_checkpoint_id="../../other/checkpoints/cp")
        with pytest.raises(NotResumable):
            store.resume("s")
        assert not backend.probe("s").held

    def test_a_damaged_state_is_not_resumed_over(self, backend: BackendT, store: Store) -> None:
        self.failed(store)
        torn = self.damage(backend, "s")
        for attempt in (store.resume, store.claim, store.load):
            with pytest.raises(SessionCorrupt):
                attempt("s")
        assert self.read_raw(backend, "s") == torn
        assert not backend.probe("s").held

    def test_a_failed_resume_leaves_a_foreign_change_alone(
        self, backend: BackendT, store: Store
    ) -> None:
        self.failed(store)
        with store.resume("s") as session:
            foreign = self.rewrite(backend, "s", data_buffer={"n": 99})
            with pytest.raises(RevisionConflict):
                session.save()
            with pytest.raises(RevisionConflict):
                leave(session)
        assert self.read_raw(backend, "s") == foreign

    # --- checkpoints of the original framework ---------------------------------------------------

    def original(self, backend: BackendT, store: Store, **fields: Any) -> None:
        """Make a failed session ``s`` whose latest checkpoint another framework wrote."""
        session = store.create("g", session_id="s")
        session.state.progress.steps_executed = 7
        session.state.data_buffer["n"] = 2
        session.fail("at once")
        checkpoint = {
            "checkpoint_id": ORIGINAL,
            "checkpoint_type": "node_complete",
            "session_id": "s",
            "created_at": "2026-01-02T03:04:05.678901",
            "current_node": "plan",
            "next_node": "act",
            "execution_path": ["start", "plan"],
            "is_clean": True,
            "metrics_snapshot": {},
        }
        data = json.dumps(checkpoint | fields).encode()
        self.write_raw_checkpoint(backend, "s", ORIGINAL, data)
        self.rewrite(backend, "s", latest_checkpoint_id=ORIGINAL, checkpoint_enabled=True)

    @pytest.mark.parametrize("name", ["data_buffer", "shared_memory"])
    def test_a_checkpoint_of_the_original_framework_restores_data_path_and_node(
        self, backend: BackendT, store: Store, name: str
    ) -> None:
        self.original(backend, store, **{name: {"n": 1}})
        before = self.raw(backend, "s")
        assert [item.session_id for item in store.find(resumable=True)] == ["s"]
        with store.resume("s") as session:
            raw = self.raw(backend, "s")
            assert raw["data_buffer"] == {"n": 1}
            assert raw["progress"]["path"] == ["start", "plan"]
            assert raw["progress"]["current_node"] == "plan"
            assert raw["progress"]["steps_executed"] == 7
            assert (raw["status"], raw["result"]["error"]) == ("active", None)
            assert raw["incarnation"] == before["incarnation"]
            assert raw["latest_checkpoint_id"] == ORIGINAL
            assert session.revision == before["revision"] + 1
        kept = [c for c in store.checkpoints("s") if c.checkpoint_type == "before_resume"]
        assert store.load_checkpoint("s", kept[0].checkpoint_id).data_buffer == {"n": 2}

    def test_a_checkpoint_of_the_original_framework_is_listed(
        self, backend: BackendT, store: Store
    ) -> None:
        self.original(backend, store, data_buffer={})
        (listed,) = (item for item in store.checkpoints("s") if item.checkpoint_id == ORIGINAL)
        assert listed.checkpoint_type == "node_complete"
        assert (listed.node, listed.revision, listed.damaged) == ("plan", None, None)

    def test_a_checkpoint_of_another_session_is_refused(
        self, backend: BackendT, store: Store
    ) -> None:
        self.original(backend, store, data_buffer={}, session_id="t")
        with pytest.raises(NotResumable, match="another session"):
            store.resume("s")

    def test_what_a_resume_keeps_takes_no_place_of_the_applications(
        self, backend: BackendT
    ) -> None:
        store = SessionStore(backend, keep_checkpoints=2)
        session = store.create("g", session_id="s")
        made = [session.checkpoint("step").checkpoint_id for _ in range(2)]
        session.fail("down")
        for _ in range(4):
            store.resume("s").fail("down")
        with store.resume("s") as session:
            made.append(session.checkpoint("step").checkpoint_id)
            session.complete()
        kept = store.checkpoints("s")
        assert [item.checkpoint_id for item in kept if item.checkpoint_type == "step"] == made[-2:]
        assert sum(item.checkpoint_type == "before_resume" for item in kept) == 2
