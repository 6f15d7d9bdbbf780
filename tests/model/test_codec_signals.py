"""What a signal handler raises while a state is serialised arrives as it was raised.

A handler runs wherever Python code does. Each test here raises at every call of a Python function
within ``codec.encode``, one after the other: there is no place where it could be lost.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from pydantic import computed_field

from sessionstore import (
    SessionState,
    SessionStatus,
    SessionStore,
    SessionSummary,
    SessionTimestamps,
)
from sessionstore.model import codec
from tests.support.aio import Store, run
from tests.support.processes import read_state


class OutOfTime(RuntimeError):
    """What the handler of an application might raise."""


RAISED = (SystemExit(3), KeyboardInterrupt(), OutOfTime("5 s"), TimeoutError("5 s"))


class Phase(StrEnum):
    FIRST = "first"


class OwnCode(SessionState):
    """A state whose serialising runs Python code that is not ours."""

    phase: Phase = Phase.FIRST

    @computed_field  # type: ignore[prop-decorator]  # pydantic documents this order for mypy
    @property
    def title(self) -> str:
        """Computed by the application."""
        return self.goal_id.title()


@contextmanager
def raising_at(
    wanted: int, error: BaseException, within: Callable[..., object] = codec.encode
) -> Iterator[Callable[[], bool]]:
    """Raise ``error`` at the ``wanted``-th call of a Python function within codec.encode.

    The garbage collector waits: what it calls of others (hypothesis, say) is no place of ours.
    """
    calls = 0
    code = within.__code__

    def is_within(frame: FrameType | None) -> bool:
        while frame is not None and frame.f_code is not code:
            frame = frame.f_back
        return frame is not None

    def trace(frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal calls
        if is_within(frame):
            calls += 1
            if calls == wanted:
                sys.settrace(None)
                raise error

    before = sys.gettrace()
    gc.disable()
    sys.settrace(trace)
    try:
        yield lambda: calls >= wanted
    finally:
        sys.settrace(before)
        gc.enable()


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_it_arrives_from_every_place_of_a_save(tmp_path: Path, error: BaseException) -> None:
    with SessionStore(tmp_path, durability="process").create("g", session_id="s") as session:
        session.state.timestamps.completed_at = session.state.timestamps.started_at
        places = 0
        while True:
            before = session.revision
            with raising_at(places + 1, error) as fired:
                arrived = None
                try:
                    session.save()
                except BaseException as raised:
                    arrived = raised
            if not fired():
                assert arrived is None
                break
            assert arrived is error, f"at call {places + 1}"
            assert read_state(tmp_path, "s")["revision"] == session.revision == before
            places += 1
        assert places > 5, "duration_ms alone calls four"
        session.complete()


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_it_arrives_from_every_place_of_an_async_save(tmp_path: Path, error: BaseException) -> None:
    async def save_on(store: Store) -> int:
        session = await store.create("g", session_id="s")
        places = 0
        while True:
            with raising_at(places + 1, error) as fired:
                arrived = None
                try:
                    await session.save()
                except BaseException as raised:
                    arrived = raised
            if not fired():
                assert arrived is None
                break
            assert arrived is error, f"at call {places + 1}"
            places += 1
        await session.complete()
        return places

    assert run(save_on, tmp_path) > 2
    assert read_state(tmp_path, "s")["revision"] == 3, "create, one save, the end"


@pytest.mark.parametrize("error", RAISED[:2], ids=lambda error: type(error).__name__)
def test_an_exit_arrives_from_code_of_the_state_type_too(error: BaseException) -> None:
    # Of what is raised in there pydantic keeps the text: it is another exception, of that kind.
    state = OwnCode(
        session_id="s", goal_id="g", timestamps=SessionTimestamps(started_at="", updated_at="")
    )
    codec.encode(state)  # learns the type once
    places = 0
    while True:
        with raising_at(places + 1, error) as fired:
            arrived = None
            try:
                codec.encode(state)
            except BaseException as raised:
                arrived = raised
        if not fired():
            assert arrived is None
            break
        assert arrived is not None
        assert (type(arrived), arrived.args) == (type(error), error.args)
        places += 1
    assert places > 5


def test_ctrl_c_arrives_from_what_a_command_prints() -> None:
    item = SessionSummary("s", status=SessionStatus.PAUSED)
    places = 0
    while True:
        with raising_at(places + 1, KeyboardInterrupt(), codec.json_view) as fired:
            arrived = None
            try:
                codec.json_view(item)
            except BaseException as raised:
                arrived = raised
        if not fired():
            assert arrived is None
            break
        assert type(arrived) is KeyboardInterrupt
        places += 1
    assert places > 1, "the value of an enum is Python code"


def test_the_bytes_are_those_that_pydantic_would_write() -> None:
    for kind in (SessionState, OwnCode):
        state = kind(
            session_id="s",
            goal_id="g",
            timestamps=SessionTimestamps(
                started_at="2026-01-01T00:00:00Z",
                updated_at="2026-01-01T00:00:00Z",
                completed_at="2026-01-01T00:00:02.5Z",
            ),
            checkpoint_enabled=True,
            latest_checkpoint_id="cp",
        )
        state.__pydantic_extra__ = {"vendor": 1}
        payload = codec.encode(state)
        assert payload == kind.__pydantic_serializer__.to_json(state)
        assert payload.count(b'"duration_ms":2500') == payload.count(b'"is_resumable":true') == 1
