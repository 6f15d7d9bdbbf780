"""Links, special files and ids that could lead out of a store are refused everywhere."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sessionstore import (
    InvalidSessionId,
    SessionCorrupt,
    SessionNotFound,
    SessionStore,
    SessionStoreError,
    StorageError,
    diagnose,
)
from tests.support.processes import (
    leftovers,
    needs_linux,
    new_session,
    session_path,
    state_path,
    tree,
)

# --- links and special files --------------------------------------------------------------------

SPECIAL = ["link", "dangling link", "link to a directory", "FIFO", "directory", "file"]


def put(kind: str, path: Path, outside: Path) -> None:
    """Put something else in the place of ``path``."""
    outside.mkdir()
    if path.is_dir():
        shutil.move(path, outside / "moved")
    elif path.exists():
        path.rename(outside / "moved")
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "file":
        path.write_text("a file")
    elif kind == "dangling link":
        path.symlink_to(outside / "nothing")
    elif kind == "link":
        path.symlink_to(outside / "moved")
    else:
        path.symlink_to(outside)


@needs_linux("FIFOs and links")
@pytest.mark.parametrize("kind", [kind for kind in SPECIAL if kind != "file"])
def test_something_else_in_place_of_the_state_is_damage(tmp_path: Path, kind: str) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    new_session(root)
    new_session(root, "sound")
    put(kind, state_path(root, "s1"), outside)
    before = tree(outside)
    store = SessionStore(root)
    for refused in (store.load, store.claim, store.resume, store.liveness):
        with pytest.raises(SessionCorrupt) as caught:
            refused("s1")
        assert caught.value.file == str(state_path(root, "s1"))
    items = {item.session_id: item.damaged for item in store.find().items}
    assert items["sound"] is None
    assert items["s1"]
    assert [item.session_id for item in store.recover().damaged] == ["s1"]
    assert tree(outside) == before


@needs_linux("FIFOs and links")
@pytest.mark.parametrize("kind", SPECIAL)
def test_something_else_in_place_of_a_session_is_never_entered(tmp_path: Path, kind: str) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    new_session(root)
    put(kind, session_path(root, "s1"), outside)
    before = tree(outside)
    store = SessionStore(root)
    for refused in (store.load, store.claim, store.resume, store.liveness, store.delete):
        with pytest.raises((SessionCorrupt, SessionNotFound)):
            refused("s1")
    store.recover()
    assert tree(outside) == before
    assert leftovers(root) == []


@needs_linux("FIFOs and links")
@pytest.mark.parametrize("kind", [kind for kind in SPECIAL if kind != "directory"])
def test_something_else_in_place_of_the_checkpoints_is_refused(tmp_path: Path, kind: str) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    new_session(root)
    put(kind, session_path(root, "s1") / "checkpoints", outside)
    before = tree(outside)
    store = SessionStore(root)
    with pytest.raises(SessionStoreError):
        store.resume("s1")
    with store.claim("s1") as session:
        with pytest.raises(StorageError):
            session.checkpoint()
        assert session.save() == 3  # the state itself is sound
    assert [item.session_id for item in store.find(resumable=True).items] == []
    assert tree(outside) == before
    assert leftovers(root) == []


@needs_linux("FIFOs and links")
@pytest.mark.parametrize("kind", [kind for kind in SPECIAL if kind != "file"])
def test_something_else_in_place_of_a_lock_file_is_refused(tmp_path: Path, kind: str) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    new_session(root)
    put(kind, root / "locks" / "s1.lock", outside)
    before = tree(outside)
    store = SessionStore(root)
    for refused in (store.claim, store.resume, store.delete):
        with pytest.raises(StorageError):
            refused("s1")
    assert store.load("s1").revision == 2
    assert tree(outside) == before


# --- links in the place of a directory of the store ----------------------------------------------


def link_away(root: Path, part: str, outside: Path) -> None:
    """Move a part of a store elsewhere, and leave a link to it."""
    outside.mkdir()
    shutil.move(root / part, outside / "moved")
    (root / part).symlink_to(outside / "moved")


@needs_linux("links")
@pytest.mark.parametrize("part", ["sessions", "locks"])
@pytest.mark.parametrize("is_open", [True, False], ids=["while it is open", "before it is opened"])
def test_a_linked_part_of_a_store_is_refused_by_every_operation_in_the_same_words(
    tmp_path: Path, part: str, is_open: bool
) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    new_session(root)
    store = SessionStore(root)
    if is_open:
        store.load("s1")
        store.find()
        store.claim("s1").release()
    link_away(root, part, outside)
    before = tree(outside)
    if not is_open:
        store = SessionStore(root)
    calls: list[Callable[[], object]] = [
        lambda: store.claim("s1"),
        lambda: store.resume("s1"),
        lambda: store.delete("s1"),
        lambda: store.mark("s1", "failed", reason="test"),
        lambda: store.create("goal", session_id="s2"),
        lambda: store.create_or_resume("s1", "goal"),
        store.find,
        store.count,
        store.stats,
        store.recover,
        lambda: store.liveness("s1"),
        lambda: store.explain("s1"),
    ]
    if part == "sessions":
        calls += [
            lambda: store.load("s1"),
            lambda: store.exists("s1"),
            lambda: store.checkpoints("s1"),
            lambda: store.load_checkpoint("s1"),
            lambda: store.history("s1"),
            lambda: list(store.iter_find()),
        ]
    for call in calls:
        with pytest.raises(StorageError, match="links inside a store are not followed") as caught:
            call()
        assert "make the root itself the link, or bind-mount" in str(caught.value)
    assert tree(outside) == before


@needs_linux("links")
@pytest.mark.parametrize("part", ["sessions", "locks", "trash", "quarantine"])
def test_doctor_and_fsck_know_a_linked_part(tmp_path: Path, part: str) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    new_session(root)
    (root / "quarantine").mkdir(exist_ok=True)
    link_away(root, part, outside)
    before = tree(outside)
    (found,) = [item for item in diagnose(root) if item.check == "links"]
    assert found.fitness == "fail"
    assert f"/{part} is a symbolic link" in found.detail
    for repair in (False, True):
        findings = SessionStore(root).check(repair=repair).findings
        assert [item.file for item in findings if "not followed" in item.detail] == [
            str(root / part)
        ]
    assert tree(outside) == before


@needs_linux("links")
def test_without_its_trash_nothing_is_created_or_deleted(tmp_path: Path) -> None:
    root = tmp_path / "root"
    new_session(root)
    link_away(root, "trash", tmp_path / "outside")
    store = SessionStore(root)
    for call in (lambda: store.create("goal"), lambda: store.delete("s1")):
        with pytest.raises(StorageError, match="links inside a store are not followed"):
            call()
    assert store.load("s1").revision == 2
    assert os.listdir(tmp_path / "outside" / "moved") == []


@needs_linux("links")
def test_a_root_that_is_a_link_is_followed_and_resolved_once(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("real")
    with SessionStore(tmp_path / "link").create("goal", session_id="s1") as session:
        session.checkpoint("node")
        (tmp_path / "link").unlink()
        session.complete()
    assert SessionStore(tmp_path / "real").load("s1").revision == 3
    (tmp_path / "link").symlink_to("real")
    assert not [item for item in diagnose(tmp_path / "link") if item.fitness == "fail"]


IDS = ["", ".", "..", "../s1", "a/b", "/etc", "a\\b", "a\0b", ".new-1", "con", "NUL.txt", "x." * 2]


@pytest.mark.parametrize("name", [*IDS, "a" * 129, "ü", "a\n", "-a"])
def test_an_id_that_could_leave_the_root_is_refused_everywhere(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    new_session(root)
    before = tree(tmp_path)
    store = SessionStore(root)
    calls: list[Callable[[], object]] = [
        lambda: store.create("goal", session_id=name),
        lambda: store.claim(name),
        lambda: store.resume(name),
        lambda: store.resume("s1", checkpoint_id=name),
        lambda: store.load(name),
        lambda: store.exists(name),
        lambda: store.liveness(name),
        lambda: store.checkpoints(name),
        lambda: store.load_checkpoint(name),
        lambda: store.load_checkpoint("s1", name),
        lambda: store.delete(name),
        lambda: store.recover(assume_dead=[name]),
    ]
    for call in calls:
        with pytest.raises(InvalidSessionId):
            call()
    assert tree(tmp_path) == before
