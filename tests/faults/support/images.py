"""File systems of our own to break: images in files, and memory of a fixed size.

Everything is unmounted and removed when the block ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN: _IOR('X', 125, __u32)
_NO_LOG_FLUSH = 2

SIZES = {"ext4": 64 << 20, "xfs": 320 << 20, "btrfs": 128 << 20}
"""Bytes of an image, most of which the file that holds it never has."""

_MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
}


_OPTIONS = {
    "ext4": "commit=600",  # seconds; else the kernel flushes all by itself every five (ext4(5))
    "xfs": "nouuid",  # the file system that was cut may still be known to the kernel, see boot()
    "btrfs": "commit=300",
}


class Unavailable(Exception):
    """This machine cannot mount such a file system."""


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{' '.join(command[:2])}: {(done.stderr or done.stdout).strip()}")


def _unmount(path: Path) -> None:
    subprocess.run(["umount", str(path)], capture_output=True, check=True)


@dataclass
class Image:
    """A file system in a file, mounted at :attr:`path`."""

    kind: str
    file: Path
    path: Path
    mounted: bool = False

    def mount(self) -> Self:
        options = f"loop,{_OPTIONS[self.kind]}"
        _run("mount", "-t", self.kind, "-o", options, str(self.file), str(self.path))
        self.mounted = True
        return self

    def unmount(self) -> None:
        _unmount(self.path)
        self.mounted = False

    def cut_power(self) -> None:
        """Cut the power: nothing that was not flushed reaches the image.

        Raises OSError where the file system knows no shutdown.
        """
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(fd)
        # The cut has to be seen: from now on nothing can be written.
        with suppress(OSError):
            os.mkdir(self.path / "after-the-cut")
            raise AssertionError("the file system still works after its power was cut")

    def become_read_only(self) -> None:
        """Let the kernel find an error (ext4 only): as read-only, whoever has files open there.

        A remount is refused while anybody has a file open for writing, such as a lock.
        """
        _run("mount", "-o", "remount,abort", str(self.path))

    def boot(self) -> None:
        """Mount again what the cut left.

        It is a copy of the image that is mounted: a process that copied our mounts into a
        namespace of its own meanwhile keeps the file system that was cut alive, and the kernel
        would hand us that one.
        """
        self.unmount()
        copy = self.file.with_name(self.file.name + "+")
        _run("cp", "--sparse=always", str(self.file), str(copy))
        os.replace(copy, self.file)
        self.mount()


@contextmanager
def image(kind: str) -> Iterator[Image]:
    """A new, mounted file system of ``kind``: ext4, xfs or btrfs.

    Raises:
        Unavailable: this machine has no such file system, or no loop device.
    """
    if shutil.which(_MAKE[kind][0]) is None:
        raise Unavailable(f"{_MAKE[kind][0]} is not installed")
    base = Path(tempfile.mkdtemp(prefix="sessionstore-image-"))
    made = Image(kind, base / "image", base / "mounted")
    try:
        made.path.mkdir()
        with made.file.open("wb") as file:
            file.truncate(SIZES[kind])
        _run(*_MAKE[kind], str(made.file))
        yield made.mount()
    finally:
        _remove(base, made.path, mounted=made.mounted)


@contextmanager
def memory(**options: object) -> Iterator[Path]:
    """A new tmpfs, such as ``memory(size="64k")`` or ``memory(nr_inodes=20)``."""
    base = Path(tempfile.mkdtemp(prefix="sessionstore-tmpfs-"))
    path = base / "mounted"
    mounted = False
    try:
        path.mkdir()
        joined = ",".join(f"{name}={value}" for name, value in options.items())
        _run("mount", "-t", "tmpfs", "-o", f"mode=0700,{joined}", "tmpfs", str(path))
        mounted = True
        yield path
    finally:
        _remove(base, path, mounted=mounted)


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Mount ``path`` again, as read-only, for as long as the block runs."""
    _run("mount", "-o", "remount,ro", str(path))
    try:
        yield
    finally:
        _run("mount", "-o", "remount,rw", str(path))


def _remove(base: Path, path: Path, *, mounted: bool) -> None:
    try:
        if mounted:
            _unmount(path)
    except subprocess.CalledProcessError:
        # Something still has a file open, after a failed test: let the kernel wait for it.
        subprocess.run(["umount", "-l", str(path)], capture_output=True, check=True)
    finally:
        # Never below a mount that is still there: only what we made ourselves.
        for name in ("image", "image+"):
            with suppress(OSError):
                os.unlink(base / name)
        os.rmdir(path)
        os.rmdir(base)
