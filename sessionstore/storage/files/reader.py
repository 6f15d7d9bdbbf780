"""Read the files of sessions without a lock: complete, and never older than one read before."""

from __future__ import annotations

import errno
import os
import stat
from abc import ABC
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sessionstore.durable.directory import Directory, Signature
from sessionstore.errors import SessionCorrupt, SessionNotFound, SessionStoreError, StorageError
from sessionstore.model.ids import is_id
from sessionstore.model.journal import Position, Rewind
from sessionstore.model.stored import Stored
from sessionstore.storage.backend import Backend
from sessionstore.storage.files import root, state_file
from sessionstore.storage.files.layout import STATE, Layout, refuse_link
from sessionstore.storage.files.state_file import storage_errors
from sessionstore.storage.journal import Batch
from sessionstore.storage.values import ApplicationFile, Usage

if TYPE_CHECKING:
    from sessionstore.model.journal_view import Item


class FilesReader(Backend, ABC):
    """The half of the files backend that only reads: it changes and claims nothing."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def ids(self) -> Iterator[str]:
        refuse_link(self._layout.sessions)
        refuse_link(self._layout.locks)
        try:
            entries = os.scandir(self._layout.sessions)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError("list", self._layout.sessions, error) from error
        with storage_errors("list", self._layout.sessions), entries:
            for entry in entries:
                if is_id(entry.name) and (
                    state_file.holds_session(entry.path)
                    if entry.is_dir(follow_symlinks=False)
                    else entry.is_symlink()
                ):
                    yield entry.name

    def exists(self, session_id: str) -> bool:
        return self._directory_status(session_id) is not None

    def _directory_status(self, session_id: str) -> os.stat_result | None:
        """Return the status of the session's directory, or of the link in its place.

        None where there is neither, and for a directory that holds no session yet.
        """
        refuse_link(self._layout.sessions)
        path = self._layout.session(session_id)
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StorageError("look at", path, error) from error
        if stat.S_ISDIR(status.st_mode):
            return status if state_file.holds_session(path) else None
        return status if stat.S_ISLNK(status.st_mode) else None

    def read(self, session_id: str) -> Stored:
        with self._opened(session_id) as directory, storage_errors("read", directory.path):
            try:
                found = state_file.read_state(directory, session_id)
            except FileNotFoundError:
                file = self._layout.state(session_id)
                lost = SessionCorrupt(session_id, file, "state.json is missing")
                raise self._missing(directory, lost) from None
        if found is None:
            raise SessionNotFound(session_id, self)
        return Stored(found[0], self._layout.state(session_id))

    def _missing(self, directory: Directory, lost: SessionCorrupt) -> SessionStoreError:
        """Return the error for a file that is missing in a session's open directory."""
        # A delete moves the directory away before it removes what is in it.
        status = self._directory_status(lost.session_id)
        if status is None or (status.st_dev, status.st_ino) != directory.identity():
            return SessionNotFound(lost.session_id, self)
        return lost

    def _found(self, session_id: str) -> Directory:
        """Open a directory that holds a session, damaged or not."""
        if not self.exists(session_id):
            raise SessionNotFound(session_id, self)
        return self._opened(session_id)

    def _opened(self, session_id: str) -> Directory:
        refuse_link(self._layout.sessions)
        path = self._layout.session(session_id)
        try:
            return Directory(path)
        except FileNotFoundError:
            raise SessionNotFound(session_id, self) from None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                if os.path.islink(path):
                    raise SessionCorrupt(
                        session_id, path, "it is a symbolic link, which is not followed"
                    ) from None
                raise SessionNotFound(session_id, self) from None
            raise root.closed("open", path, error) from error

    def checkpoint_ids(self, session_id: str) -> list[str]:
        with self._found(session_id) as directory, storage_errors("list", directory.path):
            return state_file.checkpoint_ids(directory, session_id)

    def journal_names(self, session_id: str) -> list[str]:
        from sessionstore.storage.files import journal_activity

        with self._found(session_id) as directory, storage_errors("list", directory.path):
            return journal_activity.names(directory)

    def journal_rewinds(self, session_id: str, name: str) -> list[Rewind]:
        from sessionstore.storage.files import journal_file

        with self._found(session_id) as directory, storage_errors("read", directory.path):
            return journal_file.rewinds(directory, session_id, name)

    def read_journal(self, session_id: str, name: str, start: Position) -> Iterator[Batch]:
        from sessionstore.storage.files import journal_file

        with self._found(session_id) as directory, storage_errors("read", directory.path):
            yield from journal_file.read(directory, session_id, name, start)

    def read_checkpoint(self, session_id: str, checkpoint_id: str) -> Stored:
        file = os.path.join(self._layout.checkpoints(session_id), f"{checkpoint_id}.json")
        with self._opened(session_id) as directory, storage_errors("read", file):
            try:
                with Directory("checkpoints", directory) as checkpoints:
                    payload, _ = state_file.read(checkpoints, f"{checkpoint_id}.json", session_id)
            except FileNotFoundError:
                lost = SessionCorrupt(session_id, file, "there is no such checkpoint")
                raise self._missing(directory, lost) from None
            except NotADirectoryError:
                raise SessionCorrupt(
                    session_id, os.path.dirname(file), "it is a link or file, not a directory"
                ) from None
        return Stored(payload, file)

    def is_current(self, session_id: str, checkpoint_id: str) -> bool:
        try:
            with (
                Directory(self._layout.session(session_id)) as directory,
                Directory("checkpoints", directory) as checkpoints,
            ):
                state = directory.status(STATE)
                kept = checkpoints.status(f"{checkpoint_id}.json")
        except OSError:
            return False
        return (state.st_dev, state.st_ino) == (kept.st_dev, kept.st_ino)

    def version(self, session_id: str) -> Hashable | None:
        try:
            return Signature.of(os.lstat(self._layout.state(session_id)))
        except (FileNotFoundError, NotADirectoryError):
            # Without a state it is damaged, not gone.
            return "no state" if self.exists(session_id) else None
        except OSError as error:
            return f"unreadable: {error.strerror}"

    def last_appended_at(self, session_id: str) -> str | None:
        from sessionstore.storage.files import journal_activity

        try:
            with Directory(self._layout.session(session_id)) as directory:
                return journal_activity.last_appended_at(directory)
        except OSError:
            return None

    def usage(self, session_id: str) -> Usage:
        from sessionstore.storage.files import usage

        with (
            self._found(session_id) as directory,
            storage_errors("measure", directory.path),
        ):
            return usage.measure(directory)

    def freed_by(self, session_id: str, checkpoint_ids: Collection[str]) -> int:
        from sessionstore.storage.files import usage

        with (
            self._found(session_id) as directory,
            storage_errors("measure", directory.path),
        ):
            return usage.freed_by(directory, checkpoint_ids)

    def journal_bytes(self, batches: Iterable[Sequence[Item]]) -> int:
        from sessionstore.storage.files import journal_copy

        return journal_copy.on_disk(batches)

    def directory(self, session_id: str) -> Path:
        return Path(self._layout.session(session_id))

    def application_files(self, session_id: str) -> Iterator[ApplicationFile]:
        from sessionstore.storage.files import application_files as application_files_

        with self._found(session_id) as directory, storage_errors("list", directory.path):
            yield from application_files_.application_files(directory)

    def open_application_file(self, session_id: str, name: str) -> BinaryIO:
        from sessionstore.storage.files import application_files as application_files_

        with self._found(session_id) as directory:
            return application_files_.open_file(directory, name)
