"""A short change of a session that nobody runs: stored whole at the end, or not at all."""

from __future__ import annotations

from typing import Generic

from sessionstore.errors import SessionExists, SessionNotFound
from sessionstore.log import log_session
from sessionstore.model import StateT, codec
from sessionstore.model.checkpoint import EDIT
from sessionstore.model.ids import parse_checkpoint_id
from sessionstore.model.state import SessionStatus
from sessionstore.session import verdict
from sessionstore.session.opener import SessionOpener
from sessionstore.session.prepared_write import Keep, PreparedWrite
from sessionstore.session.stamp import by_store
from sessionstore.session.writer import SessionWriter
from sessionstore.storage.turn import Turn


class SessionEdit(Generic[StateT]):
    """An edit that has begun: end it with a write, or discard it."""

    def __init__(self, writer: SessionWriter[StateT], *, is_new: bool) -> None:
        self.writer: SessionWriter[StateT] = writer
        self._is_new = is_new
        self._before = writer.encode()
        self._labels = dict(writer.state.labels)
        self._end: PreparedWrite | None = None

    def prepare(self) -> PreparedWrite | None:
        """Prepare to store the state and to end the claim; None if there is nothing to store.

        Raises:
            NotStorable: a value would not read back equal.
        """
        writer = self.writer
        if writer.is_released or writer.encode() == self._before:
            return None
        latest = writer.state.latest_checkpoint_id
        name = parse_checkpoint_id(latest) if latest is not None else None
        # Nothing was written since that edit: nobody has resumed it.
        is_unread = name is not None and name[::2] == (EDIT, writer.revision)
        # Labels go on through every resume. They do not change where the next one goes on from.
        if self._changed_labels_alone() and not is_unread:
            keep = writer.last_save()
        else:
            keep = Keep(EDIT, replaces=latest if is_unread else None)
        self._end = writer.prepare(by_store(writer.state), keep=keep, ending="its edit() ended")
        self._end.on_stored = self._log
        return self._end

    def _log(self, revision: int) -> None:
        log_session("session_edited", self.writer.session_id, "edited", revision=revision)

    def _changed_labels_alone(self) -> bool:
        with_old_labels = self.writer.state.model_copy(update={"labels": self._labels})
        return codec.encode(with_old_labels) == self._before

    def discard(self) -> None:
        """End the claim and store nothing; a session that was made for this edit is deleted.

        What is stored already stays: that may have been uncertain, or interrupted.
        """
        writer = self.writer
        try:
            is_stored = self._end is not None and writer.settle() >= self._end.revision
            if self._is_new and not (is_stored or writer.is_released):
                writer.delete()
        finally:
            writer.free()


def begin_edit(
    opener: SessionOpener[StateT],
    session_id: str,
    *,
    create: str | None,
    timeout: float,
    turn: Turn | None = None,
) -> SessionEdit[StateT]:
    """Claim the session, or create it, PAUSED, for the goal ``create``.

    If its process died, that goes on record first.

    Raises what :meth:`sessionstore.SessionStore.edit` raises.
    """
    while True:
        try:
            claim, state, died, asked = opener.claim_found(session_id, timeout, turn=turn)
        except SessionNotFound:
            if create is None:
                raise
            try:
                return SessionEdit(_create(opener, session_id, create), is_new=True)
            except SessionExists:  # somebody was faster: edit that one
                continue
        writer = opener.writer(claim, state)
        try:
            if died is not None:
                verdict.record_death(writer, died, asked)
            return SessionEdit(writer, is_new=False)
        except BaseException:
            writer.free()
            raise


def _create(opener: SessionOpener[StateT], session_id: str, goal_id: str) -> SessionWriter[StateT]:
    writer, running = opener.begin_create(goal_id, None, {"session_id": session_id})
    writer.abandon(running)
    writer.state.status = SessionStatus.PAUSED
    writer.state.timestamps.paused_at_time = writer.now()
    writer.finish_create(opener.backend, writer.begin_save())
    return writer
