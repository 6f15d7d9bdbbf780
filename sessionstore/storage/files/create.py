"""Create a session: build it aside and move it in, so that it exists complete or not at all.

It is built in trash/. So every entry of sessions/ is a complete session, also for other software
and after a crash, and sessions/ changes only when a session comes or goes.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import NamedTuple

from sessionstore.durable import replace
from sessionstore.durable.directory import Directory, Signature
from sessionstore.errors import SessionExists
from sessionstore.model.ids import random_hex
from sessionstore.storage.files.index import live_names
from sessionstore.storage.files.layout import STATE, Layout, opened_trash
from sessionstore.storage.files.state_file import storage_errors


class Built(NamedTuple):
    """A session that was moved in."""

    identity: tuple[int, int]
    """Of its directory."""
    signature: Signature
    """Of its state."""
    token: str | None
    """Under which every index names it as live; None if one does not."""


def build_session(layout: Layout, session_id: str, payload: bytes, *, power: bool) -> Built:
    """Create a session whose lock is held; with ``power`` it survives a power loss.

    Raises:
        SessionExists: there is one with this id, which stays unchanged.
        StorageError: the place refused.
    """
    aside = f"{replace.temporary_name()}-{session_id}"
    identity: tuple[int, int] | None = None
    with (
        storage_errors("create", layout.session(session_id)),
        Directory(layout.sessions) as sessions,
        opened_trash(layout) as trash,
    ):
        try:
            trash.make_directory(aside)
            with Directory(aside, trash) as directory:
                identity = directory.identity()
                directory.make_directory("checkpoints")
                written = replace.write_file(directory, STATE, payload, flush_file=power)
                if power:
                    directory.flush()
            token = random_hex(8)
            with live_names.recorded_move(layout, session_id, token) as is_live:
                replace.move_new(trash, aside, sessions, session_id)
            if power:
                sessions.flush()
        except BaseException as error:
            _undo(sessions, trash, aside, session_id, identity)
            if isinstance(error, FileExistsError):
                raise SessionExists(session_id) from None
            raise
        return Built(identity, written, token if is_live else None)


def _undo(
    sessions: Directory,
    trash: Directory,
    aside: str,
    session_id: str,
    identity: tuple[int, int] | None,
) -> None:
    """Take back a session that may not be durable."""
    with suppress(OSError):
        status = sessions.status(session_id)
        if (status.st_dev, status.st_ino) == identity:  # moved in, but not flushed
            replace.move_new(sessions, session_id, trash, aside)
    shutil.rmtree(os.path.join(trash.path, aside), ignore_errors=True)
