"""Decide whether one flush makes a save durable, or two: by what the kernel says, never a guess.

Everywhere a save can flush the new file, exchange it for the old one, and flush the directory.
Where names and the places of bytes share one ordered journal, the first flush can go: the bytes
are written out and waited for, then come the exchange and one flush of the directory. The commit
of the exchange carries everything before it, and empties the cache of the drive first.

That is so on ext4 with a journal of its own (data=ordered or data=journal, barriers on) and on XFS
with an internal log and no real-time section. On any other file system, and where something cannot
be read or is refused, a save takes two flushes. docs/one-flush.md gives the argument.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from sessionstore.durable import linux_calls, mounts
from sessionstore.durable.mounts import Mount
from sessionstore.process import kernel

VARIABLE = "SESSIONSTORE_FLUSHES"
"""The variable of the environment that asks for two flushes, whatever the program asks for."""

_CHOICES = ("auto", "two")
_FAST_COMMIT = "fc_debug_force"
"""How ext4 shows the feature fast_commit (since Linux 5.10). Up to Linux 6.18 a crash can take what
was flushed there, by anybody, and leave an image that does not mount."""

_WITH_BARRIERS = "mount it with barriers, unless the drive and its cache have power of their own"

_MOST_MOUNTS = 64
"""So many decisions are remembered: a process that sees more mounts than that decides again."""


class CommitOrder(NamedTuple):
    """How a save is made durable on one file system, and why so."""

    is_one: bool
    """Whether the flush of the directory, after an exchange, carries bytes that were written."""
    reason: str
    advice: str = ""
    """What to do where a loss of power can take what was flushed; "" where it cannot."""

    def __str__(self) -> str:
        return f"{'one flush' if self.is_one else 'two flushes'}: {self.reason}"


_decided: dict[int, CommitOrder] = {}
"""By mount. A mount keeps its mode: ext4 and XFS refuse to change it in a remount."""


def of(fd: int) -> CommitOrder:
    """Return the order for what is in the open directory ``fd``, decided once for each mount."""
    if kernel.PLATFORM != "linux":
        return _two("this is not Linux")
    mount = linux_calls.mount_id(fd)
    if mount is not None and mount in _decided:
        return _decided[mount]
    try:
        found = _decide(fd)
    except (OSError, ValueError) as error:
        # Not remembered: the next look may succeed.
        why = error.strerror if isinstance(error, OSError) else error
        return _two(f"the kernel does not tell the file system's mode ({why})")
    if mount is not None and len(_decided) < _MOST_MOUNTS:
        _decided[mount] = found
    return found


def wants_two(flushes: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return why two flushes are asked for; "" if one is enough where one is.

    ``flushes`` is "auto" or "two".

    Raises:
        ValueError: it is neither, or the variable of the environment is.
    """
    if flushes not in _CHOICES:
        raise ValueError(f"flushes must be 'auto' or 'two', not {flushes!r}")
    named = environment.get(VARIABLE) or "auto"
    if named not in _CHOICES:
        raise ValueError(f"{VARIABLE} must be 'auto' or 'two', not {named!r}")
    if named == "two":
        return f"{VARIABLE} is 'two'"
    return "the store was opened with flushes='two'" if flushes == "two" else ""


def _two(reason: str, *, advice: str = "") -> CommitOrder:
    return CommitOrder(False, reason, advice)


def _decide(fd: int) -> CommitOrder:
    mount = mounts.mount_of(fd)
    if mount is None:
        return _two("its mount is not listed")
    found = judge(mount)
    device = os.fstat(fd).st_dev
    if found.is_one and mount.device != f"{os.major(device)}:{os.minor(device)}":
        return _two(f"{mount.kind} on a device that its mount does not name")
    if found.is_one and (call := _refused_call(fd)):
        return _two(f"{found.reason}, but {call} is refused here")
    return found


def judge(mount: Mount, root: str = "/") -> CommitOrder:
    """Return the order for a mount, from what the kernel tells below ``root``.

    Raises:
        OSError: what has to be known cannot be read.
    """
    if mount.kind == "ext4":
        return _judge_ext4(_device_name(mount, root), root)
    if mount.kind == "xfs":
        return _judge_xfs(mount, _device_name(mount, root), root)
    return _two(f"{mount.kind} is not known to need only one")


def _judge_ext4(device: str, root: str) -> CommitOrder:
    with open(os.path.join(root, "proc/fs/ext4", device, "options"), encoding="utf-8") as file:
        options = set(file.read().split())
    mode = next((option for option in options if option.startswith("data=")), None)
    if mode is None:
        return _two("ext4 without a journal")
    if "barrier" not in options:
        return _two("ext4 without barriers", advice=_WITH_BARRIERS)
    if _FAST_COMMIT in options:
        return _two("ext4 with fast_commit", advice="turn it off: tune2fs -O ^fast_commit DEVICE")
    if mode not in ("data=ordered", "data=journal"):
        return _two(f"ext4, {mode}")
    for option in ("journal_async_commit", "dax", "dax=always"):
        if option in options:
            return _two(f"ext4, {option}")
    # A journal on a device of its own has the name of that device, and no inode's number.
    journals = os.listdir(os.path.join(root, "proc/fs/jbd2"))
    if not any(re.fullmatch(re.escape(device) + r"-[0-9]+", name) for name in journals):
        return _two("ext4 with an external journal")
    return CommitOrder(True, f"ext4, {mode}")


def _judge_xfs(mount: Mount, device: str, root: str) -> CommitOrder:
    for option in sorted(mount.options):
        name = option.partition("=")[0]
        if name in ("logdev", "rtdev") or option == "dax=always":
            return _two(f"XFS, {name}")
        if name == "nobarrier":  # before Linux 4.19
            return _two("XFS without barriers", advice=_WITH_BARRIERS)
    # A real-time section on the same device (Linux 6.15) is no option of the mount.
    if "zoned" in os.listdir(os.path.join(root, "sys/fs/xfs", device)):
        return _two("XFS, zoned")
    return CommitOrder(True, "XFS, internal log")


def _device_name(mount: Mount, root: str) -> str:
    """Return how the kernel names the device of a mount: ``sda1``, ``dm-0``, ``nvme0n1p2``."""
    return os.path.basename(os.readlink(os.path.join(root, "sys/dev/block", mount.device)))


def _refused_call(fd: int) -> str | None:
    """Return the name of a call that a sandbox refuses, or that this system lacks."""
    try:
        linux_calls.sync_file_range(fd)  # of a directory it does nothing
    except OSError as error:
        if error.errno in linux_calls.NO_SUCH_CALL:
            return "sync_file_range"
        raise
    try:
        linux_calls.renameat2(fd, _ABSENT, fd, _ABSENT, linux_calls.RENAME_EXCHANGE)
    except OSError as error:
        if error.errno in linux_calls.NO_SUCH_CALL:
            return "renameat2"
        if error.errno != errno.ENOENT:
            raise
    return None


_ABSENT = ".new-absent"
"""A name that is nowhere: an exchange of it fails with ENOENT where there are exchanges."""
