"""Check and repair of sessions: what is restored, what goes into quarantine, who is left alone."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import stat
from pathlib import Path
from typing import Any

import pytest

import sessionstore.storage.files.checkpoint_file as checkpoint_file
from sessionstore import AsyncSessionStore, CheckReport, FindingKind, SessionStore
from sessionstore.durable import directory, replace
from sessionstore.durable.directory import Directory
from sessionstore.operations.check import session as check_session
from tests.faults.support.tally import tally
from tests.support.checks import TEMPORARY, check, leave, only, quarantine_entry, repair
from tests.support.cli import hashes
from tests.support.foreign_stores import ForeignStore, each_store
from tests.support.processes import (
    Child,
    edit_state,
    needs_linux,
    new_session,
    read_state,
    session_path,
    state_path,
    tree,
)

# --- states and checkpoints ----------------------------------------------------------------------


def test_a_damaged_state_lies_in_quarantine_byte_by_byte(tmp_path: Path) -> None:
    new_session(tmp_path)
    torn = state_path(tmp_path, "s1").read_bytes()[:50]
    state_path(tmp_path, "s1").unlink()  # its bytes are the checkpoint's, too
    state_path(tmp_path, "s1").write_bytes(torn)
    state_path(tmp_path, "s1").chmod(0o600)
    repair(tmp_path)
    assert (quarantine_entry(tmp_path) / "state.json").read_bytes() == torn
    assert read_state(tmp_path, "s1")["status"] == "paused"


def test_damage_that_a_checkpoint_shares_is_put_aside_twice(tmp_path: Path) -> None:
    with SessionStore(tmp_path).create("g", session_id="s1") as session:
        session.state.data_buffer["done"] = 1
        older = session.checkpoint("older").checkpoint_id
        newest = session.pause(node="ask").checkpoint_id
    kept = session_path(tmp_path, "s1") / "checkpoints"
    assert (kept / f"{newest}.json").stat().st_ino == state_path(tmp_path, "s1").stat().st_ino
    state_path(tmp_path, "s1").write_bytes(b"")  # in place, as jq does
    report = check(tmp_path, repair=True)
    assert [str(item.kind) for item in report.findings] == ["damaged_state", "damaged_checkpoint"]
    assert not report.has_damage
    assert [path.name for path in kept.iterdir()] == [f"{older}.json"]
    state = read_state(tmp_path, "s1")
    assert (state["latest_checkpoint_id"], state["data_buffer"]) == (older, {"done": 1})
    assert len(list((tmp_path / "quarantine").iterdir())) == 2
    assert check(tmp_path, repair=True).findings == ()


def test_a_session_is_put_aside_whole_with_the_applications_files(tmp_path: Path) -> None:
    SessionStore(tmp_path).create("goal", session_id="s1").complete()  # which keeps no checkpoint
    state_path(tmp_path, "s1").write_bytes(b"{")
    (session_path(tmp_path, "s1") / "notes.txt").write_text("the application's")
    finding = repair(tmp_path)
    assert "Invalid JSON" in finding.detail
    assert (quarantine_entry(tmp_path) / "session" / "notes.txt").read_text() == "the application's"
    assert list((tmp_path / "locks").iterdir()) == []
    assert list((tmp_path / "sessions").iterdir()) == []


def test_a_missing_state_is_restored(tmp_path: Path) -> None:
    new_session(tmp_path)
    state_path(tmp_path, "s1").unlink()
    repair(tmp_path)
    assert read_state(tmp_path, "s1")["status"] == "paused"
    assert not (tmp_path / "quarantine").exists()


@needs_linux("FIFOs and links")
@pytest.mark.parametrize(
    ("place", "kind"),
    [
        (place, kind)
        for place in ("state.json", "checkpoint", "checkpoints", "session", "lock")
        for kind in ("FIFO", "link", "directory")
        if kind != "directory" or place not in ("checkpoints", "session")  # it belongs there
    ],
)
def test_something_else_in_a_files_place_is_put_aside_and_never_followed(
    tmp_path: Path, kind: str, place: str
) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    new_session(root)
    (kept,) = (session_path(root, "s1") / "checkpoints").iterdir()
    path = {
        "state.json": state_path(root, "s1"),
        "checkpoint": kept,
        "checkpoints": kept.parent,
        "session": session_path(root, "s1"),
        "lock": root / "locks" / "s1.lock",
    }[place]
    outside.mkdir()
    (outside / "precious").write_text("precious")
    shutil.move(path, outside / "moved")
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(outside)
    else:
        path.mkdir(0o700)
    before = tree(outside)
    report = check(root, repair=True)
    if (kind, place) == ("FIFO", "session"):
        assert only(report).kind is FindingKind.WRONG_ID  # nobody ever took it for a session
        assert stat.S_ISFIFO(path.lstat().st_mode)
        return
    assert report.findings
    assert all(item.is_repaired for item in report.findings), report.findings
    assert any(item.is_damage for item in report.findings)
    assert check(root, repair=True).findings == ()
    assert tree(outside) == before
    assert any((root / "quarantine").iterdir())
    if place != "session":
        assert SessionStore(root).load("s1").goal_id == "goal"


def test_a_repair_that_the_disk_refuses_leaves_all_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_session(tmp_path)
    new_session(tmp_path, "s2", checkpoint=False)
    for name in ("s1", "s2"):
        state_path(tmp_path, name).unlink()
        state_path(tmp_path, name).write_bytes(b"{")
        state_path(tmp_path, name).chmod(0o600)
    refused: list[str] = []

    def refuse(*_: object, **__: object) -> directory.Signature:
        refused.append("write")
        raise OSError(28, "No space left on device")

    store = SessionStore(tmp_path)
    store.create("g", session_id="s3").complete()  # it need not write its marker any more
    sessions = tree(tmp_path / "sessions")
    with monkeypatch.context() as patch:
        patch.setattr(replace, "write_file", refuse)
        report = store.check(repair=True)
    assert len(refused) == 2
    assert report.has_damage
    assert ["No space left" in item.repair for item in report.findings] == [True, True]
    assert tree(tmp_path / "sessions") == sessions
    assert list((tmp_path / "quarantine").iterdir()) == []
    assert not check(tmp_path, repair=True).has_damage


def test_a_store_that_cannot_be_written_is_checked_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_session(tmp_path)
    state_path(tmp_path, "s1").unlink()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(replace, "write_file", refuse)
    report = check(tmp_path, repair=True)
    assert only(report).kind is FindingKind.DAMAGED_STATE
    assert "Read-only" in only(report).repair
    assert report.has_damage


STEPS: list[tuple[object, str]] = [
    (Directory, "flush"),
    (Directory, "link"),
    (Directory, "unlink"),
    (Directory, "make_directory"),
    (replace, "write_file"),
    (replace, "_rename_with_flags"),
]
"""Everything by which a repair changes a store."""


def killed_before(step: int, root: Path) -> bool:
    """Repair in a forked child that is killed before that step; return whether it came so far."""
    pid = os.fork()
    if pid == 0:
        try:
            with pytest.MonkeyPatch.context() as patch:
                count = 0

                def counted(place: object, name: str) -> None:
                    original = getattr(place, name)

                    def work(*args: Any, **options: Any) -> Any:
                        nonlocal count
                        count += 1
                        if count == step:
                            os.kill(os.getpid(), signal.SIGKILL)
                        return original(*args, **options)

                    patch.setattr(place, name, work)

                for place, name in STEPS:
                    counted(place, name)
                check(root, repair=True)
        finally:
            os._exit(0)
    return os.waitpid(pid, 0)[1] == signal.SIGKILL


@needs_linux("fork and SIGKILL")
@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_a_repair_that_is_killed_before_any_step_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    torn = b'{"torn": '
    monkeypatch.setattr(check_session, "_SETTLING", 0.0)
    if not links:
        monkeypatch.setattr(checkpoint_file, "linked", lambda *_: False)
    for step in range(1, 100):
        root = tmp_path / str(step)
        new_session(root)
        SessionStore(root).create("goal", session_id="s2").complete()  # without a checkpoint
        for name in ("s1", "s2"):
            state_path(root, name).unlink()
            state_path(root, name).write_bytes(torn)
        leave(session_path(root, "s1") / "checkpoints" / "bad.json", torn)
        whole = json.dumps(read_state_of(root) | {"incarnation": "another"}).encode()
        leave(session_path(root, "s1") / TEMPORARY, whole)
        killed = killed_before(step, root)
        assert not check(root, repair=True).has_damage
        assert check(root, repair=True).findings == ()
        assert read_state(root, "s1")["status"] == "paused"
        kept = {path.read_bytes() for path in (root / "quarantine").rglob("*") if path.is_file()}
        assert {torn, whole} <= kept
        names = {path.name for path in (root / "quarantine").rglob("*")}
        assert {"state.json", "session", "leftover", "checkpoint.json"} <= names
        if not killed:
            assert step > 20, "too few steps: the kill did not come"
            tally("kill points", promise=10, cases=step - 1)
            return
    pytest.fail("it was killed to the end")


def read_state_of(root: Path) -> dict[str, Any]:
    """Return the state in the one sound checkpoint of s1."""
    (kept,) = (session_path(root, "s1") / "checkpoints").glob("cp_*.json")
    state: dict[str, Any] = json.loads(kept.read_bytes())
    return state


# --- others at work ------------------------------------------------------------------------------


def test_what_another_process_holds_is_reported_and_not_touched(tmp_path: Path) -> None:
    with Child("act", tmp_path) as holder:
        holder.hear()
        holder.ask("create", session_id="s1", checkpoint=True)
        edit_state(tmp_path, "s1", latest_checkpoint_id="gone")
        leave(session_path(tmp_path, "s1") / TEMPORARY, b"{")
        before = tree(tmp_path / "sessions")
        finding = only(check(tmp_path, repair=True))
        assert finding.kind is FindingKind.DANGLING_CHECKPOINT
        assert f"pid {holder.pid}" in finding.repair
        assert not finding.is_repaired
        assert tree(tmp_path / "sessions") == before


def test_an_owner_that_gave_the_session_back_is_in_nobodys_way(tmp_path: Path) -> None:
    with Child("act", tmp_path) as holder:
        holder.hear()
        holder.ask("create", session_id="s1", checkpoint=True)
        holder.ask("release")
        (kept,) = (session_path(tmp_path, "s1") / "checkpoints").iterdir()
        assert json.loads(kept.read_bytes())["status"] == "active"  # the state when it was kept
        state_path(tmp_path, "s1").unlink()
        assert not check(tmp_path, repair=True).has_damage  # while that process still lives
        state = read_state(tmp_path, "s1")
        assert state["status"] == "failed"
        assert "its process had released it" in state["result"]["error"]
        assert state["recovery"] is None, "it did not die: no worker is to run it again"


def test_an_owner_that_was_killed_leaves_a_session_that_workers_take_up(tmp_path: Path) -> None:
    with Child("act", tmp_path) as holder:
        holder.hear()
        holder.ask("create", session_id="s1", checkpoint=True)
        holder.kill()
    state_path(tmp_path, "s1").unlink()  # nothing is left that could say how it ended
    assert not check(tmp_path, repair=True).has_damage
    (item,) = SessionStore(tmp_path).find(interrupted=True, resumable=True)
    assert item.recoveries == 1
    assert "died" in (item.error or "")


# --- real inputs ---------------------------------------------------------------------------------


@each_store
def test_a_store_of_the_original_framework_is_mended(foreign: ForeignStore, tmp_path: Path) -> None:
    root = foreign.copy_to(tmp_path / "hive")
    bad, torn = foreign.damaged, foreign.torn_checkpoints
    before = hashes(root)
    report = check(root)
    assert hashes(root) == before
    found: dict[FindingKind, set[str | None]] = {}
    for item in report.findings:
        found.setdefault(item.kind, set()).add(item.session_id)
    expected: dict[FindingKind, frozenset[str]] = {
        FindingKind.DAMAGED_STATE: bad,
        FindingKind.DOUBLED_KEYS: foreign.doubled,
        FindingKind.ACTIVE_WITHOUT_OWNER: foreign.without_pid,
        FindingKind.DAMAGED_CHECKPOINT: torn,
        FindingKind.DANGLING_CHECKPOINT: torn,
    }
    assert found == {kind: ids for kind, ids in expected.items() if ids}
    assert report.has_damage
    sound = {path.name for path in (root / "sessions").iterdir()} - bad
    data = {name: read_state(root, name) for name in sound}
    assert not check(root, repair=True).has_damage
    assert {path.name for path in (root / "sessions").iterdir()} == sound
    for name in sound:
        after = read_state(root, name)
        for key in ("status", "data_buffer", "progress", "result", "input_data", "goal_id"):
            assert after.get(key) == data[name].get(key)
    after_repair = hashes(root)
    for name, digest in before.items():
        if name.split("/")[1] not in bad | torn | foreign.doubled:
            assert after_repair[name] == digest
    places = {path.name.partition(".")[0]: path for path in (root / "quarantine").iterdir()}
    assert set(places) == bad | torn
    for name, place in places.items():
        assert json.loads((place / "reason.json").read_bytes())["session_id"] == name
        kept = set(hashes(place).values())
        if name in bad:
            assert hashes(place)["session/state.json"] == before[f"sessions/{name}/state.json"]
        else:
            latest = data[name]["latest_checkpoint_id"]
            assert before[f"sessions/{name}/checkpoints/{latest}.json"] in kept
    again = check(root, repair=True)
    assert [item.kind for item in again.findings] == [FindingKind.ACTIVE_WITHOUT_OWNER]
    assert not again.has_damage
    assert hashes(root) == after_repair


def test_the_awaited_check_is_the_same(tmp_path: Path) -> None:
    new_session(tmp_path)
    state_path(tmp_path, "s1").unlink()

    async def both() -> tuple[CheckReport, CheckReport]:
        async with AsyncSessionStore(tmp_path) as store:
            return await store.check(repair=True), await store.check()

    first, second = asyncio.run(both())
    assert first.findings[0].is_repaired
    assert second.findings == ()
