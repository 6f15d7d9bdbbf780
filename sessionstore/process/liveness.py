"""Judge whether the process that holds a session still lives: alive, dead or unknown.

:func:`judge` is asked about a session whose lock is free, :func:`look_up` and :func:`why_orphaned`
about one whose lock is held. A look that failed proves nothing.
"""

from __future__ import annotations

import os
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple, Protocol

from sessionstore.model.liveness import Liveness, Verdict
from sessionstore.model.status import SessionStatus
from sessionstore.process import identity, kernel
from sessionstore.text import printable

if TYPE_CHECKING:  # it loads pydantic: a listing that meets no owner record does without
    from sessionstore.model.state import SessionOwner, SessionState


class Place(Protocol):
    """Where the locks lie: it knows what a free lock says of an owner."""

    def lock_is_proof(self, owner: SessionOwner) -> bool:
        """Return whether a free lock proves that ``owner`` does not hold it."""

    def is_copy(self, owner: SessionOwner) -> bool:
        """Return whether ``owner`` claimed the session in the store that this one is a copy of."""


class _Where(Enum):
    """Where the process of an owner record ran."""

    HERE = auto()
    """In this boot and PID namespace, where its pid means the same."""
    ELSEWHERE = auto()
    UNSURE = auto()
    """A boot id or a namespace is not known."""


class _Look(NamedTuple):
    """What the process table says of the process of an owner record."""

    verdict: Verdict
    reason: str
    failed: bool = False
    """Whether it says nothing, because the look failed: the next one may succeed."""


def judge(state: SessionState, place: Place) -> Liveness:
    """Return the liveness of the owner of ``state``, whose lock is known to be free."""
    owner = state.owner
    if state.status is not SessionStatus.ACTIVE:
        return Liveness(Verdict.DEAD, f"nobody holds it ({state.status})", owner)
    if owner is None or owner.pid is None:
        return _judge_pid(state.pid)
    lock_is_proof = place.lock_is_proof(owner)
    found = judge_owner(owner, lock_is_proof=lock_is_proof)
    if found.is_alive and lock_is_proof and place.is_copy(owner):
        original = printable(owner.root or "", limit=400)
        reason = f"its process runs in another store, {original}, of which this is a copy"
        return Liveness(Verdict.DEAD, reason, owner)
    return found


def judge_owner(owner: SessionOwner, *, lock_is_proof: bool) -> Liveness:
    """Return whether the process of an owner record lives. Its lock is known to be free.

    ``lock_is_proof`` says that a free lock proves that no live process holds it, wherever that
    process runs. A local file system has one kernel, so that this holds there.
    """
    pid = owner.pid
    if pid is None or pid <= 0:
        return Liveness(Verdict.UNKNOWN, "its owner record names no process", owner)
    where, elsewhere = _locate(owner, pid)
    if where is not _Where.ELSEWHERE:
        look = _judge_neighbour(owner, pid, lock_is_proof=lock_is_proof)
        if where is _Where.HERE:
            if lock_is_proof and look.verdict is Verdict.UNKNOWN and not look.failed:
                # Something has this pid, and it has not got this lock.
                return Liveness(Verdict.DEAD, f"its lock is free; {look.reason}", owner)
            return Liveness(look.verdict, look.reason, owner)
        if look.failed or look.verdict is Verdict.ALIVE:
            return Liveness(Verdict.UNKNOWN, f"{look.reason}; {elsewhere}", owner)
    if lock_is_proof:  # the one kernel that serves these files would know of a lock
        return Liveness(Verdict.DEAD, f"its lock is free; {elsewhere}", owner)
    return Liveness(Verdict.UNKNOWN, f"{elsewhere}, and its lock cannot be seen from here", owner)


def look_up(owner: SessionOwner) -> Verdict:
    """Return what is known of an owner's process alone, whether its lock is held or free."""
    pid = owner.pid
    if pid is None or pid <= 0:
        return Verdict.UNKNOWN
    where, _ = _locate(owner, pid)
    if where is _Where.HERE:
        return _judge_neighbour(owner, pid, lock_is_proof=False).verdict
    here = identity.this_process()
    boots = (owner.boot_id, here["boot_id"])
    if None not in boots and boots[0] != boots[1] and owner.host == here["host"]:
        return Verdict.DEAD  # no process outlives its boot
    return Verdict.UNKNOWN


def why_orphaned(owner: SessionOwner, file: str | None, *, names_heirs: bool) -> str | None:
    """Return in words that a held lock has outlived the process that took it; None if not so.

    Then a process that it started, or that was handed the descriptor, has the lock. With
    ``names_heirs`` the processes of this host are searched for it, which takes milliseconds.
    """
    pid = owner.pid
    if pid is None or pid <= 0 or pid == os.getpid():
        return None
    if _locate(owner, pid)[0] is not _Where.HERE:
        return None
    look = _judge_neighbour(owner, pid, lock_is_proof=False)
    if look.verdict is not Verdict.DEAD:
        return None
    named = f" ({printable(owner.command, limit=60)})" if owner.command else ""
    found = look.reason.removeprefix(f"pid {pid} ")
    text = f"its lock is held, but pid {pid}{named}, which took it, {found}: a process that it"
    text += " started, or that was handed the descriptor, still has it"
    heirs = kernel.who_locks(file) if file is not None and names_heirs else []
    if heirs:
        return f"{text}: pid {', '.join(map(str, heirs))}"
    where = "" if file is None else f" or `lsof {printable(file, limit=400)}`"
    return f"{text}: see /proc/locks{where}"


def _locate(owner: SessionOwner, pid: int) -> tuple[_Where, str]:
    """Return where the process of an owner record ran, and that in words."""
    here = identity.this_process()
    if owner.boot_id is None or here["boot_id"] is None:
        if owner.host is not None and owner.host != here["host"]:
            return _Where.ELSEWHERE, "on another host"
        return _Where.UNSURE, f"whether pid {pid} is of this boot cannot be known"
    if owner.boot_id != here["boot_id"]:
        same_host = owner.host == here["host"]
        return _Where.ELSEWHERE, "rebooted since" if same_host else "on another host"
    if owner.pid_namespace != here["pid_namespace"]:
        if owner.pid_namespace is not None and here["pid_namespace"] is not None:
            return _Where.ELSEWHERE, f"pid {pid} is in another PID namespace"
    elif owner.pid_namespace is not None or kernel.PLATFORM != "linux":
        return _Where.HERE, ""
    return _Where.UNSURE, f"whether pid {pid} is of this PID namespace cannot be known"


def _judge_neighbour(owner: SessionOwner, pid: int, *, lock_is_proof: bool) -> _Look:
    """Return whether ``pid``, in this boot and PID namespace, is still the owner's process."""
    if pid == os.getpid() and owner.token not in identity.held_tokens and _is_same(owner, pid):
        return _Look(Verdict.DEAD, "this process dropped its claim without releasing it")
    look = kernel.process_state(pid)
    if look.state == "gone":
        return _Look(Verdict.DEAD, f"pid {pid} is gone")
    if look.state == "zombie":
        return _Look(Verdict.DEAD, f"pid {pid} is a zombie")
    if look.state == "failed":
        return _Look(Verdict.UNKNOWN, _cannot_look(pid, look.why), failed=True)
    same = _is_same(owner, pid)
    if same is None:
        recorded = owner.start_token is not None or owner.pidfd_inode is not None
        if recorded and look.state == "running":  # it can be seen, and a moment later it could not
            return _Look(Verdict.UNKNOWN, _cannot_look(pid, "its start is not shown"), failed=True)
        return _Look(Verdict.UNKNOWN, f"pid {pid} runs, but cannot be inspected")
    if not same:
        return _Look(Verdict.DEAD, f"pid {pid} is another process now")
    if lock_is_proof:
        return _Look(Verdict.ALIVE, f"pid {pid} still runs: its lock file was replaced")
    return _Look(Verdict.ALIVE, f"pid {pid} still runs, and its lock cannot be seen from here")


def _cannot_look(pid: int, why: str) -> str:
    return f"pid {pid} cannot be looked at: {why}"


def _is_same(owner: SessionOwner, pid: int) -> bool | None:
    """Return whether ``pid`` is the process of the record; None if nobody can tell."""
    inode = kernel.pidfd_inode(pid)
    if inode is not None and owner.pidfd_inode is not None:
        return inode == owner.pidfd_inode
    token = kernel.start_token(pid)
    if token is None or owner.start_token is None:
        return None
    same = kernel.is_same_start(token, owner.start_token)
    if not same and owner.pidfd_inode is not None and kernel.has_pidfs():
        return None  # in another time namespace a start differs: the inode would tell
    return same


def _judge_pid(pid: int | None) -> Liveness:
    """Return whether a process runs of which only the pid is known: stores without locks."""
    from sessionstore.model.state import SessionOwner

    if pid is None:
        return Liveness(Verdict.UNKNOWN, "no owner recorded")
    owner = SessionOwner(pid=pid)
    if pid <= 0:
        return Liveness(Verdict.UNKNOWN, f"pid {pid} is not a process id", owner)
    look = kernel.process_state(pid)
    if look.state == "gone":
        return Liveness(Verdict.DEAD, f"pid {pid} is gone", owner)
    if look.state == "zombie":
        return Liveness(Verdict.DEAD, f"pid {pid} is a zombie", owner)
    if look.state == "unreadable":
        return Liveness(Verdict.UNKNOWN, f"pid {pid} cannot be inspected", owner)
    if look.state == "failed":
        return Liveness(Verdict.UNKNOWN, _cannot_look(pid, look.why), owner)
    return Liveness(Verdict.ALIVE, f"a process with pid {pid} runs, and no lock says more", owner)
