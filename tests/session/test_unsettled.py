"""A listing names the steps that wait for somebody, and reads no more than it has to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sessionstore import SessionState, SessionStore, Step
from sessionstore.model.journal import Position
from sessionstore.storage.files.backend import FilesBackend

Store = SessionStore[SessionState]

CLOSED = "[session.step(f'{n}', len, 'four') for n in range(50)]; session.checkpoint('step')"
PAY = "session.step(Step('pay', at_most_once=True), os._exit, 0)"


def died(root: Path, *lines: str, session_id: str = "s") -> Store:
    """Run the lines on a new session in a process that dies; return its store."""
    code = "\n".join(
        (
            "import os, sys",
            "from sessionstore import SessionStore, Step",
            "session = SessionStore(sys.argv[1]).create('g', session_id=sys.argv[2])",
            *lines,
            "os._exit(0)",
        )
    )
    subprocess.run([sys.executable, "-c", code, str(root), session_id], check=True)
    return SessionStore(root)


@pytest.mark.parametrize("is_swept", [False, True])
@pytest.mark.parametrize("before", ["", CLOSED, "session.step('plan', len, 'four')"])
def test_a_session_that_died_within_a_step_names_it(
    tmp_path: Path, before: str, is_swept: bool
) -> None:
    store = died(tmp_path, before, PAY)
    if is_swept:
        store.recover()
    (item,) = store.find()
    assert item.unsettled_steps == ("pay",)
    assert [one.unsettled_steps for one in store.iter_find()] == [("pay",)]


def test_a_session_that_was_stopped_within_a_step_names_it(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    store = SessionStore(tmp_path)
    with pytest.raises(KeyboardInterrupt), store.create("g", session_id="s") as session:
        session.step(Step("pay", at_most_once=True), stop)
    assert store.find().items[0].unsettled_steps == ("pay",)


@pytest.mark.parametrize("how", ["settled", "allowed to run again"])
def test_a_step_that_somebody_settled_is_named_no_more(tmp_path: Path, how: str) -> None:
    store = died(tmp_path, PAY)
    with store.claim("s") as session:
        if how == "settled":
            session.settle_step("pay", 12)
        else:
            session.rerun_step("pay")
        session.pause()
    assert store.find().items[0].unsettled_steps == ()


@pytest.mark.parametrize(
    "line",
    [
        "session.step('draft', os._exit, 0)",
        "session.step(Step('pay', at_most_once=True), len, 'four')",
        f"{CLOSED}",
    ],
)
def test_a_session_that_nobody_has_to_settle_names_nothing(tmp_path: Path, line: str) -> None:
    assert died(tmp_path, line).find().items[0].unsettled_steps == ()


def test_a_step_that_a_resume_went_back_from_is_named_no_more(tmp_path: Path) -> None:
    store = died(tmp_path, CLOSED, PAY)
    first = store.checkpoint_names("s")[0]
    with pytest.raises(SystemExit), store.resume("s", checkpoint_id=first):
        sys.exit()
    (item,) = store.find()
    assert item.is_interrupted
    assert item.unsettled_steps == ()


def test_a_damaged_journal_hides_no_session(tmp_path: Path) -> None:
    store = died(tmp_path, PAY)
    (file,) = tmp_path.glob("sessions/s/journals/steps.jsonl")
    file.write_bytes(b"\x01" + file.read_bytes()[1:])
    assert store.find().items[0].unsettled_steps == ()


def test_a_listing_reads_the_steps_of_those_that_died_behind_what_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = died(tmp_path, CLOSED, PAY)
    for number in range(3):
        with store.create("g", session_id=f"other-{number}") as session:
            session.step("plan", len, "four")
    reads: list[tuple[str, int]] = []
    read = FilesBackend.read_journal

    def counted(backend: FilesBackend, session_id: str, name: str, start: Position) -> Any:
        reads.append((session_id, start.number))
        return read(backend, session_id, name, start)

    monkeypatch.setattr(FilesBackend, "read_journal", counted)
    assert [one.unsettled_steps for one in store.find(order="session_id")][-1] == ("pay",)
    assert store.count(stale=True) == 1
    assert reads == [("s", 100)]
