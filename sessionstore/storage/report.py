"""Reports on a store: what a check found, whether a place is fit, how far an operation is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

Progress = Callable[[int, int], None]
"""Called with how many steps of an operation are done, and how many there are."""


def no_progress(done: int, total: int) -> None:
    """Report to nobody."""


class FindingKind(StrEnum):
    """What is wrong."""

    DAMAGED_STATE = "damaged_state"
    """The state of a session is damaged or missing."""
    DAMAGED_CHECKPOINT = "damaged_checkpoint"
    """A checkpoint cannot be read."""
    DAMAGED_JOURNAL = "damaged_journal"
    """A journal has lines that cannot be read, or is no regular file."""
    SHORT_JOURNAL = "short_journal"
    """A journal ends before the record that the state says was flushed."""
    TORN_JOURNAL = "torn_journal"
    """A journal ends with part of an append that never returned."""
    DANGLING_CHECKPOINT = "dangling_checkpoint"
    """The latest checkpoint that a state names is none that loads."""
    OLD_STATE = "old_state"
    """A state is older than its newest checkpoint: a power cut took the last saves."""
    DOUBLED_KEYS = "doubled_keys"
    """A state or a checkpoint has a key more than once; the last one counts."""
    FOREIGN_VALUES = "foreign_values"
    """A state or a checkpoint has values that JSON or UTF-8 lacks: NaN, a lone surrogate."""
    ACTIVE_WITHOUT_OWNER = "active_without_owner"
    """A session is ACTIVE, but names no process that could be looked for."""
    LEFTOVER = "leftover"
    """A temporary file or directory of an interrupted write."""
    STRAY_LOCK = "stray_lock"
    """A lock whose session is gone, or something else in the place of a lock."""
    TRASH = "trash"
    """The rest of an interrupted delete; or something foreign in its directory."""
    WRONG_MODE = "wrong_mode"
    """Others than the owner may read or write, or the owner may not."""
    WRONG_OWNER = "wrong_owner"
    """It belongs to another user than the store, who so may be unable to read it."""
    WRONG_ID = "wrong_id"
    """An entry among the sessions whose name or kind makes it none."""
    DAMAGED_MARKER = "damaged_marker"
    """The marker of the store is damaged, so that no program opens the store."""
    UNREADABLE = "unreadable"
    """The system refused a look at it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and what a repair did or would do."""

    kind: FindingKind
    session_id: str | None
    """The session; None if it belongs to none."""
    file: str
    """The file to look at."""
    detail: str
    """What is wrong with it."""
    repair: str = ""
    """What a repair did or would do, or why it did nothing."""
    is_damage: bool = False
    """Whether it makes data unreadable, or a session unusable."""
    is_repaired: bool = False


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check found and repaired."""

    findings: Sequence[Finding] = ()
    checked: int = 0
    """How many sessions were checked."""
    repair: bool = False
    """Whether the check was asked to repair."""

    @property
    def has_damage(self) -> bool:
        """Whether damage remains."""
        return any(item.is_damage and not item.is_repaired for item in self.findings)

    @property
    def left(self) -> Sequence[Finding]:
        """The findings that are still there."""
        return tuple(item for item in self.findings if not item.is_repaired)


class Fitness(StrEnum):
    """The result of one test of a place."""

    OK = "ok"
    WARN = "warn"
    """It works, but not as well or not as safely as it could."""
    FAIL = "fail"
    """Sessions cannot be kept here, or not safely."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One test of a place: what was tried, what was seen, and what to do about it."""

    check: str
    """What was tried, in two or three words."""
    fitness: Fitness
    detail: str
    """What was seen."""
    advice: str = ""
    """What to do about it; empty if there is nothing to do."""
