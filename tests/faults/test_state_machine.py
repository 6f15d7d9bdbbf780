"""Files and memory, driven side by side through the store's own surface, answer alike."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from asyncio import CancelledError
from collections.abc import Callable
from dataclasses import dataclass
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
        told["crashes"] = state.recovery.count if state.recovery else 0
        told["stops"] = state.recovery.stops if state.recovery else 0
        told["interrupted"] = state.is_interrupted
        return told


@dataclass
class Account:
    """What has happened to a session."""

    crashes: int = 0
    """How often its process died while it was ACTIVE."""
    stops: int = 0
    is_ended: bool = False
    """Whether it was COMPLETED or CANCELLED after the last rule."""
    runs_again: bool = False
    """Whether the last rule said ``again=True``."""
    is_known: bool = True  # nobody wrote it without a claim


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
        self.accounts: dict[str, Account] = {}

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

        if self.both(act)[0] == "value":
            self.accounts[session_id] = Account()

    @rule(session_id=IDS, limit=st.integers(0, 3))
    def create_or_resume(self, session_id: str, limit: int) -> None:
        is_new = not self.files.store.exists(session_id)

        def act(side: Side) -> Any:
            session = side.store.create_or_resume(session_id, "goal", max_recoveries=limit)
            side.held[session_id] = session
            if not session.is_resumed:
                side.kept[session_id] = []
            side.note(session_id)
            return session.revision, session.is_resumed

        answer = self.both(act)
        if is_new and answer[0] == "value":
            self.accounts[session_id] = Account()

    @rule(sweep=st.booleans(), limit=st.integers(0, 3))
    def resume_interrupted(self, sweep: bool, limit: int) -> None:
        def act(side: Side) -> Any:
            loop = side.store.resume_interrupted(max_recoveries=limit, max_stops=limit, sweep=sweep)
            resumed = {session.session_id: session for session in loop}
            side.held |= resumed
            for name in resumed:
                side.note(name)
            skipped = [
                (item.session_id, item.is_taken, type(item.error).__name__) for item in loop.skipped
            ]
            return list(resumed), skipped

        self.both(act)

    @rule(session_id=IDS)
    def retry(self, session_id: str) -> None:
        if self.both(lambda side: side.store.retry(session_id))[0] == "value":
            self.accounts[session_id].crashes = self.accounts[session_id].stops = 0

    @rule(session_id=IDS, create=st.booleans(), value=VALUES, raises=st.booleans())
    def change(self, session_id: str, create: bool, value: Any, raises: bool) -> None:
        """Edit what nobody runs."""
        is_new = not self.files.store.exists(session_id)

        def act(side: Side) -> Any:
            goal = "goal" if create else None
            with side.store.edit(session_id, create=goal, timeout=0.0) as session:
                if is_new:
                    side.kept[session_id] = []
                session.state.data_buffer["x"] = value
                if raises:
                    raise ValueError("made for a test")
            side.note(session_id)
            return session.revision

        self.both(act)
        if is_new and self.files.store.exists(session_id):
            self.accounts[session_id] = Account()

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
        last=st.booleans(),
    )
    def resume(
        self, session_id: str, number: int | None, expected: int | None, again: bool, last: bool
    ) -> None:
        def act(side: Side) -> int:
            chosen = None if number is None else side.checkpoint_id(session_id, number)
            session = side.store.resume(
                session_id,
                checkpoint_id=chosen,
                from_last_save=last,
                expected_revision=expected,
                again=again,
            )
            side.held[session_id] = session
            side.note(session_id)
            return session.revision

        if self.both(act)[0] == "value":
            self.accounts[session_id].runs_again = again

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

    @rule(session_id=IDS, error=st.sampled_from([KeyboardInterrupt, SystemExit, CancelledError]))
    def stop(self, session_id: str, error: type[BaseException]) -> None:
        """Let something leave the block that is no failure."""
        session = self.files.held.get(session_id)
        runs = session is not None and session._writer.needs_verdict

        def stop(session: Session[SessionState]) -> None:
            reason = error("made for a test")
            session.__exit__(error, reason, None)

        self.holding(session_id, stop)
        if runs:
            self.accounts[session_id].stops += 1

    @rule(session_id=IDS)
    def abandon(self, session_id: str) -> None:
        """Let go without a word, as a process that dies."""
        session = self.files.held.get(session_id)
        if session is not None and not session.is_released and session_id in self.accounts:
            self.accounts[session_id].crashes += self.stored_status(session_id) == "active"
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
        self.accounts[session_id].is_known = False
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

    def stored_status(self, session_id: str) -> str:
        told = self.files.describe(session_id)
        return told if isinstance(told, str) else str(told["status"])

    @invariant()
    def deaths_and_stops_are_counted_and_what_has_ended_is_over(self) -> None:
        for session_id, account in self.accounts.items():
            told = self.files.describe(session_id)
            if isinstance(told, str) or not account.is_known:
                continue
            held = self.files.held.get(session_id)
            is_active = told["status"] == "active"
            is_ended = told["status"] in ("completed", "cancelled")
            # The death of who left it ACTIVE is on record once somebody comes.
            unseen = is_active and (held is None or held.is_released)
            assert told["crashes"] == account.crashes - unseen
            assert told["stops"] == account.stops
            assert not (account.is_ended and is_active and not account.runs_again)
            assert not (is_ended and told["interrupted"])
            account.is_ended, account.runs_again = is_ended, False

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
