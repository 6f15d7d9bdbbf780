"""Build imported sessions aside, and move each one in whole.

All of them are in one directory in trash/, named like that of a session that is being created, and
guarded by a lock of its own. So a sweep can tell whether its process lives, and clean up.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from sessionstore.clock import Clock
from sessionstore.durable import replace
from sessionstore.durable.directory import Directory, made_below
from sessionstore.errors import SessionExists
from sessionstore.model.ids import random_hex
from sessionstore.model.journal import JournalRecord, Rewind
from sessionstore.model.state import SessionOwner
from sessionstore.process import identity
from sessionstore.storage.files import journal_copy
from sessionstore.storage.files.index import live_names
from sessionstore.storage.files.layout import STATE, Layout, opened_trash
from sessionstore.storage.files.lock import HeldLock
from sessionstore.storage.files.state_file import storage_errors
from sessionstore.storage.files.usage import walk
from sessionstore.storage.importer import SessionImporter

Acquire = Callable[[str, SessionOwner, float], HeldLock]


class FilesImporter(SessionImporter):
    """A directory beside the sessions, in which whole sessions are built."""

    def __init__(
        self, layout: Layout, acquire: Acquire, now: Clock, released: Callable[[str, str], None]
    ) -> None:
        self._layout = layout
        self._released = released
        self._acquire = acquire
        self._now = now
        name = f"import.{secrets.token_hex(8)}"
        self._lock = acquire(name, identity.new_owner(now()), 0.0)
        self._name = f"{replace.temporary_name()}-{name}"
        try:
            self._lock.confirm()
            with storage_errors("import into", layout.trash), opened_trash(layout) as trash:
                trash.make_directory(self._name)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def _aside(self, session_id: str) -> Iterator[Directory]:
        with (
            storage_errors("import", self._layout.session(session_id)),
            Directory(self._layout.trash) as trash,
            Directory(self._name, trash) as aside,
        ):
            yield aside

    @contextmanager
    def _below(self, session_id: str, places: Iterable[str]) -> Iterator[Directory]:
        """Yield a directory of a session that is being built; make it if it is missing."""
        with (
            self._aside(session_id) as aside,
            made_below(aside, (session_id, *places)) as directory,
        ):
            yield directory

    def put_state(self, session_id: str, payload: bytes) -> None:
        with self._below(session_id, ()) as directory:
            replace.write_file(directory, STATE, payload, flush_file=True)

    def put_checkpoint(self, session_id: str, checkpoint_id: str, payload: bytes) -> None:
        with self._below(session_id, ("checkpoints",)) as directory:
            replace.write_file(directory, f"{checkpoint_id}.json", payload, flush_file=True)

    def put_journal(
        self, session_id: str, name: str, batches: Iterable[Sequence[JournalRecord | Rewind]]
    ) -> None:
        with self._below(session_id, ()) as directory:
            journal_copy.write(directory, {name: batches})

    def put_file(
        self, session_id: str, name: str, pieces: Iterable[bytes], *, is_executable: bool
    ) -> None:
        *places, last = name.split("/")
        with self._below(session_id, places) as directory:
            replace.write_pieces(directory, last, pieces, is_executable=is_executable)

    def put_directory(self, session_id: str, name: str) -> None:
        with self._below(session_id, name.split("/")):
            pass

    def publish(self, session_id: str) -> None:
        if os.path.lexists(self._layout.session(session_id)):
            raise SessionExists(session_id)
        lock = self._acquire(session_id, identity.new_owner(self._now()), 0.0)
        token = random_hex(8)
        try:
            with self._below(session_id, ("checkpoints",)):
                pass  # every session of this package has that directory
            with self._aside(session_id) as aside:
                _flush_all(aside, session_id)
                with Directory(self._layout.sessions) as sessions:
                    self._move_in(aside, sessions, session_id, token)
        except BaseException:
            if not os.path.lexists(self._layout.session(session_id)):
                lock.remove_file()
            raise
        finally:
            lock.write_end(self._now())  # only a look: nobody held the session here
            lock.close()
        self._released(session_id, token)

    def _move_in(self, aside: Directory, sessions: Directory, session_id: str, token: str) -> None:
        try:
            with live_names.recorded_move(self._layout, session_id, token):
                replace.move_new(aside, session_id, sessions, session_id)
        except FileExistsError:
            raise SessionExists(session_id) from None
        try:
            sessions.flush()
            aside.flush()
        except BaseException:
            with suppress(OSError):  # it may not survive a power loss, so take it back
                replace.move_new(sessions, session_id, aside, session_id)
            raise

    def close(self) -> None:
        if self._lock.is_closed:
            return
        shutil.rmtree(os.path.join(self._layout.trash, self._name), ignore_errors=True)
        self._lock.remove_file()
        self._lock.close()


def _flush_all(aside: Directory, session_id: str) -> None:
    """Make every name in a session durable, and its own name."""
    with Directory(session_id, aside) as whole:
        for here, _, name, status in walk(whole):
            if stat.S_ISDIR(status.st_mode):
                with Directory(name, here) as inside:
                    inside.flush()
        whole.flush()
    aside.flush()
