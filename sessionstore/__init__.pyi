"""The public names, for type checkers; at run time ``__init__.py`` loads each when it is used."""

from sessionstore.errors import (
    ArchiveRefused as ArchiveRefused,
    CancellationRequested as CancellationRequested,
    CheckpointNotFound as CheckpointNotFound,
    ClaimLost as ClaimLost,
    DurabilityUncertain as DurabilityUncertain,
    InvalidQuery as InvalidQuery,
    InvalidSessionId as InvalidSessionId,
    NotResumable as NotResumable,
    NotStorable as NotStorable,
    RevisionConflict as RevisionConflict,
    SessionClaimed as SessionClaimed,
    SessionCorrupt as SessionCorrupt,
    SessionEnded as SessionEnded,
    SessionExists as SessionExists,
    SessionNotFound as SessionNotFound,
    SessionStoreError as SessionStoreError,
    StateTypeMismatch as StateTypeMismatch,
    StepChanged as StepChanged,
    StepUnsettled as StepUnsettled,
    StorageError as StorageError,
    WatchTimedOut as WatchTimedOut,
)
from sessionstore.model.checkpoint import Checkpoint as Checkpoint
from sessionstore.model.ids import id_for as id_for
from sessionstore.model.journal import JournalRecord as JournalRecord
from sessionstore.model.legacy import ExecutionResult as ExecutionResult, LegacyRun as LegacyRun
from sessionstore.model.liveness import Liveness as Liveness, Verdict as Verdict
from sessionstore.model.plain import plain as plain
from sessionstore.model.state import (
    Part as Part,
    SessionMetrics as SessionMetrics,
    SessionOwner as SessionOwner,
    SessionProgress as SessionProgress,
    SessionRecovery as SessionRecovery,
    SessionResult as SessionResult,
    SessionState as SessionState,
    SessionTimestamps as SessionTimestamps,
)
from sessionstore.model.status import SessionStatus as SessionStatus
from sessionstore.model.step import (
    Step as Step,
    StepInfo as StepInfo,
    StepStatus as StepStatus,
)
from sessionstore.model.summary import Page as Page, SessionSummary as SessionSummary
from sessionstore.operations.cancel import (
    CancelOutcome as CancelOutcome,
    Cancellation as Cancellation,
)
from sessionstore.operations.check.store import check_store as check_store
from sessionstore.operations.diff import (
    DiffSide as DiffSide,
    Difference as Difference,
    DifferenceKind as DifferenceKind,
    StateDiff as StateDiff,
)
from sessionstore.operations.doctor import diagnose as diagnose
from sessionstore.operations.explanation import (
    Advice as Advice,
    Explanation as Explanation,
    ResumeLoss as ResumeLoss,
    Situation as Situation,
)
from sessionstore.operations.fork import Fork as Fork
from sessionstore.operations.history import (
    History as History,
    HistoryEntry as HistoryEntry,
    HistoryEntryKind as HistoryEntryKind,
)
from sessionstore.operations.prune import PruneReport as PruneReport, Pruned as Pruned
from sessionstore.operations.recovery import (
    RecoveryReport as RecoveryReport,
    SweptSession as SweptSession,
)
from sessionstore.operations.retention import RetentionPolicy as RetentionPolicy
from sessionstore.operations.start_up import (
    InterruptedSessions as InterruptedSessions,
    SkippedSession as SkippedSession,
)
from sessionstore.operations.stats import (
    DayCount as DayCount,
    SessionSize as SessionSize,
    StoreStats as StoreStats,
    Unfinished as Unfinished,
)
from sessionstore.operations.step_counts import OpenSteps as OpenSteps
from sessionstore.operations.transfer.export import ExportReport as ExportReport
from sessionstore.operations.transfer.import_ import ImportReport as ImportReport
from sessionstore.operations.transfer.report import TransferredSession as TransferredSession
from sessionstore.operations.watch import SessionChange as SessionChange
from sessionstore.session.journal import Journal as Journal, JournalView as JournalView
from sessionstore.session.position import END as END, End as End
from sessionstore.session.session import Session as Session
from sessionstore.storage.backend import Backend as Backend
from sessionstore.storage.files.backend import FilesBackend as FilesBackend
from sessionstore.storage.memory import MemoryBackend as MemoryBackend
from sessionstore.storage.report import (
    CheckReport as CheckReport,
    Diagnosis as Diagnosis,
    Finding as Finding,
    FindingKind as FindingKind,
    Fitness as Fitness,
)
from sessionstore.storage.values import Usage as Usage
from sessionstore.store.aio import AsyncSessionStore as AsyncSessionStore
from sessionstore.store.aio_journal import (
    AsyncJournal as AsyncJournal,
    AsyncJournalView as AsyncJournalView,
)
from sessionstore.store.aio_session import (
    AsyncInterruptedSessions as AsyncInterruptedSessions,
    AsyncSession as AsyncSession,
)
from sessionstore.store.store import SessionStore as SessionStore

__version__: str
