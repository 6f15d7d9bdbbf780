"""Left-over files: one rule says which may be data, for a claim and for a check of the store."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import pytest

from sessionstore import FindingKind, SessionCorrupt, SessionStore
from tests.support.processes import (
    leftovers,
    needs_linux,
    new_session,
    read_state,
    session_path,
    state_path,
)

NAME = ".new-0123456789abcdef"


def claim_once(root: Path) -> None:
    with suppress(SessionCorrupt):
        SessionStore(root).claim("s1").release()


def quarantined(root: Path) -> list[bytes]:
    return [path.read_bytes() for path in root.glob("quarantine/*/leftover")]


@pytest.mark.parametrize("where", ["", "checkpoints"])
@pytest.mark.parametrize(
    ("changes", "seconds_after", "claim_keeps", "check_keeps"),
    [
        pytest.param({}, 1, False, False, id="the stored state"),
        pytest.param({"revision": 1}, -1, False, False, id="the state before"),
        pytest.param({"revision": 3}, 1, False, True, id="a save that was never reported"),
        pytest.param({"revision": 4}, 1, False, True, id="a save that a power cut took"),
        pytest.param({"revision": 1}, 1, True, True, id="an older one, written later"),
        pytest.param({"goal_id": "another"}, -1, True, True, id="another one of this revision"),
        pytest.param({"incarnation": None}, -1, True, True, id="one of other software"),
        pytest.param({"incarnation": "x"}, -1, True, True, id="one of another session"),
        pytest.param({"revision": 3, "incarnation": None}, 1, True, True, id="a next foreign one"),
        pytest.param({"status": "asleep"}, -1, True, True, id="no sound state"),
    ],
)
def test_a_claim_and_a_check_agree_on_what_may_be_data(
    tmp_path: Path,
    where: str,
    changes: dict[str, object],
    seconds_after: int,
    claim_keeps: bool,
    check_keeps: bool,
) -> None:
    new_session(tmp_path)
    payload = state_path(tmp_path, "s1").read_bytes()
    if changes:
        payload = json.dumps(read_state(tmp_path, "s1") | changes).encode()
    path = session_path(tmp_path, "s1") / where / NAME

    def leave() -> None:
        path.write_bytes(payload)
        path.chmod(0o600)
        written = state_path(tmp_path, "s1").stat().st_mtime + seconds_after
        os.utime(path, (written, written))

    leave()
    claim_once(tmp_path)
    assert path.exists() is claim_keeps
    leave()
    (finding,) = SessionStore(tmp_path).check(repair=True).findings
    assert (finding.kind, finding.is_repaired) == (FindingKind.LEFTOVER, True)
    assert quarantined(tmp_path) == [payload] * check_keeps
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("payload", [b"", b'{"torn', b"\0" * 100], ids=["empty", "torn", "zeros"])
def test_what_was_never_whole_is_removed(tmp_path: Path, payload: bytes) -> None:
    new_session(tmp_path)
    (session_path(tmp_path, "s1") / NAME).write_bytes(payload)
    claim_once(tmp_path)
    assert leftovers(tmp_path) == []


def test_beside_a_damaged_state_a_claim_keeps_every_whole_one(tmp_path: Path) -> None:
    new_session(tmp_path)
    path = session_path(tmp_path, "s1") / NAME
    path.write_bytes(state_path(tmp_path, "s1").read_bytes())
    state_path(tmp_path, "s1").unlink()
    state_path(tmp_path, "s1").write_bytes(b"torn")
    claim_once(tmp_path)
    assert path.exists()


@needs_linux("links")
@pytest.mark.parametrize("where", ["", "checkpoints"])
def test_what_is_no_file_is_left_to_a_check(tmp_path: Path, where: str) -> None:
    new_session(tmp_path)
    path = session_path(tmp_path, "s1") / where / NAME
    path.symlink_to("elsewhere")
    claim_once(tmp_path)
    assert path.is_symlink()


@pytest.mark.parametrize("name", [".new-notes", ".new-0123456789abcde", ".new-0123456789ABCDEF"])
def test_a_file_of_the_application_is_none_of_them(tmp_path: Path, name: str) -> None:
    new_session(tmp_path)
    path = session_path(tmp_path, "s1") / name
    path.write_text("the application's")
    claim_once(tmp_path)
    assert path.read_text() == "the application's"
    store = SessionStore(tmp_path)
    assert store.usage("s1").application_bytes > 0
    store.export_sessions(tmp_path / "x.tar.gz")
    assert SessionStore(tmp_path / "to").import_sessions(tmp_path / "x.tar.gz").is_whole
    assert (session_path(tmp_path / "to", "s1") / name).read_text() == "the application's"
