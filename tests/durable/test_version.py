"""Which version a file is: told by its signature, and by its bytes where that differs."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sessionstore.durable import version as module
from sessionstore.durable.directory import Directory, Signature
from sessionstore.durable.version import Version

OURS = b'{"revision": 3}'


@pytest.fixture
def ours(tmp_path: Path) -> Version:
    """A file ``state`` in ``tmp_path``, as it was left there."""
    (tmp_path / "state").write_bytes(OURS)
    return Version.of(Signature.of((tmp_path / "state").stat()), OURS)


def found(root: Path, version: Version) -> Version | None:
    with Directory(str(root)) as directory:
        return version.found_at(directory, "state")


def touch(path: Path) -> None:
    os.utime(path, (1_000_000, 1_000_000))


def round_its_time(path: Path) -> None:
    seconds = path.stat().st_mtime_ns // 1_000_000_000
    os.utime(path, ns=(seconds * 1_000_000_000, seconds * 1_000_000_000))


def copy_over(path: Path) -> None:
    copy = path.with_name("copy")
    shutil.copy2(path, copy)
    os.replace(copy, path)


def rewrite(path: Path) -> None:
    touch(path)
    path.write_bytes(path.read_bytes())


@pytest.mark.parametrize("change", [touch, round_its_time, copy_over, rewrite])
def test_a_file_with_another_signature_is_known_by_its_bytes(
    tmp_path: Path, ours: Version, change: Callable[[Path], None]
) -> None:
    change(tmp_path / "state")
    now = Signature.of((tmp_path / "state").stat())
    assert now != ours.signature
    assert found(tmp_path, ours) == ours._replace(signature=now)


@pytest.mark.parametrize("lag", [-5, 7])
def test_a_size_that_lags_is_no_difference(tmp_path: Path, ours: Version, lag: int) -> None:
    told = ours._replace(signature=ours.signature._replace(size=len(OURS) + lag))
    assert found(tmp_path, told) == ours


def test_a_file_with_the_same_signature_is_not_read(
    tmp_path: Path, ours: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> None:
        raise AssertionError("it was read")

    monkeypatch.setattr(module, "read_regular", read)
    assert found(tmp_path, ours) is ours


@pytest.mark.parametrize("other", [b'{"revision": 4}', OURS + b" ", OURS[:-1], b"", b"x" * 100_000])
def test_other_bytes_are_another_version(tmp_path: Path, ours: Version, other: bytes) -> None:
    (tmp_path / "state").write_bytes(other)
    touch(tmp_path / "state")
    assert found(tmp_path, ours) is None
    assert not ours.has(other)


@pytest.mark.parametrize("kind", ["directory", "link", "FIFO"])
def test_something_else_than_a_file_is_another_version(
    tmp_path: Path, ours: Version, kind: str
) -> None:
    path = tmp_path / "state"
    path.rename(tmp_path / "real")
    if kind == "directory":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("real")
    else:
        os.mkfifo(path)
    assert found(tmp_path, ours) is None


def test_a_version_that_nobody_read_is_known_by_its_signature_alone(
    tmp_path: Path, ours: Version
) -> None:
    unread = Version.unread(ours.signature)
    assert found(tmp_path, unread) is unread
    touch(tmp_path / "state")
    assert found(tmp_path, unread) is None


def test_a_file_that_is_missing_or_cannot_be_read_is_no_verdict(
    tmp_path: Path, ours: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    touch(tmp_path / "state")
    with monkeypatch.context() as patch:
        patch.setattr(module, "read_regular", refuse)
        with pytest.raises(OSError, match="Too many open files"):
            found(tmp_path, ours)
    (tmp_path / "state").unlink()
    with pytest.raises(FileNotFoundError):
        found(tmp_path, ours)
