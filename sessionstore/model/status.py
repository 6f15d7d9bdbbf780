"""What a session is doing, in one word. This module loads no pydantic."""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class SessionStatus(StrEnum):
    """What a session is doing."""

    ACTIVE = "active"
    """A process holds it, or held it and died."""
    PAUSED = "paused"
    """It waits to be resumed."""
    COMPLETED = "completed"
    """It ended well."""
    FAILED = "failed"
    """It ended with an error, or a sweep found its process dead."""
    CANCELLED = "cancelled"
    """A user or the system ended it."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Let pydantic write the word as the string that it is.

        pydantic would ask for ``.value``, which is Python code: an exception of a signal handler
        would get lost in there (see :mod:`sessionstore.model.codec`).
        """
        schema = handler(source)
        schema["serialization"] = {"type": "str"}
        return schema


FINISHED = frozenset({SessionStatus.COMPLETED, SessionStatus.CANCELLED})
"""The statuses of a session that somebody has ended: it runs again only on purpose."""
