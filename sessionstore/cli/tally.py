"""What a command had done when it was interrupted: a report comes only from one that ends."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Self

from sessionstore.log import logger


class Tally(logging.Handler):
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
