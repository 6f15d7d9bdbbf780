"""Killed before any system call that changes something: nothing acknowledged is lost."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from sessionstore import SessionState, SessionStore
from tests.faults.conftest import Record
from tests.faults.support.crash_record import has_own_checkpoint
from tests.faults.support.operations import OPERATIONS, SESSION, check_listing, is_indexed
from tests.faults.support.strace import (
    SWEEP_ALL,
    Call,
    Server,
    Stored,
    needs_strace,
    read_calls,
    thinned,
    traced,
)
from tests.faults.support.tally import tally
from tests.support.index import orphans
from tests.support.processes import leftovers, needs_linux, tree

pytestmark = [needs_strace]
strace_only = needs_linux("strace kills before a system call")

CASES = [(operation, "power") for operation in OPERATIONS]
CASES += [
    (operation, "process")
    for operation in OPERATIONS
    if SWEEP_ALL or operation in ("create", "save", "checkpoint")
]
CASES += [
    (operation, "power, one flush")
    for operation in OPERATIONS
    if SWEEP_ALL or operation in ("create", "save", "checkpoint", "pause", "recover")
]
FOLLOW_UPS = ("sweep", "claim", "resume", "create")


@strace_only
@pytest.mark.parametrize(("operation", "durability"), CASES)
def test_killed_before_any_change_it_leaves_the_old_state_or_the_new_and_nobody_locked_out(
    server: Server, record: Record, operation: str, durability: str
) -> None:
    whole = record(operation, durability=durability)
    wanted = whole.wanted
    changing = [call for call in thinned(whole.calls) if call.is_change]
    assert changing[-1].is_answer, "the last kill comes after the last change, before the answer"

    switched: list[bool] = []
    tried = 0
    for call in changing:
        for follow_up in FOLLOW_UPS if SWEEP_ALL else (FOLLOW_UPS[tried % len(FOLLOW_UPS)],):
            tried += 1
            root = whole.place / str(tried)
            with server.worker(operation, root, durability) as worker:
                before = Stored.under(root)
                with traced(worker.pid, whole.log, f"{call.name}:signal=KILL:when={call.nth}"):
                    ended = worker.ask("go")
            check_killed_before(call, ended, whole.log)

            after = Stored.under(root)
            if after.payload != before.payload:
                assert after.summary == wanted, f"neither old nor new, killed before {call}"
            switched.append(after.summary == wanted)
            check_checkpoints(root, before, after)
            if is_indexed(operation):
                check_listings(root, tried)
            check_nobody_is_locked_out(root, durability.partition(",")[0], follow_up)

    # At one point of the operation the new state is there, and from then on it stays.
    assert switched == sorted(switched)
    assert switched[-1], "an operation that did everything but answer left the old state"
    tally("kill points", promise=1, cases=tried)


def check_killed_before(call: Call, ended: dict[str, Any], log: Path) -> None:
    assert ended == {"ended": -signal.SIGKILL}, f"the kill before {call} did not come"
    seen = read_calls(log)
    assert (seen[-1].name, seen[-1].nth) == (call.name, call.nth)
    assert seen[-1].text.rstrip().endswith("= ?"), f"killed after {call}, not before it"


def check_checkpoints(root: Path, before: Stored, after: Stored) -> None:
    """What was kept stays, unless newer ones are; what the state refers to is there and whole."""
    if after.payload is None:
        return
    assert after.checkpoints >= before.checkpoints or after.payload != before.payload
    latest = json.loads(after.payload)["latest_checkpoint_id"]
    assert latest is None or f"{latest}.json" in after.checkpoints
    for name in after.checkpoints:
        kept = root.joinpath("sessions", SESSION, "checkpoints", name).read_bytes()
        assert json.loads(kept)["session_id"] == SESSION


def check_listings(root: Path, turn: int) -> None:
    """Killed between a file and its row, what is found and counted is what a scan finds."""
    store = SessionStore(root)
    check_listing(store, turn)
    store.close()


def check_nobody_is_locked_out(root: Path, durability: Any, follow_up: str) -> None:
    """Another process, this one, goes on; then nothing is left over."""
    store = SessionStore(root, durability=durability)
    found = {item.session_id: item for item in store.iter_find()}
    assert not any(item.damaged for item in found.values())
    is_there = SESSION in found
    if not is_there:
        assert not store.exists(SESSION)
        store.create("goal", session_id=SESSION).complete()
    found_state = store.load(SESSION)
    if found_state.status == "active":
        assert store.liveness(SESSION).is_dead
    if follow_up == "sweep":
        sweep(store)
    elif follow_up == "claim" or not is_there:
        with store.claim(SESSION) as session:
            stored = session.revision
            assert session.save() == stored + 1
    elif follow_up == "resume":
        with store.resume(SESSION, again=True) as session:
            check_resumed(session.state, found_state)
            session.checkpoint()
    elif is_there:
        with pytest.raises(FileExistsError):
            store.create("goal", session_id=SESSION)
    if follow_up != "create":
        died = found_state.status == "active"
        assert crashes(store.load(SESSION)) == crashes(found_state) + died, "a death is hidden"
    sweep(store)
    check_up(store, root)
    store.claim(SESSION).release()
    assert leftovers(root) == []
    assert list(root.joinpath("trash").iterdir()) == []
    store.delete(SESSION, force=True)
    assert not store.exists(SESSION)
    check_listing(store, 1)
    store.close()
    assert orphans(root) == []


def crashes(state: SessionState) -> int:
    return state.recovery.count if state.recovery else 0


def check_resumed(resumed: SessionState, found: SessionState) -> None:
    """Without a checkpoint of the application's, a resume goes on from the newest save."""
    if not has_own_checkpoint(found):
        assert resumed.data_buffer == found.data_buffer


def check_up(store: SessionStore[Any], root: Path) -> None:
    """A repair finds no damage and loses no data; a second one changes nothing."""
    before = Stored.under(root)
    report = store.check(repair=True)
    assert [item for item in report.findings if item.is_damage or not item.is_repaired] == []
    assert (
        json.loads(Stored.under(root).payload or b"")["data_buffer"]
        == json.loads(before.payload or b"")["data_buffer"]
    )
    assert Stored.under(root).checkpoints == before.checkpoints
    mended = tree(root)
    assert store.check(repair=True).findings == ()
    assert tree(root) == mended


def sweep(store: SessionStore[Any]) -> None:
    report = store.recover()
    assert [*report.alive, *report.unknown, *report.damaged, *report.failed] == []
