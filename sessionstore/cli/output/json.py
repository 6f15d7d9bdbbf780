"""Machine formats: JSON of plain ASCII, in which nothing from a session can act on a terminal."""

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

_PLAIN = (str, int)
"""What a summary holds besides; a status is text, too."""


def plain(value: Any) -> Any:
    """Return a model, dataclass or container as plain JSON data; NaN, which JSON lacks, as null."""
    from sessionstore.model import codec  # --help and completion do without

    return codec.plain(value)


def summary_item(summary: SessionSummary) -> Item:
    """Return all that a listing knows of a session."""
    item: Item = {}
    for name in summary.__slots__:
        value = getattr(summary, name)
        # Plain as it is, but for the models and verdicts in it, which take longer.
        item[name] = value if value is None or isinstance(value, _PLAIN) else plain(value)
    item["is_stale"] = summary.is_stale
    return item


def outcome_lines(report: object, outcomes: Sequence[str]) -> Iterator[Item]:
    """Yield what ``report`` has of each outcome, each item with the name of it."""
    for outcome in outcomes:
        for item in getattr(report, outcome):
            yield {"outcome": outcome, **plain(item)}


def outcome_fields(report: object, outcomes: Sequence[str]) -> Item:
    """Return the same as a list for each outcome."""
    return {outcome: list(outcome_lines(report, [outcome])) for outcome in outcomes}


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Return ``value`` as JSON in which every string is of printable ASCII, DEL excluded."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, indent=indent)
