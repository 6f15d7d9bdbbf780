"""Durable session state for agents and workflow orchestrators.

Saved after every step, readable with ``cat`` and ``jq``, recovered after any crash, resumed by
exactly one process.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Each public name is loaded when it is first used: pydantic needs time to build the models, and
# asyncio to load. `__init__.pyi` says the same to type checkers.
_PUBLIC = {
    "errors": (
        "ArchiveRefused",
        "CancellationRequested",
        "CheckpointNotFound",
        "ClaimLost",
        "DurabilityUncertain",
        "InvalidQuery",
        "InvalidSessionId",
        "NotResumable",
        "NotStorable",
        "RevisionConflict",
        "SessionClaimed",
        "SessionCorrupt",
        "SessionEnded",
        "SessionExists",
        "SessionNotFound",
        "SessionStoreError",
        "StateTypeMismatch",
        "StepChanged",
        "StepUnsettled",
        "StorageError",
        "WatchTimedOut",
    ),
    "model.checkpoint": ("Checkpoint",),
    "model.ids": ("id_for",),
    "model.journal": ("JournalRecord",),
    "model.legacy": ("ExecutionResult", "LegacyRun"),
    "model.liveness": ("Liveness", "Verdict"),
    "model.plain": ("plain",),
    "model.state": (
        "Part",
        "SessionMetrics",
        "SessionOwner",
        "SessionProgress",
        "SessionRecovery",
        "SessionResult",
        "SessionState",
        "SessionTimestamps",
    ),
    "model.status": ("SessionStatus",),
    "model.step": ("Step", "StepInfo", "StepStatus"),
    "model.summary": ("Page", "SessionSummary"),
    "storage.backend": ("Backend",),
    "storage.files.backend": ("FilesBackend",),
    "storage.memory": ("MemoryBackend",),
    "storage.report": ("CheckReport", "Diagnosis", "Finding", "FindingKind", "Fitness"),
    "storage.values": ("Usage",),
    "session.journal": ("Journal", "JournalView"),
    "session.position": ("END", "End"),
    "session.session": ("Session",),
    "operations.cancel": ("CancelOutcome", "Cancellation"),
    "operations.check.store": ("check_store",),
    "operations.diff": ("DiffSide", "Difference", "DifferenceKind", "StateDiff"),
    "operations.doctor": ("diagnose",),
    "operations.explanation": ("Advice", "Explanation", "ResumeLoss", "Situation"),
    "operations.fork": ("Fork",),
    "operations.history": ("History", "HistoryEntry", "HistoryEntryKind"),
    "operations.prune": ("PruneReport", "Pruned"),
    "operations.recovery": ("RecoveryReport", "SweptSession"),
    "operations.retention": ("RetentionPolicy",),
    "operations.start_up": ("InterruptedSessions", "SkippedSession"),
    "operations.stats": ("DayCount", "SessionSize", "StoreStats", "Unfinished"),
    "operations.step_counts": ("OpenSteps",),
    "operations.transfer.export": ("ExportReport",),
    "operations.transfer.import_": ("ImportReport",),
    "operations.transfer.report": ("TransferredSession",),
    "operations.watch": ("SessionChange",),
    "store.aio": ("AsyncSessionStore",),
    "store.aio_journal": ("AsyncJournal", "AsyncJournalView"),
    "store.aio_session": ("AsyncInterruptedSessions", "AsyncSession"),
    "store.store": ("SessionStore",),
}
_MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = sorted(_MODULE_OF)  # noqa: PLE0605 - the table is the list


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
