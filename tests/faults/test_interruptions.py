"""An exception from outside at any line: nobody is locked out, and no other lock is given back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.support.tally import tally
from tests.support.processes import Child, needs_linux

STEP = 1 if os.environ.get("SESSIONSTORE_FAULTS") == "all" else 47


@needs_linux("/proc names the open descriptors")
@pytest.mark.parametrize(
    "operation",
    [
        "create", "claim", "resume", "save", "checkpoint", "pause", "complete", "release",
        "delete", "mark", "recover", "liveness", "stop", "resume the last save", "take over",
        "take over and resume", "edit", "edit a new one", "take over and edit",
    ],
)  # fmt: skip
def test_an_exception_at_any_line_locks_nobody_out(place: Path, operation: str) -> None:
    with Child(
        "faults.support.interruption.interrupt_everywhere", place / operation, operation, STEP
    ) as child:
        told = child.hear()
        assert child.wait() == 0
    assert told["fired"] > 10
    assert told["wrong"] == []
    tally("races", promise=3, cases=told["fired"])
