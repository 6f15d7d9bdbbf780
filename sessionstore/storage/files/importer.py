"""Whole sessions out and in: read what an application keeps, and build sessions aside.

What is being brought in lies in one directory in trash/, named like one of a session that is
being made, and guarded by a lock of its own: whoever tidies up after a dead process finds it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

from sessionstore.clock import Clock
from sessionstore.durable import replace
from sessionstore.durable.directory import Directory, made_below
from sessionstore.errors import SessionExists
from sessionstore.model.state import SessionOwner
from sessionstore.process import identity
from sessionstore.storage.files.layout import STATE, Layout, opened_trash
from sessionstore.storage.files.lock import HeldLock
from sessionstore.storage.files.state_file import storage_errors
from sessionstore.storage.files.usage import walk
from sessionstore.storage.importer import SessionImporter

if TYPE_CHECKING:  # it loads sqlite3, which a store that nobody lists never needs
    from sessionstore.storage.files.index.index import Index

Acquire = Callable[[str, SessionOwner, float], HeldLock]


# --- out ----------------------------------------------------------------------------------------


# --- in -----------------------------------------------------------------------------------------


class FilesImporter(SessionImporter):
    """A directory beside the sessions, in which whole ones are built."""

    def __init__(
        self,
        layout: Layout,
        acquire: Acquire,
        now: Clock,
        index: Callable[[], Index | None],
    ) -> None:
        self._layout = layout
        self._index = index
        self._acquire = acquire
        self._now = now
        name = f"import.{secrets.token_hex(8)}"
        self._lock = acquire(name, identity.new_owner(now()), 0.0)
        self._name = f"{replace.temporary_name()}-{name}"
        try:
            self._lock.confirm()
            with (
                storage_errors("import into", layout.trash),
                opened_trash(layout) as trash,
            ):
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
        """Yield a directory of a session that is being built; it is made if it is not there."""
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
        try:
            with self._below(session_id, ("checkpoints",)):
                pass  # a session of ours has that directory
            with self._aside(session_id) as aside:
                _flush_all(aside, session_id)
                with Directory(self._layout.sessions) as sessions:
                    self._move_in(aside, sessions, session_id)
        except BaseException:
            if not os.path.lexists(self._layout.session(session_id)):
                lock.remove_file()
            raise
        finally:
            lock.write_end(self._now())  # it was only a look: nobody has held the session here
            lock.close()

    def _move_in(self, aside: Directory, sessions: Directory, session_id: str) -> None:
        index = self._index()
        try:
            # Its row is live: whoever lists next reads the file, and settles it.
            with index.adding(session_id) if index else nullcontext():
                replace.move_new(aside, session_id, sessions, session_id)
        except FileExistsError:
            raise SessionExists(session_id) from None
        try:
            sessions.flush()
            aside.flush()
        except BaseException:
            with suppress(OSError):  # it might not survive a power loss: take it back
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
