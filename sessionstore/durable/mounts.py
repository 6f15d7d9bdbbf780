"""Which file system a path lies on, and whether one kernel alone serves it."""

from __future__ import annotations

import os

from sessionstore.process import kernel

_ONE_KERNEL = (
    "apfs bcachefs btrfs exfat ext2 ext3 ext4 f2fs hfs jfs nilfs2 ntfs ntfs3 overlay ramfs refs"
    " reiserfs tmpfs ufs vfat xfs zfs"
)

_LASTING_INODES = (
    "apfs bcachefs btrfs ext2 ext3 ext4 f2fs hfs jfs nilfs2 overlay ramfs reiserfs tmpfs ufs xfs zfs"
)


def is_local(path: str) -> tuple[bool, str]:
    """Return whether the file system of ``path`` is known to have one kernel, and its name."""
    real = os.path.realpath(path)
    best, kind = "", "unknown"
    for mount, of in mounted():
        inside = real == mount or real.startswith(mount.rstrip(os.sep) + os.sep)
        if inside and len(mount) >= len(best):
            best, kind = mount, of.lower()
    return kind in _ONE_KERNEL.split(), kind


def keeps_inodes(path: str) -> bool:
    """Return whether a file of the file system of ``path`` is known to keep its inode number.

    FUSE, network file systems and vfat may give a file another one once the kernel forgot it.
    """
    return is_local(path)[1] in _LASTING_INODES.split()


def mounted() -> list[tuple[str, str]]:
    """Return where file systems are mounted, and the type of each; [] where nobody can tell.

    Linux has one file that says so. psutil reads the same file, and is slow to load.
    """
    try:
        with open("/proc/self/mounts", "rb") as file:
            lines = [line.split(b" ") for line in file.read().split(b"\n") if line]
        return [(unescape(line[1]), line[2].decode()) for line in lines]
    except (OSError, IndexError, ValueError):
        return kernel.partitions()


def unescape(name: bytes) -> str:
    r"""Return a path of proc_pid_mounts(5), where ``\040`` stands for a space."""
    first, *rest = name.split(b"\\")
    return os.fsdecode(first + b"".join(bytes([int(one[:3], 8)]) + one[3:] for one in rest))
