"""The contract of a Backend, condition by condition, below the store."""

# ruff: noqa: D102
# The name of each test is the claim that it proves.

from __future__ import annotations

import threading

import pytest

from sessionstore.errors import SessionClaimed, SessionCorrupt, SessionExists, SessionNotFound
from sessionstore.model.state import SessionState
from sessionstore.storage.claim import Claim
from sessionstore.store.store import SessionStore
from sessionstore.testing.claim import new_owner, payload
from sessionstore.testing.harness import DEADLINE, BackendT, Harness, in_threads

Store = SessionStore[SessionState]

_BULK = "x" * 100_000


class StorageContract(Harness[BackendT]):
    """What storage/backend.py says of backends, and what a session takes."""

    def create(self, backend: BackendT, session_id: str = "s") -> Claim:
        """Return the claim on a new session at revision 1."""
        return backend.create(session_id, payload(1), new_owner())

    def test_it_has_a_name_for_messages(self, backend: BackendT) -> None:
        assert str(backend)

    def test_an_empty_place_lists_nothing(self, backend: BackendT) -> None:
        assert list(backend.ids()) == []
        assert not backend.exists("s")
        assert backend.tidy() == 0
        with pytest.raises(SessionNotFound):
            backend.read("s")

    def test_a_created_session_is_there_for_everybody(self, backend: BackendT) -> None:
        self.create(backend, "s1").release()
        self.create(backend, "s2").release()
        other = self.reopen(backend)
        assert sorted(other.ids()) == ["s1", "s2"]
        assert other.exists("s1")
        assert not other.exists("s3")
        assert other.read("s1").payload == self.read_raw(backend, "s1") == payload(1)

    def test_a_second_create_changes_nothing(self, backend: BackendT) -> None:
        first = self.create(backend)
        with pytest.raises(SessionExists):
            self.reopen(backend).create("s", payload(1, "second"), new_owner())
        first.release()
        with pytest.raises(SessionExists):
            self.reopen(backend).create("s", payload(1, "third"), new_owner())
        assert self.read_raw(backend, "s") == payload(1)
        assert not backend.probe("s").held

    def test_of_racing_creates_exactly_one_wins(self, backend: BackendT) -> None:
        for turn in range(8):
            session_id = f"s{turn}"

            def attempt(number: int, session_id: str = session_id) -> tuple[int, Claim]:
                mine = payload(1, str(number))
                return number, self.reopen(backend).create(session_id, mine, new_owner())

            outcomes = in_threads(4, attempt)
            won = [outcome for outcome in outcomes if isinstance(outcome, tuple)]
            refused = [outcome for outcome in outcomes if isinstance(outcome, SessionExists)]
            for _, claim in won:
                claim.release()
            assert (len(won), len(refused)) == (1, 3), outcomes
            assert self.read_raw(backend, session_id) == payload(1, str(won[0][0]))

    def test_a_claim_changes_nothing(self, backend: BackendT) -> None:
        self.create(backend).release()
        claim = backend.claim("s", new_owner(), timeout=0.0)
        assert claim.read().payload == self.read_raw(backend, "s") == payload(1)
        claim.release()
        assert self.read_raw(backend, "s") == payload(1)

    def test_no_session_appears_because_it_was_claimed(self, backend: BackendT) -> None:
        for _ in range(2):
            with pytest.raises(SessionNotFound):
                backend.claim("s", new_owner(), timeout=0.0)
        assert list(backend.ids()) == []
        assert not backend.exists("s")
        self.create(backend).release()

    def test_a_second_claim_is_refused_and_told_the_holder(self, backend: BackendT) -> None:
        claim = self.create(backend)
        for place in (backend, self.reopen(backend)):
            with pytest.raises(SessionClaimed) as refusal:
                place.claim("s", new_owner(), timeout=0.0)
            assert refusal.value.owner.token == claim.owner.token
        claim.release()

    def test_a_probe_tells_the_holder_and_does_not_disturb_it(self, backend: BackendT) -> None:
        claim = self.create(backend)
        other = self.reopen(backend)
        for revision in range(2, 20):
            probe = other.probe("s")
            assert probe.held
            assert probe.holder is not None
            assert probe.holder.token == claim.owner.token
            claim.write(payload(revision), revision)
        claim.release()
        assert not other.probe("s").held

    def test_nobody_is_refused_because_somebody_looks(self, backend: BackendT) -> None:
        self.create(backend).release()
        other, done = self.reopen(backend), threading.Event()

        def look_or_claim(number: int) -> None:
            if number == 0:
                while not done.wait(0.001):
                    other.probe("s")
                return
            try:
                for _ in range(100):
                    backend.claim("s", new_owner(), timeout=0.0).release()
            finally:
                done.set()

        assert in_threads(2, look_or_claim) == [None, None]

    def test_a_reader_sees_whole_states_and_never_an_older_one_again(
        self, backend: BackendT
    ) -> None:
        claim, other = self.create(backend), self.reopen(backend)
        states = [payload(1), *(payload(n, "x" * (n * 997 % 50_000)) for n in range(2, 50))]
        done = threading.Event()

        def write_or_read(number: int) -> int:
            if number == 0:
                try:
                    for revision, state in enumerate(states[1:], start=2):
                        claim.write(state, revision)
                finally:
                    done.set()
                return 0
            last = looks = 0
            finished = False
            while not finished:
                finished = done.is_set()  # one more look after the last write
                seen = states.index(other.read("s").payload)  # raises for anything torn
                assert seen >= last
                last = seen
                looks += 1
            assert last == len(states) - 1
            return looks

        written, *looks = in_threads(3, write_or_read)
        assert written == 0
        assert all(isinstance(count, int) and count > 0 for count in looks), looks
        assert self.read_raw(backend, "s") == states[-1]
        claim.release()

    def test_a_missing_checkpoint_is_told_as_such(self, backend: BackendT) -> None:
        self.create(backend).release()
        assert backend.checkpoint_ids("s") == []
        with pytest.raises(SessionCorrupt):
            backend.read_checkpoint("s", "cp-9")

    def test_a_checkpoint_counts_as_current_only_with_the_very_bytes(
        self, backend: BackendT
    ) -> None:
        claim = self.create(backend)
        claim.write(payload(2), 2, checkpoint_id="cp-2")
        if backend.is_current("s", "cp-2"):  # it need not know
            kept = self.read_raw_checkpoint(backend, "s", "cp-2")
            assert kept == self.read_raw(backend, "s")
        claim.write(payload(3), 3)
        assert not backend.is_current("s", "cp-2")
        assert not backend.is_current("s", "cp-9")
        claim.release()

    def test_damaged_bytes_are_kept_and_listed(self, backend: BackendT) -> None:
        self.create(backend).release()
        self.write_raw(backend, "s", b"\0\0\0")
        assert list(backend.ids()) == ["s"]
        assert backend.exists("s")
        summary = backend.summary("s")
        assert summary is not None
        assert summary.damaged
        assert self.read_raw(backend, "s") == b"\0\0\0"

    def test_what_is_gone_has_no_summary(self, backend: BackendT) -> None:
        assert backend.summary("s") is None

    def test_tidying_up_harms_no_session(self, backend: BackendT) -> None:
        claim = self.create(backend)
        claim.write(payload(2), 2, checkpoint_id="cp-2")
        self.reopen(backend).tidy()
        claim.write(payload(3), 3)
        assert self.read_raw(backend, "s") == payload(3)
        assert self.read_raw_checkpoint(backend, "s", "cp-2") == payload(2)
        claim.release()

    def test_a_deleted_session_is_gone_for_everybody_at_once(self, backend: BackendT) -> None:
        claim, other = self.create(backend), self.reopen(backend)
        assert other.exists("s")
        claim.delete()
        with pytest.raises(SessionNotFound):
            other.claim("s", new_owner(), timeout=0.0)
        with pytest.raises(SessionNotFound):
            other.read("s")
        assert not other.probe("s").held

    def test_a_waiting_claim_learns_that_the_session_was_deleted(self, backend: BackendT) -> None:
        claim = self.create(backend)
        waiting = threading.Event()

        def delete_or_wait(number: int) -> None:
            if number == 0:
                waiting.wait(DEADLINE)
                claim.delete()
            else:
                waiting.set()
                self.reopen(backend).claim("s", new_owner(), timeout=DEADLINE)

        deleted, waited = in_threads(2, delete_or_wait)
        assert deleted is None
        assert isinstance(waited, SessionNotFound)
        assert not backend.exists("s")

    def test_a_session_takes_at_least_its_state(self, store: Store) -> None:
        with store.create("g", session_id="s") as session:
            session.state.data_buffer["bulk"] = _BULK
            session.complete()
        found = store.usage("s")
        assert found.bytes >= len(_BULK)
        assert (found.checkpoints, found.checkpoint_bytes) == (0, 0)
        assert found.application_bytes == found.shared_bytes == 0

    def test_each_checkpoint_counts_and_frees_what_only_it_holds(
        self, backend: BackendT, store: Store
    ) -> None:
        with store.create("g", session_id="s") as session:
            session.state.data_buffer["bulk"] = _BULK
            kept = [session.checkpoint("step").checkpoint_id for _ in range(3)]
            session.complete()
        found = backend.usage("s")
        assert found.checkpoints == 3
        assert found.checkpoint_bytes >= 3 * len(_BULK)
        assert backend.freed_by("s", kept) == found.checkpoint_bytes
        assert backend.freed_by("s", kept[:1]) * 3 == pytest.approx(found.checkpoint_bytes, rel=0.1)
        assert backend.freed_by("s", ["cp_none"]) == 0
        with store.claim("s") as session:
            claim = session._writer.claim
            claim.remove_checkpoint(kept[0])
        left = backend.usage("s")
        assert left.checkpoints == 2
        assert found.bytes - left.bytes >= len(_BULK)

    def test_each_journal_counts_with_its_records(self, store: Store) -> None:
        with store.create("g", session_id="s") as session:
            without = store.usage("s")
            session.journal().append(_BULK)
            session.journal("other").append(_BULK, _BULK)
            session.complete()
        found = store.usage("s")
        assert (without.journals, without.journal_bytes, found.journals) == (0, 0, 2)
        assert found.journal_bytes >= 3 * len(_BULK)
        assert found.bytes > found.journal_bytes
        assert found.application_bytes == 0

    def test_a_damaged_session_can_be_measured(self, backend: BackendT, store: Store) -> None:
        with store.create("g", session_id="s") as session:
            session.complete()
        self.damage(backend, "s")
        assert store.usage("s").bytes > 0

    def test_a_session_that_is_not_there_takes_nothing(self, store: Store) -> None:
        with pytest.raises(SessionNotFound):
            store.usage("s")
