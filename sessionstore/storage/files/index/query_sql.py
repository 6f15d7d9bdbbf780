"""Say a query in SQL. Values never become part of SQL text: they are bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sessionstore.model.query import Position, SessionQuery
from sessionstore.model.status import SessionStatus
from sessionstore.storage.files.index.schema import COLUMNS, LARGEST

ALL = ", ".join(COLUMNS)

BY_ID = f"SELECT {ALL} FROM sessions WHERE id = ?"  # noqa: S608 - names of ours


class RowStream(NamedTuple):
    """A query whose rows come in the order of an SQL index: one status, known times or unknown."""

    where: tuple[str, ...]
    values: tuple[Any, ...]
    order: str
    """``id``, ``updated`` or ``started``."""
    is_unknown: bool
    """Whether these are the sessions of which the time is not known; they come last, by id."""
    is_few: bool = False
    """Whether they are to be found by something else than their ids, and then sorted by them."""

    def chunk(
        self, query: SessionQuery, after: Position | None, size: int
    ) -> tuple[str, list[Any]]:
        """Return SQL and values for the next ``size`` rows after a position."""
        where, values = list(self.where), list(self.values)
        direction, sign = ("DESC", "<") if query.descending else ("ASC", ">")
        by_id = self.order == "id" or self.is_unknown
        # Without the plus SQLite would rather go through all of a status in the order of the ids.
        key = "+id" if self.is_few else "id"
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
                where.append(f"{self.order} {sign}= ? AND ({self.order} {sign} ? OR id {sign} ?)")
                values += [moment, moment, session_id]
        order = f"{key} {direction}" if by_id else f"{self.order} {direction}, id {direction}"
        sql = f"SELECT {ALL} FROM sessions{_where(where)} ORDER BY {order} LIMIT {size:d}"  # noqa: S608 - names of ours, values bound
        return sql, values


def streams(query: SessionQuery) -> list[RowStream]:
    """Return what to merge for ``query``: nothing where no sound session can match."""
    if query.damaged:
        return []
    key = query.order.lstrip("-")
    order = {"session_id": "id", "updated_at": "updated", "started_at": "started"}[key]
    times = (query.since, query.until, query.started_since, query.started_until)
    is_narrow = bool(query.equal) or times.count(None) < len(times)
    statuses = _statuses(query)
    # By time within a status: not by looking for the ids first, and then sorting all of them.
    where, values = _conditions(query, "id" if order == "id" or statuses == [None] else "+id")
    found: list[RowStream] = []
    for status in statuses:
        extra = () if status is None else ("status = ?",)
        bound = (*values, *(() if status is None else (status,)))
        if order == "id":
            is_few = is_narrow and status is not None
            found.append(RowStream((*where, *extra), bound, order, False, is_few))
        else:
            found.append(RowStream((*where, *extra, f"{order} IS NOT NULL"), bound, order, False))
            found.append(RowStream((*where, *extra, f"{order} IS NULL"), bound, order, True, True))
    return found


def count_sql(query: SessionQuery, ids: Sequence[str] | None = None) -> tuple[str, list[Any]]:
    """Return SQL that counts the rows that match, by what they say; of ``ids`` alone if given."""
    where, values = _conditions(query)
    statuses = _statuses(query)
    if statuses != [None]:
        where.append(f"status IN ({', '.join('?' * len(statuses))})")
        values += statuses
    if ids is not None:
        where.append(f"id IN ({', '.join('?' * len(ids))})")
        values += ids
    return f"SELECT COUNT(*) FROM sessions{_where(where)}", values  # noqa: S608 - as above


def _statuses(query: SessionQuery) -> list[str | None]:
    wanted = query.statuses
    if query.stale:  # only who is ACTIVE can have been left behind
        wanted = frozenset({SessionStatus.ACTIVE}) & (wanted or {SessionStatus.ACTIVE})
    if wanted is None:
        return [None]
    return [str(status) for status in sorted(wanted)]


def _conditions(query: SessionQuery, key: str = "id") -> tuple[list[str], list[Any]]:
    """Return what SQL can decide of ``query``, without the statuses; ``key`` is how to say id."""
    where: list[str] = []
    values: list[Any] = []
    if query.id_prefix:
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
            where.append(f"{name} {sign} ?")
            values.append(limit)
    return where, values


def _where(conditions: list[str]) -> str:
    return " WHERE " + " AND ".join(conditions) if conditions else ""
