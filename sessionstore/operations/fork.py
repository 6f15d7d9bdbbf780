"""Fork a session: begin a new one from a checkpoint, and find the forks of a session."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sessionstore import clock
from sessionstore.errors import SessionCorrupt, SessionNotFound, SessionStoreError, StorageError
from sessionstore.log import log_session
from sessionstore.model import mending
from sessionstore.model.ids import check_id, make_session_id
from sessionstore.model.query import SessionQuery
from sessionstore.model.state import SessionResult, SessionState, SessionStatus
from sessionstore.operations import checkpoint_names, journal_copy
from sessionstore.session import create, inspect
from sessionstore.session.prepared_write import Keep
from sessionstore.session.writer import SessionWriter
from sessionstore.storage.backend import Backend
from sessionstore.storage.report import Progress

FORK = "fork"
"""The type of the first checkpoint of a fork."""


@dataclass(frozen=True, slots=True)
class Fork:
    """A session that began from a checkpoint of another one."""

    session_id: str
    """The new session."""
    parent: str
    """The session from which it was forked."""
    checkpoint_id: str | None = None
    """The checkpoint of the parent from which it began; None for the state that was saved last."""
    revision: int | None = None
    """The revision in that checkpoint; None for one of the original framework."""
    at: str = ""
    """When it was forked, ISO 8601."""

    @property
    def origin(self) -> str:
        """The state of the parent from which it began, in words."""
        return f"{self.parent} at {self.checkpoint_id or 'its last save'}"


def fork(
    backend: Backend, session_id: str, *, checkpoint_id: str | None, new_id: str | None
) -> str:
    """Make the new session; return its id."""
    chosen, state, current = _kept_state(backend, session_id, checkpoint_id)
    journals = journal_copy.for_fork(backend, current, state, is_current=chosen is None)
    now = backend.clock()
    text = clock.to_text(now)
    state.forked_from = {
        "session_id": session_id,
        "incarnation": state.incarnation,
        "checkpoint_id": chosen,
        "revision": state.revision if state.incarnation is not None else None,
        "at": text,
    }
    state.session_id = make_session_id(now) if new_id is None else check_id(new_id)
    state.status = SessionStatus.PAUSED  # nobody runs it, and it can be resumed
    state.result = SessionResult()
    state.recovery = None
    state.timestamps.started_at = text
    state.timestamps.completed_at = None
    state.timestamps.paused_at_time = text
    first = create.first_state(SessionState, None, state, {}, now)
    writer = SessionWriter(
        None, first, clock=backend.clock, backend=backend, owner=backend.new_owner(now)
    )
    writer.finish_create(backend, writer.begin_save(), journals)
    try:
        # A checkpoint of its own, so that it can be resumed without its parent.
        writer.run(lambda: writer.prepare((), keep=Keep(FORK)))
    except BaseException:
        with suppress(SessionStoreError):  # whole or not at all
            writer.claim.delete()
        raise
    finally:
        writer.free()
    log_session(
        "session_forked",
        first.session_id,
        "forked from %s at %s",
        session_id,
        chosen or "its last save",
        revision=writer.revision,
        reason=f"from {session_id} at {chosen or 'its last save'}",
    )
    return first.session_id


def _kept_state(
    backend: Backend, session_id: str, named: str | None
) -> tuple[str | None, SessionState, SessionState | None]:
    """Return the checkpoint to fork, its state, and the stored state, None if that is damaged.

    The id of the checkpoint is None for the state that was saved last.
    """
    current: SessionState | None = None
    try:
        current = inspect.read_base(backend, session_id)[0]
    except SessionCorrupt:
        if named is None:
            raise
        # A sound checkpoint of a damaged session can be forked.
    if named is not None:
        chosen = checkpoint_names.find_checkpoint(backend, session_id, named)
    else:
        assert current is not None  # else it was raised
        latest = inspect.Resumability.named(current)
        if latest.is_from_last_save:
            return None, current, current
        chosen = check_id(latest.checkpoint_id, kind="checkpoint id")
    kept = checkpoint_names.load(backend, session_id, chosen, current)
    if current is not None:
        kept.labels = current.labels  # as in a resume: whichever checkpoint is taken
    return chosen, kept, current


def forks(backend: Backend, session_id: str, progress: Progress | None = None) -> list[Fork]:
    """Return the sessions that were forked from this one, oldest first."""
    incarnation: str | None = None
    with suppress(SessionStoreError):  # it may be damaged or deleted, and have forks
        incarnation = inspect.read_base(backend, session_id)[0].incarnation
    # A damaged state may still name its parent.
    query = SessionQuery(equal=(("forked_from", session_id),), keeps_damaged=True, limit=None)
    found: list[Fork] = []
    done = 0
    for done, item in enumerate(backend.select(query), 1):
        if progress:
            progress(done - 1, done)
        try:
            lineage = _lineage(backend.read(item.session_id).payload)
        except (SessionNotFound, SessionCorrupt, StorageError):
            continue  # a check names what is wrong with it
        if lineage is None or lineage.get("session_id") != session_id:
            continue
        # A fork of another session that had this id before.
        if None not in (incarnation, lineage.get("incarnation")) and (
            lineage["incarnation"] != incarnation
        ):
            continue
        if (one := to_fork(item.session_id, lineage)) is not None:
            found.append(one)
    if progress:
        progress(done, done)
    return sorted(found, key=lambda item: (item.at, item.session_id))


def _lineage(payload: bytes) -> dict[str, Any] | None:
    try:
        raw = mending.parse(payload)
    except ValueError:
        return None
    lineage = raw.get("forked_from") if isinstance(raw, dict) else None
    return lineage if isinstance(lineage, dict) else None


def to_fork(session_id: str, lineage: dict[str, Any] | None) -> Fork | None:
    """Return the fork that ``forked_from`` of a session describes; None if it makes no sense."""
    if lineage is None or not isinstance(lineage.get("session_id"), str):
        return None
    checkpoint_id, revision, at = (lineage.get(key) for key in ("checkpoint_id", "revision", "at"))
    return Fork(
        session_id,
        lineage["session_id"],
        checkpoint_id if isinstance(checkpoint_id, str) else None,
        revision if type(revision) is int else None,
        at if isinstance(at, str) else "",
    )
