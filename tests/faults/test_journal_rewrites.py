"""A journal that is pruned or mended under kills and refusals is the old one or the new one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionstore import SessionStore
from tests.faults.conftest import Record
from tests.faults.support.journal_operations import journal_file, view
from tests.faults.support.journal_rewrites import CASES, content, lines
from tests.faults.support.operations import SESSION, Stage
from tests.faults.support.strace import (
    SWEEP_ALL,
    Call,
    Server,
    index_calls,
    needs_strace,
    thinned,
    traced,
)
from tests.faults.support.tally import tally
from tests.faults.test_failing_calls import answers_of, check_failed
from tests.faults.test_kill_points import check_killed_before
from tests.support.processes import leftovers, needs_linux

pytestmark = [needs_strace]
strace_only = needs_linux("strace kills before a system call, and lets one fail")
LAST = 6
"""The last number that any of the mended journals gave."""

Bytes = dict[str, bytes | None]


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[Server]:
    """What forks the processes whose calls are killed or fail."""
    with Server(place / "warm", "faults.support.journal_rewrites.serve_rewrites") as server:
        yield server


def journals(root: Path, operation: str) -> Bytes:
    """Return the bytes of the journals that the operation is about; None where there is none."""
    found: Bytes = {}
    for name in CASES[operation].names:
        file = journal_file(root).with_name(f"{name}.jsonl")
        # The lock of a lost journal is one of its file, which is made first.
        found[name] = (file.read_bytes() or None) if file.exists() else None
    return found


def count_new(root: Path, operation: str, before: Bytes, whole: Path, *, is_killed: bool) -> int:
    """Return how many journals are new; fail where one is neither the old nor the new one."""
    new = 0
    for name, after in journals(root, operation).items():
        if after == before[name]:
            continue
        new += 1
        found, wanted = lines(after), lines(journals(whole, operation)[name])
        numbers = [one["n"] for one in found]
        if is_killed or name != "main" or operation != "prune":
            assert numbers == [one["n"] for one in wanted]
        else:  # a checkpoint that could not be read stays, and with it what it needs
            assert set(numbers) >= {one["n"] for one in wanted}
        known = {one["n"]: content(one) for one in lines(before[name])}
        for one in found:
            assert "rewind" in one or content(one) == known[one["n"]]
    return new


def check_nothing_is_lost(root: Path, operation: str, before: Bytes, *, is_new: bool) -> None:
    """What a repair replaces is kept aside; each checkpoint sees the records that it saw."""
    if is_new and CASES[operation].quarantines:
        aside = [file.read_bytes() for file in root.glob("quarantine/*/journal.jsonl")]
        assert before["main"] in aside
    if operation == "prune":
        store = SessionStore(root)
        for number, checkpoint_id in enumerate(store.checkpoint_names(SESSION)):
            fork = store.fork(SESSION, checkpoint_id, new_id=f"fork-{number}")
            saw = store.load(fork).data_buffer["saw"]
            assert [one.value for one in store.journal(fork)] == saw
            store.delete(fork)
        store.close()


def check_others_go_on(root: Path, operation: str) -> None:
    """The next process brings it to its end, and appends under a number that nobody had."""
    case, stage = CASES[operation], Stage(f"{root}", "power")
    stage.store.recover()
    case.perform(stage)
    assert [value[0] for value in view(root)] == case.kept
    assert stage.store.check().findings == ()
    with stage.store.resume(SESSION, again=True) as session:
        assert session.journal().append(["next"], key="next") == LAST + 1
        assert session.journal().append(["next"], key="next") == LAST + 1
        session.checkpoint()
        session.complete()
    assert [value[0] for value in view(root)] == [*case.kept, "next"]
    assert stage.store.check().findings == ()
    assert leftovers(root) == []
    stage.finish()


@strace_only
@pytest.mark.parametrize("operation", CASES)
def test_killed_before_any_change_a_journal_is_the_old_one_or_the_new_one(
    server: Server, record: Record, operation: str
) -> None:
    whole = record(operation, "killed")
    changing = [call for call in thinned(whole.calls) if call.is_change]
    assert changing[-1].is_answer, "the last kill comes after the last change, before the answer"
    reached = 0
    for tried, call in enumerate(changing):
        root = whole.place / str(tried)
        with server.worker(operation, root) as worker:
            before = journals(root, operation)
            with traced(worker.pid, whole.log, f"{call.name}:signal=KILL:when={call.nth}"):
                ended = worker.ask("go")
        check_killed_before(call, ended, whole.log)
        new = count_new(root, operation, before, whole.root, is_killed=True)
        assert new >= reached, f"killed before {call}: a new journal was gone again"
        reached = new
        check_nothing_is_lost(root, operation, before, is_new=new > 0)
        check_others_go_on(root, operation)
    assert reached == len(CASES[operation].names), "it did everything but answer, and is not there"
    tally("journals: kill points", promise=1, cases=len(changing))


def planned(root: Path, calls: list[Call]) -> Iterator[tuple[Call, str]]:
    """Yield calls on the session and the quarantine, with what each is refused with."""
    of_index = index_calls(calls)
    for number, call in enumerate(calls):
        if f"{root}" not in call.text or call.name in ("close", "fcntl") or call in of_index:
            continue
        answers = answers_of(call)
        for answer in answers if SWEEP_ALL else (answers[number % len(answers)],):
            yield call, answer


@strace_only
@pytest.mark.parametrize("operation", CASES)
def test_a_call_that_fails_leaves_the_old_journal_or_the_new_one_and_nothing_else(
    server: Server, record: Record, operation: str
) -> None:
    whole = record(operation, "refused")
    wrong: list[str] = []
    tried = 0
    for call, answer in planned(whole.root, whole.calls):
        tried += 1
        root = whole.place / str(tried)
        with server.worker(operation, root) as worker:
            before = journals(root, operation)
            with traced(worker.pid, whole.log, f"{call.name}:error={answer}:when={call.nth}"):
                result = worker.ask("go")
            check_failed(call, answer, whole.log)
            try:
                assert result["outcome"] != "untyped", "an error without a type"
                new = count_new(root, operation, before, whole.root, is_killed=False)
                # What a checkpoint that cannot be read needs is unknown: a prune frees nothing.
                may_wait = operation == "prune" and call.name == "openat" and not call.is_change
                if result["outcome"] == "returned" and not may_wait:
                    assert new == len(before), "it returned without having worked"
                check_nothing_is_lost(root, operation, before, is_new=new > 0)
                assert worker.ask("again") == {"outcome": "returned"}
                assert worker.ask("finish") == {"outcome": "returned", "left": []}
                check_others_go_on(root, operation)
            except AssertionError as error:
                wrong.append(f"{answer} from {call}: {result}: {error}")
    tally("journals: injected errors", promise=3, cases=tried, violations=len(wrong))
    assert not wrong, "\n".join(wrong)
