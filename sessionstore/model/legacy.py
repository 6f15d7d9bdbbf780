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
    """The result of an executor, at the end of a run or at a pause: any object like this.

    Attributes:
        success: Whether the run succeeded.
        output: What it produced.
        error: Why it failed, or None.
        steps_executed: How many steps were done.
        total_tokens: How many tokens were used.
        total_latency_ms: How long the steps took, in milliseconds.
        path: The nodes that were passed, in order.
        paused_at: The node that it paused at; None or empty if it ended.
        session_state: None, or a dict of which ``data_buffer`` (else ``memory``) and
            ``resume_from`` are read.
        total_retries: How many times a node was tried again.
        nodes_with_failures: The nodes that failed at least once.
        retry_details: How many times each node was tried again.
        had_partial_failures: Whether a node failed and the run went on.
        execution_quality: ``clean``, ``degraded`` or ``failed``.
        node_visit_counts: How many times each node was visited.
    """

    @property
    def success(self) -> bool: ...
    @property
    def output(self) -> dict[str, Any]: ...
    @property
    def error(self) -> str | None: ...
    @property
    def steps_executed(self) -> int: ...
    @property
    def total_tokens(self) -> int: ...
    @property
    def total_latency_ms(self) -> int: ...
    @property
    def path(self) -> list[str]: ...
    @property
    def paused_at(self) -> str | None: ...
    @property
    def session_state(self) -> dict[str, Any] | None: ...
    @property
    def total_retries(self) -> int: ...
    @property
    def nodes_with_failures(self) -> list[str]: ...
    @property
    def retry_details(self) -> dict[str, int]: ...
    @property
    def had_partial_failures(self) -> bool: ...
    @property
    def execution_quality(self) -> str: ...
    @property
    def node_visit_counts(self) -> dict[str, int]: ...


class RunMetrics(Protocol):
    """The counters of a :class:`LegacyRun`."""

    @property
    def total_decisions(self) -> int: ...
    @property
    def total_tokens(self) -> int: ...
    @property
    def nodes_executed(self) -> list[str]: ...
    @property
    def edges_traversed(self) -> list[str]: ...


class LegacyRun(Protocol):
    """A run record from before there were session files: any object like this.

    Attributes:
        goal_id: The goal that the run worked for.
        status: ``running``, ``completed``, ``failed``, ``cancelled`` or ``stuck``, as text or as
            an enum of text.
        started_at: When it began.
        completed_at: When it ended, or None.
        output_data: What it produced.
        input_data: What it was started with.
        metrics: Its counters: ``total_decisions``, ``total_tokens``, ``nodes_executed`` and
            ``edges_traversed``.
        decisions: The decisions that were made, each with ``model_dump()``.
        problems: The problems that were met, each with ``model_dump()``.
    """

    @property
    def goal_id(self) -> str: ...
    @property
    def status(self) -> Any: ...
    @property
    def started_at(self) -> datetime: ...
    @property
    def completed_at(self) -> datetime | None: ...
    @property
    def output_data(self) -> dict[str, Any]: ...
    @property
    def input_data(self) -> dict[str, Any]: ...
    @property
    def metrics(self) -> RunMetrics: ...
    @property
    def decisions(self) -> Sequence[Any]: ...
    @property
    def problems(self) -> Sequence[Any]: ...


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
