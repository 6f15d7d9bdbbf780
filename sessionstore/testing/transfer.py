"""Whole sessions move out and in, change under a watcher's eyes, and go when a policy says so."""

# ruff: noqa: D102
# The name of each test is the claim that it proves.

from __future__ import annotations

import io
from typing import Any

import pytest

from sessionstore.errors import ArchiveRefused, SessionExists, SessionNotFound
from sessionstore.model.journal import JournalRecord, Position, Rewind
from sessionstore.model.state import SessionState, SessionStatus
from sessionstore.operations.retention import RetentionPolicy
from sessionstore.store.store import SessionStore
from sessionstore.testing.harness import DEADLINE, BackendT, Harness, forget

Store = SessionStore[SessionState]

AT = "2026-11-28T12:00:00Z"


def ended(store: Store, session_id: str = "s") -> str:
    """Make a session with a checkpoint that came to its end; return the checkpoint's id."""
    with store.create("g", session_id=session_id) as session:
        session.state.data_buffer["done"] = 1
        kept = session.checkpoint("step").checkpoint_id
        session.complete()
    return kept


class TransferContract(Harness[BackendT]):
    """``receive``, ``version`` and ``notifier``, and what the store makes of them."""

    # --- in --------------------------------------------------------------------------------------

    def test_what_comes_in_is_seen_once_it_is_adopted(
        self, backend: BackendT, store: Store
    ) -> None:
        kept = ended(store, "other")
        state, checkpoint = backend.read("other"), backend.read_checkpoint("other", kept)
        payload = state.payload.replace(b'"other"', b'"s"')
        with backend.importer() as importer:
            importer.put_state("s", payload)
            importer.put_checkpoint("s", kept, checkpoint.payload)
            assert not backend.exists("s")
            assert list(backend.ids()) == ["other"]
            with pytest.raises(SessionNotFound):
                store.load("s")
            importer.publish("s")
            assert self.read_raw(backend, "s") == payload
        assert self.read_raw(backend, "s") == payload
        assert self.read_raw_checkpoint(backend, "s", kept) == checkpoint.payload
        assert not backend.probe("s").held
        with store.claim("s") as session:
            session.save()

    def test_a_journal_comes_in_with_its_numbers_keys_and_ways_back(
        self, backend: BackendT, store: Store
    ) -> None:
        ended(store, "other")
        payload = backend.read("other").payload.replace(b'"other"', b'"s"')
        batches: list[list[JournalRecord | Rewind]] = [
            [JournalRecord(1, AT, {"a": [1, 2.5]}), JournalRecord(2, AT, "two", "k")],
            [Rewind(1, 4), JournalRecord(6, AT, "six")],
        ]
        with backend.importer() as importer:
            importer.put_state("s", payload)
            importer.put_journal("s", "main", batches)
            importer.put_journal("s", "empty", [])
            importer.publish("s")
        assert backend.journal_names("s") == ["empty", "main"]
        assert [one.items for one in backend.read_journal("s", "main", Position())] == batches
        assert [one.number for one in store.journal("s")] == [1, 6]
        with store.claim("s") as session:
            assert session.journal().append("seven", key="k") == 7  # its record no longer counts
            assert session.journal("empty").append(1) == 1

    def test_journals_move_out_and_in(self, backend: BackendT, store: Store) -> None:
        with store.create("g", session_id="s") as session:
            session.journal().append("one", "two", key="k")
            kept = session.checkpoint("step").checkpoint_id
            session.journal().append("three")
            session.journal().rewrite(["four"])
            session.complete()
        before = [one.items for one in backend.read_journal("s", "main", Position())]
        out = io.BytesIO()
        assert store.export_sessions(out, ["s"]).exported[0].journals == 1
        store.delete("s")
        report = store.import_sessions(io.BytesIO(out.getvalue()))
        assert (report.imported[0].journals, report.imported[0].damage) == (1, ())
        assert [one.items for one in backend.read_journal("s", "main", Position())] == before
        with store.resume("s", checkpoint_id=kept, again=True) as session:
            assert [one.value for one in session.journal()] == ["one", "two"]
            session.complete()

    def test_what_is_not_adopted_is_gone(self, backend: BackendT, store: Store) -> None:
        ended(store, "other")
        with backend.importer() as importer:
            importer.put_state("s", backend.read("other").payload)
        assert list(self.reopen(backend).ids()) == ["other"]
        with store.create("g", session_id="s") as session:  # nothing is in its way
            session.complete()

    def test_nothing_is_adopted_over_a_session(self, backend: BackendT, store: Store) -> None:
        ended(store)
        before = self.read_raw(backend, "s")
        with backend.importer() as importer:
            importer.put_state("s", b"{}")
            with pytest.raises(SessionExists):
                importer.publish("s")
        assert self.read_raw(backend, "s") == before

    def test_a_session_moves_out_and_in(self, backend: BackendT, store: Store) -> None:
        kept = ended(store)
        out = io.BytesIO()
        assert store.export_sessions(out, ["s"]).is_whole
        before = self.read_raw(backend, "s"), self.read_raw_checkpoint(backend, "s", kept)
        store.delete("s")
        assert store.import_sessions(io.BytesIO(out.getvalue())).is_whole
        after = self.read_raw(backend, "s"), self.read_raw_checkpoint(backend, "s", kept)
        assert after == before
        again = store.import_sessions(io.BytesIO(out.getvalue()))
        assert [item.session_id for item in again.existing] == ["s"]
        with pytest.raises(ArchiveRefused):
            store.import_sessions(io.BytesIO(out.getvalue()[:-100]))

    # --- changes ---------------------------------------------------------------------------------

    def test_every_write_gives_another_version(self, backend: BackendT, store: Store) -> None:
        assert backend.version("s") is None
        versions: list[Any] = []
        session = store.create("g", session_id="s")
        for _ in range(20):
            versions.append(backend.version("s"))
            session.save()
        session.complete()
        versions.append(backend.version("s"))
        assert backend.version("s") == versions[-1]
        self.damage(backend, "s")
        versions.append(backend.version("s"))
        assert None not in versions
        assert len(set(versions)) == 22
        store.delete("s", force=True)
        assert backend.version("s") is None

    def test_a_change_by_another_process_is_watched(self, backend: BackendT, store: Store) -> None:
        session = self.other_store(backend).create("g", session_id="s")
        seen = []
        for change in store.watch(["s"], until="completed", timeout=DEADLINE, poll=0.02):
            seen.append(change.summary.status)
            if len(seen) == 1:
                session.complete()
        assert seen == [SessionStatus.ACTIVE, SessionStatus.COMPLETED]

    # --- going -----------------------------------------------------------------------------------

    def test_a_policy_takes_what_nobody_holds(self, backend: BackendT, store: Store) -> None:
        ended(store, "free")
        ended(store, "held")
        session = self.other_store(backend).claim("held")
        active = store.create("g", session_id="active")
        report = store.prune(RetentionPolicy(older_than=0), apply=True)
        assert [item.session_id for item in report.sessions] == ["free"]
        assert [item.session_id for item in report.spared] == ["held"]
        assert sorted(backend.ids()) == ["active", "held"]
        forget(session)
        forget(active)

    def test_a_policy_takes_checkpoints_but_the_one_to_resume(
        self, backend: BackendT, store: Store
    ) -> None:
        with store.create("g", session_id="s") as session:
            kept = [session.checkpoint("step").checkpoint_id for _ in range(4)]
            session.complete()
        report = store.prune(RetentionPolicy(keep_checkpoints=0), apply=True)
        assert list(report.checkpoints[0].checkpoints) == kept[:-1]
        assert self.read_raw_checkpoint(backend, "s", kept[0]) is None
        assert self.read_raw_checkpoint(backend, "s", kept[-1]) is not None
        with store.resume("s", again=True) as session:
            session.complete()
