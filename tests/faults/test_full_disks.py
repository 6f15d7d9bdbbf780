"""Disks without space or inodes, read-only mounts, size limits: reading and letting go go on."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from sessionstore import FilesBackend, Session, SessionState, SessionStore, StorageError
from sessionstore.testing.harness import leave
from tests.faults.support.images import Image, Unavailable, image, memory, read_only
from tests.faults.support.operations import is_free
from tests.faults.support.tally import tally
from tests.support.index import assert_true, index_files
from tests.support.processes import leftovers, needs_root, read_state, state_path

Break = Callable[[Path, ExitStack], int]
"""Break a file system until the stack is closed; return the errno that it answers with then."""


def fill_bytes(path: Path, stack: ExitStack) -> int:
    filler = path / "filler"
    stack.callback(filler.unlink)
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)
    assert os.statvfs(path).f_bavail == 0
    return errno.ENOSPC


def fill_inodes(path: Path, stack: ExitStack) -> int:
    filler = path / "filler"
    filler.mkdir()
    number = 0
    with suppress(OSError):
        while True:
            (filler / str(number)).touch()
            number += 1

    def empty() -> None:
        for name in filler.iterdir():
            name.unlink()
        filler.rmdir()

    stack.callback(empty)
    assert os.statvfs(path).f_ffree == 0
    return errno.ENOSPC


def limit_files(path: Path, stack: ExitStack) -> int:
    """As ``prlimit --fsize`` does; Python ignores SIGXFSZ, so the write fails with EFBIG."""
    assert signal.getsignal(signal.SIGXFSZ) is signal.SIG_IGN
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    stack.callback(resource.setrlimit, resource.RLIMIT_FSIZE, (soft, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (900, hard))
    return errno.EFBIG


def remount(path: Path, stack: ExitStack) -> int:
    # A descriptor that is open for writing, such as a lock's, would forbid it (EBUSY); a disk
    # that fails becomes read-only all the same. So the claims of these tests come later.
    stack.enter_context(read_only(path))
    return errno.EROFS


FULL = pytest.mark.parametrize("ways", [fill_bytes, fill_inodes, limit_files])


@contextmanager
def disk(size: str = "256k", nr_inodes: int = 60) -> Iterator[Path]:
    try:
        with memory(size=size, nr_inodes=nr_inodes) as path:
            yield path
    except Unavailable as reason:
        pytest.skip(str(reason))


def prove(path: Path, code: int) -> None:
    """Fail unless the file system refuses a new file of 4 KB just as the test needs it."""
    probe = path / "probe"
    try:
        with pytest.raises(OSError, match=r"space|large") as refused:
            write_twice(probe)
        assert refused.value.errno == code
    finally:
        with suppress(OSError):
            probe.unlink()


def write_twice(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for _ in range(2):  # a size limit lets the first one through in part
            file.write(b"\0" * 4096)


def everything_but_writing_goes_on(store: SessionStore, root: Path, known: set[str]) -> None:
    assert {item.session_id for item in store.find(limit=None).items} == known
    for session_id in known:
        state = read_state(root, session_id)
        assert store.load(session_id).revision == state["revision"]
        assert store.liveness(session_id).reason
        for checkpoint in store.checkpoints(session_id):
            assert store.load_checkpoint(session_id, checkpoint.checkpoint_id).session_id
    assert [item.session_id for item in store.recover(dry_run=True).damaged] == []


def refuses(write: Callable[[], object], code: int) -> None:
    with pytest.raises(StorageError) as refused:
        write()
    cause = refused.value.__cause__
    assert isinstance(cause, OSError)
    assert cause.errno == code


@needs_root("it mounts a file system of a fixed size")
@FULL
@pytest.mark.parametrize("durability", ["power", "process"])
def test_a_full_disk_refuses_saves_and_loses_nothing(ways: Break, durability: str) -> None:
    with disk() as mounted:
        root = mounted / "store"
        store = SessionStore(root, durability="power" if durability == "power" else "process")
        store.create("goal", session_id="other").pause()
        session = store.create("goal", session_id="s1")
        session.state.data_buffer["text"] = "x" * 3000
        session.checkpoint()
        before = state_path(root, "s1").read_bytes()
        with ExitStack() as broken:
            code = ways(mounted, broken)
            prove(mounted, code)
            session.state.data_buffer["text"] = "y" * 9000
            attempts: list[Callable[[], object]] = [
                session.save,
                session.checkpoint,
                session.complete,
                lambda: store.create("goal", session_id="new", input_data={"text": "z" * 3000}),
            ]
            for attempt in attempts:
                refuses(attempt, code)
                assert state_path(root, "s1").read_bytes() == before
                assert leftovers(root) == []
            assert not store.exists("new")
            everything_but_writing_goes_on(store, root, {"other", "s1"})
            assert store.liveness("s1").is_alive
            elsewhere = store.claim("other")  # its lock file is there already
            elsewhere.release()
        assert session.save() == json.loads(before)["revision"] + 1
        assert read_state(root, "s1")["data_buffer"]["text"] == "y" * 9000
        session.complete()
        store.create("goal", session_id="new").pause()
        tally("full or read-only file systems", promise=3, cases=len(attempts))


@needs_root("it mounts a file system of a fixed size")
@FULL
def test_a_session_is_let_go_though_its_last_write_finds_no_space(ways: Break) -> None:
    with disk() as mounted:
        root = mounted / "store"
        store = SessionStore(root)
        session = store.create("goal", session_id="s1")
        session.checkpoint()
        with ExitStack() as broken:
            code = ways(mounted, broken)
            prove(mounted, code)
            session.state.data_buffer["text"] = "y" * 9000

            def leave() -> None:
                with session:
                    pass

            refuses(leave, code)
            assert session.is_released
            assert is_free(root, "s1"), "nobody holds the lock any more"
            # Whoever takes it over records first how it was left, for which there is no space.
            refuses(lambda: store.claim("s1", force=True), code)
            assert is_free(root, "s1")
            assert read_state(root, "s1")["revision"] == session.revision
        with store.resume("s1", force=True, again=True) as resumed:
            resumed.complete()
        tally("full or read-only file systems", promise=3, cases=1)


def release_without_writing(session: Session[SessionState]) -> None:
    with suppress(StorageError):
        session.release()
    assert session.is_released


@needs_root("it mounts a file system of a fixed size")
@pytest.mark.parametrize("ways", [fill_bytes, fill_inodes])
def test_deleting_frees_a_full_disk(ways: Break) -> None:
    with disk() as mounted:
        root = mounted / "store"
        store = SessionStore(root)
        for name in ("s1", "s2"):
            with store.create("goal", session_id=name) as session:
                session.state.data_buffer["text"] = "x" * 9000
                session.pause()
        with ExitStack() as broken:
            prove(mounted, ways(mounted, broken))
            store.delete("s1")
            assert not store.exists("s1")
            assert list((root / "trash").iterdir()) == []
            with store.claim("s2") as session:  # what was freed can be used at once
                session.save()
        tally("full or read-only file systems", promise=9, cases=1)


@needs_root("it mounts a file system of a fixed size")
@pytest.mark.parametrize("ways", [fill_bytes, fill_inodes])
@pytest.mark.parametrize("is_open", [False, True])
def test_an_index_that_finds_no_space_is_never_untrue(ways: Break, is_open: bool) -> None:
    with disk(size="1m", nr_inodes=100) as mounted:
        root = mounted / "store"
        store = SessionStore(root)
        for name in ("s1", "s2"):
            with store.create("g1", session_id=name) as session:
                session.pause()
        assert store.count(status="paused") == 2
        assert index_files(root)
        if not is_open:
            store.close()  # so that the next one needs a new log
        claimed = store.claim("s1")
        with ExitStack() as broken:
            prove(mounted, ways(mounted, broken))
            claimed.state.goal_id = "moved"
            with suppress(StorageError):  # what the index took may do for one save
                claimed.save()
            # A second name of the lock file takes no bytes; here, unlike elsewhere, an inode.
            assert bool(index_files(root)) == (ways is fill_bytes)
            for reader in (store, SessionStore(root)):
                assert_true(reader)
            with suppress(StorageError):
                claimed.fail("no space")
            release_without_writing(claimed)
            assert_true(store)
        store.claim("s1", force=True).complete()
        assert_true(store)
        assert store.count(status="paused") == 1
        store.close()
        tally("full or read-only file systems", promise=10, cases=1)


@needs_root("it mounts a file system")
def test_a_read_only_store_is_read_listed_and_judged() -> None:
    with disk() as mounted:
        root = mounted / "store"
        store = SessionStore(root)
        for name in ("s1", "s2"):
            with store.create("goal", session_id=name) as session:
                session.checkpoint()
                session.pause()
        before = state_path(root, "s1").read_bytes()
        with ExitStack() as broken:
            code = remount(mounted, broken)
            prove_read_only(mounted, code)
            for reader in (store, SessionStore(root), SessionStore(root, create=False)):
                everything_but_writing_goes_on(reader, root, {"s1", "s2"})
                attempts: list[Callable[[], object]] = [
                    lambda: reader.claim("s1"),  # noqa: B023 - called at once
                    lambda: reader.resume("s1"),  # noqa: B023 - called at once
                    lambda: reader.delete("s1"),  # noqa: B023 - called at once
                    lambda: reader.create("goal", session_id="new"),  # noqa: B023 - called at once
                ]
                for attempt in attempts:
                    refuses(attempt, code)
                assert reader.recover().swept == ()
        assert state_path(root, "s1").read_bytes() == before
        with store.resume("s1") as session:
            session.complete()
        tally("full or read-only file systems", promise=3, cases=3 * len(attempts))


@needs_root("it mounts a file system")
@pytest.mark.parametrize("ways", ["release", "pause", "leave"])
def test_what_is_held_is_let_go_on_a_disk_that_became_read_only(ways: str) -> None:
    try:
        with image("ext4") as made:
            let_go_read_only(made, ways)
    except Unavailable as reason:
        pytest.skip(str(reason))
    tally("full or read-only file systems", promise=3, cases=1)


def let_go_read_only(made: Image, ways: str) -> None:
    root = made.path / "store"
    with SessionStore(root) as store:
        session = store.create("goal", session_id="s1")
        session.checkpoint()
        before = state_path(root, "s1").read_bytes()
        made.become_read_only()
        prove_read_only(made.path, errno.EROFS)
        refuses(session.save, errno.EROFS)
        assert store.liveness("s1").is_alive
        endings: dict[str, Callable[[], object]] = {
            "release": session.release,
            "pause": session.pause,
            "leave": lambda: leave(session),
        }
        refuses(endings[ways], errno.EROFS)
        if ways == "pause":  # the end could not be written: who called it may try again
            assert not session.is_released
            release_without_writing(session)
        assert session.is_released
        assert not FilesBackend(root).probe("s1").held
        everything_but_writing_goes_on(store, root, {"s1"})
        assert state_path(root, "s1").read_bytes() == before
    made.boot()  # nothing is open any more, else it could not be unmounted
    assert state_path(root, "s1").read_bytes() == before
    with SessionStore(root) as store, store.resume("s1", force=True) as resumed:
        resumed.complete()


def prove_read_only(mounted: Path, code: int) -> None:
    with pytest.raises(OSError, match="probe") as refused:
        (mounted / "probe").touch()
    assert refused.value.errno == code
