"""The loop of a start-up: resume one interrupted session after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Self

from sessionstore.errors import (
    InvalidQuery,
    RevisionConflict,
    SessionClaimed,
    SessionEnded,
    SessionNotFound,
    SessionStoreError,
)
from sessionstore.log import log_session
from sessionstore.model import StateT
from sessionstore.model.query import Filters, SessionFilters, make_query
from sessionstore.model.summary import SessionSummary
from sessionstore.operations import recovery
from sessionstore.operations.recovery import RecoveryReport
from sessionstore.session.opener import SessionOpener
from sessionstore.session.resume import retry_advice, too_many_crashes
from sessionstore.session.session import Session
from sessionstore.session.writer import SessionWriter


@dataclass(frozen=True, slots=True)
class SkippedSession:
    """An interrupted session that the loop left out."""

    session_id: str
    """The id of the session."""
    reason: str
    """Why, and what to do about it."""
    is_taken: bool = False
    """Whether somebody else goes on with it, has ended it, or has deleted it: all is well."""
    error: SessionStoreError | None = None
    """The error that the resume raised; None where it was not tried."""


class StartUp(Generic[StateT]):
    """What a start-up has found, and resumes on request, one session at a time."""

    def __init__(
        self,
        opener: SessionOpener[StateT],
        *,
        max_recoveries: int,
        max_stops: int,
        sweep: bool,
        filters: SessionFilters,
    ) -> None:
        if "interrupted" in filters:
            raise InvalidQuery(
                "interrupted",
                "the start-up loop resumes interrupted sessions only: leave this filter out",
            )
        chosen: Filters = {**filters, "interrupted": True, "max_recoveries": None, "idle": None}
        self._query = make_query(chosen, limit=None, cursor=None, order="updated_at")
        self._opener = opener
        self._max_recoveries = max_recoveries
        self._max_stops = max_stops
        self._sweeps = sweep
        self._found: Iterator[SessionSummary] | None = None
        self.swept: RecoveryReport | None = None
        self.skipped: list[SkippedSession] = []

    def next(self) -> SessionWriter[StateT] | None:
        """Resume the next session that can be resumed; return None after the last one."""
        if self._found is None:
            if self._sweeps:
                self.swept = recovery.sweep(
                    self._opener.backend, dry_run=False, mark_as="failed", assume_dead=()
                )
            # The whole list first: what this loop resumes, and what ends meanwhile, moves in it.
            found = self._opener.backend.find(self._query, lambda item: item)
            self._found = iter(list(found))
        for item in self._found:
            writer = self._try(item)
            if writer is not None:
                return writer
        return None

    def _try(self, item: SessionSummary) -> SessionWriter[StateT] | None:
        if why := self._why_too_often(item):
            self._skip(SkippedSession(item.session_id, f"{why}: {retry_advice(item.session_id)}"))
            return None
        try:
            return self._opener.resume(item.session_id, expected_revision=item.revision)
        except (SessionClaimed, RevisionConflict, SessionNotFound, SessionEnded) as error:
            self._skip(SkippedSession(item.session_id, error.fact, is_taken=True, error=error))
        except SessionStoreError as error:
            self._skip(SkippedSession(item.session_id, str(error), error=error))
        return None

    def _why_too_often(self, item: SessionSummary) -> str | None:
        if why := too_many_crashes(item.recoveries, self._max_recoveries):
            return why
        if item.stops > self._max_stops:
            return f"it was stopped {item.stops} times, and max_stops is {self._max_stops}"
        return None

    def _skip(self, skipped: SkippedSession) -> None:
        self.skipped.append(skipped)
        log_session(
            "start_up_skipped",
            skipped.session_id,
            "not resumed at start-up: %s",
            skipped.reason,
            reason=skipped.reason,
        )


class InterruptedSessions(Generic[StateT]):
    """The interrupted sessions of a store, each resumed when the loop comes to it.

    It can be iterated over once. A session that it yields is yours: it never releases it. An
    exception in the body of the loop leaves the loop.

    Examples:
        >>> interrupted = store.resume_interrupted()
        >>> for session in interrupted:
        ...     with session:
        ...         revision = session.complete()
        >>> interrupted.skipped
        []
    """

    def __init__(self, start_up: StartUp[StateT]) -> None:
        self._start_up = start_up

    @property
    def skipped(self) -> list[SkippedSession]:
        """The sessions that were left out so far."""
        return self._start_up.skipped

    @property
    def swept(self) -> RecoveryReport | None:
        """The result of the sweep; None before the first step, or without a sweep."""
        return self._start_up.swept

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Session[StateT]:
        writer = self._start_up.next()
        if writer is None:
            raise StopIteration
        return Session(writer)
