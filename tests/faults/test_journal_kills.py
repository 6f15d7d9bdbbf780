"""A process that appends is killed before any call, or refused it: nothing acknowledged is lost."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sessionstore import SessionStore
from tests.faults.conftest import Record
from tests.faults.support.journal_operations import CASES, LATER, View, view
from tests.faults.support.operations import SESSION
from tests.faults.support.strace import SWEEP_ALL, Call, Server, needs_strace, read_calls, traced
from tests.faults.support.tally import tally
from tests.faults.test_failing_calls import answers_of, check_failed
from tests.faults.test_kill_points import check_killed_before
from tests.support.processes import leftovers, needs_linux

pytestmark = [needs_strace]
strace_only = needs_linux("strace kills before a system call, and lets one fail")


LONG = ("go back twice", "go on again")
"""Operations of which every other call is killed: shorter ones begin with the same calls."""


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[Server]:
    """What forks the processes whose calls are killed or fail."""
    with Server(place / "warm", "faults.support.journal_operations.serve_journals") as server:
        yield server


KILLED = [
    (operation, durability)
    for operation in CASES
    for durability in ("power", "process")
    # Without some flushes the calls are the same.
    if durability == "power" or operation == "checkpoint" or SWEEP_ALL
]


@strace_only
@pytest.mark.parametrize(("operation", "durability"), KILLED)
def test_killed_before_any_change_every_append_is_there_whole_or_not_at_all(
    server: Server, record: Record, operation: str, durability: str
) -> None:
    views = CASES[operation].views
    whole = record(operation, "killed", durability=durability)
    changing = [call for call in whole.calls if call.is_change]
    assert changing[-1].is_answer, "the last kill comes after the last change, before the answer"

    if operation in LONG and not SWEEP_ALL:
        changing = [*changing[:-1:2], changing[-1]]
    reached = 0
    for tried, call in enumerate(changing):
        root = whole.place / str(tried)
        with server.worker(operation, root, durability) as worker:
            assert view(root) == views[0]
            with traced(worker.pid, whole.log, f"{call.name}:signal=KILL:when={call.nth}"):
                ended = worker.ask("go")
        check_killed_before(call, ended, whole.log)
        found = view(root)
        assert found in views[reached:], f"killed before {call}: {found}"
        reached = views.index(found, reached)  # what was there once never goes back
        # The state says what the journal has: it went back, or it did not, for both at once.
        known = SessionStore(root).load(SESSION).data_buffer.get("records", 0)
        if not operation.startswith("rewrite"):
            assert found[:known] == LATER[:known], f"killed before {call}: only one went back"
        check_others_go_on(root, found, resumes=tried % 2 == 0)
    assert reached == len(views) - 1, "an operation that did everything but answer is not there"
    tally("journals: kill points", promise=1, cases=len(changing))


def check_others_go_on(root: Path, found: View, *, resumes: bool) -> None:
    """The next process appends behind what was found; nothing is left over."""
    store = SessionStore(root)
    before = store.journal(SESSION).read(everything=True)
    with store.resume(SESSION, again=True) if resumes else store.claim(SESSION) as session:
        journal = session.journal()
        number = journal.append("next", key="next")
        assert number > max((record.number for record in before), default=0)
        assert journal.append("next", key="next") == number
        assert view(root) == [*found, "next"]
        session.checkpoint()
    kept = session.state.latest_checkpoint_id
    assert store.load(SESSION).journals["main"][0] == number
    with store.claim(SESSION) as session:
        session.journal().append("behind")
    with store.resume(SESSION, checkpoint_id=kept) as session:
        assert view(root) == [*found, "next"]
        session.journal().append("behind the way back")
    assert view(root) == [*found, "next", "behind the way back"]
    everything = store.journal(SESSION).read(everything=True)
    assert [record for record in everything if record in before] == before
    store.recover()
    assert leftovers(root) == []
    store.close()


# --- refused calls -------------------------------------------------------------------------------

EVERY_ANSWER = ("append", "append after a failed flush")
"""Operations of which each call gives each answer; the others take one answer for each call."""


def planned(operation: str, root: Path, calls: list[Call]) -> Iterator[tuple[Call, str]]:
    for number, call in enumerate(calls):
        if f"{root}" not in call.text or call.name in ("close", "fcntl"):
            continue
        answers = answers_of(call)
        if call.name in ("pwrite64", "fdatasync"):
            answers = (*answers, "EINTR")
        if SWEEP_ALL or operation in EVERY_ANSWER:
            for answer in answers:
                yield call, answer
        else:
            yield call, answers[number % len(answers)]


@strace_only
@pytest.mark.parametrize("operation", [name for name in CASES if CASES[name].repeats])
def test_a_call_that_fails_gives_a_typed_error_and_the_next_append_is_there(
    server: Server, record: Record, operation: str
) -> None:
    views = CASES[operation].views
    whole = record(operation, "refused")
    wrong: list[str] = []
    outcomes = set[str]()
    tried = 0
    for call, answer in planned(operation, whole.root, whole.calls):
        tried += 1
        root = whole.place / str(tried)
        with server.worker(operation, root) as worker:
            with traced(worker.pid, whole.log, f"{call.name}:error={answer}:when={call.nth}"):
                result = worker.ask("go")
            check_failed(call, answer, whole.log)
            outcomes.add(result["outcome"])
            try:
                found = check_outcome(call, answer, result, view(root), views, whole.log)
                check_not_flushed_again(call, whole.log)
                again = worker.ask("again")
                assert again["outcome"] == "returned", f"the next append failed: {again}"
                last = [] if operation.startswith("rewrite") else found
                assert view(root) == last + views[-1][len(views[0]) if last == found else 0 :]
                assert worker.ask("finish") == {"outcome": "returned", "left": []}
                check_others_go_on(root, view(root), resumes=tried % 2 == 0)
            except AssertionError as error:
                wrong.append(f"{answer} from {call}: {result}: {error}")
    tally("journals: injected errors", promise=3, cases=tried, violations=len(wrong))
    assert not wrong, "\n".join(wrong)
    if operation in EVERY_ANSWER:
        assert "DurabilityUncertain" in outcomes


def check_outcome(
    call: Call, answer: str, result: dict[str, Any], found: View, views: list[View], log: Path
) -> View:
    outcome = result["outcome"]
    if outcome == "returned":
        assert found == views[-1], "it returned without having worked"
        # A flush that a signal interrupted has not failed: it goes on. What stays is cleaned up.
        # A write that was to bring padding, too, is tried without it.
        writes = [seen.nth for seen in read_calls(log) if seen.name == call.name == "pwrite64"]
        is_repeated = writes[-1:] > [call.nth]
        assert answer == "EINTR" or call.name == "unlinkat" or is_repeated, "passed over"
    elif outcome == "DurabilityUncertain":
        assert found == views[-1], "told of an append that is not there"
        assert call.name == "fdatasync", "uncertain without reason"
    else:
        assert outcome == "StorageError", outcome
        assert found == views[0], "raised, but appended"
        assert result["errno"] == getattr(errno, answer)
    return found


def check_not_flushed_again(call: Call, log: Path) -> None:
    """A failed flush may have marked the pages clean: a second one would prove nothing."""
    flushed = [seen for seen in read_calls(log) if seen.name == "fdatasync"]
    if call.name == "fdatasync" and "EINTR" not in flushed[call.nth - 1].text:
        assert flushed[call.nth - 1 :] == flushed[-1:], "flushed again"
