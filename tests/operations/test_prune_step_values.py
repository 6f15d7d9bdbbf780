"""A prune removes the values of steps that nothing replays, and nothing that is told of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sessionstore import (
    MemoryBackend,
    RetentionPolicy,
    SessionState,
    SessionStore,
    Step,
    StepChanged,
    StepInfo,
)
from tests.support.cli import invoke
from tests.support.processes import session_path

Store = SessionStore[SessionState]
BULK = "x" * 10_000
VALUES = RetentionPolicy(step_values=True)


@pytest.fixture(params=["files", "memory"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Store:
    return SessionStore(tmp_path if request.param == "files" else MemoryBackend())


def bulk(name: str) -> str:
    return name + BULK


def pruned(store: Store) -> list[str]:
    return [step.name for step in store.steps("s1") if step.is_pruned]


def finish(store: Store) -> None:
    """Make a session of which each of two checkpoints has closed a step, and that completed."""
    with store.create("goal", session_id="s1") as session:
        session.step("a", bulk, "a")
        session.checkpoint("step")
        session.step("b", bulk, "b")
        session.checkpoint("step")
        session.journal().append("a record")
        session.step("c", bulk, "c")
        session.complete()


def test_values_of_closed_steps_go_and_everything_else_that_is_told_stays(store: Store) -> None:
    finish(store)
    before, told = store.steps("s1"), [one.kept_steps for one in store.history("s1")]
    planned = store.prune(VALUES)
    assert store.steps("s1") == before  # a dry run
    used = store.usage("s1").bytes
    report = store.prune(VALUES, apply=True)
    (entry,) = report.checkpoints
    assert (entry.step_values, entry.checkpoints, entry.journals) == (3, (), ())
    assert entry.reason == "the values of 3 closed steps"
    assert planned.checkpoints == report.checkpoints
    assert entry.freed == used - store.usage("s1").bytes >= 25_000
    assert store.steps("s1") == [replace(step, is_pruned=True) for step in before]
    assert [one.kept_steps for one in store.history("s1")] == told
    assert store.prune(VALUES, apply=True).checkpoints == ()
    assert not store.check().findings


def test_numbers_times_and_digests_stay(store: Store) -> None:
    finish(store)

    def without_values() -> list[Any]:
        records = store.journal("s1", "steps").read(everything=True)
        return [
            (one.number, one.at, one.key, {k: v for k, v in one.value.items() if k != "result"})
            for one in records
        ]

    before = without_values()
    store.prune(VALUES, apply=True)
    after = without_values()
    sizes = [value.pop("pruned", None) for *_, value in after]
    assert after == before
    assert sizes == [None, len(BULK) + 3] * 3


def test_open_steps_are_replayed_after_a_prune(store: Store) -> None:
    with store.create("goal", session_id="s1") as session:
        session.step("a", bulk, "a")
        session.checkpoint("step")
        session.step("b", bulk, "b")
        session.fail("no")
    store.prune(VALUES, apply=True)
    assert pruned(store) == ["a"]
    with store.resume("s1") as session:
        assert session.step("b", bulk, "b") == bulk("b")
        assert session.step("a", str.upper, "again") == "AGAIN"
        session.complete()


def test_a_step_that_a_kept_checkpoint_would_replay_keeps_its_value(store: Store) -> None:
    with store.create("goal", session_id="s1") as session:
        session.step("a", bulk, "a")
        session.pause()  # closes nothing, and keeps a checkpoint
    kept = store.load("s1").latest_checkpoint_id
    assert kept is not None
    with store.resume("s1") as session:
        session.step("b", bulk, "b")
        session.checkpoint("step")
        session.complete()
    store.prune(VALUES, apply=True)
    assert pruned(store) == ["b"]
    with store.claim("s1") as session:
        session.remove_checkpoint(kept)
    store.prune(VALUES, apply=True)
    assert pruned(store) == ["a", "b"]


def test_a_checkpoint_that_is_gone_back_to_replays_its_steps_after_a_prune(store: Store) -> None:
    with store.create("goal", session_id="s1") as session:
        session.step("a", bulk, "a")
        session.pause()
    kept = store.load("s1").latest_checkpoint_id
    with store.resume("s1") as session:
        session.step("b", bulk, "b")
        session.complete()
    store.prune(VALUES, apply=True)
    with store.resume("s1", checkpoint_id=kept, again=True) as session:
        assert session.step("a", bulk, "a") == bulk("a")
        assert session.step("b", bulk, "c") == bulk("c")
        session.complete()
    assert not store.check().findings


def test_a_fork_of_a_kept_checkpoint_replays_what_it_would(store: Store) -> None:
    with store.create("goal", session_id="s1") as session:
        session.step("a", bulk, "a")
        session.pause()
    kept = store.load("s1").latest_checkpoint_id
    with store.resume("s1") as session:
        session.complete()
    store.prune(VALUES, apply=True)
    store.fork("s1", checkpoint_id=kept, new_id="s2")
    with store.resume("s2") as session:
        assert session.step("a", bulk, "a") == bulk("a")


def test_records_and_values_go_together(store: Store) -> None:
    with store.create("goal", session_id="s1") as session:
        session.step("a", bulk, "a")
        first = session.checkpoint("step").checkpoint_id
        session.step("left behind", bulk, "b")
        session.checkpoint("step")
    with store.resume("s1", checkpoint_id=first) as session:
        session.step("c", bulk, "c")
        session.complete()
    policy = RetentionPolicy(step_values=True, keep_checkpoints=0)
    planned = store.prune(policy)
    used = store.usage("s1").bytes
    (entry,) = store.prune(policy, apply=True).checkpoints
    assert (entry.journals, entry.step_values) == (("steps",), 2)
    assert planned.freed == entry.freed == used - store.usage("s1").bytes
    assert [one.name for one in store.steps("s1")] == pruned(store) == ["a", "c"]
    assert not store.check().findings


def test_a_session_without_closed_values_is_not_rewritten(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    with store.create("goal", session_id="s1") as session:
        session.step("a", bulk, "a")
        session.fail("no")
    before = (session_path(tmp_path, "s1") / "journals/steps.jsonl").stat()
    assert store.prune(VALUES, apply=True).checkpoints == ()
    assert (session_path(tmp_path, "s1") / "journals/steps.jsonl").stat() == before


def test_a_damaged_checkpoint_keeps_all_values(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    finish(store)
    first, *_ = store.checkpoint_names("s1")
    (session_path(tmp_path, "s1") / "checkpoints" / f"{first}.json").write_text("{")
    assert store.prune(VALUES, apply=True).checkpoints == ()
    assert not pruned(store)


def test_a_value_that_is_gone_is_never_replayed(tmp_path: Path) -> None:
    """As after a prune by other software, of a step that is open."""
    store = SessionStore(tmp_path)
    with store.create("goal", session_id="s1") as session:
        session.step("a", len, "four")
        session.complete()
    store.prune(VALUES, apply=True)
    path = session_path(tmp_path, "s1") / "state.json"
    fields = json.loads(path.read_bytes())
    path.write_text(json.dumps({**fields, "steps_from": 0, "status": "paused"}))
    with store.claim("s1") as session:
        with pytest.raises(StepChanged, match="its value was pruned"):
            session.step("a", len, "four")
        assert session.step(Step("a", rerun=True), len, "five!") == 5


def test_the_command_frees_values_and_the_listing_says_so(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    finish(store)
    told: list[StepInfo] = store.steps("s1")
    shown = invoke(tmp_path, "prune", "--step-values", "--apply")
    assert shown.exit_code == 0
    assert "the values of 3 closed steps" in shown.stdout
    assert "3 step values" in shown.stderr
    rows = invoke(tmp_path, "steps", "s1").stdout.splitlines()[1:]
    assert [row.split()[0] for row in rows] == [one.name for one in told]
    assert all("kept, closed, value pruned" in row for row in rows)
    report = json.loads(invoke(tmp_path, "prune", "--step-values", "-o", "json").stdout)
    assert report["checkpoints"] == []


def test_only_true_and_false_are_taken() -> None:
    with pytest.raises(ValueError, match="step_values must be True or False"):
        RetentionPolicy(step_values="yes")  # type: ignore[arg-type]  # what is refused
    with pytest.raises(ValueError, match="or step_values"):
        RetentionPolicy()
