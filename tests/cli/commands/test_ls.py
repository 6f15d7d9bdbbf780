"""Pages, columns, times and the live form of ``ls``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sessionstore import MemoryBackend, SessionStore
from sessionstore.cli.commands import ls as module
from sessionstore.cli.options import fields
from sessionstore.cli.output import columns
from sessionstore.model import query
from tests.support.cli import GONE, HOSTILE, acting, invoke, process, put, state, unmeasured
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


def cursor_in(stderr: str) -> str | None:
    _, found, rest = stderr.partition("--cursor ")
    return rest.split()[0] if found else None


# --- pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["table", "ids", "jsonl", "json"])
def test_pages_by_cursor_are_the_whole_list_each_session_once(ten: Path, form: str) -> None:
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(10):
        args = () if cursor is None else ("--cursor", cursor)
        result = invoke(ten, "ls", "-n", "4", "-o", form, *args)
        assert result.exit_code == 0
        if form == "json":
            answer = json.loads(result.stdout)
            seen += [item["session_id"] for item in answer["sessions"]]
            assert answer["next_cursor"] == cursor_in(result.stderr)
        elif form == "jsonl":
            seen += [json.loads(line)["session_id"] for line in result.stdout.splitlines()]
        else:
            lines = result.stdout.splitlines()[1 if form == "table" else 0 :]
            seen += [line.split()[0] for line in lines]
        cursor = cursor_in(result.stderr)
        if cursor is None:
            break
    assert seen == [*(f"s{number}" for number in range(9, -1, -1)), "torn"]


def test_a_cursor_goes_on_without_a_limit(ten: Path) -> None:
    first = invoke(ten, "ls", "-n", "8", "-o", "ids")
    cursor = cursor_in(first.stderr)
    assert cursor is not None
    rest = invoke(ten, "ls", "-o", "ids", "--cursor", cursor)
    assert rest.stdout.split() == ["s1", "s0", "torn"]
    assert cursor_in(rest.stderr) is None


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--cursor", "nonsense"), "no listing gave this cursor"),
        (("--cursor", HOSTILE.replace("\x00", "")), "no listing gave this cursor"),
    ],
)
def test_a_cursor_that_is_none_is_a_usage_error(
    ten: Path, args: tuple[str, ...], said: str
) -> None:
    result = invoke(ten, "ls", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert not acting(result.stderr)


def test_a_cursor_of_another_order_is_refused(ten: Path) -> None:
    cursor = cursor_in(invoke(ten, "ls", "-n", "1").stderr)
    assert cursor is not None
    result = invoke(ten, "ls", "--cursor", cursor, "--sort", "session_id")
    assert result.exit_code == 2
    assert "it was made for" in result.stderr


def test_a_page_does_not_look_at_what_it_does_not_show() -> None:
    """At a million sessions the checkpoint and owner of each would take minutes."""
    looked: list[str] = []

    class Counting(MemoryBackend):
        def probe(self, session_id: str) -> Any:
            looked.append(session_id)
            return super().probe(session_id)

    store = SessionStore(Counting())
    sessions = [store.create("a-goal", session_id=f"s{number}") for number in range(30)]
    looked.clear()
    store.find(limit=5)
    assert len(set(looked)) == 6  # and the one that tells whether there are more
    for session in sessions:
        session.release()


def test_the_damaged_on_later_pages_are_counted_only_once_and_only_if_hidden(ten: Path) -> None:
    hidden = "1 damaged session not shown: sessionstore ls --damaged"
    assert hidden in invoke(ten, "ls", "-n", "3").stderr
    assert hidden not in invoke(ten, "ls", "-n", "11").stderr
    judged = invoke(ten, "ls", "-n", "3", "--status", "completed").stderr
    assert hidden not in judged
    assert "1 damaged session could not be judged" in judged


def test_correlation_and_stream_filter(tmp_path: Path) -> None:
    put(tmp_path, "one", state("one", correlation_id="c-1", stream_id="s-1"))
    put(tmp_path, "two", state("two", correlation_id="c-2", stream_id="s-1"))
    assert invoke(tmp_path, "ls", "--correlation", "c-2", "-o", "ids").stdout == "two\n"
    assert invoke(tmp_path, "ls", "--stream", "s-1", "-o", "ids").stdout == "two\none\n"
    both = invoke(tmp_path, "ls", "--stream", "s-1", "--correlation", "c-1", "-o", "ids")
    assert both.stdout == "one\n"


def test_the_orders_on_offer_are_those_of_the_store() -> None:
    assert module.SORTS == query.ORDERS


# --- columns -------------------------------------------------------------------------------------


def test_every_field_has_a_column_and_every_column_a_name() -> None:
    assert set(columns._COLUMNS) == set(fields.FIELDS)
    assert set(fields.USUAL) <= set(fields.FIELDS)


def test_every_field_at_once_is_a_table_with_that_many_columns(tmp_path: Path) -> None:
    put(tmp_path, "left", state("left", status="active", pid=GONE))
    put(tmp_path, "torn", "{")
    result = invoke(tmp_path, "ls", "--fields", ",".join(fields.FIELDS))
    assert result.exit_code == 0
    heading = result.stdout.splitlines()[0].split()
    assert heading == [name.upper() for name in fields.FIELDS]


def test_fields_choose_the_columns_and_their_order(ten: Path) -> None:
    result = invoke(ten, "ls", "-n", "1", "--fields", "status, id")
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["STATUS", "ID"], ["completed", "s9"],
    ]  # fmt: skip


def test_fields_choose_the_keys_of_json(ten: Path) -> None:
    chosen = invoke(ten, "ls", "-n", "1", "--fields", "id,goal", "-o", "jsonl")
    assert json.loads(chosen.stdout) == {
        "schema": "sessionstore.sessions.line/1",
        "session_id": "s9",
        "goal_id": "a-goal",
    }
    whole = json.loads(invoke(ten, "ls", "-n", "1", "-o", "jsonl").stdout)
    for name, keys in fields.FIELDS.items():
        line = invoke(ten, "ls", "-n", "1", "--fields", name, "-o", "jsonl").stdout
        assert json.loads(line) == {key: whole[key] for key in ("schema", *keys)}


@pytest.mark.parametrize("value", ["id,colour", "", ",", HOSTILE.replace("\x00", "")])
def test_an_unknown_field_is_a_usage_error_that_names_the_known(ten: Path, value: str) -> None:
    result = invoke(ten, "ls", "--fields", value)
    assert (result.exit_code, result.stdout) == (2, "")
    assert ", ".join(fields.FIELDS) in result.stderr
    assert not acting(result.stderr)


def test_liveness_comes_with_its_reason_where_there_is_any(tmp_path: Path) -> None:
    put(tmp_path, "done")
    assert "LIVENESS" not in invoke(tmp_path, "ls").stdout
    put(tmp_path, "left", state("left", status="active", pid=GONE))
    shown = invoke(tmp_path, "ls").stdout
    assert "LIVENESS" in shown
    assert f"dead: pid {GONE} is gone" in shown
    assert "active, stale" in shown


def test_times_are_relative_or_iso(ten: Path) -> None:
    chosen = ("--fields", "updated", "-n", "1")
    assert invoke(ten, "ls", *chosen, "--times", "iso").stdout.split() == [
        "UPDATED", "2026-01-01T00:09:00+00:00",
    ]  # fmt: skip
    assert invoke(ten, "ls", *chosen).stdout.strip().endswith("ago")


# --- live ----------------------------------------------------------------------------------------


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
        env=unmeasured({"COLUMNS": "120", "LINES": "40"}),
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


@pytest.mark.parametrize("given", [("-s", "paused,failed"), ("-s", "paused", "-s", "failed")])
def test_statuses_come_with_commas_or_repeated(tmp_path: Path, given: tuple[str, ...]) -> None:
    for status in ("paused", "failed", "completed"):
        put(tmp_path, status, state(status, status=status))
    for command in (("ls", "-o", "ids"), ("export", "-O", str(tmp_path / "x"), "-o", "ids")):
        result = invoke(tmp_path, *command, *given)
        assert (result.exit_code, sorted(result.stdout.split())) == (0, ["failed", "paused"])
    pruned = invoke(tmp_path, "prune", "--older-than", "1d", "-o", "ids", *given)
    assert sorted(pruned.stdout.split()) == ["failed", "paused"]
    until = ("watch", "failed", "--timeout", "9s", "-o", "ids")
    watched = invoke(tmp_path, *until, *(word.replace("-s", "--until") for word in given))
    assert (watched.exit_code, watched.stdout) == (0, "failed\n")
    wrong = invoke(tmp_path, "ls", "-s", "paused,gone")
    assert wrong.exit_code == 2
    assert "'gone' is none of active, paused" in wrong.stderr
