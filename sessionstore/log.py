"""Say what happens to whoever listens: silent until the application configures logging.

All of it goes to the logger ``sessionstore``. Besides its text every record has the attributes
``event`` (one of :data:`EVENTS`), ``session_id``, ``revision``, ``path`` and ``reason``, each None
where there is none, so that a formatter may name them all. Nothing is logged at levels above
WARNING: what an application must not miss is raised.
"""

from __future__ import annotations

import logging

EVENTS: dict[str, str] = {
    "session_marked": "Somebody said how a session ended that nobody held (reason).",
    "session_forked": "A new session was made from a kept state (reason: which).",
    "session_deleted": "A session was deleted, by its id.",
    "cancel_requested": "The process that holds a session was asked to end it (reason: who).",
    "claim_forced": "A session was taken, marked or deleted though its owner may live (reason).",
    "session_imported": "A session was taken in from an export.",
    "pruned": "A retention policy let a session or checkpoints go (reason).",
    "session_swept": "A recovery marked a session whose process died (reason: how that is known).",
    "state_repaired": "A check-up replaced a damaged state by a checkpoint (reason: the damage).",
    "checkpoints_kept": "Old checkpoints could not be removed (reason); there are too many now.",
    "cancelled_work_failed": "Work for a task that was cancelled meanwhile failed (reason).",
    "cancelled_undo_failed": "What a cancelled task would have got could not be undone (reason).",
    "index_compared": "The index is, or was, compared with all files (path, reason: why).",
    "index_changed_underneath": "Something else changed sessions (path): all are compared.",
    "index_removed": "The index could not be kept true, or was damaged (path, reason).",
    "index_not_used": "A listing read every file instead (path, reason: why).",
    "events_ended": "A watch gets no more events of the file system (reason): it polls.",
    "group_can_write": "The group can write to a directory of the store (path).",
}
"""What records tell of, by the name in ``record.event``."""

logger: logging.Logger = logging.getLogger("sessionstore")
logger.addHandler(logging.NullHandler())


def about(
    event: str,
    *,
    session_id: str | None = None,
    revision: int | None = None,
    path: str | None = None,
    reason: object = None,
) -> dict[str, object]:
    """Return the attributes of a record, to be passed as ``extra=``."""
    return {
        "event": event,
        "session_id": session_id,
        "revision": revision,
        "path": path,
        "reason": None if reason is None else str(reason),
    }
