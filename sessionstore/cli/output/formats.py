"""Write what a command found to stdout, in the format that ``-o`` asks for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sessionstore.cli import streams
from sessionstore.cli.errors import Exit, combined, refused
from sessionstore.cli.output.json import Item, dumps
from sessionstore.errors import SessionStoreError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a command found, in every format. Only the one that is asked for is computed.

    ``lines``, ``ids`` and ``table`` may go through the same iterator: one of them is used.
    """

    schema: str
    """The name of the schema of the JSON object. That of a line has ``.line`` in it."""
    lines: Iterable[Item]
    """For jsonl: an object a line."""
    fields: Callable[[], Item] | None
    """For json: the fields of the one object. None: the lines may have no end, so json is jsonl."""
    ids: Iterable[str] = ()
    table: Callable[[], object] = lambda: None
    """Writes the table. By default there is none: stderr tells enough."""
    listed: str | None = None
    """The name of a list in the JSON object, of all lines, each written as it comes.

    It stands before ``fields``, takes no memory, and shows its first item at once.
    """


def emit(report: Report, form: str) -> None:
    """Write the report in one format: table, json, jsonl or ids."""
    if form == "table":
        report.table()
    elif form == "ids":
        streams.write_ids(report.ids)
    elif report.fields is None:
        _write_lines(report.lines, report.schema)
    elif form == "jsonl":
        name, _, version = report.schema.partition("/")
        _write_lines(report.lines, f"{name}.line/{version}")
    elif report.listed is not None:
        _write_listed(report.schema, report.listed, report.lines, report.fields)
    else:
        whole = {"schema": report.schema, **report.fields()}
        streams.write(dumps(whole, indent=2) + "\n")


def emit_each(
    ids: Sequence[str],
    act: Callable[[str], Item],
    form: str,
    *,
    schema: str,
    done: str,
    listed: str,
    fields: Item | None = None,
) -> Exit:
    """Do ``act`` to each session and report each at once; return the exit code for all.

    A refusal stops only its own session. ``act`` returns what JSON tells besides the id, ``done``
    is what a table tells, and ``listed`` names the list in the JSON object, after ``fields``.
    """
    codes: list[Exit] = []

    def act_on_each() -> Iterator[Item]:
        for session_id in ids:
            try:
                item = {"session_id": session_id, **act(session_id)}
            except SessionStoreError as error:
                codes.append(refused(error))
            else:
                codes.append(Exit.OK)
                yield item

    def write_table() -> None:
        for item in items:
            streams.write(f"{item['session_id']}  {done}\n")

    items = flushed(act_on_each())
    report = Report(
        schema=schema,
        lines=items,
        fields=lambda: {**(fields or {}), listed: list(items)},
        ids=(item["session_id"] for item in items),
        table=write_table,
    )
    emit(report, form)
    return combined(codes)


def flushed(items: Iterable[T]) -> Iterator[T]:
    """Yield each item, and flush what was written of it before the next one.

    The next one may take hours, or be interrupted.
    """
    for item in items:
        yield item
        sys.stdout.flush()


def _write_lines(items: Iterable[Item], schema: str) -> None:
    for item in items:
        streams.write(dumps({"schema": schema, **item}) + "\n")


def _write_listed(
    schema: str, name: str, items: Iterable[Item], fields: Callable[[], Item]
) -> None:
    streams.write(f'{{\n  "schema": {dumps(schema)},\n  {dumps(name)}: [')
    comma = ""
    for item in items:
        streams.write(f"{comma}\n    {dumps(item)}")
        comma = ","
    streams.write("\n  ]" if comma else "]")
    for key, value in fields().items():
        streams.write(f",\n  {dumps(key)}: {dumps(value)}")
    streams.write("\n}\n")
