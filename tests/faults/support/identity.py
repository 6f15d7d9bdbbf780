"""Processes that borrow an identity: a pid used twice, another namespace, user or clock."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sessionstore import SessionOwner
from sessionstore.clock import utc_now
from sessionstore.process import identity, kernel, liveness
from tests.support.children import Actor, say, serve
from tests.support.processes import Child

CONTAINER = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"]
"""What a container is to us: pids of its own; host name, boot id and kernel are shared."""

SHIFTED = ["unshare", "--time", "--boottime", "1000000", "--fork", "--kill-child=KILL"]
"""A time namespace whose clock since boot is eleven days ahead."""

HIDDEN = """
mount -t proc -o hidepid=2 proc /proc && mount --bind "$1" /mnt && shift && exec "$@"
"""
"""Hides the processes of others, and shows the store where every user can reach it."""

NOBODY = 65534


TIMES = [
    "1970-01-01T00:00:00+00:00", "2199-12-31T23:59:59+00:00", "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+23:59", "2026-01-01T00:00:00", "", "yesterday",
]  # fmt: skip
"""Times that no clock shows, or none of this time."""


def actor(*arguments: object, **options: Any) -> Child:
    """Start an actor that does as it is told; see :class:`Borrower`."""
    return Child("faults.support.identity.act", *arguments, **options)


# --- what runs in the child ---------------------------------------------------------------------


class Borrower(Actor):
    """An actor that can also be somebody else."""

    def tell_pid(self) -> dict[str, Any]:
        return {"pid": os.getpid(), "seconds": utc_now().timestamp()}

    def leave_to_a_double(self, session_id: str, pid: int) -> dict[str, Any]:
        """Let process ``pid`` hold a session and be killed, and another process get its pid.

        The other one lives until it is told to end.
        """

        def hold() -> None:
            session = self.store.create("goal", session_id=session_id)
            session.checkpoint()
            os.kill(os.getpid(), signal.SIGKILL)

        first = fork_as(pid, hold)
        os.waitpid(first, 0)
        second = fork_as(pid, signal.pause)
        return {"first": first, "second": second}

    def sweep_as(self, session_id: str, pid: int) -> dict[str, Any]:
        """Let process ``pid`` hold a session and be killed; sweep in a process with its pid."""

        def hold() -> None:
            self.store.create("goal", session_id=session_id).checkpoint()
            os.kill(os.getpid(), signal.SIGKILL)

        first = fork_as(pid, hold)
        os.waitpid(first, 0)

        def sweep() -> None:
            say(sweeper=os.getpid(), **self.recover())

        second = fork_as(pid, sweep)
        os.waitpid(second, 0)
        return {"first": first, "second": second}

    def doubles_of_one_tick(self, pid: int, seconds: float) -> dict[str, Any]:
        """Give ``pid`` out twice, until both processes began in the same tick of the kernel."""
        # A tick is 10 ms at most: where others want the processors, too, they would have to wait.
        with suppress(OSError):  # a container may not be allowed to
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        give_up = time.monotonic() + seconds
        same_tick = False
        while not same_tick and time.monotonic() < give_up:
            ours, theirs = os.pipe()

            def tell(pipe: int = theirs) -> None:
                os.write(pipe, identity.new_owner(utc_now()).model_dump_json().encode())

            os.waitpid(fork_as(pid, tell), 0)
            second = fork_as(pid, signal.pause)
            os.close(theirs)
            gone = SessionOwner.model_validate_json(os.read(ours, 1 << 16))
            os.close(ours)
            same_tick = kernel.start_token(second) == gone.start_token
            verdict = liveness.judge_owner(gone, lock_is_proof=False)
            os.kill(second, signal.SIGKILL)
            os.waitpid(second, 0)
        return {
            "same_tick": same_tick,
            "has_inode": gone.pidfd_inode is not None,
            "verdict": str(verdict.verdict),
            "reason": verdict.reason,
        }

    def end_double(self, pid: int) -> dict[str, Any]:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return {"ended": pid}

    def become_nobody(self) -> dict[str, Any]:
        """Drop every right; what was imported stays, wherever it lay."""
        import ctypes  # as everything that is imported late: an interpreter may lie out of reach

        import psutil

        assert ctypes
        assert psutil
        self.store.find(stale=True)
        self.store.recover(dry_run=True)
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        return {"uid": os.getuid()}

    def sees(self, pid: int) -> dict[str, Any]:
        """Tell what this process can learn of another one without the package's help."""
        try:
            os.kill(pid, 0)
            signalled = "allowed"
        except OSError as error:
            signalled = type(error).__name__
        return {
            "in_proc": os.path.exists(f"/proc/{pid}"),
            "signal": signalled,
        }

    def claim_forced(self, session_id: str) -> dict[str, Any]:
        self.store.claim(session_id, force=True).release()
        return {"claimed": session_id}


def fork_as(pid: int, work: Callable[[], object]) -> int:
    """Fork a child that gets this very pid; its ``work`` must not return control to us.

    Forced through the kernel's own setting (ns_last_pid, proc_sys_kernel(5)); somebody else of
    this PID namespace may be faster, then try again.
    """
    for _ in range(1000):
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
        child = os.fork()
        if child == 0:
            try:
                if os.getpid() == pid:
                    work()
            finally:
                os._exit(0)
        if child == pid:
            return child
        os.waitpid(child, 0)
    raise RuntimeError(f"pid {pid} could not be had")


def act(root: str) -> None:
    """Do as told over stdin; answer on stdout."""
    borrower = Borrower(root)
    serve(borrower)
    if borrower.session is not None:
        borrower.session.release()


def identify() -> None:
    """Say who we are, and live until the test hangs up."""
    say(owner=identity.new_owner(utc_now()).model_dump())
    sys.stdin.read()


def live_without_leader() -> None:
    """End the first thread only: the kernel calls such a process a zombie, and it runs."""
    import ctypes
    import threading

    def live() -> None:
        say(pid=os.getpid())
        os.read(0, 1)
        os._exit(0)

    threading.Thread(target=live).start()
    ctypes.CDLL(None).syscall(EXIT_OF_ONE_THREAD, 0)


EXIT_OF_ONE_THREAD = 60 if os.uname().machine == "x86_64" else 93
"""The number of exit(2), which ends the calling thread (asm/unistd_64.h; asm-generic)."""


# --- what the tests look with -------------------------------------------------------------------


def lock_record(root: Path, session_id: str) -> dict[str, Any]:
    """Return what the lock file says, without the package's help."""
    data = (root / "locks" / f"{session_id}.lock").read_bytes()
    return dict(json.loads(data[1:] or b"{}"))
