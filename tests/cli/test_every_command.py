"""What every command keeps to, whichever there are: escaping, help, quiet ends, quick starts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

import click
import pytest

import sessionstore
from sessionstore import SessionStore
from sessionstore.cli.app import app
from sessionstore.cli.commands import COMMANDS
from sessionstore.cli.errors import Exit
from sessionstore.cli.options.fields import FIELDS
from sessionstore.storage.files.index import rebuild
from tests.support.cli import (
    GONE,
    HOSTILE,
    acting,
    environment,
    invoke,
    leave_behind,
    on_terminal,
    put,
    put_hostile,
    run,
    state,
)
from tests.support.processes import (
    DEADLINE,
    new_session,
    session_path,
    state_path,
)

HUGE = "\x1b[31m\u202e" + "x" * 10_000_000
"""Ten million characters, the first of which act on a terminal."""

HEAVY = ("pydantic", "pydantic_core", "rich", "psutil", "filelock", "sqlite3", "asyncio")
"""What no --help and no completion may wait for."""


Args = tuple[str, ...]

NEW = "/new"
"""Stands for a file that does not exist yet."""

RUNS: dict[str, list[Args]] = {
    "ls": [
        ("ls",),
        ("ls", "--times", "iso"),
        ("ls", "--fields", ",".join(FIELDS)),
        ("ls", "--goal", HOSTILE),
        ("ls", "--label", HOSTILE),
        ("ls", "--label", f"title={HOSTILE[:-1]}"),
        ("ls", "--fields", f"label:{HOSTILE[:-1].replace(',', '')},label:title"),
        ("ls", "-n", "2"),
    ],
    "show": [
        *(("show", name) for name in ("h-active", "h-unknown", "h-paused", "h-failed")),
        *(("show", name) for name in ("h-damaged", "h-torn")),
        ("show", "h-paused", "--state"),
        ("show", "h-paused", "--at", "cp_1"),
        ("show", "h-paused", "--at", "cp_1", "--state"),
        ("show", "h-paused", "--at", HOSTILE),
        ("show", HOSTILE),
    ],
    "stats": [("stats",)],
    "watch": [("watch", "--timeout", "1s"), ("watch", HOSTILE)],
    "export": [("export", "--all", "-O", NEW), ("export", HOSTILE, "-O", NEW)],
    "import": [("import", HOSTILE[:-1]), ("import", NEW)],
    "prune": [("prune", "--older-than", "1s"), ("prune", "--keep-last", "1")],
    "recover": [("recover",), ("recover", "--assume-dead", HOSTILE)],
    "fsck": [("fsck",)],
    "doctor": [("doctor",)],
    "completion": [("completion", "bash"), ("completion", HOSTILE)],
}  # fmt: skip
"""How each command is run on the hostile store; one that is not here gets each id in turn.

One that goes on until it is interrupted belongs here, with an end.
"""

CHANGES: list[Args] = [
    ("recover", "--apply", "--assume-dead", "h-unknown"),
    ("fsck", "--repair"),
    ("delete", "--yes", "--force", "h-paused", "h-torn", "h-unknown"),
]
"""What changes the store, run last and on a copy."""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with hostile text in every field of every kind of session; read only by tests."""
    root = tmp_path_factory.mktemp("hostile")
    put_hostile(root)
    for file in root.glob("sessions/h-[aufp]*/state.json"):
        content = json.loads(file.read_text())
        content["problems"] = [{"severity": HOSTILE, "description": HOSTILE}, {HOSTILE: [HOSTILE]}]
        content["decisions"] = [{HOSTILE: HOSTILE}]
        content["progress"] |= {
            "node_visit_counts": {HOSTILE: 3},
            "retry_details": {HOSTILE: 2},
        }
        content["forked_from"] = {"session_id": HOSTILE, "checkpoint_id": HOSTILE}
        content["active_triggers"] = [HOSTILE]
        content["trigger_tasks"] = {HOSTILE: HOSTILE}
        content["labels"] = {HOSTILE: HOSTILE, "title": HOSTILE}
        file.write_text(json.dumps(content))
    with SessionStore(root).edit("h-paused") as session:
        session.journal().append({HOSTILE: [HOSTILE]}, key=HOSTILE)
        session.step(HOSTILE, len, HOSTILE)
    return root


@pytest.fixture(scope="module")
def huge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of one session with huge text in every field that a table shows."""
    root = tmp_path_factory.mktemp("huge")
    long = HUGE[:1_000_000]
    content = {
        "goal_id": HUGE,
        "status": "failed",
        "result": {"success": False, "error": long, "output": {"a": long}},
        "progress": {"current_node": long, "path": [long], "node_visit_counts": {long: 2}},
        "problems": [{"severity": long, "description": long}, {long: long}],
        "latest_checkpoint_id": long,
        "checkpoint_enabled": True,
        "labels": {long: long, "title": long},
    }
    put(root, "h-huge", state("h-huge") | content)
    return root


def command_named(name: str) -> click.Command:
    context = click.Context(app)
    command = app.get_command(context, name)
    assert command is not None
    return command


def runs_of(name: str, root: Path) -> list[Args]:
    """Return how to run a command; what nobody has listed above is tried on every session."""
    if name in RUNS:
        return RUNS[name]
    arguments = [item for item in command_named(name).params if isinstance(item, click.Argument)]
    if not arguments:
        return [(name,)]
    return [(name, entry.name) for entry in sorted((root / "sessions").iterdir())]


def forms_of(name: str) -> list[Args]:
    """Return nothing, and each format that the command has."""
    found: list[Args] = [()]
    for item in command_named(name).params:
        if item.name == "form" and isinstance(item.type, click.Choice):
            found += [("-o", str(form)) for form in item.type.choices]
    return found


@pytest.mark.parametrize("color", ["never", "always"])
@pytest.mark.parametrize("name", COMMANDS)
def test_hostile_text_reaches_no_output_of_any_command_but_escaped(
    hostile: Path, tmp_path: Path, name: str, color: str
) -> None:
    for args in runs_of(name, hostile):
        for number, form in enumerate(forms_of(name)):
            new = str(tmp_path / f"{number}-{HOSTILE[:-1].replace('/', '')}")
            given = [new if word == NEW else word for word in args]
            given += [*form, "--color", color] if name != "completion" else []
            result = invoke(hostile, *given)
            assert result.exit_code in set(Exit), (args, result.exit_code)
            assert not acting(result.stdout), args
            assert not acting(result.stderr), args
            if color == "never":
                assert "\x1b" not in result.stdout + result.stderr, args


@pytest.mark.parametrize("name", COMMANDS)
def test_bytes_that_are_no_text_are_refused_by_every_command(hostile: Path, name: str) -> None:
    # The shell hands over any bytes; Python makes lone surrogates of those that are not UTF-8.
    ways = [args for args in runs_of(name, hostile) if HOSTILE in args]
    for odd in ("\udcff", "h-\udcff"):
        for args in ways:
            result = invoke(hostile, *(odd if word == HOSTILE else word for word in args))
            assert result.exit_code in (Exit.USAGE, Exit.NOT_FOUND), (args, result.exit_code)
            assert "\\udcff" in result.stderr, args


@pytest.mark.parametrize("coding", ["utf-8", "utf-8:surrogateescape"])
@pytest.mark.parametrize("args", [("show", "-"), ("explain", "-"), ("export", "-", "-O", "-")])
def test_a_line_of_stdin_that_is_no_text_is_refused(hostile: Path, args: Args, coding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sessionstore", "--root", str(hostile), *args],
        check=False,
        input=b"\xff\n",
        capture_output=True,
        env=environment({"PYTHONIOENCODING": coding}),
        timeout=DEADLINE,
    )
    assert (done.returncode, done.stdout) == (Exit.USAGE, b"")
    assert done.stderr.startswith(b"sessionstore: session id '\\udcff': ")


@pytest.mark.parametrize("args", CHANGES)
def test_hostile_text_is_escaped_by_what_changes_a_store(
    hostile: Path, tmp_path: Path, args: Args
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(hostile, root)
    result = invoke(root, *args)
    assert result.exit_code in (Exit.OK, Exit.ERROR, Exit.DAMAGE)
    assert result.stdout
    assert not acting(result.stdout)
    assert not acting(result.stderr)


def test_hostile_text_reaches_a_terminal_only_escaped_and_in_short(hostile: Path) -> None:
    for command in (("ls",), ("show", "h-paused"), ("stats",)):
        shown = on_terminal(
            "--root", str(hostile), *command, "--color", "never", both=True, env={"COLUMNS": "140"}
        ).replace("\r\n", "\n")
        assert not acting(shown), command


@pytest.mark.parametrize("name", COMMANDS)
def test_huge_text_is_cut_for_people(huge: Path, tmp_path: Path, name: str) -> None:
    """Ten million characters are neither printed nor folded."""
    args = {"show": ("show", "h-huge"), "completion": ("completion", "bash")}.get(name)
    given = args or runs_of(name, huge)[0]
    result = invoke(huge, *(str(tmp_path / "new") if word == NEW else word for word in given))
    assert result.exit_code in set(Exit)
    assert len(result.stdout) + len(result.stderr) < 30_000
    assert not acting(result.stdout)
    assert not acting(result.stderr)


def test_a_huge_value_is_whole_in_json(huge: Path) -> None:
    """It is cut for people only."""
    (shown,) = json.loads(invoke(huge, "ls", "-o", "json").stdout)["sessions"]
    assert shown["goal_id"] == HUGE


# --- help ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_an_example_of_its_command(name: str) -> None:
    result = invoke(None, name, "--help")
    assert result.exit_code == 0
    assert "Examples:\n" in result.stdout
    assert f"sessionstore {name} " in result.stdout or f"sessionstore {name}\n" in result.stdout
    assert "usage: " in result.stdout.lower()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_is_for(name: str) -> None:
    entry = COMMANDS[name]
    assert entry.summary.endswith(".")
    assert entry.summary in invoke(None, "--help").stdout
    assert command_named(name).name == name


def loaded_by(*args: str, env: dict[str, str] | None = None) -> list[str]:
    """Return which of the heavy packages a run of the command has loaded."""
    code = (
        "import sys\n"
        "from sessionstore.cli import main\n"
        "main()\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        check=True, capture_output=True, text=True, env=environment(env), timeout=DEADLINE,
    )  # fmt: skip
    found: list[str] = json.loads(done.stderr.splitlines()[-1].replace("'", '"'))
    return found


@pytest.mark.parametrize("args", [(), *((name,) for name in COMMANDS)])
def test_no_help_loads_what_only_the_work_needs(args: Args) -> None:
    """In the module of a command, import pydantic's users where they are used."""
    assert loaded_by(*args, "--help") == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_session_that_a_command_takes_is_completed(hostile: Path, name: str) -> None:
    """Give the argument the type ``SESSION_ID`` of cli/completion/ids.py."""
    command = command_named(name)
    context = click.Context(command, obj=_settings(hostile))
    for item in command.params:
        if isinstance(item, click.Argument) and item.name in ("session_id", "ids"):
            offered = [found.value for found in item.shell_complete(context, "h-p")]
            assert offered == ["h-paused"], item.name


def _settings(root: Path) -> Any:
    from sessionstore.cli.options.shared import Settings

    return Settings(root=str(root))


# --- ends ----------------------------------------------------------------------------------------


def _without_reader(args: Args) -> subprocess.CompletedProcess[str]:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return run(*args, stdout=writing, stdin=subprocess.DEVNULL)
    finally:
        os.close(writing)


def _one(root: Path) -> Path:
    with SessionStore(root).create("a-goal", session_id="one") as session:
        session.checkpoint("node_complete", node="plan")
        session.pause(node="ask")
    return root


def quick_run_of(name: str, root: Path) -> Args:
    """Return how to run a command on the session ``one``."""
    if name == "show":
        return ("show", "one")
    args = ("completion", "zsh") if name == "completion" else runs_of(name, root)[0]
    return tuple(f"{root}-new" if word == NEW else word for word in args)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_reader_that_is_gone_is_no_error_of_any_command(tmp_path: Path, name: str) -> None:
    """The command ends as it would have: twice, as one may change the store."""
    ends = []
    for reader, root in ((True, _one(tmp_path / "a")), (False, _one(tmp_path / "b"))):
        args = ("--root", str(root), *quick_run_of(name, root))
        done = run(*args, stdin=subprocess.DEVNULL) if reader else _without_reader(args)
        ends.append(done.returncode)
        assert "Traceback" not in done.stderr
        assert "Broken" not in done.stderr
    assert ends[1] in (0, ends[0])  # 0: it was cut short


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("completion",)])
def test_no_color_is_honoured_by_every_command_on_a_terminal(tmp_path: Path, name: str) -> None:
    root = _one(tmp_path / "store")
    args = quick_run_of(name, root)
    shown = on_terminal("--root", str(root), *args, both=True, env={"NO_COLOR": "1"})
    assert "\x1b[" not in shown


@pytest.mark.parametrize(
    ("given", "nearest"),
    [("sho", "show"), ("lss", "ls"), ("recovr", "recover"), ("doktor", "doctor")],
)
def test_a_command_that_is_none_is_answered_with_the_nearest(given: str, nearest: str) -> None:
    result = invoke(None, given)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"Did you mean {nearest}?" in result.stderr


def test_a_command_like_none_is_refused_without_a_guess() -> None:
    result = invoke(None, HOSTILE.replace("\x00", ""))
    assert result.exit_code == 2
    assert "Did you mean" not in result.stderr
    assert not acting(result.stderr)


def test_the_exit_codes_are_those_that_help_tells() -> None:
    told = invoke(None, "--help").stdout.partition("Exit codes:")[2]
    numbers = {int(word) for word in told.replace(",", " ").split() if word.isdigit()}
    assert numbers == {int(code) for code in Exit}


# --- any field, any argument ---------------------------------------------------------------------


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


OURS = ["explain", "history", "diff", "fork", "mark", "retry", "label", "cancel"]


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
            ["retry", session_id, "--force"],
            ["label", session_id, HOSTILE, "--remove", HOSTILE],
            ["label", session_id, "--remove", HOSTILE],
            ["label", session_id, f"title={HOSTILE}"],
            ["label", session_id],
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


# --- alike ---------------------------------------------------------------------------------------


LINES = {
    "ls": "ls",
    "show": "show s1",
    "explain": "explain s1",
    "history": "history s1",
    "diff": "diff s1 r2 r3",
    "stats": "stats",
    "watch": "watch --timeout 0.1",
    "tail": "tail s1",
    "journal": "journal s1 messages",
    "steps": "steps s1",
    "recover": "recover",
    "mark": "mark s1 cancelled --reason x",
    "retry": "retry s2",
    "label": "label s1 user=42",
    "cancel": "cancel s1",
    "fork": "fork s1",
    "export": "export --all -O {new}.tar",
    "import": "import {old}.tar",
    "delete": "delete s1 --yes",
    "prune": "prune --older-than 1s",
    "fsck": "fsck",
    "doctor": "doctor",
}
"""A run of every command that has lines of JSON, with at least one line to write."""


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "completion"])
def test_every_line_of_json_names_its_schema(paused: Path, name: str) -> None:
    assert ("-o", "jsonl") in forms_of(name)
    new_session(paused, "s2", checkpoint=False)
    with SessionStore(paused).edit("s1") as session:
        session.journal("messages").append("hello")
        session.step("greet", len, "hello")
    words = LINES[name].format(new=paused.parent / "new", old=paused.parent / "old").split()
    result = invoke(paused, *words, "-o", "jsonl")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert lines, result.stderr
    for line in lines:
        assert line["schema"].startswith("sessionstore.")
        assert line["schema"].endswith("/1")
        assert len(line) > 1
    if name in ("watch", "tail"):
        return  # their lines are objects in -o json, too
    again = LINES[name].format(new=paused.parent / "newer", old=paused.parent / "old").split()
    whole = invoke(paused, *again, "-o", "json")
    if whole.stdout:
        kind = json.loads(whole.stdout)["schema"].replace("session/", "several/")
        assert lines[0]["schema"] == kind.replace("/", ".line/")


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "ids"])
def test_show_and_explain_agree_that_a_missing_checkpoint_is_damage(
    paused: Path, form: str
) -> None:
    latest = SessionStore(paused).load("s1").latest_checkpoint_id
    (session_path(paused, "s1") / "checkpoints" / f"{latest}.json").unlink()
    for command in ("show", "explain"):
        assert invoke(paused, command, "s1", "-o", form).exit_code == 5
    new_session(paused, "bare", checkpoint=False)
    assert invoke(paused, "show", "bare", "-o", form).exit_code == 0


def test_show_ls_and_explain_count_the_same_steps(paused: Path) -> None:
    with SessionStore(paused).create("goal", session_id="path") as session:
        session.state.progress.path += ["a", "b"]
        session.checkpoint()
        session.fail("x")
    (listed,) = json.loads(
        invoke(paused, "ls", "--goal", "goal", "-s", "failed", "-o", "json").stdout
    )["sessions"]
    assert listed["steps_executed"] == 0
    told = invoke(paused, "explain", "path").stdout
    assert "2 nodes visited" in told
    assert "steps done" not in told


# --- quiet ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        "recover --apply -o ids",
        "prune --older-than 30d --apply -o ids",
        "fsck -o ids",
        "export --all -O {new}",
        "ls --status failed",
        "diff s1 r2 r2",
        "cancel s1",
    ],
)
def test_what_is_fine_says_nothing(tmp_path: Path, args: str) -> None:
    new_session(tmp_path)
    words = args.format(new=tmp_path / "new.tar").split()
    told = invoke(tmp_path, "-q", *words)
    assert told.stderr == ""
    invoke(tmp_path, "export", "--all", "-O", str(tmp_path / "again.tar"))
    after = invoke(tmp_path, *(word.replace("new.tar", "newer.tar") for word in words), "--quiet")
    assert after.stderr == ""
    loud = invoke(tmp_path, *(word.replace("new.tar", "newest.tar") for word in words))
    assert loud.stderr != "", "the next command speaks again"
    assert loud.exit_code == told.exit_code == after.exit_code


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ("recover --apply -o ids", 5, "1 damaged"),
        ("prune --older-than 30d --apply -o ids", 5, "damaged"),
        ("fsck -o ids", 5, "1 damaged"),
        ("export --all -O {new}", 5, "torn is damaged"),
        ("show torn", 5, "damage was found"),
        ("show none", 3, "none is not in"),
        ("show", 2, "Usage"),
        ("ls --status failed -o ids", 0, "1 damaged session could not be judged"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, args: str, code: int, said: str) -> None:
    put(tmp_path, "torn", "{")
    told = invoke(tmp_path, "-q", *args.format(new=tmp_path / "new.tar").split())
    assert told.exit_code == code
    assert said in told.stderr


def few_sessions_on_a_slow_machine(root: Path, patch: pytest.MonkeyPatch) -> None:
    """Make three sessions, and let ten seconds pass from one look at the clock to the next."""
    for number in range(3):
        new_session(root, f"s{number}")
    ticks = count(step=10.0)
    patch.setattr(time, "monotonic", lambda: next(ticks))


def test_a_first_listing_of_few_sessions_says_nothing_of_the_index_however_long_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    few_sessions_on_a_slow_machine(tmp_path, monkeypatch)
    with caplog.at_level("DEBUG", "sessionstore"):
        assert invoke(tmp_path, "ls").stderr == "3 sessions\n"
    assert "compared 3 sessions" in caplog.text, "a program that logs details gets them"


def test_a_first_listing_of_many_sessions_says_why_it_took_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "MANY", 3)
    few_sessions_on_a_slow_machine(tmp_path, monkeypatch)
    told = invoke(tmp_path, "ls").stderr
    assert "3 sessions compared so far" in told
    assert "compared 3 sessions, 3 changed, 0 gone, in " in told


def test_no_bar_is_shown_either(tmp_path: Path) -> None:
    for number in range(60):
        put(tmp_path, f"s{number}", state(f"s{number}", status="active", pid=GONE))
    assert on_terminal("-q", "--root", str(tmp_path), "recover", "-o", "json") == ""


# --- 80 columns ----------------------------------------------------------------------------------

IDS = [f"session_20260125_170903_0000000{number}" for number in range(3)]
"""As long as ids that are made."""


@pytest.fixture(scope="module")
def long_ids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a sound session, one with a damaged checkpoint, and one that is torn."""
    root = tmp_path_factory.mktemp("narrow")
    store = SessionStore(root)
    for session_id in IDS:
        with store.create("triage the mail", session_id=session_id) as session:
            for node in ("plan", "fetch"):
                session.checkpoint("node_complete", node=node)
            if session_id == IDS[1]:
                session.journal("messages").append("x" * 200, key="k" * 200)
                session.journal().append(1)
                session.step("x" * 200, len, "four")
            session.fail("by itself")
    kept = session_path(root, IDS[1]) / "checkpoints"
    for file, content in ((min(kept.iterdir()), "{"), (state_path(root, IDS[2]), "{")):
        file.unlink()
        file.write_text(content)
    (root / "locks" / "stray.lock").touch()
    leave_behind(root, "session_20260125_170903_stale001")
    return root


def shown(root: Path, *args: str, columns: int = 80) -> list[str]:
    env = {"COLUMNS": str(columns), "NO_COLOR": "1"}
    told = on_terminal("--root", str(root), *args, both=True, env=env)
    return told.replace("\r\n", "\n").splitlines()


@pytest.mark.parametrize(
    "args",
    [
        ("show", IDS[0]), ("show", IDS[1]), ("history", IDS[0]), ("history", IDS[1]), ("fsck",),
        ("recover",), ("ls",), ("explain", IDS[1]), ("stats",), ("doctor",),
        ("journal", IDS[1]), ("journal", IDS[1], "messages"), ("steps", IDS[1]),
    ],
    ids=" ".join,
)  # fmt: skip
def test_no_table_is_wider_than_the_terminal(long_ids: Path, args: tuple[str, ...]) -> None:
    lines = [line for line in shown(long_ids, *args) if "too narrow for" not in line]
    assert max(map(len, lines)) <= 80, lines


def test_a_timeline_keeps_times_and_revisions_which_name_the_checkpoints(long_ids: Path) -> None:
    heading = next(line for line in shown(long_ids, "history", IDS[0]) if "WHAT" in line)
    assert heading.split() == ["TIME", "REVISION", "WHAT", "NODE", "STEPS", "SIZE", "REMARK"]
    assert invoke(long_ids, "show", IDS[0], "--at", "r2").exit_code == 0
    wide = next(line for line in shown(long_ids, "history", IDS[0], columns=140) if "WHAT" in line)
    assert "CHECKPOINT" in wide


def test_checkpoints_of_a_session_keep_their_ids_whole(long_ids: Path) -> None:
    lines = shown(long_ids, "show", IDS[1])
    kept = {path.stem for path in (session_path(long_ids, IDS[1]) / "checkpoints").iterdir()}
    assert kept <= {line.split(" ")[0] for line in lines}
    assert any(line.startswith("too narrow for") for line in lines)


def test_a_check_up_says_what_is_damaged_and_where_it_is_from_the_root(long_ids: Path) -> None:
    damaged = min((session_path(long_ids, IDS[1]) / "checkpoints").iterdir())
    piped = invoke(long_ids, "fsck").stdout
    assert f"sessions/{IDS[1]}/checkpoints/{damaged.name}" in piped
    assert str(long_ids) not in piped
    narrow = shown(long_ids, "fsck")
    place = next(number for number, line in enumerate(narrow) if damaged.name in line)
    assert narrow[place].split() == ["damage", f"checkpoints/{damaged.name}"]
    assert IDS[1] in narrow[:place]
