"""What the store logs while a command runs, said on stderr: warnings, and why it takes long."""

from __future__ import annotations

import logging

import click

from sessionstore.cli.output import streams
from sessionstore.log import logger

_WORTH_WAITING_FOR = ("index_compared",)
"""Events of level INFO that tell what a person is waiting for."""


class StderrHandler(logging.Handler):
    """Says records on stderr, escaped."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say a record, if a person at a terminal should know."""
        event = getattr(record, "event", None)
        is_notice = event in _WORTH_WAITING_FOR and not streams.is_hushed()
        if record.levelno >= logging.WARNING or is_notice:
            streams.complain(record.getMessage())


def show(context: click.Context) -> None:
    """Say what the store logs, until ``context`` is left."""
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
