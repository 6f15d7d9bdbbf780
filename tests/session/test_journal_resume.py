"""What a resume that goes back keeps of the journals."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessionstore import SessionStore
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
