"""An exception that arrives from outside in the middle of a write, and a fork."""

# ruff: noqa: D102
# The name of each test is the claim that it proves.

from __future__ import annotations

import os
import warnings
from typing import Any

import pytest

from sessionstore.errors import ClaimLost
from sessionstore.model.state import SessionState
from sessionstore.session.session import Session
from sessionstore.store.store import SessionStore
from sessionstore.testing.harness import BackendT, Harness, forked

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


class InterruptingContract(Harness[BackendT]):
    """The session stays usable, and its revisions stay without gaps."""

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
        assert store.find(resumable=True).items == () or done

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
    def test_an_interrupt_inside_a_block_cancels_the_session(
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
        assert (raw["status"], raw["data_buffer"]) == ("cancelled", {"n": 1})
        assert raw["revision"] == (3 if done else 2)
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
