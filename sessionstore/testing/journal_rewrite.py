"""Journals whose space is freed, and the time of the last append to any of them."""

# ruff: noqa: D102
# The name of each test is the claim that it proves.

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sessionstore.errors import ClaimLost
from sessionstore.model.journal import JournalRecord, Position, Rewind
from sessionstore.model.state import SessionState
from sessionstore.operations.retention import RetentionPolicy
from sessionstore.storage.backend import Backend
from sessionstore.storage.claim import Claim
from sessionstore.store.store import SessionStore
from sessionstore.testing.claim import new_owner
from sessionstore.testing.harness import BackendT, Harness
from sessionstore.testing.journal import values

Store = SessionStore[SessionState]
Items = list[JournalRecord | Rewind]

BULK = "x" * 10_000
"""More than a backend may round a journal up to, so that a prune finds something to free."""


def lines(backend: Backend, name: str = "main") -> list[Items]:
    """Return the batches of a journal of the session ``s``."""
    return [batch.items for batch in backend.read_journal("s", name, Position())]


def claimed(backend: Backend) -> Claim:
    """Return a claim on the session ``s``; skip where a claim frees no space."""
    claim = backend.claim("s", new_owner(), timeout=0.0)
    if type(claim).rewrite_journal is Claim.rewrite_journal:
        claim.release()
        pytest.skip("this place keeps no journals in a form of its own")
    claim.read()
    return claim


class JournalRewriteContract(Harness[BackendT]):
    """A rewrite drops the lines that it is not given, and tells of all others what it told."""

    @pytest.fixture
    def written(self, store: Store) -> None:
        """A session ``s`` that nobody holds, with seven records in four appends."""
        with store.create("g", session_id="s") as session:
            session.journal("other").append("untouched")
            session.journal().append("a", "b", key="two")
            session.journal().append("c", "d", key="four")
            session.journal().append("e", {"f": [1.5, None]}, key="six")
            session.journal().append("g", key="seven")
            session.pause()

    # --- rewrite ---------------------------------------------------------------------------------

    @pytest.mark.usefixtures("written")
    def test_a_rewritten_journal_has_the_lines_it_was_given_as_they_were(
        self, backend: BackendT, store: Store
    ) -> None:
        first, _, third, last = lines(backend)
        wanted: list[Items] = [first, [Rewind(2, 3)], [*third], last]
        claim = claimed(backend)
        claim.rewrite_journal("main", wanted)
        claim.release()
        other = self.reopen(backend)
        assert lines(backend) == lines(other) == wanted  # numbers, times, keys and batches
        assert other.journal_rewinds("s", "main") == [Rewind(2, 3)]
        assert [batch[0].number for batch in lines(other, "other")] == [1]
        assert store.journal("s").count() == 5
        assert values(store.journal("s")) == ["a", "b", "e", {"f": [1.5, None]}, "g"]

    @pytest.mark.usefixtures("written")
    def test_keys_and_numbers_go_on_in_a_rewritten_journal(
        self, backend: BackendT, store: Store
    ) -> None:
        first, *_ = lines(backend)
        claim = claimed(backend)
        claim.rewrite_journal("main", [first, [Rewind(2, 7)]])
        claim.release()
        # The state says that the journal ended elsewhere.
        with self.other_store(backend).resume("s") as session:
            journal = session.journal()
            assert journal.append("again", key="two") == 2
            assert journal.append("h", key="four") == 9, "a number was given again"
            assert journal.append("i") == 10
            session.complete()
        assert values(store.journal("s")) == ["a", "b", "h", "i"]

    @pytest.mark.usefixtures("written")
    def test_numbers_go_on_where_a_rewrite_left_no_record(
        self, backend: BackendT, store: Store
    ) -> None:
        claim = claimed(backend)
        claim.rewrite_journal("main", [[Rewind(0, 7)]])
        claim.release()
        assert (values(store.journal("s")), store.journal("s").count()) == ([], 0)
        with store.resume("s") as session:
            assert session.journal().append("h", key="two") == 9
            session.complete()
        assert values(self.other_store(backend).journal("s")) == ["h"]

    @pytest.mark.usefixtures("written")
    def test_the_lines_may_be_read_from_the_journal_that_they_replace(
        self, backend: BackendT
    ) -> None:
        wanted = lines(backend)
        claim = claimed(backend)
        for _ in range(2):
            batches = (batch.items for batch in backend.read_journal("s", "main", Position()))
            claim.rewrite_journal("main", batches)
        claim.release()
        assert lines(self.reopen(backend)) == wanted

    @pytest.mark.usefixtures("written")
    def test_a_rewrite_that_fails_half_way_changes_nothing(
        self, backend: BackendT, store: Store
    ) -> None:
        before = lines(backend)

        def failing() -> Iterator[Items]:
            yield before[0]
            raise KeyboardInterrupt

        claim = claimed(backend)
        with pytest.raises(KeyboardInterrupt):
            claim.rewrite_journal("main", failing())
        assert lines(backend) == before
        claim.release()
        assert lines(self.reopen(backend)) == before
        with store.resume("s") as session:
            assert session.journal().append("h") == 8
            session.complete()

    @pytest.mark.usefixtures("written")
    def test_a_claim_that_ended_rewrites_nothing(self, backend: BackendT) -> None:
        before = lines(backend)
        claim = claimed(backend)
        claim.release()
        with pytest.raises(ClaimLost):
            claim.rewrite_journal("main", [before[0]])
        assert lines(backend) == before

    @pytest.mark.usefixtures("written")
    def test_a_reader_goes_on_behind_what_it_saw_of_the_journal_before(
        self, backend: BackendT
    ) -> None:
        _, second, third, _ = list(backend.read_journal("s", "main", Position()))
        first, *_ = lines(backend)
        claim = claimed(backend)
        claim.rewrite_journal("main", [first, [Rewind(2, 6)]])
        claim.release()
        for seen in (second.end, third.end):
            behind = [batch.items for batch in backend.read_journal("s", "main", seen)]
            assert behind == [[Rewind(2, 6)]]

    # --- prune -----------------------------------------------------------------------------------

    def test_a_prune_frees_what_nothing_goes_back_to_and_numbers_go_on(
        self, backend: BackendT, store: Store
    ) -> None:
        with store.create("g", session_id="s") as session:
            session.journal().append(BULK, key="gone")
            session.checkpoint("step")
            last = session.journal().rewrite(["kept", BULK])
            session.step("counted", len, BULK)
            session.checkpoint("step")
            session.complete()
        claimed(backend).release()
        before, told = list(store.journal("s")), backend.last_appended_at("s")
        policy = RetentionPolicy(keep_checkpoints=0, step_values=True)
        (entry,) = store.prune(policy, apply=True).checkpoints
        assert (entry.journals, entry.step_values) == (("main",), 1)
        reader = self.other_store(backend).journal("s")
        assert reader.read() == reader.read(everything=True) == before
        assert backend.last_appended_at("s") == told
        assert [one.is_pruned for one in store.steps("s")] == [True]
        with store.resume("s", again=True) as session:
            assert session.journal().append("next", key="gone") > last
            session.complete()
        assert not store.check().has_damage

    # --- the last append -------------------------------------------------------------------------

    @pytest.mark.usefixtures("written")
    def test_the_last_append_to_any_journal_is_told_to_everybody(
        self, backend: BackendT, store: Store
    ) -> None:
        for name in ("main", "other", "new", "other"):
            with store.edit("s") as session:
                session.journal(name).append("later", "latest")
            latest = store.journal("s", name).read()[-1].at
            assert backend.last_appended_at("s") == latest
            assert self.reopen(backend).last_appended_at("s") == latest
            assert store.find().items[0].updated_at == latest

    def test_where_nothing_was_appended_no_time_is_told(
        self, backend: BackendT, store: Store
    ) -> None:
        assert backend.last_appended_at("nobody") is None
        with store.create("g", session_id="s") as session:
            assert backend.last_appended_at("s") is None
            session.journal().append("a")
            session.complete()
        assert backend.last_appended_at("s") is not None
        store.delete("s")
        assert backend.last_appended_at("s") is None

    def test_records_that_count_no_more_were_appended_all_the_same(
        self, backend: BackendT, store: Store
    ) -> None:
        with store.create("g", session_id="s") as session:
            session.journal().append("a")
            (record,) = session.journal()
            session.journal().rewrite([])
            session.complete()
        told = backend.last_appended_at("s")
        assert told is not None
        assert told >= record.at
