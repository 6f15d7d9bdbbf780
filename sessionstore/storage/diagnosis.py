"""Whether a place is fit for a store: what was tried there, and what to do about the rest."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Fitness(StrEnum):
    """How a test of a place ended."""

    OK = "ok"
    WARN = "warn"
    """It works, but not as well or not as safely as it could."""
    FAIL = "fail"
    """Sessions cannot be kept here, or not safely."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that was tried."""

    check: str
    """What was tried, in two or three words."""
    fitness: Fitness
    detail: str
    """What was seen."""
    advice: str = ""
    """What to do about it; empty if there is nothing to do."""
