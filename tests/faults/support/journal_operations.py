"""What a process does to a journal while it is killed, or while the system refuses a call."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sessionstore import DurabilityUncertain, SessionStore
from sessionstore.durable import append
from tests.faults.support.operations import SESSION, Operations, Prepare, Stage, serve

View = list[Any]
"""The values of a journal as it counts, in order."""

BALLAST = "x" * 700
"""Makes a record longer than a sector."""


def journal_file(root: Path, session_id: str = SESSION) -> Path:
    return root / "sessions" / session_id / "journals" / "main.jsonl"


def view(root: Path) -> View:
    """Return what another process reads, without a lock; look that all ways of reading agree."""
    journal = SessionStore(root).journal(SESSION)
    records = journal.read()
    assert list(journal) == records
    assert journal.count() == len(records)
    numbers = [record.number for record in records]
    assert numbers == sorted(set(numbers))
    assert {record.number for record in journal.read(everything=True)} >= set(numbers)
    return [record.value for record in records]


# --- preparing -----------------------------------------------------------------------------------


def no_journal(stage: Stage) -> None:
    stage.session = stage.store.create("goal", session_id=SESSION)


def held(stage: Stage) -> None:
    """Hold a session whose journal has an append of one record and one of two."""
    no_journal(stage)
    journal = stage.held.journal()
    journal.append("one")
    journal.append("two", "three", key="both")
    stage.held.save()


def _pause(stage: Stage) -> None:
    stage.held.pause()
    stage.session = None


def paused(stage: Stage) -> None:
    held(stage)
    _pause(stage)


def claimed(stage: Stage) -> None:
    """Hold a session whose journal this claim has not opened yet."""
    paused(stage)
    stage.session = stage.store.claim(SESSION)


def torn(stage: Stage) -> None:
    """Hold a session whose last holder was killed in the middle of an append."""
    paused(stage)
    with journal_file(stage.root).open("ab") as file:
        file.write(b'{"n":4,"at":"2026-11-28T12:00:00Z","value":"half')
    stage.session = stage.store.claim(SESSION)


def linked(stage: Stage) -> None:
    """Hold a session that somebody copied by links."""
    paused(stage)
    os.link(journal_file(stage.root), stage.root / "copy.jsonl")
    stage.session = stage.store.claim(SESSION)


def kept(stage: Stage) -> None:
    """Leave a session with records between one checkpoint and another."""
    held(stage)
    stage.held.state.data_buffer["records"] = len(OLD)
    stage.held.checkpoint()
    stage.held.journal().append("four")
    stage.held.journal().append("five")
    stage.held.state.data_buffer["records"] = len(LATER)
    stage.held.checkpoint()
    _pause(stage)


def gone_back(stage: Stage) -> None:
    """Hold a session that went back, and did not append since."""
    kept(stage)
    go_back(stage)


def failed(stage: Stage) -> None:
    """Hold a session whose last append was not flushed."""
    held(stage)

    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(append, "_flush_data", fail)
        with suppress(DurabilityUncertain):
            stage.held.journal().append("four")


# --- performing ----------------------------------------------------------------------------------


def append_two(stage: Stage) -> None:
    stage.held.journal().append(BALLAST, "last")


def rewrite(stage: Stage) -> None:
    stage.held.journal().rewrite(["new", BALLAST, "newer"])


def go_back(stage: Stage) -> None:
    earlier, *_ = stage.store.checkpoint_names(SESSION)
    stage.session = stage.store.resume(SESSION, checkpoint_id=earlier)


def go_back_and_append(stage: Stage) -> None:
    go_back(stage)
    append_two(stage)


def go_back_twice(stage: Stage) -> None:
    """Go back, append, and go back once more to before that."""
    go_back_and_append(stage)
    _pause(stage)
    go_back(stage)


def go_on_again(stage: Stage) -> None:
    """Go back, then on to a checkpoint that came later: what was left behind counts again."""
    go_back(stage)
    _pause(stage)
    _, later, *_ = stage.store.checkpoint_names(SESSION)
    stage.session = stage.store.resume(SESSION, checkpoint_id=later)
    stage.session.journal().append("last")


def checkpoint(stage: Stage) -> None:
    append_two(stage)
    stage.held.checkpoint()


class Case(NamedTuple):
    """An operation on a journal."""

    prepare: Prepare
    perform: Prepare
    views: list[View]
    """What may be read: first what was there, then what there is after each of its steps."""
    repeats: bool = True
    """Whether the holder can do the same once more."""


OLD: View = ["one", "two", "three"]
LATER: View = [*OLD, "four", "five"]
NEW: View = [BALLAST, "last"]

CASES: dict[str, Case] = {
    "first append": Case(no_journal, append_two, [[], NEW]),
    "append": Case(held, append_two, [OLD, OLD + NEW]),
    "append after a claim": Case(claimed, append_two, [OLD, OLD + NEW]),
    "append to a torn tail": Case(torn, append_two, [OLD, OLD + NEW]),
    "append to a copy": Case(linked, append_two, [OLD, OLD + NEW]),
    "append after a failed flush": Case(
        failed, append_two, [[*OLD, "four"], [*OLD, "four", *NEW]]
    ),
    "append after going back": Case(gone_back, append_two, [OLD, OLD + NEW]),
    "rewrite": Case(held, rewrite, [OLD, ["new", BALLAST, "newer"]]),
    "rewrite after going back": Case(gone_back, rewrite, [OLD, ["new", BALLAST, "newer"]]),
    "checkpoint": Case(held, checkpoint, [OLD, OLD + NEW], repeats=False),
    "go back": Case(kept, go_back, [LATER, OLD], repeats=False),
    "go back, append": Case(kept, go_back_and_append, [LATER, OLD, OLD + NEW], repeats=False),
    "go back twice": Case(
        kept, go_back_twice, [LATER, OLD, OLD + NEW, OLD], repeats=False
    ),
    "go on again": Case(
        kept, go_on_again, [LATER, OLD, LATER, [*LATER, "last"]], repeats=False
    ),
}  # fmt: skip

OPERATIONS: Operations = {name: (case.prepare, case.perform) for name, case in CASES.items()}


def serve_journals(scratch: str) -> None:
    """Fork a worker for each order, and say how it ended."""
    serve(scratch, OPERATIONS)
