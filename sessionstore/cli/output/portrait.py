"""One session for people: facts in groups, then its checkpoints, oldest first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from sessionstore.cli import streams
from sessionstore.cli.options import units
from sessionstore.cli.output import labels
from sessionstore.cli.output.journals import write_journals
from sessionstore.cli.output.tables import Cell, Column, write_facts, write_table
from sessionstore.model.state import SessionOwner, SessionProgress, SessionState, SessionStatus
from sessionstore.operations.fork import to_fork
from sessionstore.text import count_of, first_line, printable

if TYPE_CHECKING:
    from sessionstore.cli.output.session_report import SessionReport
    from sessionstore.storage.values import Usage

Fact = tuple[str, Cell | str]

_PATH_SHOWN = 12
_TEXT_LIMIT = 2000
_PROBLEMS_SHOWN = 5
_PROBLEM_LIMIT = 300
_SAYING = ("description", "message", "error")


def write_portrait(report: SessionReport, now: datetime, *, colored: bool) -> None:
    """Write the report of a session to stdout."""
    write_facts(_facts(report, now), colored=colored)
    if report.checkpoints_damaged is not None:
        reason = printable(report.checkpoints_damaged, limit=_TEXT_LIMIT)
        write_facts([("checkpoints", Cell(f"damaged: {reason}", "bold magenta"))], colored=colored)
    if report.journals:
        streams.write("\n")
        write_journals(report.journals, now, colored=colored)
    if report.checkpoints:
        streams.write("\n")
        _write_checkpoints(report, now, colored=colored)


def _facts(report: SessionReport, now: datetime) -> list[Fact]:
    facts: list[Fact] = [("session", Cell(report.session_id, "bold"))]
    if report.state is None:
        facts.append(("status", labels.DAMAGED))
        facts.append(("reason", _text(report.damaged)))
        facts.append(("file", _text(report.file)))
        return facts + _usage(report.usage)
    if report.at is not None:
        facts.append(("as of checkpoint", Cell(printable(report.at), "bold")))
    facts += _header(report, report.state, now)
    if report.at is None:
        facts += _owner(report, report.state)
    facts += _progress(report.state)
    facts += _problems(report.state)
    facts += _result(report.state)
    facts += _recovery(report.state, now)
    facts += _sizes(report)
    return facts + _usage(report.usage)


def _text(value: object) -> str:
    return "-" if value in (None, "") else printable(value, limit=_TEXT_LIMIT)


def _header(report: SessionReport, state: SessionState, now: datetime) -> list[Fact]:
    status = labels.status_cell(state.status, report.liveness, is_interrupted=state.is_interrupted)
    if report.unresumable is not None:
        resumable = Cell(f"no: {_text(report.unresumable)}")
    elif report.is_finished:
        resumable = Cell("again: it has ended, so only with again=True")
    else:
        resumable = labels.yes_or_no(True)
    facts: list[Fact] = [("status", status), ("goal", _text(state.goal_id))]
    if origin := to_fork(report.session_id, state.forked_from):
        facts.append(("forked from", _text(origin.origin)))
    optional = (
        ("agent", state.agent_id),
        ("stream", state.stream_id),
        ("correlation", state.correlation_id),
        ("run", state.current_run_id),
    )
    facts += [(label, _text(value)) for label, value in optional if value]
    facts += _labels(state)
    facts += [
        ("entry point", _text(state.entry_point)),
        ("revision", f"{state.revision:,} (schema {_text(state.schema_version)})"),
        ("started", units.absolute_time(state.timestamps.started_at, now)),
        ("updated", units.absolute_time(state.timestamps.updated_at, now)),
    ]
    if state.timestamps.paused_at_time:
        facts.append(("paused", units.absolute_time(state.timestamps.paused_at_time, now)))
    if state.timestamps.completed_at:
        ended = units.absolute_time(state.timestamps.completed_at, now)
        facts.append(("ended", f"{ended}, after {state.duration_ms:,} ms"))
    facts.append(("resumable", resumable))
    return facts


def _labels(state: SessionState) -> list[Fact]:
    """Return a fact for each label; the name of each row but the first is empty."""
    pairs = [_text(f"{key}={value}") for key, value in sorted(state.labels.items())]
    return [("" if number else "labels", pair) for number, pair in enumerate(pairs)]


def _owner(report: SessionReport, state: SessionState) -> list[Fact]:
    liveness = report.liveness
    owner = (liveness.owner if liveness else None) or state.owner
    named = _describe(owner, state.pid)
    facts: list[Fact] = []
    if state.status is SessionStatus.ACTIVE:
        facts.append(("owner", named or "not recorded"))
        if liveness is not None:
            shown = Cell(labels.liveness_words(liveness), labels.liveness_style(liveness))
            facts.append(("liveness", shown))
    elif liveness is not None and liveness.is_alive:  # claimed, but not running
        facts.append(("owner", named or "not recorded"))
        facts.append(("liveness", labels.liveness_words(liveness)))
    else:
        facts.append(("owner", "nobody"))
    return facts


def _describe(owner: SessionOwner | None, pid: int | None) -> str:
    words_of_owner = owner.describe() if owner else ""
    return printable(words_of_owner or (f"pid {pid}" if pid is not None else ""), limit=400)


def _progress(state: SessionState) -> list[Fact]:
    progress = state.progress
    facts: list[Fact] = [
        ("node", labels.where(progress.current_node)),
        (
            "steps",
            ", ".join(
                [
                    f"{progress.steps_executed:,}",
                    count_of(progress.total_retries, "retry", "retries"),
                    count_of(progress.total_tokens, "token"),
                    f"{progress.total_latency_ms:,} ms",
                ]
            ),
        ),
        ("quality", _text(progress.execution_quality)),
    ]
    if progress.paused_at:
        facts.append(("paused at", labels.where(progress.paused_at)))
    if progress.resume_from:
        facts.append(("resume from", labels.where(progress.resume_from)))
    if progress.path:
        shown = [printable(node, limit=60) for node in progress.path[-_PATH_SHOWN:]]
        if len(progress.path) > _PATH_SHOWN:
            shown.insert(0, f"({len(progress.path) - _PATH_SHOWN:,} more)")
        facts.append(("path", " > ".join(shown)))
    facts += _visits(progress)
    if progress.nodes_with_failures:
        facts.append(("failed nodes", _some(progress.nodes_with_failures)))
    return facts


def _visits(progress: SessionProgress) -> list[Fact]:
    """Return how often each node was visited and retried, the busiest first."""
    counts, retries = progress.node_visit_counts, progress.retry_details
    names = sorted({*counts, *retries}, key=lambda name: (-counts.get(name, 0), name))
    if not names:
        return []
    shown = []
    for name in names[:_PATH_SHOWN]:
        text = f"{printable(name, limit=60)} x{counts.get(name, 0):,}"
        if retries.get(name):
            text += f" ({count_of(retries[name], 'retry', 'retries')})"
        shown.append(text)
    if len(names) > _PATH_SHOWN:
        shown.append(f"{len(names) - _PATH_SHOWN:,} more")
    return [("visits", ", ".join(shown))]


def _problems(state: SessionState) -> list[Fact]:
    """Return the last problems; the label of each row but the first is empty."""
    facts: list[Fact] = []
    for problem in state.problems[-_PROBLEMS_SHOWN:]:
        said = next((problem[key] for key in _SAYING if problem.get(key)), None)
        text = printable(said if isinstance(said, str) else problem, limit=_PROBLEM_LIMIT)
        if isinstance(severity := problem.get("severity"), str):
            text = f"{printable(severity, limit=20)}: {text}"
        facts.append(("" if facts else "problems", Cell(text, "yellow")))
    if hidden := len(state.problems) - len(facts):
        facts.append(("", f"and {hidden:,} before"))
    return facts


def _result(state: SessionState) -> list[Fact]:
    result = state.result
    facts: list[Fact] = []
    if result.success is not None:
        facts.append(("success", labels.yes_or_no(result.success)))
    if result.error:
        facts.append(("error", Cell(_text(first_line(result.error)), "red")))
    if result.output:
        facts.append(("output", _some(list(result.output))))
    return facts


def _recovery(state: SessionState, now: datetime) -> list[Fact]:
    recovery = state.recovery
    if recovery is None:
        return []
    when = units.absolute_time(recovery.at, now)
    facts: list[Fact] = [
        ("crashes", f"{recovery.count:,}"),
        ("stops", f"{recovery.stops:,}"),
        ("interrupted", f"the last time at {when}: {_text(recovery.reason)}"),
    ]
    if named := _describe(recovery.owner, None):
        facts.append(("run by then by", named))
    return facts


def _sizes(report: SessionReport) -> list[Fact]:
    sizes, state = report.sizes(), report.state
    if sizes is None or state is None:
        return []
    counts = {
        "data_buffer": count_of(len(state.data_buffer), "key"),
        "input_data": count_of(len(state.input_data), "key"),
        "output": count_of(len(state.result.output), "key"),
        "decisions": f"{len(state.decisions):,}",
        "problems": f"{len(state.problems):,}",
    }
    parts = [f"state {labels.size_words(sizes['state'])}"]
    parts += [
        f"{name} {labels.size_words(size)} ({counts[name]})"
        for name, size in sizes.items()
        if name in counts and size > len("{}")
    ]
    facts: list[Fact] = [("sizes", ", ".join(parts))]
    if state.data_buffer:
        facts.append(("data keys", _some(list(state.data_buffer))))
    facts.append(("checkpoints", count_of(len(report.checkpoints), "checkpoint")))
    return facts


def _usage(usage: Usage | None) -> list[Fact]:
    if usage is None:
        return []
    text = labels.size_words(usage.bytes)
    parts = [
        f"{label} {labels.size_words(size)}"
        for label, size in (
            ("checkpoints", usage.checkpoint_bytes),
            ("journals", usage.journal_bytes),
            ("application", usage.application_bytes),
        )
        if size
    ]
    return [("on disk", f"{text} ({', '.join(parts)})" if parts else text)]


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name, limit=60) for name in names[:_PATH_SHOWN])
    more = len(names) - _PATH_SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown


def _write_checkpoints(report: SessionReport, now: datetime, *, colored: bool) -> None:
    latest = report.state.latest_checkpoint_id if report.state and report.at is None else None
    columns = [
        Column("CHECKPOINT", is_id=True),  # it tells type, node and revision, too
        Column("TYPE", drop_order=2),
        Column("NODE", is_cut=True, least=8, drop_order=3),
        Column("REVISION", is_number=True, drop_order=1),
        Column("CREATED", drop_order=4),
        Column("REMARK", is_cut=True),
    ]
    rows = []
    for item in report.checkpoints:
        remarks = ["latest"] if item.checkpoint_id == latest else []
        if item.checkpoint_id == report.at:
            remarks.append("shown above")
        if item.damaged is not None:
            remarks.append(f"damaged: {printable(item.damaged, limit=labels.REASON_LIMIT)}")
        rows.append(
            (
                printable(item.checkpoint_id),
                printable(item.checkpoint_type or "-", limit=40),
                labels.where(item.node),
                "-" if item.revision is None else f"{item.revision:,}",
                units.relative_time(item.created_at, now),
                Cell("; ".join(remarks), "magenta" if item.damaged is not None else "green"),
            )
        )
    write_table(columns, rows, colored=colored, elsewhere="sessionstore history, or -o json")
