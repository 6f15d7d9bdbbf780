"""Sessions with what JSON or UTF-8 lacks can be used, and their original bytes are kept."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sessionstore import NotStorable, RevisionConflict, SessionState, SessionStore
from tests.support.cli import GONE
from tests.support.processes import read_state, session_path, state_path

Store = SessionStore[SessionState]
NOW = "2026-01-01T00:00:00"
BAD: dict[str, Any] = {"loss": [[float("inf")], float("nan")], "say\ud83d": "cut \udc00"}
MENDED = {"loss": [[None], None], "say\\ud83d": "cut \\udc00"}


def put(root: Path, session_id: str, **fields: Any) -> bytes:
    """Write a session as the original framework does; return its bytes."""
    file = state_path(root, session_id)
    for place in (root, file.parent.parent, file.parent):
        place.mkdir(exist_ok=True, mode=0o700)
    state = {
        "session_id": session_id,
        "goal_id": "g\ud83d",
        "status": "active",
        "pid": GONE,
        "data_buffer": BAD,
        "timestamps": {"started_at": NOW, "updated_at": NOW},
    }
    text = json.dumps({**state, **fields})
    file.write_text(text)
    file.chmod(0o600)
    return text.encode()


def kept(root: Path) -> list[bytes]:
    return [file.read_bytes() for file in sorted(root.glob("quarantine/*/state.json"))]


def save(store: Store) -> None:
    with store.claim("s1") as session:
        session.save()


def edit(store: Store) -> None:
    with store.edit("s1") as session:
        session.state.data_buffer["edited"] = True


WRITES: dict[str, Callable[[Store], object]] = {
    "recover": lambda store: store.recover(),
    "mark": lambda store: store.mark("s1", "failed", reason="by hand"),
    "cancel": lambda store: store.cancel("s1"),
    "claim": save,
    "resume": lambda store: store.resume("s1").pause(),
    "edit": edit,
    "repair": lambda store: store.check(repair=True),
}


@pytest.mark.parametrize("how", WRITES)
def test_every_write_succeeds_keeps_the_original_and_names_the_values_once(
    tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    original = put(tmp_path, "s1")
    store = SessionStore(tmp_path)
    with caplog.at_level(logging.WARNING, "sessionstore"):
        WRITES[how](store)
        store.mark("s1", "paused", reason="again")
    stored = read_state(tmp_path, "s1")  # strict: json.loads of NaN would show
    assert {name: stored["data_buffer"][name] for name in MENDED} == MENDED
    assert stored["goal_id"] == "g\\ud83d"
    assert kept(tmp_path) == [original]
    (record,) = [item for item in caplog.records if getattr(item, "event", "") == "foreign_values"]
    assert "data_buffer.loss[0][0]: Infinity" in record.getMessage()
    assert str(tmp_path / "quarantine") in record.getMessage()
    (reason,) = tmp_path.glob("quarantine/*/reason.json")
    assert "data_buffer.loss[1]: NaN" in json.loads(reason.read_text())["reason"]


def test_the_sweep_marks_it_and_a_second_sweep_finds_nothing(tmp_path: Path) -> None:
    put(tmp_path, "s1")
    store = SessionStore(tmp_path)
    assert [item.session_id for item in store.recover().swept] == ["s1"]
    assert not store.recover().failed
    assert read_state(tmp_path, "s1")["status"] == "failed"


def test_a_read_changes_nothing_and_the_listing_agrees_with_it(tmp_path: Path) -> None:
    original = put(tmp_path, "s1", status="paused", agent_id="a\ud83d")
    put(tmp_path, "s2", status="paused", agent_id="b")
    store = SessionStore(tmp_path)
    for _ in range(2):  # from the files, and from the index
        (item,) = store.find(agent_id="a\\ud83d")
        state = store.load("s1")
        assert (item.goal_id, item.agent_id) == (state.goal_id, state.agent_id)
        assert state.data_buffer == MENDED
    assert state_path(tmp_path, "s1").read_bytes() == original
    assert not (tmp_path / "quarantine").exists()


def test_a_new_nan_of_the_application_is_still_refused(tmp_path: Path) -> None:
    put(tmp_path, "s1")
    session = SessionStore(tmp_path).resume("s1")
    session.state.data_buffer["loss"][1] = math.nan  # where the foreign one was
    with pytest.raises(NotStorable, match=r"data_buffer\.loss\[1\]: nan cannot be stored as JSON"):
        session.save()
    session.state.data_buffer["loss"][1] = 0.5
    session.complete()


def test_writes_that_fail_keep_the_original_once(tmp_path: Path) -> None:
    put(tmp_path, "s1", status="paused")
    for _ in range(3):
        with SessionStore(tmp_path).claim("s1") as session:
            text = state_path(tmp_path, "s1").read_text()
            state_path(tmp_path, "s1").write_text(text + " ")
            with pytest.raises(RevisionConflict):
                session.save()
            session.release()
            state_path(tmp_path, "s1").write_text(text)
    assert len(kept(tmp_path)) <= 2  # the original, and the one with a space
    SessionStore(tmp_path).mark("s1", "failed", reason="by hand")
    assert len(kept(tmp_path)) <= 2


@pytest.mark.parametrize("foreign", [True, False], ids=["foreign checkpoint", "whole state"])
def test_a_checkpoint_with_them_restores_and_stays_as_it_is(
    tmp_path: Path, foreign: bool, caplog: pytest.LogCaptureFixture
) -> None:
    put(
        tmp_path, "s1", status="failed", data_buffer={}, checkpoint_enabled=True,
        latest_checkpoint_id="cp1",
    )  # fmt: skip
    file = session_path(tmp_path, "s1") / "checkpoints" / "cp1.json"
    file.parent.mkdir(mode=0o700)
    whole = {**json.loads(state_path(tmp_path, "s1").read_text()), "data_buffer": BAD}
    file.write_text(
        json.dumps({"checkpoint_id": "cp1", "shared_memory": BAD} if foreign else whole)
    )
    before = file.read_bytes()
    store = SessionStore(tmp_path)
    assert store.checkpoints("s1")[0].damaged is None
    with caplog.at_level(logging.WARNING, "sessionstore"), store.resume("s1") as session:
        assert session.state.data_buffer == MENDED
        session.complete()
    assert file.read_bytes() == before
    assert any("stays as it is" in item.getMessage() for item in caplog.records)
    assert read_state(tmp_path, "s1")["status"] == "completed"


def test_they_are_forked_exported_and_imported(tmp_path: Path) -> None:
    root, other = tmp_path / "one", tmp_path / "two"
    put(root, "s1", status="paused")
    store = SessionStore(root)
    assert store.load(store.fork("s1", new_id="f1")).data_buffer == MENDED
    report = store.export_sessions(tmp_path / "out.tar.gz", ["s1"])
    assert report.is_whole
    target = SessionStore(other)
    target.import_sessions(tmp_path / "out.tar.gz")
    target.import_sessions(tmp_path / "out.tar.gz", session_id="s2")
    for session_id in ("s1", "s2"):
        assert target.load(session_id).data_buffer == MENDED
        target.resume(session_id).complete()
