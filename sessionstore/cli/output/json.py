"""JSON of plain ASCII, in which nothing from a session can act on a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sessionstore.model.summary import SessionSummary

SESSIONS = "sessionstore.sessions/1"
SESSION = "sessionstore.session/1"
RECOVERY = "sessionstore.recovery/1"

Item = dict[str, Any]

_AS_IT_IS = (str, int, dict, tuple)
"""The types of a summary that are JSON already: a status is a str, labels are a dict of text, and
unsettled steps a tuple of names."""


def view(value: Any) -> Any:
    """Return a model, dataclass or container as JSON to look at, with null for NaN."""
    from sessionstore.model import codec  # --help and completion do not need it

    return codec.json_view(value)


def summary_item(summary: SessionSummary) -> Item:
    """Return every field of a summary."""
    item: Item = {}
    for name in summary.__slots__:
        value = getattr(summary, name)
        # Most values are JSON already; converting the models takes longer.
        item[name] = value if value is None or isinstance(value, _AS_IT_IS) else view(value)
    item["is_stale"] = summary.is_stale
    item["is_finished"] = summary.is_finished
    return item


def items_of(report: object, outcome: str) -> Sequence[Any]:
    """Return the items of one outcome of a report."""
    found: Sequence[Any] = getattr(report, outcome)
    return found


def outcome_lines(report: object, outcomes: Sequence[str]) -> Iterator[Item]:
    """Yield the items of a report, outcome by outcome, each with the name of its outcome."""
    for outcome in outcomes:
        for item in items_of(report, outcome):
            yield {"outcome": outcome, **view(item)}


def outcome_fields(report: object, outcomes: Sequence[str]) -> Item:
    """Return the items of a report as a list for each outcome."""
    return {outcome: list(outcome_lines(report, [outcome])) for outcome in outcomes}


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Return ``value`` as JSON; every string in it is printable ASCII, without DEL."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, indent=indent)
