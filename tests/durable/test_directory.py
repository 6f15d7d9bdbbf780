"""Directories and flushes, also as other systems have them."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sessionstore import DurabilityUncertain, RevisionConflict, SessionStore, StorageError
from sessionstore.durable import directory as module
from sessionstore.durable.directory import (
    Directory,
    Signature,
    flush,
    full_flush,
    made_below,
    retry_sharing,
)
from tests.support.processes import (
    DEADLINE,
    Child,
    leftovers,
    needs_linux,
    new_session,
    read_state,
    state_path,
)


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


# --- directories that cannot be flushed ----------------------------------------------------------


def refuse_directory_flushes(monkeypatch: pytest.MonkeyPatch, code: int) -> list[int]:
    """Let fsync of a directory fail with ``code``; return the inodes of the files it flushes."""
    real, flushed = os.fsync, list[int]()

    def fsync(fd: int) -> None:
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            raise OSError(code, os.strerror(code))
        flushed.append(status.st_ino)
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    return flushed


@needs_linux("the answers of Linux")
@pytest.mark.parametrize("durability", ["power", "process"])
@pytest.mark.parametrize("code", ["EINVAL", "EBADF", "ENOTSUP", "ENOSYS", "EPERM"])
def test_a_store_works_where_directories_cannot_be_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, durability: Any
) -> None:
    flushed = refuse_directory_flushes(monkeypatch, getattr(errno, code))
    store = SessionStore(tmp_path / "new" / "root", durability=durability)
    with store.create("goal", session_id="s1") as session:
        session.save()
        kept = session.checkpoint("node")
        file = session.directory / "checkpoints" / f"{kept.checkpoint_id}.json"
        assert file.stat().st_ino in flushed, "the bytes are flushed all the same"
        session.pause()
    with store.resume("s1") as session:
        session.complete()
    store.delete("s1")
    assert store.find().items == ()


@needs_linux("the answers of Linux")
@pytest.mark.parametrize("code", ["EIO", "ENOSPC", "EDQUOT", "EROFS"])
def test_a_failed_flush_of_a_directory_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    with SessionStore(tmp_path).create("goal", session_id="s1") as session:
        with monkeypatch.context() as patch:
            refuse_directory_flushes(patch, getattr(errno, code))
            with pytest.raises(DurabilityUncertain):
                session.save()
            with pytest.raises(OSError), Directory(str(tmp_path)) as directory:
                directory.flush()
        session.complete()


@needs_linux("strace makes the kernel answer")
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace injects the answer")
@pytest.mark.parametrize("call", ["renameat2:error=EPERM",
                                  "linkat:error=EPERM", "linkat:error=ENOSYS"])  # fmt: skip
def test_a_call_that_a_sandbox_forbids_is_done_without(tmp_path: Path, call: str) -> None:
    name, _, answer = call.partition(":")
    wrapper = ["strace", "-f", "-qq", "-o", os.devnull]
    wrapper += ["-e", f"trace={name}", "-e", f"inject={name}:{answer}"]
    work = "support.failing_children.live_through_everything"
    with Child(work, tmp_path, wrapper=wrapper) as child:
        told = child.hear()
    assert told == {"refused": ["SessionExists", "RevisionConflict"], "left": [], "exists": False}


# --- files under a lease -------------------------------------------------------------------------


@needs_linux("leases")
@pytest.mark.parametrize("gives_up", [True, False])
def test_a_file_under_a_lease_is_waited_for_and_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gives_up: bool
) -> None:
    if not gives_up:
        monkeypatch.setattr(module, "_LEASE_WAIT", 0.1)
    new_session(tmp_path)
    store = SessionStore(tmp_path)
    with Child("support.failing_children.hold_lease", state_path(tmp_path, "s1"), gives_up) as held:
        assert held.hear() == {"leased": True}
        if gives_up:
            assert store.load("s1").revision == 2
            assert held.hear() == {"asked": True}
            return
        for look in (store.load, store.claim, store.resume, store.liveness, store.explain):
            with pytest.raises(StorageError, match="another process, such as a file server"):
                look("s1")
        (item,) = store.find().items
        assert "has a lease on it" in str(item.damaged)
        (finding,) = store.check(repair=True).findings
        assert finding.kind == "unreadable"
        assert not finding.is_repaired
    assert store.load("s1").revision == 2


@needs_linux("leases")
def test_a_save_waits_for_the_lease_on_a_state_that_somebody_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LEASE_WAIT", DEADLINE)
    session = SessionStore(tmp_path).create("goal", session_id="s1")
    os.utime(state_path(tmp_path, "s1"), (1_000_000, 1_000_000))
    with Child("support.failing_children.hold_lease", state_path(tmp_path, "s1"), True) as held:
        assert held.hear() == {"leased": True}
        assert session.save() == 2
    session.complete()


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
