"""After any sequence of operations and kills a listing equals a scan of the files."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from sessionstore import Session, SessionState, SessionStore, SessionStoreError
from tests.faults.tally import tally
from tests.index_support import ACTIONS, POINTS, QUERIES, act, check_query
from tests.support import Child, needs_linux

EVERYTHING = os.environ.get("SESSIONSTORE_FAULTS") == "all"
IDS = st.sampled_from(["s1", "s2", "s10", "t"])
GOALS = st.sampled_from(["g1", "g2", "g 'quoted\"; --"])


class Listings(RuleBasedStateMachine):
    """Two handles on one store, processes that die in it, and foreign software."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="listings-"))
        self.stores = [SessionStore(self.root, durability="process") for _ in range(2)]
        self.reaper = Child("index_support.reaper", self.root, measured=False)
        self.held: dict[str, Session[SessionState]] = {}
        self.copies: dict[str, Path] = {}
        self.was_changed = False
        self.kills = 0

    def teardown(self) -> None:
        for session in self.held.values():
            try:
                session.release()
            except SessionStoreError:
                continue
        for store in self.stores:
            store.close()
        self.reaper.kill()
        shutil.rmtree(self.root)
        tally("index kills", promise=10, cases=self.kills)

    @rule(by=st.sampled_from([0, 1]), action=st.sampled_from(ACTIONS), session_id=IDS, goal=GOALS)
    def act(self, by: int, action: str, session_id: str, goal: str) -> None:
        try:
            act(self.stores[by], action, session_id, goal)
        except SessionStoreError:
            return

    @rule(
        action=st.sampled_from(ACTIONS),
        session_id=IDS,
        goal=GOALS,
        point=st.sampled_from(sorted(POINTS)),
        when=st.sampled_from(["before", "after"]),
    )
    def die_on_the_way(
        self, action: str, session_id: str, goal: str, point: str, when: str
    ) -> None:
        self.reaper.tell(action, session_id=session_id, goal=goal, point=point, when=when)
        assert self.reaper.hear()["died"]
        self.kills += 1

    @rule(by=st.sampled_from([0, 1]), session_id=IDS)
    def hold(self, by: int, session_id: str) -> None:
        try:
            self.held[session_id] = self.stores[by].claim(session_id)
        except SessionStoreError:
            return

    @rule(session_id=IDS, goal=GOALS)
    def save_held(self, session_id: str, goal: str) -> None:
        session = self.held.get(session_id)
        if session is None:
            return
        session.state.goal_id = goal
        try:
            session.checkpoint("step")
        except SessionStoreError:
            self.held.pop(session_id).release()

    @rule(session_id=IDS)
    def let_go(self, session_id: str) -> None:
        session = self.held.pop(session_id, None)
        if session is not None:
            try:
                session.release()
            except SessionStoreError:
                return

    # --- others ---------------------------------------------------------------------------------

    @rule(session_id=IDS)
    def somebody_copies(self, session_id: str) -> None:
        source = self.root / "sessions" / session_id
        if source.is_dir():
            target = Path(tempfile.mkdtemp(dir=self.root, prefix="copy-")) / session_id
            shutil.copytree(source, target)
            self.copies[session_id] = target

    @rule(session_id=IDS)
    def somebody_restores(self, session_id: str) -> None:
        target = self.root / "sessions" / session_id
        if session_id in self.copies and not target.exists() and target.parent.is_dir():
            shutil.copytree(self.copies[session_id], target)  # the very next listing has it

    @rule(session_id=IDS)
    def somebody_removes(self, session_id: str) -> None:
        if session_id not in self.held:
            shutil.rmtree(self.root / "sessions" / session_id, ignore_errors=True)

    @rule(session_id=IDS, damaged=st.booleans())
    def somebody_writes(self, session_id: str, damaged: bool) -> None:
        path = self.root / "sessions" / session_id / "state.json"
        if not path.is_file():
            return
        try:
            state = json.loads(path.read_bytes())
        except ValueError:
            return
        state["goal_id"] = "theirs"
        state["timestamps"]["updated_at"] = "2026-01-01T00:00:00+00:00"
        new = path.with_name("theirs.tmp")
        new.write_text("{" if damaged else json.dumps(state))
        new.replace(path)
        self.was_changed = True

    @rule()
    def somebody_removes_the_index(self) -> None:
        for file in self.root.glob("index-*"):
            file.unlink()

    @precondition(lambda self: self.was_changed)
    @rule(by=st.sampled_from([0, 1]))
    def verify(self, by: int) -> None:
        self.stores[by].find(verify=True)
        self.was_changed = False

    @precondition(lambda self: not self.was_changed)
    @rule(by=st.sampled_from([0, 1]), number=st.integers(0, len(QUERIES) - 1), counts=st.booleans())
    def a_listing_equals_a_scan(self, by: int, number: int, counts: bool) -> None:
        # One query at a time: a listing mends what it comes across, and would hide it from others.
        check_query(self.stores[by], number, counts=counts)


@needs_linux("a process that forks others and dies with them")
class TestListings(Listings.TestCase):  # type: ignore[misc]
    settings = settings(
        max_examples=600 if EVERYTHING else 60, stateful_step_count=40, deadline=None
    )
