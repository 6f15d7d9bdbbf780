"""What the tests of operations share: a session that has been through something."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sessionstore import MemoryBackend, SessionState, SessionStore

Store = SessionStore[SessionState]


@pytest.fixture(params=["files", "memory"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    """A store, in each kind of place, with a session that has been through something."""
    store = SessionStore(tmp_path if request.param == "files" else MemoryBackend())
    session = store.create("goal", session_id="s1", entry_point="begin", input_data={"q": 1})
    session.state.data_buffer["fetch"] = {"score": 1, "pages": ["a", "b"]}
    step(session, "plan")
    session.checkpoint("node_complete", node="plan")
    step(session, "fetch")
    session.checkpoint("node_complete", node="fetch")
    session.state.data_buffer["fetch"]["score"] = 2
    session.state.data_buffer["fetch"]["pages"].append("c")
    session.state.data_buffer["a key"] = True
    session.save()
    with session:
        yield store


def step(session: Any, node: str) -> None:
    session.state.progress.path.append(node)
    session.state.progress.steps_executed += 1
