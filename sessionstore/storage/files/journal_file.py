"""The journal file of a claimed session: find its end, append records, go back.

The lock of the session is not enough. Appends happen in place, so that a holder that lost it
(somebody deleted the lock file) has no exchange to stop it: the file has a lock of its own.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from sessionstore.durable import append, replace
from sessionstore.durable.append import AppendFile, End, FlushFailed
from sessionstore.durable.directory import Directory, flush
from sessionstore.durable.regular_file import open_below
from sessionstore.errors import (
    DurabilityUncertain,
    RevisionConflict,
    SessionClaimed,
    SessionCorrupt,
)
from sessionstore.log import about, logger
from sessionstore.model.journal import Position, Rewind
from sessionstore.storage.files import journal_line, journal_scan, lock
from sessionstore.storage.files.journal_line import LineEnd
from sessionstore.storage.files.journal_scan import Tail
from sessionstore.storage.files.layout import JOURNAL_SUFFIX as SUFFIX
from sessionstore.storage.files.layout import JOURNALS
from sessionstore.storage.files.state_file import describe_damage, storage_errors
from sessionstore.storage.journal import Appended, Batch, JournalAppender

_READ_AHEAD = 128 * 1024

_LINES_TO_FLUSH = 64
"""So many lines that may not be flushed are flushed when a journal is opened. Claims that append
once each and store no state would else read from the same line on, and further each time."""


class JournalFile(JournalAppender):
    """A journal that this process appends to, under the lock of its file."""

    def __init__(
        self,
        session_id: str,
        journals: Directory,
        name: str,
        saved: Position,
        *,
        power: bool,
        check: Callable[[bool], None],
    ) -> None:
        """Open a journal at its end, and make it if it is missing.

        ``saved`` is where the stored state says that it ends. ``check`` raises unless the claim
        still holds; it is told whether a request to cancel counts, too.

        Raises:
            SessionClaimed: another process appends to it.
            SessionCorrupt: it is damaged, or no regular file.
            OSError: the system refused.
        """
        self.session_id: str = session_id
        self.name: str = name
        self.path: str = os.path.join(journals.path, name + SUFFIX)
        self._power = power
        self._check = check
        self._directory = journals.path
        # A state says where it ends only once the names of the file were flushed.
        self._is_anchored = saved.number > 0
        self._one_flush = journals.commit_order.is_one
        self._is_carried = self._one_flush
        """Whether the flush of the first append carries the names of the file, too."""
        file = self._locked_file(journals)
        try:
            self._appended = self._find_end(file, saved)
            if power and not self._is_carried:
                self._anchor()
        except BaseException:
            file.close()
            raise

    # --- append ----------------------------------------------------------------------------------

    @property
    def end(self) -> Position:
        with storage_errors("look for the end of", self.path):
            end = self._appended.settle().known
        return Position(end.number, end.offset)

    @property
    def flushed(self) -> Position:
        end = self._appended.flushed.known
        return Position(end.number, end.offset)

    def append(
        self, items: Sequence[bytes | Rewind], key: str | None, at: str, *, cancellable: bool
    ) -> Appended:
        with storage_errors("append to", self.path):
            self._check(cancellable)
            self._renew_if_failed()
            if self._power and not self._is_carried:
                self._anchor()
            self._require_as_left()
            lines, end = self._compose(items, key, at)
            written = self._appended.append(lines, end)
        return Appended(end.number, (self._appended, written))

    def _require_as_left(self) -> None:
        if not self._appended.is_as_left():
            raise RevisionConflict(
                self.session_id,
                expected=None,
                found=None,
                detail=f"something else, which holds no claim, changed the journal {self.name}",
            )

    def _compose(
        self, items: Sequence[bytes | Rewind], key: str | None, at: str
    ) -> tuple[bytes, LineEnd]:
        end, flushed = self._appended.end.known, self._appended.flushed.known.number
        lines = []
        for index, item in enumerate(items, start=1):
            is_last = index == len(items)
            number = item.number if isinstance(item, Rewind) else end.number + 1
            line, checksum = journal_line.compose(
                number,
                at,
                item,
                key=key if is_last else None,
                more=not is_last,
                flushed=flushed,
                previous=end.checksum,
            )
            end = LineEnd(number, end.offset + len(line), checksum)
            lines.append(line)
        return b"".join(lines), end

    def flush(self, appended: Appended | None = None) -> None:
        if appended is None:
            with storage_errors("flush", self.path):
                self._renew_if_failed()
                self._anchor()
                file, end = self._appended, self._appended.settle()
        elif self._power and appended.flush is not None:
            file, end = appended.flush
        else:
            return
        try:
            file.flush(end)
        except FlushFailed as failed:
            error = failed.error
            raise DurabilityUncertain(self.session_id, None, error, self.name) from error
        if self._is_carried and appended is not None:
            self._is_anchored = True

    def close(self) -> None:
        """Give the journal back. Safe to call twice."""
        self._appended.close()

    # --- open ------------------------------------------------------------------------------------

    def _anchor(self) -> None:
        """Flush the names of the file and of its directory: the bytes alone survive nothing.

        Another holder may have made them, and died before it flushed them, or flushes nothing.
        """
        if not self._is_anchored:
            places = [self._directory]
            if not self._one_flush:  # else it carries what was made before
                places.append(os.path.dirname(self._directory))
            for path in places:
                with Directory(path) as directory:
                    directory.flush()
            self._is_anchored = True

    def _locked_file(self, journals: Directory) -> io.FileIO:
        """Open the file under its lock; make it first if it is missing."""
        name = self.name + SUFFIX
        while True:
            file = lock.lock_file(journals, name)
            if file is None:
                raise SessionClaimed(
                    self.session_id,
                    None,
                    reason=f"a process without a claim still holds the lock of {self.path}",
                )
            keeps = False
            try:
                here = os.fstat(file.fileno())
                try:
                    there = journals.status(name)
                except FileNotFoundError:
                    continue
                if there.st_ino != here.st_ino:  # another holder wrote it anew
                    continue
                if there.st_nlink > 1:
                    # A copy by links (cp -al, a snapshot) shares these bytes: it keeps them.
                    with self._copied(journals, file, here.st_size) as copy:
                        pass
                    return copy
                keeps = True
                return file
            finally:
                if not keeps:
                    file.close()

    def _find_end(self, file: io.FileIO, saved: Position) -> AppendFile[LineEnd]:
        # open() would look again what kind of file it is.
        reader: io.BufferedReader = io.BufferedReader(file)
        try:
            start = journal_scan.begin(reader, saved)
            if start.number == saved.number:  # else somebody changed what was saved: look at all
                start = journal_scan.skip_flushed(reader, start)
            tail = journal_scan.find_tail(reader, start, saved.number)
        finally:
            reader.detach()  # the file stays open
        if tail.damage is not None:
            raise _damaged(self.session_id, self.path, tail)
        if tail.end.number < saved.number:
            logger.warning(
                "%s: the journal %s ends at number %d, and a save says %d: its end was lost",
                self.session_id,
                self.name,
                tail.end.number,
                saved.number,
                extra=about("journal_short", session_id=self.session_id, path=self.path),
            )
        append.erase_after(file, tail.end.offset)
        # What is behind ``start`` may not have been flushed: the first flush covers it, too.
        flushed = start
        if tail.end.number - start.number > _LINES_TO_FLUSH:
            flush(file.fileno())
            flushed = tail.end
        return AppendFile(
            file, self.path, End(tail.end.offset, tail.end), End(flushed.offset, flushed)
        )

    # --- write anew ------------------------------------------------------------------------------

    def _renew_if_failed(self) -> None:
        """Write the journal to a new file if a flush of this one has failed."""
        before = self._appended
        if not before.has_failed:
            return
        self._check(False)
        self._require_as_left()
        # The system may have dropped what it could not flush: then the end is before it.
        flushed, end = self.flushed, before.settle()
        with (
            Directory(self._directory) as journals,
            self._copied(journals, before.file, end.offset) as copy,
        ):
            appended = self._find_end(copy, flushed)
        self._appended = appended
        before.close()
        self._anchor()

    @contextmanager
    def _copied(self, journals: Directory, file: io.FileIO, length: int) -> Iterator[io.FileIO]:
        """Put a copy of the first bytes of ``file`` in its place once the block is done with it."""
        # Race: Journal written anew. The copy is locked before it gets the name: no other process
        # finds the journal without a lock while this one goes on with it.
        name = replace.temporary_name()
        copy: io.FileIO | None = None
        try:
            pieces = append.pieces(file, length)
            replace.write_pieces(journals, name, pieces, is_executable=False)
            copy = lock.lock_file(journals, name)
            assert copy is not None, "nobody knows its name"
            yield copy
            replace.move_over(journals, name, self.name + SUFFIX)
        except BaseException:
            if copy is not None:
                copy.close()
            with suppress(OSError):
                journals.unlink(name)
            raise
        # A rename carries nothing: its name is flushed before anything relies on it.
        self._is_anchored = self._is_carried = False


@contextmanager
def opened_journals(directory: Directory) -> Iterator[Directory]:
    """Open the journals/ of a session; make it if it is missing."""
    try:
        journals = Directory(JOURNALS, directory)
    except FileNotFoundError:
        with suppress(FileExistsError):
            directory.make_directory(JOURNALS)
        journals = Directory(JOURNALS, directory)
    with journals:
        yield journals


def read(directory: Directory, session_id: str, name: str, start: Position) -> Iterator[Batch]:
    """Yield the batches of a journal behind ``start``, without a lock.

    Raises:
        SessionCorrupt: it is not a regular file, or damaged behind the last batch that was yielded.
        OSError: the system refused.
    """
    suspect = None
    while True:
        reader = _opened(directory, session_id, name)
        if reader is None:
            return
        with reader:
            try:
                for batch in journal_scan.batches(reader, journal_scan.begin(reader, start)):
                    if batch.end.number > start.number:
                        yield batch
                        start = batch.end
                end = journal_scan.begin(reader, start)
                tail = journal_scan.find_tail(reader, end, start.number)
            except ValueError as error:
                tail = Tail(LineEnd.of_nothing(), str(error), start.number + 1)
        # Race: Reader beside an append. The bytes of one line are not read at one instant: what
        # looks damaged may be half a line before a whole one. A second look finds it whole.
        if tail.damage is None:
            return
        if tail == suspect:
            path = os.path.join(directory.path, JOURNALS, name + SUFFIX)
            raise _damaged(session_id, path, tail)
        suspect = tail


def rewinds(directory: Directory, session_id: str, name: str) -> list[Rewind]:
    """Return the ways back that a journal holds, without a look at its other lines.

    It raises what :func:`read` raises.
    """
    reader = _opened(directory, session_id, name)
    if reader is None:
        return []
    with reader:
        return journal_scan.rewinds(reader)


def _opened(directory: Directory, session_id: str, name: str) -> io.BufferedReader | None:
    try:
        file, _ = open_below(directory, f"{JOURNALS}/{name}{SUFFIX}")
    except FileNotFoundError:
        return None
    except OSError as error:
        if damage := describe_damage(error):
            path = os.path.join(directory.path, JOURNALS, name + SUFFIX)
            raise SessionCorrupt(session_id, path, damage) from None
        raise
    return io.BufferedReader(file, _READ_AHEAD)


def _damaged(session_id: str, path: str, tail: Tail) -> SessionCorrupt:
    return SessionCorrupt(session_id, path, f"line {tail.line} is damaged: {tail.damage}")
