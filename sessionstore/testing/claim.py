"""The contract of a Claim, condition by condition, below the store."""

# ruff: noqa: D102
# The name of each test is the claim that it proves.

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator

import pytest

from sessionstore import clock
from sessionstore.errors import ClaimLost, RevisionConflict, SessionClaimed, SessionNotFound
from sessionstore.model.state import SessionOwner
from sessionstore.process import identity
from sessionstore.storage.claim import Claim
from sessionstore.testing.harness import BackendT, Harness, forked, in_a_thread


def payload(revision: int, filling: str = "") -> bytes:
    """Return the bytes of a revision, as far as a backend looks at them."""
    return json.dumps({"revision": revision, "filling": filling}).encode()


def new_owner() -> SessionOwner:
    """Return an owner record of this process with a token of its own."""
    return identity.new_owner(clock.utc_now())


class ClaimContract(Harness[BackendT]):
    """What storage/claim.py says of claims."""

    @pytest.fixture
    def claim(self, backend: BackendT) -> Iterator[Claim]:
        """Yield a claim on a new session ``s``, at revision 1."""
        claim = backend.create("s", payload(1), new_owner())
        yield claim
        claim.release()

    def test_a_write_replaces_the_state(self, backend: BackendT, claim: Claim) -> None:
        claim.write(payload(2), 2)
        assert self.read_raw(backend, "s") == payload(2)
        assert self.reopen(backend).read("s").payload == payload(2)
        assert claim.read().payload == payload(2)

    def test_a_write_with_a_checkpoint_keeps_the_same_bytes(
        self, backend: BackendT, claim: Claim
    ) -> None:
        claim.write(payload(2, "kept"), 2, checkpoint_id="cp-2")
        claim.write(payload(3, "went on"), 3)
        assert self.read_raw_checkpoint(backend, "s", "cp-2") == payload(2, "kept")
        assert self.reopen(backend).read_checkpoint("s", "cp-2").payload == payload(2, "kept")
        assert self.read_raw(backend, "s") == payload(3, "went on")

    def test_a_foreign_change_is_never_replaced(self, backend: BackendT, claim: Claim) -> None:
        foreign = payload(7, "somebody else's")
        self.write_raw(backend, "s", foreign)
        for _ in range(2):  # not the second time either
            with pytest.raises(RevisionConflict) as refusal:
                claim.write(payload(2), 2)
            assert refusal.value.found == 7
            assert self.read_raw(backend, "s") == foreign

    def test_a_refused_write_keeps_no_checkpoint(self, backend: BackendT, claim: Claim) -> None:
        self.write_raw(backend, "s", payload(7))
        with pytest.raises(RevisionConflict):
            claim.write(payload(2), 2, checkpoint_id="cp-2")
        assert self.read_raw_checkpoint(backend, "s", "cp-2") is None
        assert backend.checkpoint_ids("s") == []

    def test_the_first_read_is_what_the_first_write_replaces(
        self, backend: BackendT, claim: Claim
    ) -> None:
        claim.release()
        self.write_raw(backend, "s", payload(7))
        successor = backend.claim("s", new_owner(), timeout=0.0)
        assert successor.read().payload == payload(7)
        successor.write(payload(8), 8)
        assert self.read_raw(backend, "s") == payload(8)
        successor.release()

    def test_a_read_notices_a_foreign_change(self, backend: BackendT, claim: Claim) -> None:
        claim.write(payload(2), 2)
        self.write_raw(backend, "s", payload(7))
        with pytest.raises(RevisionConflict):
            claim.read()
        with pytest.raises(RevisionConflict):
            claim.write(payload(3), 3)
        assert self.read_raw(backend, "s") == payload(7)

    def test_a_released_claim_writes_nothing(self, backend: BackendT, claim: Claim) -> None:
        claim.release()
        with pytest.raises(ClaimLost):
            claim.write(payload(2), 2, checkpoint_id="cp-2")
        with pytest.raises(ClaimLost):
            claim.keep_current("cp-1")
        assert self.read_raw(backend, "s") == payload(1)
        assert backend.checkpoint_ids("s") == []

    def test_a_late_claim_never_writes_to_a_session_of_the_same_id(
        self, backend: BackendT, claim: Claim
    ) -> None:
        claim.delete()
        successor = backend.create("s", payload(1, "another"), new_owner())
        with pytest.raises(ClaimLost):
            claim.write(payload(2, "late"), 2)
        claim.release()  # ends nothing that belongs to the successor
        assert self.read_raw(backend, "s") == payload(1, "another")
        assert backend.probe("s").held
        successor.release()

    def test_whether_a_write_took_effect_can_be_asked(self, claim: Claim) -> None:
        assert not claim.took_effect(2)
        claim.write(payload(2), 2)
        assert claim.took_effect(2)
        assert not claim.took_effect(3)

    def test_the_current_state_can_be_kept(self, backend: BackendT, claim: Claim) -> None:
        claim.keep_current("cp-1")
        claim.write(payload(2), 2)
        assert self.read_raw_checkpoint(backend, "s", "cp-1") == payload(1)

    def test_a_foreign_state_is_not_kept_as_the_current_one(
        self, backend: BackendT, claim: Claim
    ) -> None:
        self.write_raw(backend, "s", payload(7))
        with pytest.raises(RevisionConflict):
            claim.keep_current("cp-1")
        assert self.read_raw_checkpoint(backend, "s", "cp-1") is None

    def test_checkpoints_are_listed_and_removed(self, backend: BackendT, claim: Claim) -> None:
        assert claim.checkpoint_ids() == backend.checkpoint_ids("s") == []
        claim.write(payload(2), 2, checkpoint_id="cp-2")
        claim.write(payload(3), 3, checkpoint_id="cp-3")
        assert set(claim.checkpoint_ids()) == set(backend.checkpoint_ids("s")) == {"cp-2", "cp-3"}
        claim.remove_checkpoint("cp-3")
        claim.remove_checkpoint("cp-3")  # one that is not there is no error
        assert claim.checkpoint_ids() == ["cp-2"]
        assert self.read_raw_checkpoint(backend, "s", "cp-3") is None
        assert self.read_raw(backend, "s") == payload(3)  # it shared its bytes with cp-3
        claim.write(payload(4), 4)

    def test_a_delete_leaves_nothing_and_ends_the_claim(
        self, backend: BackendT, claim: Claim
    ) -> None:
        claim.write(payload(2), 2, checkpoint_id="cp-2")
        claim.delete()
        assert not self.reopen(backend).exists("s")
        assert "s" not in list(backend.ids())
        with pytest.raises(SessionNotFound):
            backend.read("s")
        again = backend.create("s", payload(1, "again"), new_owner())
        assert again.checkpoint_ids() == []
        again.release()

    def test_a_release_can_be_repeated(self, backend: BackendT, claim: Claim) -> None:
        claim.release()
        successor = backend.claim("s", new_owner(), timeout=0.0)
        claim.release()
        assert backend.probe("s").held
        successor.release()
        assert not backend.probe("s").held

    def test_a_claim_knows_who_held_the_session_before(
        self, backend: BackendT, claim: Claim
    ) -> None:
        claim.release()
        successor = self.reopen(backend).claim("s", new_owner(), timeout=0.0)
        assert successor.previous_owner is not None
        assert successor.previous_owner.token == claim.owner.token
        successor.release()

    def test_a_claim_may_be_used_and_released_by_another_thread(
        self, backend: BackendT, claim: Claim
    ) -> None:
        assert in_a_thread(lambda: claim.write(payload(2), 2)) is None
        assert in_a_thread(claim.release) is None
        assert self.read_raw(backend, "s") == payload(2)
        assert not backend.probe("s").held

    def test_a_claim_outlives_the_closing_of_its_backend(
        self, backend: BackendT, claim: Claim
    ) -> None:
        backend.close()
        claim.write(payload(2), 2)
        assert self.read_raw(backend, "s") == payload(2)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
    def test_a_release_in_a_forked_child_ends_nothing(
        self, backend: BackendT, claim: Claim
    ) -> None:
        def release_in_child() -> bool:
            claim.release()
            return True

        with warnings.catch_warnings():
            # The threads that Python 3.12 warns of are the test runner's.
            warnings.simplefilter("ignore", DeprecationWarning)
            assert forked(release_in_child)
        assert self.reopen(backend).probe("s").held
        with pytest.raises(SessionClaimed):
            backend.claim("s", new_owner(), timeout=0.0)
        claim.write(payload(2), 2)
        assert self.read_raw(backend, "s") == payload(2)
