"""What a journal refuses: claims that ended, requests to cancel, names, keys and values."""

# ruff: noqa: D102
# The name of each test is the claim that it proves.

from __future__ import annotations

from typing import Any

import pytest

from sessionstore.errors import (
    CancellationRequested,
    ClaimLost,
    InvalidSessionId,
    NotStorable,
    RevisionConflict,
    SessionClaimed,
    SessionNotFound,
)
from sessionstore.model.journal import MAX_KEY_LENGTH, MAX_RECORD_BYTES
from sessionstore.model.state import SessionState
from sessionstore.store.store import SessionStore
from sessionstore.testing.harness import BackendT, Harness, forget
from sessionstore.testing.journal import values

Store = SessionStore[SessionState]


class JournalRefusalContract(Harness[BackendT]):
    """A refused append leaves the journal as it was."""

    # --- who may append --------------------------------------------------------------------------

    def test_a_claim_that_ended_appends_nothing(self, backend: BackendT, store: Store) -> None:
        session = store.create("g", session_id="s")
        journal = session.journal()
        journal.append("a")
        session.complete()
        for append in (journal.append, session.journal("other").append):
            with pytest.raises(ClaimLost):
                append("b")
        with pytest.raises(ClaimLost):
            journal.rewrite([])
        assert values(self.other_store(backend).journal("s")) == ["a"]
        assert [one.name for one in store.journals("s")] == ["main"]

    def test_a_session_that_was_deleted_or_changed_underneath_takes_no_record(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        session.journal().append("a")
        self.rewrite(backend, "s", revision=9)
        with pytest.raises(RevisionConflict):
            session.save()
        forget(session)
        store.create("g", session_id="t").delete()
        with pytest.raises(SessionNotFound):
            store.journal("t").read()

    def test_a_request_to_cancel_is_heeded_and_nothing_appended(self, store: Store) -> None:
        session = store.create("g", session_id="s")
        session.journal().append("a")
        store.cancel("s", reason="too late")
        for append in (session.journal().append, session.journal("new").append):
            with pytest.raises(CancellationRequested, match="too late"):
                append("b")
        session.cancel("as I was told")
        assert values(store.journal("s")) == ["a"]
        assert values(store.journal("s", "new")) == []

    # --- refusals --------------------------------------------------------------------------------

    @pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "con", "x" * 200, "a\nb"])
    def test_a_name_that_is_not_safe_is_refused(self, store: Store, name: str) -> None:
        with store.create("g", session_id="s") as session:
            for get in (session.journal, lambda name: store.journal("s", name)):
                with pytest.raises(InvalidSessionId, match="journal name"):
                    get(name)
            session.complete()

    def test_the_journal_of_steps_belongs_to_the_store(self, store: Store) -> None:
        with store.create("g", session_id="s") as session:
            for name in ("steps", "Steps"):
                with pytest.raises(ValueError, match="the store's own"):
                    session.journal(name)
            session.complete()
        assert store.journal("s", "steps").read() == []

    @pytest.mark.parametrize(
        ("value", "path"),
        [
            (float("nan"), "journal main, record 1: "),
            ({"a": [1, {2: 3}]}, "record 1, a[1]"),
            ({"a": {"b": (1,)}}, "record 1, a.b"),
            ([b"x"], "record 1"),
            ({"text": "\ud800"}, "record 1, text"),
            ({1}, "record 1"),
        ],
    )
    def test_what_cannot_be_stored_is_refused_with_its_record_and_path(
        self, store: Store, value: Any, path: str
    ) -> None:
        with store.create("g", session_id="s") as session:
            with pytest.raises(NotStorable) as refusal:
                session.journal().append("fine", value)
            assert path in str(refusal.value)
            assert session.journal().count() == 0
            session.complete()

    def test_a_record_that_is_too_large_is_refused_with_advice(self, store: Store) -> None:
        with store.create("g", session_id="s") as session:
            with pytest.raises(NotStorable, match="in a file of the session's directory"):
                session.journal().append("x" * MAX_RECORD_BYTES)
            largest = "x" * (MAX_RECORD_BYTES - 2)  # the quotes
            assert session.journal().append(largest) == 1
            assert values(session.journal()) == [largest]
            session.complete()

    def test_a_key_is_text_of_a_limited_length(self, store: Store) -> None:
        with store.create("g", session_id="s") as session:
            for key in ("", "x" * (MAX_KEY_LENGTH + 1), "\ud800"):
                with pytest.raises(ValueError, match="key"):
                    session.journal().append("a", key=key)
            with pytest.raises(TypeError):
                session.journal().append("a", key=7)  # type: ignore[arg-type]  # what is refused
            longest = "ü" * MAX_KEY_LENGTH
            assert session.journal().append("a", key=longest) == 1
            assert session.journal().append("a", key=longest) == 1
            session.complete()

    def test_a_journal_of_a_held_session_is_appended_to_by_its_holder_alone(
        self, backend: BackendT, store: Store
    ) -> None:
        session = store.create("g", session_id="s")
        session.journal().append("a")
        with pytest.raises(SessionClaimed):
            self.other_store(backend).claim("s")
        with pytest.raises(SessionClaimed), self.other_store(backend).edit("s", timeout=0):
            pass
        session.complete()
