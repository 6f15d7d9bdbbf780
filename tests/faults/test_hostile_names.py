"""Ids that lead elsewhere, and text that acts: no door opens, and nothing reaches a terminal."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from sessionstore import (
    InvalidSessionId,
    SessionStore,
    SessionStoreError,
)
from tests.faults.support.hostile import (
    counted,
    outcomes,
)
from tests.faults.support.tally import tally
from tests.support.cli import GONE, acting, invoke, put, state
from tests.support.processes import (
    new_session,
    state_path,
    tree,
)

EVERYTHING = os.environ.get("SESSIONSTORE_FAULTS") == "all"

# --- ids -----------------------------------------------------------------------------------------

ESCAPES = [
    "../s1", "../../etc/passwd", "..", "...", "....//", "./s1", "s1/", "s1/.", "s1/..", "/s1",
    "//s1", "/etc/passwd", "/proc/self/root", "sound/../s1", "s1/state.json", "s1/checkpoints",
    "..\\s1", "..\\..\\windows", "s1\\..", "C:\\s1", "C:s1", "\\\\host\\share", "\\\\?\\C:\\s1",
    "\\\\.\\pipe\\x", "file:///etc/passwd", "s1:stream", "s1::$DATA", "s1:$INDEX_ALLOCATION",
    "%2e%2e%2fs1", "%2e%2e/s1", "..%2fs1", "..%252fs1", "%c0%ae%c0%ae/s1", "..%c0%afs1",
    "\u2025/s1", "\uff0e\uff0e\uff0fs1", "s1\u2215x", "s1\u2044x", "\u2024\u2024/s1", "..\u29f8s1",
    "s1\0", "s1\0.json", "\0", "s1\n", "s1\r\n", "\ts1", " s1", "s1 ", "s1.", "s1. ", "s1..",
    "~", "~root", "$HOME", "${HOME}", "`id`", "$(id)", "s1;id", "s1|id", "s1&id", "s1>x", "*", "s?",
    "[s]1", "{s1,s2}", "-rf", "--help", "-", ".s1", ".new-s1", ".git", ".", "", " ", "_s1",
    "con", "CON", "con.txt", "aux.json", "NUL", "prn.", "COM1", "com9.log", "LPT1", "lpt0",
    "CONIN$", "conout$", "clock$", "com\u00b9", "s1\u202ex", "s1\u200b", "\ufeffs1", "s1\u0301",
    "\u0455\u0031", "s\u0131", "\u017f1", "\uff53\uff11", "s1\x7f", "s1\x1b[31m", "s1\x9b",
    "\ud800", "\udcff",
    "a" * 129, "a" * 255, "a" * 5000, "../" * 1000 + "etc/passwd", "é", "日本",
    "s1\u2028", "s1\u2029", "s1\u0085",
]  # fmt: skip


def test_no_id_leads_out_of_the_store_through_any_door(tmp_path: Path) -> None:
    place = tmp_path / "a" / "b" / "root"
    new_session(place)
    before = tree(tmp_path)
    store = SessionStore(place)
    for name in ESCAPES:
        doors: list[Callable[[], object]] = [
            lambda: store.create("goal", session_id=name),  # noqa: B023 - called in this turn
            lambda: store.claim(name),  # noqa: B023
            lambda: store.claim(name, force=True),  # noqa: B023
            lambda: store.resume(name),  # noqa: B023
            lambda: store.resume("s1", checkpoint_id=name),  # noqa: B023
            lambda: store.load(name),  # noqa: B023
            lambda: store.exists(name),  # noqa: B023
            lambda: store.liveness(name),  # noqa: B023
            lambda: store.checkpoints(name),  # noqa: B023
            lambda: store.load_checkpoint(name),  # noqa: B023
            lambda: store.load_checkpoint("s1", name),  # noqa: B023
            lambda: store.delete(name),  # noqa: B023
            lambda: store.delete(name, force=True),  # noqa: B023
            lambda: store.recover(assume_dead=[name]),  # noqa: B023
            lambda: store.recover(assume_dead=name),  # noqa: B023
        ]
        for number, door in enumerate(doors):
            with pytest.raises(InvalidSessionId) as caught:
                door()
            assert str(caught.value).isprintable(), (name, number)
    assert tree(tmp_path) == before
    tally("corrupt inputs", promise=11, cases=len(ESCAPES) * 15)


def test_no_id_leads_out_of_the_store_through_the_command_line(tmp_path: Path) -> None:
    place = tmp_path / "a" / "root"
    new_session(place)
    before = tree(tmp_path)
    cases = 0
    for name in ESCAPES:
        if name == "-":  # ids from stdin
            continue
        with suppress(UnicodeEncodeError):
            name.encode()
            for args in (("show", "--", name), ("recover", "--apply", f"--assume-dead={name}")):
                result = invoke(place, *args)
                assert result.exit_code in (1, 2, 3), (args, result.output)
                assert not acting(result.stdout), args
                assert not acting(result.stderr), args
                cases += 1
    assert tree(tmp_path) == before
    tally("corrupt inputs", promise=11, cases=cases)


@pytest.mark.parametrize("field", ["latest_checkpoint_id", "session_id"])
def test_no_id_inside_a_state_leads_out_of_the_store(tmp_path: Path, field: str) -> None:
    place = tmp_path / "root"
    new_session(place)
    path = state_path(place, "s1")
    sound = json.loads(path.read_text())
    outside = tmp_path / "etc"
    outside.mkdir()
    (outside / "passwd.json").write_text(path.read_text())
    store = SessionStore(place)
    for name in [*ESCAPES, "../../../../etc/passwd", str(outside / "passwd")]:
        path.write_text(json.dumps({**sound, field: name}))
        before = tree(tmp_path)
        answers = outcomes(store)
        assert answers["load_checkpoint"] != "ok", name
        assert answers["find"] == "ok"
        assert not store.find(resumable=True).items
        with pytest.raises(SessionStoreError):
            store.resume("s1")
        assert tree(tmp_path).keys() == before.keys()
    tally("corrupt inputs", promise=11, cases=len(ESCAPES) + 2)


# --- text that acts ------------------------------------------------------------------------------

ACTING = {
    "colour": "\x1b[31mred\x1b[0m", "clear": "\x1b[2J\x1b[H", "title": "\x1b]0;owned\x07",
    "8-bit CSI": "\x9b31m", "8-bit OSC": "\x9d0;x\x9c", "clipboard": "\x1b]52;c;aWQ=\x07",
    "link": "\x1b]8;;http://x\x1b\\y\x1b]8;;\x1b\\", "DCS": "\x1bP$qm\x1b\\", "reset": "\x1bc",
    "alternate": "\x1b[?1049h", "report": "\x1b[6n", "bell": "\a", "backspace": "secret\b\b\b",
    "return": "ok\rbad", "newline": "one\ntwo", "vertical": "a\vb\fc", "delete": "a\x7f",
    "NEL": "a\x85b", "separators": "a\u2028b\u2029c", "RLO": "\u202egpj.exe", "LRO": "\u202dx",
    "isolates": "\u2066a\u2067b\u2068c\u2069", "marks": "\u200e\u200f\u061c", "pop": "\u202c",
    "embeddings": "\u202aa\u202bb", "invisible": "a\u200bb\u200cc\u200dd\u2060e\ufefff",
    "tags": "a\U000e0041\U000e007f", "shy": "a\u00adb", "null": "a\0b", "SO": "\x0e\x0f",
    "markup": "[red]x[/red][link=http://x]y[/link]", "private": "\ue000\U000f0000",
    "interlinear": "\ufff9a\ufffab\ufffb",
}  # fmt: skip


def hostile_session(place: Path, session_id: str, text: str, status: str) -> None:
    """Write a session that carries ``text`` in every field that takes any."""
    person = {
        "pid": GONE, "host": text, "boot_id": text, "command": text, "claimed_at": text,
        "pid_namespace": text, "token": text, "start_token": text, text: text,
    }  # fmt: skip
    told = state(
        session_id,
        status=status,
        goal_id=text,
        pid=GONE,
        owner=person,
        recovery={"count": 1, "at": text, "reason": text, "owner": person},
        result={"success": False, "error": text, "output": {text: text}},
        progress={
            "current_node": text, "paused_at": text, "resume_from": text, "path": [text],
            "nodes_with_failures": [text], "retry_details": {text: 1},
            "node_visit_counts": {text: 1}, "execution_quality": text,
        },
        metrics={"nodes_executed": [text], "edges_traversed": [text]},
        timestamps={"started_at": text, "updated_at": text, "completed_at": text},
        problems=[{text: text}],
        decisions=[{text: text}],
        data_buffer={text: {text: [text]}},
        input_data={text: text},
        checkpoint_enabled=True,
        latest_checkpoint_id=text,
        active_triggers=[text],
        trigger_tasks={text: text},
        **dict.fromkeys(
            (
                "schema_version", "agent_id", "stream_id", "correlation_id", "entry_point",
                "current_run_id", "isolation_level", "incarnation", "forked_from",
            ),
            text,
        ),
    )  # fmt: skip
    kept = put(place, session_id, told).parent / "checkpoints"
    kept.mkdir()
    foreign = {
        "checkpoint_id": text, "checkpoint_type": text, "session_id": session_id,
        "created_at": text, "current_node": text, "description": text,
    }  # fmt: skip
    (kept / "cp_1.json").write_text(json.dumps(foreign))
    (kept / "cp_2.json").write_text(json.dumps({**foreign, "session_id": text}))


@pytest.mark.parametrize("form", ["table", "json"])
@pytest.mark.parametrize("status", ["active", "paused", "failed"])
def test_text_that_acts_is_escaped_in_every_field_of_every_command(
    tmp_path: Path, form: str, status: str
) -> None:
    cases = 0
    for number, text in enumerate(ACTING.values()):
        hostile_session(tmp_path, f"h{number}", text, status)
    put(tmp_path, "torn", "{" + ACTING["title"])
    runs = [("ls", "-n", "0"), ("recover",), ("recover", "--mark-as", "paused")]
    runs += [("show", f"h{number}") for number in range(len(ACTING))]
    runs += [("show", "torn")]
    for args in runs:
        result = invoke(tmp_path, *args, "-o", form, "--color", "always")
        assert result.exit_code in (0, 5), (args, result.output)
        for output in (result.stdout, result.stderr):
            assert not acting(output), (args, acting(output))
            hidden = {c for c in output if unicodedata.category(c) in ("Co", "Cn")}
            assert not hidden, (args, hidden)
        if form == "json":
            assert result.stdout.isascii()
            json.loads(result.stdout)
        cases += 1
    counted(cases * len(ACTING), promise=11)
