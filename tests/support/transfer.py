"""A session with everything that an export has to carry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sessionstore import (
    SessionState,
    SessionStore,
)

Store = SessionStore[SessionState]


def full(store: Store, session_id: str = "s1") -> Path:
    """Make a session with checkpoints and with files of an application."""
    with store.create("goal", session_id=session_id) as session:
        for step in range(3):
            session.state.data_buffer["step"] = step
            session.checkpoint("step", node=f"n{step}")
        session.state.data_buffer["grüße"] = "\u202e\x1b"
        session.pause()
        directory = session.directory
    (directory / "work" / "deep").mkdir(parents=True)
    (directory / "work" / "deep" / "data.bin").write_bytes(bytes(range(256)) * 5000)
    (directory / "work" / "run.sh").write_text("#!/bin/sh\n")
    (directory / "work" / "run.sh").chmod(0o700)
    (directory / "empty").mkdir()
    (directory / "empty file").touch()
    (directory / "checkpoints" / "index.json").write_text("{}")
    return directory


def names(items: Any) -> list[str]:
    return [item.session_id for item in items]
