"""Which file system a store lies on: told from the mount of the directory itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from sessionstore.durable import mounts
from sessionstore.process import kernel
from tests.support.processes import needs_linux, needs_root

Mount = Callable[..., Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """What mounts a file system at a directory below ``tmp_path``, until the test ends."""
    with ExitStack() as mounted:

        def run(name: str | bytes, *arguments: object) -> Path:
            place = tmp_path / os.fsdecode(name)
            place.mkdir(exist_ok=True)
            subprocess.run(["mount", *map(str, arguments), place], check=True)
            mounted.callback(partial(subprocess.run, ["umount", place], check=True))
            return place

        yield run


def test_the_file_system_of_the_tests_is_known(tmp_path: Path) -> None:
    assert mounts.is_local(str(tmp_path))[1] != mounts.UNKNOWN
    assert mounts.is_local("/proc")[0] is False


@needs_linux("/proc/self/mountinfo")
def test_what_is_mounted_is_known_as_psutil_knows_it() -> None:
    told = {disk.mountpoint: disk.fstype for disk in psutil.disk_partitions(all=True)}
    compared = 0
    for place, kind in told.items():
        if kind != "autofs" and os.access(place, os.R_OK):
            found = mounts.kind_of(place)
            compared += found == kind.lower()
    assert compared >= len(told) // 2 > 0  # other tests mount and unmount meanwhile


@needs_root("to mount")
@pytest.mark.parametrize(
    "name", ["a place\\040", b"caf\xe9\xff", "a - b"], ids=["space", "not UTF-8", "dash"]
)
def test_a_store_below_a_mount_with_an_odd_name_is_known(mount: Mount, name: str | bytes) -> None:
    place = mount(name, "-t", "tmpfs", "none")
    assert mounts.is_local(str(place / "store" / "locks")) == (True, "tmpfs")


@needs_root("to mount")
def test_of_mounts_on_one_place_the_one_on_top_counts(mount: Mount) -> None:
    place = mount("place", "-t", "tmpfs", "none")
    mount("place", "-t", "proc", "proc")
    assert mounts.is_local(str(place)) == (False, "proc")


@needs_root("to mount")
def test_a_link_and_a_bind_mount_are_of_the_kind_that_they_lead_to(
    mount: Mount, tmp_path: Path
) -> None:
    memory = mount("memory", "-t", "tmpfs", "none")
    (memory / "store").mkdir()
    bound = mount("bound", "--bind", memory / "store")
    (tmp_path / "link").symlink_to(memory / "store")
    for place in (bound, tmp_path / "link", tmp_path / "link" / "none yet"):
        assert mounts.is_local(str(place)) == (True, "tmpfs")


@needs_root("to mount")
def test_a_file_system_in_a_process_is_not_local(tmp_path: Path) -> None:
    for name in ("real", "seen"):
        (tmp_path / name).mkdir()
    subprocess.run(["bindfs", tmp_path / "real", tmp_path / "seen"], check=True)
    try:
        local, kind = mounts.is_local(str(tmp_path / "seen"))
        assert not local
        assert kind.startswith("fuse")
    finally:
        subprocess.run(["umount", tmp_path / "seen"], check=True)


@needs_linux("/proc/self/mountinfo")
def test_what_cannot_be_looked_at_is_unknown_and_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> Any:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", refuse)
        assert mounts.is_local(str(tmp_path)) == (False, mounts.UNKNOWN)
    assert mounts.kind_of(str(tmp_path)) != mounts.UNKNOWN


def test_other_systems_are_asked_through_psutil(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "PLATFORM", "darwin")
    monkeypatch.setattr(kernel, "partitions", lambda: [(str(tmp_path), "NFS4"), ("/", "APFS")])
    assert mounts.is_local(str(tmp_path / "store")) == (False, "nfs4")
    assert mounts.is_local("/elsewhere") == (True, "apfs")
    monkeypatch.setattr(kernel, "partitions", list)
    assert mounts.is_local("/elsewhere") == (False, mounts.UNKNOWN)
