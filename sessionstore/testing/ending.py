"""How a ``with`` block ends a session that is still running."""

# ruff: noqa: D102
# The name of each test is the claim that it proves.

from __future__ import annotations

import asyncio

import pytest

from sessionstore.errors import NotStorable, RevisionConflict
from sessionstore.model.state import SessionState
from sessionstore.store.store import SessionStore
from sessionstore.testing.harness import BackendT, Harness, leave

Store = SessionStore[SessionState]

VERDICTS: tuple[tuple[BaseException, str, str | None], ...] = (
    (ValueError("no such city"), "failed", "ValueError: no such city"),
    (asyncio.CancelledError(), "cancelled", "CancelledError"),
    (KeyboardInterrupt(), "cancelled", "KeyboardInterrupt"),
    (SystemExit(3), "paused", None),
)


class EndingContract(Harness[BackendT]):
    """Leaving while ACTIVE says how it ended; the exception always goes on."""

    @pytest.mark.parametrize(
        ("error", "status", "text"), VERDICTS, ids=[type(v[0]).__name__ for v in VERDICTS]
    )
    def test_an_exception_is_a_verdict_and_goes_on(
        self, backend: BackendT, store: Store, error: BaseException, status: str, text: str | None
    ) -> None:
        session = store.create("g", session_id="s")
        with pytest.raises(type(error)) as raised:
            leave(session, error)
        assert raised.value is error
        raw = self.raw(backend, "s")
        assert (raw["status"], raw["result"]["error"]) == (status, text)
        assert raw["owner"] is None
        assert not backend.probe("s").held

    def test_an_end_without_a_verdict_pauses(self, backend: BackendT, store: Store) -> None:
        with store.create("g", session_id="s") as session:
            session.state.data_buffer["unsaved"] = 1
        raw = self.raw(backend, "s")
        assert (raw["status"], raw["result"]["success"]) == ("paused", None)
        assert raw["data_buffer"] == {"unsaved": 1}
        assert raw["is_resumable"]

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
        assert raw["result"]["error"] == "ValueError: went wrong"
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
