"""What a resume does not bring back is counted in saves of the application, not of the store."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest

from sessionstore import (
    AsyncSessionStore,
    Explanation,
    MemoryBackend,
    Session,
    SessionState,
    SessionStore,
    Situation,
)
from sessionstore.storage.backend import Backend
from sessionstore.testing.harness import dead_owner
from tests.support.processes import edit_state

Store = SessionStore[SessionState]


class Life:
    """One session, and how many saves of it a resume would leave behind, counted beside it."""

    def __init__(self, backend: Backend) -> None:
        self.store: Store = SessionStore(backend)
        self.backend = backend
        self.session: Session[SessionState] | None = self.store.create("goal", session_id="s1")
        self.lost = 0
        self.kept = self.now = 0
        self.checkpoint()

    @property
    def expected(self) -> int:
        if self.now == self.kept:
            return 0
        # An end stores what was edited since the last save, and is none itself.
        return max(1, self.lost)

    def told(self) -> Explanation:
        return self.store.explain("s1")

    def _at_work(self) -> Session[SessionState]:
        if self.session is None:
            self.resume()
        assert self.session is not None
        return self.session

    def _edit(self) -> Session[SessionState]:
        session = self._at_work()
        self.now += 1
        session.state.data_buffer["now"] = self.now
        return session

    # --- by the application ----------------------------------------------------------------------

    def save(self) -> None:
        self._edit().save()
        self.lost += 1

    def checkpoint(self) -> None:
        self._edit().checkpoint()
        self.lost, self.kept = 0, self.now

    def fail(self) -> None:
        self._at_work().fail("bad")
        self.session = None

    def edit_and_fail(self) -> None:
        self._edit().fail("bad")
        self.session = None

    def leave(self) -> None:
        with pytest.raises(ZeroDivisionError), self._at_work():
            raise ZeroDivisionError
        self.session = None

    def stop(self) -> None:
        with pytest.raises(KeyboardInterrupt), self._at_work():
            raise KeyboardInterrupt
        self.session = None

    def complete(self) -> None:
        self._at_work().complete()
        self.session = None

    def pause(self) -> None:
        self._at_work().pause()
        self.session, self.lost, self.kept = None, 0, self.now

    # --- by others -------------------------------------------------------------------------------

    def crash(self) -> None:
        self._at_work()._writer.free()
        owner = dead_owner()
        changes = {"owner": owner.model_dump(), "pid": owner.pid}
        if isinstance(self.backend, MemoryBackend):
            stored = self.backend._sessions["s1"]
            stored.payload = json.dumps(json.loads(stored.payload) | changes).encode()
        else:
            edit_state(Path(str(self.backend)), "s1", **changes)
        self.session = None

    def sweep(self) -> None:
        self.store.recover()

    def mark(self) -> None:
        if self.session is None:
            self.store.mark("s1", "failed", reason="given up")

    def retry(self) -> None:
        if self.session is None:
            self.store.retry("s1", again=True)

    def label(self) -> None:
        if self.session is None:
            with self.store.edit("s1") as session:
                session.state.labels["seen"] = str(self.now)

    def edit(self) -> None:
        if self.session is None:
            self.now += 1
            with self.store.edit("s1") as session:
                session.state.data_buffer["now"] = self.now
            self.lost, self.kept = 0, self.now

    def cancel(self) -> None:
        if self.session is None:
            self.store.cancel("s1", reason="enough")

    def resume(self) -> None:
        if self.session is None:
            self.session = self.store.resume("s1", again=True)
            self.lost, self.now = 0, self.kept
            assert self.session.state.data_buffer == {"now": self.kept}

    def from_last_save(self) -> None:
        if self.session is None:
            self.store.retry("s1", from_last_save=True, again=True)
            self.lost, self.kept = 0, self.now


MOVES = [
    name
    for name, value in vars(Life).items()
    if callable(value) and not name.startswith("_") and name != "told"
]


def play(life: Life, moves: list[str]) -> None:
    for number, name in enumerate(moves):
        getattr(life, name)()
        told = life.told()
        assert told.lost is not None
        assert told.lost.revisions == life.expected, moves[: number + 1]
    if life.session is not None:
        life.session.complete()


@pytest.mark.parametrize(
    ("moves", "lost"),
    [
        ("save crash", 1),
        ("save save crash sweep", 2),
        ("save crash sweep retry retry mark mark", 1),
        ("save crash sweep cancel", 1),
        ("save crash label", 1),
        ("save fail mark retry", 1),
        ("save leave retry", 1),
        ("save stop retry", 1),
        ("edit_and_fail retry mark", 1),
        ("fail retry mark", 0),
        ("save complete", 1),
        ("save save fail resume crash sweep", 0),
        ("save crash resume crash resume save crash sweep retry", 1),
        ("save crash edit", 0),
        ("save crash edit resume save save fail", 2),
        ("save pause mark retry", 0),
        ("save crash from_last_save", 0),
        ("save crash from_last_save resume save save fail retry", 0),
    ],
)
@pytest.mark.parametrize("kind", ["files", "memory"])
def test_only_saves_of_the_application_count(
    tmp_path: Path, moves: str, lost: int, kind: str
) -> None:
    life = Life(place(tmp_path, kind))
    for name in moves.split():
        getattr(life, name)()
    told = life.told()
    assert told.lost is not None
    assert told.lost.revisions == lost
    said = dict(told.facts())["not restored"]
    words = {0: "nothing that was saved", 1: "1 save and"}.get(lost, f"{lost} saves and")
    assert said.startswith(words)


def place(tmp_path: Path, kind: str) -> Backend:
    if kind == "memory":
        return MemoryBackend()
    return SessionStore(tmp_path)._backend


@pytest.mark.parametrize("seed", range(60))
def test_any_sequence_is_counted_rightly(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    kind = "files" if seed % 10 == 0 else "memory"
    # From a last save nothing is lost, whatever was saved since: that is no matter of counting.
    names = [name for name in MOVES if name != "from_last_save"]
    play(Life(place(tmp_path, kind)), chance.choices(names, k=40))


def test_a_state_from_before_this_was_counted_counts_from_its_checkpoint(tmp_path: Path) -> None:
    store: Store = SessionStore(tmp_path)
    session = store.create("goal", session_id="s1")
    session.checkpoint()
    for number in range(3):
        session.state.data_buffer["now"] = number
        session.save()
    session.fail("bad")
    edit_state(tmp_path, "s1", saves_from=0)
    told = store.explain("s1")
    assert told.lost is not None
    assert told.lost.revisions == 4  # with the end, which nothing tells apart


@pytest.mark.parametrize(
    "order", ["checkpoint save save", "save checkpoint save", "save save save"]
)
def test_awaited_writes_that_are_queued_count_as_they_land(tmp_path: Path, order: str) -> None:
    names = order.split()

    async def work() -> None:
        async with AsyncSessionStore(tmp_path) as store:
            session = await store.create("goal", session_id="s1")
            await session.checkpoint()
            calls: list[Any] = []
            for number, name in enumerate(names):
                session.state.data_buffer["now"] = number
                calls.append(asyncio.ensure_future(getattr(session, name)()))
                await asyncio.sleep(0)  # it is prepared; the one before it may not have landed
            session.state.data_buffer["now"] = "end"
            calls.append(asyncio.ensure_future(session.fail("bad")))
            await asyncio.gather(*calls)

    asyncio.run(work())
    told = SessionStore(tmp_path).explain("s1")
    assert told.situation is Situation.FAILED
    assert told.lost is not None
    counted = [*reversed(names), "checkpoint"].index("checkpoint")
    assert told.lost.revisions == max(1, counted)


def test_a_repair_that_names_an_older_checkpoint_counts_from_that_one(tmp_path: Path) -> None:
    store: Store = SessionStore(tmp_path)
    session = store.create("goal", session_id="s1")
    kept = []
    for number in range(2):
        session.state.data_buffer["now"] = number
        kept.append(session.checkpoint().checkpoint_id)
    session.state.data_buffer["now"] = 2
    session.fail("bad")
    checkpoints = tmp_path / "sessions" / "s1" / "checkpoints"
    (checkpoints / f"{kept[1]}.json").unlink()
    store.check(repair=True)
    told = store.explain("s1")
    assert told.checkpoint is not None
    assert told.checkpoint.checkpoint_id == kept[0]
    assert told.lost is not None
    assert told.lost.revisions is not None
    assert told.lost.revisions >= 2
