"""SIGTERM and SIGHUP end a command as Ctrl-C does: what it began is cleared away."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_NAMES = ("SIGTERM", "SIGHUP")
_SHELL = 128
"""What a shell adds to the number of the signal that ended a process."""


class Ending:
    """Which signal wants this process to end, if one does."""

    number: int | None = None

    def __str__(self) -> str:
        return "" if self.number is None else signal.Signals(self.number).name

    def die(self) -> int:
        """End this process by that very signal, which tells its parent more than a code would."""
        assert self.number is not None
        os.kill(os.getpid(), self.number)
        return _SHELL + self.number  # it is blocked


@contextmanager
def as_interrupts() -> Iterator[Ending]:
    """Raise KeyboardInterrupt where one of the signals would end the process; yield which came."""
    ending = Ending()
    ours: list[int] = []

    def end(number: int, _: FrameType | None) -> NoReturn:
        # What ends processes may send several: a second one must not cut the clearing short.
        for one in ours:
            signal.signal(one, signal.SIG_IGN)
        ending.number = number
        # No exception of our own: what waits in other languages raises anew what it knows.
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        found = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
        # What somebody ignores, as nohup does, or handles stays so.
        ours = [number for number in found if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, end)
    try:
        yield ending
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
