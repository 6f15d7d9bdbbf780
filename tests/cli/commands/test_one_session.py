"""The commands about one session: explain, history, diff, fork, mark and cancel."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sessionstore import SessionStore
from sessionstore.cli.commands import COMMANDS
from tests.support.cli import HOSTILE, acting, invoke, leave_behind, process, put_hostile, run
from tests.support.processes import (
    DEADLINE,
    Child,
    left_active,
    new_session,
    read_state,
    rounds,
    state_path,
    until,
)

OURS = ["explain", "history", "diff", "fork", "mark", "cancel"]


def data(root: Path, *args: str) -> dict[str, Any]:
    """Return what a command writes as JSON."""
    result = invoke(root, *args, "-o", "json")
    return dict(json.loads(result.stdout))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with a session that kept two checkpoints, saved once more, and failed."""
    with SessionStore(tmp_path).create("goal", session_id="s1") as session:
        session.state.data_buffer["score"] = 1
        session.checkpoint("node_complete", node="plan")
        session.state.data_buffer["score"] = 2
        session.checkpoint("node_complete", node="fetch")
        session.state.data_buffer["score"] = 3
        session.state.data_buffer["pages"] = ["x" * 60] * 100
        session.fail("by itself")
    return tmp_path


# --- all of them ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OURS)
def test_the_help_has_examples_and_an_unknown_id_is_not_found(root: Path, name: str) -> None:
    assert COMMANDS[name].summary in invoke(None, "--help").stdout
    shown = invoke(None, name, "--help").stdout
    assert f"  sessionstore {name} " in shown[shown.index("Examples:") :]
    more = {"mark": ["failed", "--reason", "x"]}.get(name, [])
    result = invoke(root, name, "none", *more)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "none is not in" in result.stderr
    assert invoke(root, name, *more).exit_code == 2


def test_hostile_text_reaches_no_terminal(tmp_path: Path) -> None:
    put_hostile(tmp_path)
    store = SessionStore(tmp_path)
    made = store.fork("h-paused")
    ids = sorted(item.session_id for item in store.iter_find())
    assert made in ids
    seen = 0
    for session_id in ids:
        for args in (
            ["explain", session_id],
            ["history", session_id, "--forks"],
            ["diff", session_id, "--all", "--full"],
            ["diff", session_id, "cp_1", "current", "--all"],
            ["cancel", session_id, "--reason", HOSTILE.replace("\x00", "")],
            ["mark", session_id, "paused", "--force", "--reason", HOSTILE.replace("\x00", "")],
            ["fork", session_id],
        ):
            for form in ([], ["--color", "always"], ["-o", "json"]):
                result = invoke(tmp_path, *args, *form)
                assert result.exit_code in (0, 1, 2, 3, 4, 5), (args, result.stderr)
                assert acting(result.stdout) == set(), args
                assert acting(result.stderr) == set(), args
                assert HOSTILE not in result.stdout + result.stderr
                seen += result.exit_code == 0
    assert seen > 40


# --- explain -------------------------------------------------------------------------------------


def test_explain_tells_facts_and_advice(root: Path) -> None:
    result = invoke(root, "explain", "s1")
    assert result.exit_code == 0
    facts = [re.split(r"  +", line, maxsplit=1) for line in result.stdout.splitlines()]
    told = dict(facts)
    assert told["session"] == "s1 has failed; it can be resumed."
    assert told["ended"].endswith(": by itself")
    assert told["not restored"].startswith("1 save and 0 steps")
    assert told["next"] == 'go on with it: store.resume("s1")'
    (found,) = data(root, "explain", "s1")["explanations"]
    assert (found["situation"], found["lost"]["revisions"]) == ("failed", 1)
    assert found["next"] == [
        {"text": "go on with it", "call": 'store.resume("s1")', "command": None}
    ]


def test_explain_reads_ids_from_a_pipe(root: Path) -> None:
    leave_behind(root, "s2")
    new_session(root, "s3", checkpoint=False)
    command = "sessionstore ls --resumable -o ids | head -1 | sessionstore explain - -o ids"
    python = f"{sys.executable} -m sessionstore --root {root}"
    done = subprocess.run(
        ["sh", "-c", command.replace("sessionstore", python)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "s2\n"
    result = run(
        "--root", str(root), "explain", "s1", "-", "-o", "jsonl", input="s2\n\n s3 \n", stdin=None
    )
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(item["session_id"], item["situation"]) for item in told] == [
        ("s1", "failed"),
        ("s2", "stale"),
        ("s3", "failed"),
    ]


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "ids"])
def test_explain_exits_with_5_where_there_is_damage(root: Path, form: str) -> None:
    state_path(root, "s1").write_text("{")
    result = invoke(root, "explain", "s1", "-o", form)
    assert result.exit_code == 5
    if form == "table":
        assert "sessionstore fsck --repair" in result.stdout


# --- history and diff ----------------------------------------------------------------------------


def test_history_is_a_timeline(root: Path) -> None:
    lines = invoke(root, "history", "s1").stdout.splitlines()
    assert [re.split(r"  +", line.strip())[1:3] for line in lines] == [
        ["REVISION", "WHAT"],
        ["1", "created"],
        ["2", "node_complete"],
        ["3", "node_complete"],
        ["4", "now failed"],
    ]
    assert lines[3].endswith("latest")
    ids = invoke(root, "history", "s1", "-o", "ids").stdout.split()
    assert ids == [item.checkpoint_id for item in SessionStore(root).checkpoints("s1")]
    found = data(root, "history", "s1")
    assert (found["schema"], "forks" in found) == ("sessionstore.history/1", False)
    assert [item["kind"] for item in found["history"]["moments"]] == [
        "created",
        "checkpoint",
        "checkpoint",
        "present",
    ]


def test_history_names_parent_and_forks(root: Path) -> None:
    made = invoke(root, "fork", "s1", "--at", "r2", "--as", "f1")
    assert (made.exit_code, made.stdout) == (0, "f1\n")
    assert "not copied" in made.stderr
    shown = invoke(root, "history", "s1", "--forks")
    assert re.match(r"f1 +cp_node_complete\.plan\.r2\.", shown.stdout.splitlines()[-1])
    (fork,) = data(root, "history", "s1", "--forks")["forks"]
    assert (fork["session_id"], fork["revision"]) == ("f1", 2)
    assert invoke(root, "history", "f1").stdout.startswith("forked from  s1 at cp_node")
    assert "forked from" in invoke(root, "show", "f1").stdout


def test_diff_folds_large_values_and_shows_them_if_asked(root: Path) -> None:
    result = invoke(root, "diff", "s1", "r2", "r3")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[2:] == [
        '~ progress.current_node: "plan" -> "fetch"',
        "~ data_buffer.score: 1 -> 2",
    ]
    folded = invoke(root, "diff", "s1").stdout
    assert "+ data_buffer.pages: [… 100 items, 6,400 characters]" in folded
    assert "x" * 60 in invoke(root, "diff", "s1", "--full").stdout
    assert "revision" not in [line.split()[1] for line in folded.splitlines()[2:]]
    assert "~ revision: 3 -> 4" in invoke(root, "diff", "s1", "--all").stdout
    found = data(root, "diff", "s1")
    assert found["differs"] is True
    (pages,) = (item for item in found["differences"] if item["path"] == "data_buffer.pages")
    assert len(pages["after"]) == 100


def test_long_texts_that_differ_late_are_shown_where_they_differ(tmp_path: Path) -> None:
    with SessionStore(tmp_path).create("goal", session_id="s1") as session:
        session.state.data_buffer["text"] = "a" * 5000 + "old"
        session.checkpoint()
        session.state.data_buffer["text"] = "a" * 5000 + "new" + "b" * 5000
        session.fail("bad")
    lines = invoke(tmp_path, "diff", "s1").stdout.splitlines()
    place = lines.index("~ data_buffer.text:")
    assert lines[place + 1] == f'    … 4,980 equal characters, then "{"a" * 20}old"'
    assert f'then "{"a" * 20}newbb' in lines[place + 2]
    assert max(map(len, lines)) < 150


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["r2", "r3"], 0),
        (["r2", "r3", "--exit-code"], 1),
        (["r3", "r3", "--exit-code"], 0),
        (["--exit-code", "-o", "json"], 1),
        (["cp_node"], 2),
        (["cp_x"], 3),
    ],
)
def test_diff_tells_by_its_exit_code_only_if_asked(root: Path, args: list[str], code: int) -> None:
    assert invoke(root, "diff", "s1", *args).exit_code == code


# --- fork ----------------------------------------------------------------------------------------


def test_fork_prints_nothing_but_the_new_id(root: Path) -> None:
    made = invoke(root, "fork", "s1").stdout
    assert re.fullmatch(r"session_\d{8}_\d{6}_[0-9a-f]{8}\n", made)
    found = data(root, "fork", "s1", "--at", "cp_node_complete.plan", "--as", "f1")
    assert found["session_id"] == "f1"
    assert found["forked_from"]["session_id"] == "s1"
    assert read_state(root, "f1")["data_buffer"] == {"score": 1}
    assert invoke(root, "fork", "s1", "--as", "f1").exit_code == 1
    assert invoke(root, "fork", "s1", "--as", "../x").exit_code == 2
    assert invoke(root, "fork", "s1", "--at", "cp_x").exit_code == 3


# --- mark and cancel -----------------------------------------------------------------------------


def test_mark_marks_those_that_it_may_and_says_so(root: Path) -> None:
    new_session(root, "s2")
    left_active(root, "unknown", owner=None, pid=None)
    marked = invoke(root, "mark", "s1", "s2", "cancelled", "--reason", "enough", "-o", "ids")
    assert (marked.exit_code, marked.stdout) == (0, "s1\ns2\n")
    assert read_state(root, "s2")["result"]["error"] == "enough"
    refused = invoke(root, "mark", "unknown", "failed", "--reason", "x")
    assert (refused.exit_code, refused.stdout) == (4, "")
    some = invoke(root, "mark", "unknown", "s1", "failed", "--reason", "x")
    assert (some.exit_code, some.stdout) == (6, "s1  marked failed\n")
    assert invoke(root, "mark", "unknown", "failed", "--reason", "x", "--force").exit_code == 0


@pytest.mark.parametrize(
    "args",
    [
        ["s1", "none", "failed", "--reason", "x"],
        ["s1", "failed", "--reason", " "],
        ["s1", "failed"],
        ["s1", "completed", "--reason", "x"],
    ],
)
def test_mark_changes_nothing_if_it_is_called_wrongly(root: Path, args: list[str]) -> None:
    before = read_state(root, "s1")
    assert invoke(root, "mark", *args).exit_code in (2, 3)
    assert read_state(root, "s1") == before


def test_a_live_process_is_not_marked_but_asked(root: Path) -> None:
    with Child("support.cancel_children.work", root / "other") as owner:
        other = root / "other"
        owner.hear()
        refused = invoke(other, "mark", "s1", "failed", "--reason", "x", "--force")
        assert refused.exit_code == 4
        assert f"pid {owner.pid}" in refused.stderr
        asked = invoke(other, "cancel", "s1", "--reason", "wrong input")
        assert asked.exit_code == 0
        assert asked.stdout.startswith(f"s1  requested: asked pid {owner.pid}")
        late = invoke(other, "cancel", "s1", "--wait", "0.05", "-o", "jsonl")
        assert late.exit_code == 7
        assert json.loads(late.stdout)["outcome"] == "requested"
        with process(
            "--root", str(other), "cancel", "s1", "--wait", f"{DEADLINE:g}", stdout=subprocess.PIPE
        ) as waiting:
            owner.tell("save")
            out, _ = waiting.communicate(timeout=DEADLINE)
            assert waiting.returncode == 0
        assert out == b"s1  cancelled: it is cancelled\n"
    # Those who only waited gave no reason: the one that was given stands.
    assert read_state(other, "s1")["result"]["error"].endswith(": wrong input")


def test_cancel_ends_the_sessions_of_dead_processes_and_leaves_ended_ones(root: Path) -> None:
    leave_behind(root, "dead")
    left_active(root, "unknown", owner=None, pid=None)
    new_session(root, "waits")
    before = {name: read_state(root, name) for name in ("s1", "unknown", "waits")}
    done = data(root, "cancel", "dead", "--reason", "enough")
    (outcome,) = done["cancellations"]
    assert (outcome["outcome"], outcome["status"]) == ("cancelled", "cancelled")
    assert invoke(root, "cancel", "dead").exit_code == 0  # it is
    assert invoke(root, "cancel", "unknown").exit_code == 4
    paused = invoke(root, "cancel", "waits")
    assert paused.exit_code == 1
    assert "sessionstore mark waits cancelled" in paused.stderr
    every = invoke(root, "cancel", "s1", "dead", "unknown", "waits", "-o", "ids")
    assert (every.exit_code, every.stdout) == (6, "dead\n")
    assert {name: read_state(root, name) for name in before} == before


def test_ctrl_c_ends_a_wait_and_leaves_the_request(root: Path) -> None:
    other = root / "other"
    with Child("support.cancel_children.work", other) as owner:
        owner.hear()
        command = ("--root", str(other), "cancel", "s1", "--wait", "600")

        def is_asked() -> bool:
            return any((other / "locks").glob("s1.*.cancel"))

        # Who is interrupted before it is known that the claim still stands takes the request back.
        for number in rounds("a request that was waited for"):
            with process(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as waiting:
                until(is_asked, "the request")
                time.sleep(min(number, 50) / 100)
                waiting.send_signal(signal.SIGINT)
                waiting.communicate(timeout=DEADLINE)
                assert waiting.returncode == 130
            if is_asked():
                break
        owner.tell("save")
        assert owner.wait() == 1
    assert read_state(other, "s1")["status"] == "cancelled"
