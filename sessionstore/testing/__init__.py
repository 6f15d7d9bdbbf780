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

# Before they are imported: a failed assertion shall show its values outside of this package, too.
_TOPICS = (
    "awaiting",
    "cancelling",
    "checking",
    "claiming",
    "contending",
    "counting",
    "ending",
    "interrupting",
    "listing",
    "living",
    "measuring",
    "moving",
    "recovering",
    "resuming",
    "storing",
)
pytest.register_assert_rewrite(*(f"{__name__}.{topic}" for topic in _TOPICS))

from sessionstore.testing.aio import AwaitingContract  # noqa: E402 - after the line above
from sessionstore.testing.backend import StoringContract  # noqa: E402
from sessionstore.testing.cancel import CancellingContract  # noqa: E402
from sessionstore.testing.check import CheckingContract  # noqa: E402
from sessionstore.testing.claim import ClaimingContract  # noqa: E402
from sessionstore.testing.concurrency import ContendingContract  # noqa: E402
from sessionstore.testing.counting import CountingContract  # noqa: E402
from sessionstore.testing.ending import EndingContract  # noqa: E402
from sessionstore.testing.find import ListingContract  # noqa: E402
from sessionstore.testing.harness import BackendT, Harness  # noqa: E402
from sessionstore.testing.interrupting import InterruptingContract  # noqa: E402
from sessionstore.testing.lifecycle import LivingContract  # noqa: E402
from sessionstore.testing.measuring import MeasuringContract  # noqa: E402
from sessionstore.testing.recovery import RecoveringContract  # noqa: E402
from sessionstore.testing.resume import ResumingContract  # noqa: E402
from sessionstore.testing.transfer import MovingContract  # noqa: E402

__all__ = ["BackendContract", "Harness"]


class BackendContract(
    ClaimingContract[BackendT],
    StoringContract[BackendT],
    LivingContract[BackendT],
    MeasuringContract[BackendT],
    CountingContract[BackendT],
    MovingContract[BackendT],
    EndingContract[BackendT],
    ContendingContract[BackendT],
    ResumingContract[BackendT],
    ListingContract[BackendT],
    RecoveringContract[BackendT],
    CheckingContract[BackendT],
    CancellingContract[BackendT],
    InterruptingContract[BackendT],
    AwaitingContract[BackendT],
):
    """Everything that a backend, and a store over it, has to do."""
