"""Who holds a session: the identity of this process, and whether another one still lives."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from sessionstore.model.liveness import Liveness, Verdict
from sessionstore.model.status import SessionStatus
from sessionstore.process.identity import (
    PLATFORM,
    _identity,
    held_tokens,
    pidfd_inode,
    start_token_of,
)

if TYPE_CHECKING:  # loaded by who makes a record: what only looks at places does without pydantic
    from sessionstore.model.state import SessionOwner, SessionState


# --- this process -------------------------------------------------------------------------------


# --- another process ----------------------------------------------------------------------------


def judge(state: SessionState, *, lock_is_proof: bool) -> Liveness:
    """Return the liveness of the owner of ``state``, whose lock is known to be free.

    ``lock_is_proof`` says that a free lock proves that no live process holds it, wherever that
    process runs: true of a local file system, which has one kernel.
    """
    owner = state.owner
    if state.status is not SessionStatus.ACTIVE:
        return Liveness(Verdict.DEAD, f"nobody holds it ({state.status})", owner)
    if owner is None or owner.pid is None:
        return _judge_bare_pid(state.pid)
    return judge_owner(owner, lock_is_proof=lock_is_proof)


def judge_owner(owner: SessionOwner, *, lock_is_proof: bool) -> Liveness:
    """Return whether the process of an owner record of ours lives, its lock being free."""
    here = _identity(os.getpid())
    pid = owner.pid
    if pid is None or pid <= 0:
        return Liveness(Verdict.UNKNOWN, "its owner record names no process", owner)
    same_boot = owner.boot_id is not None and owner.boot_id == here["boot_id"]
    if same_boot and owner.pid_namespace == here["pid_namespace"]:
        verdict, reason = _look_at(owner, pid)
        if verdict is Verdict.UNKNOWN:  # somebody lives there, but not with this lock
            return Liveness(Verdict.DEAD, f"its lock is free; {reason}", owner)
        return Liveness(verdict, reason, owner)
    if same_boot:
        elsewhere = f"pid {pid} of another PID namespace"
    elif owner.boot_id is not None and owner.host == here["host"]:
        elsewhere = "rebooted since"
    else:
        elsewhere = "on another host"
    if same_boot or lock_is_proof:  # this kernel would know of a lock
        return Liveness(Verdict.DEAD, f"its lock is free; {elsewhere}", owner)
    return Liveness(Verdict.UNKNOWN, f"{elsewhere}, whose locks cannot be seen from here", owner)


def _look_at(owner: SessionOwner, pid: int) -> tuple[Verdict, str]:
    """Return whether ``pid``, in our own PID namespace and boot, is still the owner's process."""
    if pid == os.getpid() and owner.token not in held_tokens and _is_same(owner, pid):
        return Verdict.DEAD, "this very process dropped its claim without releasing it"
    state = _process_state(pid)
    if state == "gone":
        return Verdict.DEAD, f"pid {pid} is gone"
    if state == "zombie":
        return Verdict.DEAD, f"pid {pid} is a zombie"
    same = _is_same(owner, pid)
    if same is None:
        return Verdict.UNKNOWN, f"pid {pid} runs, but cannot be inspected"
    if same:
        return Verdict.ALIVE, f"pid {pid} still runs: its lock file was replaced"
    return Verdict.DEAD, f"pid {pid} is another process now"


def _is_same(owner: SessionOwner, pid: int) -> bool | None:
    """Return whether ``pid`` is the process of the record; None if that cannot be told."""
    inode = pidfd_inode(pid)
    if inode is not None and owner.pidfd_inode is not None:
        return inode == owner.pidfd_inode
    token = start_token_of(pid)
    if token is None or owner.start_token is None:
        return None
    if PLATFORM == "linux":
        return token == owner.start_token
    try:  # elsewhere the token is a difference of two clocks, rounded to seconds
        return abs(float(token) - float(owner.start_token)) <= 2
    except ValueError:
        return None


def _judge_bare_pid(pid: int | None) -> Liveness:
    """Return whether a process runs of which only the pid is known: stores without locks."""
    from sessionstore.model.state import SessionOwner

    if pid is None:
        return Liveness(Verdict.UNKNOWN, "no owner recorded")
    owner = SessionOwner(pid=pid)
    if pid <= 0:
        return Liveness(Verdict.UNKNOWN, f"pid {pid} is no process id", owner)
    state = _process_state(pid)
    if state == "gone":
        return Liveness(Verdict.DEAD, f"pid {pid} is gone", owner)
    if state == "zombie":
        return Liveness(Verdict.DEAD, f"pid {pid} is a zombie", owner)
    if state == "unreadable":
        return Liveness(Verdict.UNKNOWN, f"pid {pid} cannot be inspected", owner)
    return Liveness(Verdict.ALIVE, f"a process with pid {pid} runs, and no lock says more", owner)


def _process_state(pid: int) -> str:
    """Return "running", "zombie", "gone" or "unreadable"."""
    if PLATFORM == "linux":
        # What psutil would find in the same places, where that is plain: it is slow to load.
        if _is_seen_to_run(pid):
            return "running"
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return _kernel_says(pid)
        except (OSError, OverflowError):
            pass
    import psutil

    try:
        if not psutil.pid_exists(pid):  # also False for the id of a thread
            return _kernel_says(pid)
        status = psutil.Process(pid).status()
    except psutil.AccessDenied:
        return "unreadable"
    except (OverflowError, ValueError, psutil.Error, OSError):
        return _kernel_says(pid)
    ended = status in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    return "zombie" if ended and not _other_threads_run(pid) else "running"


def _is_seen_to_run(pid: int) -> bool:
    """Return whether Linux shows a process, and no thread or zombie, of this id.

    False says little: /proc may hide it, see proc_pid_status(5).
    """
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            lines = file.read().split(b"\n")
    except OSError:
        return False
    fields = dict(line.split(b":\t", 1) for line in lines if b":\t" in line)
    is_process = fields.get(b"Tgid") == str(pid).encode()
    return is_process and fields.get(b"State", b"Z")[:1] not in (b"Z", b"X", b"x")


def _other_threads_run(pid: int) -> bool:
    """Return whether a process runs whose first thread ended alone: Linux shows it as a zombie."""
    try:
        return len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


def _kernel_says(pid: int) -> str:
    """Ask the kernel: with hidepid=2 /proc hides live processes of other users (proc(5)).

    A pidfd exists for any process, visible or not, but not for a thread that is no process.
    """
    if not hasattr(os, "pidfd_open"):
        return "gone" if PLATFORM == "win32" else _signal_says(pid)
    try:
        os.close(os.pidfd_open(pid))
    except OSError as error:
        return _signal_says(pid) if error.errno in (errno.ENOSYS, errno.EPERM) else "gone"
    except OverflowError:
        return "gone"
    return "unreadable"


def _signal_says(pid: int) -> str:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return "gone"
    except OSError:  # EPERM: it lives, and belongs to somebody else
        return "unreadable"
    return "unreadable"


# --- where the store lies -----------------------------------------------------------------------
