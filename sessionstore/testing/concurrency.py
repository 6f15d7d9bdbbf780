"""Several who want one session, and what interrupts a write in the middle."""

# ruff: noqa: D102
# The name of each test is the claim that it proves.

from __future__ import annotations

import os
import sys
import threading
import warnings
from typing import Any

import pytest

from sessionstore.errors import ClaimLost, RevisionConflict, SessionClaimed, SessionNotFound
from sessionstore.model.state import SessionState
from sessionstore.session.session import Session
from sessionstore.store.store import SessionStore
from sessionstore.testing.harness import (
    DEADLINE,
    BackendT,
    Harness,
    forget,
    forked,
    in_a_thread,
    in_threads,
    live_owner,
)

Store = SessionStore[SessionState]


def interrupt_next_write(
    session: Session[Any], monkeypatch: pytest.MonkeyPatch, *, done: bool
) -> None:
    """Make the next write of the session end in KeyboardInterrupt, ``done`` before or not."""
    kind = type(session._writer.claim)
    write = kind.write

    def interrupted(*arguments: Any, **options: Any) -> None:
        monkeypatch.setattr(kind, "write", write)
        if done:
            write(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(kind, "write", interrupted)


class ConcurrencyContract(Harness[BackendT]):
    """One process at a time holds a session, and no update is lost in silence."""

    def test_a_held_session_is_neither_claimed_nor_resumed(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        before = self.read_raw(backend, "s")
        for place in (store, self.other_store(backend)):
            for attempt in (place.claim, place.resume):
                with pytest.raises(SessionClaimed) as refusal:
                    attempt("s", force=True)
                assert refusal.value.owner.token == session.owner.token
                assert f"pid {os.getpid()}" in str(refusal.value)
                assert "s " in str(refusal.value)
        assert self.read_raw(backend, "s") == before
        session.save()
        session.release()

    def test_a_second_claim_from_another_thread_is_refused_too(self, store: Store) -> None:
        session = store.create("g", session_id="s")
        refusal = in_a_thread(lambda: store.claim("s"))
        assert isinstance(refusal, SessionClaimed)
        assert refusal.owner.pid == os.getpid()
        session.release()

    def test_a_claim_waits_for_a_release_in_another_thread(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        refused = threading.Event()

        def hold_or_wait(number: int) -> str:
            if number == 0:
                refused.wait(DEADLINE)
                threading.Event().wait(0.1)  # so that the other one really waits
                session.state.data_buffer["last"] = "word"
                session.pause()
                return "paused"
            with pytest.raises(SessionClaimed):
                self.other_store(backend).claim("s")
            refused.set()
            with self.other_store(backend).claim("s", timeout=DEADLINE) as claimed:
                return str(claimed.state.data_buffer["last"])

        assert in_threads(2, hold_or_wait) == ["paused", "word"]

    def test_a_wait_that_is_over_is_refused_and_told_the_holder(self, store: Store) -> None:
        session = store.create("g", session_id="s")
        with pytest.raises(SessionClaimed) as refusal:
            store.claim("s", timeout=0.05)
        assert refusal.value.owner.token == session.owner.token
        session.release()

    def test_every_waiter_gets_its_turn_and_no_update_is_lost(
        self, backend: BackendT, store: Store
    ) -> None:
        store.create("g", session_id="s").pause()

        def count(_: int) -> None:
            mine = self.other_store(backend)
            for _turn in range(5):
                with mine.claim("s", timeout=DEADLINE) as session:
                    data = session.state.data_buffer
                    data["count"] = data.get("count", 0) + 1
                    session.save()

        assert in_threads(4, count) == [None] * 4
        raw = self.raw(backend, "s")
        assert (raw["data_buffer"], raw["revision"]) == ({"count": 20}, 22)

    def test_who_waits_gets_a_session_in_the_order_of_arrival(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        places = [backend.line_up("s") for _ in range(3)]
        session.pause()
        if places[0] is None:
            pytest.skip("this backend keeps no order among those who wait")
        by = backend.new_owner(backend.clock())
        assert [place.is_due() for place in places if place] == [True, False, False]
        with pytest.raises(SessionClaimed):
            backend.claim("s", by, timeout=0.0, turn=places[1])
        backend.claim("s", by, timeout=0.0, turn=places[0]).release()
        for place in reversed(places):
            if place:
                place.close()

    def test_what_does_not_exist_is_not_waited_for(self, store: Store) -> None:
        with pytest.raises(SessionNotFound):
            store.claim("s", timeout=DEADLINE)
        with pytest.raises(SessionNotFound):
            store.resume("s")

    def test_a_revision_that_has_passed_is_refused(self, backend: BackendT, store: Store) -> None:
        store.create("g", session_id="s").pause()
        before = self.read_raw(backend, "s")
        for attempt in (store.claim, store.resume):
            with pytest.raises(RevisionConflict) as refusal:
                attempt("s", expected_revision=1)
            assert (refusal.value.expected, refusal.value.found) == (1, 2)
            assert refusal.value.owner.pid == os.getpid()
        assert self.read_raw(backend, "s") == before
        with store.claim("s", expected_revision=2) as claimed:
            assert claimed.revision == 2

    @pytest.mark.parametrize("short", [False, True], ids=["long work", "short work"])
    def test_of_all_that_saw_one_revision_exactly_one_resumes(
        self, backend: BackendT, store: Store, short: bool
    ) -> None:
        store.create("g", session_id="s").pause()
        for _ in range(8):
            seen = store.load("s").revision

            def resume(_: int, seen: int = seen) -> Session[SessionState]:
                session = self.other_store(backend).resume("s", expected_revision=seen)
                if short:
                    session.fail("short work")
                return session

            outcomes = in_threads(4, resume)
            won = [outcome for outcome in outcomes if isinstance(outcome, Session)]
            assert len(won) == 1, outcomes
            for refusal in outcomes:
                if isinstance(refusal, Session):
                    continue
                assert isinstance(refusal, SessionClaimed | RevisionConflict), refusal
                assert refusal.owner is not None
                assert refusal.owner.pid == os.getpid()
            if not short:
                assert self.raw(backend, "s")["owner"]["token"] == won[0].owner.token
                won[0].fail("long work")
            assert self.raw(backend, "s")["revision"] == seen + 2
            # The session is free and resumable again: for who saw the same as the winner, but
            # comes too late, nothing but the revision speaks against it.
            late = in_threads(1, resume)[0]
            assert isinstance(late, RevisionConflict), late
            assert (late.expected, late.found) == (seen, seen + 2)
            assert self.raw(backend, "s")["revision"] == seen + 2

    def test_a_foreign_change_is_refused_and_kept(self, backend: BackendT, store: Store) -> None:
        session = store.create("g", session_id="s")
        foreign = self.rewrite(backend, "s", data_buffer={"by": "hand"}, revision=5)
        session.state.data_buffer["by"] = "session"
        for write in (session.save, session.checkpoint, session.complete, session.save):
            with pytest.raises(RevisionConflict) as refusal:
                write()
            assert refusal.value.found == 5
            assert self.read_raw(backend, "s") == foreign
        assert backend.checkpoint_ids("s") == []
        assert not session.is_released
        with pytest.raises(RevisionConflict):
            session.release()
        assert self.read_raw(backend, "s") == foreign
        with store.claim("s") as claimed:
            assert claimed.state.data_buffer == {"by": "hand"}
            claimed.complete()
        raw = self.raw(backend, "s")
        # The foreign state is ACTIVE and nobody held it: the claim records a death first.
        assert (raw["revision"], raw["recovery"]["count"]) == (7, 1)

    def test_a_foreign_change_of_the_same_size_and_revision_is_noticed(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("goal-a", session_id="s")
        foreign = self.read_raw(backend, "s").replace(b"goal-a", b"goal-b")
        self.write_raw(backend, "s", foreign)
        with pytest.raises(RevisionConflict):
            session.save()
        assert self.read_raw(backend, "s") == foreign
        forget(session)

    def test_damage_underneath_is_refused_and_kept(self, backend: BackendT, store: Store) -> None:
        session = store.create("g", session_id="s")
        torn = self.damage(backend, "s")
        with pytest.raises(RevisionConflict) as refusal:
            session.save()
        assert refusal.value.found is None
        assert self.read_raw(backend, "s") == torn
        forget(session)

    def test_saves_from_several_threads_queue_up(self, backend: BackendT, store: Store) -> None:
        session = store.create("g", session_id="s")

        def save(_: int) -> list[int]:
            return [session.save() for _turn in range(10)]

        revisions: list[int] = []
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)  # seconds: the threads shall meet everywhere
        try:
            outcomes = in_threads(4, save)
        finally:
            sys.setswitchinterval(interval)
        session.release()
        for outcome in outcomes:
            assert isinstance(outcome, list), outcome
            assert outcome == sorted(outcome)
            revisions += outcome
        assert sorted(revisions) == list(range(2, 42)), "each save returns its own revision"
        assert self.raw(backend, "s")["revision"] == 42  # and one for the pause

    def test_a_lockless_owner_that_lives_is_left_in_peace(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        session.checkpoint("step")
        with live_owner() as owner:
            self.abandon(backend, session, owner)
            before = self.read_raw(backend, "s")
            for force in (False, True):
                for attempt in (store.claim, store.resume):
                    with pytest.raises(SessionClaimed) as refusal:
                        attempt("s", force=force)
                    assert refusal.value.owner.pid == owner.pid
            with pytest.raises(SessionClaimed):
                store.delete("s", force=True)
            assert self.read_raw(backend, "s") == before
            assert not backend.probe("s").held
        with store.claim("s") as claimed:  # it has died now
            claimed.complete()

    def test_an_unknown_owner_gives_way_to_force_only(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        session.checkpoint("step")
        forget(session)
        before = self.rewrite(backend, "s", owner=None, pid=None)
        for attempt in (store.claim, store.resume):
            with pytest.raises(SessionClaimed, match="no owner recorded"):
                attempt("s")
        assert self.read_raw(backend, "s") == before
        with store.resume("s", force=True) as resumed:
            assert self.raw(backend, "s")["owner"]["token"] == resumed.owner.token

    def test_a_dead_owner_is_in_nobodys_way(self, backend: BackendT, store: Store) -> None:
        self.abandon(backend, store.create("g", session_id="s"))
        claimed = store.claim("s")
        raw = self.raw(backend, "s")
        assert (raw["status"], raw["owner"]["token"]) == ("active", claimed.owner.token)
        assert raw["recovery"]["count"] == 1
        claimed.release()

    @pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
    def test_an_interrupted_save_leaves_the_session_usable(
        self, backend: BackendT, store: Store, monkeypatch: pytest.MonkeyPatch, done: bool
    ) -> None:
        session = store.create("g", session_id="s")
        session.state.data_buffer["n"] = 1
        interrupt_next_write(session, monkeypatch, done=done)
        with pytest.raises(KeyboardInterrupt):
            session.save()
        assert self.raw(backend, "s")["revision"] == (2 if done else 1)
        session.state.data_buffer["n"] = 2
        assert session.save() == (3 if done else 2)
        raw = self.raw(backend, "s")
        assert (raw["revision"], raw["data_buffer"]) == (session.revision, {"n": 2})
        session.release()

    @pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
    def test_an_interrupted_checkpoint_is_known_if_it_was_kept(
        self, backend: BackendT, store: Store, monkeypatch: pytest.MonkeyPatch, done: bool
    ) -> None:
        session = store.create("g", session_id="s")
        interrupt_next_write(session, monkeypatch, done=done)
        with pytest.raises(KeyboardInterrupt):
            session.checkpoint("step")
        kept = backend.checkpoint_ids("s")
        assert len(kept) == int(done)
        session.save()
        raw = self.raw(backend, "s")
        assert raw["latest_checkpoint_id"] == (kept[0] if done else None)
        session.fail("enough")
        left = backend.checkpoint_ids("s")
        assert left == kept if done else len(left) <= 1  # the last save

    @pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
    def test_an_interrupted_end_can_be_said_again(
        self, backend: BackendT, store: Store, monkeypatch: pytest.MonkeyPatch, done: bool
    ) -> None:
        session = store.create("g", session_id="s")
        interrupt_next_write(session, monkeypatch, done=done)
        with pytest.raises(KeyboardInterrupt):
            session.complete(output={"answer": 42})
        assert not session.is_released
        session.complete(output={"answer": 42})
        raw = self.raw(backend, "s")
        assert (raw["status"], raw["result"]["output"]) == ("completed", {"answer": 42})
        assert raw["revision"] == (3 if done else 2)
        assert not backend.probe("s").held

    @pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
    def test_an_interrupt_inside_a_block_pauses_the_session(
        self, backend: BackendT, store: Store, monkeypatch: pytest.MonkeyPatch, done: bool
    ) -> None:
        def be_interrupted() -> None:
            with store.create("g", session_id="s") as session:
                session.state.data_buffer["n"] = 1
                interrupt_next_write(session, monkeypatch, done=done)
                session.save()

        with pytest.raises(KeyboardInterrupt):
            be_interrupted()
        raw = self.raw(backend, "s")
        assert (raw["status"], raw["data_buffer"]) == ("paused", {"n": 1})
        assert raw["revision"] == (3 if done else 2)
        assert (raw["recovery"]["stops"], raw["recovery"]["count"]) == (1, 0)
        assert [item.session_id for item in store.find(interrupted=True)] == ["s"]
        assert not backend.probe("s").held

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
    def test_a_forked_child_cannot_write(self, backend: BackendT, store: Store) -> None:
        session = store.create("g", session_id="s")

        def try_it() -> bool:
            refused = 0
            for write in (session.save, session.checkpoint, session.pause):
                try:
                    write()
                except ClaimLost:
                    refused += 1
            with session:  # leaving says nothing either
                pass
            session.release()
            return refused == 3

        with warnings.catch_warnings():
            # The threads that Python 3.12 warns of are the test runner's.
            warnings.simplefilter("ignore", DeprecationWarning)
            assert forked(try_it)
        assert self.raw(backend, "s")["revision"] == 1
        assert backend.probe("s").held
        assert session.save() == 2
        session.release()
