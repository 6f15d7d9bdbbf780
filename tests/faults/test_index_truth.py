"""After any sequence of operations and kills a listing equals a scan of the files.

So do the counts of ``stats``, what ``prune`` would delete, and the forks.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from sessionstore import Session, SessionState, SessionStore, SessionStoreError
from tests.faults.support.tally import tally
from tests.support.index import (
    ACTIONS,
    LABELLED,
    OPERATIONS,
    POINTS,
    QUERIES,
    act,
    check_operation,
    check_query,
    remove_index,
)
from tests.support.processes import Child, needs_linux

EVERYTHING = os.environ.get("SESSIONSTORE_FAULTS") == "all"
IDS = st.sampled_from(["s1", "t"])
GOALS = st.sampled_from(["g1", "g 'quoted\"; --"])
LOOKS = st.tuples(
    st.sampled_from([0, 1]), st.integers(0, len(QUERIES) - 1), st.sampled_from(OPERATIONS)
)
"""Through which store to look, with which query, after COUNTS, and with which operation."""
COUNTS = (*range(6), *LABELLED)
"""Queries that are counted from the rows alone. A listing in order compares its rows with their
files, and so mends what it comes across, before anybody else can see it; a count mends nothing."""

Look = tuple[int, int, int]


REAPER: list[Child] = []


@pytest.fixture(scope="module", autouse=True)
def _reaper() -> Iterator[None]:
    with Child("support.index.reaper") as reaper:
        REAPER.append(reaper)
        yield
        REAPER.clear()


class Listings(RuleBasedStateMachine):
    """Two handles on one store, processes that die in it, and foreign software."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="listings-"))
        self.stores = [SessionStore(self.root, durability="process") for _ in range(2)]
        self.held: dict[str, Session[SessionState]] = {}
        self.copies: dict[str, Path] = {}
        self.kills = 0
        for session_id in ("s1", "t"):
            act(self.stores[0], "create", session_id, "g2")
        self.stores[0].find()  # from here on there is an index

    def teardown(self) -> None:
        for session in self.held.values():
            try:
                session.release()
            except SessionStoreError:
                continue
        for store in self.stores:
            store.close()
        shutil.rmtree(self.root)
        tally("kill points", promise=10, cases=self.kills)

    @rule(
        by=st.sampled_from([0, 1]),
        action=st.sampled_from(ACTIONS),
        session_id=IDS,
        goal=GOALS,
        look=LOOKS,
    )
    def act(self, by: int, action: str, session_id: str, goal: str, look: Look) -> None:
        with suppress(SessionStoreError):
            act(self.stores[by], action, session_id, goal)
        self.look(look)

    @rule(
        action=st.sampled_from(ACTIONS),
        session_id=IDS,
        goal=GOALS,
        point=st.sampled_from(sorted(POINTS)),
        when=st.sampled_from(["before", "after"]),
        look=LOOKS,
    )
    def die_on_the_way(
        self, action: str, session_id: str, goal: str, point: str, when: str, look: Look
    ) -> None:
        told = {"session_id": session_id, "goal": goal, "point": point, "when": when}
        assert REAPER[0].ask(action, root=str(self.root), **told)["died"]
        self.kills += 1
        self.look(look)

    @rule(by=st.sampled_from([0, 1]), session_id=IDS)
    def hold(self, by: int, session_id: str) -> None:
        try:
            self.held[session_id] = self.stores[by].claim(session_id)
        except SessionStoreError:
            return

    @rule(session_id=IDS, goal=GOALS, look=LOOKS)
    def save_held(self, session_id: str, goal: str, look: Look) -> None:
        session = self.held.get(session_id)
        if session is None:
            return
        session.state.goal_id = goal
        session.state.labels = {"user": "42", "goal": goal}
        try:
            session.checkpoint("step")
        except SessionStoreError:
            self.held.pop(session_id).release()
        self.look(look)

    @rule(session_id=IDS, look=LOOKS)
    def let_go(self, session_id: str, look: Look) -> None:
        session = self.held.pop(session_id, None)
        if session is not None:
            with suppress(SessionStoreError):
                session.release()
        self.look(look)

    @rule(session_id=IDS, goal=GOALS, look=LOOKS)
    def hold_what_another_holds(self, session_id: str, goal: str, look: Look) -> None:
        """Somebody deletes the lock file, and another comes while the first one is at it."""
        try:
            first = self.stores[0].claim(session_id)
        except SessionStoreError:
            return
        with suppress(SessionStoreError):
            first.save()
        (self.root / "locks" / f"{session_id}.lock").unlink()
        with suppress(SessionStoreError), self.stores[1].claim(session_id) as second:
            second.state.goal_id = goal
            second.save()
            with suppress(SessionStoreError):
                first.release()
            self.look(look)
            second.state.goal_id = "g3"
            second.save()
            self.look(look)
        with suppress(SessionStoreError):
            first.release()
        self.look(look)

    def look(self, look: Look) -> None:
        by, number, operation = look
        for counted in COUNTS:
            check_query(self.stores[by], counted, counts=True)
        check_operation(self.stores[by], self.root, operation)
        check_query(self.stores[by], number, counts=True)
        check_query(self.stores[by], number, counts=False)

    # --- others ---------------------------------------------------------------------------------

    @rule(session_id=IDS)
    def somebody_copies(self, session_id: str) -> None:
        source = self.root / "sessions" / session_id
        if source.is_dir():
            target = Path(tempfile.mkdtemp(dir=self.root, prefix="copy-")) / session_id
            shutil.copytree(source, target)
            self.copies[session_id] = target

    @rule(session_id=IDS, look=LOOKS)
    def somebody_restores(self, session_id: str, look: Look) -> None:
        target = self.root / "sessions" / session_id
        if session_id in self.copies and not target.exists() and target.parent.is_dir():
            shutil.copytree(self.copies[session_id], target)
            self.look(look)

    @rule(session_id=IDS, look=LOOKS)
    def somebody_removes(self, session_id: str, look: Look) -> None:
        if session_id not in self.held:
            shutil.rmtree(self.root / "sessions" / session_id, ignore_errors=True)
            self.look(look)

    @rule(session_id=IDS, damaged=st.booleans(), look=LOOKS)
    def somebody_writes(self, session_id: str, damaged: bool, look: Look) -> None:
        path = self.root / "sessions" / session_id / "state.json"
        if not path.is_file():
            return
        try:
            state = json.loads(path.read_bytes())
        except ValueError:
            return
        state["goal_id"] = "theirs"
        state["labels"] = {"user": "theirs", "a key, that = no save accepts": "g1"}
        state["timestamps"]["updated_at"] = "2026-01-01T00:00:00+00:00"
        new = path.with_name("theirs.tmp")
        new.write_text("{" if damaged else json.dumps(state))
        new.replace(path)
        self.stores[look[0]].find(limit=1, verify=True)
        self.look(look)

    @rule()
    def somebody_removes_the_index(self) -> None:
        remove_index(self.root)

    @rule(look=LOOKS)
    def a_listing_equals_a_scan(self, look: Look) -> None:
        self.look(look)


TestListings = needs_linux("a process that forks others and dies with them")(Listings.TestCase)
TestListings.settings = settings(max_examples=400 if EVERYTHING else 50, stateful_step_count=40)
