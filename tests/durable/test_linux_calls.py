"""The calls that Python lacks reach the kernel with their arguments, and fail as Python's do."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sessionstore.durable import linux_calls
from tests.support.processes import needs_root

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="they are calls of Linux")


def opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY)


def test_the_bytes_of_a_file_are_written_and_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the wait they may reach the disk after the names: 35 of 100 crashes left zeros."""
    called: list[tuple[object, ...]] = []

    def function(name: str) -> object:
        def call(*arguments: object) -> int:
            called.append((name, *arguments))
            return 0

        return call

    monkeypatch.setattr(linux_calls, "_function", function)
    linux_calls.sync_file_range(9)
    wait_before, write, wait_after = 1, 2, 4  # linux/fs.h
    assert called == [("sync_file_range", 9, 0, 0, wait_before | write | wait_after)]


def test_writing_out_works_and_fails_as_the_kernel_says(tmp_path: Path) -> None:
    tmp_path.joinpath("file").write_bytes(b"bytes")
    fd = opened(tmp_path / "file")
    linux_calls.sync_file_range(fd)
    os.close(fd)
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        linux_calls.sync_file_range(fd)
    assert caught.value.errno == errno.EBADF


def test_a_call_that_the_c_library_lacks_is_a_call_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(linux_calls, "_function", lambda _: None)
    with pytest.raises(OSError, match="not implemented") as caught:
        linux_calls.sync_file_range(0)
    assert caught.value.errno == errno.ENOSYS
    assert linux_calls.mount_id(0) is None


@needs_root("to mount")
def test_each_mount_has_a_number_of_its_own_also_in_the_same_place(tmp_path: Path) -> None:
    fd = opened(tmp_path)
    before = linux_calls.mount_id(fd)
    os.close(fd)
    if before is None:
        pytest.skip("Linux counts mounts so since 6.8")
    seen = [before]
    for _ in range(2):
        subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path], check=True)
        try:
            fd = opened(tmp_path)
            found = linux_calls.mount_id(fd)
            os.close(fd)
        finally:
            subprocess.run(["umount", tmp_path], check=True)
        assert found is not None
        seen.append(found)
    assert len(set(seen)) == 3
