"""The type that a step keeps its result as, by what its function declares."""

from __future__ import annotations

import functools
import gc
import sys
import typing
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sessionstore.errors import NotStorable
from sessionstore.model.step import UNDECLARED
from sessionstore.session.step_result import declared_type


def type_of(function: Callable[..., Any]) -> Any:
    return declared_type("s-1", "work", function)


class Planner:
    def plan(self) -> list[str]:
        return []

    def __call__(self) -> int:
        return 0


def test_the_annotation_of_a_function_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[object] = []
    real = typing.get_type_hints

    def counted(obj: Any, *args: Any, **kwargs: Any) -> Any:
        looked_up.append(obj)
        return real(obj, *args, **kwargs)

    def work() -> dict[str, int]:
        return {}

    monkeypatch.setattr(typing, "get_type_hints", counted)
    assert [type_of(work) for _ in range(3)] == [dict[str, int]] * 3
    assert len(looked_up) == 1


def test_the_methods_of_two_objects_share_what_their_function_declares() -> None:
    assert type_of(Planner().plan) == type_of(Planner().plan) == list[str]
    assert type_of(Planner()) is int


def test_a_parameter_of_a_type_that_only_a_checker_knows_hides_no_result() -> None:
    # Since Python 3.14 no quotes are needed: annotations are evaluated when they are asked for.
    hidden = "Hidden" if sys.version_info >= (3, 14) else "'Hidden'"
    made: dict[str, Any] = {}
    exec(f"def work(mail: {hidden}) -> list[int]: ...", made)  # this file has unevaluated ones
    assert type_of(made["work"]) == list[int]


def test_functions_of_the_same_code_keep_their_own_types() -> None:
    def make(returned: type) -> Callable[[], Any]:
        def work() -> Any:
            return returned()

        work.__annotations__["return"] = returned
        return work

    assert [type_of(make(one)) for one in (int, str, int)] == [int, str, int]


def test_a_function_is_not_kept_alive_by_what_is_known_of_it() -> None:
    def work() -> int:
        return 0

    there = weakref.ref(work)
    assert type_of(work) is int
    del work
    gc.collect()
    assert there() is None


def test_none_and_nothing_declared_differ() -> None:
    def returns_none() -> None: ...

    for _ in range(2):
        assert type_of(returns_none) is type(None)
        assert type_of(lambda: None) is UNDECLARED
        assert type_of(functools.partial(returns_none)) is type(None)


def test_what_is_awaited_counts() -> None:
    def later() -> Awaitable[int]: ...  # type: ignore[empty-body]  # only its annotation is read

    assert type_of(later) is int


def test_an_annotation_that_cannot_be_looked_up_is_refused_each_time() -> None:
    def work() -> Any: ...

    work.__annotations__["return"] = "Missing"
    for _ in range(2):
        with pytest.raises(NotStorable, match="'Missing' is not defined"):
            type_of(work)
