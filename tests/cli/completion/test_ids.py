"""Completion, asked for as shells do: real bash where it is installed, else by its variables."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sessionstore import SessionStore
from sessionstore.cli.completion.ids import LIMIT
from tests.support.cli import HOSTILE, acting, environment, put, run
from tests.support.processes import DEADLINE

bash = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


def complete(root: Path | None, *words: str) -> list[str]:
    """Return what the last of the words may become."""
    env = {
        "_SESSIONSTORE_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["sessionstore", *words]),
        "COMP_CWORD": str(len(words)),
    }
    if root is not None:
        env["SESSIONSTORE_ROOT"] = str(root)
    done = run(env=env)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("session_a1", "session_a2", "session_b", "other"):
        put(tmp_path, name)
    return tmp_path


def test_ids_are_completed_from_their_beginning(root: Path) -> None:
    assert complete(root, "show", "session_a") == ["session_a1", "session_a2"]
    assert complete(root, "show", "x") == []
    assert set(complete(root, "show", "")) == {"session_a1", "session_a2", "session_b", "other"}


def test_the_end_of_an_id_is_completed_if_no_id_begins_and_only_one_ends_so(root: Path) -> None:
    assert complete(root, "show", "_a2") == ["session_a2"]
    assert complete(root, "show", "b") == ["session_b"]
    assert complete(root, "recover", "--assume-dead", "er") == ["other"]
    put(root, "b-other")
    assert complete(root, "show", "b") == ["b-other"]  # a beginning
    assert complete(root, "show", "er") == []  # two ends have nothing in common that ends so
    assert complete(root, "show", "session_a1", "_a1") == []  # named already


def test_the_root_may_be_named_on_the_line(root: Path, tmp_path: Path) -> None:
    assert complete(None, "--root", str(root), "show", "ot") == ["other"]
    assert complete(None, "show", "--root", str(root), "ot") == ["other"]
    assert complete(None, "show", "ot") == []
    assert complete(tmp_path / "missing", "show", "ot") == []


def test_options_that_take_an_id_are_completed(root: Path) -> None:
    assert complete(root, "recover", "--assume-dead", "ot") == ["other"]
    assert complete(root, "ls", "--goal", "ot") == []  # the id of something else


def test_an_id_that_was_named_is_not_offered_again(root: Path) -> None:
    assert complete(root, "show", "session_a1", "session_a") == ["session_a2"]


def test_a_damaged_session_is_completed_like_any_other(root: Path) -> None:
    put(root, "torn", "{")
    assert complete(root, "show", "to") == ["torn"]


def test_names_that_are_no_ids_reach_no_shell(root: Path) -> None:
    hostile = HOSTILE.replace("\x00", "").replace("/", "")
    for name in (f"session_{hostile}", ".new-0123456789abcdef-session_c", "-o"):
        (root / "sessions" / name).mkdir()
    found = complete(root, "show", "session_")
    assert found == ["session_a1", "session_a2", "session_b"]
    assert not any(acting(name) for name in complete(root, "show", ""))


def test_of_many_the_common_beginning_of_what_is_offered_is_that_of_all(tmp_path: Path) -> None:
    """Bash inserts what all offers have in common: a cut list must not promise too much."""
    for number in range(1200):
        (tmp_path / "sessions" / f"session_{number:04}").mkdir(parents=True)
    found = complete(tmp_path, "show", "sess")
    assert len(found) == LIMIT
    assert (found[0], found[-1]) == ("session_0000", "session_1199")


def test_checkpoints_are_completed_for_at(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    kept = []
    for name in ("one", "other"):
        with store.create("a-goal", session_id=name) as session:
            kept.append(session.checkpoint("node_complete", node="plan").checkpoint_id)
            session.complete()
    assert complete(tmp_path, "show", "one", "--at", "cp_n") == [kept[0]]
    assert complete(tmp_path, "show", "ot", "--at", "") == [kept[1]]  # an id by its beginning
    assert complete(tmp_path, "show", "o", "--at", "") == []  # of which session?
    assert complete(tmp_path, "show", "her", "--at", "") == [kept[1]]  # an id by its end
    assert complete(tmp_path, "show", "one", "--at", kept[0][-8:]) == [kept[0]]
    assert complete(tmp_path, "show", "--root", str(tmp_path), "one", "--at", "cp") == [kept[0]]
    assert complete(tmp_path, "show", "--at", "") == []


def test_checkpoints_are_completed_for_both_states_of_a_diff(tmp_path: Path) -> None:
    with SessionStore(tmp_path).create("a-goal", session_id="one") as session:
        kept = [session.checkpoint("node_complete", node=node).checkpoint_id for node in "ab"]
        session.complete()
    assert complete(tmp_path, "diff", "one", "cp_") == sorted(kept)
    assert complete(tmp_path, "diff", "one", kept[0], "cp_node_complete.b") == [kept[1]]
    assert complete(tmp_path, "diff", "cp_") == []  # of which session?


def test_journals_are_completed_for_the_session_that_is_named(tmp_path: Path) -> None:
    with SessionStore(tmp_path).create("a-goal", session_id="one") as session:
        for name in ("main", "messages", "events"):
            session.journal(name).append(1)
        session.complete()
    assert complete(tmp_path, "journal", "one", "m") == ["main", "messages"]
    assert complete(tmp_path, "journal", "on", "ev") == ["events"]  # an id by its beginning
    assert complete(tmp_path, "journal", "-f", "one", "me") == ["messages"]
    assert complete(tmp_path, "journal", "none", "m") == []


def test_statuses_fields_and_commands_are_completed(root: Path) -> None:
    assert complete(root, "ls", "--status", "pa") == ["paused"]
    assert complete(root, "ls", "-s", "") == [
        "active", "paused", "completed", "failed", "cancelled",
    ]  # fmt: skip
    assert complete(root, "ls", "--fields", "id,st") == ["id,status", "id,stream", "id,steps",
                                                         "id,started", "id,stops"]  # fmt: skip
    assert "show" in complete(root, "sh")
    assert "--state" in complete(root, "show", "--st")


def test_an_id_is_completed_without_loading_pydantic_or_the_store(root: Path) -> None:
    code = (
        "import sys\n"
        "from sessionstore.cli import main\n"
        "main()\n"
        "heavy = ('pydantic', 'pydantic_core', 'rich', 'psutil', 'filelock', 'sqlite3', 'asyncio',"
        " 'sessionstore.model.state', 'sessionstore.store.store')\n"
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True, capture_output=True, text=True, timeout=DEADLINE,
        env=environment(
            {
                "_SESSIONSTORE_COMPLETE": "bash_complete",
                "COMP_WORDS": "sessionstore show session_a",
                "COMP_CWORD": "2",
                "SESSIONSTORE_ROOT": str(root),
            }
        ),
    )  # fmt: skip
    assert done.stdout == "plain,session_a1\nplain,session_a2\n"
    assert done.stderr == "[]\n"


# --- the scripts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_script_asks_this_command(shell: str) -> None:
    done = run("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"_SESSIONSTORE_COMPLETE={shell}_complete" in done.stdout
    assert run("completion", "csh").returncode == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_needs_no_shell_to_be_installed(shell: str, tmp_path: Path) -> None:
    done = run("completion", shell, env={"PATH": str(tmp_path)})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == run("completion", shell).stdout


def _bash(script: str, tmp_path: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a script in a bash whose ``sessionstore`` is this package."""
    command = tmp_path / "bin" / "sessionstore"
    command.parent.mkdir(exist_ok=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sessionstore "$@"\n')
    command.chmod(0o700)
    path = f"{command.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return subprocess.run(
        ["bash", "--norc", "-c", script],
        check=False, capture_output=True, text=True, timeout=DEADLINE,
        env=environment({"PATH": path, **env}),
    )  # fmt: skip


@bash
def test_real_bash_completes_an_id_with_the_script(root: Path, tmp_path: Path) -> None:
    script = """
        eval "$(sessionstore completion bash)" || exit 9
        complete -p sessionstore
        COMP_WORDS=(sessionstore show session_a) COMP_CWORD=2
        _sessionstore_completion sessionstore
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = _bash(script, tmp_path, {"SESSIONSTORE_ROOT": str(root)})
    assert (done.returncode, done.stderr) == (0, "")
    registered, *offered = done.stdout.splitlines()
    assert registered.endswith("-F _sessionstore_completion sessionstore")
    assert offered == ["session_a1", "session_a2"]


@bash
def test_the_script_is_sound_bash(tmp_path: Path) -> None:
    done = _bash("sessionstore completion bash | bash -n", tmp_path, {})
    assert (done.returncode, done.stderr) == (0, "")
