"""Every state that POSIX allows after a power cut, at every point of a session's life."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.faults.support.crash_calls import Call
from tests.faults.support.crash_journal import JournaledDisk
from tests.faults.support.crash_model import Disk, File, Folder
from tests.faults.support.crash_record import (
    LIFE,
    LIFE_WITHOUT_CHECKPOINTS,
    SHORT_LIFE,
    Enumeration,
    Violation,
    enumerate_crashes,
    message,
    record,
)
from tests.faults.support.tally import tally
from tests.support.processes import needs_linux

linux = needs_linux("strace records the system calls")
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace records the calls")


def crash(
    tmp_path: Path,
    durability: str,
    mutant: str,
    steps: str = LIFE,
    kind: type[Disk] = Disk,
) -> Enumeration:
    root = tmp_path / "store"
    calls = record(root, tmp_path / "trace", durability, mutant=mutant, steps=steps)
    assert sum(1 for call in calls if message(call)) == 2 * len(steps.split())
    return enumerate_crashes(calls, root, power=durability == "power", real=root, kind=kind)


@linux
@needs_strace
@pytest.mark.parametrize("way", ["none", "plain rename", "copies", "keep one checkpoint"])
def test_whatever_a_power_cut_leaves_is_the_acknowledged_state_or_the_one_in_flight(
    tmp_path: Path, way: str
) -> None:
    tried = crash(tmp_path, "power", way)
    assert tried.crashes >= 100
    tally("crash states", promise=2, cases=tried.crashes)
    tally("crash states", promise=9, cases=tried.crashes)


@linux
@needs_strace
@pytest.mark.parametrize("way", ["none", "plain rename", "copies", "keep one checkpoint"])
def test_a_checkpoint_that_returned_outlives_a_power_cut_in_process_mode_too(
    tmp_path: Path, way: str
) -> None:
    tried = crash(tmp_path, "process", way)
    assert tried.crashes >= 200  # less is flushed, so more may be left
    assert tried.repaired > 0, "no check had anything to repair"
    tally("crash states", promise=2, cases=tried.crashes)


@linux
@needs_strace
@pytest.mark.parametrize("durability", ["power", "process"])
def test_a_create_in_a_directory_of_the_application_is_atomic_too(
    tmp_path: Path, durability: str
) -> None:
    steps = "mkdir create checkpoint complete delete mkdir create save"
    tried = crash(tmp_path, durability, "none", steps)
    assert tried.crashes >= 100
    tally("crash states", promise=9, cases=tried.crashes)


@linux
@needs_strace
@pytest.mark.parametrize("durability", ["power", "process"])
@pytest.mark.parametrize("way", ["none", "plain rename", "copies", "keep one checkpoint"])
def test_what_was_saved_without_a_checkpoint_can_be_resumed_after_a_power_cut(
    tmp_path: Path, durability: str, way: str
) -> None:
    tried = crash(tmp_path, durability, way, LIFE_WITHOUT_CHECKPOINTS)
    assert tried.crashes >= 100
    tally("crash states", promise=12, cases=tried.crashes)


@linux
@needs_strace
def test_a_state_that_names_a_pruned_checkpoint_is_resumable_after_a_check_up(
    tmp_path: Path,
) -> None:
    steps = "create checkpoint checkpoint save checkpoint save"
    tried = crash(tmp_path, "process", "keep one checkpoint", steps)
    assert tried.dangling > 0, "no older state came back: it proves nothing"
    assert tried.repaired >= tried.dangling
    tally("crash states", promise=2, cases=tried.crashes)


@linux
@needs_strace
@pytest.mark.parametrize(
    ("durability", "mutant", "symptom"),
    [
        ("power", "no file fsync", "state.json is neither"),
        ("power", "no directory fsync", "the session is gone"),
        ("power", "checkpoint linked after the state", "refers to a checkpoint"),
        ("power", "delete without rename", "state.json is neither"),
        ("power", "delete without a flush", "state.json is neither"),
        ("power", "create in place", "state.json is neither"),
        ("power", "save in place", "state.json is neither"),
        ("power", "checkpoint name not flushed", "refers to a checkpoint"),
        ("process", "checkpoint without an anchor", "the session is gone"),
        ("process", "checkpoint name not flushed", "returned, and is lost"),
        ("process", "checkpoint bytes not flushed", "is not as it was written"),
        ("process", "delete without a flush", "returned, and is lost"),
    ],
)
def test_a_store_that_leaves_one_thing_out_is_caught(
    tmp_path: Path, durability: str, mutant: str, symptom: str
) -> None:
    with pytest.raises(Violation, match=symptom):
        crash(tmp_path, durability, mutant, SHORT_LIFE)


# --- with one flush ------------------------------------------------------------------------------


@linux
@needs_strace
@pytest.mark.parametrize("durability", ["power", "process"])
@pytest.mark.parametrize("steps", [LIFE, LIFE_WITHOUT_CHECKPOINTS], ids=["kept", "not kept"])
def test_with_one_ordered_journal_one_flush_keeps_what_two_keep(
    tmp_path: Path, durability: str, steps: str
) -> None:
    tried = crash(tmp_path, durability, "one flush", steps, JournaledDisk)
    assert tried.crashes >= 100
    tally("crash states", promise=2, cases=tried.crashes)


@linux
@needs_strace
@pytest.mark.parametrize("durability", ["power", "process"])
def test_with_one_flush_a_create_in_a_directory_of_the_application_is_atomic(
    tmp_path: Path, durability: str
) -> None:
    steps = "mkdir create checkpoint complete delete mkdir create save"
    tried = crash(tmp_path, durability, "one flush", steps, JournaledDisk)
    assert tried.crashes >= 50
    tally("crash states", promise=9, cases=tried.crashes)


@linux
@needs_strace
@pytest.mark.parametrize(
    ("mutant", "kind", "symptom"),
    [
        ("one flush, not written out", JournaledDisk, "state.json is neither"),
        ("one flush, not waited for", JournaledDisk, "state.json is neither"),
        ("one flush, but no flush", JournaledDisk, "the session is gone"),
        ("one flush, checkpoint linked after the state", JournaledDisk, "refers to a checkpoint"),
        # On a file system of which nothing is known but POSIX.
        ("one flush", Disk, "state.json is neither"),
    ],
)
def test_one_flush_that_leaves_something_out_or_is_not_enough_is_caught(
    tmp_path: Path, mutant: str, kind: type[Disk], symptom: str
) -> None:
    with pytest.raises(Violation, match=symptom):
        crash(tmp_path, "power", mutant, SHORT_LIFE, kind)


# --- the model itself ----------------------------------------------------------------------------


def test_what_was_flushed_has_one_form_and_what_was_not_has_many() -> None:
    file = File()
    file.write(0, b"abcd")
    assert set(file.options()) == {b"", b"ab", b"\0\0cd", b"\0\0\0\0", b"abcd"}
    file.flush()
    assert file.options() == [b"abcd"]
    file.truncate(0)
    assert set(file.options()) == {b"abcd", b""}


def test_names_that_were_not_flushed_come_in_every_combination() -> None:
    folder, one, two = Folder(), File(), File()
    folder.set({"one": one})
    folder.set({"two": two})
    options = [names for group in folder.options(lambda _: False) for names in group]
    assert sorted(map(sorted, options)) == [[], ["one"], ["one", "two"], ["two"]]
    folder.flush()
    assert folder.options(lambda _: False) == [[{"one": one, "two": two}]]


def test_a_rename_within_a_directory_is_atomic_and_between_two_it_is_not() -> None:
    def after_rename(target: bytes) -> set[tuple[str, ...]]:
        disk = Disk(Path("/r"))
        disk.replay(Call("mkdir", (b"/r/d", 448), 0))
        disk.replay(Call("openat", (-1, b"/r/a", "O_WRONLY|O_CREAT", 384), 9))
        disk.root.flush()
        disk.replay(Call("renameat2", (-1, b"/r/a", -1, target, "RENAME_NOREPLACE"), 0))
        return {
            tuple(path for path, _, data in world.entries() if data is not None)
            for world in disk.worlds()
        }

    assert after_rename(b"/r/b") == {("a",), ("b",)}
    assert after_rename(b"/r/d/b") == {("a",), ("d/b",), (), ("a", "d/b")}


def test_in_a_journal_bytes_that_arrived_are_durable_with_any_later_name() -> None:
    def contents(flags: str) -> list[set[bytes | None]]:
        disk = JournaledDisk(Path("/r"))
        disk.replay(Call("openat", (-1, b"/r/new", "O_WRONLY|O_CREAT", 384), 9))
        disk.replay(Call("write", (9, b"ab", 2), 2))
        disk.replay(Call("sync_file_range", (9, 0, 0, flags), 0))
        disk.replay(Call("renameat2", (-1, b"/r/new", -1, b"/r/state", "0"), 0))
        found: dict[str, set[bytes | None]] = {}
        for world in disk.worlds(everything=True):
            for path, _, data in world.entries():
                found.setdefault(path, set()).add(data)
        return [found["new"], found["state"]]

    torn = {b"", b"a", b"\0b", b"\0\0", b"ab"}
    waits = "SYNC_FILE_RANGE_WRITE|SYNC_FILE_RANGE_WAIT_AFTER"
    assert contents(waits) == [torn, {b"ab"}]
    assert contents("SYNC_FILE_RANGE_WRITE") == [torn, torn]


def test_a_call_that_the_model_does_not_know_is_refused() -> None:
    disk = Disk(Path("/r"))
    with pytest.raises(NotImplementedError, match="symlink"):
        disk.replay(Call("symlink", (b"elsewhere", b"/r/a"), 0))
    assert not disk.replay(Call("symlink", (b"elsewhere", b"/other"), 0))
