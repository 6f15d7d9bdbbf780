"""A process that edits a session again and again, beside others that do the same."""

from __future__ import annotations

from sessionstore import SessionStore
from tests.support.children import messages, say


def append_numbers(root: str, session_id: str, count: str) -> None:
    """Append numbers, each in an edit of its own; whoever comes first creates the session."""
    store = SessionStore(root, durability="process")
    say(ready=True)
    next(messages())
    for number in range(int(count)):
        with store.edit(session_id, create="count", timeout=120.0) as session:
            session.state.data_buffer.setdefault("numbers", []).append(number)
    say(done=int(count))
