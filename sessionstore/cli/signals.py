"""SIGTERM and SIGHUP end a command as Ctrl-C does: its temporary files are removed."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_NAMES = ("SIGTERM", "SIGHUP")
_SHELL = 128
"""What a shell adds to the number of the signal that ended a process."""
_SOON = 0.01
"""Seconds after which an interrupt that was lost is sent again."""


class Ending:
    """The signal that ends this process, if one came."""

    number: int | None = None

    def __str__(self) -> str:
        return "" if self.number is None else signal.Signals(self.number).name

    def die(self) -> int:
        """End this process by that signal, which tells its parent more than an exit code."""
        assert self.number is not None
        os.kill(os.getpid(), self.number)
        return _SHELL + self.number  # the signal is blocked


@contextmanager
def as_interrupts() -> Iterator[Ending]:
    """Raise KeyboardInterrupt when one of the signals arrives; yield which one came."""
    ending = Ending()
    ours: list[int] = []

    def end(number: int, _: FrameType | None) -> NoReturn:
        # A second signal must not interrupt the clean-up.
        for one in ours:
            signal.signal(one, signal.SIG_IGN)
        ending.number = number
        # KeyboardInterrupt: extension modules that wait, such as watchfiles, raise it again.
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        found = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
        # A signal that is ignored (nohup) or handled already stays so.
        ours = [number for number in found if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, end)
    hook = sys.unraisablehook

    def interrupt_again(lost: sys.UnraisableHookArgs) -> None:
        # Python drops what a finalizer raises. Not at once: it would be raised in this hook.
        if issubclass(lost.exc_type, KeyboardInterrupt) and hasattr(signal, "pthread_kill"):
            main = threading.main_thread().ident
            again = threading.Timer(_SOON, signal.pthread_kill, (main, signal.SIGINT))
            again.daemon = True
            again.start()
        else:
            hook(lost)

    sys.unraisablehook = interrupt_again
    try:
        yield ending
    finally:
        sys.unraisablehook = hook
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
