"""Only a regular file of a bearable size is read, whatever somebody put in its place."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from sessionstore.durable.directory import Directory, Signature
from sessionstore.durable.regular_file import open_below, open_regular, read_regular
from sessionstore.durable.version import Version
from tests.support.processes import needs_linux


def put(path: Path, kind: str) -> None:
    """Put something else in the place of a file."""
    if kind == "link":
        (path.parent / "real").write_bytes(b"data")
        path.symlink_to("real")
    elif kind == "directory":
        path.mkdir()
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(path))


REFUSED = [
    ("link", errno.ELOOP, "symbolic links"),
    ("directory", errno.EINVAL, "not a regular file but a directory"),
    ("FIFO", errno.EINVAL, "not a regular file but a FIFO"),
    ("socket", errno.ENXIO, "No such device"),
    ("nothing", errno.ENOENT, "No such file"),
]


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@needs_linux("numbers of errors, FIFOs and sockets")
@pytest.mark.parametrize(("kind", "code", "words"), REFUSED, ids=[kind for kind, *_ in REFUSED])
def test_something_else_than_a_file_is_refused_and_no_descriptor_stays(
    tmp_path: Path, kind: str, code: int, words: str
) -> None:
    put(tmp_path / "file", kind)
    with Directory(str(tmp_path)) as directory:
        before = open_descriptors()
        for look in (
            lambda: open_regular(directory, "file"),
            lambda: open_below(directory, "file"),
            lambda: read_regular(directory, "file", 10),
        ):
            with pytest.raises(OSError, match=words) as refused:
                look()
            assert refused.value.errno == code
        assert open_descriptors() == before


@needs_linux("/dev")
def test_a_device_is_refused() -> None:
    with (
        Directory("/dev") as directory,
        pytest.raises(OSError, match="not a regular file but a device") as refused,
    ):
        read_regular(directory, "null", 10)
    assert refused.value.errno == errno.EINVAL


def test_the_bytes_come_with_the_signature_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")
    with Directory(str(tmp_path)) as directory:
        data, signature = read_regular(directory, "file", 4)
        assert (data, signature) == (b"data", Signature.of(directory.status("file")))


@pytest.mark.parametrize("size", [0, 1, 9, 10])
def test_a_file_of_exactly_the_limit_is_read_and_one_more_byte_refused(
    tmp_path: Path, size: int
) -> None:
    (tmp_path / "file").write_bytes(b"x" * size)
    with Directory(str(tmp_path)) as directory:
        assert read_regular(directory, "file", size)[0] == b"x" * size
        (tmp_path / "file").write_bytes(b"x" * (size + 1))
        with pytest.raises(OSError, match="bytes are more than") as refused:
            read_regular(directory, "file", size)
        assert refused.value.errno == errno.EFBIG


def test_a_size_that_is_told_too_large_refuses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on gocryptfs for a second after a link."""
    (tmp_path / "file").write_bytes(b"data")
    real = os.fstat

    def fstat(fd: int) -> os.stat_result:
        status = list(real(fd))
        status[stat.ST_SIZE] += 50
        return os.stat_result(status)

    with Directory(str(tmp_path)) as directory, monkeypatch.context() as patch:
        left = Version.of(Signature.of(directory.status("file")), b"data")
        patch.setattr(os, "fstat", fstat)
        assert read_regular(directory, "file", 4)[0] == b"data"
        assert left._replace(signature=Signature(0, 0, 0)).found_at(directory, "file")
        with pytest.raises(OSError, match="bytes are more than"):
            read_regular(directory, "file", 3)


def test_short_reads_go_on_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    real = os.read
    monkeypatch.setattr(os, "read", lambda fd, size: real(fd, min(size, 3)))
    with Directory(str(tmp_path)) as directory:
        assert read_regular(directory, "file", 10)[0] == b"0123456789"


def test_a_file_that_grows_while_it_is_read_is_read_up_to_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"x" * 8)
    real = os.read

    def grow(fd: int, size: int) -> Any:
        with (tmp_path / "file").open("ab") as file:
            file.write(b"x")
        return real(fd, size)

    with Directory(str(tmp_path)) as directory, monkeypatch.context() as patch:
        patch.setattr(os, "read", grow)
        with pytest.raises(OSError, match="more than 20 bytes") as refused:
            read_regular(directory, "file", 20)
    assert refused.value.errno == errno.EFBIG


def test_a_file_below_is_opened_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"data")
    with Directory(str(tmp_path)) as directory:
        file, status = open_below(directory, "a/b/file")
        with file:
            assert (file.read(), status.st_size) == (b"data", 4)


@pytest.mark.parametrize("place", ["a", "a/b"])
def test_no_link_on_the_way_is_followed(tmp_path: Path, place: str) -> None:
    (tmp_path / "real" / "b").mkdir(parents=True)
    (tmp_path / "real" / "b" / "file").write_bytes(b"data")
    if place == "a":
        (tmp_path / "a").symlink_to("real")
    else:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "b").symlink_to("../real/b")
    with Directory(str(tmp_path)) as directory:
        before = open_descriptors()
        with pytest.raises(OSError) as refused:
            open_below(directory, "a/b/file")
        assert refused.value.errno in (errno.ELOOP, errno.ENOTDIR)
        assert open_descriptors() == before
