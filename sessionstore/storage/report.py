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
    DANGLING_CHECKPOINT = "dangling_checkpoint"
    """The latest checkpoint that a state names is none that loads."""
    OLD_STATE = "old_state"
    """A state knows nothing of its newest checkpoint: a power cut took what was saved since."""
    DOUBLED_KEYS = "doubled_keys"
    """A state or a checkpoint has keys more than once; the last one counts."""
    ACTIVE_WITHOUT_OWNER = "active_without_owner"
    """A session is ACTIVE, but nobody is recorded who could be looked for."""
    LEFTOVER = "leftover"
    """A temporary file or directory of a write that was interrupted."""
    STRAY_LOCK = "stray_lock"
    """The lock of a session that is gone, or something else in the place of a lock."""
    TRASH = "trash"
    """What a delete that was interrupted did not remove; or something else among that."""
    WRONG_MODE = "wrong_mode"
    """Others than the owner may read or write; or the owner may not."""
    WRONG_ID = "wrong_id"
    """Something among the sessions that cannot be one, because of its name or its kind."""
    DAMAGED_MARKER = "damaged_marker"
    """The file that marks and versions the store is damaged: no program opens the store."""
    UNREADABLE = "unreadable"
    """The system refused to let it be looked at."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and what was or can be done about it."""

    kind: FindingKind
    session_id: str | None
    """Of which session; None if it belongs to none."""
    file: str
    """What to look at."""
    detail: str
    """What is wrong with it."""
    repair: str = ""
    """What was done; or what a repair would do; or why it did not."""
    is_damage: bool = False
    """Whether data cannot be read, or a session cannot be used, because of it."""
    is_repaired: bool = False


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check-up found and did."""

    findings: Sequence[Finding] = ()
    checked: int = 0
    """How many sessions were looked at."""
    repair: bool = False
    """Whether it was to repair what it found."""

    @property
    def has_damage(self) -> bool:
        """Whether damage remains."""
        return any(item.is_damage and not item.is_repaired for item in self.findings)

    @property
    def left(self) -> Sequence[Finding]:
        """What is still wrong."""
        return tuple(item for item in self.findings if not item.is_repaired)


class Fitness(StrEnum):
    """How a test of a place ended."""

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
