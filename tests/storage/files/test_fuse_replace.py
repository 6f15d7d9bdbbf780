"""FUSE hides a file that is open before it is replaced: a reader finds the session all the same."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from sessionstore import SessionCorrupt, SessionStore
from sessionstore.durable.directory import Directory


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


def test_a_reader_looks_again_where_the_new_state_is_listed_by_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that was hidden is gone by then: its last reader has closed it."""
    store = SessionStore(tmp_path / "store")
    store.create("goal", session_id="one").complete()
    state = tmp_path / "store/sessions/one/state.json"
    aside = tmp_path / "aside"
    state.rename(aside)
    real = Directory.names

    def names(self: Directory) -> list[str]:
        if aside.exists():
            aside.rename(state)
        return real(self)

    monkeypatch.setattr(Directory, "names", names)
    assert store.exists("one")
    state.rename(aside)
    assert store.load("one").goal_id == "goal"


def test_a_state_that_stays_hidden_is_damage(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "store")
    store.create("goal", session_id="one").complete()
    state = tmp_path / "store/sessions/one/state.json"
    state.rename(state.with_name(".fuse_hidden0000000200000001"))
    with pytest.raises(SessionCorrupt, match="missing"):
        store.load("one")
