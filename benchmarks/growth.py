"""What a session costs that grows: 200 steps, each with 1 KiB more, saved after every step."""

from __future__ import annotations

import random
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.backends import Contender, Floor, make_message, open_peers
from benchmarks.harness import KIB, Group, Options, bytes_written, disk_use, say
from benchmarks.limits import Figure
from sessionstore import SessionState, SessionStore

STEPS = 200
_MIB = KIB * KIB


class Ours(Contender):
    """A session of ours; it starts empty, as those of the others do."""

    def open(self) -> None:
        self._store = SessionStore(self.directory / "store", durability=self.durability)
        self._session = self._store.create("bench")
        self._session.state.data_buffer["messages"] = []
        self.state = self._session.state

    def save(self) -> None:
        self._session.save()

    def close(self) -> None:
        self._session.complete()
        self._store.close()


class OursPower(Ours):
    name = "sessionstore, power"
    durability = "power"
    does = "session.save()"


class OursProcess(Ours):
    name = "sessionstore, process"
    durability = "process"
    does = "session.save()"


class OursCheckpoints(Ours):
    """Each step can be gone back to, as with langgraph-checkpoint-sqlite."""

    name = "sessionstore, checkpoint each step"
    durability = "power"
    does = "session.checkpoint(): all of them are kept"

    def save(self) -> None:
        self._session.checkpoint()


OURS: list[type[Contender]] = [OursPower, OursProcess, OursCheckpoints]


def measure_growth(options: Options) -> list[Figure]:
    """Let every contender take each step in turn; add up time and bytes, then look at the disk."""
    steps = STEPS // 4 if options.quick else STEPS
    chance = random.Random(1)
    messages = [make_message(chance, KIB) for _ in range(steps)]
    with options.space() as space:
        with ExitStack() as stack:
            first = _empty_state(stack, space)
            contenders = open_peers(stack, [*OURS, Floor, *peers.present()], space, first)
            spent, written = _take_steps(contenders, messages)
        # Closed: what a database still had to fold together is done.
        disk = {name: disk_use(contender.directory) for name, contender in contenders.items()}
    at = f"{steps} steps"
    figures: list[Figure] = []
    for name, contender in contenders.items():
        kept = contender.durability
        for what, unit, value in (
            ("time", "ms", spent[name] / 1e6),
            ("written", "MiB", None if written is None else written[name] / _MIB),
            ("disk", "MiB", disk[name] / _MIB),
        ):
            if value is not None:
                figures.append(
                    Figure(
                        "growth",
                        f"{what}, {name}, {at}",
                        unit,
                        [value],
                        note=f"survives: {kept}",
                        plot=f"growth, {what}",
                        who=name,
                        at=kept,
                    )
                )
    return figures


def _empty_state(stack: ExitStack, space: Path) -> SessionState:
    store = stack.enter_context(SessionStore(space / "first", durability="process"))
    with store.create("bench") as session:
        session.state.data_buffer["messages"] = []
        return session.state.model_copy(deep=True)


def _take_steps(
    contenders: dict[str, Contender], messages: list[dict[str, Any]]
) -> tuple[dict[str, int], dict[str, int] | None]:
    spent = dict.fromkeys(contenders, 0)
    written = dict.fromkeys(contenders, 0) if sys.platform == "linux" else None
    shuffled = random.Random(2)
    order = list(contenders)
    for number, message in enumerate(messages):
        if number % 50 == 0:
            say(f"growth: step {number} of {len(messages)}")
        shuffled.shuffle(order)
        for name in order:
            before = bytes_written() if written is not None else 0
            begin = time.perf_counter_ns()
            contenders[name].step(dict(message))
            spent[name] += time.perf_counter_ns() - begin
            if written is not None:
                written[name] += bytes_written() - before
    return spent, written


GROUPS: dict[str, Group] = {"growth": measure_growth}
