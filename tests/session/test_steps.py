"""Steps: a call that returned never runs again, and no step gets the result of another."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from sessionstore import (
    AsyncSessionStore,
    CancellationRequested,
    ClaimLost,
    MemoryBackend,
    NotStorable,
    Session,
    SessionState,
    SessionStore,
    Step,
    StepChanged,
    StepUnsettled,
)
from tests.support.processes import CHECKOUT, DEADLINE

Store = SessionStore[SessionState]


class Plan(BaseModel):
    team: str
    rank: Decimal = Decimal(1)


class Colour(StrEnum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: int


@pytest.fixture(params=["files", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    place: Any = MemoryBackend() if request.param == "memory" else tmp_path / "store"
    with SessionStore(place) as opened:
        yield opened


class Counted:
    """A function that counts its calls."""

    def __init__(self, *results: Any) -> None:
        self.calls = 0
        self._results = results

    def __call__(self, *_: Any) -> Any:
        self.calls += 1
        result = self._results[min(self.calls, len(self._results)) - 1]
        if isinstance(result, BaseException):
            raise result
        return result


def begun(store: Store, session_id: str = "s-1") -> Session[SessionState]:
    return store.create("goal", session_id=session_id)


# --- kept and replayed ----------------------------------------------------------------------------


def test_a_step_that_returned_is_not_called_again(store: Store) -> None:
    first, second = Counted({"n": 1}), Counted([2])
    with begun(store) as session:
        assert session.step("first", first) == {"n": 1}
        assert session.step("second", second) == [2]
        session.pause()
    with store.resume("s-1") as session:
        assert session.step("first", first) == {"n": 1}
        assert session.step("second", second) == [2]
    assert (first.calls, second.calls) == (1, 1)


def test_steps_are_found_by_name_and_not_by_order(store: Store) -> None:
    with begun(store) as session:
        for name in "abc":
            session.step(name, str.upper, name)
        session.pause()
    with store.resume("s-1") as session:
        assert [session.step(name, str.upper, name) for name in "cab"] == ["C", "A", "B"]


def test_an_exception_is_not_kept_and_the_step_runs_again_in_the_same_claim(store: Store) -> None:
    flaky = Counted(OSError("once"), "there")
    with begun(store) as session:
        with pytest.raises(OSError, match="once"):
            session.step("fetch", flaky)
        assert session.step("fetch", flaky) == "there"
        session.pause()
    with store.resume("s-1") as session:
        assert session.step("fetch", flaky) == "there"
    assert flaky.calls == 2


def test_a_name_is_used_once_between_two_checkpoints(store: Store) -> None:
    with begun(store) as session:
        session.step("think", Counted(1))
        again = Counted(2)
        with pytest.raises(ValueError, match=r"f\"think-\{turn\}\""):
            session.step("think", again)
        assert again.calls == 0
        session.checkpoint()
        assert session.step("think", again) == 2
        session.pause()
    with store.resume("s-1") as session:
        assert session.step("think", again) == 2
        with pytest.raises(ValueError, match="used already"):
            session.step("think", again)
    assert again.calls == 1


@pytest.mark.parametrize("closing", ["checkpoint", "pause with resume_from", "complete"])
def test_what_closes_steps_lets_the_code_behind_it_run_anew(store: Store, closing: str) -> None:
    call = Counted(1, 2)
    with begun(store) as session:
        session.checkpoint()
        session.step("work", call)
        if closing == "checkpoint":
            session.checkpoint()
        elif closing == "complete":
            session.complete()
        else:
            session.pause(resume_from="next")
    with store.resume("s-1", again=True) as session:
        assert session.step("work", call) == 2


@pytest.mark.parametrize("stop", ["save", "pause", "fail", "edit"])
def test_what_closes_no_steps_lets_a_function_run_again_from_its_top(
    store: Store, stop: str
) -> None:
    call = Counted(1, 2)
    with begun(store) as session:
        session.step("work", call)
        session.state.data_buffer["n"] = 1
        session.save()
        if stop == "fail":
            session.fail("on purpose")
    if stop == "edit":
        with store.edit("s-1") as session:
            session.state.data_buffer["n"] = 2
    with store.resume("s-1") as session:
        assert session.step("work", call) == 1
    assert call.calls == 1


def test_a_named_checkpoint_goes_back_to_the_steps_that_were_kept_then(store: Store) -> None:
    before, after = Counted("before"), Counted("after", "anew")
    with begun(store) as session:
        session.step("before", before)
        session.save()
        session.pause()
    then = store.load("s-1").latest_checkpoint_id
    with store.resume("s-1") as session:
        session.step("after", after)
        session.pause()
    with store.resume("s-1", checkpoint_id=then) as session:
        assert session.step("before", before) == "before"
        assert session.step("after", after) == "anew"
    assert before.calls == 1


def test_a_checkpoint_closes_the_steps_of_an_earlier_claim_that_it_did_not_use(
    store: Store,
) -> None:
    call = Counted(1, 2)
    with begun(store) as session:
        session.step("work", call)
        session.pause()
    with store.resume("s-1") as session:
        session.checkpoint()
        session.pause()
    with store.resume("s-1") as session:
        assert session.step("work", call) == 2


def test_a_step_that_begins_before_a_checkpoint_and_ends_after_it_counts_under_neither(
    store: Store,
) -> None:
    with begun(store) as session:
        inside, go_on = threading.Event(), threading.Event()

        def slow() -> int:
            inside.set()
            assert go_on.wait(DEADLINE)
            return 1

        thread = threading.Thread(target=session.step, args=("slow", slow))
        thread.start()
        assert inside.wait(DEADLINE)
        session.checkpoint()
        go_on.set()
        thread.join()
        again = Counted(2)
        assert session.step("slow", again) == 2
        session.pause()
    with store.resume("s-1") as session:
        assert session.step("slow", again) == 2
    assert again.calls == 1


def test_rerun_calls_again_and_the_new_result_takes_the_place_of_the_old(store: Store) -> None:
    call = Counted(1, 2)
    with begun(store) as session:
        session.step("work", call)
        session.pause()
    with store.resume("s-1") as session:
        assert session.step(Step("work", rerun=True), call) == 2
        session.pause()
    with store.resume("s-1") as session:
        assert session.step("work", call) == 2
    assert call.calls == 2


# --- arguments ------------------------------------------------------------------------------------


def test_a_kept_step_with_other_arguments_is_refused(store: Store) -> None:
    call = Counted("a", "b")
    with begun(store) as session:
        session.step("ask", call, {"q": 1, "r": [2]})
        session.pause()
    with store.resume("s-1") as session:
        with pytest.raises(StepChanged, match="other arguments") as caught:
            session.step("ask", call, {"q": 2, "r": [2]})
        assert caught.value.step == "ask"
        assert session.step("ask", call, {"r": [2], "q": 1}) == "a"
    assert call.calls == 1


def test_arguments_that_are_no_json_are_not_compared(store: Store) -> None:
    def call(client: object, city: str) -> str:
        return city

    with begun(store) as session:
        session.step("ask", call, object(), "Rome")
        session.pause()
    with store.resume("s-1") as session:
        assert session.step("ask", call, object(), "Rome") == "Rome"
        session.pause()
    with store.resume("s-1") as session, pytest.raises(StepChanged):
        session.step("ask", call, object(), "Oslo")


# --- types ----------------------------------------------------------------------------------------

WHEN = datetime(2026, 11, 28, 12, tzinfo=UTC)


def returns_plan() -> Plan:
    return Plan(team="a", rank=Decimal("1.50"))


def returns_none() -> Plan | None:
    return None


def returns_dates() -> dict[UUID, list[datetime]]:
    return {UUID(int=7): [WHEN]}


def returns_tuple() -> tuple[int, Colour, Point, set[int]]:
    return 1, Colour.RED, Point(1, 2), {3}


def returns_nothing() -> None:
    return None


@pytest.mark.parametrize(
    "function", [returns_plan, returns_none, returns_dates, returns_tuple, returns_nothing]
)
def test_the_declared_type_comes_back_on_the_first_run_and_on_a_replay(
    store: Store, function: Callable[[], Any]
) -> None:
    expected = function()
    with begun(store) as session:
        first = session.step("typed", function)
        session.pause()
    with store.resume("s-1") as session:
        replayed = session.step("typed", function)
    assert first == replayed == expected
    assert type(first) is type(replayed) is type(expected)


def test_what_comes_back_from_the_first_run_has_been_through_json_too(store: Store) -> None:
    kept = {"list": [1]}
    with begun(store) as session:
        first = session.step("work", lambda: kept)
        kept["list"].append(2)
        assert first == {"list": [1]}


@pytest.mark.parametrize(
    ("callee", "expected"),
    [
        (functools.partial(returns_plan), Plan(team="a", rank=Decimal("1.50"))),
        (Plan, Plan(team="b")),
    ],
    ids=["partial", "class"],
)
def test_the_type_is_found_behind_what_can_be_called(
    store: Store, callee: Callable[..., Any], expected: Plan
) -> None:
    kwargs = {"team": "b"} if callee is Plan else {}
    with begun(store) as session:
        assert session.step("typed", callee, **kwargs) == expected
        session.pause()
    with store.resume("s-1") as session:
        assert session.step("typed", callee, **kwargs) == expected


def test_a_type_that_cannot_be_kept_is_refused_before_the_call(store: Store) -> None:
    called = []

    def bad() -> Callable[[], int]:
        called.append(1)
        return lambda: 1

    with begun(store) as session, pytest.raises(NotStorable, match="returns="):
        session.step("bad", bad)
    assert not called


@pytest.mark.parametrize("result", [object(), float("nan"), {1: 2}, (1, 2), "\ud800"])
def test_a_result_that_cannot_be_kept_is_in_the_error(store: Store, result: Any) -> None:
    with begun(store) as session, pytest.raises(NotStorable) as caught:
        session.step("bad", lambda: result)
    assert caught.value.result is result


def test_a_step_whose_result_cannot_be_kept_may_be_tried_again_unless_it_may_run_once(
    store: Store,
) -> None:
    with begun(store) as session:
        with pytest.raises(NotStorable):
            session.step("fetch", Counted(object()))
        assert session.step("fetch", Counted(1)) == 1
        with pytest.raises(NotStorable):
            session.step(Step("pay", at_most_once=True), Counted(object()))
        with pytest.raises(StepUnsettled):
            session.step(PAY, Counted("paid"))


def test_a_result_of_another_type_than_declared_is_in_the_error(store: Store) -> None:
    def wrong() -> int:
        return "seven"  # type: ignore[return-value]

    with begun(store) as session, pytest.raises(NotStorable, match="the result of wrong") as caught:
        session.step("wrong", wrong)
    assert caught.value.result == "seven"


def test_returns_declares_the_type_in_the_place_of_the_function(store: Store) -> None:
    with begun(store) as session:
        step = Step("typed", returns=list[Plan])
        assert session.step(step, lambda: [{"team": "x"}]) == [Plan(team="x")]


# --- at most once ---------------------------------------------------------------------------------

DIES = """
import os, signal, sys
from sessionstore import SessionStore, Step
with SessionStore(sys.argv[1]).create("goal", session_id="s-1") as session:
    session.step("before", lambda: 1)
    session.step(Step("pay", at_most_once=True), lambda: os.kill(os.getpid(), signal.SIGKILL))
"""


@pytest.fixture
def died_within(tmp_path: Path) -> Store:
    root = tmp_path / "store"
    done = subprocess.run(
        [sys.executable, "-c", DIES, str(root)],
        cwd=CHECKOUT, capture_output=True, timeout=DEADLINE, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    return SessionStore(root)


PAY: Step[Any] = Step("pay", returns=Any, at_most_once=True)


def test_a_step_that_may_run_once_is_not_called_again_after_a_death(died_within: Store) -> None:
    pay = Counted("paid")
    with died_within.resume("s-1") as session:
        for _ in range(2):
            with pytest.raises(StepUnsettled, match="--settle pay=JSON") as caught:
                session.step(PAY, pay)
        assert caught.value.pid not in (None, os.getpid())
        session.pause()
    with died_within.resume("s-1") as session, pytest.raises(StepUnsettled):
        session.step("pay", pay)  # also if the code forgot the option since
    assert not pay.calls


def test_rerun_calls_no_step_of_which_nobody_knows_what_came(died_within: Store) -> None:
    pay = Counted("paid")
    with died_within.resume("s-1") as session, pytest.raises(StepUnsettled):
        session.step(Step("pay", rerun=True, at_most_once=True), pay)
    assert not pay.calls


def test_a_settled_step_returns_what_somebody_said(died_within: Store) -> None:
    with died_within.edit("s-1") as session:
        session.settle_step("pay", {"receipt": 7})
    pay = Counted("paid")
    with died_within.resume("s-1") as session:
        assert session.step(PAY, pay) == {"receipt": 7}
        with pytest.raises(ValueError, match="no step 'pay' waits"):
            session.settle_step("pay", 1)
    assert not pay.calls
    [pay_info] = [one for one in died_within.steps("s-1") if one.name == "pay"]
    assert (pay_info.status, pay_info.is_settled) == ("kept", True)


def test_a_step_that_may_run_again_is_called_again(died_within: Store) -> None:
    with died_within.edit("s-1") as session:
        session.rerun_step("pay")
    with died_within.resume("s-1") as session:
        assert session.step(PAY, Counted("paid")) == "paid"


def test_a_step_that_this_claim_kept_may_run_again(store: Store) -> None:
    with begun(store) as session:
        assert session.step("fetch", Counted("old")) == "old"
        session.rerun_step("fetch")
        assert session.step("fetch", Counted("new")) == "new"
        session.pause()


def test_an_exception_settles_a_step_that_may_run_once(store: Store) -> None:
    declined = Counted(PermissionError("declined"), "paid")
    with begun(store) as session:
        with pytest.raises(PermissionError):
            session.step(PAY, declined)
        session.pause()
    with store.resume("s-1") as session:
        assert session.step(PAY, declined) == "paid"


def test_ctrl_c_leaves_a_step_that_may_run_once_unsettled_in_the_same_claim_too(
    store: Store,
) -> None:
    with begun(store) as session:
        with pytest.raises(KeyboardInterrupt):
            session.step(PAY, Counted(KeyboardInterrupt()))
        with pytest.raises(StepUnsettled):
            session.step(PAY, Counted("paid"))


# --- where no step may begin ----------------------------------------------------------------------


def test_a_nested_step_is_refused(store: Store) -> None:
    with begun(store) as session, begun(store, "other") as other:
        inner = Counted(1)
        with pytest.raises(RuntimeError, match="within another step"):
            session.step("outer", lambda: session.step("inner", inner))
        assert not inner.calls
        assert session.step("outer", lambda: other.step("inner", inner)) == 1


def test_a_step_after_the_release_or_in_a_forked_child_is_refused(store: Store) -> None:
    call = Counted(1)
    with begun(store) as session:
        session.pause()
        with pytest.raises(ClaimLost, match="pause"):
            session.step("late", call)
    assert not call.calls


def test_a_request_to_cancel_is_heeded_before_the_call_and_not_after(store: Store) -> None:
    late = Counted(1)
    with begun(store) as session:

        def asks() -> str:
            store.cancel("s-1")
            return "kept all the same"

        assert session.step("asks", asks) == "kept all the same"
        with pytest.raises(CancellationRequested):
            session.step("late", late)
    assert not late.calls
    assert store.load("s-1").status == "cancelled"
    assert [(one.name, str(one.status)) for one in store.steps("s-1")] == [("asks", "kept")]


@pytest.mark.parametrize("name", ["", "x" * 300, "\ud800"])
def test_a_name_that_cannot_be_stored_is_refused(store: Store, name: str) -> None:
    with begun(store) as session, pytest.raises(ValueError, match="name"):
        session.step(name, Counted(1))


# --- async ----------------------------------------------------------------------------------------


def test_coroutines_and_plain_functions_are_kept_alike(tmp_path: Path) -> None:
    calls = []

    async def fetch(number: int) -> Plan:
        calls.append(number)
        await asyncio.sleep(0)
        return Plan(team=str(number))

    def plain(number: int) -> int:
        calls.append(number)
        return number

    async def run() -> list[object]:
        async with AsyncSessionStore(tmp_path / "store") as store:
            async with store.create_or_resume("s-1", "goal") as session:
                found = await asyncio.gather(
                    *(session.step(f"fetch-{n}", fetch, n) for n in range(5)),
                    *(session.step(f"plain-{n}", plain, n) for n in range(5, 8)),
                )
            return list(found)

    first = asyncio.run(run())
    assert asyncio.run(run()) == first == [*(Plan(team=str(n)) for n in range(5)), 5, 6, 7]
    assert sorted(calls) == list(range(8))


def test_a_cancelled_plain_function_is_waited_for_and_kept(tmp_path: Path) -> None:
    inside, go_on = threading.Event(), threading.Event()
    calls = []

    def slow() -> int:
        calls.append(1)
        inside.set()
        assert go_on.wait(DEADLINE)
        return 7

    async def cancelled() -> None:
        async with (
            AsyncSessionStore(tmp_path / "store") as store,
            store.create("goal", session_id="s-1") as session,
        ):
            task = asyncio.create_task(session.step("slow", slow))
            await asyncio.to_thread(inside.wait)
            task.cancel()
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancelled())
    with SessionStore(tmp_path / "store").resume("s-1") as session:
        assert session.step("slow", slow) == 7
    assert len(calls) == 1


def test_a_cancelled_coroutine_is_not_kept(tmp_path: Path) -> None:
    async def run() -> None:
        async with (
            AsyncSessionStore(tmp_path / "store") as store,
            store.create("goal", session_id="s-1") as session,
        ):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await session.step("slow", asyncio.sleep, DEADLINE)
            await session.step("slow", asyncio.sleep, 0)

    asyncio.run(run())


def test_a_nested_step_is_refused_in_the_thread_of_a_plain_function_too(tmp_path: Path) -> None:
    async def run() -> None:
        async with (
            AsyncSessionStore(tmp_path / "store") as store,
            store.create("goal", session_id="s-1") as session,
        ):

            def outer() -> None:
                asyncio.run(session.step("inner", Counted(1)))

            with pytest.raises(RuntimeError, match="within another step"):
                await session.step("outer", outer)

    asyncio.run(run())
