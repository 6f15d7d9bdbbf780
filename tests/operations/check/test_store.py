"""Check and repair around the sessions: left-overs, locks, trash, modes and foreign names."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from sessionstore import FindingKind, SessionStore, clock
from sessionstore.process import identity
from sessionstore.storage.files import lock as locks
from tests.support.checks import TEMPORARY, check, leave, only, quarantine_entry, repair
from tests.support.processes import (
    needs_linux,
    new_session,
    read_state,
    session_path,
    state_path,
    tree,
)


@pytest.mark.parametrize("where", ["", "checkpoints"])
def test_a_torn_leftover_is_removed(tmp_path: Path, where: str) -> None:
    new_session(tmp_path)
    left = leave(session_path(tmp_path, "s1") / where / TEMPORARY, b'{"torn')
    finding = repair(tmp_path)
    assert (finding.kind, finding.is_damage) == (FindingKind.LEFTOVER, False)
    assert not left.exists()
    assert not (tmp_path / "quarantine").exists()


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, False),
        ({"revision": 1}, False),
        ({"revision": 2, "goal_id": "another"}, True),
        ({"revision": 3}, True),
        ({"incarnation": "another"}, True),
        ({"incarnation": None}, True),
    ],
)
def test_a_leftover_that_may_be_data_is_put_aside(
    tmp_path: Path, changes: dict[str, object], kept: bool
) -> None:
    new_session(tmp_path)
    payload = state_path(tmp_path, "s1").read_bytes()
    if changes:
        payload = json.dumps(read_state(tmp_path, "s1") | changes).encode()
    left = leave(session_path(tmp_path, "s1") / TEMPORARY, payload)
    if changes == {"revision": 1}:  # the state before, so it was also written before
        os.utime(left, (0, 0))
    state = state_path(tmp_path, "s1").read_bytes()
    repair(tmp_path)
    assert not left.exists()
    if kept:
        assert (quarantine_entry(tmp_path) / "leftover").read_bytes() == payload
    assert (tmp_path / "quarantine").exists() is kept
    assert state_path(tmp_path, "s1").read_bytes() == state


@pytest.mark.parametrize("name", [".new-notes", ".new-0123456789abcde", "state.json.tmp"])
def test_files_of_the_application_are_never_touched(tmp_path: Path, name: str) -> None:
    new_session(tmp_path)
    path = session_path(tmp_path, "s1") / name
    path.write_text("the application's")
    path.chmod(0o644)
    assert check(tmp_path, repair=True).findings == ()
    assert path.read_text() == "the application's"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_session_that_was_being_made_is_removed_unless_its_maker_lives(tmp_path: Path) -> None:
    new_session(tmp_path)
    aside = tmp_path / "trash" / f"{TEMPORARY}-s2"
    shutil.copytree(session_path(tmp_path, "s1"), aside)
    by = identity.new_owner(clock.utc_now())
    lock = locks.acquire(str(tmp_path / "locks" / "s2.lock"), by, timeout=0.0)
    try:
        assert check(tmp_path, repair=True).findings == ()
        assert aside.exists()
    finally:
        lock.remove_file()
        lock.close()
    finding = repair(tmp_path)
    assert (finding.kind, finding.session_id) == (FindingKind.TRASH, "s2")
    assert "making" in finding.detail
    assert not aside.exists()


def test_stray_locks_and_trash_are_removed(tmp_path: Path) -> None:
    new_session(tmp_path)
    leave(tmp_path / "locks" / "gone.lock", b"")
    assert repair(tmp_path).kind is FindingKind.STRAY_LOCK
    shutil.copytree(session_path(tmp_path, "s1"), tmp_path / "trash" / "gone.0123456789abcdef")
    assert repair(tmp_path).kind is FindingKind.TRASH
    assert [path.name for path in (tmp_path / "locks").iterdir()] == ["s1.lock"]
    assert list((tmp_path / "trash").iterdir()) == []
    assert read_state(tmp_path, "s1")["status"] == "paused"


@pytest.mark.parametrize("name", ["notes.txt", "gone.0123456789abcde", ".new-notes", "no id.0"])
def test_what_is_not_ours_in_the_trash_is_never_removed(tmp_path: Path, name: str) -> None:
    new_session(tmp_path)
    foreign = tmp_path / "trash" / name
    foreign.mkdir()
    leave(foreign / "precious", b"precious")
    shutil.copytree(session_path(tmp_path, "s1"), tmp_path / "trash" / "gone.0123456789abcdef")
    SessionStore(tmp_path).recover()  # a sweep empties the trash, too
    for _ in range(2):
        found = [] if name.startswith(".") else [only(check(tmp_path, repair=True))]
        assert all(item.kind is FindingKind.TRASH and not item.is_repaired for item in found)
    assert [path.name for path in (tmp_path / "trash").iterdir()] == [name]
    assert (foreign / "precious").read_bytes() == b"precious"


@needs_linux("links")
def test_trash_that_is_a_link_is_not_emptied_elsewhere(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    new_session(root)
    outside.mkdir()
    (outside / "precious").write_text("precious")
    (root / "trash").rmdir()
    (root / "trash").symlink_to(outside)
    check(root, repair=True)
    assert (outside / "precious").read_text() == "precious"


def test_names_that_are_no_ids_are_reported_and_left_alone(tmp_path: Path) -> None:
    new_session(tmp_path)
    (tmp_path / "sessions" / "no id").mkdir()
    (tmp_path / "sessions" / ".DS_Store").touch()
    before = tree(tmp_path)
    finding = only(check(tmp_path, repair=True))
    assert finding.kind is FindingKind.WRONG_ID
    assert finding.file.endswith("no id")
    assert not finding.is_repaired
    assert tree(tmp_path) == before


@needs_linux("modes")
def test_wrong_modes_are_set_right(tmp_path: Path) -> None:
    new_session(tmp_path)
    wrong = [
        tmp_path / "sessions",
        session_path(tmp_path, "s1"),
        session_path(tmp_path, "s1") / "checkpoints",
    ]
    for path in wrong:
        path.chmod(0o755)
    state_path(tmp_path, "s1").chmod(0o664)
    (tmp_path / "locks" / "s1.lock").chmod(0o666)
    state = state_path(tmp_path, "s1").read_bytes()
    report = check(tmp_path, repair=True)
    assert {item.kind for item in report.findings} == {FindingKind.WRONG_MODE}
    assert all(item.is_repaired for item in report.findings)
    for path in wrong:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in (state_path(tmp_path, "s1"), tmp_path / "locks" / "s1.lock"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert state_path(tmp_path, "s1").read_bytes() == state
    assert check(tmp_path, repair=True).findings == ()
