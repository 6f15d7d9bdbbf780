"""The log of the package, which is silent until the application configures logging.

The logger is ``sessionstore``. Beside its text every record has the attributes ``event`` (one of
:data:`EVENTS`), ``session_id``, ``revision``, ``path`` and ``reason``. Each is None where it does
not apply, so that a formatter may name them all. No record is above WARNING: an error that an
application must not miss is raised.
"""

from __future__ import annotations

import logging

EVENTS: dict[str, str] = {
    "session_marked": "Somebody marked how an unclaimed session ended (reason).",
    "session_forked": "A new session was made from a checkpoint or state (reason: which).",
    "session_edited": "An edit of an unclaimed session was stored.",
    "session_interrupted": "A session was stopped, or its dead process found by a claim (reason).",
    "journal_rewound": "Records of a journal count no more: a resume or rewrite (reason: which).",
    "step_kept": "A step returned, and its result is kept (reason: its name).",
    "step_replayed": "A kept result was returned, and the step not called (reason: its name).",
    "step_unsettled": "A step was refused: nobody knows what came of it (reason: its name).",
    "session_deleted": "A session was deleted.",
    "session_retried": "Somebody let a session be tried again (reason: what went wrong before).",
    "cancel_requested": "Somebody asked the holder of a session to end it (reason: who).",
    "claim_forced": "A session was claimed, marked or deleted though its owner may live (reason).",
    "session_imported": "A session was imported from an export.",
    "pruned": "A retention policy removed a session or checkpoints (reason).",
    "session_swept": "A sweep marked a session whose process died (reason: how that is known).",
    "start_up_skipped": "A start-up did not resume an interrupted session (reason).",
    "state_repaired": "A check replaced a damaged state by a checkpoint (reason: the damage).",
    "foreign_values": "A write replaces what JSON lacks in foreign files (reason: the values).",
    "journal_short": "The end of a journal that a save counted was lost (path).",
    "checkpoints_kept": "Old checkpoints could not be removed, and exceed the limit (reason).",
    "cancelled_work_failed": "An operation failed after its task was cancelled (reason).",
    "cancelled_undo_failed": "Rolling back a cancelled operation failed (reason).",
    "index_compared": "The index is or was compared with all files (path, reason: why).",
    "index_changed_underneath": "Other software changed sessions (path): all files are compared.",
    "index_removed": "The index was removed: damaged, or not updated (path, reason).",
    "index_not_used": "A listing read every file instead of the index (path, reason: why).",
    "events_ended": "The file system sends a watch no more events: it polls (reason).",
    "modes_have_no_effect": "Others can write to a directory of the store, by its mount (path).",
    "group_can_write": "The group can write to a directory of the store (path).",
}
"""What each event tells, by the name in ``record.event``."""

logger: logging.Logger = logging.getLogger("sessionstore")
logger.addHandler(logging.NullHandler())


def log_session(
    event: str,
    session_id: str,
    text: str,
    *details: object,
    revision: int | None = None,
    reason: object = None,
) -> None:
    """Log what happened to a session: its id, then ``text``, into which ``details`` are put."""
    if not logger.isEnabledFor(logging.INFO):
        return  # a step that is replayed would spend its time here
    extra = about(event, session_id=session_id, revision=revision, reason=reason)
    logger.info(f"%s: {text}", session_id, *details, extra=extra, stacklevel=2)


def about(
    event: str,
    *,
    session_id: str | None = None,
    revision: int | None = None,
    path: str | None = None,
    reason: object = None,
) -> dict[str, object]:
    """Return the attributes of a record, for ``extra=``."""
    return {
        "event": event,
        "session_id": session_id,
        "revision": revision,
        "path": path,
        "reason": None if reason is None else str(reason),
    }
