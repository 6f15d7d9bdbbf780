"""The stored schema: every field, default and computed key, and nothing of a file gets lost."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sessionstore import (
    SessionCorrupt,
    SessionMetrics,
    SessionOwner,
    SessionProgress,
    SessionResult,
    SessionState,
    SessionStatus,
    SessionStore,
    SessionTimestamps,
)

NOON = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
NOON_TEXT = "2026-11-22T12:00:00.000000+00:00"
MINIMAL = {
    "session_id": "old-1",
    "goal_id": "triage",
    "timestamps": {"started_at": NOON_TEXT, "updated_at": NOON_TEXT},
    "status": "paused",  # so that releasing it writes nothing more
}
COMPUTED = ("duration_ms", "is_resumable_from_checkpoint", "is_resumable")


@pytest.fixture
def store(tmp_path: Path) -> SessionStore[SessionState]:
    return SessionStore(tmp_path, durability="process", clock=lambda: NOON)


@pytest.fixture
def local_time_is_two_hours_ahead(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if not hasattr(time, "tzset"):
        pytest.skip("this system cannot change its time zone for one process")
    monkeypatch.setenv("TZ", "XXX-2")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def state_file(root: Path, session_id: str) -> Path:
    return root / "sessions" / session_id / "state.json"


def put(root: Path, document: str | dict[str, Any], session_id: str = "old-1") -> Path:
    """Write a state file as other software does."""
    file = state_file(root, session_id)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    return file


def read_once(file: Path) -> dict[str, Any]:
    """Return what a file holds; fail if any object in it has a key twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        assert len(keys) == len(set(keys)), f"a key twice: {keys}"
        return dict(pairs)

    found: dict[str, Any] = json.loads(file.read_text(), object_pairs_hook=once)
    return found


def save_again(store: SessionStore[SessionState], session_id: str = "old-1") -> SessionState:
    """Return the state as it was saved, after load and save."""
    with store.claim(session_id) as session:
        session.save()
        return session.state


# --- fields and defaults -------------------------------------------------------------------------


def test_a_new_session_is_written_with_every_field_of_the_schema(
    tmp_path: Path, store: SessionStore[SessionState]
) -> None:
    with store.create("triage", session_id="s-1") as session:
        written = read_once(state_file(tmp_path, "s-1"))
        owner, incarnation = session.owner, session.state.incarnation
        session.complete()
    assert owner.pid is not None
    assert incarnation
    assert written == {
        "schema_version": "1.2",
        "session_id": "s-1",
        "stream_id": "",
        "correlation_id": "",
        "status": "active",
        "goal_id": "triage",
        "agent_id": "",
        "entry_point": "start",
        "timestamps": {
            "started_at": NOON_TEXT,
            "updated_at": NOON_TEXT,
            "completed_at": None,
            "paused_at_time": None,
        },
        "progress": {
            "current_node": None,
            "paused_at": None,
            "resume_from": None,
            "steps_executed": 0,
            "total_tokens": 0,
            "total_latency_ms": 0,
            "path": [],
            "total_retries": 0,
            "nodes_with_failures": [],
            "retry_details": {},
            "had_partial_failures": False,
            "execution_quality": "clean",
            "node_visit_counts": {},
        },
        "result": {"success": None, "error": None, "output": {}},
        "data_buffer": {},
        "metrics": {
            "decision_count": 0,
            "problem_count": 0,
            "total_input_tokens": 0,
            "total_output_tokens": 0,
            "nodes_executed": [],
            "edges_traversed": [],
        },
        "problems": [],
        "decisions": [],
        "input_data": {},
        "current_run_id": None,
        "pid": owner.pid,
        "isolation_level": "shared",
        "checkpoint_enabled": False,
        "latest_checkpoint_id": None,
        "active_triggers": [],
        "trigger_tasks": {},
        "worker_configured": False,
        "revision": 1,
        "incarnation": incarnation,
        "owner": owner.model_dump(mode="json"),
        "recovery": None,
        "forked_from": None,
        "labels": {},
        "journals": {},
        "rewinds": {},
        "steps_from": 0,
        "saves_from": 1,
        "duration_ms": 0,
        "is_resumable_from_checkpoint": False,
        "is_resumable": False,
    }


def test_a_file_with_only_the_required_fields_loads_with_the_defaults(
    tmp_path: Path, store: SessionStore[SessionState]
) -> None:
    put(tmp_path, MINIMAL)
    state = store.load("old-1")
    assert state.schema_version == "1.2"
    assert state.status is SessionStatus.PAUSED
    assert state.progress == SessionProgress()
    assert state.result == SessionResult()
    assert state.metrics == SessionMetrics()
    assert state.data_buffer == {}
    assert state.entry_point == "start"
    assert state.isolation_level == "shared"
    assert (state.revision, state.incarnation, state.owner, state.recovery) == (0, None, None, None)


@pytest.mark.parametrize("missing", ["session_id", "goal_id", "timestamps"])
def test_a_file_without_a_required_field_is_damaged_and_kept(
    tmp_path: Path, store: SessionStore[SessionState], missing: str
) -> None:
    document = {key: value for key, value in MINIMAL.items() if key != missing}
    file = put(tmp_path, document)
    before = file.read_bytes()
    with pytest.raises(SessionCorrupt) as refused:
        store.load("old-1")
    assert missing in refused.value.reason
    assert file.read_bytes() == before


def test_statuses_are_the_five_of_the_schema() -> None:
    assert [str(status) for status in SessionStatus] == [
        "active",
        "paused",
        "completed",
        "failed",
        "cancelled",
    ]


def test_the_default_of_one_state_is_not_shared_with_another() -> None:
    first, second = SessionProgress(), SessionProgress()
    first.path.append("plan")
    first.retry_details["plan"] = 1
    assert second.path == []
    assert second.retry_details == {}


# --- computed keys -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("enabled", "checkpoint_id", "resumable"),
    [(True, "cp_1", True), (False, "cp_1", False), (True, None, False), (False, None, False)],
)
def test_resumable_means_a_checkpoint_and_checkpoints_enabled(
    tmp_path: Path,
    store: SessionStore[SessionState],
    enabled: bool,
    checkpoint_id: str | None,
    resumable: bool,
) -> None:
    put(
        tmp_path,
        {**MINIMAL, "checkpoint_enabled": enabled, "latest_checkpoint_id": checkpoint_id},
    )
    state = save_again(store)
    written = read_once(state_file(tmp_path, "old-1"))
    assert state.is_resumable is state.is_resumable_from_checkpoint is resumable
    assert written["is_resumable"] is written["is_resumable_from_checkpoint"] is resumable


@pytest.mark.parametrize("status", list(SessionStatus))
def test_whether_a_session_is_resumable_does_not_depend_on_its_status(
    status: SessionStatus,
) -> None:
    state = SessionState.model_validate(
        {**MINIMAL, "status": status, "checkpoint_enabled": True, "latest_checkpoint_id": "cp_1"}
    )
    assert state.is_resumable


def test_stale_computed_keys_of_a_file_are_computed_anew(
    tmp_path: Path, store: SessionStore[SessionState]
) -> None:
    put(tmp_path, {**MINIMAL, "duration_ms": 99, "is_resumable": True, "is_resumable_x": 1})
    state = save_again(store)
    written = read_once(state_file(tmp_path, "old-1"))
    assert state.duration_ms == written["duration_ms"] == 0
    assert state.is_resumable is written["is_resumable"] is False
    assert written["is_resumable_x"] == 1, "only the computed names are the store's own"


@pytest.mark.parametrize("name", COMPUTED)
def test_a_computed_key_cannot_be_set(name: str) -> None:
    state = SessionState.model_validate(MINIMAL)
    with pytest.raises(AttributeError):
        setattr(state, name, 1)
    assert not state.__pydantic_extra__


# --- durations -----------------------------------------------------------------------------------


def duration(started_at: str, completed_at: str | None) -> int:
    times = SessionTimestamps(started_at=started_at, updated_at="", completed_at=completed_at)
    return SessionState(session_id="s", goal_id="g", timestamps=times).duration_ms


@pytest.mark.parametrize(
    ("started_at", "completed_at", "milliseconds"),
    [
        ("2026-01-01T00:00:00+00:00", None, 0),
        ("2026-01-01T00:00:00+00:00", "2026-01-01T00:00:02.500+00:00", 2500),
        ("2026-01-01T00:00:00+00:00", "2026-01-01T00:00:01.001+00:00", 1001),
        ("2026-01-01T00:00:00", "2026-01-01T00:00:01.001", 1001),
        ("2026-01-01T02:00:00+02:00", "2026-01-01T00:00:01Z", 1000),
        ("", "2026-01-01T00:00:00Z", 0),
        ("yesterday", "2026-01-01T00:00:00Z", 0),
        ("2026-01-01T00:00:00Z", "not a time", 0),
        ("2026-13-01T00:00:00Z", "2026-01-01T00:00:00Z", 0),
    ],
)
def test_duration_is_the_time_from_start_to_end_in_milliseconds(
    started_at: str, completed_at: str | None, milliseconds: int
) -> None:
    assert duration(started_at, completed_at) == milliseconds


@pytest.mark.usefixtures("local_time_is_two_hours_ahead")
def test_a_naive_time_is_local_time_of_this_machine() -> None:
    assert duration("2026-01-01T02:00:00", "2026-01-01T00:00:03+00:00") == 3000
    assert duration("2026-01-01T00:00:00+00:00", "2026-01-01T02:00:03") == 3000


times = st.one_of(
    st.datetimes(timezones=st.none() | st.just(UTC) | st.timezones()).map(datetime.isoformat),
    st.text(max_size=30),
    st.from_regex(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?(\.\d{1,9})?(Z|[+-]\d\d:\d\d)?", fullmatch=True
    ),
)


@settings(database=None, deadline=None)
@given(started_at=times, completed_at=st.none() | times)
@example("0001-01-01T00:00:00", "9999-12-31T23:59:59.999999")
@example("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")
def test_no_pair_of_times_makes_the_duration_raise(
    started_at: str, completed_at: str | None
) -> None:
    assert type(duration(started_at, completed_at)) is int


@pytest.mark.usefixtures("local_time_is_two_hours_ahead")
def test_completing_a_session_of_naive_times_rewrites_its_start_as_aware(
    tmp_path: Path, store: SessionStore[SessionState]
) -> None:
    times = {"started_at": "2026-11-22T13:00:00.5", "updated_at": "2026-11-22T13:00:01"}
    put(tmp_path, {**MINIMAL, "timestamps": times})
    store.claim("old-1").complete()
    written = read_once(state_file(tmp_path, "old-1"))
    assert written["timestamps"]["started_at"] == "2026-11-22T11:00:00.500000+00:00"
    assert written["timestamps"]["completed_at"] == NOON_TEXT
    assert written["duration_ms"] == 3_599_500
    assert all(
        datetime.fromisoformat(written["timestamps"][name]).tzinfo is not None
        for name in ("started_at", "completed_at", "updated_at")
    )


# --- the old name of data_buffer -----------------------------------------------------------------


def test_memory_is_read_as_data_buffer_and_written_under_the_new_name(
    tmp_path: Path, store: SessionStore[SessionState]
) -> None:
    put(tmp_path, {**MINIMAL, "memory": {"plan": ["a"]}})
    state = save_again(store)
    written = read_once(state_file(tmp_path, "old-1"))
    assert state.data_buffer == {"plan": ["a"]}
    assert written["data_buffer"] == {"plan": ["a"]}
    assert "memory" not in written


def test_of_both_keys_data_buffer_wins_and_memory_stays_as_an_extra(
    tmp_path: Path, store: SessionStore[SessionState]
) -> None:
    put(tmp_path, {**MINIMAL, "memory": {"old": 1}, "data_buffer": {"new": 2}})
    state = save_again(store)
    written = read_once(state_file(tmp_path, "old-1"))
    assert state.data_buffer == state.memory == written["data_buffer"] == {"new": 2}
    assert written["memory"] == {"old": 1}
    assert store.load("old-1") == state


def test_an_empty_data_buffer_wins_too(tmp_path: Path, store: SessionStore[SessionState]) -> None:
    put(tmp_path, {**MINIMAL, "memory": {"old": 1}, "data_buffer": {}})
    assert store.load("old-1").data_buffer == {}


def test_the_property_memory_gets_and_sets_data_buffer() -> None:
    state = SessionState.model_validate(MINIMAL)
    state.memory["plan"] = 1
    assert state.data_buffer == {"plan": 1}
    state.memory = {"other": 2}
    assert state.data_buffer == {"other": 2}
    assert state.memory is state.data_buffer


# --- unknown fields ------------------------------------------------------------------------------

EXTRA = {"vendor": {"deep": [1, None, {"x": 2.5}]}, "": "empty", "_dunder": 1, "a b": [], "é": "ü"}
FULL = {
    **MINIMAL,
    **EXTRA,
    "timestamps": {**MINIMAL["timestamps"], **EXTRA},  # type: ignore[dict-item]  # a dict above
    "progress": EXTRA,
    "result": EXTRA,
    "metrics": EXTRA,
    "recovery": {"count": 2, "at": NOON_TEXT, "reason": "gone", "owner": EXTRA, **EXTRA},
}


def at(document: dict[str, Any], *place: str) -> dict[str, Any]:
    for step in place:
        document = document[step]
    return document


@pytest.mark.parametrize(
    "place",
    [(), ("timestamps",), ("progress",), ("result",), ("metrics",), ("recovery",),
     ("recovery", "owner")],
    ids=".".join,
)  # fmt: skip
def test_unknown_fields_survive_load_and_save_at_every_level(
    tmp_path: Path, store: SessionStore[SessionState], place: tuple[str, ...]
) -> None:
    file = put(tmp_path, FULL)
    save_again(store)
    written = read_once(file)
    assert {key: at(written, *place).get(key) for key in EXTRA} == EXTRA


@pytest.mark.parametrize("name", ["copy", "json", "model_dump", "model_config", "model_fields"])
def test_an_unknown_field_named_like_a_method_survives_too(
    tmp_path: Path, store: SessionStore[SessionState], name: str
) -> None:
    file = put(tmp_path, {**MINIMAL, name: "theirs"})
    save_again(store)
    assert read_once(file)[name] == "theirs"


def test_a_loaded_state_equals_the_state_that_was_saved(
    tmp_path: Path, store: SessionStore[SessionState]
) -> None:
    put(tmp_path, FULL)
    saved = save_again(store)
    assert store.load("old-1") == saved
    assert save_again(store).model_extra == saved.model_extra


def test_loaded_extras_can_be_edited(tmp_path: Path, store: SessionStore[SessionState]) -> None:
    put(tmp_path, {**MINIMAL, "vendor": 1, "progress": {"vendor_step": "a"}})
    with store.claim("old-1") as session:
        for part, name, value in (
            (session.state, "vendor", 2),
            (session.state.progress, "vendor_step", "b"),
        ):
            setattr(part, name, value)
        session.save()
    written = read_once(state_file(tmp_path, "old-1"))
    assert (written["vendor"], written["progress"]["vendor_step"]) == (2, "b")


def test_doubled_keys_load_the_last_one_and_are_written_once(
    tmp_path: Path, store: SessionStore[SessionState]
) -> None:
    text = json.dumps({**MINIMAL, "agent_id": "stale", "vendor": "stale", "is_resumable": True})
    doubled = text[:-1] + ', "agent_id": "last", "vendor": "last", "is_resumable": false}'
    doubled = doubled.replace('"updated_at":', '"updated_at": "stale", "updated_at":')
    file = put(tmp_path, doubled)
    assert doubled.count('"is_resumable"') == 2
    state = save_again(store)
    written = read_once(file)
    assert state.agent_id == written["agent_id"] == "last"
    assert written["vendor"] == "last"
    assert store.load("old-1") == state


def test_a_file_of_ours_saved_many_times_has_each_key_once(
    tmp_path: Path, store: SessionStore[SessionState]
) -> None:
    put(tmp_path, FULL)
    for _ in range(3):
        save_again(store)
    assert read_once(state_file(tmp_path, "old-1"))["revision"] == 3


# --- versions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loaded", "saved"),
    [("1.0", "1.2"), ("1.1", "1.2"), ("1.2", "1.2"), ("1.3", "1.3"), ("1.10", "1.10"),
     ("2.0", "2.0"), ("experimental", "experimental")],
)  # fmt: skip
def test_saving_upgrades_an_older_version_and_keeps_a_newer_one(
    tmp_path: Path, store: SessionStore[SessionState], loaded: str, saved: str
) -> None:
    file = put(tmp_path, {**MINIMAL, "schema_version": loaded})
    assert store.load("old-1").schema_version == loaded, "loading changes nothing"
    assert save_again(store).schema_version == saved
    assert read_once(file)["schema_version"] == saved


# --- misspelt attributes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "misspelt", "meant"),
    [
        (SessionState.model_validate(MINIMAL), "stauts", "status"),
        (SessionState.model_validate(MINIMAL), "data_bufer", "data_buffer"),
        (SessionState.model_validate({**MINIMAL, "vendor": 1}), "vendro", "vendor"),
        (SessionProgress(), "curent_node", "current_node"),
        (SessionResult(), "eror", "error"),
        (SessionTimestamps(started_at="", updated_at=""), "completd_at", "completed_at"),
    ],
)
def test_a_misspelt_attribute_is_refused_with_the_nearest_name(
    part: SessionState | SessionProgress | SessionResult | SessionTimestamps,
    misspelt: str,
    meant: str,
) -> None:
    before = part.model_dump()
    with pytest.raises(AttributeError, match=f"did you mean '{meant}'"):
        setattr(part, misspelt, 1)
    assert part.model_dump() == before


def test_an_attribute_that_resembles_nothing_is_refused_with_a_way_out() -> None:
    with pytest.raises(AttributeError, match="data_buffer, or into a subclass"):
        setattr(SessionState.model_validate(MINIMAL), "zzz", 1)  # noqa: B010 - unknown to mypy


@pytest.mark.parametrize("name", ["copy", "json", "model_dump", "to_session_state_dict"])
def test_a_method_cannot_be_overwritten_by_a_value_that_would_be_lost(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(SessionState.model_validate(MINIMAL), name, 1)


def test_an_owner_record_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        SessionOwner(pid=1).pid = 2
