"""Programs that hypothesis makes: no step gets another's result, none that returned runs twice.

A program calls steps, saves, keeps checkpoints, stops, dies and goes on in every way. A small model
says of each call whether the function has to be called, and what has to come back. ``make
durability`` tries 10,000 of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessionstore import (
    MemoryBackend,
    Session,
    SessionState,
    SessionStore,
    Step,
    StepChanged,
    StepUnsettled,
)
from sessionstore.testing.harness import dead_owner
from tests.faults.support.tally import tally

PROGRAMS = 10_000 if os.environ.get("SESSIONSTORE_TALLY") else 300

Store = SessionStore[SessionState]
Outcome = tuple[str, Any]
"""What came of a step: a word, and its result."""


class Died(BaseException):
    """What ends a function whose process dies: nothing of the package runs any more."""


@dataclass
class Place:
    """A store, and how to write past it."""

    store: Store
    rewrite: Callable[[str, Callable[[bytes], bytes]], None]
    """Replace the stored state of a session as a foreign writer does."""


@pytest.fixture(params=["files", "memory"], scope="module")
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    if request.param == "memory":
        backend = MemoryBackend()

        def in_memory(session_id: str, change: Callable[[bytes], bytes]) -> None:
            kept = backend._sessions[session_id]
            kept.payload = change(kept.payload)

        yield Place(SessionStore(backend), in_memory)
        return
    root: Path = tmp_path_factory.mktemp("programs")

    def in_files(session_id: str, change: Callable[[bytes], bytes]) -> None:
        file = root / "sessions" / session_id / "state.json"
        file.write_bytes(change(file.read_bytes()))

    with SessionStore(root, durability="process") as store:
        yield Place(store, in_files)


# --- the model ------------------------------------------------------------------------------------

UNSETTLED = "unsettled"


@dataclass
class Model:
    """What has to be known of the steps that nothing has closed."""

    open: dict[str, tuple[int | None, Any] | str] = field(default_factory=dict)
    """By name: the argument and the result of a kept step, or UNSETTLED. A step that somebody
    settled is kept for any argument."""
    used: set[str] = field(default_factory=set)
    """The names that this claim has used since a checkpoint closed steps."""

    def close(self) -> None:
        self.open, self.used = {}, set()

    def expected(self, name: str, arg: int, *, rerun: bool) -> Outcome | None:
        """Return what has to come of a step without a call; None if it has to be called."""
        if name in self.used:
            return "used", None
        known = self.open.get(name)
        if isinstance(known, str):
            return UNSETTLED, None
        if known is None or rerun:
            return None
        if known[0] not in (arg, None):
            return "changed", None
        self.used.add(name)
        return "returned", known[1]


# --- the program ----------------------------------------------------------------------------------


class Program:
    """A session, what the model says of it, and everything that a program can do."""

    def __init__(self, place: Place, threads: ThreadPoolExecutor, number: int) -> None:
        self.threads = threads
        self.place = place
        self.store = place.store
        self.ids = [f"p-{number}"]
        self.model = Model()
        self.calls = 0
        self.kept: dict[str, dict[str, Any] | None] = {}
        """By checkpoint: the steps that were open then. None if it is a copy of what a dead process
        had saved, which goes back to before the steps after that save."""
        self.is_dead = False
        self.session: Session[SessionState] | None = self.store.create("g", session_id=self.id)

    @property
    def id(self) -> str:
        return self.ids[-1]

    def running(self) -> Session[SessionState]:
        """Return the claimed session; resume the latest if there is none."""
        if self.session is None:
            self.go_on(lambda: self.store.resume(self.id, again=True))
        assert self.session is not None
        return self.session

    def go_on(self, resume: Callable[[], Session[SessionState]]) -> None:
        self.end()
        self.session = resume()
        self.model.used = set()
        self.note()

    def note(self, found: dict[str, Any] | None = None) -> None:
        """Remember which steps are open in the checkpoints that are new.

        ``found`` are those that were open before an edit: it first keeps what a dead process left.
        """
        for name in self.store.checkpoint_names(self.id):
            is_older = self.is_dead and "before_resume" in name
            kept = found if found is not None and "last_save" in name else self.model.open
            self.kept.setdefault(name, None if is_older else dict(kept))
        self.is_dead = False

    def end(self) -> None:
        """Release the session as it is."""
        if self.session is not None:
            self.session.release()
            self.ended()

    def ended(self) -> None:
        self.session = None
        self.note()

    # --- steps ------------------------------------------------------------------------------------

    def called(self, name: str, arg: int) -> list[Any]:
        self.calls += 1
        return [name, arg, self.calls]

    def call(self, step: Step[Any] | str, name: str, arg: int) -> tuple[Outcome, bool]:
        """Make a step; return what came of it, and whether its function was called."""
        was_called = False

        def function(arg: int) -> list[Any]:
            nonlocal was_called
            was_called = True
            return self.called(name, arg)

        try:
            return ("returned", self.running().step(step, function, arg)), was_called
        except StepChanged:
            return ("changed", None), was_called
        except StepUnsettled:
            return (UNSETTLED, None), was_called
        except ValueError:
            return ("used", None), was_called

    def check(self, name: str, arg: int, outcome: Outcome, *, called: bool, rerun: bool) -> None:
        expected = self.model.expected(name, arg, rerun=rerun)
        if expected is not None:
            assert (outcome, called) == (expected, False)
            return
        word, result = outcome
        assert (word, called) == ("returned", True)
        assert result[:2] == [name, arg]
        self.model.open[name] = arg, result
        self.model.used.add(name)

    def step(self, name: str, arg: int, rerun: bool, once: bool) -> None:
        self.running()
        step = Step[Any](name, rerun=rerun, at_most_once=once)
        outcome, called = self.call(step, name, arg)
        self.check(name, arg, outcome, called=called, rerun=rerun)

    def loop(self, turns: int, arg: int) -> None:
        for turn in range(turns):
            self.step(f"turn-{turn}", arg, rerun=False, once=False)

    def gather(self, turns: int, arg: int) -> None:
        """Make steps in several threads at once."""
        self.running()
        names = [f"turn-{turn}" for turn in range(turns)]
        found = list(self.threads.map(lambda name: self.call(name, name, arg), names))
        for name, (outcome, called) in zip(names, found, strict=True):
            self.check(name, arg, outcome, called=called, rerun=False)

    def raise_in(self, name: str, error: BaseException, *, once: bool) -> bool:
        """Make a step whose function raises; return whether it was called."""
        session = self.running()
        expected = self.model.expected(name, 0, rerun=False)

        def function(arg: int) -> Any:
            raise error

        try:
            result = session.step(Step[Any](name, at_most_once=once), function, 0)
        except (StepChanged, StepUnsettled):
            assert expected is not None
            assert expected[0] in ("changed", UNSETTLED)
        except (ArithmeticError, Died):
            assert expected is None
            self.model.open.pop(name, None)
            return True
        except ValueError:
            assert expected == ("used", None)
        else:
            assert ("returned", result) == expected
        return False

    def fail_step(self, name: str, once: bool) -> None:
        self.raise_in(name, ArithmeticError("on purpose"), once=once)

    def die_in_step(self, name: str, once: bool) -> None:
        if self.raise_in(name, Died(), once=once) and once:
            self.model.open[name] = UNSETTLED
        self.die()

    # --- the session ------------------------------------------------------------------------------

    def save(self) -> None:
        session = self.running()
        session.state.data_buffer["saves"] = session.state.data_buffer.get("saves", 0) + 1
        session.save()

    def checkpoint(self) -> None:
        self.running().checkpoint()
        self.model.close()
        self.note()

    def pause(self, resume_from: str | None) -> None:
        self.running().pause(resume_from=resume_from)
        if resume_from is not None:
            self.model.close()
        self.ended()

    def complete(self) -> None:
        self.running().complete()
        self.model.close()
        self.ended()

    def fail(self) -> None:
        self.running().fail("on purpose")
        self.ended()

    def die(self) -> None:
        """Leave the session as a process leaves it that is killed."""
        session, owner = self.running(), dead_owner()
        session._writer.free()

        def change(payload: bytes) -> bytes:
            by = {"owner": owner.model_dump(), "pid": owner.pid}
            return json.dumps(json.loads(payload) | by).encode()

        self.place.rewrite(self.id, change)
        self.session, self.is_dead = None, True

    def edit(self, settle: str) -> None:
        self.end()
        found = dict(self.model.open)
        with self.store.edit(self.id) as session:
            buffer = session.state.data_buffer
            buffer["edits"] = buffer.get("edits", 0) + 1
            for name, known in list(self.model.open.items()):
                if isinstance(known, str) and settle == "result":
                    word = [name, "somebody's word"]
                    self.model.open[name] = None, word
                    session.settle_step(name, word)
                elif isinstance(known, str) and settle == "rerun":
                    del self.model.open[name]
                    session.rerun_step(name)
        self.note(found)

    # --- going on ---------------------------------------------------------------------------------

    def resume(self, *, from_last_save: bool) -> None:
        self.go_on(lambda: self.store.resume(self.id, again=True, from_last_save=from_last_save))

    def chosen(self, number: int) -> tuple[str, Model] | None:
        """Return a checkpoint and what is open in it; None if there is none."""
        names = self.store.checkpoint_names(self.id)
        known = [(name, kept) for name in names if (kept := self.kept[name]) is not None]
        if not known:
            return None
        name, kept = known[number % len(known)]
        return name, Model(dict(kept))

    def resume_named(self, number: int) -> None:
        self.end()
        if (chosen := self.chosen(number)) is not None:
            name, model = chosen
            self.session = self.store.resume(self.id, checkpoint_id=name, again=True)
            self.note()  # the state before it may have become a checkpoint
            self.model = model

    def fork(self, number: int) -> None:
        """Go on with a fork."""
        self.end()
        if (chosen := self.chosen(number)) is not None:
            name, self.model = chosen
            self.ids.append(self.store.fork(self.id, name, new_id=f"{self.id}f"))
            self.kept = {}
            self.note()

    def close(self) -> None:
        if self.session is not None:
            self.session._writer.free()
        for one in self.ids:
            self.store.delete(one)


NAMES = st.sampled_from(["a", "b", "turn-0", "turn-1"])
ARGS = st.sampled_from([0, 0, 0, 1])
RARELY = st.sampled_from([False, False, False, True])


def act(name: str, *args: st.SearchStrategy[Any], **kwargs: Any) -> st.SearchStrategy[Any]:
    return st.tuples(st.just(name), st.tuples(*args), st.just(kwargs))


ACTS = st.one_of(
    act("step", NAMES, ARGS, RARELY, RARELY),
    act("step", NAMES, st.just(0), st.just(False), st.just(False)),
    act("loop", st.integers(1, 4), ARGS),
    act("gather", st.integers(2, 4), ARGS),
    act("fail_step", NAMES, st.booleans()),
    act("die_in_step", NAMES, st.booleans()),
    act("save"),
    act("checkpoint"),
    act("pause", st.sampled_from([None, "next"])),
    act("complete"),
    act("fail"),
    act("die"),
    act("edit", st.sampled_from(["nothing", "result", "rerun"])),
    act("resume", from_last_save=False),
    act("resume", from_last_save=True),
    act("resume_named", st.integers(0, 5)),
    act("fork", st.integers(0, 5)),
)


def test_no_step_gets_the_result_of_another_and_none_that_returned_runs_twice(place: Place) -> None:
    tried = 0

    @settings(max_examples=PROGRAMS // 2, suppress_health_check=list(HealthCheck))
    @given(st.lists(ACTS, min_size=3, max_size=24))
    def run(acts: list[Any]) -> None:
        nonlocal tried
        tried += 1
        program = Program(place, threads, tried)
        try:
            for name, args, kwargs in acts:
                getattr(program, name)(*args, **kwargs)
        finally:
            program.close()

    with ThreadPoolExecutor(3) as threads:
        run()
    tally("programs of steps", promise=1, cases=tried)
