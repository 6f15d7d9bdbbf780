"""A progress bar on stderr, if that is a terminal and the work takes long."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Self

from sessionstore.cli import streams

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_MANY = 50
"""With fewer steps the work ends before anybody could read a bar."""


class ProgressBar:
    """Called with the number of steps that are done, and of those that are known."""

    def __init__(self, color: str, doing: str = "judging") -> None:
        self._color = color
        self._doing = doing
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            streams.write_above(None)
            with suppress(OSError):  # the terminal is gone
                self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` steps are done; ``total`` may grow."""
        if self._bar is None:
            if total < _MANY or sys.stderr is None or not sys.stderr.isatty():
                return
            if streams.is_quiet():
                return
            self._start(total)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total)

    def _start(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        colored = streams.wants_color(self._color, sys.stderr)
        console = Console(file=sys.stderr, no_color=not colored)
        self._bar = Progress(
            TextColumn(self._doing),
            BarColumn(),
            MofNCompleteColumn(),
            console=console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._bar.start()
        streams.write_above(
            partial(console.print, markup=False, highlight=False, emoji=False, soft_wrap=True)
        )
        self._task = self._bar.add_task(self._doing, total=total)
