"""A look at a process that fails says so: "gone" is what the kernel alone can say."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sessionstore import SessionStore
from sessionstore.process import identity, kernel
from tests.support.processes import Child, left_active, needs_linux, needs_root, process_letter
from tests.support.processes import until as wait_until

ERRORS = [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO]
PROC = "/proc"


@pytest.fixture
def sleeper() -> Iterator[int]:
    """The pid of a process that lives as long as the test."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        yield process.pid
        process.kill()


def failing(code: int, below: str) -> Callable[..., Any]:
    """Return an ``open`` that fails with this error for every file below a directory."""
    real = open

    def refuse(file: object, *arguments: Any, **options: Any) -> Any:
        if str(file).startswith(below):
            raise OSError(code, os.strerror(code))
        return real(file, *arguments, **options)  # type: ignore[call-overload]  # as it was called

    return refuse


@needs_linux(PROC)
@pytest.mark.parametrize("code", ERRORS, ids=errno.errorcode.get)
def test_a_look_that_fails_is_told_with_its_reason(
    sleeper: int, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", failing(code, "/proc/"))
        assert kernel.process_state(sleeper) == ("failed", os.strerror(code))
        assert kernel.start_token(sleeper) is None
        assert kernel.process_state(2**22 + 1).state == "gone"  # that needs no descriptor
    assert kernel.process_state(sleeper).state == "running"


@needs_linux(PROC)
@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.ENOENT], ids=errno.errorcode.get)
def test_a_process_that_proc_hides_is_there_all_the_same(
    sleeper: int, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", failing(code, f"/proc/{sleeper}"))
        assert kernel.process_state(sleeper).state == "unreadable"

        def refuse(pid: int) -> int:
            raise OSError(errno.EMFILE, "Too many open files")

        patch.setattr(os, "pidfd_open", refuse)
        assert kernel.process_state(sleeper) == ("failed", "Too many open files")
        assert kernel.pidfd_inode(sleeper) is None


@needs_linux(PROC)
def test_a_hidden_process_that_has_ended_is_a_zombie(monkeypatch: pytest.MonkeyPatch) -> None:
    with Child("identify") as child:
        pid = child.hear()["owner"]["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: process_letter(pid) == "Z", "the end of the process")
        assert kernel.process_state(pid).state == "zombie"
        monkeypatch.setattr("builtins.open", failing(errno.ENOENT, f"/proc/{pid}"))
        assert kernel.process_state(pid).state == "zombie"


@needs_linux(PROC)
def test_a_proc_of_another_pid_namespace_is_not_asked(
    sleeper: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As after ``unshare --pid`` alone: there /proc numbers processes as outside."""
    (tmp_path / "status").write_bytes(f"Name:\tx\nNSpid:\t99999\t{os.getpid()}\n".encode())
    real = open

    def elsewhere(file: object, *arguments: Any, **options: Any) -> Any:
        found = tmp_path / "status" if file == "/proc/self/status" else file
        return real(found, *arguments, **options)  # type: ignore[call-overload]  # as called

    monkeypatch.setattr("builtins.open", elsewhere)
    assert kernel.start_token(sleeper) is None
    assert kernel.process_state(sleeper).state == "unreadable"
    assert kernel.process_state(2**22 + 1).state == "gone"


@needs_linux(PROC)
def test_what_was_not_found_out_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "_known", {})
    monkeypatch.setattr(kernel, "_boot_ids", [])
    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", failing(errno.EMFILE, "/proc/"))
        found = identity.this_process()
        assert (found["boot_id"], found["start_token"]) == (None, None)
        assert found["pid"] == os.getpid()
    found = identity.this_process()
    assert found["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert found["start_token"] is not None
    assert identity.this_process() is found


# --- a system that is asked through psutil ------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (psutil.NoSuchProcess(1), "gone"),
        (psutil.ZombieProcess(1), "zombie"),
        (psutil.AccessDenied(1), "unreadable"),
        (OSError(errno.EMFILE, "Too many open files"), "failed"),
        (FileNotFoundError(errno.ENOENT, "/proc/stat"), "failed"),
        (RuntimeError("no boot time"), "failed"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_what_psutil_refuses_is_only_gone_if_it_says_so(
    sleeper: int, monkeypatch: pytest.MonkeyPatch, error: Exception, state: str
) -> None:
    def refuse(*_: object) -> Any:
        raise error

    monkeypatch.setattr(kernel, "PLATFORM", "darwin")
    assert kernel.process_state(sleeper).state == "running"
    assert kernel.process_state(2**22 + 1).state == "gone"
    monkeypatch.setattr(psutil.Process, "status", refuse)
    assert kernel.process_state(sleeper).state == state
    monkeypatch.setattr(kernel, "_boot_ids", [])
    monkeypatch.setattr(psutil, "boot_time", refuse)
    if not isinstance(error, psutil.Error):
        assert kernel.boot_id() is None
    assert kernel.start_token(sleeper) is None


# --- a /proc that shows little ------------------------------------------------------------------

USE = """
import json, os, sys
from sessionstore import SessionStore
store = SessionStore(sys.argv[1])
with store.create("goal", session_id="new") as session:
    session.checkpoint("node")
    told = {"held": str(store.liveness("new").verdict)}
    session.complete()
report = store.recover()
told |= {name: sorted(item.session_id for item in getattr(report, name))
         for name in ("swept", "alive", "unknown", "failed")}
print(json.dumps(told | {"listed": len(store.find())}))
"""
PROCS = {
    "subset=pid": "mount -t proc -o subset=pid proc /proc",
    "hidepid=2": "mount -t proc -o hidepid=2 proc /proc",
    "empty": "mount -t tmpfs none /proc",
    "not mounted": "umount -l /proc",
}


@needs_root("mounts another /proc")
@pytest.mark.parametrize("proc", PROCS)
def test_a_store_is_usable_whatever_proc_shows_and_the_living_stay(
    tmp_path: Path, sleeper: int, proc: str
) -> None:
    left_active(tmp_path, "bare", owner=None, pid=sleeper)
    left_active(tmp_path, "bare-gone", owner=None, pid=2**22 + 1)
    with Child("identify") as child:
        owner = child.hear()["owner"]
        left_active(tmp_path, "unlocked", owner=owner, pid=owner["pid"])
        with Child("act", tmp_path) as holder:
            holder.hear()
            holder.ask("create", session_id="held")
            script = f'{PROCS[proc]} && exec "$@"'
            inside = ["unshare", "--mount", "sh", "-c", script, "sh", sys.executable, "-c", USE]
            done = subprocess.run([*inside, tmp_path], check=True, capture_output=True, text=True)
            assert holder.ask("save", step=2) == {"revision": 2}
    told = json.loads(done.stdout)
    assert told["held"] == "alive"
    assert told["swept"] == ["bare-gone"]
    assert sorted(told["alive"] + told["unknown"]) == ["bare", "held", "unlocked"]
    assert "held" in told["alive"]
    assert told["failed"] == []
    assert told["listed"] == 5
    assert {item.session_id for item in SessionStore(tmp_path).recover().swept} == {
        "held", "unlocked",
    }  # fmt: skip
