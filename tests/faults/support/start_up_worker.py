"""A worker that goes on with every interrupted session of a store, until there is none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sessionstore import END, Session, SessionState, SessionStore
from tests.support.children import say

NODES = ("read", "plan", "write", "send")


def log(root: str, **fields: Any) -> None:
    """Add a line to the log that all workers share: one write, so that no line is torn."""
    line = " ".join(f"{name}={value}" for name, value in fields.items())
    fd = os.open(Path(root).parent / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(fd, f"{line} pid={os.getpid()}\n".encode())
    finally:
        os.close(fd)


def work_all(root: str) -> None:
    """Go through the loop of a start-up; say what was left out."""
    store = SessionStore(root, durability="process")
    loop = store.resume_interrupted(max_recoveries=1000)
    for session in loop:
        with session:
            log(root, began=session.session_id)
            work(session)
            session.complete({"nodes": len(session.state.progress.path)})
            log(root, completed=session.session_id)
    say(
        skipped=[[one.session_id, one.reason] for one in loop.skipped if not one.is_taken],
        taken=sum(one.is_taken for one in loop.skipped),
    )


def work(session: Session[SessionState]) -> None:
    """Go through the nodes, from where the session is to go on; save in the middle of each."""
    state = session.state
    while node := state.progress.resume_from or (NODES[0] if not state.progress.path else None):
        state.data_buffer[node] = f"half of {node}"
        session.save()
        state.data_buffer[node] = f"done by {os.getpid()}"
        after = NODES.index(node) + 1
        session.checkpoint(
            "node_complete", node=node, next_node=NODES[after] if after < len(NODES) else END
        )
