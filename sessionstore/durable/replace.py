"""Replace a file so that readers see the old bytes or the new, never a mix, also after a crash.

The order of calls is the one that survives a simulated loss of power on ext4 and XFS: write a
new file, flush it, swap it in, flush the directory. After a failed flush Linux may mark the pages
clean, so that a second flush of the same file proves nothing ("Can Applications Recover from
fsync Failures?", USENIX ATC '20): the file is thrown away instead.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sessionstore.durable.directory import Directory, Signature, flush, retry_sharing
from sessionstore.model.chance import random_hex

TEMPORARY_PREFIX = ".new-"
"""Names of files and directories that are being written begin with this; ids never do."""

_WAYS_BACK = 20
"""How often a displaced file is put back while others replace it again and again."""


NO_LINKS = frozenset(
    getattr(errno, name)
    for name in ("EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK", "EXDEV")
    if hasattr(errno, name)
)
"""What file systems without hard links, or with too many of one file, answer to link()."""


class Displaced(Exception):
    """What the swap would have replaced was not the file that was left there."""


class Unseen(Exception):
    """The new file is in place, but what it displaced was removed before anybody looked at it."""


# --- writing ------------------------------------------------------------------------------------


def temporary_name() -> str:
    """Return a name that nobody can predict, so that nobody can put a link there first."""
    return TEMPORARY_PREFIX + random_hex(8)


class Staged:
    """A complete new file beside the one that it is going to replace."""

    def __init__(self, directory: Directory, data: bytes, *, flush_file: bool) -> None:
        """Write ``data`` to a new file of ``directory``; on any failure nothing is left."""
        self.directory = directory
        self.name: str = temporary_name()
        self.signature: Signature = write_file(directory, self.name, data, flush_file=flush_file)

    def discard(self) -> None:
        """Remove the file if it was not swapped in."""
        with suppress(OSError):
            if Signature.of(self.directory.status(self.name)).inode == self.signature.inode:
                self.directory.unlink(self.name)

    def swap_in(self, name: str, expected: Signature) -> None:
        """Replace ``name``, which must be the file with the signature ``expected``.

        Raises:
            Displaced: it is another file; that one is back in place.
            Unseen: it was replaced, whatever it was.
            OSError: nothing was changed.
        """
        try:
            self._exchange(name, expected)
        except BaseException:
            # Whatever came in between (an error, a KeyboardInterrupt): the temporary name must
            # not stay, and a file of somebody else that it holds must go back.
            self._settle(name, expected)
            raise

    def _exchange(self, name: str, expected: Signature) -> None:
        directory = self.directory
        if exchange(directory, self.name, name):
            try:
                displaced = Signature.of(directory.status(self.name))
            except FileNotFoundError:
                raise Unseen from None
            if displaced != expected:
                raise Displaced
            # The new state is in place: a failure to remove the old one is no failure to save.
            with suppress(OSError):
                directory.unlink(self.name)
            return
        if Signature.of(directory.status(name)) != expected:
            raise Displaced
        retry_sharing(
            lambda: os.replace(
                directory.at(self.name),
                directory.at(name),
                src_dir_fd=directory.fd,
                dst_dir_fd=directory.fd,
            )
        )

    def _settle(self, name: str, expected: Signature) -> None:
        """Put back what was displaced, and remove the temporary name.

        Somebody may replace the file between the exchange and the way back. What comes back then
        is newer than what was put there, and goes back in its turn, until what comes back is
        what was put there last.
        """
        directory = self.directory
        with suppress(OSError):
            held = Signature.of(directory.status(self.name))
            if held not in (self.signature, expected):
                shown = self.signature
                for _ in range(_WAYS_BACK):
                    if not exchange(directory, self.name, name):
                        return
                    shown, held, put = held, Signature.of(directory.status(self.name)), shown
                    if held == put:
                        break
                else:
                    return  # a person has to choose: the next claim keeps what may be foreign
            directory.unlink(self.name)


def write_file(directory: Directory, name: str, data: bytes, *, flush_file: bool) -> Signature:
    """Write ``data`` to ``name``, which must not exist; on any failure nothing is left."""
    fd = directory.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        try:
            write_all(fd, data)
            if flush_file:
                flush(fd)
            return Signature.of(os.fstat(fd))
        finally:
            os.close(fd)
    except BaseException:
        with suppress(OSError):
            directory.unlink(name)
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
    staged = Staged(directory, data, flush_file=flush_file)
    try:
        move_new(directory, staged.name, directory, name)
    except BaseException:
        staged.discard()
        raise


def move_new(source: Directory, name: str, target: Directory, target_name: str) -> None:
    """Rename without replacing anything.

    Raises:
        FileExistsError: ``target_name`` is there already.
    """
    done = _rename_with_flags(source, name, target, target_name, _RENAME_NOREPLACE)
    if done:
        return
    # No such call here. Callers hold the session's lock, so only foreign software can come
    # between the look and the rename, and a directory that has content is never replaced.
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
    return _rename_with_flags(directory, one, directory, other, _RENAME_EXCHANGE)


# linux/fs.h
_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_NO_SUCH_CALL = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)

_renameat2: Callable[[int, bytes, int, bytes, int], int] | None = None
_looked_up = False


def _rename_with_flags(
    source: Directory, name: str, target: Directory, target_name: str, flags: int
) -> bool:
    call = _renameat2 if _looked_up else _look_up_renameat2()
    if call is None or source.fd is None or target.fd is None:
        return False
    if call(source.fd, os.fsencode(name), target.fd, os.fsencode(target_name), flags) == 0:
        return True
    import ctypes

    code = ctypes.get_errno()
    if code in _NO_SUCH_CALL:
        return False
    raise OSError(code, os.strerror(code), target_name)


def _look_up_renameat2() -> Callable[[int, bytes, int, bytes, int], int] | None:
    """Return glibc's or musl's renameat2 (glibc 2.28 and newer), or None."""
    global _renameat2, _looked_up  # noqa: PLW0603 - looked up once: loading ctypes takes 8 ms
    if sys.platform == "linux":
        import ctypes

        function: Any = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
        if function is not None:
            function.argtypes = [
                ctypes.c_int,
                ctypes.c_char_p,
                ctypes.c_int,
                ctypes.c_char_p,
                ctypes.c_uint,
            ]
            function.restype = ctypes.c_int
            _renameat2 = function
    _looked_up = True
    return _renameat2
