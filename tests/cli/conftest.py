"""Stores that the tests of several commands share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionstore import Session, SessionState, SessionStore
from tests.support.cli import put


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with a session that kept two checkpoints, saved once more, and failed."""
    with SessionStore(tmp_path).create("goal", session_id="s1") as session:
        session.state.data_buffer["score"] = 1
        session.checkpoint("node_complete", node="plan")
        session.state.data_buffer["score"] = 2
        session.checkpoint("node_complete", node="fetch")
        session.state.data_buffer["score"] = 3
        session.state.data_buffer["pages"] = ["x" * 60] * 100
        session.fail("by itself")
    return tmp_path


@pytest.fixture
def paused(tmp_path: Path) -> Path:
    """A store with a paused session and a torn one, and beside it an export of the former."""
    root = tmp_path / "store"
    with SessionStore(root).create("goal", session_id="s1") as session:
        session.checkpoint("node_complete", node="plan")
        session.pause()
    put(root, "torn", "{")
    assert SessionStore(root).export_sessions(tmp_path / "old.tar", ["s1"]).is_whole
    return root


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Session[SessionState]]:
    """A session that this very process holds, in a store at ``tmp_path / "store"``."""
    session = SessionStore(tmp_path / "store").create("a-goal", session_id="held")
    yield session
    session.release()
