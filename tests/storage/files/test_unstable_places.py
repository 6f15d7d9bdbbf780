"""Places that give a file other numbers though nothing changed: what is ours stays ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sessionstore import ClaimLost, RevisionConflict, SessionStore, StorageError
from sessionstore.durable import mounts, replace
from sessionstore.durable.directory import Directory
from tests.support.processes import (
    leftovers,
    needs_linux,
    needs_root,
    read_state,
    session_path,
    state_path,
)

# --- a real one: unionfs-fuse forgets the inode numbers that it gave -----------------------------


@pytest.fixture
def forgetful() -> Iterator[Path]:
    """A unionfs-fuse, whose files get other inode numbers once the kernel forgot them."""
    if shutil.which("unionfs") is None:
        pytest.skip("unionfs-fuse is not installed")
    base = Path(tempfile.mkdtemp(prefix="sessionstore-unionfs-"))
    (base / "real").mkdir()
    (base / "mounted").mkdir()
    mounting = ["unionfs", "-o", "cow", f"{base}/real=RW", f"{base}/mounted"]
    done = subprocess.run(mounting, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(base)
        pytest.skip(f"unionfs: {done.stderr.strip()}")
    try:
        yield base / "mounted"
    finally:
        subprocess.run(["umount", "-l", str(base / "mounted")], check=True)
        shutil.rmtree(base / "real")
        with suppress(OSError):
            (base / "mounted").rmdir()
            base.rmdir()


def forget(path: Path) -> int:
    """Have the kernel forget ``path``; return its new inode number."""
    before = path.stat().st_ino
    for _ in range(100):
        Path("/proc/sys/vm/drop_caches").write_text("2")
        if path.stat().st_ino != before:
            return path.stat().st_ino
    pytest.fail("the file kept its inode number")


@needs_root("mounts a file system and drops caches")
@pytest.mark.parametrize("durability", ["power", "process"])
def test_a_session_is_saved_kept_and_resumed_though_its_inode_numbers_change(
    forgetful: Path, durability: Any
) -> None:
    store = SessionStore(forgetful / "store", durability=durability)
    file = state_path(forgetful / "store", "s1")
    with store.create("goal", session_id="s1") as session:
        for write in (session.save, lambda: session.checkpoint("node"), session.save):
            forget(file)
            write()
        forget(file)
        session.pause()
    with store.resume("s1") as session:
        forget(file)
        session.complete()
    assert read_state(forgetful / "store", "s1")["revision"] == 7
    assert store.check().findings == ()


@needs_root("mounts a file system and drops caches")
def test_a_real_change_is_still_a_conflict_where_inode_numbers_change(forgetful: Path) -> None:
    session = SessionStore(forgetful / "store").create("goal", session_id="s1")
    file = state_path(forgetful / "store", "s1")
    theirs = file.read_bytes().replace(b'"goal"', b'"them"')
    file.write_bytes(theirs)
    forget(file)
    with pytest.raises(RevisionConflict, match="at revision 1, not at the state"):
        session.save()
    with pytest.raises(RevisionConflict):
        session.release()
    assert file.read_bytes() == theirs


# --- the same through the seams ------------------------------------------------------------------


def other_numbers(
    monkeypatch: pytest.MonkeyPatch, changes: Callable[[str], bool], *, by: str = "lstat"
) -> None:
    """Let each look at a path that ``changes`` is true of show another inode number."""
    real, numbers = getattr(os, by), iter(range(1 << 40, 1 << 41))

    def look(path: Any, *arguments: Any, **options: Any) -> os.stat_result:
        status = real(path, *arguments, **options)
        if not isinstance(path, int) and changes(os.fspath(path)):
            values = list(status)
            values[1] = next(numbers)
            times = {"st_mtime_ns": status.st_mtime_ns, "st_ctime_ns": status.st_ctime_ns}
            return os.stat_result(values, times)
        return status  # type: ignore[no-any-return]  # whichever call it is

    monkeypatch.setattr(os, by, look)


@needs_linux("inode numbers of open files")
@pytest.mark.parametrize("part", ["locks/s1.lock", "sessions/s1"])
def test_a_lock_or_a_directory_whose_number_changes_at_each_look_is_still_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(mounts, "keeps_inodes", lambda _: False)
    store = SessionStore(tmp_path)
    session = store.create("goal", session_id="s1")
    session.save()
    other_numbers(monkeypatch, lambda path: path.endswith(part))
    session.save()
    session.checkpoint("node")
    session.pause()
    with store.resume("s1") as session:
        session.save()
        session.complete()
    assert read_state(tmp_path, "s1")["status"] == "completed"
    assert leftovers(tmp_path) == []


@needs_linux("inode numbers of open files")
def test_a_file_that_the_exchange_hands_back_under_another_number_is_the_one_that_was_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = SessionStore(tmp_path).create("goal", session_id="s1")
    other_numbers(monkeypatch, lambda path: path.startswith(".new-"), by="stat")
    session.save()
    session.checkpoint("node")
    session.complete()
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("change", ["touch", "copy"])
def test_a_state_that_was_only_touched_or_copied_over_is_no_conflict(
    tmp_path: Path, change: str
) -> None:
    session = SessionStore(tmp_path).create("goal", session_id="s1")
    for write in (session.save, lambda: session.checkpoint("node"), session.complete):
        path = state_path(tmp_path, "s1")
        if change == "touch":
            os.utime(path, (1_000_000, 1_000_000))
        else:
            shutil.copy2(path, tmp_path / "copy")
            os.replace(tmp_path / "copy", path)
        write()
    assert read_state(tmp_path, "s1")["status"] == "completed"


def test_a_conflict_at_the_same_revision_says_that_the_content_differs(tmp_path: Path) -> None:
    session = SessionStore(tmp_path).create("goal", session_id="s1")
    file = state_path(tmp_path, "s1")
    file.write_bytes(file.read_bytes().replace(b'"goal"', b'"them"'))
    with pytest.raises(RevisionConflict) as caught:
        session.save()
    assert "not 1" not in str(caught.value)
    assert "but its content was changed" in str(caught.value)
    assert (caught.value.expected, caught.value.found) == (1, 1)
    with pytest.raises(RevisionConflict):
        session.release()


def test_a_session_is_read_again_under_its_claim_after_a_touch(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    store.create("goal", session_id="s1").complete()
    claim = store._backend.claim("s1", new_owner(), timeout=0)
    try:
        first = claim.read().payload
        os.utime(state_path(tmp_path, "s1"), (1_000_000, 1_000_000))
        assert claim.read().payload == first
        state_path(tmp_path, "s1").write_bytes(first.replace(b'"goal"', b'"them"'))
        with pytest.raises(RevisionConflict):
            claim.read()
    finally:
        claim.release()


def new_owner() -> Any:
    from sessionstore.clock import utc_now
    from sessionstore.process import identity

    return identity.new_owner(utc_now())


# --- what is really another one ------------------------------------------------------------------


def test_a_copy_of_the_lock_file_is_not_the_lock(tmp_path: Path) -> None:
    session = SessionStore(tmp_path).create("goal", session_id="s1")
    lock = tmp_path / "locks" / "s1.lock"
    shutil.copy2(lock, tmp_path / "copy")
    os.replace(tmp_path / "copy", lock)
    for write in (session.save, session.checkpoint):
        with pytest.raises(ClaimLost):
            write()
    with pytest.raises(ClaimLost):
        session.release()


@needs_linux("the directory is known through its descriptor")
@pytest.mark.parametrize("keeps", [True, False], ids=["lasting numbers", "other numbers"])
def test_a_copy_of_an_open_session_directory_is_another_one_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keeps: bool
) -> None:
    monkeypatch.setattr(mounts, "keeps_inodes", lambda _: keeps)
    session = SessionStore(tmp_path).create("goal", session_id="s1")
    session.save()
    session_path(tmp_path, "s1").rename(tmp_path / "aside")
    shutil.copytree(tmp_path / "aside", session_path(tmp_path, "s1"))
    for _ in range(2):
        with pytest.raises(ClaimLost, match="replaced by another"):
            session.save()
    with pytest.raises(ClaimLost):
        session.release()
    assert read_state(tmp_path, "s1")["revision"] == 2
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("state", ["same", "other", "none"])
def test_a_directory_that_was_not_kept_open_is_known_by_its_state_where_numbers_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setattr(mounts, "keeps_inodes", lambda _: False)
    session = SessionStore(tmp_path).create("goal", session_id="s1")
    session_path(tmp_path, "s1").rename(tmp_path / "aside")
    shutil.copytree(tmp_path / "aside", session_path(tmp_path, "s1"))
    if state == "same":
        assert session.save() == 2
        session.complete()
        return
    file = state_path(tmp_path, "s1")
    if state == "other":
        file.write_bytes(file.read_bytes().replace(b'"goal"', b'"them"'))
    else:
        file.unlink()
    with pytest.raises(RevisionConflict):
        session.save()
    with pytest.raises(RevisionConflict):
        session.release()


@needs_linux("the directory is known through its descriptor")
@pytest.mark.parametrize("part", ["sessions/s1", "sessions"])
def test_a_link_to_the_claimed_directory_is_not_followed(tmp_path: Path, part: str) -> None:
    session = SessionStore(tmp_path / "root").create("goal", session_id="s1")
    session.save()
    place = tmp_path / "root" / part
    place.rename(tmp_path / "moved")
    place.symlink_to(tmp_path / "moved")
    if part == "sessions/s1":
        with pytest.raises(ClaimLost):
            session.save()
        with pytest.raises(ClaimLost):
            session.release()
    else:  # the claimed directory itself is still the one at its path
        assert session.save() == 3
        session.complete()


def test_a_look_at_a_differing_state_that_fails_is_no_conflict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = SessionStore(tmp_path).create("goal", session_id="s1")
    os.utime(state_path(tmp_path, "s1"), (1_000_000, 1_000_000))
    real = Directory.open

    def refuse(directory: Directory, name: str, flags: int) -> int:
        if name == "state.json":
            raise OSError(24, os.strerror(24))
        return real(directory, name, flags)

    with monkeypatch.context() as patch:
        patch.setattr(Directory, "open", refuse)
        with pytest.raises(StorageError, match="Too many open files"):
            session.save()
    assert session.save() == 2
    session.complete()
    assert leftovers(tmp_path) == []


# --- calls that a place or a sandbox lacks -------------------------------------------------------


@pytest.mark.parametrize("code", [1, 22, 38, 95])
def test_a_refused_link_is_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", link)
    with SessionStore(tmp_path).create("goal", session_id="s1") as session:
        kept = session.checkpoint("node")
        session.complete()
    file = session_path(tmp_path, "s1") / "checkpoints" / f"{kept.checkpoint_id}.json"
    assert file.stat().st_nlink == 1


def test_modes_and_times_that_a_place_does_not_keep_are_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, os.strerror(1))

    def fail(*_: object, **__: object) -> None:
        raise OSError(5, os.strerror(5))

    with Directory(str(tmp_path)) as directory:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fchmod", refuse)
            replace.write_pieces(directory, "one", [b"1"], is_executable=True, mtime=1_000_000)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fchmod", fail)
            with pytest.raises(OSError, match="Input/output"):
                replace.write_pieces(directory, "two", [b"2"], is_executable=True)
    assert (tmp_path / "one").read_bytes() == b"1"
    assert (tmp_path / "one").stat().st_mtime == 1_000_000
