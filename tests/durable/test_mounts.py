"""Which file system a store lies on: told from the kernel's own list, as psutil tells it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

from sessionstore.durable import mounts
from sessionstore.process import kernel
from tests.support.processes import needs_linux, needs_root


def test_the_file_system_of_the_tests_is_known(tmp_path: Path) -> None:
    assert mounts.is_local(str(tmp_path))[1] != "unknown"
    assert mounts.is_local("/proc")[0] is False


def test_what_is_mounted_is_known_as_psutil_knows_it() -> None:
    for _ in range(100):  # other tests mount and unmount meanwhile
        known = [(disk.mountpoint, disk.fstype) for disk in psutil.disk_partitions(all=True)]
        if mounts.mounted() == known:
            return
    assert mounts.mounted() == known


@pytest.mark.parametrize(
    ("written", "path"),
    [
        (b"/", "/"),
        (b"/mnt/a\\040b\\011c", "/mnt/a b\tc"),
        (b"/mnt/\\134040\\012", "/mnt/\\040\n"),
        (b"/mnt/caf\xc3\xa9\xff", "/mnt/caf\N{LATIN SMALL LETTER E WITH ACUTE}\udcff"),
    ],
)
def test_the_name_of_a_mount_is_read_as_the_kernel_writes_it(written: bytes, path: str) -> None:
    assert mounts.unescape(written) == path


@needs_linux("/proc/self/mounts")
@needs_root("to mount")
def test_a_store_below_a_mount_with_a_space_in_its_name_is_known(tmp_path: Path) -> None:
    place = tmp_path / "a place\\040"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(place)], check=True)
    try:
        assert mounts.is_local(str(place / "store")) == (True, "tmpfs")
    finally:
        subprocess.run(["umount", str(place)], check=True)


@needs_linux("/proc/self/mounts")
def test_where_the_kernel_has_no_such_file_psutil_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> Any:
        raise FileNotFoundError

    known = [(str(tmp_path), "NFS4"), ("/", "ext4")]
    monkeypatch.setattr(kernel, "partitions", lambda: known)
    monkeypatch.setattr("builtins.open", refuse)
    assert mounts.mounted() == known
    assert mounts.is_local(str(tmp_path / "store")) == (False, "nfs4")
    assert mounts.is_local("/elsewhere") == (True, "ext4")
