"""A figure and the limit it must keep; the table of limits that the project gave itself."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any

TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Goal:
    """One line of the table of limits."""

    what: str
    unit: str
    limit: float
    aim: float
    at_least: bool = False
    million: bool = False
    """Whether it is measured with ``--million`` only."""

    def keeps(self, value: float, bound: float) -> bool:
        """Return whether ``value`` is on the right side of ``bound``."""
        return value >= bound if self.at_least else value <= bound


_BEYOND_FLOOR = "save, power, over (floor + model_dump_json + from_json)"
_UNFLUSHED = "save, process, over the floor with flushes"
_ORIGINAL = "save, power, against the original store's way"
_AT_ONCE = "64 sessions saved at once, power, against one session"

GOALS: dict[str, Goal] = {
    "power 4 KiB": Goal(f"{_BEYOND_FLOOR}, 4 KiB", TIMES, 1.15, 1.08),
    "power 64 KiB": Goal(f"{_BEYOND_FLOOR}, 64 KiB", TIMES, 1.15, 1.08),
    "power 1 MiB": Goal(f"{_BEYOND_FLOOR}, 1 MiB", TIMES, 1.15, 1.08),
    "process 4 KiB": Goal(f"{_UNFLUSHED}, 4 KiB", TIMES, 0.16, 0.10),
    "process 64 KiB": Goal(f"{_UNFLUSHED}, 64 KiB", TIMES, 0.45, 0.30),
    "process 1 MiB": Goal(f"{_UNFLUSHED}, 1 MiB", TIMES, 1.1, 0.80),
    "original 4 KiB": Goal(f"{_ORIGINAL}, 4 KiB", f"{TIMES} faster", 1.3, 2, at_least=True),
    "original 64 KiB": Goal(f"{_ORIGINAL}, 64 KiB", f"{TIMES} faster", 1.3, 2, at_least=True),
    "original 1 MiB": Goal(f"{_ORIGINAL}, 1 MiB", f"{TIMES} faster", 1.3, 2, at_least=True),
    "langgraph": Goal(
        "save, process, 4 KiB, against langgraph-checkpoint-sqlite put",
        f"{TIMES} faster",
        5,
        10,
        at_least=True,
    ),
    "step": Goal(
        "a step that returns at once, power, over an append of the same records", TIMES, 1.2, 1.1
    ),
    "step dbos": Goal("the step, over a DBOS step on SQLite", TIMES, 0.3, 0.1),
    "step harness": Goal(
        "the step, over append_event of pydantic-ai-harness' SqliteStepStore", TIMES, 0.5, 0.3
    ),
    "replay": Goal("1,000 kept steps replayed, over json.loads of their lines", TIMES, 3, 2),
    "threads": Goal(f"{_AT_ONCE}: threads", TIMES, 2.5, 4, at_least=True),
    "asyncio": Goal(f"{_AT_ONCE}: asyncio", TIMES, 2.5, 4, at_least=True),
    "load": Goal("load of 64 KiB over model_validate_json + read", TIMES, 1.3, 1.1),
    "find": Goal("find(resumable=True, limit=50), 1M sessions", "ms", 20, 5, million=True),
    "find ratio": Goal("the same, 1M over 10k sessions", TIMES, 2, 1.2, million=True),
    "count": Goal('count(status="paused"), 1M sessions', "ms", 100, 10, million=True),
    "recover dry": Goal("recover(dry_run=True), 1M, 100 stale", "ms", 250, 50, million=True),
    "recover": Goal("recover, 1M, 100 stale, beyond the 100 writes", "ms", 250, 50, million=True),
    "rebuild": Goal(
        "rebuilding the index, 1M sessions", "sessions/s", 15_000, 40_000, True, million=True
    ),
    "memory find": Goal("peak memory of find, 1M sessions", "MB", 150, 80, million=True),
    "memory rebuild": Goal(
        "peak memory of a find that rebuilds the index, 1M", "MB", 150, 80, million=True
    ),
    "memory recover": Goal("peak memory of recover, 1M sessions", "MB", 150, 80, million=True),
    "ls": Goal("`sessionstore ls`, 1M sessions, whole process", "ms", 400, 250, million=True),
}


@dataclass
class Figure:
    """A measured value, once for each repeat, and the limit that its median must not pass."""

    group: str
    name: str
    unit: str
    values: list[float]
    limit: float | None = None
    at_least: bool = False
    note: str = ""
    goal: str = ""
    """A key of GOALS, whose limit counts; or nothing."""
    low: float | None = None
    high: float | None = None
    """The middle half of the single measurements, over all repeats."""
    plot: str = ""
    """The picture that it belongs to; ``who`` and ``at`` say where it stands there."""
    who: str = ""
    at: str = ""

    def __post_init__(self) -> None:
        if self.goal:
            goal = GOALS[self.goal]
            self.limit, self.at_least = goal.limit, goal.at_least

    @property
    def value(self) -> float:
        """The median of the repeats."""
        return statistics.median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and highest repeat; of one repeat, the middle half of its measurements."""
        if len(self.values) == 1 and self.low is not None and self.high is not None:
            return self.low, self.high
        return min(self.values), max(self.values)

    def add(self, other: Figure) -> None:
        """Take in another repeat."""
        self.values += other.values
        if self.low is not None and other.low is not None:
            self.low = min(self.low, other.low)
        if self.high is not None and other.high is not None:
            self.high = max(self.high, other.high)

    def within(self, value: float) -> bool:
        """Return whether ``value`` keeps the limit; true where there is none."""
        if self.limit is None:
            return True
        return value >= self.limit if self.at_least else value <= self.limit

    @property
    def verdict(self) -> str:
        """``kept`` or ``MISSED`` by the median, and in how many repeats it was otherwise."""
        if self.limit is None:
            return ""
        passed = self.within(self.value)
        otherwise = sum(self.within(value) is not passed for value in self.values)
        word = "kept" if passed else "MISSED"
        if passed and self.goal and GOALS[self.goal].keeps(self.value, GOALS[self.goal].aim):
            word = "kept, aim reached"
        return f"{word} (not {otherwise} of {len(self.values)})" if otherwise else word


@dataclass
class Results:
    """Everything that a run found, as it is written into the JSON file."""

    machine: dict[str, str]
    quick: bool
    repeats: int
    interrupted: bool = False
    absent: dict[str, str] = field(default_factory=dict)
    """Peers that could not be measured, and why."""
    versions: dict[str, str] = field(default_factory=dict)
    contenders: list[dict[str, str]] = field(default_factory=list)
    """What each contender does, as it says itself."""
    skipped: list[str] = field(default_factory=list)
    """What was left out, and why."""
    figures: list[Figure] = field(default_factory=list)

    def take(self, figures: list[Figure]) -> None:
        """Add the figures of one turn of a group; a further repeat joins the first."""
        known = {(figure.group, figure.name): figure for figure in self.figures}
        for figure in figures:
            if before := known.get((figure.group, figure.name)):
                before.add(figure)
            else:
                self.figures.append(figure)

    @property
    def missed(self) -> list[Figure]:
        """The figures that did not keep their limits."""
        return [figure for figure in self.figures if not figure.within(figure.value)]

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Results:
        """Return what ``report.as_json`` wrote."""
        figures = [Figure(**figure) for figure in data["figures"]]
        return cls(**{**data, "figures": figures})
