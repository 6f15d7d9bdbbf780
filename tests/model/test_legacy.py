"""States from execution results, from legacy runs, and from the files of the original framework."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from sessionstore import (
    MemoryBackend,
    SessionClaimed,
    SessionMetrics,
    SessionProgress,
    SessionResult,
    SessionState,
    SessionStatus,
    SessionStore,
)
from tests.support.foreign_stores import ForeignStore, each_sound_session, each_store
from tests.support.run_records import RunRecord, each_damaged_run, each_run

COMPUTED = {"duration_ms", "is_resumable", "is_resumable_from_checkpoint"}


@dataclass
class Outcome:
    """What an executor of no particular framework hands back."""

    success: bool = True
    output: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    steps_executed: int = 3
    total_tokens: int = 40
    total_latency_ms: int = 500
    path: list[str] = field(default_factory=lambda: ["plan", "act"])
    paused_at: str | None = None
    session_state: dict[str, Any] | None = None
    total_retries: int = 2
    nodes_with_failures: list[str] = field(default_factory=lambda: ["act"])
    retry_details: dict[str, int] = field(default_factory=lambda: {"act": 2})
    had_partial_failures: bool = True
    execution_quality: str = "degraded"
    node_visit_counts: dict[str, int] = field(default_factory=lambda: {"plan": 1, "act": 3})


def from_result(result: Outcome, **options: Any) -> SessionState:
    return SessionState.from_execution_result("s-1", "triage", result, **options)


def is_now(text: str | None) -> bool:
    """Return whether a time is aware UTC and not before this module was imported."""
    assert text is not None
    moment = datetime.fromisoformat(text)
    return moment.tzinfo is not None and IMPORTED <= moment <= datetime.now(UTC)


IMPORTED = datetime.now(UTC)


# --- from_execution_result -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("success", "paused_at", "status"),
    [
        (True, None, SessionStatus.COMPLETED),
        (False, None, SessionStatus.FAILED),
        (True, "", SessionStatus.COMPLETED),
        (True, "ask", SessionStatus.PAUSED),
        (False, "ask", SessionStatus.PAUSED),
    ],
)
def test_a_pause_comes_before_success_and_that_before_failure(
    success: bool, paused_at: str | None, status: SessionStatus
) -> None:
    state = from_result(Outcome(success=success, paused_at=paused_at))
    times = state.timestamps
    assert state.status is status
    assert is_now(times.updated_at)
    if status is SessionStatus.PAUSED:
        assert times.completed_at is None
        assert is_now(times.paused_at_time)
    else:
        assert is_now(times.completed_at)
        assert times.paused_at_time is None


def test_the_fields_of_a_result_are_copied() -> None:
    state = from_result(
        Outcome(success=False, error="no city", output={"a": 1}),
        stream_id="st",
        correlation_id="co",
        started_at="2026-01-01T00:00:00",
        input_data={"q": 1},
        agent_id="ag",
        entry_point="ep",
    )
    assert state.progress == SessionProgress(
        current_node="act",
        path=["plan", "act"],
        steps_executed=3,
        total_tokens=40,
        total_latency_ms=500,
        total_retries=2,
        nodes_with_failures=["act"],
        retry_details={"act": 2},
        had_partial_failures=True,
        execution_quality="degraded",
        node_visit_counts={"plan": 1, "act": 3},
    )
    assert state.result == SessionResult(success=False, error="no city", output={"a": 1})
    assert (state.session_id, state.goal_id, state.stream_id) == ("s-1", "triage", "st")
    assert (state.correlation_id, state.agent_id, state.entry_point) == ("co", "ag", "ep")
    assert state.timestamps.started_at == "2026-01-01T00:00:00"
    assert state.input_data == {"q": 1}
    assert state.schema_version == "1.2"


def test_the_defaults_of_a_result_are_those_of_the_schema() -> None:
    state = from_result(Outcome())
    assert (state.stream_id, state.correlation_id, state.agent_id) == ("", "", "")
    assert state.entry_point == "start"
    assert state.input_data == {}
    assert is_now(state.timestamps.started_at)


@pytest.mark.parametrize(
    ("paused_at", "path", "current"),
    [("ask", ["a"], "ask"), (None, ["a", "b"], "b"), (None, [], None), ("", ["a"], "a")],
)
def test_the_current_node_is_where_it_paused_else_the_last_of_the_path(
    paused_at: str | None, path: list[str], current: str | None
) -> None:
    state = from_result(Outcome(paused_at=paused_at, path=path))
    assert state.progress.current_node == current
    assert state.progress.path == path


@pytest.mark.parametrize(
    ("carried", "expected"),
    [
        (None, {}),
        ({}, {}),
        ({"data_buffer": {"a": 1}}, {"a": 1}),
        ({"memory": {"b": 2}}, {"b": 2}),
        ({"data_buffer": {"a": 1}, "memory": {"b": 2}}, {"a": 1}),
        ({"data_buffer": {}, "memory": {"b": 2}}, {}),
    ],
)
def test_data_buffer_comes_from_the_session_state_under_either_name(
    carried: dict[str, Any] | None, expected: dict[str, Any]
) -> None:
    assert from_result(Outcome(session_state=carried)).data_buffer == expected


def test_resume_from_comes_from_the_session_state() -> None:
    assert from_result(Outcome(session_state={"resume_from": "x"})).progress.resume_from == "x"
    assert from_result(Outcome()).progress.resume_from is None


def test_a_state_does_not_share_its_lists_with_the_result() -> None:
    result = Outcome()
    state = from_result(result)
    result.path.append("later")
    result.retry_details["later"] = 1
    result.output["later"] = 1
    assert state.progress.path == ["plan", "act"]
    assert state.progress.retry_details == {"act": 2}
    assert state.result.output == {}


def test_a_subclass_makes_its_own_kind() -> None:
    class Mine(SessionState):
        note: str = "mine"

    state = Mine.from_execution_result("s-1", "triage", Outcome())
    assert type(state) is Mine
    store = SessionStore(MemoryBackend(), state_type=Mine)
    store.create(state=state).release()
    assert store.load("s-1").note == "mine"


# --- from_legacy_run -----------------------------------------------------------------------------


class RunStatus(Enum):
    RUNNING = "running"
    COMPLETED = "completed"
    STUCK = "stuck"


class Decision(BaseModel):
    """A record as pydantic frameworks have them."""

    intent: str = "greet"
    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)


class PlainProblem:
    """A record of no framework: all it has is what the schema asks for."""

    def model_dump(self) -> dict[str, Any]:
        return {"severity": "critical"}


@dataclass
class Counters:
    total_decisions: int = 4
    total_tokens: int = 90
    nodes_executed: list[str] = field(default_factory=lambda: ["a", "b"])
    edges_traversed: list[str] = field(default_factory=lambda: ["a->b"])


@dataclass
class Run:
    goal_id: str = "triage"
    status: Any = RunStatus.COMPLETED
    started_at: datetime = datetime(2026, 1, 1, 12)  # noqa: DTZ001 - as those runs were stored
    completed_at: datetime | None = datetime(2026, 1, 1, 12, 0, 1)  # noqa: DTZ001 - likewise
    output_data: dict[str, Any] = field(default_factory=lambda: {"greeting": "hi"})
    input_data: dict[str, Any] = field(default_factory=lambda: {"name": "Ada"})
    metrics: Counters = field(default_factory=Counters)
    decisions: Sequence[Any] = field(default_factory=lambda: [Decision()])
    problems: Sequence[Any] = field(default_factory=lambda: [Decision(intent="x"), Decision()])


def test_a_run_becomes_a_state_of_the_first_schema() -> None:
    state = SessionState.from_legacy_run(Run(), "s-1", stream_id="st")
    assert state.schema_version == "1.0"
    assert (state.session_id, state.stream_id, state.goal_id) == ("s-1", "st", "triage")
    assert state.status is SessionStatus.COMPLETED
    assert state.timestamps.started_at == "2026-01-01T12:00:00"
    assert state.timestamps.completed_at == "2026-01-01T12:00:01"
    assert is_now(state.timestamps.updated_at)
    assert state.duration_ms == 1000
    assert state.progress == SessionProgress()
    assert state.result == SessionResult(success=True, output={"greeting": "hi"})
    assert state.metrics == SessionMetrics(
        decision_count=4,
        problem_count=2,
        total_input_tokens=90,
        total_output_tokens=0,
        nodes_executed=["a", "b"],
        edges_traversed=["a->b"],
    )
    assert state.decisions == [{"intent": "greet", "at": "2026-01-01T00:00:00Z"}]
    assert [problem["intent"] for problem in state.problems] == ["x", "greet"]
    assert state.input_data == {"name": "Ada"}


def test_a_record_needs_nothing_but_model_dump() -> None:
    state = SessionState.from_legacy_run(Run(problems=[PlainProblem()]), "s-1")
    assert state.problems == [{"severity": "critical"}]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("running", SessionStatus.ACTIVE),
        ("completed", SessionStatus.COMPLETED),
        ("failed", SessionStatus.FAILED),
        ("cancelled", SessionStatus.CANCELLED),
        ("stuck", SessionStatus.FAILED),
        ("on fire", SessionStatus.FAILED),
        ("", SessionStatus.FAILED),
        (None, SessionStatus.FAILED),
        (RunStatus.RUNNING, SessionStatus.ACTIVE),
        (RunStatus.STUCK, SessionStatus.FAILED),
    ],
)
def test_the_status_of_a_run_is_translated(status: Any, expected: SessionStatus) -> None:
    state = SessionState.from_legacy_run(Run(status=status), "s-1")
    assert state.status is expected
    assert state.result.success is (expected is SessionStatus.COMPLETED)
    assert state.result.error is None


def test_a_run_that_did_not_complete_has_no_end() -> None:
    state = SessionState.from_legacy_run(Run(status="running", completed_at=None), "s-1")
    assert state.timestamps.completed_at is None
    assert state.duration_ms == 0


def test_a_run_as_json_gives_what_the_same_run_as_objects_gives() -> None:
    run = Run()
    as_json = {
        "goal_id": run.goal_id,
        "status": "completed",
        "started_at": "2026-01-01T12:00:00",
        "completed_at": "2026-01-01T12:00:01",
        "output_data": run.output_data,
        "input_data": run.input_data,
        "metrics": vars(run.metrics),
        "decisions": [item.model_dump(mode="json") for item in run.decisions],
        "problems": [item.model_dump(mode="json") for item in run.problems],
        "narrative": "an unknown field",
    }
    one = SessionState.from_legacy_run(run, "s-1")
    other = SessionState.from_legacy_run(as_json, "s-1")
    other.timestamps.updated_at = one.timestamps.updated_at
    assert one == other


@each_run
def test_every_run_record_becomes_a_session_that_loads_back_equal(
    one: RunRecord, tmp_path: Path
) -> None:
    run = one.record
    metrics = run.get("metrics") or {}
    state = SessionState.from_legacy_run(run, "s-1")
    ended = ("completed", "failed", "cancelled")
    expected = {"running": "active", **dict(zip(ended, ended, strict=True))}
    assert str(state.status) == expected.get(run.get("status", ""), "failed")
    assert state.goal_id == run["goal_id"]
    assert state.timestamps.started_at == run["started_at"]
    assert state.timestamps.completed_at == run.get("completed_at")
    assert state.decisions == (run.get("decisions") or [])
    assert state.problems == (run.get("problems") or [])
    assert state.input_data == (run.get("input_data") or {})
    assert state.result.output == (run.get("output_data") or {})
    assert state.metrics.decision_count == metrics.get("total_decisions", 0)
    assert state.metrics.problem_count == len(state.problems)
    assert state.metrics.total_input_tokens == metrics.get("total_tokens", 0)
    assert state.metrics.nodes_executed == metrics.get("nodes_executed", [])
    store = SessionStore(tmp_path, durability="process")
    with store.create(state=state) as session:
        assert store.load("s-1") == session.state
        assert session.state.schema_version == "1.2"


@each_damaged_run
def test_a_damaged_run_record_becomes_no_session(one: RunRecord) -> None:
    with pytest.raises((ValueError, TypeError, AttributeError)):
        SessionState.from_legacy_run(one.record, "s-1")


# --- to_session_state_dict -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("progress", "resume_from"),
    [
        ({"resume_from": "r", "paused_at": "p", "path": ["a"]}, "r"),
        ({"paused_at": "p", "path": ["a"]}, "p"),
        ({"resume_from": "", "paused_at": "p"}, "p"),
        ({"path": ["a", "b"]}, "b"),
        ({"resume_from": "", "paused_at": "", "path": ["a"]}, "a"),
        ({"path": [""]}, ""),
        ({"path": ["a", ""], "paused_at": ""}, ""),
        ({"path": [], "resume_from": "", "paused_at": ""}, None),
        ({}, None),
    ],
)
def test_the_dict_for_callers_that_resume_by_state(
    progress: dict[str, Any], resume_from: str | None
) -> None:
    state = from_result(Outcome(session_state={"data_buffer": {"k": 1}}))
    state.progress = SessionProgress(**progress, node_visit_counts={"a": 2})
    assert state.to_session_state_dict() == {
        "paused_at": resume_from,
        "resume_from": resume_from,
        "data_buffer": {"k": 1},
        "execution_path": progress.get("path", []),
        "node_visit_counts": {"a": 2},
    }


def test_its_docstring_says_what_replaces_it() -> None:
    assert "checkpoint" in (SessionState.to_session_state_dict.__doc__ or "")


# --- sessions that the original framework wrote --------------------------------------------------


def last_wins(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def each_key_once(file: Path) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        assert len(keys) == len(set(keys)), f"a key twice: {keys}"
        return dict(pairs)

    found: dict[str, Any] = json.loads(file.read_text(), object_pairs_hook=once)
    return found


def missing_or_changed(before: Any, after: Any, place: str = "") -> list[str]:
    """Return the places of everything in ``before`` that is not in ``after``."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            found
            for key, value in before.items()
            for found in (
                missing_or_changed(value, after[key], f"{place}.{key}".lstrip("."))
                if key in after
                else [f"{place}.{key}".lstrip(".")]
            )
        ]
    return [] if type(before) is type(after) and before == after else [place]


WRITTEN = {"schema_version", "pid", "owner", "timestamps.updated_at"}


@each_sound_session
def test_a_session_of_the_original_loses_nothing_by_being_saved(
    foreign: ForeignStore, session_id: str, tmp_path: Path
) -> None:
    home = foreign.copy_to(tmp_path / "home")
    file = home / "sessions" / session_id / "state.json"
    before = last_wins(file)
    store = SessionStore(home, durability="process")
    loaded = store.load(session_id)
    assert {name: getattr(loaded, name) for name in COMPUTED & before.keys()} == {
        name: before[name] for name in COMPUTED & before.keys()
    }, "the original computed the same"
    if session_id in foreign.alive:
        with pytest.raises(SessionClaimed):
            store.claim(session_id, force=True)
        assert last_wins(file) == before
        return
    # One of them was left ACTIVE without a pid: only a person can know that its owner is dead.
    with store.claim(session_id, force=True) as session:
        session.save()
        after = each_key_once(file)
        assert store.load(session_id) == session.state
    may_differ = set(WRITTEN)
    if before["status"] == "active":  # whoever goes on with it records the death
        assert after["result"]["error"].startswith("the process that ran this session ")
        assert after["recovery"]["count"] == 1
        may_differ.add("result.error")
    if before["timestamps"]["completed_at"] is not None:
        # The original raises on a mix of naive and aware times: both were rewritten together.
        may_differ |= {"timestamps.started_at", "timestamps.completed_at"}
        assert after["duration_ms"] == loaded.duration_ms
    if "data_buffer" not in before:
        assert after["data_buffer"] == before["memory"]
        may_differ.add("memory")
    assert set(missing_or_changed(before, after)) <= may_differ
    assert after["schema_version"] == "1.2"
    assert after["revision"] == (2 if before["status"] == "active" else 1)


@each_store
def test_some_sessions_of_the_original_have_doubled_and_old_keys(
    foreign: ForeignStore, tmp_path: Path
) -> None:
    home = foreign.copy_to(tmp_path / "home")
    texts = {name: (home / "sessions" / name / "state.json").read_text() for name in foreign.sound}
    doubled = {name for name, text in texts.items() if text.count('"duration_ms"') == 2}
    assert doubled == foreign.doubled != set()
    old_shape = {name for name, text in texts.items() if '"memory"' in text}
    assert old_shape == foreign.old_shape != set()


@each_sound_session
def test_loading_a_session_of_the_original_changes_no_file(
    foreign: ForeignStore, session_id: str, tmp_path: Path
) -> None:
    home = foreign.copy_to(tmp_path / "home")
    before = {file: file.read_bytes() for file in home.rglob("*") if file.is_file()}
    SessionStore(home).load(session_id)
    assert {file: file.read_bytes() for file in home.rglob("*") if file.is_file()} == before


@each_store
def test_a_session_of_the_original_is_resumed_from_its_latest_checkpoint(
    foreign: ForeignStore, tmp_path: Path
) -> None:
    home = foreign.copy_to(tmp_path / "home")
    store = SessionStore(home, durability="process")
    held = foreign.alive | foreign.torn_checkpoints
    resumable = {item.session_id for item in store.find(resumable=True)}
    checkpointed = set()
    for session_id in resumable - held:
        directory = home / "sessions" / session_id
        stored = last_wins(directory / "state.json")
        latest = stored["latest_checkpoint_id"]
        if latest is None:
            with store.resume(session_id, again=True, force=True) as session:
                data = stored.get("data_buffer", stored.get("memory"))
                assert session.state.data_buffer == data
            assert not list(directory.glob("checkpoints/*")), "nothing is added by a stop"
            continue
        checkpointed.add(session_id)
        kept = last_wins(directory / "checkpoints" / f"{latest}.json")
        data = kept.get("data_buffer", kept.get("shared_memory"))
        with store.resume(session_id, again=True) as session:
            assert session.state.data_buffer == data != {}
            assert session.state.progress.path == kept["execution_path"]
    assert checkpointed


def kept_names(home: Path, session_id: str) -> set[str]:
    return {path.name for path in (home / "sessions" / session_id).glob("checkpoints/*")}


@each_store
def test_stops_add_no_checkpoint_to_a_store_of_the_original(
    foreign: ForeignStore, tmp_path: Path
) -> None:
    home = foreign.copy_to(tmp_path / "home")
    store = SessionStore(home, durability="process")
    tried = 0
    for item in store.find(status=["paused", "failed"], resumable=True, limit=None):
        if item.latest_checkpoint_id is not None:
            continue
        before = kept_names(home, item.session_id)
        tried += 1
        for error in (KeyboardInterrupt(), ValueError("no such city")):
            with pytest.raises(type(error)), store.resume(item.session_id) as session:  # noqa: PT012
                session.state.data_buffer["step"] = repr(error)
                raise error
            assert kept_names(home, item.session_id) == before
            # All the same, nothing that was saved is out of reach.
            with store.resume(item.session_id) as session:
                assert session.state.data_buffer["step"] == repr(error)
            assert kept_names(home, item.session_id) == before
        with store.resume(item.session_id) as session:
            session.checkpoint()
        assert len(kept_names(home, item.session_id)) == len(before) + 1
    assert tried


@each_store
def test_a_session_of_the_original_can_be_edited(foreign: ForeignStore, tmp_path: Path) -> None:
    home = foreign.copy_to(tmp_path / "home")
    store = SessionStore(home, durability="process")
    edited = 0
    for item in store.find(status="paused", resumable=True, limit=None):
        with store.edit(item.session_id) as session:
            session.state.data_buffer["answer"] = "yes"
        stored = last_wins(home / "sessions" / item.session_id / "state.json")
        assert (stored["status"], stored["data_buffer"]["answer"]) == ("paused", "yes")
        with store.resume(item.session_id) as session:
            assert session.state.data_buffer["answer"] == "yes"
            session.complete()
        edited += 1
    assert edited
