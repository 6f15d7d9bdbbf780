"""Which file system a path lies on, and whether one kernel alone serves it."""

from __future__ import annotations

import os
from typing import NamedTuple

from sessionstore.process import kernel

UNKNOWN = "unknown"
"""The kind of a file system that nobody can tell."""

_ONE_KERNEL = (
    "apfs bcachefs btrfs exfat ext2 ext3 ext4 f2fs hfs jfs nilfs2 ntfs ntfs3 overlay ramfs refs"
    " reiserfs tmpfs ufs vfat xfs zfs"
)

_LASTING_INODES = (
    "apfs bcachefs btrfs ext2 ext3 ext4 f2fs hfs jfs nilfs2 overlay ramfs reiserfs tmpfs ufs xfs"
    " zfs"
)


class Mount(NamedTuple):
    """A mount as the kernel lists it (proc_pid_mountinfo(5))."""

    kind: str
    """Of its file system, in small letters."""
    device: str
    """Major and minor number: ``8:1``."""
    options: frozenset[str]
    """Of the mount and of its file system."""


def is_local(path: str) -> tuple[bool, str]:
    """Return whether the file system of ``path`` is known to have one kernel, and its name."""
    kind = kind_of(path)
    return has_one_kernel(kind), kind


def has_one_kernel(kind: str) -> bool:
    """Return whether one kernel serves this kind of file system, and so has all its locks."""
    return kind in _ONE_KERNEL.split()


def kind_of(path: str) -> str:
    """Return the kind of file system that ``path`` lies on, or will lie on once it is made.

    The answer is ``unknown`` where it cannot be found out, perhaps only for the moment.
    """
    if kernel.PLATFORM != "linux":
        return _kind_by_name(os.path.realpath(path))
    try:
        return _kind_by_descriptor(path)
    except (OSError, ValueError):
        return UNKNOWN


def _kind_by_descriptor(path: str) -> str:
    """Ask for the mount of the opened path: names say little of mounts that lie over others."""
    fd = _open_nearest(path)
    try:
        mount = mount_of(fd)
    finally:
        os.close(fd)
    return UNKNOWN if mount is None else mount.kind


def mount_of(fd: int) -> Mount | None:
    """Return the mount of an open file or directory (Linux only); None if it is not listed.

    In a chroot, mounts from outside are not listed.

    Raises:
        OSError: the kernel does not tell.
        ValueError: what it tells is not understood.
    """
    with open(f"/proc/self/fdinfo/{fd}", "rb") as file:
        fields = dict(line.split(b":", 1) for line in file.read().split(b"\n") if b":" in line)
    wanted = fields[b"mnt_id"].strip() if b"mnt_id" in fields else None
    with open("/proc/self/mountinfo", "rb") as file:
        for line in file.read().split(b"\n"):
            before, _, after = line.partition(b" - ")
            if before.partition(b" ")[0] == wanted:
                try:
                    return _parsed(before.split(b" "), after.split(b" "))
                except IndexError:
                    raise ValueError(f"a mount is listed as {line!r}") from None
    return None


def _parsed(before: list[bytes], after: list[bytes]) -> Mount:
    options = before[5].split(b",") + after[2].split(b",")
    return Mount(
        kind=after[0].decode("ascii").lower(),
        device=before[2].decode("ascii"),
        options=frozenset(os.fsdecode(option) for option in options),
    )


def _open_nearest(path: str) -> int:
    while True:
        try:
            return os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            above = os.path.dirname(path)
            if above in ("", path):
                raise
            path = above


def _kind_by_name(real: str) -> str:
    best, kind = "", UNKNOWN
    for mount, of in kernel.partitions():
        inside = real == mount or real.startswith(mount.rstrip(os.sep) + os.sep)
        if inside and len(mount) >= len(best):
            best, kind = mount, of.lower()
    return kind


def keeps_inodes(path: str) -> bool:
    """Return whether a file of the file system of ``path`` is known to keep its inode number.

    FUSE, network file systems and vfat may give a file another one once the kernel forgot it.
    """
    return kind_of(path) in _LASTING_INODES.split()
