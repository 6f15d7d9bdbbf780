"""Replace a file so that readers see the old bytes or the new, never a mix, also after a crash.

The order of calls is the one that survives a simulated loss of power on ext4 and XFS: write a
new file, flush it, swap it in, flush the directory. After a failed flush Linux may mark the pages
clean, so that a second flush of the same file proves nothing ("Can Applications Recover from
fsync Failures?", USENIX ATC '20): the file is thrown away instead.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple, TypeVar

from sessionstore.model.chance import random_hex

_T = TypeVar("_T")

TEMPORARY_PREFIX = ".new-"
"""Names of files and directories that are being written begin with this; ids never do."""

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_NON_BLOCKING = getattr(os, "O_NONBLOCK", 0)
_HAS_DIRECTORIES = os.open in os.supports_dir_fd and hasattr(os, "O_DIRECTORY")
_SHARING_RETRIES = 40
_WAYS_BACK = 20
"""How often a displaced file is put back while others replace it again and again."""
_SHARING_PAUSE = 0.025  # seconds; 40 of them are the second that scanners usually need


NO_LINKS = frozenset(
    getattr(errno, name)
    for name in ("EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK", "EXDEV")
    if hasattr(errno, name)
)
"""What file systems without hard links, or with too many of one file, answer to link()."""


class Signature(NamedTuple):
    """What tells one version of a file from another without reading it.

    An inode number is given out again once its file is removed. Two versions are mixed up only if
    their sizes agree, too, and both were written within one tick of the file system's clock (up
    to 10 ms before Linux 6.13, which counts finer where somebody looks).
    """

    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Signature:
        """Return the signature in ``status``."""
        return cls(status.st_ino, status.st_size, status.st_mtime_ns)


class Displaced(Exception):
    """What the swap would have replaced was not the file that was left there."""


class Unseen(Exception):
    """The new file is in place, but what it displaced was removed before anybody looked at it."""


class Directory:
    """An open directory: what happens in it happens there even if it is moved meanwhile.

    Where the system has no directory descriptors (Windows), names are joined to the path.
    """

    _fd: int | None = None

    def __init__(self, path: str, inside: Directory | None = None) -> None:
        """Open ``path``, or the entry ``path`` of the directory ``inside``; links are refused."""
        self.path: str = os.path.join(inside.path, path) if inside else path
        if _HAS_DIRECTORIES:
            flags = os.O_RDONLY | os.O_DIRECTORY | _NO_FOLLOW
            self._fd = os.open(path, flags, dir_fd=inside.fd if inside else None)
        elif not stat.S_ISDIR(os.lstat(self.path).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)

    def __enter__(self) -> Directory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if self._fd is not None and not sys.is_finalizing():
            self.close()

    def close(self) -> None:
        """Close the descriptor; safe to call twice."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def at(self, name: str) -> str:
        """Return how ``name`` is spelt beside :attr:`fd` in a system call."""
        return name if self._fd is not None else os.path.join(self.path, name)

    @property
    def fd(self) -> int | None:
        """The descriptor for ``dir_fd=``, or None."""
        return self._fd

    @property
    def is_cheap_to_keep(self) -> bool:
        """Whether descriptors are not getting scarce: the system gives the lowest free one."""
        return self._fd is None or self._fd < _plentiful()

    def identity(self) -> tuple[int, int]:
        """Return device and inode of this directory."""
        status = os.stat(self.path) if self._fd is None else os.fstat(self._fd)
        return status.st_dev, status.st_ino

    def open(self, name: str, flags: int) -> int:
        """Open ``name`` here without following a link or waiting for a FIFO's other end."""
        flags |= _NO_FOLLOW | _BINARY | _NON_BLOCKING
        if self._fd is not None:
            return os.open(name, flags, 0o600, dir_fd=self._fd)
        return retry_sharing(lambda: os.open(self.at(name), flags, 0o600))

    def status(self, name: str) -> os.stat_result:
        """Return the status of ``name`` itself, never of what a link points to."""
        return os.stat(self.at(name), dir_fd=self._fd, follow_symlinks=False)

    def names(self) -> list[str]:
        """Return the names of all entries."""
        return os.listdir(self.path if self._fd is None else self._fd)

    def make_directory(self, name: str) -> None:
        """Make the directory ``name`` with mode 0700."""
        os.mkdir(self.at(name), 0o700, dir_fd=self._fd)

    def unlink(self, name: str) -> None:
        """Remove the file ``name``."""
        if self._fd is not None:
            os.unlink(name, dir_fd=self._fd)
        else:
            retry_sharing(lambda: os.unlink(self.at(name)))

    def link(self, name: str, target: Directory, target_name: str) -> None:
        """Give the file ``name`` a second name in ``target``; never replaces one."""
        if self._fd is None:  # Windows knows neither descriptors nor follow_symlinks here
            os.link(self.at(name), target.at(target_name))
            return
        os.link(name, target_name, src_dir_fd=self._fd, dst_dir_fd=target.fd, follow_symlinks=False)

    def flush(self) -> None:
        """Make the names in this directory durable. A no-op on Windows, which cannot."""
        if self._fd is not None:
            flush(self._fd)


@cache
def _plentiful() -> int:
    """Return how many descriptors may be open before none is kept for convenience."""
    try:
        import resource
    except ImportError:  # Windows, where directories have no descriptors
        return 0
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft // 2


def flush(fd: int) -> None:
    """Make what ``fd`` refers to durable: fsync, on macOS F_FULLFSYNC.

    macOS: fsync hands the data to the drive, which may keep it in its cache (fsync(2)).
    """
    if sys.platform == "darwin":
        full_flush(fd)
    else:
        os.fsync(fd)


def full_flush(fd: int) -> None:
    """Flush through the drive's cache with F_FULLFSYNC; fsync where the volume has no such call."""
    import fcntl

    command: int = getattr(fcntl, "F_FULLFSYNC", 51)
    try:
        fcntl.fcntl(fd, command)
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY):
            raise
        os.fsync(fd)


def retry_sharing(action: Callable[[], _T]) -> _T:
    """Return ``action()``; on Windows try again for up to a second while another reads the file.

    Scanners and indexers open files without FILE_SHARE_DELETE (ERROR_ACCESS_DENIED,
    ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION); they let go by themselves.
    """
    for _ in range(_SHARING_RETRIES):
        try:
            return action()
        except OSError as error:
            if getattr(error, "winerror", None) not in (5, 32, 33):
                raise
        time.sleep(_SHARING_PAUSE)
    return action()


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
