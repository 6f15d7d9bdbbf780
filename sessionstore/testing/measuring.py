"""What a session takes: everything counts, and what is shared counts once."""

# ruff: noqa: D102
# The name of each test is the claim that it proves.

from __future__ import annotations

import pytest

from sessionstore.errors import SessionNotFound
from sessionstore.model.state import SessionState
from sessionstore.store.store import SessionStore
from sessionstore.testing.harness import BackendT, Harness

Store = SessionStore[SessionState]
_BULK = "x" * 100_000


class MeasuringContract(Harness[BackendT]):
    """What ``usage`` and ``freed_by`` count."""

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

    def test_a_damaged_session_can_be_measured(self, backend: BackendT, store: Store) -> None:
        with store.create("g", session_id="s") as session:
            session.complete()
        self.damage(backend, "s")
        assert store.usage("s").bytes > 0

    def test_a_session_that_is_not_there_takes_nothing(self, store: Store) -> None:
        with pytest.raises(SessionNotFound):
            store.usage("s")
