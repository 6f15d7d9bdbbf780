"""The command as a process: pipes, terminals, signals, the environment, the missing extra."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import sessionstore
from tests.support.cli import (
    GONE,
    acting,
    environment,
    on_terminal,
    process,
    put,
    put_hostile,
    run,
    state,
)
from tests.support.processes import DEADLINE, needs_linux, new_session

ADVICE = "pip install 'sessionstore[cli]'"


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sessions whose listing as jsonl is much larger than what a pipe holds (64 KiB)."""
    root = tmp_path_factory.mktemp("crowd")
    for number in range(400):
        put(root, f"s{number:04}", state(f"s{number:04}", agent_id="a" * 200))
    return root


# --- ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("ls",), 0),
        (("show", "torn"), 5),
        (("show", "none"), 3),
        (("show", "s"), 2),
        (("--no-such-option",), 2),
        ((), 2),
        (("recover",), 5),
    ],
)
def test_exit_codes_of_the_process(tmp_path: Path, args: tuple[str, ...], code: int) -> None:
    for name in ("s1", "s2"):
        put(tmp_path, name)
    put(tmp_path, "torn", "{")
    done = run(*args, env={"SESSIONSTORE_ROOT": str(tmp_path)})
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    if code in (2, 3):
        assert done.stdout == ""


@pytest.mark.parametrize("form", ["jsonl", "json", "ids", "table"])
def test_a_reader_that_has_seen_enough_is_no_error(crowd: Path, form: str) -> None:
    with process(
        "--root", str(crowd), "ls", "-n", "0", "-o", form,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline()
        child.stdout.close()
        said = child.stderr.read().decode()
        assert child.wait(timeout=DEADLINE) == 0
    assert "Traceback" not in said
    assert "Broken" not in said


def test_a_pipe_that_is_closed_before_the_first_byte_is_no_error(tmp_path: Path) -> None:
    put(tmp_path, "one")
    for args in (("ls", "-o", "ids"), ("--help",), ("show", "one")):
        reading, writing = os.pipe()
        os.close(reading)
        try:
            done = run("--root", str(tmp_path), *args, stdout=writing)
        finally:
            os.close(writing)
        assert (done.returncode, done.stderr) == (0, "")


def test_closed_pipes_on_both_streams_are_no_error(tmp_path: Path) -> None:
    put(tmp_path, "one")
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = run("--root", str(tmp_path), "ls", stdout=writing, stderr=writing)
    finally:
        os.close(writing)
    assert done.returncode == 0


@needs_linux("/dev/full refuses every write")
def test_output_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    put(tmp_path, "one")
    with open("/dev/full", "wb") as full:
        done = run("--root", str(tmp_path), "ls", stdout=full)
    assert done.returncode == 1
    assert "cannot write the output" in done.stderr
    assert "Traceback" not in done.stderr


@needs_linux("SIGINT is sent to one process")
def test_ctrl_c_ends_with_130_and_one_line(crowd: Path) -> None:
    with process(
        "--root", str(crowd), "ls", "-o", "jsonl", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        # One byte read: it is at work, and cannot end, since the rest does not fit into the pipe.
        assert os.read(child.stdout.fileno(), 1) == b"{"
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=DEADLINE) == 130
        assert child.stderr.read() == b"sessionstore: interrupted\n"


def test_text_that_the_encoding_lacks_is_escaped(tmp_path: Path) -> None:
    put(tmp_path, "one", state("one", goal_id="žluťoučký"))
    done = run("--root", str(tmp_path), "ls", env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "\\u017elu" in done.stdout


MODULE = [sys.executable, "-m", "sessionstore"]
INSTALLED = [str(Path(sys.executable).with_name("sessionstore"))]


@pytest.mark.parametrize("command", [MODULE, INSTALLED])
def test_both_ways_to_start_it_tell_the_version_and_the_name_of_the_command(
    command: list[str],
) -> None:
    def said(*args: str) -> str:
        done = subprocess.run(
            [*command, *args], check=False, capture_output=True, text=True,
            env=environment(), timeout=DEADLINE,
        )  # fmt: skip
        return done.stdout + done.stderr

    assert said("--version") == f"sessionstore, version {version('sessionstore')}\n"
    assert version("sessionstore") == sessionstore.__version__
    assert said("--help").startswith("Usage: sessionstore [OPTIONS] COMMAND")
    assert said("ls", "--none").startswith("Usage: sessionstore ls [OPTIONS]\nTry 'sessionstore ls")


# --- terminals -----------------------------------------------------------------------------------


def test_colours_appear_on_a_terminal_only_and_not_with_no_color(tmp_path: Path) -> None:
    put(tmp_path, "one")
    args = ("--root", str(tmp_path), "ls")
    assert "\x1b[" in on_terminal(*args, both=True)
    assert "\x1b[" not in on_terminal(*args, both=True, env={"NO_COLOR": "1"})
    assert "\x1b[" not in on_terminal(*args, "--color", "never", both=True)
    assert "\x1b[" not in run(*args).stdout
    assert "\x1b[" in run(*args, "--color", "always", env={"NO_COLOR": "1"}).stdout


def test_ids_stay_whole_on_a_narrow_terminal_and_lines_in_a_pipe(tmp_path: Path) -> None:
    long_id = "session_20260125_170903_" + "a" * 60
    put(tmp_path, long_id, state(long_id, goal_id="word " * 30))
    args = ("--root", str(tmp_path), "ls")
    assert long_id in on_terminal(*args, both=True, env={"COLUMNS": "40", "NO_COLOR": "1"})
    piped = run(*args, env={"COLUMNS": "40"}).stdout.splitlines()
    assert len(piped) == 2
    assert piped[1].startswith(long_id)


def test_a_narrow_terminal_leaves_columns_out_and_says_which(tmp_path: Path) -> None:
    put(tmp_path, "session_20260125_170903_00000001", state("session_20260125_170903_00000001"))
    args = ("--root", str(tmp_path), "ls")
    narrow = on_terminal(*args, both=True, env={"COLUMNS": "60", "NO_COLOR": "1"})
    table, told = narrow.split("too narrow for ")
    assert all(len(line) <= 60 for line in table.splitlines()), narrow
    assert "STEPS" not in table
    assert "GOAL, STEPS, RESUMABLE:" in told
    wide = on_terminal(*args, both=True, env={"COLUMNS": "140", "NO_COLOR": "1"})
    assert "STEPS" in wide
    assert "too narrow" not in wide
    chosen = on_terminal(*args, "--fields", "id,steps,node", both=True, env={"COLUMNS": "40"})
    assert "STEPS" in chosen, "what was asked for is shown"


def test_a_damaged_index_is_told_on_stderr_and_changes_no_data(tmp_path: Path) -> None:
    new_session(tmp_path)
    args = ("--root", str(tmp_path), "ls", "-o", "ids")
    assert run(*args).stdout == "s1\n"
    (index,) = tmp_path.glob("index-*/rows.sqlite")
    index.write_bytes(b"noise" * 4000)
    told = run(*args)
    assert told.stdout == "s1\n"
    assert "the index was damaged, and is made anew" in told.stderr
    assert run(*args).stderr == ""


def test_a_long_sweep_shows_its_progress_on_a_terminal_and_nowhere_else(tmp_path: Path) -> None:
    for number in range(60):
        put(tmp_path, f"s{number}", state(f"s{number}", status="active", pid=GONE))
    args = ("--root", str(tmp_path), "recover", "-o", "json")
    assert "judging" in on_terminal(*args)
    piped = run(*args)
    assert "judging" not in piped.stderr
    assert len(json.loads(piped.stdout)["swept"]) == 60


# --- the extra -----------------------------------------------------------------------------------


def test_importing_the_command_line_imports_neither_click_nor_rich() -> None:
    code = "import sys, sessionstore.cli; print([n for n in ('click', 'rich') if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=DEADLINE
    )
    assert done.stdout == "[]\n"


def test_help_and_machine_formats_do_not_import_rich(tmp_path: Path) -> None:
    put(tmp_path, "one")
    code = (
        "import sys; from sessionstore.cli import main; main();"
        " print('rich' in sys.modules, file=sys.stderr)"
    )
    for args in (["--help"], ["--root", str(tmp_path), "ls", "-o", "json"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *args],
            check=True, capture_output=True, text=True, env=environment(), timeout=DEADLINE,
        )  # fmt: skip
        assert done.stderr.splitlines()[-1] == "False"


@pytest.mark.parametrize("package", ["click", "rich"])
def test_without_the_extra_it_says_how_to_install_it(tmp_path: Path, package: str) -> None:
    put(tmp_path, "one")
    blocked = (
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] == {package!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Blocker())\n"
        "from sessionstore.cli import main\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", blocked, "--root", str(tmp_path), "ls"],
        check=False, capture_output=True, text=True, env=environment(), timeout=DEADLINE,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert ADVICE in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("package", ["click", "rich"])
def test_a_broken_package_counts_as_missing(tmp_path: Path, package: str) -> None:
    put(tmp_path / "store", "one")
    (tmp_path / "stubs").mkdir()
    (tmp_path / "stubs" / f"{package}.py").write_text("raise ImportError('broken')\n")
    known = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(tmp_path / "stubs"), *([known] if known else [])])
    done = run("--root", str(tmp_path / "store"), "ls", env={"PYTHONPATH": path})
    assert (done.returncode, done.stdout) == (2, "")
    assert ADVICE in done.stderr
    assert "Traceback" not in done.stderr


def test_hostile_text_reaches_a_terminal_only_escaped(tmp_path: Path) -> None:
    put_hostile(tmp_path)
    for command in (("ls",), ("show", "h-paused"), ("recover",)):
        args = ("--root", str(tmp_path), *command)
        for color in ("always", "never"):
            shown = on_terminal(*args, "--color", color, both=True).replace("\r\n", "\n")
            assert not acting(shown), shown
            assert "\\x1b" in shown.replace("\n", "") or command == ("recover",)
