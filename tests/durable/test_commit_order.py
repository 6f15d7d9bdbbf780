"""One flush or two: decided from what the kernel says, and two wherever it does not say enough."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from sessionstore import SessionStore
from sessionstore.durable import commit_order, linux_calls, mounts
from sessionstore.durable.commit_order import CommitOrder
from sessionstore.durable.directory import Directory
from sessionstore.durable.mounts import Mount
from tests.faults.support.images import Unavailable, image
from tests.support.processes import needs_linux, needs_root

EXT4 = (
    "rw\nbsddf\nnogrpid\nblock_validity\ndioread_nolock\ndelalloc\njournal_checksum\nbarrier\n"
    "auto_da_alloc\nuser_xattr\nacl\nnoquota\nerrors=continue\ncommit=5\ndata=ordered\n"
)
"""What /proc/fs/ext4/<device>/options holds, in part (Linux 6.18)."""
XFS = frozenset(("rw", "relatime", "attr2", "inode64", "logbufs=8", "logbsize=32k", "noquota"))


class Kernel:
    """The part of /proc and /sys that is looked at, as files below a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("sys/devices/loop0/dev", "7:0\n")
        root.joinpath("sys/dev/block").mkdir(parents=True)
        root.joinpath("sys/dev/block/7:0").symlink_to("../../devices/loop0")

    def write(self, path: str, text: str) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def ext4(self, options: str = EXT4, journal: str = "loop0-8") -> CommitOrder:
        self.write("proc/fs/ext4/loop0/options", options)
        self.write(f"proc/fs/jbd2/{journal}/info", "")
        return self.judge(Mount("ext4", "7:0", frozenset(("rw", "relatime"))))

    def xfs(self, *options: str, entries: str = "log") -> CommitOrder:
        self.write(f"sys/fs/xfs/loop0/{entries}/stats", "")
        return self.judge(Mount("xfs", "7:0", XFS.union(options)))

    def judge(self, mount: Mount) -> CommitOrder:
        return commit_order.judge(mount, str(self.root))


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


# --- the list ------------------------------------------------------------------------------------


def test_ext4_with_a_journal_and_xfs_need_one_flush(kernel: Kernel) -> None:
    assert str(kernel.ext4()) == "one flush: ext4, data=ordered"
    journal = kernel.ext4(EXT4.replace("data=ordered", "data=journal"))
    assert str(journal) == "one flush: ext4, data=journal"
    assert str(kernel.xfs()) == "one flush: XFS, internal log"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (EXT4.replace("data=ordered\n", ""), "ext4 without a journal"),
        (EXT4.replace("data=ordered", "data=writeback"), "ext4, data=writeback"),
        (EXT4.replace("data=ordered", "data=unheard"), "ext4, data=unheard"),
        (EXT4.replace("\nbarrier\n", "\nnobarrier\n"), "ext4 without barriers"),
        (EXT4.replace("\nbarrier\n", "\n"), "ext4 without barriers"),
        (EXT4 + "journal_async_commit\n", "ext4, journal_async_commit"),
        (EXT4 + "dax=always\n", "ext4, dax=always"),
        (EXT4 + "fc_debug_force\n", "ext4 with fast_commit"),
        ("", "ext4 without a journal"),
    ],
)
def test_an_ext4_that_is_mounted_otherwise_needs_two(
    kernel: Kernel, options: str, reason: str
) -> None:
    found = kernel.ext4(options)
    assert str(found) == f"two flushes: {reason}"
    assert bool(found.advice) is ("without barriers" in reason or "fast_commit" in reason)


@pytest.mark.parametrize("journal", ["loop1", "loop0", "loop1-8", "loop00-8", "loop0-8-9"])
def test_a_journal_that_is_not_inside_needs_two(kernel: Kernel, journal: str) -> None:
    assert str(kernel.ext4(journal=journal)) == "two flushes: ext4 with an external journal"


@pytest.mark.parametrize("option", ["logdev=/dev/sdb", "rtdev=/dev/sdb", "dax=always"])
def test_an_xfs_with_another_device_needs_two(kernel: Kernel, option: str) -> None:
    name = option.partition("=")[0]
    assert str(kernel.xfs(option)) == f"two flushes: XFS, {name}"


def test_an_old_xfs_without_barriers_and_a_zoned_one_need_two(kernel: Kernel) -> None:
    assert str(kernel.xfs("nobarrier")) == "two flushes: XFS without barriers"
    assert "barriers" in kernel.xfs("nobarrier").advice
    assert str(kernel.xfs(entries="zoned")) == "two flushes: XFS, zoned"


@pytest.mark.parametrize("kind", ["ext3", "ext2", "btrfs", "tmpfs", "overlay", "nfs4", "fuse.ext4"])
def test_every_other_file_system_needs_two(kernel: Kernel, kind: str) -> None:
    found = kernel.judge(Mount(kind, "7:0", frozenset(("rw",))))
    assert str(found) == f"two flushes: {kind} is not known to need only one"


@pytest.mark.parametrize(
    "gone", ["sys/dev/block/7:0", "proc/fs/ext4/loop0/options", "proc/fs/jbd2/loop0-8/info"]
)
def test_what_cannot_be_read_is_an_error_which_means_two(kernel: Kernel, gone: str) -> None:
    kernel.ext4()
    kernel.root.joinpath(gone).unlink()
    if "jbd2" in gone:
        kernel.root.joinpath("proc/fs/jbd2/loop0-8").rmdir()
        kernel.root.joinpath("proc/fs/jbd2").rmdir()
    with pytest.raises(FileNotFoundError):
        kernel.judge(Mount("ext4", "7:0", frozenset()))
    with pytest.raises(FileNotFoundError):
        kernel.judge(Mount("xfs", "7:0", frozenset()))


# --- what stands between the list and a save -----------------------------------------------------

Patch = pytest.MonkeyPatch


@pytest.fixture
def listed(monkeypatch: Patch, tmp_path: Path) -> Path:
    """A directory whose file system needs one flush, as far as the list goes."""
    status = tmp_path.stat()
    device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    monkeypatch.setattr(commit_order, "_decided", {})
    monkeypatch.setattr(mounts, "mount_of", lambda _: Mount("ext4", device, frozenset()))
    monkeypatch.setattr(commit_order, "judge", lambda _: CommitOrder(True, "listed"))
    return tmp_path


def order_of(path: Path) -> str:
    with Directory(str(path)) as directory:
        return str(directory.commit_order)


@needs_linux("one flush is only known of Linux")
def test_a_listed_file_system_gets_one_flush(listed: Path) -> None:
    assert order_of(listed) == "one flush: listed"


@needs_linux("one flush is only known of Linux")
@pytest.mark.parametrize("call", ["sync_file_range", "renameat2"])
@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM, errno.EINVAL])
def test_where_a_sandbox_refuses_a_call_there_are_two(
    listed: Path, monkeypatch: Patch, call: str, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(linux_calls, call, refuse)
    assert order_of(listed) == f"two flushes: listed, but {call} is refused here"


@needs_linux("one flush is only known of Linux")
def test_a_device_that_the_mount_does_not_name_gets_two(listed: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(mounts, "mount_of", lambda _: Mount("ext4", "0:1", frozenset()))
    assert order_of(listed) == "two flushes: ext4 on a device that its mount does not name"
    commit_order._decided.clear()
    monkeypatch.setattr(mounts, "mount_of", lambda _: None)
    assert order_of(listed) == "two flushes: its mount is not listed"


@needs_linux("one flush is only known of Linux")
def test_it_is_decided_once_for_each_mount_and_a_failed_look_is_not_remembered(
    listed: Path, monkeypatch: Patch
) -> None:
    asked: list[Mount] = []

    def judge(mount: Mount) -> CommitOrder:
        asked.append(mount)
        if len(asked) == 1:
            raise OSError(errno.EMFILE, "Too many open files")
        return CommitOrder(True, "listed")

    monkeypatch.setattr(commit_order, "judge", judge)
    monkeypatch.setattr(linux_calls, "mount_id", lambda _: 7)
    unread = "the kernel does not tell the file system's mode (Too many open files)"
    assert order_of(listed) == f"two flushes: {unread}"
    assert [order_of(listed), order_of(listed)] == ["one flush: listed"] * 2
    assert len(asked) == 2
    monkeypatch.setattr(linux_calls, "mount_id", lambda _: None)  # before Linux 6.8
    assert [order_of(listed), order_of(listed)] == ["one flush: listed"] * 2
    assert len(asked) == 4


def test_elsewhere_than_on_linux_there_are_two(listed: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr("sessionstore.process.kernel.PLATFORM", "darwin")
    assert order_of(listed).startswith("two flushes: ")


# --- turned off ----------------------------------------------------------------------------------


@needs_linux("one flush is only known of Linux")
def test_the_argument_and_the_environment_turn_it_off(listed: Path, monkeypatch: Patch) -> None:
    def flushes(**options: Any) -> str:
        store = SessionStore(listed / "store", **options)
        store.create("goal").complete()
        return str(store.stats(sizes=False).flushes)

    assert flushes() == flushes(flushes="auto") == "one flush: listed"
    assert flushes(flushes="two") == "two flushes: the store was opened with flushes='two'"
    monkeypatch.setenv("SESSIONSTORE_FLUSHES", "two")
    assert flushes() == "two flushes: SESSIONSTORE_FLUSHES is 'two'"
    monkeypatch.setenv("SESSIONSTORE_FLUSHES", "")
    assert flushes() == "one flush: listed"


def test_a_value_that_is_not_known_is_refused(tmp_path: Path, monkeypatch: Patch) -> None:
    with pytest.raises(ValueError, match="flushes must be 'auto' or 'two', not 'one'"):
        SessionStore(tmp_path, flushes="one")  # type: ignore[call-overload]
    monkeypatch.setenv("SESSIONSTORE_FLUSHES", "1")
    with pytest.raises(ValueError, match="SESSIONSTORE_FLUSHES must be 'auto' or 'two', not '1'"):
        SessionStore(tmp_path)


# --- real file systems ---------------------------------------------------------------------------


@needs_root("it mounts file systems")
@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("ext4", "one flush: ext4, data=ordered"),
        ("xfs", "one flush: XFS, internal log"),
        ("btrfs", "two flushes: btrfs is not known to need only one"),
    ],
)
def test_what_this_kernel_says_of_a_mounted_image_is_understood(kind: str, wanted: str) -> None:
    try:
        with image(kind) as made:
            assert order_of(made.path) == wanted
    except Unavailable as reason:
        pytest.skip(str(reason))
