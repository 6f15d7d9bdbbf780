"""The conformance suite: what every backend has to do, as tests that it passes by subclassing.

A backend proves itself with one class in its own tests::

    from sessionstore.testing import BackendContract

    class TestPostgres(BackendContract[PostgresBackend]):
        @pytest.fixture
        def backend(self, database: Database) -> PostgresBackend:
            return PostgresBackend(database.url)

        def reopen(self, backend: PostgresBackend) -> PostgresBackend:
            return PostgresBackend(backend.url)

        def read_raw(self, backend: PostgresBackend, session_id: str) -> bytes:
            ...  # past the backend: straight from the database

and so on for the other methods of :class:`~sessionstore.testing.harness.Harness`. Needs pytest
(the extra ``testing``).
"""

from __future__ import annotations

import pytest

# Before they are imported, so that a failed assertion shows its values in other projects, too.
_TOPICS = (
    "aio",
    "backend",
    "cancel",
    "check",
    "claim",
    "concurrency",
    "find",
    "harness",
    "journal",
    "journal_refusals",
    "journal_rewrite",
    "lifecycle",
    "recovery",
    "resume",
    "steps",
    "transfer",
)
pytest.register_assert_rewrite(*(f"{__name__}.{topic}" for topic in _TOPICS))

from sessionstore.testing.aio import AsyncContract  # noqa: E402 - after the line above
from sessionstore.testing.backend import StorageContract  # noqa: E402
from sessionstore.testing.cancel import CancelContract  # noqa: E402
from sessionstore.testing.check import CheckContract  # noqa: E402
from sessionstore.testing.claim import ClaimContract  # noqa: E402
from sessionstore.testing.concurrency import ConcurrencyContract  # noqa: E402
from sessionstore.testing.find import FindContract  # noqa: E402
from sessionstore.testing.harness import BackendT, Harness  # noqa: E402
from sessionstore.testing.journal import JournalContract  # noqa: E402
from sessionstore.testing.journal_refusals import JournalRefusalContract  # noqa: E402
from sessionstore.testing.journal_rewrite import JournalRewriteContract  # noqa: E402
from sessionstore.testing.lifecycle import LifecycleContract  # noqa: E402
from sessionstore.testing.recovery import RecoveryContract  # noqa: E402
from sessionstore.testing.resume import ResumeContract  # noqa: E402
from sessionstore.testing.steps import StepContract  # noqa: E402
from sessionstore.testing.transfer import TransferContract  # noqa: E402

__all__ = ["BackendContract", "Harness"]


class BackendContract(
    ClaimContract[BackendT],
    StorageContract[BackendT],
    LifecycleContract[BackendT],
    TransferContract[BackendT],
    ConcurrencyContract[BackendT],
    ResumeContract[BackendT],
    FindContract[BackendT],
    RecoveryContract[BackendT],
    CheckContract[BackendT],
    CancelContract[BackendT],
    JournalContract[BackendT],
    JournalRefusalContract[BackendT],
    JournalRewriteContract[BackendT],
    StepContract[BackendT],
    AsyncContract[BackendT],
):
    """Everything that a backend, and a store over it, has to do."""
