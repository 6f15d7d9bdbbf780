"""What a command had done when it was interrupted: a report comes only from one that ends."""

from __future__ import annotations

import logging
import sys
from types import TracebackType
from typing import Self

from sessionstore.cli.output import json, streams
from sessionstore.log import logger
from sessionstore.text import count_of


class EventCounter(logging.Handler):
    """Collects, from what the store logs, the ids of the sessions that something was done to."""

    def __init__(self, event: str) -> None:
        super().__init__(logging.INFO)
        self._event = event
        self.ids: list[str] = []

    def __enter__(self) -> Self:
        logger.addHandler(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Remember the session, if the record is of that event."""
        if getattr(record, "event", None) == self._event:
            self.ids.append(str(getattr(record, "session_id", "")))

    def say_how_far(self, what: str, form: str) -> None:
        """Tell of an interrupted run which sessions ``what`` was done to."""
        if form == "ids":  # whoever logs ids wants those
            json.write_ids(self.ids)
            sys.stdout.flush()
        done = f"{count_of(len(self.ids), 'session')} {what}"
        streams.warn(f"{done} until then; the same command goes on")
