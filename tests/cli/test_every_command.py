"""What every command keeps to, whichever there are: escaping, help, quiet ends, quick starts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from sessionstore import SessionStore
from sessionstore.cli.app import app
from sessionstore.cli.commands import COMMANDS
from sessionstore.cli.errors import Exit
from sessionstore.cli.options.fields import FIELDS
from tests.cli.test_process import on_terminal
from tests.support.cli import (
    HOSTILE,
    acting,
    environment,
    invoke,
    put,
    put_hostile,
    run,
    state,
    unmeasured,
)
from tests.support.processes import DEADLINE

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
        file.write_text(json.dumps(content))
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
        check=True, capture_output=True, text=True, env=unmeasured(env), timeout=DEADLINE,
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
