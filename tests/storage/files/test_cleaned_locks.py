"""Lock files that somebody cleans away: programs such as systemd-tmpfiles remove what is old."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionstore import ClaimLost, Session, SessionClaimed, SessionState, SessionStore
from sessionstore.storage.files import lock as locks
from tests.support.processes import Child, needs_linux, needs_root, read_state
from tests.support.users import ALICE, BOB, TEAM, as_user, common_ground, place_of

DAY = 86400.0


@pytest.fixture
def ground() -> Iterator[Path]:
    with common_ground() as path:
        yield path


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Session[SessionState]]:
    session = SessionStore(tmp_path).create("goal", session_id="s1")
    session.checkpoint("n")
    yield session
    session._writer.claim.release()


def grow_old(tmp_path: Path, days: float) -> Path:
    lock = tmp_path / "locks" / "s1.lock"
    then = time.time() - days * DAY
    os.utime(lock, (then, then))
    return lock


def clean(tmp_path: Path) -> None:
    """Remove what is older than ten days, as a cron job does."""
    find = ["find", str(tmp_path / "locks"), "-type", "f", "-mtime", "+10", "-delete"]
    subprocess.run(find, check=True)


@needs_linux("find")
@pytest.mark.parametrize("write", ["save", "checkpoint"])
def test_a_holder_that_saves_now_and_then_keeps_its_lock_file(
    tmp_path: Path, held: Session[SessionState], write: str
) -> None:
    lock = grow_old(tmp_path, 12)
    getattr(held, write)()
    clean(tmp_path)
    assert lock.exists()
    assert time.time() - lock.stat().st_atime < DAY
    held.save()


@needs_linux("times")
def test_a_lock_file_is_touched_at_most_once_an_hour(
    tmp_path: Path, held: Session[SessionState]
) -> None:
    lock = grow_old(tmp_path, 0.9 / 24)
    before = lock.stat().st_mtime_ns
    held.save()
    assert lock.stat().st_mtime_ns == before
    grow_old(tmp_path, 1.1 / 24)
    held.save()
    assert time.time() - lock.stat().st_mtime < 60


@needs_root("acts as other users")
def test_a_holder_touches_a_lock_file_that_another_user_of_the_group_made(ground: Path) -> None:
    root = place_of(ground, ALICE, TEAM, 0o2770)

    def create() -> None:
        with SessionStore(root).create("goal", session_id="s1") as session:
            session.checkpoint("n")

    def hold() -> bool:
        locks._TOUCHED = 0.0  # every save touches it
        with SessionStore(root).resume("s1") as session:
            status = (root / "locks" / "s1.lock").stat()
            assert status.st_uid == ALICE
            time.sleep(0.05)
            session.save()
            touched = (root / "locks" / "s1.lock").stat().st_mtime_ns > status.st_mtime_ns
            session.complete()
        return touched

    as_user(ALICE, create, gid=TEAM)
    assert as_user(BOB, hold, gid=TEAM) == "True"


@needs_linux("find")
@pytest.mark.parametrize("what", ["one", "all", "directory"])
def test_a_session_whose_lock_file_was_cleaned_away_is_claimed_again_by_its_process(
    tmp_path: Path, held: Session[SessionState], what: str
) -> None:
    revision = held.revision
    if what == "one":
        grow_old(tmp_path, 12)
        clean(tmp_path)
    else:
        for lock in (tmp_path / "locks").iterdir():
            lock.unlink()
    if what == "directory":
        (tmp_path / "locks").rmdir()
    with Child("act", tmp_path) as other:
        other.hear()
        assert other.ask("recover") == {"swept": [], "alive": ["s1"], "unknown": []}
        assert "lock file was replaced" in str(other.ask("claim", session_id="s1"))
        with pytest.raises(ClaimLost, match="lock file was removed"):
            held.save()
        # The process of the record still runs, as far as others can see.
        assert other.ask("recover") == {"swept": [], "alive": ["s1"], "unknown": []}
        assert "lock file was replaced" in str(other.ask("claim", session_id="s1"))
        with SessionStore(tmp_path).resume("s1") as again:
            assert other.ask("recover")["alive"] == ["s1"]
            with pytest.raises(ClaimLost):
                held.save()  # the old object stays lost
            again.complete()
    assert read_state(tmp_path, "s1")["status"] == "completed"
    assert read_state(tmp_path, "s1")["revision"] > revision


@needs_linux("find")
def test_a_session_that_still_runs_here_is_not_taken_from_itself(
    tmp_path: Path, held: Session[SessionState]
) -> None:
    (tmp_path / "locks" / "s1.lock").unlink()
    store = SessionStore(tmp_path)
    assert [item.session_id for item in store.recover().alive] == ["s1"]
    with pytest.raises(SessionClaimed):
        store.claim("s1")  # held has not noticed yet, and may be at work in another thread
