"""The package with one thing left out: what the enumeration of crashes has to notice."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from typing import Any

from sessionstore.durable import append, linux_calls, replace
from sessionstore.durable import directory as directory_
from sessionstore.durable.directory import Directory, Signature
from sessionstore.durable.version import Version
from sessionstore.storage.files import checkpoint_file, claim, create, state_file
from sessionstore.storage.files.create import Built
from sessionstore.storage.files.journal_file import JournalFile
from sessionstore.storage.files.layout import Layout
from sessionstore.storage.journal import NONE, Journals
from tests.faults.support.operations import force_one_flush

# Each of these changes the package in this process for good: it runs in a child.


def no_file_flush() -> None:
    real = directory_.flush

    def flush(fd: int) -> None:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            real(fd)

    for module in (directory_, replace, claim):  # each has a name for it
        module.flush = flush  # type: ignore[attr-defined]


def no_directory_flush() -> None:
    Directory.flush = lambda self: True  # type: ignore[method-assign]


def checkpoint_after_state() -> None:
    def write(
        self: Any,
        payload: bytes,
        revision: int,
        *,
        checkpoint_id: str | None = None,
        cancellable: bool = False,
    ) -> None:
        del cancellable
        with self.opened("save") as directory:
            staged = replace.Staged(directory, payload, flush_file=True)
            self._swap(directory, staged, revision)
            directory.flush()
            if checkpoint_id is not None:
                with Directory("checkpoints", directory) as checkpoints:
                    directory.link(states_name, checkpoints, f"{checkpoint_id}.json")
                    checkpoints.flush()

    states_name = "state.json"
    claim.FilesClaim.write = write  # type: ignore[method-assign]


def delete_without_rename() -> None:
    def delete(self: Any) -> None:
        shutil.rmtree(self._path)
        with Directory(self._layout.sessions) as sessions:
            sessions.flush()
        self._lock.remove_file()
        self._lock.close()

    claim.FilesClaim.delete = delete  # type: ignore[method-assign]


def delete_without_flush() -> None:
    real = claim.FilesClaim.delete

    def delete(self: Any) -> None:
        flush, Directory.flush = Directory.flush, lambda self: True  # type: ignore[method-assign]
        try:
            real(self)
        finally:
            Directory.flush = flush  # type: ignore[method-assign]

    claim.FilesClaim.delete = delete  # type: ignore[method-assign]


def create_in_place() -> None:
    def build(
        layout: Layout,
        session_id: str,
        payload: bytes,
        *,
        power: bool,
        two_flushes: str = "",
        journals: Journals = NONE,
    ) -> Built:
        del power, two_flushes, journals
        with Directory(layout.sessions) as sessions:
            sessions.make_directory(session_id)
            sessions.flush()
            with Directory(session_id, sessions) as directory:
                directory.make_directory("checkpoints")
                written = replace.write_file(directory, "state.json", payload, flush_file=True)
                directory.flush()
                return Built(directory.identity(), written, None)

    create.build_session = build


def save_in_place() -> None:
    def swap(self: Any, directory: Directory, staged: replace.Staged, revision: int) -> None:
        payload, _ = state_file.read(directory, staged.name, self.session_id)
        fd = directory.open("state.json", os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(fd, payload)
            directory_.flush(fd)
            self._claimed.state = Version.of(Signature.of(os.fstat(fd)), payload)
        finally:
            os.close(fd)
        directory.unlink(staged.name)

    claim.FilesClaim._swap = swap  # type: ignore[method-assign]


def no_anchor() -> None:
    claim.FilesClaim._anchor = lambda self, directory: None  # type: ignore[method-assign]


def checkpoint_name_not_flushed() -> None:
    real = Directory.flush

    def flush(self: Directory) -> bool:
        return os.path.basename(self.path) == "checkpoints" or real(self)

    Directory.flush = flush  # type: ignore[method-assign]


def checkpoint_bytes_not_flushed() -> None:
    real = replace.Staged

    def staged(
        directory: Directory, data: bytes, *, flush_file: bool, **named: Any
    ) -> replace.Staged:
        return real(directory, data, flush_file=False, **named)

    replace.Staged = staged  # type: ignore[assignment, misc]


def plain_rename() -> None:
    """Not a mutant: what happens where the file system has no exchange."""

    def renameat2(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    linux_calls.renameat2 = renameat2  # type: ignore[assignment]


def copies() -> None:
    """Not a mutant: what happens in a store whose other writers rewrite files in place."""

    def linked(*_: object) -> bool:
        return False

    checkpoint_file.linked = linked  # type: ignore[assignment]


def journal_not_flushed() -> None:
    append._flush_data = lambda fd: None


def journal_names_not_flushed() -> None:
    JournalFile._anchor = lambda self: None  # type: ignore[method-assign]


def not_written_out() -> None:
    force_one_flush()
    replace.write_out = lambda fd: None


def not_waited_for() -> None:
    force_one_flush()
    linux_calls.WRITE_AND_WAIT = 2  # SYNC_FILE_RANGE_WRITE alone


def one_flush_but_the_last() -> None:
    force_one_flush()
    no_directory_flush()


def one_flush_and_the_checkpoint_after() -> None:
    force_one_flush()
    checkpoint_after_state()


def nothing() -> None:
    pass


MUTANTS: dict[str, Callable[[], None]] = {
    "none": nothing,
    "keep one checkpoint": nothing,
    "plain rename": plain_rename,
    "copies": copies,
    "no file fsync": no_file_flush,
    "no directory fsync": no_directory_flush,
    "checkpoint linked after the state": checkpoint_after_state,
    "delete without rename": delete_without_rename,
    "delete without a flush": delete_without_flush,
    "create in place": create_in_place,
    "save in place": save_in_place,
    "checkpoint without an anchor": no_anchor,
    "checkpoint name not flushed": checkpoint_name_not_flushed,
    "checkpoint bytes not flushed": checkpoint_bytes_not_flushed,
    "one flush": force_one_flush,
    "one flush, not written out": not_written_out,
    "one flush, not waited for": not_waited_for,
    "one flush, but no flush": one_flush_but_the_last,
    "one flush, checkpoint linked after the state": one_flush_and_the_checkpoint_after,
    "journal not flushed": journal_not_flushed,
    "journal names not flushed": journal_names_not_flushed,
}
