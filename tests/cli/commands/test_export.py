"""``sessionstore export`` and ``import``: in pipes, and what a script can tell from their ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sessionstore import SessionStore
from tests.support.cli import (
    HOSTILE,
    acting,
    environment,
    invoke,
    process,
    put,
    put_hostile,
    run,
    state,
)
from tests.support.processes import (
    DEADLINE,
    needs_linux,
    new_session,
    read_state,
    session_path,
    tree,
    until,
)

COMMAND = f"{sys.executable} -m sessionstore"


def shell(line: str, **paths: object) -> subprocess.CompletedProcess[str]:
    """Run a line of a shell, in which ``sessionstore`` is the command."""
    text = line.format(**paths).replace("sessionstore", COMMAND)
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", text],
        check=False,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=DEADLINE,
    )


def test_export_and_import_meet_in_a_pipe(tmp_path: Path) -> None:
    for name in ("s1", "s2", "s3"):
        new_session(tmp_path / "from", name)
    (session_path(tmp_path / "from", "s2") / "file").write_bytes(b"\xff\x00" * 100_000)
    new_session(tmp_path / "to", "s3")
    result = shell(
        "sessionstore --root {root}/from export --all -O -"
        " | sessionstore --root {root}/to import -",
        root=tmp_path,
    )
    assert result.returncode == 6, result.stderr
    assert "3 sessions exported" in result.stderr
    assert "s3 was not imported" in result.stderr
    assert "2 sessions imported" in result.stderr
    assert result.stdout == ""
    for name in ("s1", "s2"):
        whole = session_path(tmp_path / "from", name)
        assert tree(session_path(tmp_path / "to", name)) == tree(whole)


def test_ids_come_from_a_pipe_and_the_store_is_made_if_asked(tmp_path: Path) -> None:
    new_session(tmp_path / "from", "paused")
    new_session(tmp_path / "from", "failed", checkpoint=False)
    line = (
        "sessionstore --root {root}/from ls -s failed -o ids"
        " | sessionstore --root {root}/from export - -O - "
        " | sessionstore --root {root}/to import - -o ids"
    )
    missing = shell(line, root=tmp_path)
    assert missing.returncode == 3
    assert not (tmp_path / "to").exists()
    made = shell(line + " --create", root=tmp_path)
    assert (made.returncode, made.stdout) == (0, "failed\n"), made.stderr
    assert SessionStore(tmp_path / "to").exists("failed")


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    new_session(tmp_path / "from")
    (session_path(tmp_path / "from", "s1") / "file").write_bytes(os.urandom(3_000_000))
    result = shell(
        "sessionstore --root {root}/from export --all -O - | head -c 10 | wc -c", root=tmp_path
    )
    assert result.returncode == 0
    assert "Error" not in result.stderr
    assert "Exception" not in result.stderr


def test_an_export_that_was_cut_off_imports_nothing(tmp_path: Path) -> None:
    new_session(tmp_path / "from")
    (session_path(tmp_path / "from", "s1") / "file").write_bytes(os.urandom(300_000))
    new_session(tmp_path / "to", "before")
    before = tree(tmp_path / "to")
    result = shell(
        "sessionstore --root {root}/from export --all -O - | head -c 100000"
        " | sessionstore --root {root}/to import -",
        root=tmp_path,
    )
    assert result.returncode == 1
    assert "nothing was imported" in result.stderr
    assert tree(tmp_path / "to") == before


def test_files_and_directories(tmp_path: Path) -> None:
    new_session(tmp_path / "from", "session_one")
    for form in ("x.tar.gz", "x"):
        out = invoke(tmp_path / "from", "export", "session_o", "-O", str(tmp_path / form))
        assert (out.exit_code, out.stdout) == (0, "")
        assert "1 session exported to" in out.stderr
        name = form.replace(".", "_")
        come = invoke(tmp_path / "from", "import", str(tmp_path / form), "--as", name, "-o", "json")
        assert come.exit_code == 0
        said = json.loads(come.stdout)
        assert said["schema"] == "sessionstore.imported/1"
        assert [item["session_id"] for item in said["imported"]] == [name]
    again = invoke(tmp_path / "from", "export", "session_o", "-O", str(tmp_path / "x"))
    assert again.exit_code == 1
    assert "choose another name" in again.stderr


def test_filters_choose(tmp_path: Path) -> None:
    put(tmp_path, "a", state("a", status="failed", goal_id="g1"))
    put(tmp_path, "b", state("b", status="paused", goal_id="g1"))
    put(tmp_path, "c", state("c", status="failed", goal_id="g2"))
    to = str(tmp_path / "x.tar")
    result = invoke(tmp_path, "export", "-s", "failed", "--goal", "g1", "-O", to, "-o", "ids")
    assert (result.exit_code, result.stdout) == (0, "a\n")
    to = str(tmp_path / "y.tar")
    result = invoke(tmp_path, "export", "--until", "1d", "-O", to, "-o", "json")
    said = json.loads(result.stdout)
    assert said["schema"] == "sessionstore.exported/1"
    assert [item["session_id"] for item in said["exported"]] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "args",
    [
        ("-O", "x.tar"),
        ("--all",),
        ("a", "--all", "-O", "x.tar"),
        ("a", "-s", "failed", "-O", "x.tar"),
        ("--all", "-O", "-", "-o", "ids"),
    ],
)
def test_what_is_unclear_is_a_usage_error(tmp_path: Path, args: tuple[str, ...]) -> None:
    put(tmp_path, "a")
    assert invoke(tmp_path, "export", *args).exit_code == 2
    assert not Path("x.tar").exists()


def test_the_ends_tell_scripts_apart(tmp_path: Path) -> None:
    put(tmp_path, "sound")
    put(tmp_path, "torn", "{")
    whole = invoke(tmp_path, "export", "--all", "-O", str(tmp_path / "1.tar"))
    assert whole.exit_code == 5
    assert "torn is damaged" in whole.stderr
    (session_path(tmp_path, "sound") / "link").symlink_to("/etc/passwd")
    partly = invoke(tmp_path, "export", "sound", "-O", str(tmp_path / "2.tar"))
    assert partly.exit_code == 6
    assert "left out: link: a symbolic link" in partly.stderr
    assert invoke(tmp_path, "export", "none", "-O", str(tmp_path / "3.tar")).exit_code == 3
    again = invoke(tmp_path, "import", str(tmp_path / "2.tar"))
    assert again.exit_code == 1
    (tmp_path / "4.tar").write_bytes(b"x" * 10240)
    assert invoke(tmp_path, "import", str(tmp_path / "4.tar")).exit_code == 1
    small = invoke(tmp_path, "import", str(tmp_path / "1.tar"), "--max-size", "1K")
    assert small.exit_code == 1
    assert "it unpacks to more than the limit of 1,024 bytes" in small.stderr


@pytest.mark.parametrize("loss", ["torn", "missing"])
def test_damaged_checkpoints_travel_but_not_in_silence(tmp_path: Path, loss: str) -> None:
    """A backup from which nothing can be resumed must not pass for a good one."""
    new_session(tmp_path / "from", "s1")
    new_session(tmp_path / "from", "s2")
    (latest,) = (session_path(tmp_path / "from", "s1") / "checkpoints").glob("*.json")
    latest.write_bytes(b"{") if loss == "torn" else latest.unlink()
    if loss == "torn":  # it shares its bytes with the state
        content = (session_path(tmp_path / "from", "s2") / "state.json").read_text()
        state_of_s1 = content.replace("s2", "s1").replace(
            read_state(tmp_path / "from", "s2")["latest_checkpoint_id"], latest.stem
        )
        (session_path(tmp_path / "from", "s1") / "state.json").unlink()
        (session_path(tmp_path / "from", "s1") / "state.json").write_text(state_of_s1)
    to = str(tmp_path / "x.tar")
    out = invoke(tmp_path / "from", "export", "--all", "-O", to, "-o", "json")
    assert out.exit_code == 5
    assert "s1: damaged, transferred as it is: its latest checkpoint" in out.stderr
    assert "2 sessions exported" in out.stderr
    damage = {item["session_id"]: item["damage"] for item in json.loads(out.stdout)["exported"]}
    assert [len(damage["s1"]), len(damage["s2"])] == [1, 0]
    come = invoke(tmp_path / "to", "import", to, "--create")
    assert come.exit_code == 5
    assert "s1: damaged, transferred as it is: its latest checkpoint" in come.stderr
    assert "s2: " not in come.stderr
    assert tree(session_path(tmp_path / "to", "s1")) == tree(session_path(tmp_path / "from", "s1"))


def test_hostile_sessions_travel_and_are_told_safely(tmp_path: Path) -> None:
    put_hostile(tmp_path / "from")
    odd = session_path(tmp_path / "from", "h-paused") / "\x1b[2J\u202e"
    odd.symlink_to(HOSTILE.replace("\0", ""))
    SessionStore(tmp_path / "to").create("g", session_id="h-failed").fail("x")
    for form in ("table", "json", "jsonl", "ids"):
        to = str(tmp_path / form)
        out = invoke(tmp_path / "from", "export", "--all", "-O", to, "-o", form)
        assert out.exit_code == 6
        assert acting(out.stdout) == acting(out.stderr) == set()
        come = invoke(tmp_path / "to", "import", to, "-o", form)
        assert come.exit_code == (6 if form == "table" else 1)  # then they are there already
        assert acting(come.stdout) == acting(come.stderr) == set()
    assert SessionStore(tmp_path / "to").load("h-paused").goal_id == HOSTILE


@needs_linux("signals end one process")
@pytest.mark.parametrize("form", ["x.tar.gz", "x"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_what_ends_an_export_leaves_nothing_beside_its_target(
    tmp_path: Path, form: str, number: signal.Signals
) -> None:
    new_session(tmp_path / "from")
    with (session_path(tmp_path / "from", "s1") / "file").open("wb") as file:
        file.truncate(1 << 30)  # takes no room, and seconds to read
    target = tmp_path / "target"
    target.mkdir()
    args = ("--root", str(tmp_path / "from"), "export", "--all", "-O", str(target / form))
    with process(*args, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        until(lambda: os.listdir(target) != [], "the beginning of the export")
        (begun,) = os.listdir(target)
        assert begun.startswith(".new-")
        assert begun.endswith(f"-{form}"), "it tells what it was to become"
        child.send_signal(number)
        _, told = child.communicate(timeout=DEADLINE)
    assert child.returncode == (130 if number is signal.SIGINT else -number)
    word = "interrupted" if number is signal.SIGINT else f"ended by {number.name}"
    assert told.decode() == f"sessionstore: {word}\n"
    assert os.listdir(target) == []


@needs_linux("signals end one process")
def test_a_signal_that_is_ignored_stays_so(tmp_path: Path) -> None:
    """nohup ignores SIGHUP on behalf of what it starts."""
    new_session(tmp_path / "from")
    args = ("--root", str(tmp_path / "from"), "watch", "-o", "ids")
    with process(
        *args,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"s1\n"  # it is at work
        child.send_signal(signal.SIGHUP)
        new_session(tmp_path / "from", "s2")
        assert child.stdout.readline() == b"s2\n"
        child.send_signal(signal.SIGTERM)
        assert child.wait(DEADLINE) == -signal.SIGTERM


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("x.zip", "x.tar.gz"),
        ("x.7z", "x.tar.gz"),
        ("x.tar.bz2", "name it x.tar.gz"),
        ("x.tar.xz", "name it x.tar.gz"),
        ("x.ZIP", "x.tar.gz"),
        ("x.gz", "x.tar.gz"),
    ],
)
def test_archives_of_other_kinds_are_refused(tmp_path: Path, name: str, instead: str) -> None:
    new_session(tmp_path / "from")
    target = tmp_path / name
    result = invoke(tmp_path / "from", "export", "--all", "-O", str(target))
    assert result.exit_code == 2
    assert instead in result.stderr
    assert os.listdir(tmp_path) == ["from"]
    made = invoke(tmp_path / "from", "export", "--all", "-O", f"{target}/")
    assert made.exit_code == 0, "a slash says what is meant"
    assert target.is_dir()


@pytest.mark.parametrize("name", ["x.TAR.GZ", "x.tgz", "x.Tar"])
def test_the_suffix_may_be_in_capitals(tmp_path: Path, name: str) -> None:
    new_session(tmp_path / "from")
    target = tmp_path / name
    assert invoke(tmp_path / "from", "export", "--all", "-O", str(target)).exit_code == 0
    assert target.is_file()
    assert (target.read_bytes()[:2] == b"\x1f\x8b") is (name != "x.Tar")


def test_a_long_name_can_be_exported_to(tmp_path: Path) -> None:
    new_session(tmp_path / "from")
    target = tmp_path / ("ž" * 120 + ".tar.gz")
    assert invoke(tmp_path / "from", "export", "--all", "-O", str(target)).exit_code == 0
    assert target.is_file()


def test_the_help_shows_how(tmp_path: Path) -> None:
    for command in ("export", "import"):
        result = run(command, "--help")
        assert result.returncode == 0
        assert "Examples:" in result.stdout


def test_an_export_into_a_directory_that_is_missing_says_what_to_do(paused: Path) -> None:
    target = paused.parent / "none" / "x.tar"
    result = invoke(paused, "export", "s1", "-O", str(target))
    assert result.exit_code == 1
    assert f"there is no directory {target.parent}: make it first" in result.stderr
    assert not os.path.exists(target.parent)
