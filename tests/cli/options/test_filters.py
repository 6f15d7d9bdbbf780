"""Filters: idle sessions, at the command line and through a pipe."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sessionstore import CancellationRequested, Session, SessionState, SessionStore
from sessionstore.testing.harness import forget
from tests.support.cli import GONE, invoke, put, run, state


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[Session[SessionState]]:
    """A session that this process holds and that it saved last an hour ago."""
    store = SessionStore(tmp_path, clock=lambda: datetime.now(UTC) - timedelta(hours=1))
    session = store.create("a-goal", session_id="quiet")
    yield session
    forget(session)


def test_a_session_is_idle_if_its_process_lives_and_writes_nothing(
    quiet: Session[SessionState], tmp_path: Path
) -> None:
    put(tmp_path, "dead", state("dead", status="active", pid=GONE))
    put(tmp_path, "paused", state("paused", status="paused"))
    busy = SessionStore(tmp_path).create("a-goal", session_id="busy")
    now = {"behind": timedelta(hours=1)}

    def quiet_clock() -> datetime:
        return datetime.now(UTC) - now["behind"]

    def idle(*args: str) -> list[str]:
        result = run("--root", str(tmp_path), "ls", *args, "-o", "ids")
        assert result.returncode == 0, result.stderr
        return sorted(result.stdout.split())

    assert idle("--idle", "10m") == idle("--idle", "59m") == ["quiet"]
    assert idle("--idle", "61m") == []
    assert idle("--idle", "0") == ["busy", "quiet"]
    assert idle("--idle", "10m", "--goal", "other") == []
    assert idle("--idle", "10m", "-s", "active,paused", "--since", "2h") == ["quiet"]
    # What counts is the last save or append, by the clock of whoever wrote.
    quiet.journal().append("a record")
    quiet.save()
    assert idle("--idle", "59m") == ["quiet"]
    with SessionStore(tmp_path, clock=quiet_clock).create("a-goal", session_id="talks") as talks:
        assert idle("--idle", "10m") == ["quiet", "talks"]
        now["behind"] = timedelta(0)
        talks.journal().append("a record")
        assert idle("--idle", "10m") == ["quiet"]
        talks.complete()
    busy.complete()


def test_idle_sessions_are_asked_to_end_through_a_pipe(
    quiet: Session[SessionState], tmp_path: Path
) -> None:
    with SessionStore(tmp_path).create("a-goal", session_id="busy") as busy:
        listed = run("--root", str(tmp_path), "ls", "--idle", "10m", "-o", "ids")
        asked = run(
            "--root", str(tmp_path), "cancel", "-", "--reason", "no progress", input=listed.stdout
        )
        assert asked.returncode == 0, asked.stderr
        assert asked.stdout.startswith("quiet  requested: ")
        assert asked.stdout.count("\n") == 1
        with pytest.raises(CancellationRequested, match="no progress"):
            quiet.save()
        busy.complete()
    none = run("--root", str(tmp_path), "cancel", "-", input="")
    assert (none.returncode, none.stdout, none.stderr) == (0, "", "")


def test_a_time_to_be_idle_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    for given in ("soon", "-1", "10 m", ""):
        result = invoke(tmp_path, "ls", "--idle", given)
        assert result.exit_code == 2
        assert "not a duration" in result.stderr
