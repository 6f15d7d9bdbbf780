"""Steps of a held session, beside appends of the same records and what others do."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from benchmarks import peers
from benchmarks.backends import make_record
from benchmarks.harness import Group, Options, Sample, interleave, raw, say
from benchmarks.images import places
from benchmarks.limits import TIMES, Figure
from benchmarks.step_peers import (
    KINDS,
    OWN,
    DBOSSteps,
    HarnessSqlite,
    SameRecords,
    SessionSteps,
    StepKeeper,
)
from sessionstore import SessionStore

REPLAYED = 1_000
"""How many kept steps are replayed."""

_GOALS: dict[type[StepKeeper], str] = {
    SameRecords: "step",
    DBOSSteps: "step dbos",
    HarnessSqlite: "step harness",
}
"""Of whom a step may take only so much of the time, by the key of the goal."""


def measure_steps(options: Options) -> list[Figure]:
    """Compare steps that return at once, in each place; then a replay."""
    figures = []
    for place, there in places(options):
        for durability in ("power", "process"):
            say(f"steps, {durability}: {place}")
            kinds = [kind for kind in (*OWN, *KINDS) if kind.durability == durability]
            figures += _compare([kind for kind in kinds if _is_there(kind)], there, place)
    return [*figures, *measure_replay(options)]


def _is_there(kind: type[StepKeeper]) -> bool:
    return kind.name not in peers.absent()


def _compare(kinds: list[type[StepKeeper]], options: Options, place: str) -> list[Figure]:
    """Time a step of each; the first is ours, to be divided by the others."""
    ours, *others = kinds
    seen = _times(kinds, options)
    figures = []
    for kind in others:
        ratio = seen[ours.name].median / seen[kind.name].median
        goal = _GOALS.get(kind, "")
        name = f"step / {kind.name}, {kind.durability}, {place}"
        figures.append(Figure("steps", name, TIMES, [ratio], goal=goal, note=place if goal else ""))
    if ours is SessionSteps:
        return figures + raw("steps", seen, place, plot="step, power")
    return figures + raw("steps", seen, place, how=ours.durability)


def _times(kinds: list[type[StepKeeper]], options: Options) -> dict[str, Sample]:
    seen: dict[str, Sample] = {}
    with options.space() as space, ExitStack() as stack:
        keepers = [kind(space / str(number)) for number, kind in enumerate(kinds)]
        for keeper in keepers:
            stack.callback(keeper.close)
        runs = {keeper.name: keeper.step for keeper in keepers}

        def measure() -> None:
            seen.update(interleave(runs, rounds=options.rounds(300)))

        for keeper in keepers:
            measure = partial(keeper.within, measure)
        measure()
    return seen


def measure_replay(options: Options) -> list[Figure]:
    """Replay kept steps beside json.loads of the lines of their journal."""
    results: dict[str, dict[str, Any]] = {
        "results of 1 KiB": make_record(random.Random(1)),
        "results of 10 bytes": {"paid": 12},
    }
    figures = []
    for what, result in results.items():
        say(f"steps, replay: {what}")
        seen = _replay(options, result)
        parsed = seen["json.loads"].median
        replayed = seen["claim and replay"].median - seen["claim"].median
        name = f"replay of {REPLAYED:,} kept steps / json.loads of their lines, {what}"
        ratio = replayed / parsed
        figures.append(Figure("steps", name, TIMES, [ratio], goal="replay", note=what))
        figures += raw("steps", seen, f"{REPLAYED:,} {what}")
    return figures


def _replay(options: Options, result: dict[str, Any]) -> dict[str, Sample]:
    def step() -> dict[str, Any]:
        return result

    names = [f"step-{number}" for number in range(REPLAYED)]
    with options.space() as space, SessionStore(space, durability="process") as store:
        with store.create("bench", session_id="bench") as session:
            for name in names:
                session.step(name, step)
            session.pause()
        file = store.directory("bench") / "journals" / "steps.jsonl"

        def loads() -> None:
            with file.open("rb") as lines:
                for line in lines:
                    json.loads(line)

        def replay() -> None:
            with store.claim("bench") as held:  # it knows nothing yet: the first step reads all
                for name in names:
                    held.step(name, step)

        runs: dict[str, Callable[[], object]] = {
            "claim and replay": replay,
            "claim": lambda: store.claim("bench").release(),
            "json.loads": loads,
        }
        return interleave(runs, rounds=max(8, options.rounds(100) // 4), warm_up=1)


GROUPS: dict[str, Group] = {"steps": measure_steps}
