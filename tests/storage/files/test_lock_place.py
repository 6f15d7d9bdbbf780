"""A free lock proves nothing through another mount, and a copy of a live store is its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sessionstore import SessionClaimed, SessionStore
from sessionstore.durable import mounts
from tests.support.processes import (
    Child,
    edit_state,
    left_active,
    needs_linux,
    needs_root,
    read_state,
)

NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"]


@pytest.fixture
def mounted() -> Iterator[Callable[..., Path]]:
    """What runs a command that mounts at its last argument, until the test ends."""
    with ExitStack() as stack:

        def run(*command: object) -> Path:
            place = Path(str(command[-1]))
            place.mkdir(exist_ok=True)
            subprocess.run([str(word) for word in command], check=True)
            stack.callback(partial(subprocess.run, ["umount", "--lazy", place], check=True))
            return place

        yield run


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Child]:
    """A process that holds ``s1`` in the store below ``tmp_path``, seen as ``original``."""
    with Child("act", tmp_path / "original") as child:
        child.hear()
        child.ask("create", session_id="s1", checkpoint=True)
        yield child


def kept_out(root: Path) -> None:
    """See that nobody sweeps or takes the session, not even by force."""
    store = SessionStore(root)
    assert store.recover().swept == ()
    with pytest.raises(SessionClaimed):
        store.claim("s1", force=store.liveness("s1").is_alive)
    assert read_state(root, "s1")["status"] == "active"


# --- what the record says -----------------------------------------------------------------------


def test_a_record_names_where_its_lock_lies_from_the_first_state_on(tmp_path: Path) -> None:
    root = tmp_path / "store"
    with SessionStore(root).create("goal", session_id="s1") as session:
        owner = read_state(root, "s1")["owner"]
        assert owner["file_system"] == mounts.kind_of(str(root))
        assert owner["root"] == str(root.resolve())
        assert owner["root_id"] == f"{root.stat().st_dev}:{root.stat().st_ino}"
        assert session.owner.model_dump() == owner
    with SessionStore(root).resume("s1") as session:
        assert session.owner.root_id == owner["root_id"]


def test_a_root_that_is_not_utf_8_is_named_escaped(tmp_path: Path) -> None:
    root = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    with SessionStore(root).create("goal", session_id="s1") as session:
        assert session.owner.root == f"{tmp_path}/caf\\xe9"


# --- two views of one store ---------------------------------------------------------------------


@needs_root("mounts")
def test_a_holder_is_not_dead_through_a_file_system_in_a_process(
    tmp_path: Path, holder: Child, mounted: Callable[..., Path]
) -> None:
    seen = mounted("bindfs", tmp_path / "original", tmp_path / "seen")
    liveness = SessionStore(seen).liveness("s1")
    assert liveness.is_alive
    assert "still runs, and its lock cannot be seen from here" in liveness.reason
    kept_out(seen)
    assert holder.ask("save", step=2) == {"revision": 3}
    holder.crash()
    liveness = SessionStore(seen).liveness("s1")
    assert (liveness.is_dead, liveness.reason) == (True, f"pid {holder.pid} is gone")


@needs_root("mounts, makes a PID namespace")
def test_a_holder_in_another_pid_namespace_is_unknown_through_such_a_file_system(
    tmp_path: Path, mounted: Callable[..., Path]
) -> None:
    with Child("act", tmp_path / "original", wrapper=NAMESPACE) as inside:
        inside.hear()
        inside.ask("create", session_id="s1")
        seen = mounted("bindfs", tmp_path / "original", tmp_path / "seen")
        liveness = SessionStore(seen).liveness("s1")
        assert liveness.is_unknown
        assert "in another PID namespace" in liveness.reason
        kept_out(seen)
        assert inside.ask("save", step=2) == {"revision": 2}
        # The same for an old record, and for a holder that sees the files as we do.
        for kind in (None, mounts.kind_of(str(seen))):
            owner = read_state(seen, "s1")["owner"] | {"file_system": kind}
            edit_state(seen, "s1", owner=owner)
            assert SessionStore(seen).liveness("s1").is_unknown


@needs_root("mounts")
@pytest.mark.parametrize("held", ["upper", "merged"])
def test_an_overlay_and_its_upper_directory_do_not_see_each_others_locks(
    tmp_path: Path, mounted: Callable[..., Path], held: str
) -> None:
    base = mounted("mount", "-t", "tmpfs", "none", tmp_path / "base")  # an overlay wants one
    for name in ("lower", "upper", "work"):
        (base / name).mkdir()
    options = f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work"
    merged = mounted("mount", "-t", "overlay", "overlay", "-o", options, tmp_path / "merged")
    views = {"upper": base / "upper" / "store", "merged": merged / "store"}
    with Child("act", views[held]) as child:
        child.hear()
        child.ask("create", session_id="s1")
        other = views["merged" if held == "upper" else "upper"]
        owner = read_state(other, "s1")["owner"]
        assert owner["file_system"] == ("tmpfs" if held == "upper" else "overlay")
        assert SessionStore(other).liveness("s1").is_alive
        kept_out(other)
        # The same where the process cannot be seen: nothing is known of it.
        edit_state(other, "s1", owner=owner | {"pid_namespace": "pid:[1]"})
        assert SessionStore(other).liveness("s1").is_unknown
        edit_state(other, "s1", owner=owner)
        child.crash()
        assert SessionStore(other).liveness("s1").is_dead


def test_a_record_of_another_kind_of_file_system_takes_the_proof_away_and_an_old_one_does_not(
    tmp_path: Path,
) -> None:
    elsewhere = {"pid": 7, "boot_id": "b", "host": "web7", "token": "0" * 16}
    kinds = {"same": mounts.kind_of(str(tmp_path)), "old": None, "other": "fuse.sshfs"}
    for name, kind in kinds.items():
        left_active(tmp_path, name, owner=elsewhere | {"file_system": kind}, pid=7)
    store = SessionStore(tmp_path)
    report = store.recover()
    assert {item.session_id for item in report.swept} == {"same", "old"}
    assert [item.session_id for item in report.unknown] == ["other"]
    assert "on another host, and its lock cannot be seen" in store.liveness("other").reason


# --- copies -------------------------------------------------------------------------------------


def copied(original: Path, copy: Path) -> Path:
    subprocess.run(["cp", "-a", original, copy], check=True)
    return copy


@needs_linux("cp -a")
@pytest.mark.parametrize("moves", [False, True], ids=["in place", "renamed"])
def test_what_runs_in_the_original_is_dead_in_a_copy_and_can_be_resumed_there(
    tmp_path: Path, holder: Child, *, moves: bool
) -> None:
    original, copy = tmp_path / "original", copied(tmp_path / "original", tmp_path / "copy")
    if moves:
        copy = copy.rename(tmp_path / "copy moved")
    store = SessionStore(copy)
    liveness = store.liveness("s1")
    assert liveness.is_dead
    assert liveness.reason == (
        f"its process runs in another store, {original}, of which this is a copy"
    )
    with store.resume("s1") as session:
        assert session.state.recovery is not None
        assert "of which this is a copy" in session.state.recovery.reason
        session.complete()
    assert holder.ask("save", step=2) == {"revision": 3}
    assert SessionStore(original).liveness("s1").is_alive
    assert read_state(original, "s1")["status"] == "active"


@needs_linux("cp -a")
def test_a_copy_of_a_session_alone_is_a_copy_too(tmp_path: Path, holder: Child) -> None:
    SessionStore(tmp_path / "other").create("goal").release()
    copied(tmp_path / "original/sessions/s1", tmp_path / "other/sessions/s1")
    with SessionStore(tmp_path / "other") as store:
        assert [item.session_id for item in store.recover().swept] == ["s1"]
    assert holder.ask("save", step=2) == {"revision": 3}


def unlocked(root: Path) -> None:
    """Take away the lock file, as cleaners do: now the record alone speaks for its holder."""
    (root / "locks" / "s1.lock").unlink()


@needs_linux("processes that can be looked at")
def test_a_store_that_was_renamed_is_no_copy(tmp_path: Path, holder: Child) -> None:
    moved = (tmp_path / "original").rename(tmp_path / "moved")
    assert SessionStore(moved).liveness("s1").is_alive
    unlocked(moved)
    assert SessionStore(moved).liveness("s1").is_alive
    kept_out(moved)


@needs_linux("processes that can be looked at")
def test_a_copy_that_took_the_place_of_its_original_is_no_other_store(
    tmp_path: Path, holder: Child
) -> None:
    """As a restored backup: nobody can tell what its process still writes to."""
    original = tmp_path / "original"
    copied(original, tmp_path / "copy")
    original.rename(tmp_path / "aside")
    (tmp_path / "copy").rename(original)
    assert SessionStore(original).liveness("s1").is_alive
    kept_out(original)


@needs_root("mounts")
def test_a_store_behind_a_link_or_a_bind_mount_is_no_copy(
    tmp_path: Path, holder: Child, mounted: Callable[..., Path]
) -> None:
    bound = mounted("mount", "--bind", tmp_path / "original", tmp_path / "bound")
    (tmp_path / "link").symlink_to(tmp_path / "original")
    unlocked(tmp_path / "original")
    for seen in (bound, tmp_path / "link"):
        assert "its lock file was replaced" in SessionStore(seen).liveness("s1").reason
        kept_out(seen)


@needs_root("mounts")
def test_a_copy_is_none_where_the_lock_proves_nothing(
    tmp_path: Path, holder: Child, mounted: Callable[..., Path]
) -> None:
    """Through FUSE a directory has another device and inode, and it is the same store."""
    seen = mounted("bindfs", tmp_path / "original", tmp_path / "seen")
    unlocked(tmp_path / "original")
    assert SessionStore(seen).liveness("s1").is_alive
    kept_out(seen)


@needs_linux("processes that can be looked at")
@pytest.mark.parametrize("missing", ["root", "root_id"])
def test_an_old_record_proves_no_copy(tmp_path: Path, holder: Child, missing: str) -> None:
    copy = copied(tmp_path / "original", tmp_path / "copy")
    owner: dict[str, Any] = read_state(copy, "s1")["owner"]
    edit_state(copy, "s1", owner={key: owner[key] for key in owner if key != missing})
    assert SessionStore(copy).liveness("s1").is_alive
    kept_out(copy)
    shutil.rmtree(copy)
