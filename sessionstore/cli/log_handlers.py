"""What commands do with the log of the store: show its warnings, and count what was done."""

from __future__ import annotations

import logging
import sys
from typing import Self

import click

from sessionstore.cli import streams
from sessionstore.log import logger
from sessionstore.text import count_of

_WORTH_WAITING_FOR = ("index_compared",)
"""Events of level INFO that explain a delay."""


class StderrHandler(logging.Handler):
    """Writes records to stderr, escaped."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a warning, or a notice that explains a delay."""
        event = getattr(record, "event", None)
        is_notice = event in _WORTH_WAITING_FOR and not streams.is_quiet()
        if record.levelno >= logging.WARNING or is_notice:
            streams.error(record.getMessage())


def show(context: click.Context) -> None:
    """Show on stderr what the store logs, until ``context`` is left."""
    outermost = context.find_root()
    if outermost.meta.setdefault("sessionstore.notices", False):
        return
    outermost.meta["sessionstore.notices"] = True
    handler, level = StderrHandler(logging.INFO), logger.level
    logger.addHandler(handler)
    if logger.getEffectiveLevel() > logging.INFO:
        logger.setLevel(logging.INFO)

    def hide() -> None:
        logger.removeHandler(handler)
        logger.setLevel(level)

    outermost.call_on_close(hide)


class EventCounter(logging.Handler):
    """Collects the ids of sessions from the events of one kind, for a run that is interrupted."""

    def __init__(self, event: str) -> None:
        super().__init__(logging.INFO)
        self._event = event
        self.ids: list[str] = []

    def __enter__(self) -> Self:
        logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Remember the session of such an event."""
        if getattr(record, "event", None) == self._event:
            self.ids.append(str(getattr(record, "session_id", "")))

    def say_how_far(self, what: str, form: str) -> None:
        """Report how far an interrupted run came: ``what`` was done to these sessions."""
        if form == "ids":  # a reader of ids needs those as well
            streams.write_ids(self.ids)
            sys.stdout.flush()
        done = f"{count_of(len(self.ids), 'session')} {what}"
        streams.warning(f"{done} before the interruption; the same command continues")
