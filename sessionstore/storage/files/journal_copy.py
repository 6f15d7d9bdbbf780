"""Write journals anew from their records: the same numbers, times and keys under a new chain."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from pydantic_core import to_json

from sessionstore.durable import replace
from sessionstore.durable.directory import Directory, made_below
from sessionstore.errors import SessionClaimed, StorageError
from sessionstore.model.journal import JournalRecord
from sessionstore.model.journal_view import Item
from sessionstore.storage.files import journal_line, lock
from sessionstore.storage.files.layout import JOURNAL_SUFFIX, JOURNALS
from sessionstore.storage.journal import Journals

_PIECE = 1 << 18
"""Bytes that are written at a time."""

_BLOCK = 4096
"""Nearly every file system gives a file whole blocks of this size."""


def lines(batches: Iterable[Sequence[Item]]) -> Iterator[bytes]:
    """Yield the lines of a journal that holds ``batches``.

    Each says that all batches before its own are flushed: the file is flushed whole before anybody
    sees it. A way back has no time of its own, so it gets that of the records beside it.
    """
    previous, flushed, at = journal_line.START, 0, ""
    for batch in batches:
        at = next((item.at for item in batch if isinstance(item, JournalRecord)), at)
        for index, item in enumerate(batch, start=1):
            at = item.at if isinstance(item, JournalRecord) else at
            line, previous = journal_line.compose(
                item.number,
                at,
                to_json(item.value) if isinstance(item, JournalRecord) else item,
                key=item.key if isinstance(item, JournalRecord) else None,
                more=index < len(batch),
                flushed=flushed,
                previous=previous,
            )
            yield line
        flushed = batch[-1].number


def write(directory: Directory, journals: Journals) -> None:
    """Write journals into a session that is being built, durably."""
    with made_below(directory, (JOURNALS,)) as place:
        for name, batches in journals.items():
            pieces = in_pieces(lines(batches))
            replace.write_pieces(place, name + JOURNAL_SUFFIX, pieces, is_executable=False)
        place.flush()


def rewrite(
    directory: Directory, session_id: str, name: str, batches: Iterable[Sequence[Item]]
) -> None:
    """Replace the journal ``name`` by one that holds ``batches``, durably, under its lock.

    Raises:
        SessionClaimed: another process appends to it.
        StorageError: the new journal is in place, and may not survive a power loss.
        OSError: the system refused; nothing was changed.
    """
    # A removed checkpoint that a power cut brings back would miss the lines that go now.
    with suppress(FileNotFoundError), Directory("checkpoints", directory) as checkpoints:
        checkpoints.flush()
    file = name + JOURNAL_SUFFIX
    with (
        Directory(JOURNALS, directory) as journals,
        locked(journals, session_id, file) as before,
    ):
        # The time of a journal is that of its last append.
        replace_file(journals, file, batches, mtime=int(os.fstat(before.fileno()).st_mtime))


@contextmanager
def locked(journals: Directory, session_id: str, name: str) -> Iterator[io.FileIO]:
    """Open the file ``name`` under its lock, which a holder of the session has while it appends.

    Raises:
        SessionClaimed: another process has it.
    """
    while True:
        file = lock.lock_file(journals, name)
        if file is None:
            path = os.path.join(journals.path, name)
            reason = f"a process without a claim still holds the lock of {path}"
            raise SessionClaimed(session_id, None, reason=reason)
        with file:
            try:
                there = journals.status(name).st_ino
            except FileNotFoundError:
                continue
            if there == os.fstat(file.fileno()).st_ino:  # else it was written anew just now
                yield file
                return


def replace_file(
    journals: Directory, name: str, batches: Iterable[Sequence[Item]], *, mtime: int
) -> None:
    """Replace the file ``name``, whose lock is held, by one that holds ``batches``, durably.

    Raises:
        StorageError: the new file is in place, and may not survive a power loss.
        OSError: the system refused; nothing was changed.
    """
    temporary = replace.temporary_name()
    try:
        pieces = in_pieces(lines(batches))
        replace.write_pieces(journals, temporary, pieces, is_executable=False, mtime=mtime)
        replace.move_over(journals, temporary, name)
    except BaseException:
        with suppress(OSError):
            journals.unlink(temporary)
        raise
    try:
        journals.flush()
    except OSError as error:
        path = os.path.join(journals.path, name)
        reason = (
            f"a power loss may bring the old file back ({error.strerror}); the new one is there"
        )
        raise StorageError("flush the new name of", path, error, reason) from error


def in_pieces(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield ``parts`` joined to pieces that are worth a system call."""
    joined: list[bytes] = []
    size = 0
    for part in parts:
        joined.append(part)
        size += len(part)
        if size >= _PIECE:
            yield b"".join(joined)
            joined, size = [], 0
    if joined:
        yield b"".join(joined)


def on_disk(batches: Iterable[Sequence[Item]]) -> int:
    """Return how many bytes a file with these batches takes on a disk."""
    size = sum(map(len, lines(batches)))
    return -(-size // _BLOCK) * _BLOCK
