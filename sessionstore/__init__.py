"""Durable session state for agents and workflow orchestrators.

Saved after every step, readable with ``cat`` and ``jq``, recovered after any crash, resumed by
exactly one process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sessionstore.errors import (
        ArchiveRefused,
        CancellationRequested,
        CheckpointNotFound,
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
        WatchTimedOut,
    )
    from sessionstore.model.checkpoint import Checkpoint
    from sessionstore.model.legacy import ExecutionResult, LegacyRun
    from sessionstore.model.liveness import Liveness, Verdict
    from sessionstore.model.state import (
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
    from sessionstore.model.summary import Page, SessionSummary
    from sessionstore.operations.cancel import Cancellation, CancelOutcome
    from sessionstore.operations.check.store import check_store
    from sessionstore.operations.diff import Difference, DifferenceKind, DiffSide, StateDiff
    from sessionstore.operations.doctor import diagnose
    from sessionstore.operations.explanation import Advice, Explanation, ResumeLoss, Situation
    from sessionstore.operations.fork import Fork
    from sessionstore.operations.history import History, HistoryEntry, HistoryEntryKind
    from sessionstore.operations.prune import Pruned, PruneReport
    from sessionstore.operations.recovery import RecoveryReport, SweptSession
    from sessionstore.operations.retention import RetentionPolicy
    from sessionstore.operations.stats import DayCount, SessionSize, StoreStats, Unfinished
    from sessionstore.operations.transfer.export import ExportReport
    from sessionstore.operations.transfer.import_ import ImportReport
    from sessionstore.operations.transfer.report import TransferredSession
    from sessionstore.operations.watch import SessionChange
    from sessionstore.session.session import Session
    from sessionstore.storage.backend import Backend
    from sessionstore.storage.files import FilesBackend
    from sessionstore.storage.memory import MemoryBackend
    from sessionstore.storage.report import CheckReport, Diagnosis, Finding, FindingKind, Fitness
    from sessionstore.storage.values import Usage
    from sessionstore.store.aio import AsyncSession, AsyncSessionStore
    from sessionstore.store.store import SessionStore

__version__ = "0.1.0"

__all__ = [
    "Advice",
    "ArchiveRefused",
    "AsyncSession",
    "AsyncSessionStore",
    "Backend",
    "CancelOutcome",
    "Cancellation",
    "CancellationRequested",
    "CheckReport",
    "Checkpoint",
    "CheckpointNotFound",
    "ClaimLost",
    "DayCount",
    "Diagnosis",
    "DiffSide",
    "Difference",
    "DifferenceKind",
    "DurabilityUncertain",
    "ExecutionResult",
    "Explanation",
    "ExportReport",
    "FilesBackend",
    "Finding",
    "FindingKind",
    "Fitness",
    "Fork",
    "History",
    "HistoryEntry",
    "HistoryEntryKind",
    "ImportReport",
    "InvalidQuery",
    "InvalidSessionId",
    "LegacyRun",
    "Liveness",
    "MemoryBackend",
    "NotResumable",
    "NotStorable",
    "Page",
    "Part",
    "PruneReport",
    "Pruned",
    "RecoveryReport",
    "ResumeLoss",
    "RetentionPolicy",
    "RevisionConflict",
    "Session",
    "SessionChange",
    "SessionClaimed",
    "SessionCorrupt",
    "SessionExists",
    "SessionMetrics",
    "SessionNotFound",
    "SessionOwner",
    "SessionProgress",
    "SessionRecovery",
    "SessionResult",
    "SessionSize",
    "SessionState",
    "SessionStatus",
    "SessionStore",
    "SessionStoreError",
    "SessionSummary",
    "SessionTimestamps",
    "Situation",
    "StateDiff",
    "StateTypeMismatch",
    "StorageError",
    "StoreStats",
    "SweptSession",
    "TransferredSession",
    "Unfinished",
    "Usage",
    "Verdict",
    "WatchTimedOut",
    "check_store",
    "diagnose",
]

# Loaded when first used, so that importing the package costs next to nothing: pydantic needs
# time to build the models, asyncio to load.
_HOMES = {
    "sessionstore.store.aio": (
        "AsyncSession",
        "AsyncSessionStore",
    ),
    "sessionstore.storage.backend": ("Backend",),
    "sessionstore.storage.values": ("Usage",),
    "sessionstore.storage.files": ("FilesBackend",),
    "sessionstore.storage.memory": ("MemoryBackend",),
    "sessionstore.model.checkpoint": ("Checkpoint",),
    "sessionstore.model.legacy": (
        "ExecutionResult",
        "LegacyRun",
    ),
    "sessionstore.errors": (
        "CancellationRequested",
        "CheckpointNotFound",
        "ArchiveRefused",
        "ClaimLost",
        "DurabilityUncertain",
        "InvalidQuery",
        "InvalidSessionId",
        "NotResumable",
        "NotStorable",
        "RevisionConflict",
        "SessionClaimed",
        "SessionCorrupt",
        "SessionExists",
        "SessionNotFound",
        "SessionStoreError",
        "StateTypeMismatch",
        "StorageError",
        "WatchTimedOut",
    ),
    "sessionstore.storage.report": (
        "CheckReport",
        "Diagnosis",
        "Finding",
        "FindingKind",
        "Fitness",
    ),
    "sessionstore.operations.cancel": (
        "CancelOutcome",
        "Cancellation",
    ),
    "sessionstore.operations.check.store": ("check_store",),
    "sessionstore.operations.doctor": ("diagnose",),
    "sessionstore.operations.diff": (
        "DiffSide",
        "Difference",
        "DifferenceKind",
        "StateDiff",
    ),
    "sessionstore.operations.explanation": (
        "Advice",
        "Explanation",
        "ResumeLoss",
        "Situation",
    ),
    "sessionstore.operations.fork": ("Fork",),
    "sessionstore.operations.history": (
        "History",
        "HistoryEntry",
        "HistoryEntryKind",
    ),
    "sessionstore.operations.stats": (
        "DayCount",
        "SessionSize",
        "StoreStats",
        "Unfinished",
    ),
    "sessionstore.operations.transfer.report": ("TransferredSession",),
    "sessionstore.operations.transfer.export": ("ExportReport",),
    "sessionstore.operations.transfer.import_": ("ImportReport",),
    "sessionstore.operations.prune": ("PruneReport", "Pruned"),
    "sessionstore.operations.retention": ("RetentionPolicy",),
    "sessionstore.operations.watch": ("SessionChange",),
    "sessionstore.model.liveness": (
        "Liveness",
        "Verdict",
    ),
    "sessionstore.model.summary": (
        "Page",
        "SessionSummary",
    ),
    "sessionstore.operations.recovery": (
        "RecoveryReport",
        "SweptSession",
    ),
    "sessionstore.session.session": ("Session",),
    "sessionstore.model.state": (
        "Part",
        "SessionMetrics",
        "SessionOwner",
        "SessionProgress",
        "SessionRecovery",
        "SessionResult",
        "SessionState",
        "SessionStatus",
        "SessionTimestamps",
    ),
    "sessionstore.store.store": ("SessionStore",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
