"""Counts over days, ends of lists, the awaited face, and the command ``stats``."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from sessionstore import AsyncSessionStore, MemoryBackend, SessionStore
from tests.support.cli import GONE, hashes, invoke, on_terminal, put, state

NOW = datetime(2026, 3, 10, 0, 30, tzinfo=UTC)


def started(root: Path, session_id: str, moment: datetime | str, **changes: object) -> None:
    text = moment if isinstance(moment, str) else moment.isoformat()
    times = {"started_at": text, "updated_at": text}
    put(root, session_id, state(session_id, timestamps=times, **changes))


def store_at(root: Path) -> SessionStore:
    return SessionStore(root, clock=lambda: NOW)


def test_days_are_utc_days_and_the_last_seven_with_today_last(tmp_path: Path) -> None:
    started(tmp_path, "today", NOW - timedelta(minutes=20))
    started(tmp_path, "yesterday", NOW - timedelta(minutes=40))
    # 00:15 of the tenth in a zone two hours ahead is still the ninth in UTC.
    started(tmp_path, "zone", "2026-03-10T00:15:00+02:00")
    started(tmp_path, "first", datetime(2026, 3, 4, 0, 0, tzinfo=UTC))
    started(tmp_path, "before", datetime(2026, 3, 3, 23, 59, 59, tzinfo=UTC))
    started(tmp_path, "ahead", NOW + timedelta(days=1))
    started(tmp_path, "unreadable", "some day")
    found = store_at(tmp_path).stats()
    assert [day.day for day in found.days] == [date(2026, 3, number) for number in range(4, 11)]
    assert [day.started for day in found.days] == [1, 0, 0, 0, 0, 2, 1]
    assert found.sessions == 7
    for day in found.days:
        assert (day.bytes > 0) == (day.started > 0)


def test_journals_are_counted_and_measured_on_both_faces(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    with store.create("goal", session_id="s1") as session:
        session.journal("messages").append("x" * 10_000)
        session.journal("events").append(1)
        session.complete()
    used = store.usage("s1")
    assert used.journals == 2
    assert used.journal_bytes >= 10_000
    assert used.application_bytes == 0
    found = store.stats()
    assert (found.journals, found.journal_bytes) == (2, used.journal_bytes)
    said = invoke(tmp_path, "stats", "-o", "json")
    assert json.loads(said.stdout)["journal_bytes"] == used.journal_bytes
    assert re.search(r"^journals +2 ", invoke(tmp_path, "stats").stdout, re.MULTILINE)
    assert re.search(r"on disk .*journals 1", invoke(tmp_path, "show", "s1").stdout)


def test_the_oldest_unfinished_come_in_order_the_unreadable_last(tmp_path: Path) -> None:
    for number in range(12):
        started(tmp_path, f"s{number:02}", NOW - timedelta(hours=number), status="paused")
    started(tmp_path, "done", NOW - timedelta(days=99))
    started(tmp_path, "left", NOW - timedelta(days=1), status="active", pid=GONE)
    found = store_at(tmp_path).stats().oldest_unfinished
    assert [item.session_id for item in found] == [
        "left", *(f"s{number:02}" for number in range(11, 2, -1)),
    ]  # fmt: skip
    assert [item.is_stale for item in found] == [True, *[False] * 9]
    started(tmp_path, "unreadable", "", status="paused")
    assert "unreadable" not in [
        item.session_id for item in store_at(tmp_path).stats().oldest_unfinished
    ]


def test_a_store_of_thousands_still_names_the_oldest(tmp_path: Path) -> None:
    """The list of candidates is cut as it grows: the oldest must survive each cut."""
    root = tmp_path / "store"
    for number in range(1100):
        moment = NOW - timedelta(minutes=(number * 7919) % 1100)
        started(root, f"s{number:04}", moment, status="paused")
    found = store_at(root).stats(sizes=False)
    oldest = [item.started_at for item in found.oldest_unfinished]
    assert oldest == [(NOW - timedelta(minutes=1099 - place)).isoformat() for place in range(10)]


@pytest.mark.parametrize("sizes", [True, False])
def test_what_has_ended_is_not_counted_as_resumable(tmp_path: Path, sizes: bool) -> None:
    for status in ("paused", "failed", "completed", "cancelled"):
        put(tmp_path, status, state(status, status=status))
    put(tmp_path, "left", state("left", status="active", pid=GONE))
    assert SessionStore(tmp_path).stats(sizes=sizes).resumable == 3


def test_a_session_that_cannot_be_measured_is_counted_and_said(tmp_path: Path) -> None:
    put(tmp_path, "one")
    (tmp_path / "sessions" / "link").symlink_to(tmp_path / "sessions" / "one")
    found = SessionStore(tmp_path).stats()
    assert (found.sessions, found.damaged, found.unmeasured) == (2, 1, 1)
    assert "1 session could not be measured" in invoke(tmp_path, "stats").stderr


def test_counting_writes_nothing(tmp_path: Path) -> None:
    put(tmp_path, "left", state("left", status="active", pid=GONE))
    put(tmp_path, "torn", "{")
    before = hashes(tmp_path)
    assert invoke(tmp_path, "stats").exit_code == 0
    assert hashes(tmp_path) == before


def test_the_awaited_counts_are_the_same(tmp_path: Path) -> None:
    put(tmp_path, "one")

    async def count() -> tuple[int, bytes, bool]:
        async with AsyncSessionStore(tmp_path) as store:
            found = await store.stats(sizes=False)
            fit = await store.diagnose()
            return found.sessions, await store.raw("one"), bool(fit)

    raw = (tmp_path / "sessions/one/state.json").read_bytes()
    assert asyncio.run(count()) == (1, raw, True)


def test_the_command_tells_all_of_it_and_how_to_go_on(tmp_path: Path) -> None:
    put(tmp_path, "done")
    put(tmp_path, "left", state("left", status="active", pid=GONE))
    put(tmp_path, "torn", "{")
    result = invoke(tmp_path, "stats")
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    for row in (["completed", "1"], ["stale", "1"], ["damaged", "1"], ["all", "3"]):
        assert row in rows
    assert "sessionstore recover" in result.stderr
    assert "sessionstore ls --damaged" in result.stderr
    assert "ON DISK" not in invoke(tmp_path, "stats", "--no-sizes").stdout


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_the_command_gives_the_same_as_json(tmp_path: Path, form: str) -> None:
    put(tmp_path, "done")
    answer = json.loads(invoke(tmp_path, "stats", "-o", form).stdout)
    assert (answer["sessions"], answer["by_status"]["completed"]) == (1, 1)
    assert [item["session_id"] for item in answer["largest"]] == ["done"]
    assert len(answer["days"]) == 7
    if form == "json":
        assert answer["schema"] == "sessionstore.stats/1"


def test_long_counting_shows_its_progress_on_a_terminal(tmp_path: Path) -> None:
    for number in range(60):
        put(tmp_path, f"s{number}")
    assert "counting" in on_terminal("--root", str(tmp_path), "stats", "-o", "json")


def test_it_says_how_many_flushes_a_durable_save_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SessionStore(tmp_path)
    store.create("goal").complete()
    assert store.stats().flushes == store.stats(sizes=False).flushes
    assert store.stats().flushes.startswith(("one flush: ", "two flushes: "))
    monkeypatch.setenv("SESSIONSTORE_FLUSHES", "two")
    told = "two flushes: SESSIONSTORE_FLUSHES is 'two'"
    assert json.loads(invoke(tmp_path, "stats", "-o", "json").stdout)["flushes"] == told
    assert told in invoke(tmp_path, "stats").stdout
    monkeypatch.setenv("SESSIONSTORE_FLUSHES", "one")
    for command in ("stats", "doctor", "recover"):
        refused = invoke(tmp_path, command)
        assert refused.exit_code == 2
        assert "SESSIONSTORE_FLUSHES must be 'auto' or 'two', not 'one'" in refused.stderr


def test_a_store_in_memory_takes_none() -> None:
    assert SessionStore(MemoryBackend()).stats().flushes == ""
