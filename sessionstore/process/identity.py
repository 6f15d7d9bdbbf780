"""This process: the owner record of a new claim, and the claims that it holds."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from sessionstore import clock
from sessionstore.model.chance import random_hex

if TYPE_CHECKING:  # loaded by who makes a record: what only looks at places does without pydantic
    from sessionstore.model.state import SessionOwner

PLATFORM: str = sys.platform  # a plain str: type checkers would drop the other branches

held_tokens: set[str] = set()
"""Tokens of the claims that this process holds: it alone knows which it has dropped."""


def new_owner(now: datetime) -> SessionOwner:
    """Return an owner record of this process with a fresh token."""
    from sessionstore.model.state import SessionOwner

    pid = os.getpid()
    return SessionOwner(
        **_identity(pid),
        token=random_hex(8),
        claimed_at=clock.to_text(now),
    )


def hold(owner: SessionOwner) -> None:
    """Remember that this process holds the claim of ``owner``."""
    if owner.token:
        held_tokens.add(owner.token)


def let_go(owner: SessionOwner) -> None:
    """Forget a claim that this process no longer holds."""
    held_tokens.discard(owner.token or "")


@cache
def _identity(pid: int) -> dict[str, Any]:
    """Return what identifies process ``pid``, which is this one; computed anew after a fork."""
    import socket  # with selectors and enums, for one call

    return {
        "host": socket.gethostname(),
        "boot_id": boot_id(),
        "pid": pid,
        "start_token": start_token_of(pid),
        "pidfd_inode": pidfd_inode(pid),
        "pid_namespace": pid_namespace(),
        "command": _command(),
    }


def _command() -> str:
    words = [os.path.basename(sys.executable or "python"), *(sys.orig_argv[1:] or sys.argv)]
    return " ".join(words)[:200].encode("utf-8", "backslashreplace").decode()


@cache
def boot_id() -> str:
    """Return an id that changes with each boot: Linux' own, else the time of the boot."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        import psutil

        return f"booted-at-{round(psutil.boot_time(), -1):.0f}"


def pid_namespace() -> str | None:
    """Return the name of this process's PID namespace; None where that cannot be told."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def start_token_of(pid: int) -> str | None:
    """Return when the kernel started ``pid``, in ticks since boot; None if it cannot be read.

    psutil's ``create_time()`` follows the wall clock, so that the same process has another one
    after the clock was set; field 22 of /proc/<pid>/stat does not (proc_pid_stat(5)). It is
    relative to the reader's time namespace, and has a resolution of 10 ms.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The command in field 2 may contain spaces and parentheses: the last one ends it.
            return file.read().rpartition(b")")[2].split()[19].decode("ascii")
    except (OSError, IndexError):
        pass
    if PLATFORM == "linux":
        return None
    import psutil

    try:
        return f"{psutil.Process(pid).create_time() - psutil.boot_time():.0f}"
    except psutil.Error:
        return None


def pidfd_inode(pid: int) -> int | None:
    """Return the inode of the pidfd of ``pid``; None where it does not identify a process.

    Since Linux 6.9 (pidfs) it is unique until the next boot; before, all pidfds share one.
    """
    if not has_pidfs():
        return None
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return None
    try:
        return os.fstat(fd).st_ino
    finally:
        os.close(fd)


@cache
def has_pidfs() -> bool:
    """Return whether the inode of a pidfd names one process for ever."""
    if PLATFORM != "linux" or not hasattr(os, "pidfd_open"):
        return False
    major, minor = os.uname().release.split(".")[:2]
    try:
        return (int(major), int(minor.partition("-")[0])) >= (6, 9)
    except ValueError:
        return False
