"""A RetentionPolicy, and which sessions and checkpoints it gives up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sessionstore import clock
from sessionstore.model.query import label_pairs
from sessionstore.model.status import SessionStatus
from sessionstore.model.summary import SessionSummary

if TYPE_CHECKING:  # it loads pydantic, and a policy is only numbers
    from sessionstore.model.checkpoint import Checkpoint

_ENDED = (SessionStatus.COMPLETED, SessionStatus.FAILED, SessionStatus.CANCELLED)
_ROUNDING = 1.0
"""Seconds of tolerance in the search by floats; what is found is judged exactly."""
_STEPS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """How long sessions are kept, how many, and how many of their checkpoints.

    - A session is deleted if it is ``older_than`` and not among the ``keep_last``.
    - While the rest is larger than ``max_total_size``, the oldest sessions are deleted as well,
      but never the ``keep_last``.
    - ``keep_last`` alone deletes all other sessions.
    - A checkpoint of a session that stays is removed if it is ``checkpoints_older_than`` and not
      among the ``keep_checkpoints``. Either of them alone decides alone. Those that the store keeps
      by itself (``before_resume``, ``last_save``) count apart from those of the application.
    - With ``step_values`` the results of steps that no resume returns any more are removed.

    Age counts from the last update. A session without a readable time is never old.

    Raises:
        ValueError: a limit is invalid, or there is no limit.
    """

    older_than: timedelta | float | None = None
    """A timedelta, or seconds."""
    keep_last: int | None = None
    """How many sessions stay: the last updated of those with these ``statuses`` and ``labels``."""
    statuses: Iterable[SessionStatus | str] = _ENDED
    """The statuses of the sessions that may be deleted: by default those that have ended.
    ``"paused"`` can be added; an ACTIVE session is never pruned."""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Only sessions with all of these labels may be deleted; by default they do not matter."""
    max_total_size: int | None = None
    """The bytes on disk that all sessions of the store may take together."""
    keep_checkpoints: int | None = None
    """How many checkpoints of a session stay: the newest of the application's, and as many of those
    that the store keeps by itself."""
    checkpoints_older_than: timedelta | float | None = None
    """A timedelta, or seconds."""
    step_values: bool = False
    """Whether the results of steps of sessions that stay go, once nothing replays them. Their
    names, times, sizes and digests stay."""

    def __post_init__(self) -> None:
        given = (self.statuses,) if isinstance(self.statuses, str) else self.statuses
        statuses = frozenset(SessionStatus(status) for status in given)
        if SessionStatus.ACTIVE in statuses:
            raise ValueError("statuses: an active session is never pruned; mark or recover it")
        if not statuses:
            raise ValueError("statuses: the list is empty, so nothing would ever be pruned")
        object.__setattr__(self, "statuses", statuses)
        object.__setattr__(self, "labels", dict(label_pairs(self.labels)))
        for name in ("older_than", "checkpoints_older_than"):
            object.__setattr__(self, name, _age(name, getattr(self, name)))
        for name in ("keep_last", "max_total_size", "keep_checkpoints"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 0):
                raise ValueError(f"{name} must be a whole number of at least 0, not {value!r}")
        if type(self.step_values) is not bool:
            raise ValueError(f"step_values must be True or False, not {self.step_values!r}")
        if not (self.judges_sessions or self.judges_contents):
            raise ValueError(
                "a policy needs a limit: older_than, keep_last, max_total_size,"
                " keep_checkpoints, checkpoints_older_than or step_values"
            )

    @property
    def judges_sessions(self) -> bool:
        """Whether whole sessions may be deleted."""
        return not (self.older_than is self.keep_last is self.max_total_size is None)

    @property
    def judges_checkpoints(self) -> bool:
        """Whether checkpoints of sessions that stay may be removed."""
        return not (self.keep_checkpoints is self.checkpoints_older_than is None)

    @property
    def judges_contents(self) -> bool:
        """Whether anything of sessions that stay may be removed."""
        return self.judges_checkpoints or self.step_values

    def only_before(self, now: datetime) -> float | None:
        """Return the time of the newest update that may be deleted, in seconds since the epoch.

        None if more than age decides, or sessions that stay have to be read.
        """
        limit = _seconds(self.older_than)
        if limit is None or self.max_total_size is not None or self.judges_contents:
            return None
        return now.timestamp() - limit + _ROUNDING

    def is_about(self, status: SessionStatus | None) -> bool:
        """Return whether sessions of this status may be touched."""
        return status in frozenset(self.statuses)

    # --- which ones ------------------------------------------------------------------------------

    def choose(
        self, candidates: Iterable[SessionSummary], now: datetime
    ) -> tuple[list[tuple[SessionSummary, str]], list[SessionSummary]]:
        """Return the sessions to delete, with reasons, and those to delete if space is short.

        Both are oldest first. ``candidates`` have the statuses of this policy.
        """
        newest_first = sorted(
            candidates, key=lambda item: (_moment(item.updated_at), item.session_id), reverse=True
        )
        unprotected = newest_first[self.keep_last or 0 :]
        unprotected.reverse()
        going: list[tuple[SessionSummary, str]] = []
        staying: list[SessionSummary] = []
        for item in unprotected:
            reason = self._why(item, now)
            if reason is None:
                staying.append(item)
            else:
                going.append((item, reason))
        if self.max_total_size is None:
            staying = []
        return going, [item for item in staying if clock.parse(item.updated_at)]

    def _why(self, item: SessionSummary, now: datetime) -> str | None:
        limit = _seconds(self.older_than)
        if limit is None:
            alone = self.keep_last is not None and self.max_total_size is None
            return f"{item.status}, not among the last {self.keep_last}" if alone else None
        age = _age_of(item.updated_at, now)
        if age is None or age < limit:
            return None
        return f"{item.status}, last updated {_in_words(age)} ago"

    def may_choose(self, checkpoint_ids: Sequence[str], latest: str | None) -> bool:
        """Return whether :meth:`choose_checkpoints` may choose any of these."""
        return len(checkpoint_ids) > (self.keep_checkpoints or 0) and any(
            checkpoint_id != latest for checkpoint_id in checkpoint_ids
        )

    def choose_checkpoints(
        self,
        checkpoints: Sequence[Checkpoint],
        latest: str | None,
        now: datetime,
        *,
        revision: int | None = None,
    ) -> list[str]:
        """Return the ids of the checkpoints to remove, oldest first.

        ``checkpoints`` are in order. These stay:

        - the latest, because a resume uses it; if it is missing or damaged, all stay, because a
          resume has to choose among them;
        - the newest, where there is no latest, or where the stored state is of an older
          ``revision``: it takes the place of the latest;
        - a damaged one, because it may be data.
        """
        from sessionstore.model.checkpoint import STORE_OWN, newest_sound  # it loads pydantic

        sound = [item for item in checkpoints if item.damaged is None]
        needed = {latest}
        if not self.judges_checkpoints or not (
            latest is None or latest in (item.checkpoint_id for item in sound)
        ):
            return []
        newest = newest_sound(sound, whole=False)
        if newest and (latest is None or (newest.revision or 0) > (revision or math.inf)):
            needed.add(newest.checkpoint_id)
        old: set[str] = set()
        for is_own in (False, True):
            kept = [item for item in sound if (item.checkpoint_type in STORE_OWN) is is_own]
            # Not below zero: a negative end would count from the end of the list.
            over = max(0, len(kept) - (self.keep_checkpoints or 0))
            old.update(item.checkpoint_id for item in kept[:over])
        return [
            item.checkpoint_id
            for item in sound
            if item.checkpoint_id in old - needed and self._is_old(item, now)
        ]

    def _is_old(self, item: Checkpoint, now: datetime) -> bool:
        limit = _seconds(self.checkpoints_older_than)
        if limit is None:
            return True
        age = _age_of(item.created_at, now)
        return age is not None and age >= limit


def _age(name: str, value: timedelta | float | None) -> timedelta | None:
    if value is None:
        return None
    try:
        if isinstance(value, bool):
            raise TypeError
        age = value if isinstance(value, timedelta) else timedelta(seconds=value)
    except (TypeError, ValueError, OverflowError):  # NaN is a ValueError, infinity an overflow
        raise ValueError(f"{name} must be a timedelta or seconds, not {value!r}") from None
    if age < timedelta(0):
        raise ValueError(f"{name} must not be negative: {value!r}")
    return age


def _seconds(age: timedelta | float | None) -> float | None:
    return age.total_seconds() if isinstance(age, timedelta) else age


def _moment(text: str) -> float:
    moment = clock.parse(text)
    return math.inf if moment is None else moment.timestamp()


def _age_of(text: str, now: datetime) -> float | None:
    moment = clock.parse(text)
    return None if moment is None else (now - moment).total_seconds()


def _in_words(seconds: float) -> str:
    for size, unit in _STEPS:
        if seconds >= size:
            number = int(seconds // size)
            return f"{number:,} {unit}{'s' if number != 1 else ''}"
    return "0 seconds"
