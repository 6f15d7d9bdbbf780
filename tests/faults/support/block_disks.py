"""File systems whose disks are recorded, and what of them a power cut leaves, mounted again."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path

from tests.faults.support import block_log
from tests.faults.support.images import Unavailable
from tests.support.processes import Child


@dataclass(frozen=True)
class Kind:
    """A file system with its options."""

    name: str
    """Of the file system: ext4, xfs or btrfs."""
    make: str = ""
    """Options of mkfs."""
    mount: str = ""
    """Options of mount, joined by commas."""
    log: str = ""
    """The option of mount that names the device of an external journal, if it has one."""
    key: bool = False
    """Whether the store lies in an encrypted directory."""

    @property
    def devices(self) -> tuple[str, ...]:
        return ("disk", "journal") if self.log else ("disk",)


KINDS = {
    "ext4": Kind("ext4", "-b 4096"),
    "ext4, data=journal": Kind("ext4", "-b 4096", "data=journal"),
    "ext4, data=writeback": Kind("ext4", "-b 4096", "data=writeback"),
    "ext4, 1 KiB blocks": Kind("ext4", "-b 1024"),
    "ext4, nodelalloc": Kind("ext4", "-b 4096", "nodelalloc"),
    "ext4, bigalloc": Kind("ext4", "-b 4096 -O bigalloc -C 16384"),
    "ext4, inline_data": Kind("ext4", "-b 4096 -O inline_data"),
    "ext4, encrypted": Kind("ext4", "-b 4096 -O encrypt", key=True),
    "ext4, quota": Kind("ext4", "-b 4096 -O quota", mount="usrquota"),
    "ext4, external journal": Kind("ext4", "-b 4096", log="journal_path"),
    "xfs": Kind("xfs"),
    "xfs, lazytime": Kind("xfs", mount="lazytime"),
    "xfs, no reflink": Kind("xfs", make="-m reflink=0"),
    "xfs, quota": Kind("xfs", mount="uquota"),
    "xfs, external log": Kind("xfs", log="logdev"),
    "btrfs": Kind("btrfs"),
}
"""By the name that the tables show."""

FAST_COMMIT = Kind("ext4", "-b 4096 -O fast_commit")
"""Up to Linux 6.18 it loses what was flushed, and leaves images that do not mount."""

MAY_LACK = {
    "ext4, encrypted": "the kernel lacks fscrypt",
    "ext4, quota": "the kernel lacks quota files",
    "xfs, quota": "the kernel lacks quotas of XFS",
}
"""Kinds that need what kernels are often built without."""

_SIZES = {"ext4": 64 << 20, "xfs": 320 << 20, "btrfs": 128 << 20, "journal": 72 << 20}
_MAKE = {
    # Tables and journal are made at once: no thread of the kernel writes them later.
    "ext4": "mkfs.ext4 -q -F -E nodiscard,lazy_itable_init=0,lazy_journal_init=0",
    "xfs": "mkfs.xfs -q -f -K",
    "btrfs": "mkfs.btrfs -q -f -K",
}
_MOUNT = {"ext4": "nodiscard", "xfs": "nouuid", "btrfs": "nodiscard"}
_KEY = bytes(range(64))


def run(*command: str, data: bytes | None = None) -> str:
    """Run a command, and return what it says.

    Raises:
        Unavailable: it failed.
    """
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).decode().strip()
        raise Unavailable(f"{' '.join(command)}: {said}")
    return done.stdout.decode().strip()


@contextmanager
def loops(files: Sequence[Path], *, direct: bool = False) -> Iterator[list[str]]:
    """Attach a loop device to each file; whatever is still mounted from it keeps it for a while."""
    devices: list[str] = []
    try:
        for file in files:
            asked = ["losetup", "--find", "--show"]
            asked += ["--direct-io=on"] if direct else []
            devices.append(run(*asked, str(file)))
        yield devices
    finally:
        for device in devices:
            subprocess.run(["losetup", "-d", device], capture_output=True, check=False)


@contextmanager
def mounted(
    kind: Kind, files: Sequence[Path], path: Path, *, direct: bool = False
) -> Iterator[None]:
    """Mount a file system of ``files``, and unmount it.

    A process that copied our mounts into a namespace of its own keeps it for longer, so no other
    file system may be written to the same files. btrfs takes images of one origin for one file
    system, but gives the second one another identity (temp_fsid, Linux 6.7).

    Raises:
        Unavailable: the kernel does not mount it.
    """
    with loops(files, direct=direct) as (device, *others):
        options = ",".join(
            option
            for option in (_MOUNT[kind.name], kind.mount, *(f"{kind.log}={x}" for x in others))
            if option
        )
        run("mount", "-t", kind.name, "-o", options, device, str(path))
    try:
        if kind.key:
            run("xfs_io", "-c", "add_enckey", str(path), data=_KEY)
        yield
    finally:
        try:
            run("umount", str(path))
        except Unavailable:  # something failed, and has a file open
            run("umount", "-l", str(path))


def store_in(kind: Kind, path: Path) -> Path:
    """Return where the store is to be, in a file system that is mounted at ``path``."""
    return path / "vault" / "store" if kind.key else path / "store"


def _make(kind: Kind, files: Sequence[Path]) -> None:
    for name, file in zip(kind.devices, files, strict=True):
        with file.open("wb") as opened:
            opened.truncate(_SIZES["journal" if name == "journal" else kind.name])
    command = [*_MAKE[kind.name].split(), *kind.make.split()]
    if not kind.log:
        run(*command, str(files[0]))
    else:
        with loops(files) as (disk, journal):
            if kind.name == "ext4":
                run("mkfs.ext4", "-q", "-F", "-b", "4096", "-O", "journal_dev", journal)
                run(*command, "-J", f"device={journal}", disk)
            else:
                run(*command, "-l", f"logdev={journal}", disk)
    for file in files:
        copy(file, file.with_suffix(".sparse"), sparse=True)
        os.replace(file.with_suffix(".sparse"), file)


def copy(source: Path, target: Path, *, sparse: bool = False) -> None:
    how = "always" if sparse else "auto"
    run("cp", f"--sparse={how}", str(source), str(target))


class Recording:
    """A file system that is recorded while it is mounted at :attr:`path`."""

    def __init__(self, kind: Kind, place: Path) -> None:
        self.kind = kind
        self.place = place
        self.path = place / "mounted"
        self.root = store_in(kind, self.path)

    def tell(self, text: str) -> None:
        """Log what a program was told, after all that the disk has written until now."""
        fd = os.open(self.place / "disks" / block_log.ACKS, os.O_WRONLY)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)

    def entries(self) -> list[block_log.Entry]:
        """Return what was logged."""
        return block_log.read(self.place / "log")

    def base(self) -> list[Path]:
        """Return the images as they were before anything was logged."""
        return [self.place / "base" / name for name in self.kind.devices]


@contextmanager
def recorded(kind: Kind) -> Iterator[Recording]:
    """A new file system of ``kind``, below a directory that is removed at the end.

    :func:`running` mounts it.

    Raises:
        Unavailable: this machine has none.
    """
    command = _MAKE[kind.name].split()[0]
    if shutil.which(command) is None:
        raise Unavailable(f"{command} is not installed")
    if not find_library("fuse3"):
        raise Unavailable("libfuse3 is not installed")
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    place = Path(tempfile.mkdtemp(prefix="sessionstore-blocks-", dir=memory))
    with Child("faults.support.block_log.clean_up_after", place):  # if this process is killed
        try:
            for name in ("images", "base", "disks", "mounted", "crashed"):
                (place / name).mkdir()
            _make_base(kind, place)
            yield Recording(kind, place)
        finally:
            block_log.unmount_below(place)
            shutil.rmtree(place)


def _make_base(kind: Kind, place: Path) -> None:
    images = [place / "images" / name for name in kind.devices]
    _make(kind, images)
    if kind.key:
        with mounted(kind, images, place / "mounted"):
            vault = place / "mounted" / "vault"
            vault.mkdir()
            identifier = run("xfs_io", "-c", "add_enckey", str(vault), data=_KEY).split()[-1]
            run("xfs_io", "-c", f"set_encpolicy -v 2 {identifier}", str(vault))
    for image in images:
        copy(image, place / "base" / image.name)


@contextmanager
def running(recording: Recording) -> Iterator[Path]:
    """Mount the file system, record, and let a second process flush a file of it all the time."""
    disks, names = recording.place / "disks", recording.kind.devices
    with Child("faults.support.block_log.serve", recording.place, *names) as server:
        server.hear()
        try:
            with ExitStack() as stack:
                files = [disks / name for name in names]
                stack.enter_context(mounted(recording.kind, files, recording.path, direct=True))
                other = stack.enter_context(
                    Child("faults.support.block_log.flush_all_the_time", recording.path)
                )
                other.hear()
                yield recording.root
        finally:
            with suppress(Unavailable):
                run("umount", "-l", str(disks))
        assert server.wait() == 0
