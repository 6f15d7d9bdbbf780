"""Durable session state for agents and workflow orchestrators.

Saved after every step, readable with ``cat`` and ``jq``, recovered after any crash, resumed by
exactly one process.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from sessionstore.backends.base import Backend
from sessionstore.checkpoints import Checkpoint
from sessionstore.conversions import ExecutionResult, LegacyRun
from sessionstore.errors import (
    ClaimLost,
    DurabilityUncertain,
    InvalidQuery,
    InvalidSessionId,
    NotResumable,
    NotStorable,
    RevisionConflict,
    SessionClaimed,
    SessionCorrupt,
    SessionExists,
    SessionNotFound,
    SessionStoreError,
    StateTypeMismatch,
    StorageError,
)
from sessionstore.owner import Liveness, Verdict
from sessionstore.query import Page, SessionSummary
from sessionstore.recovery import RecoveryReport, Swept
from sessionstore.session import Session
from sessionstore.state import (
    Part,
    SessionMetrics,
    SessionOwner,
    SessionProgress,
    SessionRecovery,
    SessionResult,
    SessionState,
    SessionStatus,
    SessionTimestamps,
)
from sessionstore.store import SessionStore

if TYPE_CHECKING:
    from sessionstore.aio import AsyncSession, AsyncSessionStore
    from sessionstore.backends.files import FilesBackend
    from sessionstore.backends.memory import MemoryBackend

__version__ = "0.1.0"

__all__ = [
    "AsyncSession",
    "AsyncSessionStore",
    "Backend",
    "Checkpoint",
    "ClaimLost",
    "DurabilityUncertain",
    "ExecutionResult",
    "FilesBackend",
    "InvalidQuery",
    "InvalidSessionId",
    "LegacyRun",
    "Liveness",
    "MemoryBackend",
    "NotResumable",
    "NotStorable",
    "Page",
    "Part",
    "RecoveryReport",
    "RevisionConflict",
    "Session",
    "SessionClaimed",
    "SessionCorrupt",
    "SessionExists",
    "SessionMetrics",
    "SessionNotFound",
    "SessionOwner",
    "SessionProgress",
    "SessionRecovery",
    "SessionResult",
    "SessionState",
    "SessionStatus",
    "SessionStore",
    "SessionStoreError",
    "SessionSummary",
    "SessionTimestamps",
    "StateTypeMismatch",
    "StorageError",
    "Swept",
    "Verdict",
]

# Loaded when first used: asyncio takes 30 ms, and most programs need one backend.
_ON_DEMAND = {
    "AsyncSession": "sessionstore.aio",
    "AsyncSessionStore": "sessionstore.aio",
    "FilesBackend": "sessionstore.backends.files",
    "MemoryBackend": "sessionstore.backends.memory",
}

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name in _ON_DEMAND:
        from importlib import import_module

        return getattr(import_module(_ON_DEMAND[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
