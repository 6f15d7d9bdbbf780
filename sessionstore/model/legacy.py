"""Turn results and run records of agent frameworks into the fields of a session state.

Protocols describe what such an object must have: no framework is imported.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from pydantic import BaseModel


class ExecutionResult(Protocol):
    """The result of an executor, at the end of a run or at a pause: any object like this."""

    @property
    def success(self) -> bool:
        """Whether the run succeeded."""

    @property
    def output(self) -> dict[str, Any]:
        """What it produced."""

    @property
    def error(self) -> str | None:
        """Why it failed, or None."""

    @property
    def steps_executed(self) -> int:
        """How many steps were done."""

    @property
    def total_tokens(self) -> int:
        """How many tokens were used."""

    @property
    def total_latency_ms(self) -> int:
        """How long the steps took, in milliseconds."""

    @property
    def path(self) -> list[str]:
        """The nodes that were passed, in order."""

    @property
    def paused_at(self) -> str | None:
        """The node that it paused at; None or empty if it ended."""

    @property
    def session_state(self) -> dict[str, Any] | None:
        """None, or a dict with ``data_buffer`` (or ``memory``) and ``resume_from``."""

    @property
    def total_retries(self) -> int:
        """How many times a node was tried again."""

    @property
    def nodes_with_failures(self) -> list[str]:
        """The nodes that failed at least once."""

    @property
    def retry_details(self) -> dict[str, int]:
        """How many times each node was tried again."""

    @property
    def had_partial_failures(self) -> bool:
        """Whether a node failed and the run went on."""

    @property
    def execution_quality(self) -> str:
        """``clean``, ``degraded`` or ``failed``."""

    @property
    def node_visit_counts(self) -> dict[str, int]:
        """How many times each node was visited."""


class RunMetrics(Protocol):
    """The counters of a :class:`LegacyRun`."""

    @property
    def total_decisions(self) -> int:
        """How many decisions were made."""

    @property
    def total_tokens(self) -> int:
        """How many tokens were used."""

    @property
    def nodes_executed(self) -> list[str]:
        """The nodes that ran."""

    @property
    def edges_traversed(self) -> list[str]:
        """The edges that were followed."""


class LegacyRun(Protocol):
    """A run record from before there were session files: any object like this."""

    @property
    def goal_id(self) -> str:
        """The goal that the run worked for."""

    @property
    def status(self) -> Any:
        """``running``, ``completed``, ``failed``, ``cancelled`` or ``stuck``; an enum is fine."""

    @property
    def started_at(self) -> datetime:
        """When it began."""

    @property
    def completed_at(self) -> datetime | None:
        """When it ended, or None."""

    @property
    def output_data(self) -> dict[str, Any]:
        """What it produced."""

    @property
    def input_data(self) -> dict[str, Any]:
        """What it was started with."""

    @property
    def metrics(self) -> RunMetrics:
        """``total_decisions``, ``total_tokens``, ``nodes_executed`` and ``edges_traversed``."""

    @property
    def decisions(self) -> Sequence[Any]:
        """The decisions that were made, each with ``model_dump()``."""

    @property
    def problems(self) -> Sequence[Any]:
        """The problems that were met, each with ``model_dump()``."""


_COPIED_PROGRESS = (
    "steps_executed",
    "total_tokens",
    "total_latency_ms",
    "total_retries",
    "nodes_with_failures",
    "retry_details",
    "had_partial_failures",
    "execution_quality",
    "node_visit_counts",
)

_RUN_STATUS = {
    "running": "active",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
    "stuck": "failed",
}


def fields_of_result(result: ExecutionResult, started_at: str, now: str) -> dict[str, Any]:
    """Return the fields of a state that an execution result determines."""
    paused_at = result.paused_at or None
    if paused_at:
        status = "paused"
    else:
        status = "completed" if result.success else "failed"
    carried = result.session_state or {}
    path = list(result.path)
    progress = {name: copy.copy(getattr(result, name)) for name in _COPIED_PROGRESS}
    progress |= {
        "current_node": paused_at or (path[-1] if path else None),
        "paused_at": paused_at,
        "resume_from": carried.get("resume_from"),
        "path": path,
    }
    if "data_buffer" in carried:
        data_buffer = carried["data_buffer"]
    else:
        data_buffer = carried.get("memory", {})
    return {
        "status": status,
        "timestamps": {
            "started_at": started_at or now,
            "updated_at": now,
            "completed_at": None if paused_at else now,
            "paused_at_time": now if paused_at else None,
        },
        "progress": progress,
        "result": {"success": result.success, "error": result.error, "output": result.output or {}},
        "data_buffer": data_buffer or {},
    }


def fields_of_run(run: LegacyRun | Mapping[str, Any], now: str) -> dict[str, Any]:
    """Return the fields of a state that a run record determines."""
    recorded = _field(run, "status")
    recorded = getattr(recorded, "value", recorded)
    status = _RUN_STATUS.get(recorded, "failed") if isinstance(recorded, str) else "failed"
    metrics = _field(run, "metrics")
    problems = _as_dicts(_field(run, "problems"))
    return {
        "schema_version": "1.0",
        "status": status,
        "goal_id": _field(run, "goal_id"),
        "timestamps": {
            "started_at": _as_time(_field(run, "started_at")) or now,
            "updated_at": now,
            "completed_at": _as_time(_field(run, "completed_at")),
        },
        "result": {
            "success": status == "completed",
            "output": dict(_field(run, "output_data") or {}),
        },
        "metrics": {
            "decision_count": _field(metrics, "total_decisions") or 0,
            "problem_count": len(problems),
            "total_input_tokens": _field(metrics, "total_tokens") or 0,
            "total_output_tokens": 0,
            "nodes_executed": list(_field(metrics, "nodes_executed") or ()),
            "edges_traversed": list(_field(metrics, "edges_traversed") or ()),
        },
        "problems": problems,
        "decisions": _as_dicts(_field(run, "decisions")),
        "input_data": dict(_field(run, "input_data") or {}),
    }


def _field(record: Any, name: str) -> Any:
    if isinstance(record, Mapping):
        return record.get(name)
    return getattr(record, name, None)


def _as_dicts(items: Iterable[Any] | None) -> list[dict[str, Any]]:
    # mode="json": a datetime in a decision would be refused, as it is not JSON.
    return [
        copy.deepcopy(dict(item)) if isinstance(item, Mapping) else _dumped(item)
        for item in items or ()
    ]


def _dumped(item: Any) -> dict[str, Any]:
    if isinstance(item, BaseModel):
        return item.model_dump(mode="json")
    return copy.deepcopy(dict(item.model_dump()))


def _as_time(value: datetime | str | None) -> str | None:
    return value.isoformat() if isinstance(value, datetime) else value
