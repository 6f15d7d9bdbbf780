"""Run the command line, for real or inside this process, on stores written by hand."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sessionstore.cli.app import app
from tests.support.processes import DEADLINE

GONE = 2147480000
"""Above the largest pid that a kernel gives out (2**22 on Linux)."""

HOSTILE = "\x1b[35;45;5mred\x1b]0;title\x07\r\nID\x7f\x9b2J\u202e\u2066\u200b[bold]x[/bold]\t\x00"
"""Text that recolours and retitles a terminal, forges a line, turns text round, and is markup."""

_DECIDING = ("SESSIONSTORE_ROOT", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "PYTHONUNBUFFERED")
"""What in the environment of whoever runs the tests would decide for the command."""

COLOR = re.compile(r"\x1b\[(?!35;45;5m)[0-9;]*m")


def run(
    *args: str, env: dict[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, as installed but for the name."""
    return subprocess.run(
        [sys.executable, "-m", "sessionstore", *args],
        check=False,
        text=True,
        encoding="utf-8",
        env=environment(env),
        timeout=DEADLINE,
        **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options),
    )


def environment(changes: dict[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without what would decide for the command."""
    mine = {name: value for name, value in os.environ.items() if name not in _DECIDING}
    return {**mine, "PYTHONIOENCODING": "utf-8", "TERM": "xterm", **(changes or {})}


def invoke(
    root: Path | None, *args: str, env: dict[str, str] | None = None, stdin: str | None = None
) -> Result:
    """Run the command inside this process."""
    named = [] if root is None else ["--root", str(root)]
    given = {"SESSIONSTORE_ROOT": None, "NO_COLOR": None, **(env or {})}
    result = CliRunner().invoke(app, [*named, *args], env=given, input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def data(root: Path, *args: str) -> dict[str, Any]:
    """Return what a command writes as JSON."""
    result = invoke(root, *args, "-o", "json")
    return dict(json.loads(result.stdout))


def on_terminal(
    *args: str, both: bool = False, env: dict[str, str] | None = None, typed: bytes | None = None
) -> str:
    """Run the command with stderr, or stdout too, on a terminal; return what that showed.

    With ``typed`` stdin is that terminal, and somebody types it.
    """
    pty = pytest.importorskip("pty", reason="terminals can be made on POSIX only")
    master, slave = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "sessionstore", *args],
        env=environment(env),
        stdin=subprocess.DEVNULL if typed is None else slave,
        stdout=slave if both else subprocess.DEVNULL,
        stderr=slave,
    )
    os.close(slave)
    shown = b""
    if typed is not None:
        os.write(master, typed)
    try:
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # EIO: the last one to hold the other end is gone
                break
            if not piece:
                break
            shown += piece
        child.wait(timeout=DEADLINE)
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        os.close(master)
    return shown.decode()


@contextmanager
def process(*args: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start the command; it is ended with the block, whatever happens."""
    child = subprocess.Popen(
        [sys.executable, "-m", "sessionstore", *args], env=environment(), **options
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()
        for stream in (child.stdout, child.stderr):
            if stream is not None:
                stream.close()


def state(session_id: str, **changes: Any) -> dict[str, Any]:
    """Return a stored state, as other software writes it."""
    return {
        "session_id": session_id,
        "goal_id": "a-goal",
        "status": "completed",
        "timestamps": {
            "started_at": "2026-01-25T17:09:03+00:00",
            "updated_at": "2026-01-25T17:10:03+00:00",
        },
        **changes,
    }


def put(root: Path, session_id: str, content: dict[str, Any] | str | None = None) -> Path:
    """Write a session by hand, without a store; return its state file."""
    directory = root / "sessions" / session_id
    directory.mkdir(parents=True)
    file = directory / "state.json"
    text = content if isinstance(content, str) else json.dumps(content or state(session_id))
    file.write_text(text, encoding="utf-8")
    return file


def put_hostile(root: Path) -> None:
    """Write sessions that carry HOSTILE in every field that takes text."""
    for session_id, status, pid in (
        ("h-active", "active", GONE),
        ("h-unknown", "active", None),
        ("h-paused", "paused", None),
        ("h-failed", "failed", None),
    ):
        owner = {"pid": pid, "command": HOSTILE, "host": HOSTILE, "boot_id": HOSTILE}
        file = put(root, session_id, _hostile_state(session_id, status, pid, owner))
        kept = file.parent / "checkpoints"
        kept.mkdir()
        for name, broken in (("cp_1", False), ("cp_2", True)):
            body: dict[str, Any] = {
                "checkpoint_id": HOSTILE,
                "checkpoint_type": HOSTILE,
                "session_id": HOSTILE if broken else session_id,
                "created_at": HOSTILE,
                "current_node": HOSTILE,
            }
            (kept / f"{name}.json").write_text(json.dumps(body), encoding="utf-8")
    put(root, "h-damaged", state(HOSTILE))
    put(root, "h-torn", f'{{"{HOSTILE}": ')


def _hostile_state(
    session_id: str, status: str, pid: int | None, owner: dict[str, Any]
) -> dict[str, Any]:
    latest = "cp_1" if status == "paused" else HOSTILE
    return {
        "schema_version": HOSTILE,
        "session_id": session_id,
        "status": status,
        "pid": pid,
        "owner": owner,
        "recovery": {"count": 2, "at": HOSTILE, "reason": HOSTILE, "owner": owner},
        "result": {
            "success": status == "paused",
            "error": HOSTILE,
            "output": {HOSTILE: HOSTILE},
        },
        "timestamps": {
            "started_at": HOSTILE,
            "updated_at": HOSTILE,
            "completed_at": HOSTILE,
            "paused_at_time": HOSTILE,
        },
        "progress": {
            "current_node": HOSTILE,
            "paused_at": HOSTILE,
            "resume_from": HOSTILE,
            "path": [HOSTILE] * 20,
            "nodes_with_failures": [HOSTILE],
            "execution_quality": HOSTILE,
        },
        "checkpoint_enabled": True,
        "latest_checkpoint_id": latest,
        "data_buffer": {HOSTILE: HOSTILE},
        **dict.fromkeys(
            ("goal_id", "agent_id", "stream_id", "correlation_id", "entry_point"), HOSTILE
        ),
        **dict.fromkeys(("current_run_id", "isolation_level", "incarnation", HOSTILE), HOSTILE),
    }


def acting(text: str) -> set[str]:
    """Return the characters of ``text`` that act on a terminal, but for ends of lines."""
    shown = COLOR.sub("", text)
    return {
        char
        for char in shown
        if char != "\n" and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    }


def hashes(root: Path) -> dict[str, str]:
    """Return the digest of every file below ``root``; not of the index, which is derived."""
    return {
        str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(root.rglob("*"))
        if file.is_file()
        and not any(part.startswith("index-") for part in file.relative_to(root).parts)
    }


_LEAVE = """
import os, signal, sys
from sessionstore import SessionStore
session = SessionStore(sys.argv[1]).create("a-goal", session_id=sys.argv[2])
session.checkpoint("node_complete", node="plan")
os.kill(os.getpid(), signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
"""


def leave_behind(root: Path, session_id: str) -> None:
    """Let a real process claim a new session and die by SIGKILL."""
    died = subprocess.run(
        [sys.executable, "-c", _LEAVE, str(root), session_id], check=False, timeout=DEADLINE
    )
    assert died.returncode == -signal.SIGKILL
