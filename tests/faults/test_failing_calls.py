"""Each call that changes something fails once: a typed error, the old state, and nothing left."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sessionstore import SessionStore
from tests.faults.conftest import Record
from tests.faults.support.operations import OPERATIONS, SESSION, check_listing, is_free, is_indexed
from tests.faults.support.strace import (
    SWEEP_ALL,
    Call,
    Server,
    Stored,
    Worker,
    index_calls,
    needs_strace,
    read_calls,
    thinned,
    traced,
)
from tests.faults.support.tally import tally
from tests.support.index import orphans
from tests.support.processes import leftovers, needs_linux

pytestmark = [needs_strace]
strace_only = needs_linux("strace lets a system call fail")

_SPACE = "ENOSPC", "EDQUOT"
ANSWERS: dict[str, tuple[str, ...]] = {
    "write": ("EIO", *_SPACE),
    "pwrite64": ("EIO", *_SPACE),
    "pread64": ("EIO",),
    "fsync": ("EIO", *_SPACE),
    "fdatasync": ("EIO", *_SPACE),
    "sync_file_range": ("EIO", *_SPACE),
    "rename": ("EIO", *_SPACE, "EACCES", "EROFS"),
    "renameat": ("EIO", *_SPACE, "EACCES", "EROFS"),
    "renameat2": ("EIO", *_SPACE, "EACCES", "EROFS"),
    "link": ("EIO", *_SPACE, "EACCES", "EROFS"),
    "linkat": ("EIO", *_SPACE, "EACCES", "EROFS"),
    "mkdir": ("EIO", *_SPACE, "EACCES", "EROFS"),
    "mkdirat": ("EIO", *_SPACE, "EACCES", "EROFS"),
    "unlink": ("EIO", "EACCES", "EROFS"),
    "unlinkat": ("EIO", "EACCES", "EROFS"),
    "rmdir": ("EIO", "EACCES", "EROFS"),
    "ftruncate": ("EIO",),
    "flock": ("ENOLCK", "EIO"),
    "fcntl": ("ENOLCK", "EIO"),
}
"""What each call can answer, of what a file system or the kernel refuses with."""
CREATING = ("EIO", *_SPACE, "EACCES", "EMFILE", "EROFS")
OPENING = ("EMFILE", "EIO", "EACCES")

WHOLE = ("create", "save", "checkpoint", "claim", "pause", "delete")
"""Operations of which each call gives each answer; the others take one answer for each call."""

RELEASED = ("create", "first create", "claim", "resume", "recover", "delete", "edit")
"""Operations (by the begin of the name) that hold nothing once they have failed."""

TAKING_OVER = ("claim after a crash", "resume")
"""Operations (by the begin of the name) that make a session ACTIVE."""


def answers_of(call: Call) -> tuple[str, ...]:
    if call.name == "openat":
        return CREATING if call.is_change else OPENING
    return ANSWERS[call.name]


def planned(operation: str, root: Path, calls: list[Call]) -> Iterator[tuple[Call, str]]:
    for number, call in enumerate(thinned(calls)):
        # What is read outside of the store, and close(), which cannot fail without closing.
        if f"{root}" not in call.text or call.name == "close":
            continue
        # Of these only what takes a lock of SQLite's: what gives one back cannot fail.
        if call.name == "fcntl" and ("F_SETLK" not in call.text or "F_UNLCK" in call.text):
            continue
        answers = answers_of(call)
        if SWEEP_ALL or operation in WHOLE:
            for answer in answers:
                yield call, answer
        else:
            yield call, answers[number % len(answers)]


def may_be_passed_over(operation: str, call: Call) -> bool:
    """Whether an operation may do its work in spite of this failure."""
    if operation.startswith("recover") and call.name == "fsync" and "/sessions>" in call.text:
        return True  # comes before trash is removed, which then waits for another sweep
    if operation.startswith("recover") and call.name == "flock":
        return True  # a listing looks whether somebody holds a live session
    if operation.startswith("recover") and call.name == "mkdir" and "/trash" in call.text:
        return True  # where an index is made, which can wait
    if call.name in ("unlink", "unlinkat", "rmdir"):
        return True  # the new state is there: what stays is cleaned up later
    if call.name == "openat" and not call.is_change:
        return True  # such as looking for what a dead holder left
    # Who holds the lock is only a courtesy to others.
    return call.is_of_lock and call.name in ("write", "ftruncate")


CASES = [(operation, "power") for operation in OPERATIONS]
CASES += [
    (operation, "power, one flush")
    for operation in OPERATIONS
    if SWEEP_ALL or operation in (*WHOLE, "recover")
]


@strace_only
@pytest.mark.parametrize(("operation", "durability"), CASES)
def test_a_call_that_fails_gives_a_typed_error_the_old_state_and_nothing_left(
    server: Server, record: Record, operation: str, durability: str
) -> None:
    whole = record(operation, durability=durability)
    log, wanted = whole.log, whole.wanted
    of_index = index_calls(whole.calls)
    assert bool(of_index) == is_indexed(operation)

    wrong: list[str] = []
    raised: dict[str, str] = {}
    tried = 0
    for call, answer in planned(operation, whole.root, whole.calls):
        tried += 1
        root = whole.place / str(tried)
        with server.worker(operation, root, durability) as worker:
            before = Stored.under(root)
            with traced(worker.pid, log, f"{call.name}:error={answer}:when={call.nth}"):
                result = worker.ask("go")
            check_failed(call, answer, log)
            try:
                after = Stored.under(root)
                if call in of_index:
                    assert result == {"outcome": "returned"}, "the index is nobody's trouble"
                    assert after.summary == wanted, "it returned without having worked"
                else:
                    check_outcome(operation, call, answer, result, before, after, wanted)
                    check_not_flushed_again(call, log)
                check_nothing_left(root, operation, call, result, worker)
                if is_indexed(operation):
                    check_listings(root, tried, worker)
                check_next_works(root, operation, result, worker)
            except AssertionError as error:
                wrong.append(f"{answer} from {call}: {result}: {error}")
        if call.name == "fsync" and call not in of_index:
            raised[f"{call.nth}"] = result["outcome"]
    tally("injected errors", promise=3, cases=tried, violations=len(wrong))
    assert not wrong, "\n".join(wrong)
    if not operation.startswith(("create", "first create", "recover", "claim")):
        assert [*raised.values()][-1] == "DurabilityUncertain", raised


def check_failed(call: Call, answer: str, log: Path) -> None:
    hit = [seen for seen in read_calls(log) if "(INJECTED)" in seen.text]
    assert [(seen.name, seen.nth) for seen in hit] == [(call.name, call.nth)], f"missed {call}"
    assert answer in hit[0].text


def check_outcome(
    operation: str,
    call: Call,
    answer: str,
    result: dict[str, Any],
    before: Stored,
    after: Stored,
    wanted: dict[str, Any] | None,
) -> None:
    outcome = result["outcome"]
    assert outcome != "untyped", "not an error of ours"
    if outcome == "returned":
        assert after.summary == wanted, "it returned without having worked"
        assert may_be_passed_over(operation, call), "passed over"
        return
    if after.payload != before.payload:
        if operation.startswith(TAKING_OVER) and wanted is not None:
            wanted = given_back(wanted)
        assert after.summary == wanted, "neither the old state nor the new"
        assert outcome == "DurabilityUncertain" or (
            outcome == "SweepFailed" and "save again" in result["text"]
        ), "raised, but changed the state"
        assert call.is_of_directory, "uncertain without reason"
        return
    assert outcome in ("StorageError", "SweepFailed", "DurabilityUncertain"), outcome
    if outcome == "DurabilityUncertain":
        assert wanted == before.summary, "told of a change that is not there"
    if outcome != "SweepFailed":
        assert result["errno"] == getattr(errno, answer)
    assert after.checkpoints == before.checkpoints, "changed the checkpoints"


def given_back(active: dict[str, Any]) -> dict[str, Any]:
    """Return what is stored of a session that was made ACTIVE, and that nobody has got then."""
    revision = active["revision"] + 1
    kept = active["kept"]
    if kept[0] in ("", "cp_last_save"):  # it has no checkpoint of the application's
        kept = ["cp_last_save", f"r{revision}"]
    return {**active, "status": "paused", "owned": False, "revision": revision, "kept": kept}


def check_not_flushed_again(call: Call, log: Path) -> None:
    """A failed flush may have marked the pages clean: a second one would prove nothing."""
    if call.name not in _FLUSHES or call.is_of_directory:
        return
    flushed = [seen for seen in read_calls(log) if seen.name in _FLUSHES]
    (failed,) = (seen.file for seen in flushed if "(INJECTED)" in seen.text)
    assert [seen.file for seen in flushed].count(failed) == 1, f"flushed again: {flushed}"


_FLUSHES = "fsync", "sync_file_range"


def check_nothing_left(
    root: Path, operation: str, call: Call, result: dict[str, Any], worker: Worker
) -> None:
    look = worker.ask("look")
    # The index stays open until the store is closed.
    look["descriptors"] = [name for name in look["descriptors"] if "/index-" not in name]
    # A held session keeps its lock, and its directory for the next save.
    kept = (f"/locks/{SESSION}.lock", f"/sessions/{SESSION}") if look["held"] else ()
    mine = [name for name in look["descriptors"] if not name.endswith(kept)]
    assert not mine, f"descriptors left open: {mine}"
    assert look["threads"] == 0
    failed = result["outcome"] != "returned"
    if failed and operation.startswith(RELEASED):
        assert not look["held"]
        assert not look["descriptors"], "the lock file or the directory is still open"
        assert is_free(root, SESSION), "the lock is still held"
    if call.name not in ("unlink", "unlinkat", "rmdir"):
        left = [name for name in leftovers(root) if not planted(name)]
        assert not left, f"temporary files left: {left}"


def planted(name: str) -> bool:
    """Whether an earlier process, which was killed, had left this already."""
    return "0123456789abcdef" in name or "fedcba9876543210" in name


def check_listings(root: Path, turn: int, worker: Worker) -> None:
    """Whatever became of the index, who saw the error lists what is there, and so do others."""
    assert worker.ask("listing", turn=turn) == {"outcome": "returned"}
    store = SessionStore(root)
    check_listing(store, turn + 1)
    store.close()


def check_next_works(root: Path, operation: str, result: dict[str, Any], worker: Worker) -> None:
    """The same process goes on, then another one does, and nothing stays behind."""
    if result["outcome"] != "returned":
        again = worker.ask("again")
        gone = again["outcome"] == "SessionNotFound" and not (root / "sessions" / SESSION).exists()
        assert again["outcome"] == "returned" or gone, f"the next one failed: {again}"
        if is_indexed(operation):
            assert worker.ask("listing", turn=0) == {"outcome": "returned"}
    finished = worker.ask("finish")
    assert finished == {"outcome": "returned", "left": []}
    check_others_go_on(root)


def check_others_go_on(root: Path) -> None:
    store = SessionStore(root)
    if not store.exists(SESSION):
        store.create("goal", session_id=SESSION).complete()
    with store.claim(SESSION) as session:
        stored = session.revision
        assert session.save() == stored + 1
        if session.state.status != "active":
            session.release()
    report = store.recover()
    assert [*report.alive, *report.unknown, *report.damaged, *report.failed] == []
    assert not any(item.damaged for item in store.checkpoints(SESSION))
    assert leftovers(root) == [], "left for ever"
    assert list(root.joinpath("trash").iterdir()) == [], "left for ever"
    check_listing(store, 1)
    store.close()
    assert orphans(root) == [], "left for ever"


# --- short writes -------------------------------------------------------------------------------


@strace_only
@pytest.mark.parametrize("operation", ["create", "checkpoint, copied", "pause", "recover"])
@pytest.mark.parametrize("part", ["nothing", "one", "half", "all but one"])
def test_a_write_that_takes_only_a_part_is_completed(
    server: Server, record: Record, operation: str, part: str
) -> None:
    whole = record(operation, part)
    log, wanted = whole.log, whole.wanted
    writes = [call for call in whole.calls if call.name == "write" and not call.is_answer]
    assert writes
    for number, call in enumerate(writes, start=1):
        root = whole.place / str(number)
        short = None if part == "nothing" else (number, part)
        with server.worker(operation, root, short=short) as worker:
            if part == "nothing":  # the system says that it took no byte, and took none
                with traced(worker.pid, log, f"write:retval=0:when={call.nth}"):
                    result = worker.ask("go")
                assert any("(INJECTED)" in seen.text for seen in read_calls(log))
            else:
                result = worker.ask("go")
                assert worker.ask("look")["shortened"] == 1
            assert result == {"outcome": "returned"}
            after = Stored.under(root)
            assert after.summary == wanted
            for name in after.checkpoints:
                kept = root.joinpath("sessions", SESSION, "checkpoints", name).read_bytes()
                assert json.loads(kept)["session_id"] == SESSION
            check_next_works(root, operation, result, worker)
    tally("injected errors", promise=3, cases=len(writes))
