"""Replace a file so that readers see the old bytes or the new, never a mix, also after a crash.

The order of the calls of a save, each flush before the step that relies on it:

1. :class:`Staged` writes the new bytes to a new file and flushes it.
2. A checkpoint links that file into ``checkpoints/`` and flushes that directory.
3. :meth:`Staged.swap_in` exchanges the new file for the old one.
4. :meth:`Directory.flush` makes the exchange durable.

Where one flush is enough (see commit_order.py), it is the last one: in step 1 the bytes are written
to the disk and waited for, and the names of step 2 are left to step 4. If a rename has to stand in
for the exchange, the flushes of steps 1 and 2 come before it all the same.

Both orders survive crashes on ext4 and XFS that are made at the level of the disk. After a failed
flush Linux may mark the pages clean: a second flush of the same file proves nothing ("Can
Applications Recover from fsync Failures?", USENIX ATC '20). The file is thrown away instead. The
same goes for bytes that could not be written out.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from sessionstore.durable import linux_calls
from sessionstore.durable.directory import Directory, Signature, flush, retry_sharing
from sessionstore.durable.linux_calls import NO_SUCH_CALL, RENAME_EXCHANGE, RENAME_NOREPLACE
from sessionstore.durable.version import Version
from sessionstore.model.ids import random_hex

TEMPORARY_PREFIX = ".new-"
"""Names of files and directories that are being written begin with this; ids never do."""

_TEMPORARY = re.compile(re.escape(TEMPORARY_PREFIX) + r"[0-9a-f]{16}", re.ASCII)
_WAYS_BACK = 20
"""How often a displaced file is put back while others replace it again and again."""

NO_LINKS = NO_SUCH_CALL | {errno.EMLINK, errno.EXDEV}
"""What file systems without hard links, or with too many of one file, answer to link()."""


class Displaced(Exception):
    """The swap would have replaced another file than the expected one; nothing was changed."""


class Unseen(Exception):
    """The new file is in place, and nobody knows which file it displaced."""


# --- writing ------------------------------------------------------------------------------------


def temporary_name() -> str:
    """Return a name that nobody can predict, so that nobody can put a link there first."""
    return TEMPORARY_PREFIX + random_hex(8)


def is_temporary(name: str) -> bool:
    """Return whether ``name`` is one that :func:`temporary_name` gives."""
    return _TEMPORARY.fullmatch(name) is not None


class Staged:
    """A complete new file beside the one that it is going to replace."""

    def __init__(
        self, directory: Directory, data: bytes, *, flush_file: bool, by_rename: bool = False
    ) -> None:
        """Write ``data`` to a new file of ``directory``; on any failure nothing is left.

        With ``flush_file`` the bytes survive a loss of power once they are in their place and
        ``directory`` was flushed. ``by_rename`` says that no exchange puts them there.
        """
        self.directory = directory
        self.name: str = temporary_name()
        self.is_carried: bool = flush_file and not by_rename and directory.commit_order.is_one
        """Whether the bytes are durable only with the flush that follows the swap."""
        self._names: list[Directory] = []
        self.version: Version = write_file(
            directory, self.name, data, flush_file=flush_file, is_carried=self.is_carried
        )

    def flush_names(self, directory: Directory) -> None:
        """Flush ``directory`` before the swap, or leave that to the flush that follows it."""
        if self.is_carried:
            self._names.append(directory)
        else:
            directory.flush()

    def discard(self) -> None:
        """Remove the file if it was not swapped in."""
        with suppress(OSError):
            if self.version.found_at(self.directory, self.name):
                self.directory.unlink(self.name)

    def swap_in(self, name: str, expected: Version) -> None:
        """Replace ``name``, which must be the version ``expected``.

        Raises:
            Displaced: it is another file; that one is back in place.
            Unseen: the new file is in place, and what it displaced could not be looked at.
            OSError: nothing was changed.
        """
        try:
            self._exchange(name, expected)
        except Unseen:
            raise
        except BaseException:
            # An error or a KeyboardInterrupt came in between. The temporary name must not stay,
            # and a file of somebody else that it holds must go back.
            self._settle(name, expected)
            raise

    def _exchange(self, name: str, expected: Version) -> None:
        directory = self.directory
        if exchange(directory, self.name, name):
            try:
                is_expected = expected.found_at(directory, self.name) is not None
            except FileNotFoundError:
                raise Unseen from None
            except OSError:
                self._swap_back(name)
                raise
            if not is_expected:
                raise Displaced
            # The new state is in place: the save succeeded even if the old one cannot be removed.
            try:
                directory.unlink(self.name)
            except OSError:
                directory.has_leftover = True
            return
        if not expected.found_at(directory, name):
            raise Displaced
        self._flush_carried()
        move_over(directory, self.name, name)

    def _flush_carried(self) -> None:
        """Flush what an exchange would have carried: a rename in its place carries nothing."""
        if self.is_carried:
            flush_file(self.directory, self.name)
            for names in self._names:
                names.flush()

    def _swap_back(self, name: str) -> None:
        """Undo the exchange: nobody can tell whether it displaced the expected file."""
        with suppress(OSError):
            if exchange(self.directory, self.name, name):
                return
        self.directory.has_leftover = True
        raise Unseen from None

    def _settle(self, name: str, expected: Version) -> None:
        """Put a displaced file back, and remove the temporary name.

        Somebody may replace the file between the exchange and the way back. What comes back then
        is newer than what was put there, and goes back in its turn. This ends when the file that
        comes back is the one that was put there last, or the expected one, which is outdated.
        """
        directory = self.directory
        with suppress(OSError):
            if not self._holds(self.version, expected):
                shown = self.version
                for _ in range(_WAYS_BACK):
                    held = Version.unread(Signature.of(directory.status(self.name)))
                    if not exchange(directory, self.name, name):
                        return
                    shown, put = held, shown
                    if self._holds(put, expected):
                        break
                else:
                    return  # a person has to choose: the next claim keeps a foreign file
            directory.unlink(self.name)

    def _holds(self, *versions: Version) -> bool:
        return any(version.found_at(self.directory, self.name) for version in versions)


def write_file(
    directory: Directory, name: str, data: bytes, *, flush_file: bool, is_carried: bool = False
) -> Version:
    """Write ``data`` to ``name``, which must not exist; on any failure nothing is left.

    With ``is_carried`` a later flush of a directory makes the bytes durable: here they are only
    written out. A caller may ask for that where :attr:`Directory.commit_order` is one flush, for a
    file that is swapped in, or moved in with its directory.
    """
    fd = directory.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        try:
            write_all(fd, data)
            # Race: Commit before the flush. The file system may commit the exchange at once.
            if flush_file:
                write_out(fd) if is_carried else flush(fd)
            return Version.of(Signature.of(os.fstat(fd)), data)
        finally:
            os.close(fd)
    except BaseException:
        with suppress(OSError):
            directory.unlink(name)
        raise


def flush_file(directory: Directory, name: str) -> None:
    """Flush the file ``name``."""
    fd = directory.open(name, os.O_RDONLY)
    try:
        flush(fd)
    finally:
        os.close(fd)


def flush_carrying(directory: Directory, holder: Directory, name: str) -> None:
    """Flush ``directory``, whose flush carries the file ``name`` in ``holder``.

    Where directories cannot be flushed, as in some sandboxes, the file itself is flushed.
    """
    if not directory.flush():
        flush_file(holder, name)


def write_out(fd: int) -> None:
    """Have the disk get every byte of the file ``fd``; flush it where a sandbox refuses that."""
    try:
        linux_calls.sync_file_range(fd)
    except OSError as error:
        if error.errno not in NO_SUCH_CALL:
            raise
        flush(fd)


def write_pieces(
    directory: Directory,
    name: str,
    pieces: Iterable[bytes],
    *,
    is_executable: bool,
    mtime: int | None = None,
) -> None:
    """Write ``pieces`` to ``name``, which must not exist, and flush it.

    ``mtime`` is the time of modification in seconds since 1970; by default it is now.
    """
    fd = directory.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        for piece in pieces:
            write_all(fd, piece)
        with _done_without():
            if is_executable and hasattr(os, "fchmod"):
                os.fchmod(fd, 0o770 if directory.access.is_shared else 0o700)
        with _done_without():
            if mtime is not None and os.utime in os.supports_fd:
                os.utime(fd, (mtime, mtime))
        flush(fd)
    finally:
        os.close(fd)


@contextmanager
def _done_without() -> Iterator[None]:
    """Go on without a mode or a time that the file system does not keep, such as vfat."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_SUCH_CALL:
            raise


def write_all(fd: int, data: bytes) -> None:
    """Write every byte of ``data``, however few the system takes at a time."""
    written = os.write(fd, data)
    if written == len(data):
        return
    rest = memoryview(data)[written:]
    while rest:
        rest = rest[os.write(fd, rest) :]


def write_new(directory: Directory, name: str, data: bytes, *, flush_file: bool) -> None:
    """Create ``name``, which must not exist, complete or not at all.

    Raises:
        FileExistsError: it is there already.
    """
    staged = Staged(directory, data, flush_file=flush_file, by_rename=True)
    try:
        move_new(directory, staged.name, directory, name)
    except BaseException:
        staged.discard()
        raise


def write_over(directory: Directory, name: str, data: bytes) -> None:
    """Replace ``name``, whatever it is, by a complete file that is not flushed."""
    staged = Staged(directory, data, flush_file=False, by_rename=True)
    try:
        move_over(directory, staged.name, name)
    except BaseException:
        staged.discard()
        raise


def move_over(directory: Directory, name: str, target_name: str) -> None:
    """Let ``name`` replace ``target_name``, whatever that is."""
    retry_sharing(
        lambda: os.replace(
            directory.at(name),
            directory.at(target_name),
            src_dir_fd=directory.fd,
            dst_dir_fd=directory.fd,
        )
    )


def move_new(source: Directory, name: str, target: Directory, target_name: str) -> None:
    """Rename without replacing anything.

    Raises:
        FileExistsError: ``target_name`` is there already.
    """
    done = _rename_with_flags(source, name, target, target_name, RENAME_NOREPLACE)
    if done:
        return
    # There is no such call. Callers hold the session's lock, so that only foreign software can
    # come between the look and the rename. A directory that has content is never replaced.
    try:
        target.status(target_name)
    except FileNotFoundError:
        os.rename(
            source.at(name), target.at(target_name), src_dir_fd=source.fd, dst_dir_fd=target.fd
        )
        return
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target_name)


def exchange(directory: Directory, one: str, other: str) -> bool:
    """Swap two names of ``directory``; return False where the system has no such call.

    On ext4 an exchange, unlike a rename over a file, does not force the new file's blocks out
    (auto_da_alloc), and it hands back what was there.
    """
    return _rename_with_flags(directory, one, directory, other, RENAME_EXCHANGE)


def _rename_with_flags(
    source: Directory, name: str, target: Directory, target_name: str, flags: int
) -> bool:
    if source.fd is None or target.fd is None:
        return False
    try:
        linux_calls.renameat2(source.fd, name, target.fd, target_name, flags)
    except OSError as error:
        if error.errno in NO_SUCH_CALL:
            return False
        error.filename = target_name
        raise
    return True
