"""How an index is made: what it says of a state, and what others do while it is made."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sessionstore import SessionOwner, SessionRecovery, SessionState, SessionStore
from sessionstore.durable.directory import Signature
from sessionstore.errors import SessionCorrupt
from sessionstore.model import codec
from sessionstore.model.summary import summarize
from sessionstore.storage.files.index import index, rebuild, schema
from sessionstore.storage.files.index.index import Index
from sessionstore.storage.files.index.observation import SessionObserver
from tests.support.index import assert_true, fill, index_files, live, remove_index, row
from tests.support.processes import edit_state, left_active, state_path

Store = SessionStore[SessionState]
SIGNATURE = Signature(1, 2, 3)


# --- what it says of a state --------------------------------------------------------------------


def full_state() -> dict[str, Any]:
    """Return a state in which everything is set, and much of it is not ours."""
    held_by = SessionOwner(host="h", pid=7, token="t", theirs={"a": [1]})  # type: ignore[call-arg]  # as other software adds it
    state = SessionState.model_validate(
        {
            "session_id": "s",
            "goal_id": "g",
            "agent_id": "ä\U0001f600",
            "status": "failed",
            "timestamps": {
                "started_at": "2026-01-01T00:00:00",
                "updated_at": "whenever",
                "completed_at": "2026-01-01T00:00:01+02:00",
                "theirs": 1,
            },
            "progress": {"current_node": "n", "paused_at": "p", "steps_executed": 3, "path": ["n"]},
            "result": {"success": False, "error": "died", "output": {"x": 1}},
            "data_buffer": {"deep": [{"a": {"b": None}}]},
            "problems": [{"p": 1}],
            "trigger_tasks": {"t": "x"},
            "checkpoint_enabled": True,
            "latest_checkpoint_id": "cp",
            "revision": 4,
            "incarnation": "i",
            "pid": 7,
            "forked_from": {"session_id": "parent", "revision": 3},
            "theirs": {"kept": True},
        }
    )
    state.owner = held_by
    state.recovery = SessionRecovery(count=2, at="then", reason="died", owner=held_by)
    dumped: dict[str, Any] = json.loads(codec.encode(state))
    return dumped


def variants() -> dict[str, bytes]:
    """Return states that differ from the full one in one value, and others, by what they are."""
    found: dict[str, bytes] = {}
    junk: list[object] = [
        None,
        True,
        0,
        7,
        1.5,
        2.0,
        "",
        "text",
        "7",
        [],
        ["a"],
        [{}],
        {},
        {"a": 1},
        10**30,
    ]
    full = full_state()
    for name in full:
        found[f"without {name}"] = json.dumps({k: v for k, v in full.items() if k != name}).encode()
        for value in junk:
            found[f"{name}={value!r}"] = json.dumps({**full, name: value}).encode()
        if isinstance(full[name], dict):
            for inner in full[name]:
                rest = {k: v for k, v in full[name].items() if k != inner}
                found[f"without {name}.{inner}"] = json.dumps({**full, name: rest}).encode()
                for value in junk:
                    changed = {**full, name: {**rest, inner: value}}
                    found[f"{name}.{inner}={value!r}"] = json.dumps(changed).encode()
    renamed = {("memory" if k == "data_buffer" else k): v for k, v in full.items()}
    text = json.dumps(full)
    found |= {
        "as it is": text.encode(),
        "active": json.dumps({**full, "status": "active"}).encode(),
        "active, without an owner": json.dumps(
            {**full, "status": "active", "owner": None}
        ).encode(),
        "the old name of the data": json.dumps(renamed).encode(),
        "both names, one wrong": json.dumps({**full, "memory": 1}).encode(),
        "twice the same key": (text[:-1] + ', "goal_id": "last", "revision": 9}').encode(),
        "twice, one wrong": (text[:-1] + ', "goal_id": 1}').encode(),
        "of schema 1.0": json.dumps(
            {
                "session_id": "s",
                "goal_id": "g",
                "timestamps": {"started_at": "", "updated_at": ""},
                "status": "paused",
            }
        ).encode(),
        "of another session": json.dumps({**full, "session_id": "t"}).encode(),
        "a lone surrogate": text.replace('"then"', '"\\ud800"').encode(),
        "not a number": text.replace('"pid": 7', '"pid": NaN').encode(),
        "nested too deep": text.replace('"kept": true', '"k": ' + "[" * 500 + "]" * 500).encode(),
        "a byte order mark": b"\xef\xbb\xbf" + text.encode(),
        "bytes after it": text.encode() + b"x",
        "cut off": text.encode()[:-1],
        "no UTF-8": text.encode("utf-8").replace(b'"then"', b'"\xff"'),
        "a list": b"[]",
        "empty": b"",
        "long": json.dumps({**full, "goal_id": "x" * 9000}).encode(),
        "an error too long for a row": json.dumps(
            {**full, "result": {"error": "x" * 9000}}
        ).encode(),
    }
    return found


def test_a_row_keeps_what_a_listing_shows() -> None:
    kept = 0
    for what, payload in variants().items():
        try:
            state = codec.decode(payload, SessionState, "s", "file")
        except SessionCorrupt:
            continue
        item = summarize(state)
        row = schema.row_of(state, SIGNATURE)
        assert (row.id, row.signature) == ("s", tuple(SIGNATURE))
        found = schema.summary_of(row)
        if found is None:
            assert "long" in what
            continue
        assert found == item, what
        kept += 1
    assert kept > 100


# --- what others do meanwhile -------------------------------------------------------------------


def while_one_is_read(
    monkeypatch: pytest.MonkeyPatch, name: str, session_id: str, do: Callable[[], object]
) -> None:
    """Have ``do`` done once, after a rebuild has looked at a session."""
    real = getattr(SessionObserver, name)
    done: list[object] = []

    def look(self: SessionObserver, looked_at: str, **given: Any) -> Any:
        found = real(self, looked_at, **given)
        if looked_at == session_id and not done:
            done.append(None)
            do()
        return found

    monkeypatch.setattr(SessionObserver, name, look)


@pytest.mark.parametrize("by_itself", [False, True])
def test_who_is_deleted_while_it_is_compared_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_itself: bool
) -> None:
    fill(tmp_path)
    store = SessionStore(tmp_path)
    other = store if by_itself else SessionStore(tmp_path)
    while_one_is_read(monkeypatch, "read", "s3", lambda: other.delete("s3"))
    assert store.count() == 7
    assert row(tmp_path, "s3") is None
    assert_true(store)


def test_who_is_claimed_while_it_is_compared_stays_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)
    store, other = SessionStore(tmp_path), SessionStore(tmp_path)
    held = []

    def claim() -> None:
        session = other.claim("s3")
        session.state.goal_id = "first"
        session.save()
        held.append(session)

    while_one_is_read(monkeypatch, "read", "s3", claim)
    assert store.count(goal_id="first") == 1
    held[0].state.goal_id = "second"
    held[0].save()
    assert store.count(goal_id="second") == 1
    held[0].release()
    assert_true(store)


def test_one_that_is_held_stays_live_though_it_is_not_active(tmp_path: Path) -> None:
    fill(tmp_path)
    with SessionStore(tmp_path).claim("s3") as session:
        session.save()  # there is no index to tell
        store = SessionStore(tmp_path)
        assert store.count(goal_id="g0") == 3
        session.state.goal_id = "moved"
        session.save()
        assert store.count(goal_id="moved") == 1


def test_a_row_too_many_is_found_though_the_number_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)
    store, other = SessionStore(tmp_path), SessionStore(tmp_path)
    store.find()
    shutil.rmtree(tmp_path / "sessions/s0")  # by somebody else: its row stays
    while_one_is_read(monkeypatch, "signature", "s3", lambda: other.delete("s3"))
    assert store.count() == 6
    assert_true(store)


@pytest.mark.parametrize("is_damaged", [False, True])
def test_an_index_that_is_replaced_while_it_is_made_does_not_count_as_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_damaged: bool
) -> None:
    fill(tmp_path)
    monkeypatch.setattr(rebuild, "_BATCH", 2)
    store, other = SessionStore(tmp_path), SessionStore(tmp_path)

    def replace() -> None:
        remove_index(tmp_path)
        if not is_damaged:
            other.claim("s0").release()
            Index(other._backend._layout).open()  # type: ignore[attr-defined]  # that of files

    while_one_is_read(monkeypatch, "read", "s5", replace)
    assert store.count() == 8
    for file in index_files(tmp_path):
        connection = sqlite3.connect(file)
        facts = dict(connection.execute("SELECT name, value FROM facts"))
        (counted,) = connection.execute("SELECT COUNT(*) FROM sessions").fetchone()
        connection.close()
        assert facts.get("complete") != "1" or counted == 8
    assert SessionStore(tmp_path).count() == 8
    assert_true(store)


def test_a_comparison_does_not_end_one_that_began_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)
    store, other = SessionStore(tmp_path), SessionStore(tmp_path)
    store.find()
    looking = Index(other._backend._layout)  # type: ignore[attr-defined]  # that of files

    def begin() -> None:
        shutil.copytree(tmp_path / "sessions/s0", tmp_path / "sessions/by-hand")
        edit_state(tmp_path, "by-hand", session_id="by-hand")
        looking.begin_comparison(looking.open())  # and it is killed

    while_one_is_read(monkeypatch, "signature", "s3", begin)
    store.find(verify=True)
    assert other.count() == 9
    looking.close()


# --- a sweep ------------------------------------------------------------------------------------


def test_what_a_sweep_marked_it_folds_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)
    stale = [left_active(tmp_path, f"a{number}") for number in range(5)]
    store = SessionStore(tmp_path, durability="process")
    store.find()
    together: list[list[str]] = []
    real = index.store

    def folding(connection: Any, rows: list[schema.Row], gone: list[str]) -> None:
        ids = [row.id for row in rows]
        assert live(tmp_path) >= set(ids), "it is folded, but this process may still die"
        together.append(ids)
        real(connection, rows, gone)

    monkeypatch.setattr(index, "store", folding)
    assert len(store.recover().swept) == 5
    store.close()
    assert together == [stale[:1], stale[1:]], "the first one at once"
    for session_id in stale:
        found = row(tmp_path, session_id)
        assert found is not None
        assert found["status"] == "failed"
        assert found["inode"] == os.stat(state_path(tmp_path, session_id)).st_ino
    assert live(tmp_path) == set()
    assert_true(store)


def test_what_is_resumed_in_the_middle_of_a_sweep_stays_live(
    tmp_path: Path,
) -> None:
    fill(tmp_path)
    for number in range(3):
        left_active(tmp_path, f"a{number}")
    store, other = SessionStore(tmp_path, durability="process"), SessionStore(tmp_path)
    store.find()
    held = []

    def progress(done: int, _: int) -> None:
        if done == 2:
            held.append(other.claim("a0"))
            held[0].state.goal_id = "gone on with"
            held[0].save()

    assert len(store.recover(progress=progress).swept) == 3
    held[0].state.goal_id = "and on"
    held[0].save()
    assert store.count(goal_id="and on") == 1
    held[0].release()
    assert_true(store)
