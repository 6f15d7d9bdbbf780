"""A root that others can write to: refused with the reason, or used with a warning."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sessionstore import (
    SessionStore,
    StorageError,
)
from tests.faults.support.hostile import (
    counted,
)
from tests.support.cli import invoke
from tests.support.processes import (
    needs_linux,
    new_session,
    tree,
)

EVERYTHING = os.environ.get("SESSIONSTORE_FAULTS") == "all"


@needs_linux("modes")
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702, 0o772, 0o3777])
@pytest.mark.parametrize("place", ["", "sessions", "locks"])
def test_a_store_that_everybody_can_write_to_is_refused_with_the_reason(
    tmp_path: Path, mode: int, place: str
) -> None:
    root = tmp_path / "root"
    new_session(root)
    before = tree(root)
    opened = SessionStore(root)  # before anybody could
    (root / place).chmod(mode)
    with pytest.raises(StorageError, match="everybody") as caught:
        SessionStore(root)
    assert "chmod o-w" in str(caught.value)
    assert caught.value.path == str(root / place)
    with pytest.raises(StorageError, match="everybody"):
        opened.create("goal")  # its first write
    assert invoke(root, "ls").exit_code == 1
    assert tree(root) == before
    (root / place).chmod(0o700)
    assert SessionStore(root).load("s1").revision == 2
    counted(1, promise=11)


@needs_linux("modes")
def test_an_empty_directory_that_everybody_can_write_to_becomes_no_store(tmp_path: Path) -> None:
    """As when somebody names /tmp itself."""
    place = tmp_path / "shared"
    place.mkdir()
    place.chmod(0o1777)
    with pytest.raises(StorageError, match="everybody"):
        SessionStore(place)
    assert list(place.iterdir()) == []
    with SessionStore(place / "mine").create("goal") as session:  # a directory in it is no harm
        session.complete()
    counted(2, promise=11)


@needs_linux("modes")
@pytest.mark.parametrize("place", ["", "sessions", "locks"])
def test_a_store_that_the_group_can_write_to_works_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    root = tmp_path / "root"
    new_session(root)
    caplog.clear()
    SessionStore(root).load("s1")
    assert caplog.records == []
    (root / place).chmod(0o770)
    store = SessionStore(root)
    store.load("s1")
    with store.claim("s1") as session:
        session.save()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "group" in record.getMessage()
    assert str(root / place) in record.getMessage()
    counted(1, promise=11)
