"""What the tests of hostile files share: every door to a session, and what damage means there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sessionstore import (
    SessionCorrupt,
    SessionStore,
    SessionStoreError,
)
from tests.faults.support.tally import tally
from tests.support.processes import (
    session_path,
    state_path,
)


def counted(cases: int, promise: int = 10) -> None:
    tally("corrupt inputs", promise=promise, cases=cases)


def checkpoint_path(root: Path, session_id: str = "s1") -> Path:
    (found,) = (session_path(root, session_id) / "checkpoints").iterdir()
    return found


def separate_checkpoint(root: Path) -> Path:
    """Return the checkpoint, which no longer shares its bytes with the state."""
    path = checkpoint_path(root)
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)
    return path


def outcomes(store: SessionStore[Any], session_id: str = "s1") -> dict[str, str]:
    """Use every door to a session; return how each answered. Nothing untyped may come out."""

    def taken(session: Any) -> None:
        session._writer.free()

    doors: dict[str, Callable[[], object]] = {
        "load": lambda: store.load(session_id),
        "liveness": lambda: store.liveness(session_id),
        "checkpoints": lambda: store.checkpoints(session_id),
        "load_checkpoint": lambda: store.load_checkpoint(session_id),
        "claim": lambda: taken(store.claim(session_id, force=True)),
        "find": lambda: store.find(limit=None),
        "recover": lambda: store.recover(dry_run=True),
    }
    answers, unprintable = dict[str, str](), 0
    for name, door in doors.items():
        try:
            door()
            answers[name] = "ok"
        except SessionStoreError as error:
            answers[name] = type(error).__name__
            unprintable += not str(error).isprintable()
    assert not unprintable
    return answers


def assert_damage(root: Path, reason: str = "") -> None:
    """Check that the state of s1 counts as damaged everywhere, is kept, and hides no other."""
    path = state_path(root, "s1")
    size = os.lstat(path).st_size
    store = SessionStore(root)
    with pytest.raises(SessionCorrupt) as caught:
        store.load("s1")
    assert reason in caught.value.reason
    answers = outcomes(store)
    for door in ("load", "liveness", "load_checkpoint", "claim"):
        assert answers[door] == "SessionCorrupt", (door, answers)
    assert answers["find"] == answers["recover"] == "ok"
    found = {item.session_id: item.damaged is not None for item in store.find().items}
    assert found == {"s1": True, "sound": False}
    with pytest.raises(SessionCorrupt):
        store.delete("s1")
    assert os.lstat(path).st_size == size
