"""A listing that is kept live."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.cli import HOSTILE, environment, invoke, process, put, state
from tests.support.processes import DEADLINE, needs_linux


def at(number: int) -> dict[str, str]:
    moment = datetime(2026, 1, 1, 0, number, tzinfo=UTC).isoformat()
    return {"started_at": moment, "updated_at": moment}


@pytest.fixture
def ten(tmp_path: Path) -> Path:
    """Ten sessions, s9 the newest, and a damaged one, which no time orders."""
    for number in range(10):
        put(tmp_path, f"s{number}", state(f"s{number}", timestamps=at(number)))
    put(tmp_path, "torn", "{")
    return tmp_path


def interrupt(child: subprocess.Popen[bytes]) -> int:
    child.send_signal(signal.SIGINT)
    return child.wait(timeout=DEADLINE)


@needs_linux("SIGINT is sent to one process")
def test_into_a_pipe_a_live_listing_is_written_anew_and_ctrl_c_ends_it_with_130(
    tmp_path: Path,
) -> None:
    put(tmp_path, "one")
    with process(
        "--root", str(tmp_path), "ls", "-w", "0.1", "-o", "ids",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == b"one\n"
        assert child.stdout.readline() == b"one\n"
        put(tmp_path, "two", state("two", timestamps=at(0)))
        while child.stdout.readline() != b"two\n":
            pass  # a round that had begun before
        assert interrupt(child) == 130
        assert child.stderr.read() == b"sessionstore: interrupted\n"


@needs_linux("SIGINT is sent to one process")
def test_on_a_terminal_a_live_listing_is_redrawn_in_place_and_leaves_the_cursor_visible(
    tmp_path: Path,
) -> None:
    pty = pytest.importorskip("pty", reason="terminals can be made on POSIX only")
    put(tmp_path, "one", state("one", goal_id=HOSTILE))
    master, slave = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "sessionstore", "--root", str(tmp_path), "ls", "--watch", "0.1"],
        env=environment({"COLUMNS": "120", "LINES": "40"}),
        stdin=subprocess.DEVNULL, stdout=slave, stderr=slave,
    )  # fmt: skip
    os.close(slave)
    shown = b""

    def read_until(text: bytes) -> None:
        nonlocal shown
        start = len(shown)
        while text not in shown[start:]:
            shown += os.read(master, 65536)

    try:
        read_until(b"until Ctrl-C")
        put(tmp_path, "two")
        read_until(b"two")
        child.send_signal(signal.SIGINT)
        read_until(b"interrupted")
        assert child.wait(timeout=DEADLINE) == 130
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        os.close(master)
    text = shown.decode()
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # shown again after it was hidden
    assert "\x1b[1A" in text  # it goes up to draw over itself
    assert "\x1b[35;45;5m" not in text
    assert "\x07" not in text
    assert "\u202e" not in text


@pytest.mark.parametrize("value", ["0", "-1", "often"])
def test_an_interval_that_is_none_is_a_usage_error(ten: Path, value: str) -> None:
    assert invoke(ten, "ls", "--watch", value).exit_code == 2


def test_a_reader_that_leaves_ends_a_live_listing_quietly(tmp_path: Path) -> None:
    put(tmp_path, "one")
    with process(
        "--root", str(tmp_path), "ls", "-w", "0.1", "-o", "ids",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == b"one\n"
        child.stdout.close()
        assert child.wait(timeout=DEADLINE) == 0
        assert child.stderr.read() == b""
