"""Look at one session's file for the index: what it says, and whether it can still change."""

from __future__ import annotations

import stat
from typing import NamedTuple

from sessionstore.durable.directory import Directory, Signature
from sessionstore.durable.regular_file import read_regular
from sessionstore.errors import SessionCorrupt, SessionNotFound, StorageError
from sessionstore.model.status import SessionStatus
from sessionstore.model.stored import MAX_STATE_BYTES
from sessionstore.model.summary import SessionSummary, summarize
from sessionstore.storage.files import lock as locks
from sessionstore.storage.files import state_file
from sessionstore.storage.files.index import schema
from sessionstore.storage.files.index.schema import Row
from sessionstore.storage.files.layout import STATE, Layout


class Sighting(NamedTuple):
    """A session as its file told it."""

    item: SessionSummary
    signature: Signature | None
    """Of the file; None where it could not be read."""

    @property
    def may_settle(self) -> bool:
        """Whether only a holder of its lock would change it, as far as the state says.

        Whoever runs an ACTIVE session without an owner record holds no lock; and what is damaged
        is looked at each time, so that it is noticed when it was mended.
        """
        item = self.item
        return self.signature is not None and (
            item.status is not SessionStatus.ACTIVE or item.owner is not None
        )


class Eyes:
    """Looks at the sessions of one store through its open ``sessions/``."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._sessions = Directory(layout.sessions)
        try:
            self._locks: Directory | None = Directory(layout.locks)
        except OSError:  # nobody of ours has claimed anything yet
            self._locks = None

    def __enter__(self) -> Eyes:
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
        except OSError:
            return False
        return stat.S_ISDIR(mode) or stat.S_ISLNK(mode)

    def touch(self, session_id: str) -> None:
        """Have the system read the file, so that it is in memory when it is needed.

        Raises:
            OSError: it cannot be read.
        """
        read_regular(self._sessions, f"{session_id}/{STATE}", MAX_STATE_BYTES)

    def settled_row(self, session_id: str) -> Row | None:
        """Return the row of a session that is sound and that nobody holds; None: look closer.

        The path is believed, so the session was just seen to be a directory, and no link. The lock
        comes first, which saves a second look at the file: whoever claims the session after it
        was free makes its row live before the first save. So the row that is returned is true
        for one that was there before, and is still as it was; or if there is none.
        """
        from sessionstore.storage.files.index import glance  # pydantic: settled rows need none

        try:
            if self._locks is not None and not locks.is_free(self._locks, session_id):
                return None
            file = f"{session_id}/{STATE}"
            payload, signature = read_regular(self._sessions, file, MAX_STATE_BYTES)
        except OSError:
            return None
        return glance.settled_row(payload, session_id, signature)

    def read(self, session_id: str, *, is_directory: bool = False) -> Sighting | None:
        """Return what the file says; None if the session is gone.

        Of one that was just seen to be a directory, and no link, the path is believed: it takes
        half the time.
        """
        from sessionstore.model import codec  # pydantic: settled rows need none
        from sessionstore.model.state import SessionState

        # Named in errors only, and joined a million times for a new index: not by os.path.
        file = f"{self._sessions.path}/{session_id}/{STATE}"
        try:
            if is_directory:
                try:
                    name = f"{session_id}/{STATE}"
                    payload, signature = state_file.read(self._sessions, name, session_id)
                except FileNotFoundError:
                    return self.read(session_id)
            else:
                payload, signature = self._read_inside(session_id, file)
            state = codec.decode(payload, SessionState, session_id, file)
        except SessionNotFound:
            return None
        except SessionCorrupt as error:
            return Sighting(SessionSummary(session_id, damaged=error.reason), None)
        except OSError as error:
            return self._unread(session_id, error)
        return Sighting(summarize(state), signature)

    def _read_inside(self, session_id: str, file: str) -> tuple[bytes, Signature]:
        with Directory(session_id, self._sessions) as directory:
            try:
                return state_file.read(directory, STATE, session_id)
            except FileNotFoundError:
                if not self._is_same(session_id, directory):
                    raise SessionNotFound(session_id, self._layout.root) from None
                raise SessionCorrupt(session_id, file, "state.json is missing") from None

    def _is_same(self, session_id: str, directory: Directory) -> bool:
        try:
            status = self._sessions.status(session_id)
        except FileNotFoundError:
            return False
        return (status.st_dev, status.st_ino) == directory.identity()

    def _unread(self, session_id: str, error: OSError) -> Sighting | None:
        if not self.is_there(session_id):
            return None
        reason = state_file.describe_damage(error) or str(
            StorageError("open", self._layout.session(session_id), error)
        )
        return Sighting(SessionSummary(session_id, damaged=reason), None)

    def is_settled(self, seen: Sighting) -> bool:
        """Return whether nobody can have changed the file since, or will without the index.

        The lock has to be seen free after the file was read, and the file unchanged after that:
        whoever claims the session from then on makes its row live before the first save.
        """
        session_id = seen.item.session_id
        if not seen.may_settle:
            return False
        try:
            if self._locks is not None and not locks.is_free(self._locks, session_id):
                return False
        except OSError:
            return False
        return self.signature(session_id) == seen.signature


def last_row(layout: Layout, session_id: str, seen: Sighting | None) -> Row | None:
    """Return the row for a session that its holder is about to release, as it left it.

    ``seen`` is what it wrote last; without that the file is read. None: leave it to others.
    """
    if seen is None:
        try:
            with Eyes(layout) as eyes:
                seen = eyes.read(session_id)
        except OSError:
            return None
    if seen is None or seen.signature is None or seen.item.status is SessionStatus.ACTIVE:
        return None
    return schema.settled_row(seen.item, seen.signature)
