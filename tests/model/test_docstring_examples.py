"""Each example in a docstring of the model runs, on a store with one session that is paused."""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from sessionstore import Checkpoint, Liveness, MemoryBackend, Page, SessionState, SessionStore, Step
from sessionstore.model.query import Filters
from sessionstore.model.summary import SessionSummary

CALLED = (
    Checkpoint,
    Filters,
    Liveness,
    Page,
    SessionState,
    SessionState.from_execution_result,
    SessionState.from_legacy_run,
    SessionSummary,
    Step,
)
RESULT = SimpleNamespace(
    success=True, output={}, error=None, steps_executed=1, total_tokens=0, total_latency_ms=0,
    path=["a"], paused_at=None, session_state=None, total_retries=0, nodes_with_failures=[],
    retry_details={}, had_partial_failures=False, execution_quality="clean", node_visit_counts={},
)  # fmt: skip


@pytest.fixture
def names() -> Iterator[dict[str, Any]]:
    """The names that the examples use: a store with the session that they speak of."""
    with SessionStore(MemoryBackend()) as store:
        with store.create("triage", session_id="ticket-1") as session:
            session.checkpoint("node_complete", node="classify")
            session.pause("ask")
        executor = SimpleNamespace(run=lambda: RESULT)
        yield {"store": store, "SessionState": SessionState, "Step": Step, "executor": executor}


@pytest.mark.parametrize("called", CALLED, ids=lambda called: called.__qualname__)
def test_an_example_runs_and_prints_what_it_says(called: Any, names: dict[str, Any]) -> None:
    text = inspect.getdoc(called) or ""
    example = doctest.DocTestParser().get_doctest(text, names, called.__qualname__, None, 0)
    assert example.examples
    said: list[str] = []
    doctest.DocTestRunner().run(example, out=said.append)
    assert not said, "".join(said)
