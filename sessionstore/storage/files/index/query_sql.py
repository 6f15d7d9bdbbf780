"""Say a query in SQL. Values never become part of SQL text: they are bound.

A query leads from one table to the other. Where a label is asked for, that is the table of labels,
in which the sessions of one label and status stand in the order of the listing; unless another
filter, or another label, lets fewer sessions pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sessionstore.model.query import Position, SessionQuery
from sessionstore.model.status import SessionStatus
from sessionstore.storage.files.index.schema import COLUMNS, LARGEST

ALL = ", ".join(f"sessions.{name}" for name in COLUMNS)

BY_ID = f"SELECT {ALL} FROM sessions WHERE id = ?"  # noqa: S608 - names of ours

_MANY = 10_000
"""How many sessions are counted to find out which filter lets the fewest pass."""
_JOINED = "labels CROSS JOIN sessions ON sessions.id = labels.id"
"""The sessions of a label. ``CROSS`` has SQLite begin with the label."""


class RowStream(NamedTuple):
    """A query whose rows come in the order of an SQL index: one status, known times or unknown."""

    table: str
    """The table that leads: ``sessions``, or ``labels``."""
    where: tuple[str, ...]
    values: tuple[Any, ...]
    order: str
    """``id``, ``updated`` or ``started``."""
    is_unknown: bool
    """Whether these are the sessions of which the time is not known; they come last, by id."""
    is_few: bool = False
    """Whether they are to be found by something else than their order, and then sorted."""

    def chunk(
        self, query: SessionQuery, after: Position | None, size: int
    ) -> tuple[str, list[Any]]:
        """Return SQL and values for the next ``size`` rows after a position."""
        where, values = list(self.where), list(self.values)
        direction, sign = ("DESC", "<") if query.descending else ("ASC", ">")
        by_id = self.order == "id" or self.is_unknown
        # Without the plus SQLite would rather go through all of a status in the order of the ids.
        plus = "+" if self.is_few else ""
        session, time = f"{self.table}.id", f"{plus}{self.table}.{self.order}"
        key = f"{plus}{session}"
        if after is not None:
            unknown, moment, session_id = after
            if by_id:
                if self.order == "id" or unknown:  # else all unknown ones come after it
                    where.append(f"{key} {sign} ?")
                    values.append(session_id)
            elif unknown:
                where.append("0")  # all of these came before it
            else:
                # Not a plain OR, for which SQLite would not use the index.
                where.append(f"{time} {sign}= ? AND ({time} {sign} ? OR {session} {sign} ?)")
                values += [moment, moment, session_id]
        order = f"{key} {direction}" if by_id else f"{time} {direction}, {session} {direction}"
        source = _JOINED if self.table == "labels" else self.table
        sql = f"SELECT {ALL} FROM {source}{_where(where)} ORDER BY {order} LIMIT {size:d}"  # noqa: S608 - names of ours, values bound
        return sql, values


def streams(query: SessionQuery, lead: int | None = 0) -> list[RowStream]:
    """Return what to merge for ``query``: nothing where no sound session can match.

    ``lead`` is the number of the label that leads; None if the table of sessions does.
    """
    if query.damaged:
        return []
    table = _table(query, lead)
    key = query.order.lstrip("-")
    order = {"session_id": "id", "updated_at": "updated", "started_at": "started"}[key]
    updated, started = (query.since, query.until), (query.started_since, query.started_until)
    is_narrow = bool(query.equal) or (*updated, *started) != (None,) * 4
    statuses = _statuses(query)
    if table == "labels":  # which has the sessions of one status in order
        is_narrow = False
        statuses = list(map(str, SessionStatus)) if statuses == [None] else statuses
    # By time within a status: not by looking for the ids first, and then sorting all of them.
    plus = "" if order == "id" or statuses == [None] else "+"
    where, values = _conditions(query, lead, plus)
    found: list[RowStream] = []
    for status in statuses:
        extra = () if status is None else (f"{table}.status = ?",)
        bound = (*values, *(() if status is None else (status,)))
        if order == "id":
            is_few = (is_narrow and status is not None) or lead is None
            found.append(RowStream(table, (*where, *extra), bound, order, False, is_few))
        else:
            # A time that is not known lies in no range.
            bounds = updated if order == "updated" else started
            for is_unknown in (False, True) if bounds == (None, None) else (False,):
                by_label = table == "labels"  # where those of no known time are in order, too
                is_few = lead is None and order == "started"
                negated = "" if is_unknown else "NOT "
                known = f"{'+' if is_few else ''}{table}.{order} IS {negated}NULL"
                is_few = is_few or (is_unknown and not by_label)
                narrowed = (*where, *extra, known)
                found.append(RowStream(table, narrowed, bound, order, is_unknown, is_few))
    return found


def count_sql(
    query: SessionQuery, ids: Sequence[str] | None = None, lead: int | None = 0
) -> tuple[str, list[Any]]:
    """Return SQL that counts the rows that match, by what they say; of ``ids`` alone if given."""
    table = _table(query, lead)
    where, values = _conditions(query, lead)
    statuses = _statuses(query)
    if statuses != [None]:
        where.append(f"{table}.status IN ({', '.join('?' * len(statuses))})")
        values += statuses
    if ids is not None:
        where.append(f"{table}.id IN ({', '.join('?' * len(ids))})")
        values += ids
    source = _JOINED if table == "labels" and _looks_into_sessions(query) else table
    return f"SELECT COUNT(*) FROM {source}{_where(where)}", values  # noqa: S608 - as above


def leads(query: SessionQuery) -> list[tuple[str, list[Any]]]:
    """Return SQL that counts, up to a limit, what each filter with an index of its own lets pass.

    First come the labels, in their order. The filter with the lowest count should lead.
    """
    alone = [
        *(SessionQuery(labels=(label,), statuses=query.statuses) for label in query.labels),
        *(SessionQuery(equal=(pair,)) for pair in query.equal if pair[1]),
        *([SessionQuery(interrupted=True)] if query.interrupted else []),
    ]
    found = []
    for one in alone:
        sql, values = count_sql(one)
        rows = sql.replace("COUNT(*)", "1", 1)
        found.append((f"SELECT COUNT(*) FROM ({rows} LIMIT {_MANY:d})", values))  # noqa: S608 - as above
    return found


def _table(query: SessionQuery, lead: int | None) -> str:
    return "labels" if query.labels and lead is not None else "sessions"


def _looks_into_sessions(query: SessionQuery) -> bool:
    """Return whether a condition is about something that the table of labels does not have."""
    return bool(query.equal) or query.interrupted is not None or query.max_recoveries is not None


def _statuses(query: SessionQuery) -> list[str | None]:
    wanted = query.statuses
    if query.stale or query.alive:  # whose owner lives or died, if anybody's, is ACTIVE
        wanted = frozenset({SessionStatus.ACTIVE}) & (wanted or {SessionStatus.ACTIVE})
    if wanted is None:
        return [None]
    return [str(status) for status in sorted(wanted)]


def _conditions(
    query: SessionQuery, lead: int | None, plus: str = ""
) -> tuple[list[str], list[Any]]:
    """Return what SQL can decide of ``query``, without the statuses; ``plus`` is before the id."""
    where: list[str] = []
    values: list[Any] = []
    table = _table(query, lead)
    for number, label in enumerate(query.labels):
        if number == lead:
            where.append("labels.key = ? AND labels.value = ?")
        else:
            same = f"other.id = {table}.id AND other.key = ? AND other.value = ?"
            where.append(f"EXISTS (SELECT 1 FROM labels AS other WHERE {same})")  # noqa: S608 - as above
        values += label
    if query.id_prefix:
        key = f"{plus}{table}.id"
        where.append(f"{key} >= ? AND {key} < ?")
        values += [query.id_prefix, query.id_prefix + "\U0010ffff"]
    for name, value in query.equal:
        where.append(f"{name} = ?")
        if value:
            where.append(f"{name} <> ''")  # the index leaves the empty ones out
        values.append(value)
    if query.interrupted is not None:
        where.append(f"interrupted = {int(query.interrupted)}")
    if query.max_recoveries is not None:
        where.append("recoveries <= ?")
        values.append(max(-LARGEST, min(query.max_recoveries, LARGEST)))
    for name, sign, limit in (
        ("updated", ">=", query.since),
        ("updated", "<", query.until),
        ("started", ">=", query.started_since),
        ("started", "<", query.started_until),
    ):
        if limit is not None:
            where.append(f"{table}.{name} {sign} ?")
            values.append(limit)
    return where, values


def _where(conditions: list[str]) -> str:
    return " WHERE " + " AND ".join(conditions) if conditions else ""
