"""How two states of a session differ, and how the states are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionstore import (
    CheckpointNotFound,
    Difference,
    InvalidQuery,
    NotResumable,
    SessionCorrupt,
    SessionNotFound,
    SessionState,
    SessionStore,
)
from sessionstore.operations import diff
from tests.support.processes import state_path

Store = SessionStore[SessionState]


def test_by_default_the_latest_checkpoint_is_compared_with_the_present(store: Store) -> None:
    found = store.diff("s1")
    assert [(item.kind, item.path, item.before, item.after) for item in found] == [
        ("changed", "data_buffer.fetch.score", 1, 2),
        ("added", "data_buffer.fetch.pages[2]", None, "c"),
        ("added", "data_buffer['a key']", None, True),
    ]
    latest = store.load("s1").latest_checkpoint_id
    assert (found.before.name, found.before.revision) == (latest, 3)
    assert (found.after.name, found.after.revision) == ("current", 4)


def test_states_are_named_by_id_by_its_beginning_by_revision_or_as_current(store: Store) -> None:
    first, second = (item.checkpoint_id for item in store.checkpoints("s1"))
    whole = store.diff("s1", first, second)
    assert {item.path for item in whole} == {
        "progress.current_node",
        "progress.path[1]",
        "progress.steps_executed",
    }
    assert store.diff("s1", "cp_node_complete.plan", "cp_node_complete.fetch") == whole
    assert store.diff("s1", "r2", "r3") == whole
    assert store.diff("s1", "r3", "r4") == store.diff("s1", "r3", "current")
    back = {item.path: (item.before, item.after) for item in store.diff("s1", "r3", "r2")}
    assert back == {item.path: (item.after, item.before) for item in whole}
    assert not store.diff("s1", "current", "r4")
    with pytest.raises(InvalidQuery, match="prefix of 2"):
        store.diff("s1", "cp_node")
    for unknown in ("cp_x", "r1", "r99", "", "../state"):
        with pytest.raises(CheckpointNotFound) as refusal:
            store.diff("s1", unknown)
        assert refusal.value.available == (first, second)


def test_what_the_store_keeps_account_of_is_left_out_unless_asked_for(store: Store) -> None:
    assert not store.diff("s1", "current", "current", everything=True)
    paths = {item.path for item in store.diff("s1", everything=True)}
    assert {"revision", "timestamps.updated_at"} <= paths
    assert {"revision", "timestamps.updated_at"}.isdisjoint(item.path for item in store.diff("s1"))


def test_a_session_without_a_checkpoint_has_nothing_to_compare_with(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    session = store.create("goal", session_id="s1")  # a stop would keep what it saved last
    session.save()
    with pytest.raises(NotResumable, match="it names no latest checkpoint"):
        store.diff("s1")
    assert not store.diff("s1", "r2")
    session.release()
    with pytest.raises(SessionNotFound):
        store.diff("none")


def test_checkpoints_of_a_damaged_session_can_be_compared(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    with store.create("goal", session_id="s1") as session:
        session.checkpoint()
        session.state.data_buffer["more"] = 1
        session.checkpoint()
        session.save()
        session.fail("bad")
    state_path(tmp_path, "s1").write_text("{")
    assert [item.path for item in store.diff("s1", "r2", "r3")] == ["data_buffer.more"]
    for a, b in ((None, None), ("r2", None), ("current", "r2")):
        with pytest.raises(SessionCorrupt):
            store.diff("s1", a, b)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0]) | st.text("ab."),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab.", max_size=2), inner),
    max_leaves=12,
)


@given(JSON, JSON)
def test_differences_turn_the_one_into_the_other(old: Any, new: Any) -> None:
    """Made from the paths alone: nothing that differs is left out, and nothing else is named."""
    found = list(diff.compare({"x": old}, {"x": new}))
    assert (found == []) is (json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True))
    assert apply({"x": old}, found, after=True) == canonical({"x": new})
    assert apply({"x": new}, found, after=False) == canonical({"x": old})


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def apply(value: Any, found: list[Difference], *, after: bool) -> str:
    """Make the changes by the paths, which are Python's own notation but for attributes."""
    value = json.loads(json.dumps(value))
    gone, new = ("removed", "added") if after else ("added", "removed")
    changed = [item for item in found if item.kind == "changed"]
    for item in changed:
        place, last = walk(value, item.path)
        place[last] = item.after if after else item.before
    # From the end on, so that the places of those before them do not move.
    for item in reversed([item for item in found if item.kind == gone]):
        place, last = walk(value, item.path)
        del place[last]
    for item in (item for item in found if item.kind == new):
        place, last = walk(value, item.path)
        given_value = item.after if after else item.before
        if isinstance(place, list):
            place.insert(last, given_value)
        else:
            place[last] = given_value
    return canonical(value)


def walk(value: Any, path: str) -> tuple[Any, Any]:
    steps: list[Any] = []
    rest = path
    while rest:
        if rest.startswith("["):
            end = closing(rest)
            steps.append(eval(rest[1:end]))
            rest = rest[end + 1 :]
        else:
            rest = rest.removeprefix(".")
            length = next((i for i, char in enumerate(rest) if char in ".["), len(rest))
            steps.append(rest[:length])
            rest = rest[length:]
    for step_ in steps[:-1]:
        value = value[step_]
    return value, steps[-1]


def closing(text: str) -> int:
    return text.index("']") + 1 if text.startswith("['") else text.index("]")


def test_deep_nesting_costs_no_more_than_its_size() -> None:
    old: Any = 1
    new: Any = 2
    for _ in range(150):
        old, new = [0, old, 0], [0, new, 0]
    (item,) = diff.compare(old, new, "x")
    assert item.path == "x" + "[1]" * 150
