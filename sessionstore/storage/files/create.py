"""Create a session: build it aside and move it in, so that it exists complete or not at all.

It is built in trash/. So sessions/ never has half a session, also for other software and after a
crash. Where the application made the directory first, to put files there, only the state is moved
in, as the last step: until then the directory holds no session.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import suppress
from typing import NamedTuple

from sessionstore.durable import replace
from sessionstore.durable.directory import Directory
from sessionstore.durable.version import Version
from sessionstore.errors import SessionExists
from sessionstore.model.ids import random_hex
from sessionstore.storage.files import state_file
from sessionstore.storage.files.index import live_names
from sessionstore.storage.files.layout import JOURNALS, STATE, Layout, opened_trash
from sessionstore.storage.files.state_file import storage_errors
from sessionstore.storage.journal import NONE, Journals


class Built(NamedTuple):
    """A session that was moved in."""

    identity: tuple[int, int]
    """Of its directory."""
    state: Version
    """Of its state file."""
    token: str | None
    """Under which every index names it as live; None if one does not."""


def build_session(
    layout: Layout,
    session_id: str,
    payload: bytes,
    *,
    power: bool,
    two_flushes: str = "",
    journals: Journals = NONE,
) -> Built:
    """Create a session whose lock is held; with ``power`` it survives a power loss.

    ``two_flushes`` says why a save takes two of them, as for a Directory.

    Raises:
        SessionExists: there is one with this id, which stays unchanged.
        StorageError: the place refused.
    """
    new = _NewSession(layout, session_id, power=power)
    with (
        storage_errors("create", layout.session(session_id)),
        Directory(layout.sessions, two_flushes=two_flushes) as sessions,
        opened_trash(layout) as trash,
    ):
        try:
            new.build(trash, payload, journals, is_carried=power and sessions.commit_order.is_one)
            return new.move_in(trash, sessions)
        except BaseException as error:
            new.undo(trash, sessions)
            if isinstance(error, FileExistsError):
                raise SessionExists(session_id) from None
            raise


class _NewSession:
    """A session on its way from trash/ to its place."""

    def __init__(self, layout: Layout, session_id: str, *, power: bool) -> None:
        self._layout = layout
        self._id = session_id
        self._power = power
        self._aside = f"{replace.temporary_name()}-{session_id}"
        self._identity: tuple[int, int] | None = None
        """Of the directory that was built."""
        self._written: Version | None = None
        self._has_journals = False
        self._is_carried = False
        """Whether what was built is not flushed yet: the move of its directory carries it."""

    def build(
        self, trash: Directory, payload: bytes, journals: Journals, *, is_carried: bool
    ) -> None:
        """Build it aside, complete.

        With ``is_carried`` the flush of sessions/ makes it durable, once it was moved in.
        """
        self._is_carried = is_carried
        trash.make_directory(self._aside)
        with Directory(self._aside, trash) as directory:
            self._identity = directory.identity()
            directory.make_directory("checkpoints")
            self._written = replace.write_file(
                directory, STATE, payload, flush_file=self._power, is_carried=is_carried
            )
            if journals:
                from sessionstore.storage.files import journal_copy  # only a fork needs it

                journal_copy.write(directory, journals)
                self._has_journals = True
            if self._power and not is_carried:
                directory.flush()

    def move_in(self, trash: Directory, sessions: Directory) -> Built:
        """Give it its place.

        Raises:
            FileExistsError: there is a session, or something else than a directory.
        """
        assert self._identity is not None
        assert self._written is not None
        token = random_hex(8)
        try:
            with live_names.recorded_move(self._layout, self._id, token) as is_live:
                replace.move_new(trash, self._aside, sessions, self._id)
        except FileExistsError:
            if not stat.S_ISDIR(sessions.status(self._id).st_mode):
                raise
            with Directory(self._id, sessions) as directory:
                self._move_into(directory, trash, sessions, token)
                return Built(directory.identity(), self._written, token)
        if self._is_carried:
            with Directory(self._id, sessions) as directory:
                replace.flush_carrying(sessions, directory, STATE)
        elif self._power:
            sessions.flush()
        return Built(self._identity, self._written, token if is_live else None)

    def _move_into(
        self, directory: Directory, trash: Directory, sessions: Directory, token: str
    ) -> None:
        """Move the state into a directory that the application made; its files stay.

        Until the state is there, last, the directory holds no session.
        """
        if state_file.holds_session(directory.path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self._id)
        if self._is_carried:  # only its directory carries a file, and that one stays behind
            with Directory(self._aside, trash) as aside:
                replace.flush_file(aside, STATE)
        # It may belong to another user, who alone can change it: a check of the store says so.
        with suppress(OSError):
            sessions.settle(self._id)
        with suppress(FileExistsError):
            directory.make_directory("checkpoints")
        with suppress(OSError):
            directory.settle("checkpoints")
        if self._power:
            directory.flush()
            sessions.flush()
        # No session comes or goes in sessions/ itself, so the name alone tells the indexes.
        live_names.add(self._layout, self._id, token)
        with Directory(self._aside, trash) as aside:
            if self._has_journals:
                replace.move_new(aside, JOURNALS, directory, JOURNALS)
            try:
                replace.move_new(aside, STATE, directory, STATE)
            except BaseException:
                if self._has_journals:
                    replace.move_new(directory, JOURNALS, aside, JOURNALS)
                raise
        if self._power:
            directory.flush()
        shutil.rmtree(os.path.join(trash.path, self._aside), ignore_errors=True)

    def undo(self, trash: Directory, sessions: Directory) -> None:
        """Take back what may not be durable."""
        with suppress(OSError), Directory(self._id, sessions) as directory:
            if directory.identity() == self._identity:  # moved in, but not flushed
                replace.move_new(sessions, self._id, trash, self._aside)
            elif self._written and self._written.found_at(directory, STATE):
                with Directory(self._aside, trash) as aside:
                    replace.move_new(directory, STATE, aside, STATE)
        shutil.rmtree(os.path.join(trash.path, self._aside), ignore_errors=True)
