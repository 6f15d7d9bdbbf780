"""Files and memory, driven side by side through the store's own surface, answer alike."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sessionstore import Session, SessionState, SessionStore, SessionStoreError
from sessionstore.storage.memory import MemoryBackend
from tests.faults.support.tally import tally

EVERYTHING = os.environ.get("SESSIONSTORE_FAULTS") == "all"
IDS = st.sampled_from(["a", "b"])
VALUES = st.one_of(
    st.none(), st.integers(), st.text(max_size=5), st.lists(st.booleans(), max_size=2),
    st.sampled_from([float("nan"), (1,), b"x", "\ud800", {1: 2}, 2**70, 0.1]),
)  # fmt: skip


class Side:
    """One of the two stores, and the sessions that are held through it."""

    def __init__(self, store: SessionStore[SessionState]) -> None:
        self.store = store
        self.held: dict[str, Session[SessionState]] = {}
        self.kept: dict[str, list[str]] = {}
        """The ids of the checkpoints of each session in the order they were made: they are
        random, so both sides know them by their number."""

    def note(self, session_id: str) -> None:
        """Put checkpoints that are new into the list."""
        known = self.kept.setdefault(session_id, [])
        for item in self.store.checkpoints(session_id):
            if item.checkpoint_id not in known:
                known.append(item.checkpoint_id)

    def checkpoint_id(self, session_id: str, number: int) -> str:
        known = self.kept.get(session_id, [])
        return known[number] if number < len(known) else "nowhere"

    def number_of(self, session_id: str, checkpoint_id: str | None) -> int | None:
        known = self.kept.get(session_id, [])
        return known.index(checkpoint_id) if checkpoint_id in known else None

    def describe(self, session_id: str) -> Any:
        """Return what is stored, without what is random."""
        try:
            state = self.store.load(session_id)
        except SessionStoreError as error:
            return type(error).__name__
        told = json.loads(state.model_dump_json(exclude={"incarnation", "owner", "recovery"}))
        told["latest_checkpoint_id"] = self.number_of(session_id, state.latest_checkpoint_id)
        told["has_owner"] = state.owner is not None
        told["recoveries"] = state.recovery.count if state.recovery else 0
        return told


class Twins(RuleBasedStateMachine):
    """Each rule does the same to both sides and compares what they answer."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp()
        self.now = datetime(2026, 11, 22, 12, tzinfo=UTC)
        root = Path(self.directory) / "root"
        self.root = root
        self.memory = MemoryBackend(clock=self.clock)
        self.files = Side(SessionStore(root, clock=self.clock, durability="process"))
        self.twin = Side(SessionStore(self.memory, clock=self.clock))
        self.steps = 0

    def clock(self) -> datetime:
        return self.now

    def both(self, act: Callable[[Side], Any]) -> Any:
        """Do the same to both; the value, or the kind of error, must be the same."""
        self.now += timedelta(seconds=1)
        self.steps += 1
        answers = []
        for side in (self.files, self.twin):
            try:
                answers.append(("value", act(side)))
            except (SessionStoreError, TypeError, ValueError) as error:
                answers.append((type(error).__name__, getattr(error, "path", None)
                                if type(error).__name__ == "NotStorable" else None))  # fmt: skip
        assert answers[0] == answers[1], answers
        return answers[0]

    @rule(session_id=IDS, enabled=st.booleans())
    def create(self, session_id: str, enabled: bool) -> None:
        def act(side: Side) -> int:
            session = side.store.create("goal", session_id=session_id, checkpoint_enabled=enabled)
            side.held[session_id] = session
            side.kept[session_id] = []
            return session.revision

        self.both(act)

    @rule(session_id=IDS, expected=st.one_of(st.none(), st.integers(1, 9)), force=st.booleans())
    def claim(self, session_id: str, expected: int | None, force: bool) -> None:
        def act(side: Side) -> int:
            session = side.store.claim(session_id, expected_revision=expected, force=force)
            side.held[session_id] = session
            return session.revision

        self.both(act)

    @rule(
        session_id=IDS,
        number=st.one_of(st.none(), st.integers(0, 4)),
        expected=st.one_of(st.none(), st.integers(1, 9)),
        again=st.booleans(),
    )
    def resume(
        self, session_id: str, number: int | None, expected: int | None, again: bool
    ) -> None:
        def act(side: Side) -> int:
            chosen = None if number is None else side.checkpoint_id(session_id, number)
            session = side.store.resume(
                session_id, checkpoint_id=chosen, expected_revision=expected, again=again
            )
            side.held[session_id] = session
            side.note(session_id)
            return session.revision

        self.both(act)

    def holding(self, session_id: str, act: Callable[[Session[SessionState]], Any]) -> None:
        """Do something with a held session, or with one that was held."""
        if session_id not in self.files.held:
            return

        def noted(side: Side) -> Any:
            answer = act(side.held[session_id])
            if side.store.exists(session_id):
                side.note(session_id)
            return answer if isinstance(answer, int | None) else answer.revision

        self.both(noted)

    @rule(session_id=IDS, key=st.sampled_from("xy"), value=VALUES)
    def edit(self, session_id: str, key: str, value: Any) -> None:
        for side in (self.files, self.twin):
            if session_id in side.held:
                side.held[session_id].state.data_buffer[key] = value

    @rule(session_id=IDS, key=st.sampled_from("xy"))
    def unedit(self, session_id: str, key: str) -> None:
        for side in (self.files, self.twin):
            if session_id in side.held:
                side.held[session_id].state.data_buffer.pop(key, None)

    @rule(session_id=IDS)
    def save(self, session_id: str) -> None:
        self.holding(session_id, lambda session: session.save())

    @rule(session_id=IDS, node=st.sampled_from([None, "plan", "../x"]))
    def checkpoint(self, session_id: str, node: str | None) -> None:
        self.holding(session_id, lambda session: session.checkpoint("step", node=node))

    @rule(session_id=IDS, node=st.sampled_from([None, "ask"]))
    def pause(self, session_id: str, node: str | None) -> None:
        self.holding(session_id, lambda session: session.pause(node))

    @rule(session_id=IDS)
    def complete(self, session_id: str) -> None:
        self.holding(session_id, lambda session: session.complete({"answer": 42}))

    @rule(session_id=IDS)
    def fail(self, session_id: str) -> None:
        self.holding(session_id, lambda session: session.fail("no"))

    @rule(session_id=IDS)
    def cancel(self, session_id: str) -> None:
        self.holding(session_id, lambda session: session.cancel("enough"))

    @rule(session_id=IDS)
    def release(self, session_id: str) -> None:
        self.holding(session_id, lambda session: session.release())

    @rule(session_id=IDS)
    def abandon(self, session_id: str) -> None:
        """Let go without a word, as a process that dies."""
        for side in (self.files, self.twin):
            if session_id in side.held:
                side.held.pop(session_id)._writer.free()

    @rule(session_id=IDS, force=st.booleans())
    def delete(self, session_id: str, force: bool) -> None:
        self.both(lambda side: side.store.delete(session_id, force=force))

    @rule(mark_as=st.sampled_from(["failed", "paused", "cancelled"]), dry_run=st.booleans())
    def recover(self, mark_as: Any, dry_run: bool) -> None:
        def act(side: Side) -> Any:
            report = side.store.recover(mark_as=mark_as, dry_run=dry_run)
            groups = (report.swept, report.alive, report.unknown, report.damaged, report.failed)
            return [
                [(item.session_id, item.recoveries, item.is_resumable) for item in group]
                for group in groups
            ]

        self.both(act)

    @rule(session_id=IDS, how=st.sampled_from(["newer", "torn", "empty"]))
    def write_without_a_claim(self, session_id: str, how: str) -> None:
        """Replace what is stored as other software does."""
        path = self.root / "sessions" / session_id / "state.json"
        if not path.exists():
            return
        for side in (self.files, self.twin):
            kept = None if side is self.files else self.memory._sessions[session_id]
            data = path.read_bytes() if kept is None else kept.payload
            if how == "newer":
                try:
                    state = json.loads(data)
                except ValueError:
                    return
                data = json.dumps({**state, "revision": state["revision"] + 1}).encode()
            else:
                data = data[: len(data) // 2] if how == "torn" else b""
            if kept is None:
                (self.root / "theirs").write_bytes(data)
                os.replace(self.root / "theirs", path)
                side.store.find(limit=1, verify=True)  # nobody told the index
            else:
                kept.payload = data

    @rule(
        status=st.sampled_from([None, "active", "paused", "failed"]),
        resumable=st.sampled_from([None, True, False]),
        stale=st.sampled_from([None, True]),
        order=st.sampled_from(["-updated_at", "session_id"]),
        limit=st.sampled_from([1, 50]),
    )
    def find(
        self, status: str | None, resumable: bool | None, stale: bool | None, order: str, limit: int
    ) -> None:
        def act(side: Side) -> Any:
            page = side.store.find(
                status=status, resumable=resumable, stale=stale, order=order, limit=limit
            )
            return page.damaged, page.next_cursor, [
                (item.session_id, item.status, item.revision, item.is_resumable, item.is_stale,
                 item.damaged is None, item.liveness and item.liveness.verdict)
                for item in page
            ]  # fmt: skip

        self.both(act)

    @rule(session_id=IDS)
    def liveness(self, session_id: str) -> None:
        self.both(lambda side: str(side.store.liveness(session_id).verdict))

    @rule(session_id=IDS, number=st.one_of(st.none(), st.integers(0, 4)))
    def load_checkpoint(self, session_id: str, number: int | None) -> None:
        def act(side: Side) -> Any:
            chosen = None if number is None else side.checkpoint_id(session_id, number)
            state = side.store.load_checkpoint(session_id, chosen)
            return state.revision, state.data_buffer, state.progress.current_node

        self.both(act)

    @invariant()
    def both_store_the_same(self) -> None:
        for session_id in ("a", "b"):
            stored = [side.describe(session_id) for side in (self.files, self.twin)]
            assert stored[0] == stored[1]
            for name in ("revision", "is_released"):
                found = {
                    getattr(side.held[session_id], name)
                    for side in (self.files, self.twin)
                    if session_id in side.held
                }
                assert len(found) <= 1, (name, found)

    @invariant()
    def no_half_written_file_is_left(self) -> None:
        assert list(self.root.rglob(".new-*")) == []

    def teardown(self) -> None:
        for side in (self.files, self.twin):
            for session in side.held.values():
                session._writer.free()
            side.store.close()
        shutil.rmtree(self.directory)
        tally("races", promise=5, cases=self.steps)


TestTwins = Twins.TestCase
TestTwins.settings = settings(max_examples=500 if EVERYTHING else 40, stateful_step_count=40)
