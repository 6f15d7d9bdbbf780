"""What a session is doing, as one word; loads without pydantic, for who only needs the words."""

from __future__ import annotations

from enum import StrEnum


class SessionStatus(StrEnum):
    """What a session is doing."""

    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
