"""Machine formats: JSON of plain ASCII, in which nothing from a session can act on a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from sessionstore.cli.output import streams

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


def outcome_items(report: object, outcome: str) -> list[Item]:
    """Return what ``report`` has of one outcome, each item with the name of it."""
    return [{"outcome": outcome, **plain(item)} for item in getattr(report, outcome)]


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Return ``value`` as JSON in which every string is of printable ASCII, DEL excluded."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, indent=indent)


def write_object(schema: str, fields: Item) -> None:
    """Write one indented object that names its schema."""
    streams.write(dumps({"schema": schema, **fields}, indent=2) + "\n")


def write_stream(schema: str, name: str, items: Iterable[Item], rest: Callable[[], Item]) -> None:
    """Write one object with a list, an item a line, as they come; then what ``rest`` returns.

    A list of any length takes no memory, and its first item shows at once.
    """
    streams.write(f'{{\n  "schema": {dumps(schema)},\n  {dumps(name)}: [')
    comma = ""
    for item in items:
        streams.write(f"{comma}\n    {dumps(item)}")
        comma = ","
    streams.write("\n  ]" if comma else "]")
    for key, value in rest().items():
        streams.write(f",\n  {dumps(key)}: {dumps(value)}")
    streams.write("\n}\n")


def write_lines(items: Iterable[Item], schema: str) -> None:
    """Write each item on a line of its own, as it comes.

    Each names its schema: that of the object with all of them, with ``.line`` to it.
    """
    name, _, version = schema.partition("/")
    for item in items:
        write_line(f"{name}.line/{version}", item)


def write_line(schema: str, item: Item) -> None:
    """Write one object on a line, which names its schema."""
    streams.write(dumps({"schema": schema, **item}) + "\n")


def write_ids(ids: Iterable[str]) -> None:
    """Write ids, which hold nothing that needs escaping, one a line."""
    for session_id in ids:
        streams.write(session_id + "\n")
