"""Labels: what a save accepts, what a load takes as it is, and how far they go on."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import Any

import pytest

from sessionstore import InvalidQuery, NotStorable, SessionState, SessionStore
from sessionstore.model.labels import MAX_LABELS, MAX_LENGTH
from tests.support.processes import state_path

Store = SessionStore[SessionState]


class Tier(enum.StrEnum):
    GOLD = "gold"


BAD: list[tuple[Any, str, str]] = [
    ({"user id": "42"}, "labels['user id']", "A-Z a-z 0-9"),
    ({"a=b": "1"}, "labels['a=b']", "A-Z a-z 0-9"),
    ({"a,b": "1"}, "labels['a,b']", "A-Z a-z 0-9"),
    ({"": "1"}, "labels['']", "1 to 128"),
    ({"k" * 129: "1"}, f"labels.{'k' * 129}", "1 to 128"),
    ({"\x1b[31m": "1"}, "labels['\\x1b[31m']", "A-Z a-z 0-9"),
    ({7: "1"}, "labels['7']", "must be text, not int"),
    ({"user": 42}, "labels.user", "42 is not text"),
    ({"user": None}, "labels.user", "None is not text"),
    ({"tier": Tier.GOLD}, "labels.tier", "Tier is not text"),
    ({"user": "x" * (MAX_LENGTH + 1)}, "labels.user", "257 characters are more than 256"),
    ({"user": "\ud800"}, "labels.user", "lone surrogate"),
    ({f"k{number}": "" for number in range(MAX_LABELS + 1)}, "labels", "65 labels are more than"),
    (["user"], "labels", "a dict of text"),
]
GOOD = [
    {},
    {"user": "42"},
    {"k" * 128: "x" * MAX_LENGTH},
    {"9.a_B-": "", "title": "Umlaut ü, =, \n and \x1b[31m"},
    {f"k{number}": str(number) for number in range(MAX_LABELS)},
]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return SessionStore(tmp_path)


@pytest.mark.parametrize(("labels", "path", "reason"), BAD)
def test_a_label_that_is_not_allowed_is_refused_with_its_path_and_nothing_is_written(
    store: Store, labels: Any, path: str, reason: str
) -> None:
    with pytest.raises(NotStorable) as refused:
        store.create("g", session_id="s", labels=labels)
    assert refused.value.path == path
    assert reason in refused.value.reason
    assert not store.exists("s")


@pytest.mark.parametrize(("labels", "path", "reason"), BAD)
def test_a_change_of_a_label_is_checked_by_the_save(
    store: Store, labels: Any, path: str, reason: str
) -> None:
    session = store.create("g", session_id="s", labels={"user": "1"})
    session.state.labels = labels
    with pytest.raises(NotStorable) as refused:
        session.save()
    assert refused.value.path.startswith("labels")
    assert store.load("s").labels == {"user": "1"}
    session.state.labels = {"user": "2"}
    session.pause()
    assert store.load("s").labels == {"user": "2"}


@pytest.mark.parametrize("labels", GOOD)
def test_labels_that_are_allowed_load_back_equal(store: Store, labels: dict[str, str]) -> None:
    given = dict(labels)
    store.create("g", session_id="s", labels=given).release()
    given["later"] = "not in the session"
    assert store.load("s").labels == labels
    assert [dict(item.labels) for item in store.find(labels=labels)] == [labels]


def test_labels_of_a_whole_state_are_checked_as_well(store: Store) -> None:
    whole = SessionState.from_legacy_run(
        {"goal_id": "g", "status": "failed", "started_at": "2020-01-25T12:00:00"}, "s"
    )
    whole.labels["a b"] = "1"
    with pytest.raises(NotStorable, match="labels"):
        store.create(state=whole)
    whole.labels = {"a": "1"}
    store.create(state=whole).release()
    assert store.load("s").labels == {"a": "1"}


def test_what_other_software_wrote_stays_and_can_be_removed(store: Store, tmp_path: Path) -> None:
    store.create("g", session_id="s").release()
    theirs = {"a b": "x" * 1000} | {f"k{number}": "" for number in range(MAX_LABELS)}
    document = json.loads(state_path(tmp_path, "s").read_bytes())
    state_path(tmp_path, "s").write_text(json.dumps(document | {"labels": theirs}))
    with store.claim("s") as session:
        session.state.labels["k1"] = "ours"
        session.save()
        assert store.load("s").labels == theirs | {"k1": "ours"}
        session.state.labels["one more"] = "1"
        with pytest.raises(NotStorable):
            session.save()
        del session.state.labels["one more"], session.state.labels["a b"]
        session.save()
    left = {name: value for name, value in (theirs | {"k1": "ours"}).items() if name != "a b"}
    with store.resume("s") as session:
        assert session.state.labels == left


def test_a_file_without_labels_loads_and_keeps_none(store: Store, tmp_path: Path) -> None:
    store.create("g", session_id="s").release()
    document = json.loads(state_path(tmp_path, "s").read_bytes())
    del document["labels"]
    state_path(tmp_path, "s").write_text(json.dumps(document))
    assert store.load("s").labels == {}
    assert store.count(labels={}) == 1


def test_labels_go_on_through_a_resume_of_any_checkpoint(store: Store) -> None:
    with store.create("g", session_id="s", labels={"user": "42", "old": "1"}) as session:
        first = session.checkpoint("step", node="one").checkpoint_id
        session.state.labels["stage"] = "two"
        del session.state.labels["old"]
        session.checkpoint("step", node="two")
        session.state.labels["stage"] = "three"
        session.save()
    kept = {"user": "42", "stage": "three"}
    with store.resume("s", checkpoint_id=first) as session:
        assert session.state.labels == kept
    assert store.load("s").labels == kept
    assert store.load_checkpoint("s", first).labels == {"user": "42", "old": "1"}
    assert store.find(labels=kept).items[0].session_id == "s"


def test_labels_go_on_through_a_fork_of_any_checkpoint(store: Store) -> None:
    with store.create("g", session_id="s", labels={"user": "42"}) as session:
        first = session.checkpoint("step").checkpoint_id
        session.state.labels["stage"] = "two"
        session.checkpoint("step")
    store.fork("s", checkpoint_id=first, new_id="from-first")
    store.fork("s", new_id="from-latest")
    for name in ("from-first", "from-latest"):
        assert store.load(name).labels == {"user": "42", "stage": "two"}


def test_labels_alone_keep_no_checkpoint_of_what_they_change_nothing_of(store: Store) -> None:
    with store.create("g", session_id="s", labels={"user": "1"}) as session:
        session.checkpoint("step", node="one")
        session.state.labels["user"] = "2"
        session.save()
    store.resume("s", checkpoint_id=store.checkpoints("s")[0].checkpoint_id).release()
    kinds = [item.checkpoint_type for item in store.checkpoints("s")]
    assert "before_resume" not in kinds


def test_an_edit_of_labels_alone_does_not_move_where_a_resume_goes_on(store: Store) -> None:
    with store.create("g", session_id="s") as session:
        session.state.data_buffer["at"] = "the checkpoint"
        kept = session.checkpoint("step").checkpoint_id
        session.state.data_buffer["at"] = "a later save"
        session.fail("its own failure")
    with store.edit("s") as session:
        session.state.labels["user"] = "42"
    assert store.load("s").labels == {"user": "42"}
    assert store.load("s").latest_checkpoint_id == kept
    with store.resume("s") as session:
        assert session.state.data_buffer == {"at": "the checkpoint"}
        assert session.state.labels == {"user": "42"}


def test_an_edit_of_labels_and_data_is_what_a_resume_sees(store: Store) -> None:
    with store.create("g", session_id="s") as session:
        session.checkpoint("step")
    for turn in range(2):
        with store.edit("s") as session:
            session.state.labels["turn"] = str(turn)
            session.state.data_buffer["turn"] = turn
    with store.edit("s") as session:
        session.state.labels["turn"] = "labels alone, on an edit that nobody has resumed"
    kinds = [item.checkpoint_type for item in store.checkpoints("s")]
    assert kinds == ["step", "edit"]
    with store.resume("s") as session:
        assert session.state.data_buffer == {"turn": 1}


def test_a_session_without_a_checkpoint_goes_on_with_its_labels(store: Store) -> None:
    store.create("g", session_id="s").pause()
    with store.edit("s") as session:
        session.state.labels["user"] = "42"
    with store.resume("s") as session:
        assert session.state.labels == {"user": "42"}


def test_a_state_that_is_assigned_whole_keeps_the_labels_unless_it_has_its_own(
    store: Store,
) -> None:
    def another(**labels: str) -> SessionState:
        run = {"goal_id": "g", "status": "running", "started_at": "2020-01-25T12:00:00"}
        state = SessionState.from_legacy_run(run, "s")
        state.labels.update(labels)
        return state

    with store.create("g", session_id="s", labels={"user": "42"}) as session:
        before = session.state
        session.state = another()
        assert session.state.labels == {"user": "42"}
        session.state.labels["user"] = "43"
        assert before.labels == {"user": "42"}
        session.state = another(stage="two")
        assert session.state.labels == {"stage": "two"}
        cleared = another()
        cleared.labels = {}
        session.state = cleared
        assert session.state.labels == {}


@pytest.mark.parametrize(
    "labels", [["user"], "user=42", {"user": 42}, {7: "x"}, {"user": None}, {"user": "\ud800"}]
)
def test_a_filter_that_is_no_dict_of_text_is_refused(store: Store, labels: Any) -> None:
    for ask in (store.find, store.iter_find, store.count, store.resume_interrupted):
        with pytest.raises(InvalidQuery) as refused:
            ask(labels=labels)
        assert refused.value.parameter == "labels"
