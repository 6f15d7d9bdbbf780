"""Child processes that end with this one, with all that they started."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Done(NamedTuple):
    """A child that has ended."""

    code: int
    output: str
    """Of stdout."""
    said: str
    """Of stderr."""


class Children:
    """Children in groups of their own: a Ctrl-C reaches this process alone, which ends them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._running: set[subprocess.Popen[str]] = set()
        self._ended = False

    def run(self, command: Sequence[str | Path], directory: Path | None = None) -> Done:
        """Run a command to its end.

        Raises:
            InterruptedError: :meth:`end` was called before or meanwhile.
        """
        if self._has_ended():
            raise InterruptedError
        child = subprocess.Popen(
            command,
            cwd=directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._running.add(child)
        if self._has_ended():  # its signal came before the child was in the list
            _kill(child)
        output, said = child.communicate()
        self._running.discard(child)
        if self._has_ended():
            raise InterruptedError
        return Done(child.returncode, output, said)

    def _has_ended(self) -> bool:
        """Return whether a handler came: a type checker takes an attribute for unchanged."""
        return self._ended

    def end(self) -> None:
        """End all that run, and start no more. A signal handler may call this: it raises nothing.

        An exception from a handler could arrive between the start of a child and its place in the
        list.
        """
        self._ended = True
        for child in tuple(self._running):
            _kill(child)


def _kill(child: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
