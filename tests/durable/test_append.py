"""Appending bytes: what was acknowledged is there, whatever fails or comes in between."""

from __future__ import annotations

import errno
import io
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sessionstore.durable import append
from sessionstore.durable.append import AppendFile, End, FlushFailed
from tests.faults.support.images import Unavailable, image
from tests.support.processes import needs_linux, needs_root

NOTHING = End(0, 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "log"
    place.touch()
    return place


@pytest.fixture
def log(path: Path) -> Iterator[AppendFile[int]]:
    opened = open_log(path)
    yield opened
    opened.close()


def open_log(path: Path) -> AppendFile[int]:
    return AppendFile(io.FileIO(path, "r+"), str(path), NOTHING, NOTHING)


def write_in_parts(
    monkeypatch: pytest.MonkeyPatch, size: int, then: Callable[[int], None] = lambda _: None
) -> None:
    """Let the system take ``size`` bytes at a time, and call ``then`` with the number of calls."""
    calls = 0

    def write(file: io.FileIO, data: memoryview | bytes, at: int) -> int:
        nonlocal calls
        written = os.pwrite(file.fileno(), data[:size], at)
        calls += 1
        then(calls)
        return written

    monkeypatch.setattr(append, "_write_some", write)


# --- append --------------------------------------------------------------------------------------


def test_appends_follow_each_other_and_tell_where_they_end(
    log: AppendFile[int], path: Path
) -> None:
    assert log.append(b"one\n", 1) == (4, 1)
    assert log.append(b"three\n", 2) == log.end == (10, 2)
    assert path.read_bytes() == b"one\nthree\n"


def test_a_short_write_goes_on(
    log: AppendFile[int], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_in_parts(monkeypatch, 3)
    log.append(b"a longer line\n", 1)
    log.append(b"and another\n", 2)
    assert path.read_bytes() == b"a longer line\nand another\n"


def test_a_disk_that_gets_full_in_the_middle_leaves_nothing(
    log: AppendFile[int], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append(b"kept\n", 1)

    def fill_up(calls: int) -> None:
        if calls == 2:
            raise OSError(errno.ENOSPC, "full")

    write_in_parts(monkeypatch, 3, fill_up)
    with pytest.raises(OSError, match="full"):
        log.append(b"a longer line\n", 2)
    assert path.read_bytes() == b"kept\n"
    assert log.is_as_left()
    log.append(b"next\n", 2)
    assert path.read_bytes() == b"kept\nnext\n"


def test_what_cannot_be_cut_off_at_once_is_cut_off_before_the_next_append(
    log: AppendFile[int], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "refused")

    log.append(b"kept\n", 1)
    with monkeypatch.context() as patch:
        write_in_parts(patch, 100, refuse)  # all bytes arrive, and the call fails
        patch.setattr(os, "ftruncate", refuse)
        with pytest.raises(OSError, match="refused"):
            log.append(b"whole\n", 2)
    assert path.read_bytes() == b"kept\nwhole\n"
    log.append(b"next\n", 2)
    assert path.read_bytes() == b"kept\nnext\n"


@pytest.mark.parametrize(("parts", "is_there"), [(1, False), (2, True)])
def test_an_interrupted_append_counts_if_it_was_written_whole(
    log: AppendFile[int],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    parts: int,
    is_there: bool,
) -> None:
    log.append(b"kept\n", 1)

    def interrupt(calls: int) -> None:
        if calls == parts:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        write_in_parts(patch, 5, interrupt)
        with pytest.raises(KeyboardInterrupt):
            log.append(b"new line\n", 2)
    assert log.settle().known == (2 if is_there else 1)
    assert log.is_as_left()
    log.append(b"next\n", 3)
    assert path.read_bytes() == b"kept\n" + b"new line\n" * is_there + b"next\n"


def test_a_look_at_the_end_waits_for_the_append_of_another_thread(
    log: AppendFile[int], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half_way, go_on = threading.Event(), threading.Event()

    def pause(calls: int) -> None:
        if calls == 1:
            half_way.set()
            assert go_on.wait(10)

    write_in_parts(monkeypatch, 5, pause)
    with ThreadPoolExecutor(2) as threads:
        appending = threads.submit(log.append, b"a longer line\n", 1)
        assert half_way.wait(10)
        looking = threads.submit(log.settle)
        assert not looking.done()
        go_on.set()
        assert looking.result(10) == appending.result(10) == (14, 1)
    assert path.read_bytes() == b"a longer line\n"


@pytest.mark.parametrize("change", ["cut", "extended", "replaced", "removed"])
def test_a_file_that_somebody_changed_is_not_as_left(
    log: AppendFile[int], path: Path, change: str
) -> None:
    log.append(b"one\n", 1)
    assert log.is_as_left()
    if change == "cut":
        os.truncate(path, 3)
    elif change == "extended":
        with path.open("ab") as file:
            file.write(b"x")
    else:
        path.rename(path.with_name("elsewhere"))
        if change == "replaced":
            path.write_bytes(b"one\n")
    assert not log.is_as_left()


# --- flush ---------------------------------------------------------------------------------------


class Disk:
    """Stands in for the flush: it waits for :attr:`free`, and may fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.flushes = 0
        self.error: BaseException | None = None
        self.begun = threading.Semaphore(0)
        self.free = threading.Event()
        self.free.set()
        monkeypatch.setattr(append, "_flush_data", self.flush)

    def flush(self, _: int) -> None:
        self.flushes += 1
        self.begun.release()
        assert self.free.wait(10)
        if self.error is not None:
            raise self.error


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_appends_that_are_due_at_once_share_a_flush(log: AppendFile[int], disk: Disk) -> None:
    disk.free.clear()
    ends = [log.append(b"line\n", number) for number in range(1, 9)]
    with ThreadPoolExecutor(8) as threads:
        flushing = [threads.submit(log.flush, end) for end in ends]
        assert disk.begun.acquire(timeout=10)
        disk.free.set()
        for one in flushing:
            one.result(10)
    assert disk.flushes == 1
    assert log.flushed == ends[-1]


def test_a_flush_acknowledges_only_what_was_written_before_it_began(
    log: AppendFile[int], disk: Disk
) -> None:
    disk.free.clear()
    first = log.append(b"first\n", 1)
    with ThreadPoolExecutor(2) as threads:
        flushing = threads.submit(log.flush, first)
        assert disk.begun.acquire(timeout=10)
        second = log.append(b"second\n", 2)  # appends go on beside a flush
        waiting = threads.submit(log.flush, second)
        disk.free.set()
        flushing.result(10)
        waiting.result(10)
    assert disk.flushes == 2
    assert log.flushed == second


def test_a_failed_flush_fails_all_that_wait_and_is_never_tried_again(
    log: AppendFile[int], disk: Disk
) -> None:
    kept = log.append(b"kept\n", 1)
    log.flush(kept)
    disk.free.clear()
    disk.error = OSError(errno.EIO, "lost")
    ends = [log.append(b"line\n", number) for number in range(2, 6)]
    with ThreadPoolExecutor(4) as threads:
        flushing = [threads.submit(log.flush, end) for end in ends]
        disk.free.set()
        for one in flushing:
            with pytest.raises(FlushFailed, match="lost"):
                one.result(10)
    disk.error = None
    with pytest.raises(FlushFailed, match="lost"):
        log.flush(ends[-1])
    log.flush(kept)  # that one was acknowledged before
    assert disk.flushes == 2
    assert log.has_failed
    assert log.flushed == kept


def test_a_flush_that_is_under_way_has_not_failed(log: AppendFile[int], disk: Disk) -> None:
    disk.free.clear()
    end = log.append(b"line\n", 1)
    with ThreadPoolExecutor(1) as threads:
        flushing = threads.submit(log.flush, end)
        assert disk.begun.acquire(timeout=10)
        assert not log.has_failed
        disk.free.set()
        flushing.result(10)
    assert not log.has_failed


def test_a_flush_of_unknown_outcome_counts_as_failed(log: AppendFile[int], disk: Disk) -> None:
    end = log.append(b"line\n", 1)
    disk.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        log.flush(end)
    disk.error = None
    assert log.has_failed
    with pytest.raises(FlushFailed, match="interrupted"):
        log.flush(end)
    assert disk.flushes == 1


_INTERRUPTED = """
import io, signal, sys
from sessionstore.durable.append import AppendFile, End

def interrupt(*_):
    raise KeyboardInterrupt

log = AppendFile(io.FileIO(sys.argv[1], "r+"), sys.argv[1], End(0, 0), End(0, 0))
end = log.append(b"line\\n", 1)
signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, 0.2)
try:
    log.flush(end)
except KeyboardInterrupt:
    print(log.has_failed)
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace delays and fails the flush")
@pytest.mark.parametrize("fails", [False, True])
def test_a_signal_during_a_flush_does_not_hide_its_outcome(path: Path, fails: bool) -> None:
    injection = "inject=fdatasync:delay_exit=1000000" + (":error=EIO" if fails else "")
    strace = ["strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=fdatasync", "-e", injection]
    child = [sys.executable, "-c", _INTERRUPTED, str(path)]
    done = subprocess.run([*strace, *child], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(fails)


# --- close ---------------------------------------------------------------------------------------


def test_a_close_waits_for_the_flush_of_another_thread(log: AppendFile[int], disk: Disk) -> None:
    disk.free.clear()
    end = log.append(b"line\n", 1)
    with ThreadPoolExecutor(2) as threads:
        flushing = threads.submit(log.flush, end)
        assert disk.begun.acquire(timeout=10)
        closing = threads.submit(log.close)
        assert not closing.done()
        disk.free.set()
        flushing.result(10)
        closing.result(10)
    assert log.file.closed
    log.close()


def test_a_closed_file_takes_and_flushes_nothing(log: AppendFile[int], path: Path) -> None:
    end = log.append(b"line\n", 1)
    log.close()
    with pytest.raises(OSError, match="closed"):
        log.append(b"more\n", 2)
    with pytest.raises(FlushFailed, match="closed"):
        log.flush(end)
    assert path.read_bytes() == b"line\n"


# --- padding -------------------------------------------------------------------------------------

KIB = 1024


def append_flushed(log: AppendFile[int], data: bytes = b"line\n") -> None:
    log.flush(log.append(data, 0))


def padded(path: Path, data: bytes = b"line\n") -> AppendFile[int]:
    """Return a file that has been padded: three appends are in it."""
    log = open_log(path)
    for _ in range(3):
        append_flushed(log, data)
    assert path.stat().st_size == 4 * KIB
    return log


def test_padding_begins_with_the_third_append_that_is_flushed(
    log: AppendFile[int], path: Path
) -> None:
    append_flushed(log)
    append_flushed(log)
    assert path.read_bytes() == b"line\n" * 2
    append_flushed(log)
    assert path.read_bytes() == (b"line\n" * 3).ljust(4 * KIB - 1) + b"\n"


def test_appends_that_nobody_flushes_write_no_padding(log: AppendFile[int], path: Path) -> None:
    for _ in range(10):
        log.append(b"line\n", 0)
    assert path.read_bytes() == b"line\n" * 10


def test_padding_grows_from_a_block_to_256_kib_and_is_written_once(
    log: AppendFile[int], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    written = 0

    def write(file: io.FileIO, data: memoryview | bytes, at: int) -> int:
        nonlocal written
        written += len(data)
        return os.pwrite(file.fileno(), data, at)

    monkeypatch.setattr(append, "_write_some", write)
    line = b"x" * 999 + b"\n"
    for _ in range(1200):
        append_flushed(log, line)
        if (size := path.stat().st_size) not in sizes:
            sizes.append(size)
        assert log.is_as_left()
    assert [size // KIB for size in sizes[2:]] == [4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280]
    assert written <= 1_200_000 + sizes[-1]
    assert [line for line in path.read_bytes().splitlines() if line.strip()] == [line[:-1]] * 1200
    log.close()
    assert path.read_bytes() == line * 1200


def test_an_append_that_is_longer_than_the_padding_goes_beyond_it(path: Path) -> None:
    log = padded(path)
    long = b"y" * 5 * KIB + b"\n"
    append_flushed(log, long)
    assert path.stat().st_size == 8 * KIB
    log.close()
    assert path.read_bytes() == b"line\n" * 3 + long


def test_a_close_cuts_off_the_padding(path: Path) -> None:
    padded(path).close()
    assert path.read_bytes() == b"line\n" * 3


@pytest.mark.parametrize("change", ["extended", "written into", "replaced"])
def test_a_close_cuts_nothing_that_somebody_else_left(path: Path, change: str) -> None:
    log = padded(path)
    if change == "extended":
        with path.open("ab") as file:
            file.write(b"\n")
    elif change == "written into":
        with path.open("r+b") as file:
            file.seek(2 * KIB)
            file.write(b"x")
    else:
        path.rename(path.with_name("elsewhere"))
        path.write_bytes((path.with_name("elsewhere")).read_bytes())
    before = path.read_bytes()
    log.close()
    assert path.read_bytes() == before


@needs_linux("it forks")
def test_a_forked_child_leaves_the_padding_to_its_parent(path: Path) -> None:
    log = padded(path)
    child = os.fork()
    if not child:
        log.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert log.is_as_left()
    append_flushed(log)
    log.close()
    assert path.read_bytes() == b"line\n" * 4


@pytest.mark.parametrize("room", [0, 5, 100])
def test_a_disk_too_full_for_padding_takes_an_append_that_fits(
    log: AppendFile[int], path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    append_flushed(log)
    append_flushed(log)

    def write(file: io.FileIO, data: memoryview | bytes, at: int) -> int:
        if len(data) > 5 and not room:
            raise OSError(errno.ENOSPC, "full")
        return os.pwrite(file.fileno(), data[: max(room, 5)], at)

    with monkeypatch.context() as patch:
        patch.setattr(append, "_write_some", write)
        append_flushed(log)
    assert path.stat().st_size == 10 + max(room, 5)
    assert log.is_as_left()
    append_flushed(log)
    log.close()
    assert path.read_bytes() == b"line\n" * 4


@pytest.mark.parametrize(("parts", "is_there"), [(1, False), (2, True)])
def test_an_append_over_padding_that_was_interrupted_leaves_nothing_of_it_or_all(
    path: Path, monkeypatch: pytest.MonkeyPatch, parts: int, is_there: bool
) -> None:
    log = padded(path)

    def interrupt(calls: int) -> None:
        if calls == parts:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        write_in_parts(patch, 10, interrupt)
        with pytest.raises(KeyboardInterrupt):
            log.append(b"a longer line\n", 0)
    append_flushed(log, b"new\n")
    log.close()
    assert path.read_bytes() == b"line\n" * 3 + b"a longer line\n" * is_there + b"new\n"


@needs_root("it mounts an image")
def test_a_flush_of_an_append_over_padding_commits_no_journal() -> None:
    try:
        with image("ext4") as disk:
            [source] = [
                line.split()[0]
                for line in Path("/proc/mounts").read_text().splitlines()
                if line.split()[1] == str(disk.path)
            ]
            [journal] = Path("/proc/fs/jbd2").glob(f"{Path(source).name}-*")

            def commits() -> int:
                return int((journal / "info").read_text().split()[0])

            path = disk.path / "log"
            path.touch()
            log = open_log(path)
            line = b"x" * 499 + b"\n"
            grown = commits()
            for _ in range(35):  # the file has 32 KiB by then
                append_flushed(log, line)
            before = commits()
            assert before > grown
            for _ in range(20):
                append_flushed(log, line)
            assert path.stat().st_size == 32 * KIB
            assert commits() == before
            log.close()
    except Unavailable as error:
        pytest.skip(str(error))


# --- before and after ----------------------------------------------------------------------------


def test_what_follows_the_end_is_erased(path: Path) -> None:
    path.write_bytes(b"kept\ntorn")
    with io.FileIO(path, "r+") as file:
        append.erase_after(file, 5)
        append.erase_after(file, 5)
    assert path.read_bytes() == b"kept\n"


def test_a_file_is_read_in_pieces(path: Path) -> None:
    data = os.urandom(5 * 1024 * 1024 // 2)
    path.write_bytes(data)
    with io.FileIO(path) as file:
        found = list(append.pieces(file, len(data) - 7))
        assert b"".join(append.pieces(file, len(data) * 2)) == data
    assert b"".join(found) == data[:-7]
    assert max(map(len, found)) <= 1024 * 1024
