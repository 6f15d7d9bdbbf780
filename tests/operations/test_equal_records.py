"""Whatever is done to a store with journals, every session and checkpoint has equal records."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sessionstore import (
    FilesBackend,
    JournalRecord,
    MemoryBackend,
    RetentionPolicy,
    SessionState,
    SessionStore,
)
from tests.support.processes import session_path

BULK = "x" * 3000
"""A file takes whole blocks: with smaller records a prune would rarely free one."""
NAMES = ["main", "other"]
Records = dict[str, list[JournalRecord]]

picks = st.integers(0, 1000)


class Journals(RuleBasedStateMachine):
    """Sessions of a store, and the records that each of them and of their checkpoints has."""

    kind = "files"

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.places = 0
        self.store = self.make()
        self.records: dict[str, Records] = {}
        self.checkpoints: dict[str, dict[str, Records]] = {}
        self.count = 0
        self.create()

    def teardown(self) -> None:
        self.directory.cleanup()

    def make(self, kind: str | None = None) -> SessionStore[SessionState]:
        self.places += 1
        self.root = Path(self.directory.name) / str(self.places)
        is_files = (kind or self.kind) == "files"
        return SessionStore(FilesBackend(self.root) if is_files else MemoryBackend())

    def create(self) -> None:
        with self.store.create("goal", session_id="s0") as session:
            session.pause()
        self.records["s0"], self.checkpoints["s0"] = {}, {}
        self.note_checkpoints("s0")

    def pick(self, number: int) -> str:
        return sorted(self.records)[number % len(self.records)]

    def read(self, session_id: str) -> Records:
        found = {name: list(self.store.journal(session_id, name)) for name in NAMES}
        return {name: records for name, records in found.items() if records}

    def note_checkpoints(self, session_id: str) -> None:
        """Note what was kept, and forget what was removed, since the last time."""
        there = {item.checkpoint_id for item in self.store.checkpoints(session_id)}
        known = self.checkpoints[session_id]
        self.checkpoints[session_id] = {
            name: known.get(name, self.records[session_id]) for name in there
        }

    # --- what happens ----------------------------------------------------------------------------

    @rule(which=picks, name=st.sampled_from(NAMES), count=st.integers(1, 3), keyed=st.booleans())
    def append(self, which: int, name: str, count: int, keyed: bool) -> None:
        session_id = self.pick(which)
        self.count += 1
        values = [f"{self.count} {number} {BULK}" for number in range(count)]
        with self.store.claim(session_id) as session:
            key = f"key {self.count}" if keyed else None
            last = session.journal(name).append(*values, key=key)
            if key is not None:
                assert session.journal(name).append("again", key=key) == last
            session.save()
        before = self.records[session_id].get(name, [])
        after = self.read(session_id)[name]
        assert after[: len(before)] == before
        assert [one.value for one in after[len(before) :]] == values
        self.records[session_id] = {**self.records[session_id], name: after}

    @rule(which=picks, name=st.sampled_from(NAMES), count=st.integers(0, 2))
    def rewrite(self, which: int, name: str, count: int) -> None:
        session_id = self.pick(which)
        self.count += 1
        values = [f"{self.count} {number} {BULK}" for number in range(count)]
        with self.store.claim(session_id) as session:
            session.journal(name).rewrite(values)
            session.save()
        after = self.read(session_id)
        assert [one.value for one in after.get(name, [])] == values
        self.records[session_id] = after

    @rule(which=picks, leaves=st.booleans())
    def checkpoint(self, which: int, leaves: bool) -> None:
        session_id = self.pick(which)
        with self.store.claim(session_id) as session:
            self.count += 1
            session.state.data_buffer["count"] = self.count
            session.checkpoint("step")
            if leaves:
                session.save()
        self.note_checkpoints(session_id)

    @rule(which=picks, chosen=picks)
    def go_back(self, which: int, chosen: int) -> None:
        session_id = self.pick(which)
        known = self.checkpoints[session_id]
        if not known:
            return
        checkpoint_id = sorted(known)[chosen % len(known)]
        before, then = self.records[session_id], known[checkpoint_id]
        with self.store.resume(session_id, checkpoint_id=checkpoint_id) as session:
            # What the resume kept first, before_resume, has what was there then.
            self.note_checkpoints(session_id)
            assert self.checkpoints[session_id].keys() >= known.keys()
            assert self.records[session_id] == before
            self.records[session_id] = then
            session.pause()
        self.note_checkpoints(session_id)

    @rule(which=picks, chosen=picks)
    @precondition(lambda self: len(self.records) < 4)
    def fork(self, which: int, chosen: int) -> None:
        session_id = self.pick(which)
        known = self.checkpoints[session_id]
        if not known:
            return
        self.count += 1
        checkpoint_id = sorted(known)[chosen % len(known)]
        made = self.store.fork(session_id, checkpoint_id=checkpoint_id, new_id=f"f{self.count}")
        self.records[made], self.checkpoints[made] = known[checkpoint_id], {}
        self.note_checkpoints(made)

    @rule(keep=st.sampled_from([0, 1, 2, 100]))
    def prune(self, keep: int) -> None:
        policy = RetentionPolicy(statuses=["paused"], keep_checkpoints=keep)
        planned = self.store.prune(policy)
        report = self.store.prune(policy, apply=True)
        assert (report.damaged, report.failed, report.spared) == ((), (), ())
        assert report.freed == planned.freed
        for session_id in self.records:
            self.note_checkpoints(session_id)

    @rule(kind=st.sampled_from(["files", "memory"]))
    def move(self, kind: str) -> None:
        out = io.BytesIO()
        exported = self.store.export_sessions(out)
        assert (exported.is_whole, exported.carries_damage) == (True, False)
        self.store = self.make(kind)
        report = self.store.import_sessions(io.BytesIO(out.getvalue()))
        assert (report.is_whole, report.carries_damage) == (True, False)

    @rule(which=picks, name=st.sampled_from(NAMES))
    def tear_and_mend(self, which: int, name: str) -> None:
        file = session_path(self.root, self.pick(which)) / "journals" / f"{name}.jsonl"
        if file.exists():
            with file.open("ab") as torn:
                torn.write(b'{"n":7,"at":"2026')
            assert [item.kind for item in self.store.check().findings] == ["torn_journal"]
        assert not self.store.check(repair=True).left

    @rule(which=picks, name=st.sampled_from(NAMES), line=picks)
    def damage_and_mend(self, which: int, name: str, line: int) -> None:
        session_id = self.pick(which)
        file = session_path(self.root, session_id) / "journals" / f"{name}.jsonl"
        known = self.records[session_id].get(name, [])
        if not file.exists() or not known:
            return
        lost = known[line % len(known)]
        data = file.read_bytes()
        file.write_bytes(data.replace(lost.value.encode(), b"?" * len(lost.value)))
        assert not self.store.check(repair=True).left

        def without(records: Records) -> Records:
            left = [one for one in records.get(name, []) if one != lost]
            others = {other: found for other, found in records.items() if other != name}
            return {**others, name: left} if left else others

        self.records[session_id] = without(self.records[session_id])
        kept = self.checkpoints[session_id]
        self.checkpoints[session_id] = {one: without(records) for one, records in kept.items()}

    # --- what is always true ---------------------------------------------------------------------

    @invariant()
    def records_are_equal(self) -> None:
        for session_id, expected in self.records.items():
            assert self.read(session_id) == expected
            for name in NAMES:
                assert self.store.journal(session_id, name).count() == len(expected.get(name, []))

    @invariant()
    def nothing_is_wrong(self) -> None:
        assert not self.store.check().findings


class JournalsInMemory(Journals):
    """The same, beginning in memory."""

    kind = "memory"


@pytest.mark.parametrize("machine", [Journals, JournalsInMemory])
def test_records_are_equal_whatever_is_done_to_a_store(machine: Any) -> None:
    case = machine.TestCase
    case.settings = settings(
        max_examples=10,
        stateful_step_count=20,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
    )
    case("runTest").runTest()
