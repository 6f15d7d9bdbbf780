"""Do something as another user, in a forked child that has no way back."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from sessionstore import RetentionPolicy, SessionStore, diagnose

ALICE, BOB, TEAM = 61234, 61235, 61555


@cache
def _load_everything() -> None:
    """Import what a store imports late: the other user may be unable to read this checkout."""
    with tempfile.TemporaryDirectory() as place, SessionStore(f"{place}/s") as store:
        with store.create("goal", session_id="s1") as session:
            session.checkpoint("n")
        store.resume("s1").complete()
        store.find()
        store.recover()
        store.check(repair=True)
        store.explain("s1")
        store.prune(RetentionPolicy(keep_last=0), apply=True)
        diagnose(place)


def as_user(uid: int, work: Callable[[], object], *, gid: int | None = None) -> str:
    """Return what ``work`` returns, as text, or the error that it raises: ``StorageError: …``."""
    _load_everything()
    answer, question = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(uid if gid is None else gid)
            os.setuid(uid)
            said = str(work())
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(question, said.encode()[:4000])
        os._exit(0)
    os.close(question)
    with os.fdopen(answer, "rb") as file:
        said = file.read().decode()
    os.waitpid(pid, 0)
    return said


@contextmanager
def common_ground() -> Iterator[Path]:
    """A directory that other users can reach: pytest keeps its own closed to them."""
    # Not in the directory that the tests use for temporary files, which pytest closes to others.
    path = Path(tempfile.mkdtemp(prefix="sessionstore-users-", dir="/tmp"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def place_of(ground: Path, uid: int, gid: int, mode: int) -> Path:
    """Return the root of a store to be, on common ground."""
    root = ground / "root"
    root.mkdir()
    os.chown(root, uid, gid)
    root.chmod(mode)
    return root
