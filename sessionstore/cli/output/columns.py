"""How the fields of a listing look in a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sessionstore.cli.options import units
from sessionstore.cli.options.fields import LABEL, USUAL
from sessionstore.cli.output import labels, remarks
from sessionstore.cli.output.tables import Cell, Column
from sessionstore.model.labels import TITLE
from sessionstore.model.summary import SessionSummary
from sessionstore.text import printable

_NOTHING = "-"
_LABEL_LIMIT = 256


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """How times are shown."""

    now: datetime
    iso: bool = False

    def time(self, text: str | None) -> str:
        """Return a stored time as it is, or as ``5 min ago``."""
        if self.iso:
            return printable(text or _NOTHING, limit=60)
        return units.relative_time(text, self.now)


Show = Callable[[SessionSummary, TimeFormat], Cell | str]


def _text(name: str, limit: int = 80) -> Show:
    return lambda item, _: printable(getattr(item, name) or _NOTHING, limit=limit)


def _number(name: str) -> Show:
    return lambda item, _: f"{getattr(item, name):,}"


def _time(name: str) -> Show:
    return lambda item, look: look.time(getattr(item, name))


def _status(item: SessionSummary, _: TimeFormat) -> Cell:
    return labels.status_cell(item.status, item.liveness, is_interrupted=item.is_interrupted)


def _liveness(item: SessionSummary, _: TimeFormat) -> Cell | str:
    if item.liveness is None:
        return _NOTHING
    return Cell(labels.liveness_words(item.liveness), labels.liveness_style(item.liveness))


def _owner(item: SessionSummary, _: TimeFormat) -> str:
    owner = (item.liveness.owner if item.liveness else None) or item.owner
    return printable((owner.describe() if owner else "") or _NOTHING, limit=labels.REASON_LIMIT)


def _label(key: str) -> Show:
    return lambda item, _: printable(item.labels.get(key, _NOTHING), limit=_LABEL_LIMIT)


def _labels(item: SessionSummary, _: TimeFormat) -> str:
    pairs = ", ".join(f"{key}={value}" for key, value in sorted(item.labels.items()))
    return printable(pairs or _NOTHING, limit=labels.REASON_LIMIT)


def _title_or_goal(item: SessionSummary, _: TimeFormat) -> str:
    return printable(item.labels.get(TITLE) or item.goal_id or _NOTHING, limit=80)


_COLUMNS: dict[str, tuple[Column, Show]] = {
    "id": (Column("ID", is_id=True), lambda item, _: item.session_id),
    "status": (Column("STATUS", is_cut=True, least=11), _status),
    "liveness": (Column("LIVENESS", is_cut=True), _liveness),
    "goal": (Column("GOAL", is_cut=True), _text("goal_id")),
    "agent": (Column("AGENT", is_cut=True), _text("agent_id")),
    "stream": (Column("STREAM", is_cut=True), _text("stream_id")),
    "correlation": (Column("CORRELATION", is_cut=True), _text("correlation_id")),
    "labels": (Column("LABELS", is_cut=True), _labels),
    "entry": (Column("ENTRY", is_cut=True), _text("entry_point")),
    "node": (
        Column("NODE", is_cut=True, least=8),
        lambda item, _: labels.where(item.current_node, item.paused_at),
    ),
    "steps": (Column("STEPS", is_number=True), _number("steps_executed")),
    "revision": (Column("REVISION", is_number=True), _number("revision")),
    "started": (Column("STARTED"), _time("started_at")),
    "updated": (Column("UPDATED"), _time("updated_at")),
    "ended": (Column("ENDED"), _time("completed_at")),
    "checkpoint": (Column("CHECKPOINT"), _text("latest_checkpoint_id", 130)),
    "resumable": (Column("RESUMABLE"), lambda item, _: labels.resumable(item)),
    "recoveries": (Column("RECOVERIES", is_number=True), _number("recoveries")),
    "stops": (Column("STOPS", is_number=True), _number("stops")),
    "pid": (
        Column("PID", is_number=True),
        lambda item, _: _NOTHING if item.pid is None else str(item.pid),
    ),
    "owner": (Column("OWNER", is_cut=True), _owner),
    "error": (Column("ERROR", is_cut=True), _text("error", labels.REASON_LIMIT)),
    "remark": (
        Column("REMARK", is_cut=True, least=20),
        lambda item, _: remarks.remark(item) or _NOTHING,
    ),
}
_DROP_ORDER = ("steps", "node", "resumable", "goal", "updated", "remark")
"""The usual columns that a narrow terminal leaves out, in this order."""
_USUAL_GOAL = (Column("GOAL", is_cut=True), _title_or_goal)
_KNOWN_IF_DAMAGED = ("id", "status", "remark")


def _column(name: str, *, is_usual: bool) -> tuple[Column, Show]:
    if name.startswith(LABEL):
        key = name.removeprefix(LABEL)
        return Column(printable(key.upper(), limit=60), is_cut=True), _label(key)
    return _USUAL_GOAL if is_usual and name == "goal" else _COLUMNS[name]


def _drop_orders(names: Sequence[str], *, is_usual: bool) -> list[int | None]:
    """Return when a narrow terminal leaves each column out; of those asked for, the last first."""
    if is_usual:
        return [_DROP_ORDER.index(name) if name in _DROP_ORDER else None for name in names]
    return [None if name == "id" or not place else -place for place, name in enumerate(names)]


def table_of(
    items: Sequence[SessionSummary], fields: Sequence[str] | None, look: TimeFormat
) -> tuple[list[Column], list[list[Cell | str]]]:
    """Return columns and rows; without ``fields`` the usual columns, without empty ones."""
    names = list(fields or USUAL)
    shown = {name: _column(name, is_usual=fields is None) for name in names}
    rows = [
        [
            shown[name][1](item, look)
            if item.damaged is None or name in _KNOWN_IF_DAMAGED
            else _NOTHING
            for name in names
        ]
        for item in items
    ]
    if fields is None and all(row[-1] == _NOTHING for row in rows):
        names.pop()  # the remark: no row has one
        for row in rows:
            row.pop()
    columns = [
        replace(shown[name][0], drop_order=order) if order is not None else shown[name][0]
        for name, order in zip(names, _drop_orders(names, is_usual=fields is None), strict=True)
    ]
    return columns, rows
