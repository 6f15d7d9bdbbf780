"""A damaged marker is a finding like any other, and is only replaced where that is certain."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sessionstore import FindingKind, SessionStore, StorageError, check_store
from sessionstore.cli.errors import Exit
from tests.support.cli import invoke, put, state
from tests.support.processes import new_session, read_state, session_path, tree

DAMAGED = [
    b"",
    b"\0" * 12,
    b'{"for',
    b'{"format"',
    b"[]",
    b"null",
    b"{}",
    b"\xff\xfe",
    b"[" * 60_000,
]


def quarantined(root: Path) -> bytes:
    (place,) = (root / "quarantine").iterdir()
    assert "damaged" in json.loads((place / "reason.json").read_bytes())["reason"]
    return (place / "marker").read_bytes()


@pytest.mark.parametrize("damage", DAMAGED, ids=lambda damage: repr(damage[:12]))
def test_a_damaged_marker_of_ours_is_put_aside_and_written_anew(
    tmp_path: Path, damage: bytes
) -> None:
    new_session(tmp_path)
    marker = tmp_path / "sessionstore.json"
    before = marker.read_bytes()
    marker.write_bytes(damage)
    with pytest.raises(StorageError, match="sessionstore fsck"):
        SessionStore(tmp_path)
    untouched = tree(tmp_path)
    (found,) = check_store(tmp_path).findings
    assert tree(tmp_path) == untouched
    assert (found.kind, found.is_damage, found.file) == (
        FindingKind.DAMAGED_MARKER,
        True,
        str(marker),
    )
    report = check_store(tmp_path, repair=True)
    assert report.checked == 1
    (mended,) = report.findings
    assert mended.is_repaired
    assert marker.read_bytes() == before
    assert quarantined(tmp_path) == damage
    assert check_store(tmp_path, repair=True).findings == ()
    assert SessionStore(tmp_path).load("s1").session_id == "s1"


def test_a_store_that_others_may_write_to_gets_copies_again(tmp_path: Path) -> None:
    put(tmp_path, "theirs", state("theirs"))  # no marker: a store of other software
    with SessionStore(tmp_path).create("g", session_id="ours") as session:
        session.checkpoint("step")
    marker = tmp_path / "sessionstore.json"
    before = json.loads(marker.read_bytes())
    assert before["foreign_writers"]
    marker.write_bytes(b"")
    (mended,) = [item for item in check_store(tmp_path, repair=True).findings if item.is_damage]
    assert "copies" in mended.repair
    assert json.loads(marker.read_bytes()) == before


@pytest.mark.parametrize("odd", ["no locks", "foreign", "another format", "a link"])
def test_one_that_may_not_be_ours_is_left_alone_and_told_what_to_do(
    tmp_path: Path, odd: str
) -> None:
    new_session(tmp_path)
    marker = tmp_path / "sessionstore.json"
    marker.write_bytes(b'{"format": 7, "n' if odd == "another format" else b"{")
    if odd == "no locks":
        (tmp_path / "locks" / "s1.lock").unlink()
        (tmp_path / "locks").rmdir()
    elif odd == "foreign":
        path = session_path(tmp_path, "s1") / "state.json"
        path.write_text(json.dumps(read_state(tmp_path, "s1") | {"incarnation": None}))
    elif odd == "a link":
        (tmp_path / "trash").rmdir()
        (tmp_path / "trash").symlink_to(tmp_path / "locks")
    before = tree(tmp_path)
    for repair in (False, True):
        (found,) = check_store(tmp_path, repair=repair).findings
        assert not found.is_repaired
        assert '{"format": 1}' in found.repair
    assert tree(tmp_path) == before


@pytest.mark.parametrize("version", [2, "1", 1.5, 0])
def test_another_format_stays_refused(tmp_path: Path, version: object) -> None:
    new_session(tmp_path)
    (tmp_path / "sessionstore.json").write_text(json.dumps({"format": version}))
    before = tree(tmp_path)
    with pytest.raises(StorageError, match="upgrade sessionstore"):
        check_store(tmp_path, repair=True)
    assert tree(tmp_path) == before


def test_the_command_finds_and_mends_it(tmp_path: Path) -> None:
    new_session(tmp_path)
    (tmp_path / "sessionstore.json").write_bytes(b"")
    found = invoke(tmp_path, "fsck", "-o", "json")
    assert found.exit_code == Exit.DAMAGE
    assert [item["kind"] for item in json.loads(found.stdout)["findings"]] == ["damaged_marker"]
    assert invoke(tmp_path, "ls").exit_code == Exit.ERROR
    assert invoke(tmp_path, "fsck", "--repair").exit_code == Exit.OK
    assert invoke(tmp_path, "ls", "-o", "ids").stdout == "s1\n"
