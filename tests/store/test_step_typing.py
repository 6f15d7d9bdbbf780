"""Type checkers infer what a step returns, in each of the ways to call one."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.store.test_typing import mypy, pyright, run

USES = """\
    import asyncio
    from collections.abc import Coroutine
    from dataclasses import dataclass
    from functools import partial
    from typing import Any

    from sessionstore import AsyncSession, Session, SessionState, Step

    @dataclass
    class Plan:
        team: str

        def rank(self, by: int) -> float:
            return by / 2

        @classmethod
        def empty(cls) -> "Plan":
            return cls("")

    class Model:
        def __call__(self, prompt: str) -> list[str]:
            return [prompt]

    def plan(mail: str, *, times: int = 1) -> Plan:
        return Plan(mail)

    def maybe(mail: str) -> Plan | None:
        return Plan(mail) if mail else None

    def either(number: int) -> int | str:
        return number or "none"

    def nothing() -> None: ...

    def pair() -> tuple[int, str]:
        return 1, "a"

    def anything(value: Any) -> Any:
        return value

    async def fetch(url: str) -> dict[str, int]:
        return {url: 1}

    async def find(url: str) -> Plan | None:
        return maybe(url)

    def begun(url: str) -> Coroutine[Any, Any, dict[str, int]]:
        return fetch(url)

    def sync(session: Session[SessionState]) -> None:
        step = session.step
        reveal_type(step("1", plan, "a"))  # Plan
        reveal_type(step("2", plan, "a", times=2))  # Plan
        reveal_type(step("3", maybe, "a"))  # Plan | None
        reveal_type(step("4", either, 4))  # int | str
        reveal_type(step("5", nothing))  # None
        reveal_type(step("6", pair))  # tuple[int, str]
        reveal_type(step("7", partial(plan, "a")))  # Plan
        reveal_type(step("8", lambda: 7))  # int
        reveal_type(step("9", lambda: plan("a")))  # Plan
        reveal_type(step("10", Plan, "a"))  # Plan
        reveal_type(step("11", Plan.empty))  # Plan
        reveal_type(step("12", Plan("a").rank, 3))  # float
        reveal_type(step("13", Model(), "a"))  # list[str]
        reveal_type(step("14", len, "a"))  # int
        reveal_type(step("15", str.upper, "a"))  # str
        reveal_type(step("16", anything, 1))  # Any
        reveal_type(step(Step("17"), plan, "a"))  # Plan
        reveal_type(step(Step("18", at_most_once=True), maybe, "a"))  # Plan | None
        reveal_type(step(Step("19", rerun=True), lambda: 7))  # int
        one, several = Step("20", returns=Plan), Step("21", returns=list[Plan])
        reveal_type(step(one, lambda: {"team": "a"}))  # Plan
        reveal_type(step(several, anything, 1))  # list[Plan]
        reveal_type(step(Step("22", returns=Plan | None), anything, 1))  # Any
        step("wrong", plan, 7)  # wrong
        step("wrong", plan, "a", tmies=2)  # wrong
        step("wrong", plan)  # wrong
        wrong: str = step("wrong", plan, "a")  # wrong

    async def asynchronous(session: AsyncSession[SessionState]) -> None:
        step = session.step
        reveal_type(await step("23", fetch, "a"))  # dict[str, int]
        reveal_type(await step("24", find, "a"))  # Plan | None
        reveal_type(await step("25", plan, "a"))  # Plan
        reveal_type(await step("26", partial(fetch, "a")))  # dict[str, int]
        reveal_type(await step("27", begun, "a"))  # dict[str, int]
        reveal_type(await step(Step("28", at_most_once=True), fetch, "a"))  # dict[str, int]
        declared = Step("29", returns=Plan)
        reveal_type(await step(declared, fetch, "a"))  # Plan
        reveal_type(await step("30", asyncio.sleep, 1.0, Plan("a")))  # Plan
        both = await asyncio.gather(step("31", fetch, "a"), step("32", nothing))
        reveal_type(both)  # tuple[dict[str, int], None]
        await step("wrong", fetch, 7)  # wrong
        wrong: str = await step("wrong", fetch, "a")  # wrong
"""


def revealed_by_mypy(program: Path) -> dict[int, str]:
    """Return the type that mypy reveals, by line."""
    done = run("mypy", "--config-file", "mypy.ini", program.name, at=program.parent)
    found = re.findall(r':(\d+): note: Revealed type is "(.+)"', done.stdout)
    return {int(line): kind.replace(f"{program.stem}.", "") for line, kind in found}


def revealed_by_pyright(program: Path) -> dict[int, str]:
    """Return the same of pyright."""
    done = run("pyright", "--pythonpath", sys.executable, program.name,
               at=program.parent)  # fmt: skip
    found = re.findall(r':(\d+):\d+ - information: Type of ".+" is "(.+)"', done.stdout)
    return {int(line): kind for line, kind in found}


@pytest.mark.parametrize(
    ("errors", "revealed"), [(mypy, revealed_by_mypy), (pyright, revealed_by_pyright)]
)
def test_the_type_of_a_step_is_what_its_comment_says(
    tmp_path: Path,
    errors: Callable[[Path], list[tuple[str, int]]],
    revealed: Callable[[Path], dict[int, str]],
) -> None:
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(USES))
    said = {
        number: line.rpartition("# ")[2]
        for number, line in enumerate(program.read_text().splitlines(), 1)
        if "  # " in line
    }
    wrong = {number for number, kind in said.items() if kind == "wrong"}
    assert {line for _, line in errors(program)} == wrong
    expected = {number: kind for number, kind in said.items() if number not in wrong}
    assert len(expected) > 30
    assert revealed(program) == expected
