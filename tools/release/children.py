"""Child processes that end with this one, with all that they started."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
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
        self._ending = False
        self._lock = Lock()

    def run(self, command: Sequence[str | Path], directory: Path | None = None) -> Done:
        """Run a command to its end.

        Raises:
            InterruptedError: :meth:`end` was called, by another thread.
        """
        with self._lock:
            if self._ending:
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
        try:
            output, said = child.communicate()
        except BaseException:
            _kill(child)
            child.wait()
            raise
        finally:
            with self._lock:
                self._running.discard(child)
        return Done(child.returncode, output, said)

    def end(self) -> None:
        """End all that run, and start no more."""
        with self._lock:
            self._ending = True
            for child in self._running:
                _kill(child)


def _kill(child: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
