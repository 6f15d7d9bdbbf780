"""What the commands print, and what a script can tell from how they end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import sessionstore
from sessionstore import Session, SessionState, SessionStore
from sessionstore.cli.options import units
from tests.support.cli import (
    GONE,
    HOSTILE,
    acting,
    hashes,
    invoke,
    leave_behind,
    put,
    put_hostile,
    state,
)
from tests.support.foreign_stores import ForeignStore, each_store

MANY = 1204


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 1,204 sessions, one of them damaged; nothing in these tests writes to it."""
    root = tmp_path_factory.mktemp("crowd")
    for number in range(MANY - 1):
        put(root, f"s{number:04}")
    put(root, "torn", "{")
    return root


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Session[SessionState]]:
    """A session that this very process holds, in a store at ``tmp_path / "store"``."""
    session = SessionStore(tmp_path / "store").create("a-goal", session_id="held")
    yield session
    session.release()


def sessions_of(output: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(output)["sessions"]
    return found


def stored(root: Path, session_id: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(
        (root / "sessions" / session_id / "state.json").read_bytes()
    )
    return loaded


# --- the store -----------------------------------------------------------------------------------


def test_the_root_may_stand_before_the_command_or_after_it_or_in_the_environment(
    tmp_path: Path,
) -> None:
    put(tmp_path, "one")
    root = str(tmp_path)
    for result in (
        invoke(None, "--root", root, "ls", "-o", "ids"),
        invoke(None, "ls", "-o", "ids", "--root", root),
        invoke(None, "ls", "-o", "ids", env={"SESSIONSTORE_ROOT": root}),
    ):
        assert (result.exit_code, result.stdout) == (0, "one\n")


def test_the_nearest_root_wins(tmp_path: Path) -> None:
    put(tmp_path / "a", "in-a")
    put(tmp_path / "b", "in-b")
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    before = invoke(None, "--root", a, "ls", "-o", "ids", env={"SESSIONSTORE_ROOT": b})
    after = invoke(None, "--root", a, "ls", "-o", "ids", "--root", b)
    assert (before.stdout, after.stdout) == ("in-a\n", "in-b\n")


@pytest.mark.parametrize("args", [("ls",), ("show", "x"), ("recover",)])
def test_no_root_at_all_is_a_usage_error_that_names_both_ways(args: tuple[str, ...]) -> None:
    result = invoke(None, *args)
    assert result.exit_code == 2
    assert "--root" in result.stderr
    assert "SESSIONSTORE_ROOT" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("args", [("ls",), ("show", "x"), ("recover", "--apply")])
def test_a_store_is_never_created(tmp_path: Path, args: tuple[str, ...]) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for root in (empty, tmp_path / "missing"):
        result = invoke(root, *args)
        assert result.exit_code == 3, result.stderr
        assert "there is none here" in result.stderr
    assert list(tmp_path.rglob("*")) == [empty]


def test_a_root_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    result = invoke(tmp_path / "file", "ls")
    assert result.exit_code == 1
    assert "is a file" in result.stderr or "Not a directory" in result.stderr


# --- ls ------------------------------------------------------------------------------------------


def test_a_table_says_how_many_there_are_and_machine_formats_are_unlimited(crowd: Path) -> None:
    table = invoke(crowd, "ls")
    assert len(table.stdout.splitlines()) == 1 + 50
    assert "50 sessions shown; there are more: -n 0, or --cursor " in table.stderr
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
        (("-s", "failed", "-s", "paused"), {"failed", "paused"}),
        (("--stale",), {"stale"}),
        (("--resumable",), {"paused"}),
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


def test_damaged_sessions_are_listed_with_their_reason_and_break_nothing(tmp_path: Path) -> None:
    put(tmp_path, "sound")
    put(tmp_path, "torn", "{")
    result = invoke(tmp_path, "ls")
    assert result.exit_code == 0
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("torn ")]
    assert "damaged" in line
    assert "EOF" in line


def test_damaged_does_not_combine_with_filters_that_need_a_readable_state(tmp_path: Path) -> None:
    put(tmp_path, "torn", "{")
    result = invoke(tmp_path, "ls", "--damaged", "--status", "failed")
    assert result.exit_code == 2
    assert "--damaged stands alone" in result.stderr


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


@pytest.mark.parametrize("value", ["yesterday", "2x", "", "99999999999w", "h"])
def test_a_time_that_is_none_is_a_usage_error(tmp_path: Path, value: str) -> None:
    put(tmp_path, "one")
    result = invoke(tmp_path, "ls", "--since", value)
    assert result.exit_code == 2
    assert "--since" in result.stderr


def test_times_are_told_as_people_tell_them() -> None:
    now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    told = {
        delta: units.relative_time((now - timedelta(seconds=delta)).isoformat(), now)
        for delta in (0, 59, 60, 7199, 7200, 86400 * 2, -300)
    }
    assert list(told.values()) == [
        "just now", "59 s ago", "1 min ago", "1 h ago", "2 h ago", "2 d ago", "in 5 min",
    ]  # fmt: skip
    assert units.relative_time("no time", now) == "no time"
    assert units.parse_moment("1d12h", now) == now - timedelta(hours=36)
    assert units.parse_moment("2026-11-22T11:00:00Z", now) == now - timedelta(hours=1)


# --- ids -----------------------------------------------------------------------------------------


def test_a_prefix_that_only_one_id_has_is_enough(tmp_path: Path) -> None:
    for name in ("session_a1", "session_a", "session_b1"):
        put(tmp_path, name)
    assert invoke(tmp_path, "show", "session_b", "-o", "ids").stdout == "session_b1\n"
    assert invoke(tmp_path, "show", "session_a", "-o", "ids").stdout == "session_a\n"


def test_an_ambiguous_prefix_names_at_most_five_candidates(tmp_path: Path) -> None:
    for number in range(7):
        put(tmp_path, f"s{number}")
    for args in (("show", "s"), ("recover", "--apply", "--assume-dead", "s")):
        result = invoke(tmp_path, *args)
        assert result.exit_code == 2
        assert "s0, s1, s2, s3, s4, ..." in result.stderr
        assert "s5" not in result.stderr


@pytest.mark.parametrize(
    ("given", "code"), [("none", 3), ("con", 2), ("../x", 2), ("", 2), (HOSTILE, 2)]
)
def test_an_id_that_no_session_has_is_not_found_and_no_id_is_a_usage_error(
    tmp_path: Path, given: str, code: int
) -> None:
    put(tmp_path, "one")
    for args in (("show", given), ("recover", "--assume-dead", given)):
        result = invoke(tmp_path, *args)
        assert (result.exit_code, result.stdout) == (code, "")
        assert not acting(result.stderr)


# --- show ----------------------------------------------------------------------------------------


def test_show_tells_status_owner_liveness_progress_and_checkpoints(tmp_path: Path) -> None:
    leave_behind(tmp_path, "left")
    result = invoke(tmp_path, "show", "left")
    assert result.exit_code == 0, result.stderr
    facts = {
        line.split("  ")[0]: line.split("  ", 1)[1].strip()
        for line in result.stdout.split("\n\n")[0].splitlines()
    }
    pid = stored(tmp_path, "left")["pid"]
    assert facts["status"] == "active, stale"
    assert facts["owner"].startswith(f"pid {pid} (")
    assert facts["liveness"] == f"dead: pid {pid} is gone"
    assert facts["node"] == "plan"
    assert facts["resumable"] == "yes"
    assert facts["sizes"].startswith("state ")
    kept = [file.stem for file in (tmp_path / "sessions/left/checkpoints").iterdir()]
    last = result.stdout.splitlines()[-1]
    assert last.startswith(kept[0])
    assert last.endswith("latest")


def test_show_as_json_gives_the_whole_state(tmp_path: Path) -> None:
    leave_behind(tmp_path, "left")
    answer = json.loads(invoke(tmp_path, "show", "left", "-o", "json").stdout)
    assert answer["schema"] == "sessionstore.session/1"
    session = answer["session"]
    assert session["state"] == stored(tmp_path, "left")
    assert session["liveness"]["verdict"] == "dead"
    assert session["is_stale"]
    assert [item["node"] for item in session["checkpoints"]] == ["plan"]
    line = json.loads(invoke(tmp_path, "show", "left", "-o", "jsonl").stdout)
    assert line == {"schema": "sessionstore.several.line/1", **session}


def test_checkpoints_are_shown_oldest_first(tmp_path: Path) -> None:
    with SessionStore(tmp_path).create("a-goal", session_id="one") as session:
        for node in ("first", "second", "third"):
            session.checkpoint("node_complete", node=node)
        session.complete()
    answer = json.loads(invoke(tmp_path, "show", "one", "-o", "json").stdout)
    assert [item["node"] for item in answer["session"]["checkpoints"]] == [
        "first", "second", "third",
    ]  # fmt: skip


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "ids"])
def test_show_of_a_damaged_session_says_what_is_damaged_and_exits_with_5(
    tmp_path: Path, form: str
) -> None:
    file = put(tmp_path, "torn", "{")
    result = invoke(tmp_path, "show", "torn", "-o", form)
    assert result.exit_code == 5
    if form != "ids":
        assert str(file) in result.stdout
        assert "EOF" in result.stdout


@pytest.mark.parametrize("damage", ["file", "directory"])
def test_a_damaged_checkpoint_is_damage_too(tmp_path: Path, damage: str) -> None:
    changes = {"checkpoint_enabled": True, "latest_checkpoint_id": "cp"}
    kept = put(tmp_path, "one", state("one", **changes)).parent / "checkpoints"
    if damage == "file":
        kept.mkdir()
        (kept / "cp.json").write_text("{")
    else:
        kept.write_text("no directory")
    result = invoke(tmp_path, "show", "one")
    assert result.exit_code == 5
    assert "damaged: " in result.stdout
    answer = json.loads(invoke(tmp_path, "show", "one", "-o", "json").stdout)
    assert not answer["session"]["is_resumable"]
    assert answer["session"]["unresumable"]


def test_show_names_the_holder_of_a_live_session(
    tmp_path: Path, held: Session[SessionState]
) -> None:
    result = invoke(tmp_path / "store", "show", "held")
    assert result.exit_code == 0
    assert f"alive: held by pid {held.owner.pid}" in result.stdout


# --- recover -------------------------------------------------------------------------------------


def test_a_dry_run_changes_nothing_and_says_how_to_apply(tmp_path: Path) -> None:
    leave_behind(tmp_path, "left")
    before = hashes(tmp_path)
    result = invoke(tmp_path, "recover")
    assert result.exit_code == 0
    assert "would be failed" in result.stdout
    assert "--apply" in result.stderr
    assert hashes(tmp_path) == before


@pytest.mark.parametrize("status", ["failed", "paused", "cancelled"])
def test_apply_marks_what_dead_processes_left(tmp_path: Path, status: str) -> None:
    leave_behind(tmp_path, "left")
    result = invoke(tmp_path, "recover", "--apply", "--mark-as", status, "-o", "json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert (report["schema"], report["dry_run"]) == ("sessionstore.recovery/1", False)
    assert [item["session_id"] for item in report["swept"]] == ["left"]
    assert stored(tmp_path, "left")["status"] == status
    assert stored(tmp_path, "left")["pid"] is None
    assert invoke(tmp_path, "recover", "--apply", "-o", "ids").stdout == ""
    assert invoke(tmp_path, "ls", "--interrupted", "-o", "ids").stdout == "left\n"


def test_assume_dead_that_names_a_live_session_does_not_touch_it_and_exits_with_4(
    tmp_path: Path, held: Session[SessionState]
) -> None:
    root = tmp_path / "store"
    before = stored(root, "held")
    result = invoke(root, "recover", "--apply", "--assume-dead", "held")
    assert result.exit_code == 4
    assert f"held by pid {held.owner.pid}" in result.stderr
    assert stored(root, "held") == before
    assert invoke(root, "recover", "--apply").exit_code == 0  # merely alive is no trouble


def test_an_unknown_owner_is_left_alone_unless_a_person_names_it(tmp_path: Path) -> None:
    put(tmp_path, "unknown-1", state("unknown-1", status="active"))
    untold = invoke(tmp_path, "recover", "--apply")
    assert untold.exit_code == 0
    assert "no owner recorded" in untold.stdout
    assert "--assume-dead" in untold.stderr
    assert stored(tmp_path, "unknown-1")["status"] == "active"
    told = invoke(tmp_path, "recover", "--apply", "--assume-dead", "unknown", "-o", "ids")
    assert (told.exit_code, told.stdout) == (0, "unknown-1\n")
    assert stored(tmp_path, "unknown-1")["status"] == "failed"


def test_assume_dead_of_a_session_that_is_not_active_says_so(tmp_path: Path) -> None:
    put(tmp_path, "done")
    before = hashes(tmp_path)
    result = invoke(tmp_path, "recover", "--apply", "--assume-dead", "done")
    assert result.exit_code == 0
    assert "done is not active" in result.stderr
    assert hashes(tmp_path) == before


def test_damage_does_not_stop_a_sweep_and_shows_in_the_exit_code(tmp_path: Path) -> None:
    torn = put(tmp_path, "torn", "{")
    put(tmp_path, "left", state("left", status="active", pid=GONE))
    result = invoke(tmp_path, "recover", "--apply", "-o", "jsonl")
    assert result.exit_code == 5
    outcomes = {
        item["session_id"]: item["outcome"] for item in map(json.loads, result.stdout.splitlines())
    }
    assert outcomes == {"left": "swept", "torn": "damaged"}
    assert stored(tmp_path, "left")["status"] == "failed"
    assert torn.read_text() == "{"


# --- hostile text --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "ids"])
@pytest.mark.parametrize("color", ["never", "always"])
@pytest.mark.parametrize("command", ["ls", "show", "recover", "apply"])
def test_hostile_text_in_any_field_reaches_the_output_only_escaped(
    tmp_path: Path, command: str, color: str, form: str
) -> None:
    put_hostile(tmp_path)
    ids = sorted(entry.name for entry in (tmp_path / "sessions").iterdir())
    runs: dict[str, list[tuple[str, ...]]] = {
        "ls": [("ls",), ("ls", "--goal", HOSTILE), ("ls", "--status", HOSTILE)],
        "show": [("show", session_id) for session_id in ids],
        "recover": [("recover",), ("recover", "--mark-as", HOSTILE)],
        "apply": [("recover", "--apply", "--assume-dead", "h-unknown"), ("ls",)],
    }
    output = ""
    for args in runs[command]:
        result = invoke(tmp_path, *args, "-o", form, "--color", color)
        assert result.exit_code in (0, 2, 5), result.stderr
        assert not acting(result.stdout), (args, result.stdout)
        assert not acting(result.stderr), (args, result.stderr)
        if color == "never" or form != "table":
            assert "\x1b" not in result.stdout
        if form == "jsonl":
            assert all(json.loads(line) for line in result.stdout.splitlines())
        if args == ("ls",) and form == "table":
            assert len(result.stdout.splitlines()) == 1 + len(ids)
        output += result.stdout
    if form != "ids" and command != "recover":
        assert "\\u001b" in output or "\\x1b" in output  # it was there, and is shown escaped
        assert "[bold]" in output  # not taken for markup


def test_errors_show_hostile_arguments_escaped(tmp_path: Path) -> None:
    put(tmp_path, "one")
    for args in (
        ("show", HOSTILE.replace("\x00", "")),
        (HOSTILE,),
        ("ls", f"--{HOSTILE}"),
        ("ls", "--since", HOSTILE),
        ("--root", f"/{HOSTILE[:-1]}", "ls"),
    ):
        result = invoke(tmp_path, *args)
        assert result.exit_code in (2, 3)
        assert not acting(result.stderr), result.stderr


# --- help ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [(), ("ls",), ("show",), ("recover",)])
def test_every_help_has_an_example_and_needs_no_store(args: tuple[str, ...]) -> None:
    result = invoke(None, *args, "--help")
    assert result.exit_code == 0
    assert "Examples:\n" in result.stdout
    assert f"sessionstore {'--root' if not args else args[0]} " in result.stdout


def test_the_version_is_the_package_s() -> None:
    result = invoke(None, "--version")
    assert (result.exit_code, result.stdout) == (
        0,
        f"sessionstore, version {sessionstore.__version__}\n",
    )


# --- a store of the original framework -----------------------------------------------------------


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


@each_store
def test_recover_of_such_a_store_marks_exactly_what_dead_processes_left(
    foreign: ForeignStore, tmp_path: Path
) -> None:
    root = foreign.copy_to(tmp_path / "home")
    before = hashes(root)
    result = invoke(root, "recover", "--apply", "-o", "json")
    assert result.exit_code == 5
    report = json.loads(result.stdout)
    swept = {item["session_id"] for item in report["swept"]}
    assert swept == foreign.left_behind
    assert {item["session_id"] for item in report["alive"]} == foreign.alive
    assert {item["session_id"] for item in report["unknown"]} == foreign.without_pid
    assert {item["reason"] for item in report["unknown"]} == {"no owner recorded"}
    assert {item["session_id"] for item in report["damaged"]} == foreign.damaged
    after = hashes(root)
    changed = {name for name, digest in before.items() if after.get(name) != digest}
    assert changed == {f"sessions/{session_id}/state.json" for session_id in swept}
    assert {stored(root, session_id)["status"] for session_id in swept} == {"failed"}
