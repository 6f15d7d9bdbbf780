"""What the kernel tells of boots, processes and mounts. The only door to psutil.

Linux is asked directly, through /proc and system calls. psutil reads the same places there, and
loading it takes a tenth of the time of ``sessionstore ls``. Other systems are asked through psutil.
"""

from __future__ import annotations

import errno
import os
import sys
from functools import cache
from typing import Literal

PLATFORM: str = sys.platform  # a plain str: type checkers would drop the other branches

ProcessState = Literal["running", "zombie", "gone", "unreadable"]


@cache
def boot_id() -> str:
    """Return an id that changes with each boot: the one of Linux, else the time of the boot."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        import psutil

        return f"booted-at-{round(psutil.boot_time(), -1):.0f}"


# --- what identifies a process ------------------------------------------------------------------


def pid_namespace() -> str | None:
    """Return the name of this process's PID namespace; None where there is no such thing."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def start_token(pid: int) -> str | None:
    """Return when the kernel started ``pid``, in ticks since boot; None if it cannot be read.

    psutil's ``create_time()`` follows the wall clock: after the clock is set, the same process has
    another time. Field 22 of /proc/<pid>/stat does not (proc_pid_stat(5)). It is relative to the
    time namespace of the reader, and has a resolution of 10 ms.
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


def is_same_start(one: str, other: str) -> bool | None:
    """Return whether two start tokens of a pid are of one process; None if nobody can tell."""
    if PLATFORM == "linux":
        return one == other
    try:  # elsewhere a token is the difference of two clocks, rounded to seconds
        return abs(float(one) - float(other)) <= 2
    except ValueError:
        return None


def pidfd_inode(pid: int) -> int | None:
    """Return the inode of the pidfd of ``pid``; None where it does not identify a process.

    Since Linux 6.9 (pidfs) it is unique until the next boot. Before that, all pidfds share one.
    """
    if not _has_pidfs():
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
def _has_pidfs() -> bool:
    if PLATFORM != "linux" or not hasattr(os, "pidfd_open"):
        return False
    major, minor = os.uname().release.split(".")[:2]
    try:
        return (int(major), int(minor.partition("-")[0])) >= (6, 9)
    except ValueError:
        return False


# --- whether a process runs ---------------------------------------------------------------------


def process_state(pid: int) -> ProcessState:
    """Return whether a process with this id runs. "unreadable": it runs, and nobody may look."""
    if PLATFORM == "linux":
        if _is_seen_to_run(pid):
            return "running"
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return _state_by_pidfd(pid)
        except (OSError, OverflowError):
            pass
    import psutil

    try:
        if not psutil.pid_exists(pid):  # also False for the id of a thread
            return _state_by_pidfd(pid)
        status = psutil.Process(pid).status()
    except psutil.AccessDenied:
        return "unreadable"
    except (OverflowError, ValueError, psutil.Error, OSError):
        return _state_by_pidfd(pid)
    ended = status in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    return "zombie" if ended and not _other_threads_run(pid) else "running"


def _is_seen_to_run(pid: int) -> bool:
    """Return whether /proc shows a process with this id that is neither a thread nor a zombie.

    False proves nothing: /proc may hide the process, see proc_pid_status(5).
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
    """Return whether other threads run on: without its first one Linux shows a zombie."""
    try:
        return len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


def _state_by_pidfd(pid: int) -> ProcessState:
    """Ask for a pidfd: with hidepid=2 /proc hides live processes of other users (proc(5)).

    A pidfd exists for any process, visible or not, but not for a further thread of one.
    """
    if not hasattr(os, "pidfd_open"):
        return "gone" if PLATFORM == "win32" else _state_by_signal(pid)
    try:
        os.close(os.pidfd_open(pid))
    except OSError as error:
        return _state_by_signal(pid) if error.errno in (errno.ENOSYS, errno.EPERM) else "gone"
    except OverflowError:
        return "gone"
    return "unreadable"


def _state_by_signal(pid: int) -> ProcessState:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return "gone"
    except OSError:  # EPERM: it runs, and belongs to another user
        return "unreadable"
    return "unreadable"


# --- mounts -------------------------------------------------------------------------------------


def partitions() -> list[tuple[str, str]]:
    """Return each mount point and its type of file system, as psutil tells; [] where it cannot."""
    import psutil

    try:
        return [(disk.mountpoint, disk.fstype) for disk in psutil.disk_partitions(all=True)]
    except (OSError, psutil.Error):
        return []
