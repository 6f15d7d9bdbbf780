"""Look at one session's file for the index: what it says, and whether somebody holds it."""

from __future__ import annotations

import stat
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from sessionstore.durable.directory import Directory, Signature
from sessionstore.errors import SessionCorrupt, SessionNotFound, StorageError
from sessionstore.model.status import SessionStatus
from sessionstore.model.summary import SessionSummary, summarize
from sessionstore.storage.files import journal_activity, state_file
from sessionstore.storage.files import lock as locks
from sessionstore.storage.files.index.schema import Row, row_of
from sessionstore.storage.files.layout import STATE, Layout

if TYPE_CHECKING:
    from sessionstore.model.state import SessionState


LOOKS = 10
"""How often a session is read that was made anew while it was read."""


class Observation(NamedTuple):
    """A session as its file told it."""

    session_id: str
    state: SessionState | None
    """None where it could not be read."""
    signature: Signature | None = None
    damaged: str | None = None
    appended_at: str | None = None
    """When it was last appended to one of its journals."""

    @property
    def item(self) -> SessionSummary:
        """What a listing shows of it."""
        if self.state is None:
            return SessionSummary(self.session_id, damaged=self.damaged)
        return summarize(self.state, self.appended_at)

    def row(self) -> Row | None:
        """Return the row for it; None where something else than a holder of its lock may change it.

        Whoever runs an ACTIVE session without an owner record holds no lock; and what is damaged
        is looked at each time, so that it is noticed when it was mended.
        """
        state = self.state
        if state is None or (state.status is SessionStatus.ACTIVE and state.owner is None):
            return None
        assert self.signature is not None
        return row_of(state, self.signature, self.appended_at)


@cache
def _decode() -> Callable[[bytes, str, str], SessionState]:
    """Return what reads a state: found once, and not before a file has to be read."""
    from sessionstore.model import codec  # pydantic: rows need none
    from sessionstore.model.state import SessionState

    return lambda payload, session_id, file: codec.decode(payload, SessionState, session_id, file)


class SessionObserver:
    """Looks at the sessions of one store through its open ``sessions/``."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._sessions = Directory(layout.sessions)
        try:
            self._locks: Directory | None = Directory(layout.locks)
        except OSError:  # nobody of ours has claimed anything yet
            self._locks = None

    def __enter__(self) -> SessionObserver:
        return self

    def __exit__(self, *_: object) -> None:
        self._sessions.close()
        if self._locks is not None:
            self._locks.close()

    def signature(self, session_id: str) -> Signature | None:
        """Return what the file looks like now, or None if it cannot be looked at."""
        try:
            status = self._sessions.status(f"{session_id}/{STATE}")
        except OSError:
            return None
        return Signature.of(status)

    def is_there(self, session_id: str) -> bool:
        """Return whether the session is there, damaged or not."""
        try:
            mode = self._sessions.status(session_id).st_mode
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return stat.S_ISDIR(mode) or stat.S_ISLNK(mode)

    def is_free(self, session_id: str) -> bool:
        """Return whether nobody holds the session. False says little: others look, too."""
        try:
            return self._locks is None or locks.is_free(self._locks, session_id)
        except OSError:
            return False

    def read(self, session_id: str, *, is_directory: bool = False) -> Observation | None:
        """Return what the file says; None if the session is gone.

        ``is_directory`` says that it was just seen to be a directory, and no link.
        """
        # Named in errors only, and joined a million times for a new index: not by os.path.
        file = f"{self._sessions.path}/{session_id}/{STATE}"
        for _ in range(LOOKS):
            try:
                payload, signature = self._read_file(session_id, file, is_directory)
                state = _decode()(payload, session_id, file)
            except SessionNotFound:
                return None
            except SessionCorrupt as error:
                return Observation(session_id, None, damaged=error.reason)
            except FileNotFoundError as error:
                # The directory is gone. If it is there again, the session was made anew: read that.
                gone, is_directory = error, False
                if not self.is_there(session_id):
                    return None
            except OSError as error:
                return self._unread(session_id, error)
            else:
                appended_at = journal_activity.last_appended_at(self._sessions, session_id)
                return Observation(session_id, state, signature, appended_at=appended_at)
        return self._unread(session_id, gone)

    def _read_file(self, session_id: str, file: str, is_directory: bool) -> tuple[bytes, Signature]:
        # The path of a directory is believed: to open each of them takes twice the time.
        if is_directory or stat.S_ISDIR(self._sessions.status(session_id).st_mode):
            try:
                return state_file.read(self._sessions, f"{session_id}/{STATE}", session_id)
            except FileNotFoundError:
                pass
        with Directory(session_id, self._sessions) as directory:
            try:
                found = state_file.read_state(directory, session_id)
            except FileNotFoundError:
                found = None
                if self._is_same(session_id, directory):
                    raise SessionCorrupt(session_id, file, "state.json is missing") from None
            if found is None:
                raise SessionNotFound(session_id, self._layout.root)
            return found

    def _is_same(self, session_id: str, directory: Directory) -> bool:
        try:
            status = self._sessions.status(session_id)
        except FileNotFoundError:
            return False
        return (status.st_dev, status.st_ino) == directory.identity()

    def _unread(self, session_id: str, error: OSError) -> Observation | None:
        if not self.is_there(session_id):
            return None
        reason = state_file.describe_damage(error) or str(
            StorageError("open", self._layout.session(session_id), error)
        )
        return Observation(session_id, None, damaged=reason)
