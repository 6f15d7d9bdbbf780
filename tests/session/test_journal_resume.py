"""What a resume that goes back keeps of the journals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sessionstore import JournalView, SessionState, SessionStore, Step
from sessionstore.testing.harness import leave


def test_records_that_only_the_stored_state_counts_can_be_gone_back_to(tmp_path: Path) -> None:
    """A resume of a named checkpoint keeps that state first, though nothing else differs."""
    store = SessionStore(tmp_path)
    session = store.create("g", session_id="s")
    then = session.checkpoint("step")
    session.journal().append("a", "b")
    with pytest.raises(SystemExit):
        leave(session, SystemExit())  # it keeps no checkpoint
    with store.resume("s", checkpoint_id=then.checkpoint_id) as session:
        assert session.journal().count() == 0
        session.pause()
    (kept,) = [one for one in store.checkpoints("s") if one.checkpoint_type == "before_resume"]
    with store.resume("s", checkpoint_id=kept.checkpoint_id) as session:
        assert [record.value for record in session.journal()] == ["a", "b"]
        session.complete()


def test_a_resume_of_the_latest_keeps_no_state_for_the_sake_of_records(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    session = store.create("g", session_id="s")
    session.checkpoint("step")
    session.journal().append("a")
    with pytest.raises(SystemExit):
        leave(session, SystemExit())  # it keeps no checkpoint
    with store.resume("s") as session:
        assert session.journal().count() == 1
        session.complete()
    assert [one.checkpoint_type for one in store.checkpoints("s")] == ["step"]


def test_what_a_crash_left_unsaved_can_be_gone_back_to(tmp_path: Path) -> None:
    """The checkpoint of a crashed session counts the records that no save told of."""
    _crash(tmp_path, "session.checkpoint('step'); session.journal().append('a', 'b')")
    store = SessionStore(tmp_path)
    (first,) = store.checkpoint_names("s")
    with store.resume("s", checkpoint_id=first) as session:
        assert session.journal().count() == 0
        assert session.state.recovery is not None
        assert session.state.recovery.count == 1
        session.journal().append("c")
        session.pause()
    (kept,) = [one for one in store.checkpoints("s") if one.checkpoint_type == "before_resume"]
    assert [record.value for record in _fork(store, kept.checkpoint_id)] == ["a", "b"]
    with store.resume("s", checkpoint_id=kept.checkpoint_id) as session:
        assert [record.value for record in session.journal()] == ["a", "b"]
        session.complete()
    assert not store.check().findings


def test_steps_that_no_save_told_of_are_replayed_by_what_goes_back_to_them(tmp_path: Path) -> None:
    """Also by a fork, also those that may run at most once."""
    _crash(
        tmp_path,
        "session.step('closed', lambda: 'kept'); session.checkpoint('step')",
        "session.state.data_buffer['n'] = 1; session.save()",
        "session.step('open', lambda: 'kept')",
        "session.step(Step('pay', at_most_once=True), lambda: 'kept')",
    )
    store = SessionStore(tmp_path)
    store.resume("s").pause()  # of the latest, whose state is older than the last save
    (kept,) = [one for one in store.checkpoints("s") if one.checkpoint_type == "before_resume"]
    copy = store.fork("s", checkpoint_id=kept.checkpoint_id, new_id="copy")
    for opened in (store.resume(copy), store.resume("s", checkpoint_id=kept.checkpoint_id)):
        with opened as session:
            assert session.state.data_buffer == {"n": 1}
            assert session.step("closed", lambda: "anew") == "anew"
            assert session.step("open", lambda: "anew") == "kept"
            assert session.step(Step("pay", at_most_once=True), lambda: "anew") == "kept"
            session.complete()


def test_what_an_edit_appended_and_did_not_save_can_be_gone_back_to(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    with store.create("g", session_id="s") as session:
        first = session.pause()
    with store.edit("s") as edited:
        edited.journal().append("a")  # the state is as it was: nothing else is written
    with store.resume("s", checkpoint_id=first.checkpoint_id) as session:
        assert session.journal().count() == 0
        session.pause()
    (kept,) = [one for one in store.checkpoints("s") if one.checkpoint_type == "before_resume"]
    with store.resume("s", checkpoint_id=kept.checkpoint_id) as session:
        assert session.journal().count() == 1
        session.complete()


def _crash(root: Path, *lines: str) -> None:
    """Run the lines on a new session in a process that dies after them."""
    code = "\n".join(
        (
            "import os, sys",
            "from sessionstore import SessionStore, Step",
            "session = SessionStore(sys.argv[1]).create('g', session_id='s')",
            *lines,
            "os._exit(0)",
        )
    )
    subprocess.run([sys.executable, "-c", code, str(root)], check=True)


def _fork(store: SessionStore[SessionState], checkpoint_id: str) -> JournalView:
    return store.journal(store.fork("s", checkpoint_id=checkpoint_id, new_id="copy"))
