"""The records of a journal, those that are there and those that come."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sessionstore import SessionStore
from tests.support.cli import HOSTILE, acting, data, invoke, on_terminal, process, run
from tests.support.processes import DEADLINE, session_path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with a chat of two journals, one of which a resume went back in, and a plain one."""
    store = SessionStore(tmp_path)
    with store.create("chat", session_id="chat") as session:
        messages = session.journal("messages")
        messages.append({"role": "user", "text": "hello"}, key="user-1")
        kept = session.checkpoint("asked")
        messages.append({"role": "assistant", "text": "wrong"})
        session.journal("events").append("a", "b", "c")
        session.pause()
    with store.resume("chat", checkpoint_id=kept.checkpoint_id) as session:
        session.journal("messages").append({"role": "assistant", "text": "Grüße"})
        session.journal("events").append("d")
        session.pause()
    with store.create("plain", session_id="plain") as session:
        session.journal().append(*range(1, 31))
        session.complete()
    return tmp_path


def lines(*args: str, root: Path) -> list[dict[str, Any]]:
    shown = invoke(root, "journal", *args, "-o", "jsonl").stdout.splitlines()
    return [json.loads(line) for line in shown]


def test_records_are_shown_with_number_time_key_and_value(root: Path) -> None:
    first, second = invoke(root, "journal", "chat", "messages").stdout.splitlines()
    assert first.split("  ")[-2:] == ["user-1", '{"role": "user", "text": "hello"}']
    assert first.split()[0] == "1"
    assert second.endswith('{"role": "assistant", "text": "Grüße"}')
    assert "wrong" not in first + second
    (one, two) = lines("chat", "messages", root=root)
    assert one == {
        "schema": "sessionstore.journal.line/1",
        "session_id": "chat",
        "journal": "messages",
        "number": 1,
        "at": SessionStore(root).journal("chat", "messages").read()[0].at,
        "key": "user-1",
        "value": {"role": "user", "text": "hello"},
    }
    assert (two["number"], two["key"]) == (4, None)
    whole = data(root, "journal", "chat", "messages")
    assert (whole["schema"], whole["session_id"]) == ("sessionstore.journal/1", "chat")
    assert [item["value"] for item in whole["records"]] == [one["value"], two["value"]]


def test_without_a_name_main_is_shown_if_it_is_alone_and_else_a_list(root: Path) -> None:
    assert [item["journal"] for item in lines("plain", "-n", "1", root=root)] == ["main"]
    listed = invoke(root, "journal", "chat")
    rows = [line.split("  ") for line in listed.stdout.splitlines()]
    assert rows[0][0] == "JOURNAL"
    assert [row[0] for row in rows[1:]] == ["events", "messages"]
    assert listed.stderr == "2 journals\n"
    found = data(root, "journal", "chat")
    assert found["schema"] == "sessionstore.journals/1"
    assert [(one["name"], one["count"], one["last_number"]) for one in found["journals"]] == [
        ("events", 1, 5),
        ("messages", 2, 4),
    ]
    refused = invoke(root, "journal", "chat", "-f")
    assert refused.exit_code == 2
    assert "name a journal of chat: events, messages" in refused.stderr


def test_a_session_without_journals_has_an_empty_list(root: Path) -> None:
    SessionStore(root).create("g", session_id="none").release()
    shown = invoke(root, "journal", "none")
    assert (shown.exit_code, shown.stdout, shown.stderr) == (0, "", "0 journals\n")
    assert data(root, "journal", "none")["journals"] == []


def test_the_last_records_and_those_behind_a_number_can_be_chosen(root: Path) -> None:
    def numbers(*args: str) -> list[int]:
        return [item["number"] for item in lines("plain", "main", *args, root=root)]

    assert numbers() == list(range(1, 31))
    assert numbers("-n", "2") == [29, 30]
    assert numbers("-n", "0") == []
    assert numbers("--after", "28") == [29, 30]
    assert numbers("--after", "28", "-n", "1") == [30]
    assert len(invoke(root, "journal", "plain").stdout.splitlines()) == 10
    assert len(invoke(root, "journal", "plain", "--after", "0").stdout.splitlines()) == 30


def test_records_that_no_longer_count_are_shown_on_request(root: Path) -> None:
    found = lines("chat", "messages", "--everything", root=root)
    assert [(item["number"], item["counts"]) for item in found] == [
        (1, True),
        (2, False),
        (4, True),
    ]
    table = invoke(root, "journal", "chat", "messages", "--everything").stdout.splitlines()
    assert ["left behind" in line for line in table] == [False, True, False]
    assert invoke(root, "journal", "chat", "messages", "--everything", "-f").exit_code == 2


def test_what_is_not_there_is_named_and_has_exit_code_3(root: Path) -> None:
    told = invoke(root, "journal", "chat", "typo")
    assert (told.exit_code, told.stdout) == (3, "")
    assert told.stderr == "sessionstore: chat has no journal typo; it has: events, messages\n"
    assert invoke(root, "journal", "nobody").exit_code == 3
    bad = invoke(root, "journal", "chat", "../x")
    assert bad.exit_code == 2
    assert "journal name '../x'" in bad.stderr


def test_damage_has_exit_code_5_and_what_is_before_it_is_shown(root: Path) -> None:
    file = session_path(root, "chat") / "journals/messages.jsonl"
    file.write_bytes(file.read_bytes().replace(b"wrong", b"WRONG"))
    told = invoke(root, "journal", "chat", "messages")
    assert told.exit_code == 5
    assert "line 2 is damaged" in told.stderr
    assert "fsck --repair" in told.stderr
    listed = invoke(root, "journal", "chat")
    assert listed.exit_code == 5
    assert "damaged: line 2" in listed.stdout
    assert "damaged: line 2" in invoke(root, "show", "chat").stdout
    assert invoke(root, "show", "chat").exit_code == 5


def test_records_are_followed_until_the_session_ends(tmp_path: Path) -> None:
    session = SessionStore(tmp_path, durability="process").create("g", session_id="s1")
    session.journal().append("old", "last")
    args = ["--root", str(tmp_path), "journal", "s1", "-f", "-n", "1", "-o", "jsonl"]
    with process(*args, stdout=-1, stderr=-1) as child:
        assert child.stdout is not None
        assert json.loads(child.stdout.readline())["value"] == "last"
        for number in range(50):
            session.journal().append(number)
        session.complete()
        found = [json.loads(line)["value"] for line in child.stdout]
        assert found == list(range(50))
        assert child.wait(DEADLINE) == 0
        assert child.stderr is not None
        assert child.stderr.read() == b""


def test_a_journal_that_is_not_there_yet_is_followed_and_so_is_a_delete(tmp_path: Path) -> None:
    store = SessionStore(tmp_path, durability="process")
    session = store.create("g", session_id="s1")
    args = ["--root", str(tmp_path), "journal", "s1", "late", "-f", "-o", "jsonl"]
    with process(*args, stdout=-1, stderr=-1) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stderr.readline() == b"s1 has no journal late yet: waiting for it\n"
        session.journal("late").append("come")
        assert json.loads(child.stdout.readline())["value"] == "come"
        session.pause()
        store.delete("s1")
        assert child.wait(DEADLINE) == 0
        assert child.stderr.read() == b"s1 was deleted\n"


@pytest.mark.parametrize("count", ["0", "1"])
def test_ctrl_c_ends_a_follow_without_a_traceback(root: Path, count: str) -> None:
    args = ["--root", str(root), "journal", "chat", "messages", "-f", "-n", count]
    with process(*args, stdout=-1, stderr=-1) as child:
        assert child.stdout is not None
        if count == "0":
            with SessionStore(root).resume("chat") as session:
                while not _reads_inotify(child.pid):
                    assert child.poll() is None
                session.journal("messages").append("new")
                session.pause()
        assert child.stdout.readline().endswith(b'"new"\n' if count == "0" else b'e"}\n')
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=DEADLINE)
        assert (child.returncode, said) == (130, b"sessionstore: interrupted\n")


def _reads_inotify(pid: int) -> bool:
    """Return whether the process listens to events: it has read the records by then."""
    try:
        opened = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    except FileNotFoundError:
        return False
    return any("inotify" in name for name in opened)


def test_a_pipe_that_is_closed_early_is_no_error(root: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = run(
        "--root", str(root), "journal", "plain", "-o", "jsonl", stdout=writing,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_foreign_text_is_escaped_and_cut(tmp_path: Path) -> None:
    with SessionStore(tmp_path).create("g", session_id="s1") as session:
        session.journal().append({HOSTILE: [HOSTILE]}, key=HOSTILE)
        session.journal().append("\u202e" + "x" * 1_000_000)
        session.complete()
    for form in ("table", "json", "jsonl"):
        shown = invoke(tmp_path, "journal", "s1", "-o", form).stdout
        assert not acting(shown), form
    assert len(invoke(tmp_path, "journal", "s1").stdout) < 3_000


def test_a_terminal_of_80_columns_is_enough(root: Path) -> None:
    env = {"COLUMNS": "80", "NO_COLOR": "1"}
    for args in (["chat"], ["chat", "messages", "--everything"], ["plain"]):
        told = on_terminal("--root", str(root), "journal", *args, both=True, env=env)
        assert max(map(len, told.replace("\r\n", "\n").splitlines())) <= 80, args


# --- other commands ------------------------------------------------------------------------------


def test_show_tells_names_counts_and_the_last_record(root: Path) -> None:
    shown = invoke(root, "show", "chat").stdout
    row = next(line for line in shown.splitlines() if line.startswith("messages"))
    assert row.split()[:3] == ["messages", "2", "4"]
    (events, messages) = data(root, "show", "chat")["session"]["journals"]
    assert (events["name"], messages["name"], messages["count"]) == ("events", "messages", 2)
    assert messages["last_at"] == lines("chat", "messages", root=root)[-1]["at"]


def test_history_and_tail_tell_how_far_each_journal_had_come(root: Path) -> None:
    timeline = data(root, "history", "chat")["history"]["moments"]
    assert [moment["journals"] for moment in timeline] == [
        {},
        {"messages": 1},
        {"messages": 2, "events": 3},  # the pause
        {"messages": 2, "events": 3},  # what the resume went back from
        {"messages": 4, "events": 5},  # the pause
        {"messages": 4, "events": 5},
    ]
    assert "events 5, messages 4" in invoke(root, "history", "chat").stdout
    assert "JOURNALS" in invoke(root, "history", "chat").stdout
    last = invoke(root, "tail", "chat").stdout.splitlines()[-1]
    assert "events 5, messages 4" in last
    saves = invoke(root, "tail", "chat", "-o", "jsonl").stdout.splitlines()
    assert json.loads(saves[0])["journals"] == {"messages": 1}
