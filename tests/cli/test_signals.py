"""Ctrl-C ends a command, wherever it arrives."""

from __future__ import annotations

import time

import pytest

from sessionstore.cli import signals
from tests.support.processes import DEADLINE


class InterruptedAtItsEnd:
    """Ctrl-C arrives while it is finalized, where Python drops every exception."""

    def __del__(self) -> None:
        raise KeyboardInterrupt


def end_one_and_wait() -> None:
    with signals.as_interrupts():
        InterruptedAtItsEnd()
        time.sleep(DEADLINE)


def test_an_interrupt_that_arrives_in_a_finalizer_is_not_lost() -> None:
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        end_one_and_wait()
    assert time.monotonic() - began < DEADLINE
