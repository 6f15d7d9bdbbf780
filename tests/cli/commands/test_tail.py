"""The saves of one session, those that are kept and those that come."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

from sessionstore import SessionStore
from tests.support.cli import invoke, process
from tests.support.processes import DEADLINE, new_session, read_state, state_path, until


def lines(child: subprocess.Popen[bytes]) -> Any:
    assert child.stdout is not None
    return iter(child.stdout.readline, b"")


def kept(root: Path) -> list[int]:
    """Make a session of six revisions, of which 2, 4 and 6 are kept; return those."""
    with SessionStore(root).create("g", session_id="s1") as session:
        found = []
        for node in ("plan", "act"):
            session.state.progress.current_node = node
            session.checkpoint("step", node=node)
            found.append(session.revision)
            session.state.progress.steps_executed += 1
            session.save()
        session.pause(node="ask")
        found.append(session.revision)
    return found


def test_the_last_saves_that_are_kept_are_shown(tmp_path: Path) -> None:
    revisions = kept(tmp_path)
    shown = invoke(tmp_path, "tail", "s1", "-o", "jsonl").stdout.splitlines()
    said = [json.loads(line) for line in shown]
    assert [item["session"]["revision"] for item in said] == revisions
    assert [item["checkpoint_id"] is None for item in said] == [False, False, True]
    assert said[0]["schema"] == "sessionstore.save/1"
    two = invoke(tmp_path, "tail", "s", "-n", "2").stdout.splitlines()
    assert [line.split()[0] for line in two] == [f"r{number}" for number in revisions[1:]]
    assert "act" in two[0]
    assert "kept" in two[0]
    assert "paused" in two[1]
    assert invoke(tmp_path, "tail", "s1", "-n", "0").stdout == ""


def test_with_no_lines_nothing_old_is_shown_and_what_comes_is(tmp_path: Path) -> None:
    old = kept(tmp_path)[-1]
    is_shown = threading.Event()

    def save() -> None:
        # Again and again: nobody knows when the command has begun to look.
        with SessionStore(tmp_path).resume("s1") as session:
            while not is_shown.wait(0.01):
                session.save()
            session.complete()

    args = ["--root", str(tmp_path), "tail", "s1", "-n", "0", "-f", "-o", "jsonl"]
    with process(*args, stdout=-1, stderr=-1) as child:
        saver = threading.Thread(target=save)
        saver.start()
        try:
            said = [json.loads(next(lines(child)))]
        finally:
            is_shown.set()
            saver.join(DEADLINE)
        while said[-1]["session"]["status"] != "completed":
            said.append(json.loads(next(lines(child))))
        SessionStore(tmp_path).delete("s1")
        assert child.wait(DEADLINE) == 0
    shown = [item["session"]["revision"] for item in said]
    assert shown[0] > old
    assert shown == sorted(set(shown))
    whole = [number - item["unseen"] for number, item in zip(shown, said, strict=True)]
    assert whole[1:] == [number + 1 for number in shown[:-1]]


def test_a_session_that_has_ended_is_followed_with_a_notice(tmp_path: Path) -> None:
    SessionStore(tmp_path).create("g", session_id="s1").complete()
    args = ["--root", str(tmp_path), "tail", "s1", "-f", "-n", "0"]
    with process(*args, stdout=-1, stderr=-1) as child:
        assert child.stderr is not None
        assert b"s1 is completed: only a resume with again=True" in child.stderr.readline()
        child.send_signal(signal.SIGINT)
        out, told = child.communicate(timeout=DEADLINE)
    assert (child.returncode, out, told) == (130, b"", b"sessionstore: interrupted\n")
    assert invoke(tmp_path, "tail", "s1").stderr == ""  # nothing is waited for


def test_saves_are_followed_to_the_last_one(tmp_path: Path) -> None:
    first = kept(tmp_path)[-1]
    args = ["--root", str(tmp_path), "tail", "s1", "-n", "1", "-f", "-o", "jsonl"]
    with process(*args, stdout=-1, stderr=-1) as child:
        come = lines(child)
        assert json.loads(next(come))["session"]["revision"] == first
        with SessionStore(tmp_path, durability="process").resume("s1") as session:
            for _ in range(100):
                session.save()
            session.complete()
        last = read_state(tmp_path, "s1")["revision"]
        before = first
        for line in come:
            said = json.loads(line)
            revision = said["session"]["revision"]
            assert revision == before + said["unseen"] + 1
            before = revision
            if said["session"]["status"] == "completed":
                break
        assert before == last
        SessionStore(tmp_path).delete("s1")
        assert child.wait(DEADLINE) == 0
        assert child.stderr is not None
        assert b"s1 was deleted" in child.stderr.read()


def test_a_damaged_session_is_shown_with_the_reason(tmp_path: Path) -> None:
    kept(tmp_path)
    state_path(tmp_path, "s1").write_bytes(b"{")
    result = invoke(tmp_path, "tail", "s1")
    assert result.exit_code == 5
    assert "damaged" in result.stdout
    assert invoke(tmp_path, "tail", "none").exit_code == 3


def test_a_line_comes_out_as_it_happens_also_into_a_file(tmp_path: Path) -> None:
    new_session(tmp_path / "root", "s1")
    with (tmp_path / "log").open("wb") as log:
        args = ["--root", str(tmp_path / "root"), "watch", "-o", "ids"]
        with process(*args, stdout=log):
            until(lambda: (tmp_path / "log").read_bytes() == b"s1\n", "the line")
