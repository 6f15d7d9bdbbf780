"""Directories and flushes, also as other systems have them."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sessionstore import RevisionConflict, SessionStore
from sessionstore.durable import directory as module
from sessionstore.durable.directory import (
    Directory,
    Signature,
    flush,
    full_flush,
    made_below,
    retry_sharing,
)
from tests.support.processes import leftovers, needs_linux, read_state, state_path


@needs_linux("directories have descriptors")
def test_what_happens_in_a_directory_happens_there_after_it_was_moved(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with Directory(str(tmp_path / "one")) as directory:
        (tmp_path / "one").rename(tmp_path / "other")
        (tmp_path / "one").mkdir()
        directory.make_directory("inside")
        assert directory.names() == ["inside"]
    assert os.listdir(tmp_path / "one") == []
    assert stat_mode(tmp_path / "other" / "inside") == 0o700


@pytest.mark.parametrize("works_by", ["descriptor", "path"])
def test_a_link_is_no_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, works_by: str
) -> None:
    if works_by == "path":
        monkeypatch.setattr(module, "_HAS_DIRECTORIES", False)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(OSError) as refused:
        Directory(str(tmp_path / "link"))
    assert refused.value.errno in (errno.ELOOP, errno.ENOTDIR)
    with (
        Directory(str(tmp_path)) as directory,
        pytest.raises(OSError),
    ):
        Directory("link", directory)


def test_a_signature_tells_two_versions_apart(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"one")
    with Directory(str(tmp_path)) as directory:
        first = Signature.of(directory.status("file"))
        assert Signature.of(directory.status("file")) == first
        (tmp_path / "file").write_bytes(b"other")
        assert Signature.of(directory.status("file")) != first


def stat_mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


# --- other systems, through their seams ----------------------------------------------------------


def refuse_with(code: int) -> Callable[..., int]:
    def call(fd: int, command: int, argument: int = 0) -> int:
        raise OSError(code, os.strerror(code))

    return call


def test_macos_flushes_through_the_cache_of_the_drive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands, synced = list[int](), list[int]()

    def accept(fd: int, command: int, argument: int = 0) -> int:
        commands.append(command)
        return 0

    monkeypatch.setattr(fcntl, "fcntl", accept)
    monkeypatch.setattr(os, "fsync", synced.append)
    with (tmp_path / "file").open("wb") as file, monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "darwin")
        flush(file.fileno())
    assert commands == [51]  # F_FULLFSYNC of <sys/fcntl.h>
    assert synced == []


@pytest.mark.parametrize("code", [errno.ENOTSUP, errno.EINVAL, errno.ENOTTY])
def test_a_volume_without_full_flush_is_flushed_by_fsync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    synced = list[int]()
    monkeypatch.setattr(fcntl, "fcntl", refuse_with(code))
    monkeypatch.setattr(os, "fsync", synced.append)
    with (tmp_path / "file").open("wb") as file:
        full_flush(file.fileno())
        assert synced == [file.fileno()]


def test_a_full_flush_that_fails_is_no_reason_to_try_a_weaker_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = list[int]()
    monkeypatch.setattr(fcntl, "fcntl", refuse_with(errno.EIO))
    monkeypatch.setattr(os, "fsync", synced.append)
    with (tmp_path / "file").open("wb") as file, pytest.raises(OSError, match="Input/output"):
        full_flush(file.fileno())
    assert synced == []


class Sharing(PermissionError):
    """What Windows answers while a scanner has the file open."""

    def __init__(self, winerror: int) -> None:
        super().__init__(errno.EACCES, "the file is used by another process")
        self.winerror = winerror


@pytest.mark.parametrize("winerror", [5, 32, 33])
def test_a_sharing_violation_is_waited_out(monkeypatch: pytest.MonkeyPatch, winerror: int) -> None:
    monkeypatch.setattr(module, "_SHARING_PAUSE", 0)
    troubles = [Sharing(winerror)] * 3

    def action() -> str:
        if troubles:
            raise troubles.pop()
        return "done"

    assert retry_sharing(action) == "done"


@pytest.mark.parametrize(("winerror", "tries"), [(32, 41), (2, 1)])
def test_a_sharing_violation_is_not_waited_out_for_ever(
    monkeypatch: pytest.MonkeyPatch, winerror: int, tries: int
) -> None:
    monkeypatch.setattr(module, "_SHARING_PAUSE", 0)
    calls = list[int]()

    def action() -> None:
        calls.append(1)
        raise Sharing(winerror)

    with pytest.raises(Sharing):
        retry_sharing(action)
    assert len(calls) == tries


@pytest.fixture
def no_directory_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work by path, as on Windows."""
    monkeypatch.setattr(module, "_HAS_DIRECTORIES", False)
    monkeypatch.setattr(module, "_SHARING_PAUSE", 0)


@pytest.mark.usefixtures("no_directory_descriptors")
def test_a_whole_life_works_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, busy = os.replace, [Sharing(32), Sharing(5)]

    def sometimes_busy(source: Any, target: Any, **options: Any) -> None:
        assert set(options.values()) <= {None}  # no descriptor of a directory
        if busy:
            raise busy.pop()
        real(source, target)

    monkeypatch.setattr(os, "replace", sometimes_busy)
    store = SessionStore(tmp_path)
    with store.create("goal", session_id="s1") as session:
        assert session.save() == 2
        assert busy == []
        kept = session.checkpoint("node_complete", node="plan")
        session.pause(node="ask")
    assert [item.damaged for item in store.checkpoints("s1")] == [None, None]
    with store.resume("s1", checkpoint_id=kept.checkpoint_id) as session:
        assert session.state.progress.current_node == "plan"
        session.complete()
    assert read_state(tmp_path, "s1")["status"] == "completed"
    assert leftovers(tmp_path) == []
    store.delete("s1")
    assert os.listdir(tmp_path / "sessions") == []
    assert os.listdir(tmp_path / "trash") == []


@pytest.mark.usefixtures("no_directory_descriptors")
def test_foreign_changes_are_noticed_by_path_too(tmp_path: Path) -> None:
    session = SessionStore(tmp_path).create("goal", session_id="s1")
    state_path(tmp_path, "s1").write_text('{"revision": 7}')
    with pytest.raises(RevisionConflict) as caught:
        session.save()
    assert caught.value.found == 7
    with pytest.raises(RevisionConflict):
        session.release()
    assert state_path(tmp_path, "s1").read_text() == '{"revision": 7}'


def test_directories_on_the_way_are_made_private_and_no_link_among_them_is_followed(
    tmp_path: Path,
) -> None:
    (tmp_path / "a").mkdir()
    with Directory(str(tmp_path)) as root:
        with made_below(root, ("a", "b")) as directory:
            assert directory.path == str(tmp_path / "a" / "b")
            assert directory.identity() == root_identity(tmp_path / "a" / "b")
        assert stat_mode(tmp_path / "a" / "b") == 0o700
        with made_below(root, ()) as directory:
            assert directory is root
        (tmp_path / "link").symlink_to("a")
        with pytest.raises(OSError) as refused, made_below(root, ("link", "c")):
            pass
        assert refused.value.errno in (errno.ELOOP, errno.ENOTDIR)
    assert os.listdir(tmp_path / "a") == ["b"]


def root_identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
