"""Versions with indexes of different formats take turns: each index stays, and stays true."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sessionstore import SessionStore
from sessionstore.storage.files.index import database, index_directory
from sessionstore.storage.files.index.lookup import Listing
from tests.support.index import assert_true
from tests.support.processes import new_session, state_path


@pytest.fixture
def version(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """What makes this process one of another version."""

    def become(number: int) -> None:
        for module in (index_directory, database):
            monkeypatch.setattr(module, "FORMAT", number)

    return become


def indexes(root: Path) -> list[str]:
    return sorted(name for name in os.listdir(root) if name.startswith("index-"))


def test_versions_that_take_turns_compare_the_store_once_each(
    tmp_path: Path, version: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        new_session(tmp_path, f"s{number}")
    caplog.set_level(logging.DEBUG, "sessionstore")
    for number in (1, 2, 1, 2, 1, 2):
        version(number)
        with SessionStore(tmp_path) as store:
            assert store.count() == 3
    events = [getattr(record, "event", "") for record in caplog.records]
    assert events.count("index_compared") == 2
    assert "index_removed" not in events
    assert len(indexes(tmp_path)) == 2


def test_what_one_version_writes_the_other_lists_without_a_comparison(
    tmp_path: Path, version: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    new_session(tmp_path, "first")
    for number in (1, 2):
        version(number)
        SessionStore(tmp_path).count()
    before = indexes(tmp_path)
    caplog.set_level(logging.DEBUG, "sessionstore")
    for turn in range(6):
        version(1 + turn % 2)
        with SessionStore(tmp_path) as store:
            store.create("goal", session_id=f"s{turn}").complete()
            with store.claim("first") as session:
                session.state.data_buffer["turn"] = turn
                session.save()
        version(2 - turn % 2)
        with SessionStore(tmp_path) as store:
            assert store.count() == turn + 2
            assert store.find(limit=1, order="-updated_at").items[0].session_id == "first"
            assert_true(store)
    with SessionStore(tmp_path) as store:
        store.delete("s0")
    version(1)
    assert SessionStore(tmp_path).count() == 6
    assert "index_compared" not in [getattr(record, "event", "") for record in caplog.records]
    assert indexes(tmp_path) == before


@pytest.mark.parametrize(("days", "stays"), [(29, True), (31, False)])
def test_an_index_that_no_version_uses_any_more_is_swept_after_a_month(
    tmp_path: Path, version: Callable[[int], None], days: int, stays: bool
) -> None:
    new_session(tmp_path, "s1")
    for number in (1, 2):
        version(number)
        with SessionStore(tmp_path) as store:
            store.count()
    for name in indexes(tmp_path):  # both are as old: that of this version stays
        for path in (tmp_path / name, *(tmp_path / name).glob("rows.sqlite*")):
            then = time.time() - days * 86400
            os.utime(path, (then, then))
    with SessionStore(tmp_path) as store:
        store.recover()
        kept = [name.startswith("index-2-") for name in indexes(tmp_path)]
        assert kept == ([False, True] if stays else [True])
        assert store.count() == 1
        assert store.check().findings == ()


# --- a database that fails again while a listing mends it ---------------------------------------


@pytest.mark.parametrize("error", [sqlite3.OperationalError("disk"), database.Unusable("gone")])
def test_a_failure_while_a_listing_is_mended_is_never_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Something changed a file, and the database fails in the comparison that follows."""
    for number in range(4):
        new_session(tmp_path, f"s{number}")
    store = SessionStore(tmp_path)
    assert store.count() == 4
    text = state_path(tmp_path, "s2").read_text()
    state_path(tmp_path, "s2").unlink()
    state_path(tmp_path, "s2").write_text(text.replace('"paused"', '"failed"'))

    def compare(*_: object) -> Any:
        raise error

    monkeypatch.setattr(Listing, "compare_after_change", compare)
    found = {item.session_id: item.status for item in store.find(order="session_id")}
    assert sorted(found) == ["s0", "s1", "s2", "s3"]
    assert found["s2"] == "failed"


def test_an_index_that_cannot_be_made_anew_in_the_middle_of_a_listing_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        new_session(tmp_path, f"s{number}")
    store = SessionStore(tmp_path)
    items = store.iter_find(order="session_id")
    seen = [next(items).session_id]

    def broken(*_: object) -> Any:
        raise sqlite3.DatabaseError("malformed")

    monkeypatch.setattr(Listing, "start_anew", broken)
    monkeypatch.setattr(database.Database, "rows", broken)
    seen += [item.session_id for item in items]
    assert seen == ["s0", "s1", "s2", "s3"]
