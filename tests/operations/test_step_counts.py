"""What is told of steps: how many were kept by then, and which a dead process left unfinished."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sessionstore import (
    MemoryBackend,
    OpenSteps,
    RetentionPolicy,
    SessionState,
    SessionStore,
    Step,
    StepUnsettled,
)
from sessionstore.model.journal import Position
from sessionstore.operations.history import history
from sessionstore.operations.step_counts import StepCounts
from sessionstore.storage.files.backend import FilesBackend
from tests.support.cli import HOSTILE
from tests.support.processes import left_active, session_path

Store = SessionStore[SessionState]


@pytest.fixture(params=["files", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    place: Any = MemoryBackend() if request.param == "memory" else tmp_path / "store"
    with SessionStore(place) as opened:
        yield opened


def leave_within(root: Path, *steps: Step[Any] | str, session_id: str = "s1") -> Store:
    """Leave a session as a process does that dies within the last of its steps."""
    left_active(root, session_id)
    store = SessionStore(root)
    with store.create("goal", session_id="other") as session:
        for step in steps[:-1]:
            session.step(step, len, "four")
        with pytest.raises(SystemExit):
            session.step(steps[-1], exit)
        session.pause()
    theirs, ours = (session_path(root, name) / "journals" for name in ("other", session_id))
    theirs.rename(ours)
    store.delete("other")
    return store


def facts(store: Store, session_id: str = "s1") -> dict[str, str]:
    return dict(store.explain(session_id).facts())


# --- explain --------------------------------------------------------------------------------------


def test_a_session_without_open_steps_is_told_as_before(store: Store) -> None:
    with store.create("goal", session_id="s1") as session:
        session.pause()
    with store.create("goal", session_id="s2") as session:
        session.step("plan", len, "four")
        session.complete()
    for session_id in ("s1", "s2"):
        assert store.explain(session_id).open_steps is None
        assert "steps" not in facts(store, session_id)


def test_the_step_that_a_process_died_within_is_named(tmp_path: Path) -> None:
    store = leave_within(tmp_path, "plan", "find", "draft")
    assert store.explain("s1").open_steps == OpenSteps(3, 2, ("draft",), ())
    assert facts(store)["steps"] == "2 of 3 kept; died within `draft`"
    store.recover()
    assert facts(store)["steps"] == "2 of 3 kept; died within `draft`"


def test_a_step_that_was_stopped_or_failed_is_not_said_to_have_killed_its_process(
    store: Store,
) -> None:
    for session_id, error in (("s1", KeyboardInterrupt()), ("s2", OSError("no"))):

        def fail(error: BaseException = error) -> None:
            raise error

        with (
            pytest.raises(type(error)),
            store.create("goal", session_id=session_id) as session,
        ):
            session.step("draft", fail)
        assert facts(store, session_id)["steps"] == "0 of 1 kept; did not finish `draft`"


def test_a_running_session_tells_what_it_runs(store: Store) -> None:
    told: list[dict[str, str]] = []
    with store.create("goal", session_id="s1") as session:
        session.step("plan", len, "four")
        session.step(Step("pay", at_most_once=True), lambda: told.append(facts(store)))
        session.pause()
    assert told[0]["steps"] == "1 of 2 kept; runs `pay`"
    assert "Somebody" not in told[0][""]


def test_an_unsettled_step_is_named_with_what_to_type(tmp_path: Path) -> None:
    store = leave_within(tmp_path, "plan", Step("pay now", at_most_once=True))
    told = store.explain("s1")
    assert told.unsettled_steps == ("pay now",)
    assert "Somebody has to say what came of 1 step first." in told.summary
    assert facts(store)["steps"] == "1 of 2 kept; nobody knows what came of `pay now`"
    commands = [advice.command for advice in told.next]
    assert "sessionstore steps s1 --settle 'pay now=JSON'" in commands
    store.recover()
    with store.edit("s1") as session:
        session.settle_step("pay now", 7)
    told = store.explain("s1")
    assert told.unsettled_steps == ()
    assert "Somebody" not in told.summary
    assert not any("--settle" in (advice.command or "") for advice in told.next)


def test_steps_that_a_checkpoint_closed_are_left_out(store: Store) -> None:
    with store.create("goal", session_id="s1") as session:
        session.step("plan", len, "four")
        session.checkpoint("step")
        session.step("draft", len, "four")
        session.pause()
    assert store.explain("s1").open_steps == OpenSteps(1, 1)


def test_of_many_unfinished_steps_some_are_named(store: Store) -> None:
    with store.create("goal", session_id="s1") as session:
        for number in range(7):
            with pytest.raises(OSError, match="nowhere"):
                session.step(f"open-{number}", open, "/nowhere/at/all")
        session.pause()
    named = ", ".join(f"`open-{number}`" for number in range(5))
    assert facts(store)["steps"] == f"0 of 7 kept; did not finish {named} and 2 more"


def test_a_damaged_journal_of_steps_leaves_the_rest_of_the_explanation(tmp_path: Path) -> None:
    store = leave_within(tmp_path, "plan", "draft")
    journal = session_path(tmp_path, "s1") / "journals/steps.jsonl"
    journal.unlink()
    journal.mkdir()
    assert store.explain("s1").open_steps is None
    assert list(store.history("s1"))[-1].kept_steps is None


def test_a_hostile_name_is_escaped(store: Store) -> None:
    with store.create("goal", session_id="s1") as session:
        with pytest.raises(OSError, match="nowhere"):
            session.step(HOSTILE, open, "/nowhere/at/all")
        session.pause()
    assert "\x1b" not in str(store.explain("s1"))


# --- history --------------------------------------------------------------------------------------


def test_a_history_tells_how_many_steps_were_kept_by_each_checkpoint(store: Store) -> None:
    with store.create("goal", session_id="s1") as session:
        session.step("a", len, "four")
        session.step("b", len, "four")
        first = session.checkpoint("step").checkpoint_id
        session.step("a", len, "four")
        session.checkpoint("step")
    with store.resume("s1", checkpoint_id=first) as session:
        session.step("c", len, "four")
        session.step(Step("d"), len, "four")
        session.rerun_step("d")
        session.journal().append("a record")
        session.checkpoint("step")
        session.step("e", len, "four")
        session.pause()
    found = list(store.history("s1"))
    assert found[0].kept_steps == 0
    kept = [one.kept_steps for one in found if one.checkpoint_type == "step"]
    assert kept == [2, 3, 3]  # the resume of the first one left the second "a" behind
    assert (found[-1].kept_steps, found[-1].records) == (4, 1)
    assert found[-1].journals == {"main": 1}


def test_a_session_that_was_gone_back_in_tells_what_is_kept_now(store: Store) -> None:
    with store.create("goal", session_id="s1") as session:
        first = session.checkpoint("step").checkpoint_id
        session.step("a", len, "four")
        session.pause()
    with store.resume("s1", checkpoint_id=first) as session:
        session.save()
        assert list(store.history("s1"))[-1].kept_steps == 0
        session.step("b", len, "four")
        assert list(store.history("s1"))[-1].kept_steps == 1
        session.pause()


def test_a_session_that_met_an_unsettled_step_says_so_in_its_error(tmp_path: Path) -> None:
    store = leave_within(tmp_path, Step("pay", at_most_once=True))
    with pytest.raises(StepUnsettled), store.resume("s1") as session:
        session.step(Step("pay", at_most_once=True), len, "four")
    assert (store.load("s1").result.error or "").startswith("StepUnsettled: ")


# --- counts that go on ----------------------------------------------------------------------------


def test_counts_that_go_on_read_only_what_was_appended_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    read = FilesBackend.read_journal

    def counted(backend: FilesBackend, session_id: str, name: str, start: Position) -> Any:
        reads.append(start.number)
        return read(backend, session_id, name, start)

    monkeypatch.setattr(FilesBackend, "read_journal", counted)
    backend = FilesBackend(tmp_path)
    counts = StepCounts(backend, "s1")
    with SessionStore(tmp_path).create("goal", session_id="s1") as session:
        for number in range(3):
            session.step(f"step-{number}", len, "four")
            session.checkpoint()
            reads.clear()
            assert history(backend, "s1", 0, counts).moments[-1].kept_steps == number + 1
            assert reads == [2 * number]  # each step makes two records


def test_counts_that_go_on_are_those_of_a_fresh_look(store: Store) -> None:
    backend = store._backend
    counts = StepCounts(backend, "s1")

    def check(expected: int) -> None:
        told = history(backend, "s1", None, counts)
        fresh = history(backend, "s1")
        assert [one.kept_steps for one in told] == [one.kept_steps for one in fresh]
        assert told.moments[-1].kept_steps == expected

    session = store.create("goal", session_id="s1")
    check(0)
    for name in ("plan", "draft"):
        session.step(name, len, "four")
    session.pause()
    check(2)
    first = store.checkpoint_names("s1")[0]
    session = store.resume("s1")
    session.step("send", len, "four")
    session.rerun_step("plan")
    session.pause()
    check(2)
    session = store.resume("s1", checkpoint_id=first)
    check(2)  # the journal has no line of the way back yet
    session.step("other", len, "four")
    session.complete()
    check(3)
    store.prune(RetentionPolicy(keep_checkpoints=1), apply=True)
    store.resume("s1", again=True).pause()
    check(3)
