"""What a session is doing, as one word; loads without pydantic, for who only needs the words."""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class SessionStatus(StrEnum):
    """What a session is doing."""

    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Have the word written as the string that it is.

        pydantic would ask for ``.value``, which is Python code: what a signal handler raises in
        there is lost (see :mod:`sessionstore.model.codec`).
        """
        schema = handler(source)
        schema["serialization"] = {"type": "str"}
        return schema
