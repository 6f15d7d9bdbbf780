"""Listings: filters, orders in which the unknown comes last, and cursors that stay put."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessionstore import (
    InvalidQuery,
    MemoryBackend,
    SessionState,
    SessionStatus,
    SessionStore,
    SessionSummary,
)
from sessionstore.model.query import ORDERS, Filters

START = datetime(2026, 1, 1, tzinfo=UTC)
DIRECTIONS = [*ORDERS, *(f"-{order}" for order in ORDERS)]


def put(root: Path, session_id: str, **fields: Any) -> None:
    """Write a session that nobody holds, as other software does."""
    started, updated = fields.pop("started_at", ""), fields.pop("updated_at", "")
    document = {
        "session_id": session_id,
        "goal_id": "triage",
        "status": "paused",
        "timestamps": {"started_at": started, "updated_at": updated},
        **fields,
    }
    directory = root / "sessions" / session_id
    directory.mkdir(parents=True)
    (directory / "state.json").write_text(json.dumps(document))


def ids(items: Iterable[SessionSummary]) -> list[str]:
    return [item.session_id for item in items]


def found(store: SessionStore[SessionState], **filters: Any) -> set[str]:
    return set(ids(store.find(limit=None, **filters).items))


# --- filters -------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> SessionStore[SessionState]:
    put(tmp_path, "paused", goal_id="a", agent_id="x", updated_at="2026-01-01T00:00:00Z")
    put(tmp_path, "completed", status="completed", goal_id="a", updated_at="2026-01-02T00:00:00Z")
    put(
        tmp_path,
        "failed",
        status="failed",
        stream_id="st",
        updated_at="2026-01-03T00:00:00Z",
        result={"error": "killed"},
        recovery={"count": 2, "at": "", "reason": "killed"},
    )
    put(
        tmp_path,
        "own-failure",
        status="failed",
        correlation_id="co",
        updated_at="soon",
        result={"error": "ValueError"},
        recovery={"count": 4, "at": "", "reason": "killed"},
    )
    put(tmp_path, "left-active", status="active", pid=2**22 + 1, updated_at="2026-01-04T00:00:00Z")
    put(tmp_path, "unknown-active", status="active", updated_at="2026-01-05T00:00:00Z")
    put(tmp_path, "lost-checkpoint", checkpoint_enabled=True, latest_checkpoint_id="cp_gone",
        updated_at="2026-01-06T00:00:00Z")  # fmt: skip
    (tmp_path / "sessions" / "torn").mkdir()
    (tmp_path / "sessions" / "torn" / "state.json").write_text('{"session_id": "to')
    store = SessionStore(tmp_path, durability="process")
    store.create("b", session_id="kept").pause(node="ask")
    return store


EVERY = {"paused", "completed", "failed", "own-failure", "left-active", "unknown-active",
         "lost-checkpoint", "torn", "kept"}  # fmt: skip


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, EVERY),
        ({"status": "paused"}, {"paused", "lost-checkpoint", "kept"}),
        ({"status": SessionStatus.COMPLETED}, {"completed"}),
        ({"status": ["completed", SessionStatus.FAILED]}, {"completed", "failed", "own-failure"}),
        ({"status": ()}, set()),
        ({"status": None}, EVERY),
        ({"goal_id": "a"}, {"paused", "completed"}),
        ({"goal_id": "a", "status": "paused"}, {"paused"}),
        ({"goal_id": "nobody"}, set()),
        ({"agent_id": "x"}, {"paused"}),
        ({"stream_id": "st"}, {"failed"}),
        ({"correlation_id": "co"}, {"own-failure"}),
        ({"id_prefix": "un"}, {"unknown-active"}),
        ({"id_prefix": "to"}, {"torn"}),
        ({"id_prefix": ""}, EVERY),
        ({"resumable": True}, EVERY - {"lost-checkpoint", "torn"}),
        ({"resumable": False}, {"lost-checkpoint"}),
        ({"stale": True}, {"left-active"}),
        ({"stale": False}, EVERY - {"left-active", "torn"}),
        ({"interrupted": True}, {"failed"}),
        ({"interrupted": False}, EVERY - {"failed", "torn"}),
        ({"damaged": True}, {"torn"}),
        ({"damaged": False}, EVERY - {"torn"}),
        ({"max_recoveries": 3}, EVERY - {"own-failure", "torn"}),
        ({"max_recoveries": 2, "interrupted": True}, {"failed"}),
        ({"max_recoveries": 1, "interrupted": True}, set()),
        ({"max_recoveries": 0}, EVERY - {"own-failure", "failed", "torn"}),
        ({"since": "2026-01-05T00:00:00Z"}, {"unknown-active", "lost-checkpoint", "kept"}),
        ({"until": "2026-01-02T00:00:00Z"}, {"paused"}),
        ({"since": START + timedelta(days=1), "until": START + timedelta(days=2)}, {"completed"}),
        ({"since": "2026-01-02T01:00:00+01:00", "until": "2026-01-02T00:00:01Z"}, {"completed"}),
    ],
)
def test_a_filter_lists_exactly_what_matches(
    store: SessionStore[SessionState], filters: Any, expected: set[str]
) -> None:
    assert found(store, **filters) == expected
    assert set(ids(store.iter_find(**filters))) == expected


def test_every_filter_of_the_surface_is_known() -> None:
    fixed = {"status", "goal_id", "agent_id", "resumable", "stale", "interrupted",
             "max_recoveries", "since", "until"}  # fmt: skip
    assert fixed <= set(Filters.__annotations__)


def test_a_damaged_session_is_an_item_or_is_counted_never_left_out(
    store: SessionStore[SessionState],
) -> None:
    everything = store.find(limit=None)
    [torn] = [item for item in everything if item.damaged]
    assert torn.session_id == "torn"
    assert (torn.status, torn.liveness, torn.is_resumable) == (None, None, False)
    assert everything.damaged == 0
    filtered = store.find(status="paused")
    assert filtered.damaged == 1
    assert "torn" not in ids(filtered.items)
    assert store.find(damaged=False).damaged == 0


def test_a_listing_says_what_only_the_store_knows(store: SessionStore[SessionState]) -> None:
    items = {item.session_id: item for item in store.find(limit=None)}
    assert items["left-active"].is_stale
    assert items["left-active"].liveness is not None
    assert "is gone" in items["left-active"].liveness.reason
    unknown = items["unknown-active"].liveness
    assert unknown is not None
    assert unknown.is_unknown
    assert items["paused"].liveness is None
    assert items["kept"].is_resumable
    assert not items["lost-checkpoint"].is_resumable
    assert items["lost-checkpoint"].unresumable
    assert items["failed"].recoveries == 2


# --- orders --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("updated_at", ["early", "b-same", "c-same", "late", "a-unknown", "d-unknown"]),
        ("-updated_at", ["late", "c-same", "b-same", "early", "d-unknown", "a-unknown"]),
        ("started_at", ["late", "b-same", "c-same", "early", "a-unknown", "d-unknown"]),
        ("-started_at", ["early", "c-same", "b-same", "late", "d-unknown", "a-unknown"]),
        ("session_id", ["a-unknown", "b-same", "c-same", "d-unknown", "early", "late"]),
        ("-session_id", ["late", "early", "d-unknown", "c-same", "b-same", "a-unknown"]),
    ],
)
def test_a_time_that_cannot_be_parsed_sorts_last_either_way(
    tmp_path: Path, order: str, expected: list[str]
) -> None:
    middle = "2026-01-02T00:00:00Z"
    put(tmp_path, "early", updated_at="2026-01-01T00:00:00Z", started_at="2026-01-04T00:00:00Z")
    put(tmp_path, "b-same", updated_at="2026-01-02T02:00:00+02:00", started_at=middle)
    put(tmp_path, "c-same", updated_at=middle, started_at="2026-01-01T19:00:00-05:00")
    put(tmp_path, "late", updated_at="2026-01-03T00:00:00Z", started_at="2026-01-01T00:00:00Z")
    put(tmp_path, "a-unknown", updated_at="", started_at="yesterday")
    put(tmp_path, "d-unknown", updated_at="2026-99-99", started_at="")
    store = SessionStore(tmp_path)
    assert ids(store.find(order=order)) == expected
    assert ids(store.iter_find(order=order)) == expected


def test_newest_first_is_the_default(store: SessionStore[SessionState]) -> None:
    assert ids(store.find(limit=2)) == ["kept", "lost-checkpoint"]


# --- cursors -------------------------------------------------------------------------------------

times = st.one_of(
    st.datetimes(
        min_value=datetime(2026, 1, 1),  # noqa: DTZ001 - hypothesis wants them naive
        max_value=datetime(2026, 1, 3),  # noqa: DTZ001 - likewise
        timezones=st.just(UTC),
    ).map(datetime.isoformat),
    st.sampled_from(["2026-01-02T00:00:00Z", "2026-01-02T00:00:00.000001Z", "", "soon"]),
)
sessions = st.dictionaries(
    st.from_regex(r"[a-z0-9][a-z0-9._-]{0,5}[a-z0-9]", fullmatch=True).filter(
        lambda name: name.split(".")[0] not in {"con", "prn", "aux", "nul"} and name[:3] != "new"
    ),
    st.tuples(times, times),
    max_size=9,
)


@settings(database=None, deadline=None, max_examples=30)
@given(data=st.data(), present=sessions, order=st.sampled_from(DIRECTIONS), limit=st.integers(1, 4))
def test_pages_make_up_the_whole_order_whatever_is_inserted_meanwhile(
    data: st.DataObject,
    present: dict[str, tuple[str, str]],
    order: str,
    limit: int,
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for name, (started_at, updated_at) in present.items():
            put(root, name, started_at=started_at, updated_at=updated_at)
        store = SessionStore(root)
        whole = ids(store.find(order=order, limit=None))
        assert sorted(whole) == sorted(present)

        listed: list[str] = []
        cursor: str | None = None
        for page_number in range(len(present) * 2 + 20):
            page = store.find(order=order, limit=limit, cursor=cursor)
            assert len(page) <= limit
            listed += ids(page)
            cursor = page.next_cursor
            if cursor is None:
                break
            assert len(page) == limit, "only the last page is short"
            if page_number < 3 and data.draw(st.booleans()):
                started_at, updated_at = data.draw(times), data.draw(times)
                put(root, f"new{page_number}", started_at=started_at, updated_at=updated_at)
        assert cursor is None
        assert len(set(listed)) == len(listed), "nothing is repeated"
        assert [name for name in listed if name in present] == whole, "nothing is skipped"


def test_a_cursor_goes_on_where_its_own_session_is_gone(tmp_path: Path) -> None:
    for name in "abcde":
        put(tmp_path, name)
    store = SessionStore(tmp_path, durability="process")
    page = store.find(order="session_id", limit=2)
    store.delete("b")
    store.delete("c")
    assert ids(store.find(order="session_id", cursor=page.next_cursor)) == ["d", "e"]


def test_a_cursor_keeps_the_filter_that_it_is_given_with(tmp_path: Path) -> None:
    for number in range(10):
        put(tmp_path, f"s{number}", status="failed" if number % 2 else "paused")
    store = SessionStore(tmp_path)
    first = store.find(status="failed", order="session_id", limit=2)
    rest = store.find(status="failed", order="session_id", cursor=first.next_cursor)
    assert ids(first) + ids(rest) == ["s1", "s3", "s5", "s7", "s9"]
    assert rest.next_cursor is None


def test_a_full_last_page_has_no_cursor(tmp_path: Path) -> None:
    put(tmp_path, "a")
    put(tmp_path, "b")
    assert SessionStore(tmp_path).find(limit=2).next_cursor is None
    assert SessionStore(tmp_path).find(limit=None).next_cursor is None
    assert len(SessionStore(tmp_path / "empty").find()) == 0


# --- refusals ------------------------------------------------------------------------------------


def forged(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()


@pytest.mark.parametrize(
    ("parameter", "arguments"),
    [
        ("order", {"order": "revision"}),
        ("order", {"order": ""}),
        ("order", {"order": "-"}),
        ("order", {"order": "--session_id"}),
        ("order", {"order": "session_id-"}),
        ("order", {"order": None}),
        ("limit", {"limit": 0}),
        ("limit", {"limit": -1}),
        ("limit", {"limit": True}),
        ("limit", {"limit": "5"}),
        ("limit", {"limit": 2.0}),
        ("status", {"status": "done"}),
        ("status", {"status": ["paused", "done"]}),
        ("status", {"status": [7]}),
        ("status", {"status": 7}),
        ("resumable", {"resumable": "yes"}),
        ("stale", {"stale": 1}),
        ("interrupted", {"interrupted": 0}),
        ("damaged", {"damaged": "no"}),
        ("max_recoveries", {"max_recoveries": "3"}),
        ("goal_id", {"goal_id": 7}),
        ("id_prefix", {"id_prefix": 7}),
        ("goal_id", {"goal_id": "\ud800"}),
        ("id_prefix", {"id_prefix": "s\udcff"}),
        ("since", {"since": "yesterday"}),
        ("since", {"since": 7}),
        ("until", {"until": ""}),
        ("agent", {"agent": "x"}),
        ("cursor", {"cursor": ""}),
        ("cursor", {"cursor": "!"}),
        ("cursor", {"cursor": "é"}),
        ("cursor", {"cursor": "AAAA"}),
        ("cursor", {"cursor": 7}),
        ("cursor", {"cursor": forged()}),
        ("cursor", {"cursor": forged("session_id", 0, "", "a")}),
        ("cursor", {"cursor": forged("-updated_at", 2, 0.0, "a")}),
        ("cursor", {"cursor": forged("-updated_at", 0, "0", "a")}),
        ("cursor", {"cursor": forged("-updated_at", 0, 0.0, 7)}),
        ("cursor", {"cursor": forged("-updated_at", 0, 0.0)}),
        ("cursor", {"cursor": forged("-updated_at", 0, 0.0, "\ud800")}),
        ("cursor", {"cursor": forged("-updated_at", [], {}, "a")}),
        ("cursor", {"cursor": forged("-updated_at", 0, float("nan"), "a")}),
        ("cursor", {"cursor": base64.urlsafe_b64encode(b"[" * 100_000).decode()}),
    ],
    ids=lambda part: part if isinstance(part, str) else repr(part)[:60],
)
@pytest.mark.parametrize("with_sessions", [False, True], ids=["empty", "full"])
def test_an_argument_that_makes_no_sense_is_refused_by_name(
    parameter: str, arguments: dict[str, Any], with_sessions: bool
) -> None:
    store = SessionStore(MemoryBackend())
    if with_sessions:  # what is refused does not depend on what there is to list
        store.create("triage").complete()
    with pytest.raises(InvalidQuery) as refused:
        store.find(**arguments)
    assert refused.value.parameter == parameter
    assert str(refused.value).startswith(f"{parameter}: ")


def test_iter_find_refuses_at_the_call_and_not_at_the_first_item() -> None:
    with pytest.raises(InvalidQuery):
        SessionStore(MemoryBackend()).iter_find(order="revision")
