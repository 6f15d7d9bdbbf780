"""Appends of a claimed session that something comes in between."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import pytest

from sessionstore import DurabilityUncertain, SessionStore
from sessionstore.durable import append


def test_a_key_whose_append_was_interrupted_after_the_write_adds_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(file: io.FileIO, data: memoryview, at: int) -> int:
        os.pwrite(file.fileno(), data, at)
        raise KeyboardInterrupt

    with SessionStore(tmp_path) as store, store.create("triage") as session:
        journal = session.journal()
        journal.append("first", key="a")
        with monkeypatch.context() as patch:
            patch.setattr(append, "_write_some", interrupt)
            with pytest.raises(KeyboardInterrupt):
                journal.append("second", key="b")
        assert journal.append("second", key="b") == 2
        assert [record.value for record in journal] == ["first", "second"]


def test_after_a_failed_flush_the_journal_is_written_anew_under_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "lost")

    with SessionStore(tmp_path) as store, store.create("triage") as session:
        journal = session.journal()
        journal.append("first")
        file = session.directory / "journals" / "main.jsonl"
        before = file.stat().st_ino
        with monkeypatch.context() as patch:
            patch.setattr(append, "_flush_data", fail)
            with pytest.raises(DurabilityUncertain):
                journal.append("second", key="b")
        assert file.stat().st_ino == before
        assert journal.append("second", key="b") == 2
        assert journal.append("third") == 3
        assert file.stat().st_ino != before
        assert [record.value for record in journal] == ["first", "second", "third"]


def test_a_pause_after_an_append_keeps_a_checkpoint_that_goes_back_to_it(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    with store.create("goal", session_id="s1") as session:
        before = session.checkpoint("before")
        session.journal().append("said")
        after = session.pause()
    assert before.checkpoint_id != after.checkpoint_id
    fork = store.fork("s1")
    assert [record.value for record in store.journal(fork)] == ["said"]
    with store.resume("s1") as session:
        session.journal().append("more")
        kept = session.checkpoint("more")
        assert session.pause() == kept  # nothing was appended since
