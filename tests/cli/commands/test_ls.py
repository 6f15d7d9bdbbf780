"""What ``ls`` lists: filters, orders and pages."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sessionstore import MemoryBackend, SessionStore
from sessionstore.cli.commands import ls as module
from sessionstore.model import query
from sessionstore.store.queries import StoreQueries
from tests.support.cli import (
    GONE,
    HOSTILE,
    acting,
    hashes,
    invoke,
    put,
    state,
)
from tests.support.foreign_stores import ForeignStore, each_store


def at(number: int) -> dict[str, str]:
    moment = datetime(2026, 1, 1, 0, number, tzinfo=UTC).isoformat()
    return {"started_at": moment, "updated_at": moment}


@pytest.fixture
def ten(tmp_path: Path) -> Path:
    """Ten sessions, s9 the newest, and a damaged one, which no time orders."""
    for number in range(10):
        put(tmp_path, f"s{number}", state(f"s{number}", timestamps=at(number)))
    put(tmp_path, "torn", "{")
    return tmp_path


def cursor_in(stderr: str) -> str | None:
    _, found, rest = stderr.partition("--cursor ")
    return rest.split()[0] if found else None


@pytest.mark.parametrize("form", ["ids", "jsonl", "json"])
def test_pages_by_cursor_are_the_whole_list_each_session_once(ten: Path, form: str) -> None:
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(10):
        args = () if cursor is None else ("--cursor", cursor)
        result = invoke(ten, "ls", "-n", "4", "-o", form, *args)
        assert result.exit_code == 0
        if form == "json":
            answer = json.loads(result.stdout)
            seen += [item["session_id"] for item in answer["sessions"]]
            assert answer["next_cursor"] == cursor_in(result.stderr)
        elif form == "jsonl":
            seen += [json.loads(line)["session_id"] for line in result.stdout.splitlines()]
        else:
            seen += result.stdout.split()
        cursor = cursor_in(result.stderr)
        if cursor is None:
            break
    assert seen == [*(f"s{number}" for number in range(9, -1, -1)), "torn"]


def test_a_cursor_goes_on_without_a_limit(ten: Path) -> None:
    first = invoke(ten, "ls", "-n", "8", "-o", "ids")
    cursor = cursor_in(first.stderr)
    assert cursor is not None
    rest = invoke(ten, "ls", "-o", "ids", "--cursor", cursor)
    assert rest.stdout.split() == ["s1", "s0", "torn"]
    assert cursor_in(rest.stderr) is None


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--cursor", "nonsense"), "no listing returned this cursor"),
        (("--cursor", HOSTILE.replace("\x00", "")), "no listing returned this cursor"),
    ],
)
def test_a_cursor_that_is_none_is_a_usage_error(
    ten: Path, args: tuple[str, ...], said: str
) -> None:
    result = invoke(ten, "ls", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert not acting(result.stderr)


def test_a_cursor_of_another_order_is_refused(ten: Path) -> None:
    cursor = cursor_in(invoke(ten, "ls", "-n", "1", "-o", "ids").stderr)
    assert cursor is not None
    result = invoke(ten, "ls", "--cursor", cursor, "--sort", "session_id")
    assert result.exit_code == 2
    assert "it was made for" in result.stderr


def test_a_table_takes_a_cursor_and_shows_people_none(ten: Path) -> None:
    cursor = cursor_in(invoke(ten, "ls", "-n", "2", "-o", "ids").stderr)
    assert cursor is not None
    result = invoke(ten, "ls", "-n", "2", "--cursor", cursor)
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["ID", "s7", "s6"]
    said = "2 sessions shown; there are more: --more pages through, -n 0 lists all\n"
    assert result.stderr.startswith(said)


@pytest.mark.parametrize("filtered", ["--stale", "--resumable"])
def test_no_look_at_every_session_only_to_say_how_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filtered: str
) -> None:
    for number in range(3):
        put(tmp_path, f"s{number}", state(f"s{number}", status="active", pid=GONE))
    monkeypatch.setattr(StoreQueries, "count", None)
    result = invoke(tmp_path, "ls", "-n", "2", filtered)
    assert "2 sessions shown; there are more: " in result.stderr


def test_a_page_does_not_look_at_what_it_does_not_show() -> None:
    """At a million sessions the checkpoint and owner of each would take minutes."""
    looked: list[str] = []

    class Counting(MemoryBackend):
        def probe(self, session_id: str) -> Any:
            looked.append(session_id)
            return super().probe(session_id)

    store = SessionStore(Counting())
    sessions = [store.create("a-goal", session_id=f"s{number}") for number in range(30)]
    looked.clear()
    store.find(limit=5)
    assert len(set(looked)) == 6  # and the one that tells whether there are more
    for session in sessions:
        session.release()


def test_the_damaged_on_later_pages_are_counted_only_once_and_only_if_hidden(ten: Path) -> None:
    hidden = "1 damaged session not shown: sessionstore ls --damaged"
    assert hidden in invoke(ten, "ls", "-n", "3").stderr
    assert hidden not in invoke(ten, "ls", "-n", "11").stderr
    judged = invoke(ten, "ls", "-n", "3", "--status", "completed").stderr
    assert hidden not in judged
    assert "1 damaged session could not be judged" in judged


def test_correlation_and_stream_filter(tmp_path: Path) -> None:
    put(tmp_path, "one", state("one", correlation_id="c-1", stream_id="s-1"))
    put(tmp_path, "two", state("two", correlation_id="c-2", stream_id="s-1"))
    assert invoke(tmp_path, "ls", "--correlation", "c-2", "-o", "ids").stdout == "two\n"
    assert invoke(tmp_path, "ls", "--stream", "s-1", "-o", "ids").stdout == "two\none\n"
    both = invoke(tmp_path, "ls", "--stream", "s-1", "--correlation", "c-1", "-o", "ids")
    assert both.stdout == "one\n"


def test_the_orders_on_offer_are_those_of_the_store() -> None:
    assert module.SORTS == query.ORDERS


@pytest.mark.parametrize("given", [("-s", "paused,failed"), ("-s", "paused", "-s", "failed")])
def test_statuses_come_with_commas_or_repeated(tmp_path: Path, given: tuple[str, ...]) -> None:
    for status in ("paused", "failed", "completed"):
        put(tmp_path, status, state(status, status=status))
    for command in (("ls", "-o", "ids"), ("export", "-O", str(tmp_path / "x"), "-o", "ids")):
        result = invoke(tmp_path, *command, *given)
        assert (result.exit_code, sorted(result.stdout.split())) == (0, ["failed", "paused"])
    pruned = invoke(tmp_path, "prune", "--older-than", "1d", "-o", "ids", *given)
    assert sorted(pruned.stdout.split()) == ["failed", "paused"]
    until = ("watch", "failed", "--timeout", "9s", "-o", "ids")
    watched = invoke(tmp_path, *until, *(word.replace("-s", "--until") for word in given))
    assert (watched.exit_code, watched.stdout) == (0, "failed\n")
    wrong = invoke(tmp_path, "ls", "-s", "paused,gone")
    assert wrong.exit_code == 2
    assert "'gone' is not one of active, paused" in wrong.stderr


MANY = 1204


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 1,204 sessions, one of them damaged; nothing in these tests writes to it."""
    root = tmp_path_factory.mktemp("crowd")
    for number in range(MANY - 1):
        put(root, f"s{number:04}")
    put(root, "torn", "{")
    return root


def sessions_of(output: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(output)["sessions"]
    return found


def test_a_table_says_how_many_there_are_and_machine_formats_are_unlimited(crowd: Path) -> None:
    table = invoke(crowd, "ls")
    assert len(table.stdout.splitlines()) == 1 + 50
    said = "50 of 1,204 sessions; 1,154 more: --more pages through, -n 0 lists all\n"
    assert table.stderr.startswith(said)
    # It sorts last, and must not be left out in silence.
    assert "1 damaged session not shown: sessionstore ls --damaged" in table.stderr
    assert len(invoke(crowd, "ls", "-n", "0").stdout.splitlines()) == 1 + MANY
    assert len(invoke(crowd, "ls", "-o", "ids").stdout.splitlines()) == MANY
    assert len(invoke(crowd, "ls", "-o", "jsonl").stdout.splitlines()) == MANY
    answer = json.loads(invoke(crowd, "ls", "-o", "json").stdout)
    assert answer["schema"] == "sessionstore.sessions/1"
    assert (answer["next_cursor"], len(answer["sessions"])) == (None, MANY)
    assert invoke(crowd, "ls", "-n", "0").stderr == "1,204 sessions, 1 damaged\n"


@pytest.mark.parametrize("form", ["ids", "jsonl"])
def test_a_limit_counts_for_machine_formats_too(crowd: Path, form: str) -> None:
    assert len(invoke(crowd, "ls", "-n", "3", "-o", form).stdout.splitlines()) == 3
    assert len(sessions_of(invoke(crowd, "ls", "-n", "3", "-o", "json").stdout)) == 3


def test_lines_carry_the_same_fields_as_the_object(tmp_path: Path) -> None:
    put(tmp_path, "one")
    put(tmp_path, "two", state("two", status="active", pid=GONE))
    put(tmp_path, "torn", "{")
    listed = sessions_of(invoke(tmp_path, "ls", "-o", "json").stdout)
    lines = invoke(tmp_path, "ls", "-o", "jsonl").stdout.splitlines()
    schema = {"schema": "sessionstore.sessions.line/1"}
    assert [json.loads(line) for line in lines] == [schema | item for item in listed]
    assert {item["session_id"]: item["is_stale"] for item in listed} == {
        "one": False,
        "two": True,
        "torn": False,
    }


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("--status", "paused"), {"paused"}),
        (("-s", "failed", "-s", "paused"), {"failed", "interrupted", "paused"}),
        (("--stale",), {"stale"}),
        (
            ("--resumable",),
            {"recent", "stale", "failed", "another", "interrupted", "paused"},
        ),
        (("--resumable", "--unfinished"), {"stale", "failed", "interrupted", "paused"}),
        (("--unfinished",), {"stale", "failed", "interrupted", "paused"}),
        (("--goal", "another"), {"another"}),
        (("--agent", "writer"), {"another"}),
        (("--interrupted",), {"interrupted"}),
        (("--since", "2h"), {"recent"}),
        (("--since", "2026-01-26"), {"recent", "another"}),
        (("--since", "2026-01-26", "--until", "1h30m"), {"another"}),
        (("--damaged",), {"torn"}),
    ],
)
def test_each_filter_keeps_what_it_names(
    tmp_path: Path, args: tuple[str, ...], expected: set[str]
) -> None:
    recent = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    february = {"started_at": "", "updated_at": "2026-02-01T00:00:00Z"}
    put(tmp_path, "recent", state("recent", timestamps={"started_at": "", "updated_at": recent}))
    changes: dict[str, dict[str, Any]] = {
        "stale": {"status": "active", "pid": GONE},
        "failed": {"status": "failed"},
        "another": {"goal_id": "another", "agent_id": "writer", "timestamps": february},
        "interrupted": {
            "status": "failed",
            "recovery": {"count": 1, "at": "", "reason": "died"},
            "result": {"error": "died"},
        },
        "paused": {"status": "paused", "checkpoint_enabled": True, "latest_checkpoint_id": "cp"},
        "lost": {"checkpoint_enabled": True, "latest_checkpoint_id": "cp"},
    }
    for name, change in changes.items():
        file = put(tmp_path, name, state(name, **change))
        if name == "paused":
            (file.parent / "checkpoints").mkdir()
            (file.parent / "checkpoints" / "cp.json").write_bytes(file.read_bytes())
    put(tmp_path, "torn", "{")
    for form in ("ids", "json"):
        result = invoke(tmp_path, "ls", *args, "-o", form)
        assert result.exit_code == 0
        ids = (
            result.stdout.split()
            if form == "ids"
            else [item["session_id"] for item in sessions_of(result.stdout)]
        )
        assert set(ids) == expected
        unjudged = "1 damaged session could not be judged: sessionstore ls --damaged"
        assert (unjudged in result.stderr) == ("--damaged" not in args)


def test_the_column_tells_what_a_resume_of_each_session_wants(tmp_path: Path) -> None:
    put(tmp_path, "paused", state("paused", status="paused"))
    put(tmp_path, "done", state("done", status="completed"))
    put(tmp_path, "given-up", state("given-up", status="cancelled"))
    broken = {"checkpoint_enabled": True, "latest_checkpoint_id": "cp"}
    put(tmp_path, "broken", state("broken", status="failed", **broken))
    lines = invoke(tmp_path, "ls", "--fields", "id,resumable").stdout.splitlines()
    assert dict(line.split() for line in lines[1:]) == {
        "paused": "yes",
        "done": "again",
        "given-up": "again",
        "broken": "no",
    }
    listed = sessions_of(invoke(tmp_path, "ls", "--fields", "id,resumable", "-o", "json").stdout)
    assert {item["session_id"]: (item["is_resumable"], item["is_finished"]) for item in listed} == {
        "paused": (True, False),
        "done": (True, True),
        "given-up": (True, True),
        "broken": (False, False),
    }


def test_stops_are_listed_beside_the_crashes(tmp_path: Path) -> None:
    recovery = {"count": 2, "stops": 7, "at": "", "reason": "it was stopped"}
    put(tmp_path, "s1", state("s1", status="paused", recovery=recovery))
    shown = invoke(tmp_path, "ls", "--fields", "id,recoveries,stops").stdout.splitlines()
    assert [line.split() for line in shown] == [["ID", "RECOVERIES", "STOPS"], ["s1", "2", "7"]]


def test_damaged_sessions_are_listed_with_their_reason_and_break_nothing(tmp_path: Path) -> None:
    put(tmp_path, "sound")
    put(tmp_path, "torn", "{")
    result = invoke(tmp_path, "ls")
    assert result.exit_code == 0
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("torn ")]
    assert line.endswith("damaged: not JSON")


def test_damaged_does_not_combine_with_filters_that_need_a_readable_state(tmp_path: Path) -> None:
    put(tmp_path, "torn", "{")
    result = invoke(tmp_path, "ls", "--damaged", "--status", "failed")
    assert result.exit_code == 2
    assert "--damaged cannot be combined with other filters" in result.stderr


def test_the_order_can_be_chosen(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        put(tmp_path, name)
    up = invoke(tmp_path, "ls", "--sort", "session_id", "-o", "ids").stdout.split()
    down = invoke(tmp_path, "ls", "--sort", "-session_id", "-o", "ids").stdout.split()
    assert (up, down) == (["a", "b", "c"], ["c", "b", "a"])


def test_a_store_without_matches_prints_nothing_but_a_note(tmp_path: Path) -> None:
    (tmp_path / "sessions").mkdir()
    result = invoke(tmp_path, "ls")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no session matches\n")


@each_store
def test_ls_of_a_store_of_the_original_framework_shows_every_session_the_damaged_last(
    foreign: ForeignStore, tmp_path: Path
) -> None:
    root = foreign.copy_to(tmp_path / "home")
    count, damaged_count = len(foreign.sound | foreign.damaged), len(foreign.damaged)
    before = hashes(root)
    table = invoke(root, "ls")
    assert table.exit_code == 0
    assert table.stderr == f"{count} sessions, {damaged_count} damaged\n"
    assert len(table.stdout.splitlines()) == 1 + count
    listed = sessions_of(invoke(root, "ls", "-o", "json").stdout)
    assert {item["session_id"] for item in listed[:-damaged_count]} == foreign.sound
    damaged = [item["session_id"] for item in listed if item["damaged"]]
    assert damaged == sorted(foreign.damaged, reverse=True)
    assert [item["session_id"] for item in listed[-damaged_count:]] == damaged
    assert hashes(root) == before
