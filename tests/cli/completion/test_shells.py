"""Real shells on a terminal: a person types the beginning of something, and then a tab."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sessionstore import SessionStore
from tests.support.cli import environment, put
from tests.support.processes import DEADLINE

pytest.importorskip("pty", reason="terminals can be made on POSIX only")

READY = "ready-for-the-next-line"
SHOWS = {
    "bash": "bind 'set enable-bracketed-paste off'; PS1='' PS2='';"
    ' bind -x \'"\\C-x": printf "<<%s>>\\n" "$READLINE_LINE"\';',
    "zsh": "unsetopt zle_bracketed_paste; unset zle_bracketed_paste; PROMPT='' RPROMPT='' PS2='';"
    " autoload -Uz compinit; compinit -u -D;"
    " shown() { print -r -- \"<<$BUFFER>>\"; zle redisplay }; zle -N shown; bindkey '^X' shown;",
}
"""What makes a shell print the line that is typed, at Ctrl-X."""
STARTS = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")


on_each = pytest.mark.parametrize(
    "shell", [pytest.param(name, marks=needs(name)) for name in ("bash", "zsh", "fish")]
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a store, a session with a checkpoint, an archive, and the command."""
    root = tmp_path / "store"
    with SessionStore(root).create("goal", session_id="one") as session:
        session.checkpoint("node_complete", node="plan")
        session.complete()
    put(root, "session_a1")
    (tmp_path / "archive.tar.gz").touch()
    command = tmp_path / "bin" / "sessionstore"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sessionstore "$@"\n')
    command.chmod(0o700)
    return tmp_path


def env(place: Path) -> dict[str, str]:
    path = f"{place / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    homes = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "ZDOTDIR"), str(place))
    given = {"PATH": path, "SESSIONSTORE_ROOT": str(place / "store"), "LC_ALL": "C.UTF-8", **homes}
    return environment({**given, "TERM": "dumb", "COLUMNS": "400"})


@contextmanager
def terminal(shell: str, place: Path) -> Iterator[int]:
    """Start a shell on a terminal of its own; yield the other end."""
    import pty

    master, slave = pty.openpty()
    child = subprocess.Popen(
        STARTS[shell],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=env(place),
        cwd=place,
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield master
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait(DEADLINE)
        os.close(master)


def read_until(master: int, wanted: str) -> str:
    shown = ""
    give_up = time.monotonic() + DEADLINE
    while wanted not in shown:
        if not select.select([master], [], [], max(0.0, give_up - time.monotonic()))[0]:
            pytest.fail(f"{wanted!r} never came: {shown!r}")
        shown += os.read(master, 65536).decode(errors="replace")
    return shown


def completed(shell: str, place: Path, typed: str) -> str:
    """Return what becomes of a line in which a person types a tab."""
    if shell == "fish":
        done = subprocess.run(
            ["fish", "--no-config", "-c",
             f'sessionstore completion fish | source; complete -C "{typed}"'],
            check=False, capture_output=True, text=True, env=env(place), cwd=place,
            timeout=DEADLINE,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        names = [line.partition("\t")[0] for line in done.stdout.splitlines()]
        return typed.rpartition(" ")[0] + " " + " ".join(names)
    with terminal(shell, place) as master:
        script = f'{SHOWS[shell]} eval "$(sessionstore completion {shell})"; echo {READY[:5]}""'
        os.write(master, f"{script}{READY[5:]}\n".encode())
        read_until(master, READY)
        os.write(master, typed.encode() + b"\t\x18")
        shown = read_until(master, ">>")
    return shown.rpartition("<<")[2].partition(">>")[0].rstrip()


@on_each
@pytest.mark.parametrize(
    ("typed", "whole"),
    [
        ("sessionstore show on", "one"),
        ("sessionstore show a1", "session_a1"),
        ("sessionstore expl", "explain"),
        ("sessionstore import arch", "archive.tar.gz"),
        ("sessionstore export --all -O arch", "archive.tar.gz"),
        ("sessionstore --root sto", "store/"),
        ("sessionstore ls --root sto", "store/"),
        ("sessionstore --root store show on", "one"),
        ("sessionstore watch --until comp", "completed"),
        ("sessionstore watch --until failed,comp", "failed,completed"),
        ("sessionstore ls --status comp", "completed"),
    ],
)
def test_a_tab_completes(place: Path, shell: str, typed: str, whole: str) -> None:
    before = typed.rpartition(" ")[0]
    assert completed(shell, place, typed) == f"{before} {whole}"


@on_each
def test_a_tab_completes_a_checkpoint(place: Path, shell: str) -> None:
    (kept,) = (place / "store" / "sessions" / "one" / "checkpoints").iterdir()
    typed = "sessionstore show one --at cp_n"
    assert completed(shell, place, typed) == f"sessionstore show one --at {kept.stem}"
