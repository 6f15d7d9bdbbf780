"""Forks have the journals that their checkpoint saw, in each kind of place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sessionstore import MemoryBackend, SessionCorrupt, SessionState, SessionStore
from sessionstore.durable import replace
from tests.support.processes import session_path

Store = SessionStore[SessionState]


@pytest.fixture(params=["files", "memory"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Store:
    return SessionStore(tmp_path if request.param == "files" else MemoryBackend())


def records(store: Store, session_id: str, name: str = "main") -> list[Any]:
    """Return numbers, times, keys and values."""
    return [(one.number, one.at, one.key, one.value) for one in store.journal(session_id, name)]


def values(store: Store, session_id: str, name: str = "main") -> list[Any]:
    return [one.value for one in store.journal(session_id, name)]


def test_a_fork_has_the_records_up_to_its_checkpoint(store: Store) -> None:
    with store.create("goal", session_id="s1") as session:
        session.journal().append("one", "two", key="k")
        first = session.checkpoint("step").checkpoint_id
        at_first = records(store, "s1")
        session.journal().append("three")
        session.journal("later").append(1)
        session.checkpoint("step")
        session.journal().append("four")
        store.fork("s1", checkpoint_id=first, new_id="f1")
        store.fork("s1", new_id="f2")
        session.complete()
    assert records(store, "f1") == at_first
    assert store.load("f1").journals.keys() == {"main"}
    assert values(store, "f2") == ["one", "two", "three"]
    assert values(store, "f2", "later") == [1]
    assert values(store, "s1") == ["one", "two", "three", "four"]
    assert not store.check().findings


def test_a_fork_goes_its_own_way_and_keeps_the_keys(store: Store) -> None:
    with store.create("goal", session_id="s1") as session:
        kept = session.journal().append({"a": [1, 2.5, None]}, key="k")
        session.checkpoint("step")
        session.complete()
    store.fork("s1", new_id="f1")
    with store.resume("f1") as session:
        assert session.journal().append("again", key="k") == kept
        session.journal().append("of the fork")
        fork_checkpoint = session.checkpoint("more").checkpoint_id
        session.journal().append("later")
    assert values(store, "s1") == [{"a": [1, 2.5, None]}]
    assert values(store, "f1") == [{"a": [1, 2.5, None]}, "of the fork", "later"]
    first = store.checkpoints("f1")[0].checkpoint_id
    for checkpoint_id, expected in ((fork_checkpoint, 2), (first, 1)):
        with store.resume("f1", checkpoint_id=checkpoint_id) as session:
            assert session.journal().count() == expected
            session.pause()


def test_a_fork_has_not_what_a_way_back_or_a_rewrite_had_left_behind(store: Store) -> None:
    with store.create("goal", session_id="s1") as session:
        session.journal().append("one")
        back = session.checkpoint("step").checkpoint_id
        session.journal().append("lost")
        session.checkpoint("step")
    with store.resume("s1", checkpoint_id=back) as session:
        # The journal has no line of the way back yet.
        before = session.checkpoint("step").checkpoint_id
        store.fork("s1", new_id="f1")
        session.journal().append("two")
        rewound = session.checkpoint("step").checkpoint_id
        session.journal().rewrite(["new"])
        session.checkpoint("step")
        store.fork("s1", checkpoint_id=before, new_id="f2")
        store.fork("s1", checkpoint_id=rewound, new_id="f3")
        store.fork("s1", new_id="f4")
        session.complete()
    assert values(store, "f1") == values(store, "f2") == ["one"]
    assert values(store, "f3") == ["one", "two"]
    assert values(store, "f4") == ["new"]
    for fork in ("f1", "f2", "f3", "f4"):
        everything = store.journal(fork).read(everything=True)
        assert [one.value for one in everything] == values(store, fork)


def test_a_fork_without_a_checkpoint_has_what_counts_now(store: Store) -> None:
    with store.create("goal", session_id="s1") as session:
        session.save()
        session.journal().append("one")
        session.journal().append("two", key="k")
        store.fork("s1", new_id="f1")
        expected = records(store, "s1")
        session.complete()
    assert records(store, "f1") == expected
    with store.resume("f1") as session:
        assert session.journal().append("again", key="k") == 2
        assert session.journal().append("three") == 3
        session.complete()
    with store.resume("f1", checkpoint_id=store.checkpoints("f1")[0].checkpoint_id, again=True):
        assert values(store, "f1") == ["one", "two"]


def test_a_checkpoint_that_was_made_before_a_way_back_was_written_goes_back_as_far(
    store: Store,
) -> None:
    with store.create("goal", session_id="s1") as session:
        session.journal().append("one")
        back = session.checkpoint("step").checkpoint_id
        session.journal().append("lost")
        session.checkpoint("step")
    with store.resume("s1", checkpoint_id=back) as session:
        before = session.checkpoint("step").checkpoint_id
        session.journal().append("two")
        session.checkpoint("step")
    with store.resume("s1", checkpoint_id=before) as session:
        assert [one.value for one in session.journal()] == ["one"]
        session.complete()


def test_a_fork_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SessionStore(tmp_path)
    with store.create("goal", session_id="s1") as session:
        session.journal().append("one")
        session.checkpoint("step")
        session.complete()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(replace, "move_new", refuse)
    with pytest.raises(OSError, match="No space"):
        store.fork("s1", new_id="f1")
    monkeypatch.undo()
    assert not store.exists("f1")
    assert not list((tmp_path / "trash").iterdir())


def test_a_fork_of_a_damaged_journal_is_refused_unless_the_damage_came_later(
    tmp_path: Path,
) -> None:
    store = SessionStore(tmp_path)
    with store.create("goal", session_id="s1") as session:
        session.journal().append("one")
        first = session.checkpoint("step").checkpoint_id
        session.journal().append("two")
        session.journal().append("three")
        session.checkpoint("step")
        session.complete()
    file = session_path(tmp_path, "s1") / "journals" / "main.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"two"', b'"TWO"'))
    with pytest.raises(SessionCorrupt, match="line 2 is damaged"):
        store.fork("s1", new_id="f1")
    store.fork("s1", checkpoint_id=first, new_id="f2")
    assert values(store, "f2") == ["one"]
    assert not store.exists("f1")


def test_a_fork_goes_into_a_directory_that_the_application_made(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    with store.create("goal", session_id="s1") as session:
        session.journal().append("one")
        session.checkpoint("step")
        session.complete()
    session_path(tmp_path, "f1").mkdir()
    (session_path(tmp_path, "f1") / "mine").touch()
    store.fork("s1", new_id="f1")
    assert values(store, "f1") == ["one"]
    assert (session_path(tmp_path, "f1") / "mine").exists()


def test_a_delete_takes_the_journals_along(store: Store) -> None:
    with store.create("goal", session_id="s1") as session:
        session.journal().append("one")
        session.complete()
    store.delete("s1")
    with store.create("goal", session_id="s1") as session:
        assert session.journal().append("another") == 1
        session.complete()
    assert values(store, "s1") == ["another"]


def test_a_checkpoint_counts_what_others_appended_before_and_did_not_save(store: Store) -> None:
    with store.create("goal", session_id="s1") as session:
        session.journal().append("one")
        session.checkpoint("step")
    with store.edit("s1") as session:
        session.journal().append("from the web")  # the state is not written
        session.journal("other").append("too")
    with store.resume("s1") as session:  # by somebody who looks at no journal
        checkpoint_id = session.checkpoint("step").checkpoint_id
        session.pause()
    store.fork("s1", new_id="f1")
    assert values(store, "f1") == values(store, "s1") == ["one", "from the web"]
    assert values(store, "f1", "other") == ["too"]
    with store.resume("s1", checkpoint_id=checkpoint_id) as session:
        assert values(store, "s1") == ["one", "from the web"]
        session.complete()
