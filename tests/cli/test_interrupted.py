"""Ctrl-C in the middle of long work: what was done is reported, and the same command continues."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sessionstore import SessionStore
from tests.support.cli import process, run
from tests.support.processes import (
    DEADLINE,
    left_active,
    needs_linux,
    new_session,
    read_state,
    rounds,
    until,
)

COUNT = 150
IDS = [f"s{number:03}" for number in range(COUNT)]


def interrupted(
    args: tuple[str, ...], done: Callable[[], set[str]], *, form: str, verb: str
) -> bool:
    """Interrupt a command once it has begun, and check what it says; False: it ended before."""
    with process(*args, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        until(lambda: len(done()) > 3, "the first few")
        child.send_signal(signal.SIGINT)
        out, told = (text.decode() for text in child.communicate(timeout=DEADLINE))
    if len(done()) == COUNT:
        return False
    assert child.returncode == 130, told
    said = re.fullmatch(
        rf"(\d+) sessions {verb} before the interruption; the same command continues\n"
        "sessionstore: interrupted\n",
        told,
    )
    assert said, told
    # The one at whose end it was interrupted may be done and not be counted.
    assert len(done()) - 1 <= int(said[1]) <= len(done())
    if form == "ids":
        assert len(out.split()) == int(said[1])
        assert set(out.split()) <= done()
    return True


@needs_linux("SIGINT is sent to one process")
@pytest.mark.parametrize("form", ["ids", "table"])
def test_an_interrupted_sweep_tells_what_it_marked(tmp_path: Path, form: str) -> None:
    for number in rounds("a sweep that was interrupted in the middle"):
        root = tmp_path / str(number)
        for session_id in IDS:
            left_active(root, session_id, owner=None, pid=2**22 + 1)

        def marked(root: Path = root) -> set[str]:
            return {one for one in IDS if read_state(root, one)["status"] == "failed"}

        args = ("--root", str(root), "recover", "--apply", "-o", form)
        if interrupted(args, marked, form=form, verb="marked failed"):
            assert run(*args).returncode == 0
            assert marked() == set(IDS)
            break


@needs_linux("SIGINT is sent to one process")
def test_a_question_that_is_interrupted_deletes_nothing_and_ends_its_line(tmp_path: Path) -> None:
    pty = pytest.importorskip("pty", reason="terminals can be made on POSIX only")
    new_session(tmp_path, "s1")
    master, slave = pty.openpty()
    try:
        with process("--root", str(tmp_path), "delete", "s1", stdin=slave, stderr=-1) as child:
            assert child.stderr is not None
            asked = b""
            while not asked.endswith(b"[y/N] "):
                asked += child.stderr.read(1)
            child.send_signal(signal.SIGINT)
            assert child.stderr.read() == b"\nsessionstore: interrupted\n"
            assert child.wait(DEADLINE) == 130
    finally:
        os.close(master)
        os.close(slave)
    assert read_state(tmp_path, "s1")["status"] == "paused"


@needs_linux("SIGINT is sent to one process")
@pytest.mark.parametrize("form", ["ids", "table"])
def test_an_interrupted_import_tells_what_it_took_in(tmp_path: Path, form: str) -> None:
    archive = tmp_path / "all.tar.gz"
    with SessionStore(tmp_path / "from", durability="process") as store:
        for session_id in IDS:
            store.create("goal", session_id=session_id).pause()
        store.export_sessions(archive)
    for number in rounds("an import that was interrupted in the middle"):
        root = tmp_path / str(number)
        new_session(root, "other")

        def taken_in(root: Path = root) -> set[str]:
            return set(os.listdir(root / "sessions")) - {"other"}

        args = ("--root", str(root), "import", str(archive), "-o", form)
        if interrupted(args, taken_in, form=form, verb="imported"):
            assert run(*args).returncode == 6  # those that are there are not touched
            assert taken_in() == set(IDS)
            break
