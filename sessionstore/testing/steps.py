"""Steps: calls that returned are not made again, in every place."""

# ruff: noqa: D102
# The name of each test is the claim that it proves.

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from sessionstore.errors import ClaimLost, StepChanged, StepUnsettled
from sessionstore.model.state import SessionState
from sessionstore.model.step import Step
from sessionstore.store.aio import AsyncSessionStore
from sessionstore.store.store import SessionStore
from sessionstore.testing.harness import BackendT, Harness, forked

Store = SessionStore[SessionState]


class Counted:
    """A function that returns how often it was called, and what with."""

    def __init__(self) -> None:
        self.calls: int = 0

    def __call__(self, *args: Any) -> list[Any]:
        self.calls += 1
        return [self.calls, *args]


def interrupted() -> None:
    """Stop the program within a step."""
    raise KeyboardInterrupt


class StepContract(Harness[BackendT]):
    """Keep, replay, close, settle: the same in every place."""

    def test_a_step_that_returned_is_replayed_after_a_death(
        self, backend: BackendT, store: Store
    ) -> None:
        function = Counted()
        session = store.create("g", session_id="s")
        assert session.step("a", function, "x") == [1, "x"]
        assert session.step("b", function) == [2]
        self.abandon(backend, session)
        with self.other_store(backend).resume("s") as again:
            assert again.step("b", function) == [2]
            assert again.step("a", function, "x") == [1, "x"]
            assert again.step("c", function) == [3]
            again.complete()
        found = [(one.name, str(one.status), one.is_closed) for one in store.steps("s")]
        assert found == [("a", "kept", True), ("b", "kept", True), ("c", "kept", True)]

    def test_a_checkpoint_closes_steps_and_a_save_does_not(
        self, backend: BackendT, store: Store
    ) -> None:
        function = Counted()
        session = store.create("g", session_id="s")
        session.step("a", function)
        session.save()
        with pytest.raises(ValueError, match="used already"):
            session.step("a", function)
        session.checkpoint()
        assert session.step("a", function) == [2]
        self.abandon(backend, session)
        with self.other_store(backend).resume("s") as again:
            assert again.step("a", function) == [2]
            again.pause(resume_from="b")
        with store.resume("s") as later:
            assert later.step("a", function) == [3]
            later.complete()

    def test_a_named_resume_goes_back_to_the_steps_that_were_kept_then(self, store: Store) -> None:
        function = Counted()
        with store.create("g", session_id="s") as session:
            session.step("a", function)
            then = session.pause().checkpoint_id
        with store.resume("s") as session:
            session.step("b", function)
            session.pause()
        with store.resume("s", checkpoint_id=then) as session:
            assert session.step("a", function) == [1]
            assert session.step("b", function) == [3]
            session.complete()

    def test_steps_that_a_resume_went_back_from_are_replayed_by_what_goes_back_to_them(
        self, backend: BackendT, store: Store
    ) -> None:
        function = Counted()
        session = store.create("g", session_id="s")
        then = session.checkpoint().checkpoint_id
        session.step("a", function)
        self.abandon(backend, session)  # no save told of the step
        other = self.other_store(backend)
        other.resume("s", checkpoint_id=then).pause()
        kinds = {one.checkpoint_type: one.checkpoint_id for one in other.checkpoints("s")}
        with other.resume("s", checkpoint_id=kinds["before_resume"]) as again:
            assert again.step("a", function) == [1]
            again.complete()

    def test_a_fork_replays_what_was_kept_and_its_parent_sees_nothing_of_it(
        self, store: Store
    ) -> None:
        function = Counted()
        with store.create("g", session_id="s") as session:
            session.step("a", function)
            session.pause()
        with store.resume(store.fork("s", new_id="t")) as copy:
            assert copy.step("a", function) == [1]
            assert copy.step("b", function) == [2]
            copy.complete()
        with store.resume("s") as session:
            assert session.step("b", function) == [3]
            session.complete()

    def test_a_fork_of_a_state_that_went_back_closes_its_steps(self, store: Store) -> None:
        function = Counted()
        with store.create("g", session_id="s") as session:
            then = session.checkpoint().checkpoint_id
            session.step("a", function)
            session.pause()
        with store.resume("s", checkpoint_id=then) as session:
            back = session.checkpoint().checkpoint_id  # no step was appended since the way back
            session.pause()
        with store.resume(store.fork("s", back, new_id="t")) as copy:
            assert copy.step("a", function) == [2]
            copy.checkpoint()
            assert copy.step("a", function) == [3]
            copy.complete()

    def test_a_step_with_other_arguments_is_refused(self, store: Store) -> None:
        function = Counted()
        with store.create("g", session_id="s") as session:
            session.step("a", function, {"x": 1})
            session.pause()
        with store.resume("s") as session:
            with pytest.raises(StepChanged):
                session.step("a", function, {"x": 2})
            assert session.step(Step[Any]("a", rerun=True), function, {"x": 2}) == [2, {"x": 2}]
            session.complete()

    @pytest.mark.parametrize("settled", [True, False])
    def test_a_step_that_may_run_once_waits_for_somebody_after_a_death(
        self, backend: BackendT, store: Store, settled: bool
    ) -> None:
        step, function = Step[Any]("pay", at_most_once=True), Counted()
        session = store.create("g", session_id="s")
        with pytest.raises(KeyboardInterrupt):
            session.step(step, interrupted)
        self.abandon(backend, session)
        other = self.other_store(backend)
        with other.resume("s") as again:
            with pytest.raises(StepUnsettled):
                again.step(step, function)
            again.pause()
        assert not function.calls
        with other.edit("s") as edited:
            if settled:
                edited.settle_step("pay", ["by hand"])
            else:
                edited.rerun_step("pay")
        with store.resume("s") as later:
            assert later.step(step, function) == (["by hand"] if settled else [1])
            later.complete()

    def test_a_claim_that_ended_calls_nothing(self, backend: BackendT, store: Store) -> None:
        function = Counted()
        session = store.create("g", session_id="s")
        session.complete()
        with pytest.raises(ClaimLost):
            session.step("a", function)
        assert not function.calls
        assert self.other_store(backend).steps("s") == []

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks")
    def test_a_forked_child_calls_nothing(self, store: Store) -> None:
        session = store.create("g", session_id="s")

        def refuses() -> bool:
            function = Counted()
            with pytest.raises(ClaimLost):
                session.step("a", function)
            return not function.calls

        assert forked(refuses)
        assert session.step("a", Counted()) == [1]
        session.complete()

    def test_awaited_steps_are_kept_and_replayed(self, backend: BackendT) -> None:
        function = Counted()

        async def fetch(number: int) -> int:
            function()
            return number

        async def run() -> list[int]:
            async with (
                AsyncSessionStore(self.reopen(backend)) as store,
                store.create_or_resume("s", "g") as session,
            ):
                names = enumerate("abc")
                return await asyncio.gather(*(session.step(x, fetch, n) for n, x in names))

        assert asyncio.run(run()) == asyncio.run(run()) == [0, 1, 2]
        assert function.calls == 3
