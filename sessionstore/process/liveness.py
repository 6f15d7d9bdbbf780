"""Judge whether the process that holds a session still lives: alive, dead or unknown.

All but :func:`look_up` is asked about a session whose lock is free: a held lock is proof of life.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sessionstore.model.liveness import Liveness, Verdict
from sessionstore.model.status import SessionStatus
from sessionstore.process import identity, kernel

if TYPE_CHECKING:  # it loads pydantic: a listing that meets no owner record does without
    from sessionstore.model.state import SessionOwner, SessionState


def judge(state: SessionState, *, lock_is_proof: bool) -> Liveness:
    """Return the liveness of the owner of ``state``, whose lock is known to be free.

    ``lock_is_proof`` says that a free lock proves that no live process holds it, wherever that
    process runs. A local file system has one kernel, so that this holds there.
    """
    owner = state.owner
    if state.status is not SessionStatus.ACTIVE:
        return Liveness(Verdict.DEAD, f"nobody holds it ({state.status})", owner)
    if owner is None or owner.pid is None:
        return _judge_pid(state.pid)
    return judge_owner(owner, lock_is_proof=lock_is_proof)


def judge_owner(owner: SessionOwner, *, lock_is_proof: bool) -> Liveness:
    """Return whether the process of an owner record lives. Its lock is known to be free."""
    here = identity.this_process()
    pid = owner.pid
    if pid is None or pid <= 0:
        return Liveness(Verdict.UNKNOWN, "its owner record names no process", owner)
    same_boot = owner.boot_id is not None and owner.boot_id == here["boot_id"]
    if same_boot and owner.pid_namespace == here["pid_namespace"]:
        verdict, reason = _judge_neighbour(owner, pid)
        if verdict is Verdict.UNKNOWN:  # a process has this pid, and it has not got this lock
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


def look_up(owner: SessionOwner) -> Verdict:
    """Return what is known of an owner's process alone, whether its lock is held or free."""
    here = identity.this_process()
    pid = owner.pid
    if pid is None or pid <= 0 or owner.boot_id is None:
        return Verdict.UNKNOWN
    if owner.boot_id != here["boot_id"]:  # no process outlives its boot
        return Verdict.DEAD if owner.host == here["host"] else Verdict.UNKNOWN
    if owner.pid_namespace != here["pid_namespace"]:
        return Verdict.UNKNOWN
    return _judge_neighbour(owner, pid)[0]


def _judge_neighbour(owner: SessionOwner, pid: int) -> tuple[Verdict, str]:
    """Return whether ``pid``, in this boot and PID namespace, is still the owner's process."""
    if pid == os.getpid() and owner.token not in identity.held_tokens and _is_same(owner, pid):
        return Verdict.DEAD, "this very process dropped its claim without releasing it"
    state = kernel.process_state(pid)
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
    """Return whether ``pid`` is the process of the record; None if nobody can tell."""
    inode = kernel.pidfd_inode(pid)
    if inode is not None and owner.pidfd_inode is not None:
        return inode == owner.pidfd_inode
    token = kernel.start_token(pid)
    if token is None or owner.start_token is None:
        return None
    return kernel.is_same_start(token, owner.start_token)


def _judge_pid(pid: int | None) -> Liveness:
    """Return whether a process runs of which only the pid is known: stores without locks."""
    from sessionstore.model.state import SessionOwner

    if pid is None:
        return Liveness(Verdict.UNKNOWN, "no owner recorded")
    owner = SessionOwner(pid=pid)
    if pid <= 0:
        return Liveness(Verdict.UNKNOWN, f"pid {pid} is not a process id", owner)
    state = kernel.process_state(pid)
    if state == "gone":
        return Liveness(Verdict.DEAD, f"pid {pid} is gone", owner)
    if state == "zombie":
        return Liveness(Verdict.DEAD, f"pid {pid} is a zombie", owner)
    if state == "unreadable":
        return Liveness(Verdict.UNKNOWN, f"pid {pid} cannot be inspected", owner)
    return Liveness(Verdict.ALIVE, f"a process with pid {pid} runs, and no lock says more", owner)
