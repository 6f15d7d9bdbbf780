"""FUSE hides a file that is open before it is replaced: a reader finds the session all the same."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from sessionstore import SessionCorrupt, SessionStore


def test_a_reader_waits_for_a_state_that_is_hidden_for_an_instant(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "store")
    store.create("goal", session_id="one").complete()
    state = tmp_path / "store/sessions/one/state.json"
    hidden = state.with_name(".fuse_hidden0000000200000001")
    state.rename(hidden)
    back = threading.Timer(0.05, hidden.rename, [state])
    back.start()
    assert store.exists("one")
    assert store.load("one").goal_id == "goal"
    back.join()


def test_a_state_that_stays_hidden_is_damage(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "store")
    store.create("goal", session_id="one").complete()
    state = tmp_path / "store/sessions/one/state.json"
    state.rename(state.with_name(".fuse_hidden0000000200000001"))
    with pytest.raises(SessionCorrupt, match="missing"):
        store.load("one")
