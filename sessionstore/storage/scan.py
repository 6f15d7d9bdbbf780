"""List sessions by reading every one of them: what a backend without an index does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from sessionstore.errors import SessionCorrupt, SessionNotFound, StorageError
from sessionstore.model.query import Examine, SessionQuery
from sessionstore.model.stored import Stored
from sessionstore.model.summary import Matches, SessionSummary, summarize
from sessionstore.storage.values import CountsAndPages


class Scannable(Protocol):
    """The part of a backend that a scan needs."""

    def ids(self) -> Iterator[str]: ...

    def read(self, session_id: str) -> Stored: ...

    def last_appended_at(self, session_id: str) -> str | None: ...

    def summary(self, session_id: str) -> SessionSummary | None: ...


def summary(place: Scannable, session_id: str) -> SessionSummary | None:
    """Return the summary of a session from its state; None if the session is gone."""
    from sessionstore.model import codec  # it loads pydantic, which an index does without
    from sessionstore.model.state import SessionState

    try:
        stored = place.read(session_id)
        state = codec.decode(stored.payload, SessionState, session_id, stored.file)
        return summarize(state, place.last_appended_at(session_id))
    except SessionNotFound:
        return None
    except SessionCorrupt as error:
        return SessionSummary(session_id, damaged=error.reason)
    except StorageError as error:
        return SessionSummary(session_id, damaged=str(error))


def find(place: Scannable, query: SessionQuery, examine: Examine) -> Matches:
    """Return the matches in order; each is examined when it is consumed."""
    matching: list[SessionSummary] = []
    damaged = 0
    for item in _summaries(place, query.id_prefix):
        if query.matches(item):
            matching.append(item)
        elif item.damaged is not None and query.damaged is None:
            damaged += 1
    return Matches(_examined(query.sort(matching), query, examine), damaged)


def select(place: Scannable, query: SessionQuery) -> Iterator[SessionSummary]:
    """Yield the sessions whose states match, in any order."""
    return filter(query.matches, _summaries(place, query.id_prefix))


def count_and_list(
    place: Scannable, counted: Sequence[SessionQuery], listed: Sequence[SessionQuery]
) -> CountsAndPages:
    """Return how many match each of ``counted``, and the first ones of each of ``listed``."""
    counts = [0] * len(counted)
    items: list[list[SessionSummary]] = [[] for _ in listed]
    for item in _summaries(place, None):
        for number, query in enumerate(counted):
            counts[number] += query.matches(item)
        for found, query in zip(items, listed, strict=True):
            if query.matches(item):
                found.append(item)
    return CountsAndPages(
        counts,
        [query.sort(found)[: query.limit] for found, query in zip(items, listed, strict=True)],
    )


def _summaries(place: Scannable, id_prefix: str | None) -> Iterator[SessionSummary]:
    for session_id in place.ids():
        if id_prefix is not None and not session_id.startswith(id_prefix):
            continue
        item = place.summary(session_id)
        if item is not None:
            yield item


def _examined(
    items: Iterable[SessionSummary], query: SessionQuery, examine: Examine
) -> Iterator[SessionSummary]:
    for item in items:
        seen = examine(item) if item.damaged is None else item
        if query.finally_matches(seen):
            yield seen
