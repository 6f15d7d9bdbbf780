"""Commands work with each other, and with others, in real pipes of a shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sessionstore import SessionStore
from tests.support.cli import invoke, leave_behind
from tests.support.processes import (
    CHECKOUT,
    DEADLINE,
    new_session,
    read_state,
    state_path,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store: one paused, one failed without a checkpoint, one whose process died."""
    made = tmp_path / "store"
    new_session(made, "paused-1")
    new_session(made, "failed-1", checkpoint=False)
    leave_behind(made, "stale-1")
    return made


def sh(root: Path, line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line as a person types it; ``sessionstore`` is the one of this checkout."""
    return subprocess.run(
        ["sh", "-c", line],
        cwd=root.parent,
        env={
            **os.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(CHECKOUT),
            "PYTHONWARNINGS": "error",
            "SESSIONSTORE_ROOT": str(root),
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )


def test_the_first_that_can_be_resumed_is_explained(root: Path) -> None:
    done = sh(root, "sessionstore ls --resumable -o ids | head -1 | sessionstore explain -")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("session       stale-1 says that it is active, but its process")


def test_ids_flow_through_three_commands(root: Path) -> None:
    line = (
        "sessionstore ls --stale -o ids | sessionstore explain - -o ids"
        " | sessionstore show - -o ids"
    )
    done = sh(root, line)
    assert (done.returncode, done.stdout) == (0, "stale-1\n")


def test_nothing_found_is_no_error_and_asks_for_nothing(root: Path) -> None:
    done = sh(root, "sessionstore ls --status completed -o ids | sessionstore explain -")
    assert (done.returncode, done.stdout) == (0, "")


def test_a_sweep_hands_over_what_it_marked(root: Path) -> None:
    done = sh(root, "sessionstore recover --apply -o ids 2>/dev/null | xargs -n 1 echo resume")
    assert (done.returncode, done.stdout) == (0, "resume stale-1\n")
    assert read_state(root, "stale-1")["status"] == "failed"


def test_what_is_listed_can_be_marked(root: Path) -> None:
    line = "sessionstore ls --stale -o ids | sessionstore mark - cancelled --reason 'not needed'"
    done = sh(root, line)
    assert done.returncode == 0, done.stderr
    assert read_state(root, "stale-1")["status"] == "cancelled"
    assert read_state(root, "stale-1")["result"]["error"] == "not needed"


def test_what_is_listed_can_be_cancelled_and_some_that_cannot_are_code_6(root: Path) -> None:
    line = "printf 'stale-1\\npaused-1\\n' | sessionstore cancel -"
    done = sh(root, line)
    assert done.returncode == 6, done.stderr
    assert read_state(root, "stale-1")["status"] == "cancelled"
    assert read_state(root, "paused-1")["status"] == "paused"


def test_an_export_flows_into_another_store(root: Path) -> None:
    line = (
        "sessionstore ls -s paused -o ids | sessionstore export - -O -"
        " | sessionstore --root elsewhere import - --create -o ids"
    )
    done = sh(root, line)
    assert (done.returncode, done.stdout) == (0, "paused-1\n"), done.stderr
    there = state_path(root.parent / "elsewhere", "paused-1")
    assert there.read_bytes() == state_path(root, "paused-1").read_bytes()


def test_an_export_that_is_cut_off_in_the_pipe_imports_nothing(root: Path) -> None:
    line = (
        "sessionstore export --all -O - | head -c 700"
        " | sessionstore --root elsewhere import - --create"
    )
    done = sh(root, line)
    assert done.returncode == 1, done.stderr
    assert not list(root.parent.glob("elsewhere/sessions/*"))


def test_json_lines_are_read_by_others(root: Path) -> None:
    reader = "import json,sys; print([json.loads(line)['session_id'] for line in sys.stdin])"
    done = sh(root, f'sessionstore ls -o jsonl --sort session_id | python -c "{reader}"')
    assert done.stdout == "['failed-1', 'paused-1', 'stale-1']\n"
    document = json.loads(sh(root, "sessionstore ls -o json | cat").stdout)
    assert document["schema"] == "sessionstore.sessions/1"


@pytest.mark.parametrize(
    "command",
    [
        "ls",
        "ls -o json",
        "show paused-1",
        "show paused-1 --raw",
        "explain paused-1",
        "history paused-1",
        "stats",
        "export --all -O -",
        "fsck -o jsonl",
        "completion bash",
    ],
)
def test_a_reader_that_leaves_is_no_error(command: str, root: Path) -> None:
    line = f"{{ sessionstore {command}; echo $? >code; }} | true; cat code"
    done = sh(root, line)
    assert done.stdout == "0\n", done.stderr
    assert "sessionstore:" not in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_id_in_a_pipe_is_code_3_and_named(root: Path) -> None:
    done = sh(root, "echo nowhere | sessionstore explain -")
    assert (done.returncode, done.stdout) == (3, "")
    assert "nowhere" in done.stderr


def test_a_session_that_is_held_is_code_4(root: Path) -> None:
    with SessionStore(root).create("goal", session_id="held-1") as session:
        done = sh(root, "echo held-1 | sessionstore mark - failed --reason 'why not'")
        session.complete()
    assert done.returncode == 4, done.stderr
    assert read_state(root, "held-1")["status"] == "completed"


def test_damage_is_code_5_and_goes_through_a_repair(root: Path) -> None:
    state_path(root, "paused-1").write_text("{", encoding="utf-8")
    line = "sessionstore fsck -o ids 2>/dev/null >found; echo $?; cat found"
    assert sh(root, line).stdout == "5\npaused-1\n"
    assert sh(root, "sessionstore fsck --repair | cat; sessionstore fsck").returncode == 0


def test_a_watch_in_a_pipe_ends_with_what_it_waits_for(root: Path) -> None:
    line = (
        "sessionstore ls -s paused -o ids"
        " | sessionstore watch - --until paused --timeout 30s -o ids"
    )
    assert sh(root, line).stdout == "paused-1\n"
    late = sh(root, "sessionstore watch paused-1 --until completed --timeout 1s -o ids")
    assert late.returncode == 7, late.stderr


def test_an_empty_name_of_the_store_is_usage(root: Path) -> None:
    assert sh(root, "sessionstore ls | cat; sessionstore ls", SESSIONSTORE_ROOT="").returncode == 2


@pytest.mark.parametrize(
    "args",
    [
        "history - -o json",
        "diff - r2 r2",
        "tail -",
        "fork - --as made",
        "show - --raw",
        "show - --at r2 -o json",
        "recover --assume-dead -",
        "watch - --until paused",
    ],
)
def test_every_command_that_takes_a_session_reads_it_from_stdin(root: Path, args: str) -> None:
    done = invoke(root, *args.split(), stdin="\n paused-1 \n")
    assert done.exit_code == 0, done.stderr
    if args.startswith("fork"):
        assert done.stdout == "made\n"
    elif args.startswith("watch"):
        assert "paused-1" in done.stdout
    else:
        named = invoke(root, *("paused-1" if word == "-" else word for word in args.split()))
        assert (done.stdout, done.stderr) == (named.stdout, named.stderr)


@pytest.mark.parametrize(("lines", "told"), [("", "has none"), ("a\nb\n", "head -1")])
@pytest.mark.parametrize(
    "args", ["history -", "diff -", "tail -f -", "fork -", "show - --raw", "show - --at r2"]
)
def test_what_takes_one_session_refuses_none_and_several(
    root: Path, args: str, lines: str, told: str
) -> None:
    done = invoke(root, *args.split(), stdin=lines)
    assert (done.exit_code, done.stdout) == (2, "")
    assert told in done.stderr
