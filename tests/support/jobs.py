"""A process that starts jobs by their ids, beside others that start the same ones."""

from __future__ import annotations

from sessionstore import SessionClaimed, SessionStore
from tests.support.children import messages, say


def start_each(root: str, *session_ids: str) -> None:
    """Start each job, and say of each what was met."""
    store = SessionStore(root, durability="process")
    say(ready=True)
    next(messages())
    met = []
    for session_id in session_ids:
        try:
            with store.create_or_resume(session_id, "job") as session:
                met.append("resumed" if session.is_resumed else "created")
        except SessionClaimed:
            met.append("SessionClaimed")
    say(met=met)
