"""Replacing files: what readers and the next process find, also when the system refuses."""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sessionstore import DurabilityUncertain, RevisionConflict, SessionStore, StorageError
from sessionstore.durable import linux_calls, replace
from sessionstore.durable.directory import Directory, Signature
from sessionstore.durable.replace import Displaced, Staged, Unseen
from sessionstore.durable.version import Version
from tests.support.processes import (
    Child,
    leftovers,
    needs_linux,
    new_session,
    read_state,
    session_path,
    state_path,
)

HAS_STRACE = shutil.which("strace") is not None


def strace(call: str, injection: str) -> list[str]:
    """Return the wrapper that lets the kernel answer ``call`` with something else."""
    return [
        *("strace", "-f", "-qq", "-o", os.devnull),
        *("-e", f"trace={call}", "-e", f"inject={call}:{injection}"),
    ]


needs_strace = pytest.mark.skipif(not HAS_STRACE, reason="strace injects the failures")


def write(path: Path, data: bytes) -> Version:
    path.write_bytes(data)
    return Version.of(Signature.of(path.stat()), data)


# --- the swap ------------------------------------------------------------------------------------


@needs_linux("renameat2 is a Linux call")
def test_an_exchange_hands_back_what_was_there(tmp_path: Path) -> None:
    one, other = write(tmp_path / "one", b"1"), write(tmp_path / "other", b"22")
    with Directory(str(tmp_path)) as directory:
        assert replace.exchange(directory, "one", "other")
    assert (tmp_path / "one").read_bytes() == b"22"
    assert Signature.of((tmp_path / "one").stat()) == other.signature
    assert Signature.of((tmp_path / "other").stat()) == one.signature


def no_such_call(*_: object) -> None:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


@pytest.fixture(params=["exchange", "rename"])
def swap(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to swap a file in."""
    if request.param == "rename":
        monkeypatch.setattr(linux_calls, "renameat2", no_such_call)
    return str(request.param)


def test_the_expected_file_is_replaced(tmp_path: Path, swap: str) -> None:
    expected = write(tmp_path / "state", b"old")
    with Directory(str(tmp_path)) as directory:
        staged = Staged(directory, b"new", flush_file=True)
        staged.swap_in("state", expected)
    assert (tmp_path / "state").read_bytes() == b"new"
    assert Signature.of((tmp_path / "state").stat()) == staged.version.signature
    assert os.listdir(tmp_path) == ["state"]


def test_a_foreign_file_is_put_back(tmp_path: Path, swap: str) -> None:
    expected = write(tmp_path / "state", b"old")
    with Directory(str(tmp_path)) as directory:
        staged = Staged(directory, b"new", flush_file=True)
        foreign = write(tmp_path / "theirs", b"foreign")
        (tmp_path / "theirs").rename(tmp_path / "state")
        with pytest.raises(Displaced):
            staged.swap_in("state", expected)
    assert (tmp_path / "state").read_bytes() == b"foreign"
    assert Signature.of((tmp_path / "state").stat()) == foreign.signature
    assert os.listdir(tmp_path) == ["state"]


@needs_linux("the other writer comes right before the exchange")
def test_a_writer_that_comes_right_before_the_swap_keeps_its_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = SessionStore(tmp_path).create("goal", session_id="s1")
    foreign = state_path(tmp_path, "s1").read_bytes().replace(b"goal", b"them")
    real = replace.exchange

    def late(directory: Directory, one: str, other: str) -> bool:
        monkeypatch.setattr(replace, "exchange", real)
        (session_path(tmp_path, "s1") / "theirs").write_bytes(foreign)
        os.replace(session_path(tmp_path, "s1") / "theirs", state_path(tmp_path, "s1"))
        return real(directory, one, other)

    monkeypatch.setattr(replace, "exchange", late)
    with pytest.raises(RevisionConflict):
        session.checkpoint()
    assert state_path(tmp_path, "s1").read_bytes() == foreign
    assert leftovers(tmp_path) == []
    assert os.listdir(session_path(tmp_path, "s1") / "checkpoints") == []
    with pytest.raises(RevisionConflict):  # it stays refused: their state is not ours
        session.release()
    assert session.is_released
    assert state_path(tmp_path, "s1").read_bytes() == foreign


@needs_linux("the look comes right after the exchange")
def test_a_failed_look_at_what_was_displaced_takes_the_exchange_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = write(tmp_path / "state", b"old")
    with Directory(str(tmp_path)) as directory:
        staged = Staged(directory, b"new", flush_file=True)
        refuse_looks(monkeypatch, staged.name, 1)
        with pytest.raises(OSError, match="Input/output error"):
            staged.swap_in("state", expected)
    assert (tmp_path / "state").read_bytes() == b"old"
    assert Signature.of((tmp_path / "state").stat()) == expected.signature
    assert os.listdir(tmp_path) == ["state"]


@needs_linux("the look comes right after the exchange")
def test_a_writer_that_comes_while_the_exchange_is_taken_back_keeps_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = write(tmp_path / "state", b"old")
    real, calls = replace.exchange, list[str]()

    def late(directory: Directory, one: str, other: str) -> bool:
        calls.append(one)
        if len(calls) == 2:
            write(tmp_path / "theirs", b"foreign")
            (tmp_path / "theirs").rename(tmp_path / "state")
        return real(directory, one, other)

    monkeypatch.setattr(replace, "exchange", late)
    with Directory(str(tmp_path)) as directory:
        staged = Staged(directory, b"new", flush_file=True)
        refuse_looks(monkeypatch, staged.name, 1)
        with pytest.raises(OSError, match="Input/output error"):
            staged.swap_in("state", expected)
    assert (tmp_path / "state").read_bytes() == b"foreign"
    assert os.listdir(tmp_path) == ["state"]


@needs_linux("the look comes right after the exchange")
@pytest.mark.parametrize("answer", [False, errno.EIO])
def test_an_exchange_that_cannot_be_taken_back_says_that_the_new_file_is_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: int
) -> None:
    expected = write(tmp_path / "state", b"old")
    real = replace.exchange

    def once(directory: Directory, one: str, other: str) -> bool:
        def again(*_: object) -> bool:
            if answer:
                raise OSError(answer, os.strerror(answer))
            return False

        monkeypatch.setattr(replace, "exchange", again)
        return real(directory, one, other)

    monkeypatch.setattr(replace, "exchange", once)
    with Directory(str(tmp_path)) as directory:
        staged = Staged(directory, b"new", flush_file=True)
        refuse_looks(monkeypatch, staged.name, 1)
        with pytest.raises(Unseen):
            staged.swap_in("state", expected)
    assert (tmp_path / "state").read_bytes() == b"new"
    assert (tmp_path / staged.name).read_bytes() == b"old", "it may be a foreign file"


@needs_linux("the look comes right after the exchange")
def test_a_save_whose_look_failed_wrote_nothing_and_the_next_one_goes_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SessionStore(tmp_path).create("goal", session_id="s1") as session:
        before = state_path(tmp_path, "s1").read_bytes()
        refuse_looks(monkeypatch, replace.TEMPORARY_PREFIX, 1)
        with pytest.raises(StorageError) as caught:
            session.save()
        assert caught.value.errno == errno.EIO
        assert state_path(tmp_path, "s1").read_bytes() == before
        assert leftovers(tmp_path) == []
        assert session.save() == 2
        session.pause()
    assert read_state(tmp_path, "s1")["revision"] == 3


def refuse_looks(monkeypatch: pytest.MonkeyPatch, prefix: str, count: int) -> None:
    """Let the system refuse the first ``count`` looks at a file whose name begins so."""
    real, left = Directory.status, [None] * count

    def status(directory: Directory, name: str) -> os.stat_result:
        if name.startswith(prefix) and left:
            left.pop()
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(directory, name)

    monkeypatch.setattr(Directory, "status", status)


def test_moving_in_never_replaces(tmp_path: Path, swap: str) -> None:
    write(tmp_path / "there", b"old")
    with Directory(str(tmp_path)) as directory:
        with pytest.raises(FileExistsError):
            replace.write_new(directory, "there", b"new", flush_file=False)
        replace.write_new(directory, "free", b"new", flush_file=False)
    assert (tmp_path / "there").read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["free", "there"]


@needs_linux("strace makes the kernel answer like one without renameat2")
@needs_strace
@pytest.mark.parametrize("answer", ["ENOSYS", "EINVAL"])
def test_without_renameat2_everything_works_by_rename(tmp_path: Path, answer: str) -> None:
    wrapper = strace("renameat2", f"error={answer}")
    with Child(
        "support.failing_children.live_through_everything", tmp_path, wrapper=wrapper
    ) as child:
        told = child.hear()
    assert told == {"refused": ["SessionExists", "RevisionConflict"], "left": [], "exists": False}


# --- writing -------------------------------------------------------------------------------------


def test_short_writes_go_on_until_every_byte_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.write, []

    def stingy(fd: int, data: Any) -> int:
        calls.append(len(data))
        return real(fd, bytes(data[:7]))

    with Directory(str(tmp_path)) as directory, monkeypatch.context() as patch:
        patch.setattr(os, "write", stingy)
        replace.write_new(directory, "file", b"0123456789" * 10, flush_file=True)
    assert (tmp_path / "file").read_bytes() == b"0123456789" * 10
    assert len(calls) == 15


@needs_linux("RLIMIT_FSIZE answers with a short write, then EFBIG")
def test_a_write_that_breaks_off_leaves_the_old_state_and_no_rest(tmp_path: Path) -> None:
    new_session(tmp_path)
    with Child("support.failing_children.save_beyond_limit", tmp_path, "s1") as child:
        told = child.hear()
    assert "cannot save" in told["error"]
    assert told["same"]
    assert told["left"] == []
    assert told["revision"] == 3
    assert read_state(tmp_path, "s1")["data_buffer"] == {"big": "small again"}


def test_pieces_become_a_new_flushed_file_with_its_mode_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, flushed = os.fsync, list[int]()

    def fsync(fd: int) -> None:
        flushed.append(os.fstat(fd).st_size)
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    with Directory(str(tmp_path)) as directory:
        replace.write_pieces(directory, "run", [b"12", b"345"], is_executable=True, mtime=1_000_000)
        replace.write_pieces(directory, "data", [], is_executable=False)
        with pytest.raises(FileExistsError):
            replace.write_pieces(directory, "run", [b"other"], is_executable=False)
    status = (tmp_path / "run").stat()
    assert (tmp_path / "run").read_bytes() == b"12345"
    assert (status.st_mode & 0o777, status.st_mtime) == (0o700, 1_000_000)
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o600
    assert flushed == [5, 0]


@pytest.mark.parametrize("there", [False, True])
def test_writing_over_replaces_whatever_is_there(tmp_path: Path, there: bool) -> None:
    if there:
        (tmp_path / "elsewhere").write_bytes(b"kept")
        (tmp_path / "file").symlink_to("elsewhere")
    with Directory(str(tmp_path)) as directory:
        replace.write_over(directory, "file", b"new")
    assert not (tmp_path / "file").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == (["elsewhere", "file"] if there else ["file"])


def test_writing_over_that_fails_leaves_the_old_file_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"old")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with Directory(str(tmp_path)) as directory, monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(OSError, match="Input/output error"):
            replace.write_over(directory, "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


# --- flushing ------------------------------------------------------------------------------------

PERIODS = (7, 4, 5, 11, 13)
"""Every how many-th flush fails, tried in turn: with one of them the flushes of a save or a create
may keep step, and then it is always the same one that fails."""


@needs_linux("strace injects EIO")
@needs_strace
@pytest.mark.parametrize("first", [1, 2, 3])
@pytest.mark.usefixtures("two_flushes")
def test_a_failing_flush_changes_nothing_or_says_that_it_did(tmp_path: Path, first: int) -> None:
    new_session(tmp_path)
    counts = Counter[str]()
    for period in PERIODS:
        wrapper = strace("fsync", f"error=EIO:when={first}+{period}")
        work = "support.failing_children.save_while_flushes_fail"
        with Child(work, tmp_path, "s1", 60, wrapper=wrapper) as child:
            told = child.hear()
            assert child.wait() == 0
        assert told["wrong"] == []
        counts.update(told["counts"])
        if min(counts.values()) >= 3:  # the injection fired, in both places
            return
    pytest.fail(f"no flush failed where it should: {counts}")


@needs_linux("strace injects EIO")
@needs_strace
def test_a_create_whose_flush_fails_leaves_no_session(tmp_path: Path) -> None:
    new_session(tmp_path, "made-before")
    counts = Counter[str]()
    for period in PERIODS:
        wrapper = strace("fsync", f"error=EIO:when=1+{period}")
        work = "support.failing_children.create_while_flushes_fail"
        with Child(work, tmp_path, f"s{period}", 30, wrapper=wrapper) as child:
            told = child.hear()
            assert child.wait() == 0
        assert told["wrong"] == []
        counts.update(told["counts"])
        if min(counts.values()) >= 5:
            return
    pytest.fail(f"no flush failed where it should: {counts}")


@pytest.mark.usefixtures("two_flushes")
def test_a_failed_flush_is_never_repeated_on_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = SessionStore(tmp_path).create("goal", session_id="s1")
    real, flushed = os.fsync, []

    def failing(fd: int) -> None:
        flushed.append(os.fstat(fd).st_ino)
        if len(flushed) == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(fd)

    before = state_path(tmp_path, "s1").read_bytes()
    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(StorageError) as caught:
        session.save()
    assert caught.value.errno == errno.EIO
    assert state_path(tmp_path, "s1").read_bytes() == before
    assert leftovers(tmp_path) == []
    assert session.save() == 2
    assert read_state(tmp_path, "s1")["revision"] == 2
    assert len(flushed) == 3  # the broken one, the new file, its directory
    session.complete()


def test_a_failing_flush_of_the_directory_leaves_the_state_visible_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = SessionStore(tmp_path).create("goal", session_id="s1")

    def failing(directory: Directory) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    session.state.data_buffer["seen"] = True
    with monkeypatch.context() as patch:
        patch.setattr(Directory, "flush", failing)
        with pytest.raises(DurabilityUncertain) as caught:
            session.save()
    assert caught.value.revision == 2
    assert session.revision == session.state.revision == 2
    assert read_state(tmp_path, "s1")["data_buffer"] == {"seen": True}
    assert leftovers(tmp_path) == []
    assert session.save() == 3
    session.complete()


@pytest.mark.parametrize("durability", ["power", "process"])
@pytest.mark.usefixtures("two_flushes")
def test_only_power_mode_pays_for_flushes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: Any
) -> None:
    session = SessionStore(tmp_path, durability=durability).create("goal", session_id="s1")
    real, flushed = os.fsync, []

    def fsync(fd: int) -> None:
        flushed.append(fd)
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    session.save()
    assert len(flushed) == (2 if durability == "power" else 0)
    flushed.clear()
    session.checkpoint()
    assert len(flushed) >= 2  # a checkpoint survives a power loss in both
    session.complete()
