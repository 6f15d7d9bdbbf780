"""Open directories, and flush them; what tells two versions of a file apart."""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from typing import NamedTuple, TypeVar

from sessionstore.durable import commit_order
from sessionstore.durable.access import PRIVATE, Access
from sessionstore.durable.commit_order import CommitOrder
from sessionstore.durable.linux_calls import NO_SUCH_CALL

_T = TypeVar("_T")

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
SAFE_FLAGS: int = _NO_FOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Flags of every file that is opened here: no link is followed, and no FIFO waited for."""

_HAS_DIRECTORIES = os.open in os.supports_dir_fd and hasattr(os, "O_DIRECTORY")

_LEASE_WAIT = 2.0
"""Seconds for which an open waits for another process to give up its lease (fcntl_locking(2)).
Samba and other file servers do so in milliseconds; the kernel takes a lease away after 45 s."""

_NO_DIRECTORY_FLUSH = NO_SUCH_CALL | {errno.EBADF, errno.EISDIR}
"""What fsync(2) of a directory answers on vboxsf, 9p, CIFS and some of FUSE, which cannot do it.
EIO, ENOSPC, EDQUOT and EROFS are failures of one that can."""

_SHARING_RETRIES = 40
_SHARING_PAUSE = 0.025  # seconds; 40 of them are the second that scanners usually need


LINK_IN_STORE = (
    "it is a symbolic link: links inside a store are not followed; make the root itself the link,"
    " or bind-mount the other directory there"
)


class Signature(NamedTuple):
    """What tells one version of a file from another without reading it.

    The system reuses the inode number of a removed file. Two versions look the same only if their
    sizes agree, too, and both were written within one tick of the file system's clock: up to 10 ms
    before Linux 6.13, which counts finer for a file that somebody looks at.
    """

    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Signature:
        """Return the signature in ``status``."""
        return cls(status.st_ino, status.st_size, status.st_mtime_ns)


class Directory:
    """An open directory. Calls act in this very directory, even after it was moved.

    Windows has no descriptors of directories: there, names are joined to the path.
    """

    _fd: int | None = None

    def __init__(
        self,
        path: str,
        inside: Directory | None = None,
        *,
        in_store: bool = True,
        two_flushes: str = "",
    ) -> None:
        """Open ``path``, or the entry ``path`` of the directory ``inside``; links are refused.

        What is made outside a store (``in_store=False``) is private, here and further inside.
        ``two_flushes`` says why a save takes two of them, here and further inside; "" leaves that
        to the file system.
        """
        self.path: str = os.path.join(inside.path, path) if inside else path
        self.in_store: bool = in_store and (inside is None or inside.in_store)
        self.has_leftover: bool = False
        """Whether a temporary file in here could not be removed."""
        self._access: Access | None = None
        self._two_flushes: str = two_flushes or (inside._two_flushes if inside else "")
        self._commit_order: CommitOrder | None = None
        if _HAS_DIRECTORIES:
            flags = os.O_RDONLY | os.O_DIRECTORY | _NO_FOLLOW
            try:
                self._fd = os.open(path, flags, dir_fd=inside.fd if inside else None)
            except NotADirectoryError:
                if os.path.islink(self.path):
                    raise NotADirectoryError(errno.ENOTDIR, LINK_IN_STORE, self.path) from None
                raise
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
        """Whether enough descriptors are left; the system gives the lowest free number."""
        return self._fd is None or self._fd < _plentiful()

    def identity(self) -> tuple[int, int]:
        """Return device and inode of this directory."""
        status = os.stat(self.path) if self._fd is None else os.fstat(self._fd)
        return status.st_dev, status.st_ino

    @property
    def access(self) -> Access:
        """Who may use what is made in here: looked up once, with the first entry."""
        if self._access is None:
            if self._fd is None or not self.in_store:
                self._access = PRIVATE
            else:
                self._access = Access.inside(os.fstat(self._fd))
        return self._access

    @property
    def commit_order(self) -> CommitOrder:
        """Whether one flush makes a save in here durable: looked up once, with the first one."""
        if self._commit_order is None:
            if self._two_flushes or self._fd is None:
                why = self._two_flushes or "directories have no descriptors here"
                self._commit_order = CommitOrder(False, why)
            else:
                self._commit_order = commit_order.of(self._fd)
        return self._commit_order

    def open(self, name: str, flags: int) -> int:
        """Open ``name``; follow no link, and do not wait for the other end of a FIFO.

        A file that this makes (O_CREAT with O_EXCL) gets the mode and the owner of :attr:`access`.

        Raises:
            BlockingIOError: another process has a lease on the file and keeps it for two seconds.
            OSError: the system refused.
        """
        flags |= SAFE_FLAGS
        if self._fd is None:
            return retry_sharing(lambda: os.open(self.at(name), flags, 0o600))
        fd = self._open_leased(name, flags)
        if flags & os.O_EXCL and not self.access.is_plain:
            try:
                self.access.apply(fd)
            except BaseException:
                os.close(fd)
                with suppress(OSError):
                    self.unlink(name)
                raise
        return fd

    def _open_leased(self, name: str, flags: int) -> int:
        give_up: float | None = None
        while True:
            try:
                return os.open(name, flags, 0o600, dir_fd=self._fd)
            except BlockingIOError:  # the kernel has asked the holder of the lease to give it up
                give_up = give_up or time.monotonic() + _LEASE_WAIT
                if time.monotonic() > give_up:
                    raise
            time.sleep(0.01)

    def status(self, name: str) -> os.stat_result:
        """Return the status of ``name`` itself, never of what a link points to."""
        return os.stat(self.at(name), dir_fd=self._fd, follow_symlinks=False)

    def names(self) -> list[str]:
        """Return the names of all entries."""
        return os.listdir(self.path if self._fd is None else self._fd)

    def make_directory(self, name: str) -> None:
        """Make the directory ``name`` with the mode and the owner of :attr:`access`."""
        os.mkdir(self.at(name), 0o700, dir_fd=self._fd)
        if not self.access.is_plain:
            self.settle(name)

    def settle(self, name: str) -> None:
        """Give the directory ``name`` in here the mode and the owner of :attr:`access`.

        Raises:
            OSError: the system refuses, as where another user owns it.
        """
        with Directory(name, self) as entry:
            if entry.fd is not None:
                self.access.apply(entry.fd)

    def unlink(self, name: str) -> None:
        """Remove the file ``name``."""
        if self._fd is not None:
            os.unlink(name, dir_fd=self._fd)
        else:
            retry_sharing(lambda: os.unlink(self.at(name)))

    def link(self, name: str, target: Directory, target_name: str) -> None:
        """Give the file ``name`` a second name in ``target``, which must not exist there."""
        if self._fd is None:  # Windows knows neither descriptors nor follow_symlinks here
            os.link(self.at(name), target.at(target_name))
            return
        os.link(name, target_name, src_dir_fd=self._fd, dst_dir_fd=target.fd, follow_symlinks=False)

    def flush(self) -> bool:
        """Make the names in this directory durable; return whether that can be done here.

        Some file systems cannot, and Windows. There, a loss of power may take the newest names.
        The bytes of a flushed file are safe all the same.

        Raises:
            OSError: the flush failed.
        """
        if self._fd is None:
            return False
        try:
            flush(self._fd)
        except OSError as error:
            if error.errno in _NO_DIRECTORY_FLUSH:
                return False
            raise
        return True


@contextmanager
def made_below(directory: Directory, places: Iterable[str]) -> Iterator[Directory]:
    """Open the directory at the end of ``places``, each below the last; make those that lack."""
    with ExitStack() as stack:
        for place in places:
            with suppress(FileExistsError):
                directory.make_directory(place)
            directory = stack.enter_context(Directory(place, directory))
        yield directory


@cache
def _plentiful() -> int:
    """Return the number of open descriptors from which on none is kept for convenience."""
    try:
        import resource
    except ImportError:  # Windows, where directories have no descriptors
        return 0
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft // 2


def flush(fd: int) -> None:
    """Make the file or directory ``fd`` durable: with fsync, on macOS with F_FULLFSYNC.

    On macOS fsync hands the data to the drive, which may keep it in its cache (fsync(2)).
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

    Scanners and indexers open files without FILE_SHARE_DELETE and close them soon. Meanwhile the
    answer is ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION or ERROR_LOCK_VIOLATION.
    """
    for _ in range(_SHARING_RETRIES):
        try:
            return action()
        except OSError as error:
            if getattr(error, "winerror", None) not in (5, 32, 33):
                raise
        time.sleep(_SHARING_PAUSE)
    return action()
