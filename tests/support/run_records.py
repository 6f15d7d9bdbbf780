"""Run records of the original framework: made here, and recorded ones where they are at hand.

The made records hold every kind that the original wrote, damaged ones included.
``../shared/data/legacy_runs`` is used in addition if it exists.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import CHECKOUT

RECORDED = CHECKOUT.parent / "shared" / "data" / "legacy_runs"

_DAY = "2025-05-02"


@dataclass(frozen=True)
class RunRecord:
    """A run record as plain JSON."""

    name: str
    record: dict[str, Any]


def _run(number: int, status: str, nodes: str = "", **changes: Any) -> RunRecord:
    """Return the record of a run that took one decision in each of ``nodes``."""
    visited = nodes.split()
    succeeded = [node for node in visited if not node.startswith("bad")]
    record: dict[str, Any] = {
        "id": f"run_20250502_1000{number:02}_{number:08x}",
        "goal_id": f"goal-{number % 3}",
        "started_at": f"{_DAY}T10:00:{number:02}.000125",
        "status": status,
        "completed_at": None if status == "running" else f"{_DAY}T10:01:{number:02}.500250",
        "decisions": [_decision(step, node) for step, node in enumerate(visited)],
        "problems": [],
        "metrics": {
            "total_decisions": len(visited),
            "successful_decisions": len(succeeded),
            "failed_decisions": len(visited) - len(succeeded),
            "total_tokens": 11 * len(visited),
            "total_latency_ms": 0,
            "nodes_executed": list(dict.fromkeys(visited)),
            "edges_traversed": [f"{a}->{b}" for a, b in pairwise(visited)],
            "success_rate": 1.0,
        },
        "narrative": f"Executed {len(visited)} steps",
        "goal_description": "Count what there is to count.",
        "input_data": {"number": number},
        "output_data": {"number": number, "counted": len(visited)},
        "duration_ms": 60500,
    }
    return RunRecord(f"{number:02}_{status}", {**record, **changes})


def _decision(step: int, node: str) -> dict[str, Any]:
    option = {"id": "execute", "description": f"Run {node} «{step}»", "confidence": 0.5, "pros": []}
    fails = node.startswith("bad")
    return {
        "id": f"dec_{step}",
        "timestamp": f"{_DAY}T10:00:30.{step:06}",
        "node_id": node,
        "intent": f"Execute function {node}",
        "options": [option],
        "chosen_option_id": "execute",
        "input_context": {},
        "outcome": {
            "success": not fails,
            "result": None if fails else f"{node} ✓",
            "error": "'charmap' codec can't encode '✗'" if fails else None,
        },
        "evaluation": None,
        "chosen_option": option,
        "was_successful": not fails,
    }


_PROBLEM = {
    "id": "prob_0",
    "severity": "critical",
    "description": "Node bad_disk failed after 3 attempts: no space left → ✗",
    "root_cause": None,
    "decision_id": "dec_0",
}

ENDED_RUNS = [
    _run(1, "completed", "count sum"),
    _run(2, "completed", "count"),
    _run(3, "completed"),
    _run(4, "failed", "bad_disk bad_disk bad_disk", problems=[_PROBLEM], output_data={}),
    _run(5, "failed", problems=[_PROBLEM, {**_PROBLEM, "id": "prob_1"}], input_data={}),
    _run(6, "cancelled", "count sum", output_data={}),
    _run(7, "completed", "count sum count", completed_at=f"{_DAY}T10:00:07.000125"),
]
"""Runs that say how they ended, in the words that a session has for it."""

OTHER_RUNS = [
    _run(8, "running", "count"),
    _run(9, "stuck", "count bad_disk"),
    _run(10, "no such status"),
    _run(11, "completed", metrics=None, decisions=None, problems=None, output_data=None),
    RunRecord("12_sparse", {"goal_id": "goal", "started_at": f"{_DAY}T10:00:00"}),
]

DAMAGED_RUNS = [
    RunRecord("empty", {}),
    _run(20, "completed", goal_id=None),
    _run(21, "completed", goal_id=["goal"]),
    _run(22, "completed", started_at=5),
    _run(23, "completed", decisions=["count"]),
    _run(24, "completed", decisions=7),
    _run(25, "completed", problems={"id": "prob_0"}),
    _run(26, "completed", metrics={"total_decisions": "many"}),
    _run(27, "completed", metrics={"nodes_executed": [1, 2]}),
    _run(28, "completed", output_data=["a"]),
    _run(29, "completed", input_data="text"),
]
"""Runs whose fields are missing or of another type: none of them may become a session."""


def _recorded_runs(directory: Path) -> list[RunRecord]:
    files = sorted(directory.glob("*.json"))
    return [RunRecord(file.stem, json.loads(file.read_bytes())) for file in files]


RUN_SETS = {"made": ENDED_RUNS}
if RECORDED.is_dir():
    RUN_SETS["recorded"] = _recorded_runs(RECORDED)

each_run = pytest.mark.parametrize(
    "one",
    [one for runs in RUN_SETS.values() for one in runs] + OTHER_RUNS,
    ids=lambda one: one.name,
)
each_damaged_run = pytest.mark.parametrize("one", DAMAGED_RUNS, ids=lambda one: one.name)
each_run_set = pytest.mark.parametrize("runs", RUN_SETS.values(), ids=RUN_SETS.keys())


def write_runs(directory: Path, runs: list[RunRecord]) -> Path:
    """Write run records as files of the new ``directory``, and return it."""
    directory.mkdir()
    for run in runs:
        (directory / f"{run.name}.json").write_text(json.dumps(run.record), encoding="utf-8")
    return directory
