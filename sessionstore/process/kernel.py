"""What the kernel tells of boots, processes and mounts. The only door to psutil.

Linux is asked directly, through /proc and system calls. psutil reads the same places there, and
loading it takes a tenth of the time of ``sessionstore ls``. Other systems are asked through psutil.

A look can fail: no descriptor is left, /proc is missing or hides processes. Such a look answers
None, or says why it failed. It never says that a process is gone.
"""

from __future__ import annotations

import errno
import os
import sys
from functools import cache
from typing import Literal, NamedTuple

PLATFORM: str = sys.platform  # a plain str: type checkers would drop the other branches

_USED_UP = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class ProcessLook(NamedTuple):
    """What a look at a process found.

    - running: a process with this id runs.
    - zombie: it has ended, and its parent has not collected it.
    - gone: the kernel says that no process has this id.
    - unreadable: something has this id, and nobody may look at it from here.
    - failed: the look failed, for the reason in ``why``. The next one may succeed.
    """

    state: Literal["running", "zombie", "gone", "unreadable", "failed"]
    why: str = ""


_boot_ids: list[str] = []
"""The boot id, once it was read."""


def boot_id() -> str | None:
    """Return an id that changes with each boot; None if it cannot be read.

    On Linux it is the kernel's, elsewhere the time of the boot.
    """
    if not _boot_ids:
        found = _boot_id_of_linux() if PLATFORM == "linux" else _time_of_boot()
        if not found:
            return None
        _boot_ids.append(found)
    return _boot_ids[0]


def _boot_id_of_linux() -> str | None:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return None  # the time of the boot would follow the clock, and be another id


def _time_of_boot() -> str | None:
    try:
        import psutil

        return f"booted-at-{round(psutil.boot_time(), -1):.0f}"
    except (ImportError, OSError, RuntimeError):
        return None


# --- what identifies a process ------------------------------------------------------------------


def pid_namespace() -> str | None:
    """Return the name of this process's PID namespace; None if it cannot be read, or is none."""
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
    if PLATFORM != "linux":
        return _seconds_from_boot_to_start(pid)
    try:
        if not _shows_our_pids():
            return None
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The command in field 2 may contain spaces and parentheses: the last one ends it.
            return file.read().rpartition(b")")[2].split()[19].decode("ascii")
    except (OSError, IndexError):
        return None


def _seconds_from_boot_to_start(pid: int) -> str | None:
    try:
        import psutil
    except (ImportError, OSError):
        return None
    try:
        return f"{psutil.Process(pid).create_time() - psutil.boot_time():.0f}"
    except (OSError, RuntimeError, psutil.Error):
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
    None, too, if the look failed: see :func:`has_pidfs`.
    """
    if not has_pidfs():
        return None
    try:
        fd = os.pidfd_open(pid)
    except (OSError, OverflowError):
        return None
    try:
        return os.fstat(fd).st_ino
    except OSError:
        return None
    finally:
        os.close(fd)


@cache
def has_pidfs() -> bool:
    """Return whether the inodes of pidfds identify processes on this system."""
    if PLATFORM != "linux" or not hasattr(os, "pidfd_open"):
        return False
    major, minor = os.uname().release.split(".")[:2]
    try:
        return (int(major), int(minor.partition("-")[0])) >= (6, 9)
    except ValueError:
        return False


# --- whether a process runs ---------------------------------------------------------------------


def process_state(pid: int) -> ProcessLook:
    """Return whether a process with this id runs. The id of a thread is no process."""
    try:
        return _ask_linux(pid) if PLATFORM == "linux" else _ask_psutil(pid)
    except OverflowError:  # the kernel has no such number
        return ProcessLook("gone")


def _ask_linux(pid: int) -> ProcessLook:
    # kill(2) needs no descriptor and no /proc: it alone decides that nothing has this id.
    if _is_unused(pid):
        return ProcessLook("gone")
    try:
        if not _shows_our_pids():
            return _ask_pidfd(pid)
        with open(f"/proc/{pid}/status", "rb") as file:
            lines = file.read().split(b"\n")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return _ask_pidfd(pid)  # /proc may hide the process (hidepid=, proc(5))
    except OSError as error:
        return _failed(error)
    fields = dict(line.split(b":\t", 1) for line in lines if b":\t" in line)
    leader, letter = fields.get(b"Tgid"), fields.get(b"State", b"")[:1]
    if leader is None or not letter:
        return ProcessLook("failed", "/proc shows no state of it")
    if leader != str(pid).encode():
        return ProcessLook("gone")  # this is the id of a thread
    if letter not in (b"Z", b"X", b"x"):
        return ProcessLook("running")
    return _ask_threads(pid)


def _is_unused(pid: int) -> bool:
    """Return whether the kernel says that no process and no thread has this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # EPERM: it runs, and belongs to another user
        return False
    return False


def _shows_our_pids() -> bool:
    """Return whether /proc numbers processes as this process does: its PID namespace is the same.

    Raises:
        OSError: the look failed.
    """
    with open("/proc/self/status", "rb") as file:
        lines = file.read().split(b"\n")
    ids = next((line.split()[1:] for line in lines if line.startswith(b"NSpid:")), None)
    if ids is None:  # older than Linux 4.1
        return os.readlink("/proc/self") == str(os.getpid())
    # One number for each namespace, from that of /proc inwards.
    return ids == [str(os.getpid()).encode()]


def _ask_threads(pid: int) -> ProcessLook:
    """Tell a process that has ended from one whose first thread alone has: both show a Z."""
    try:
        return ProcessLook("running" if len(os.listdir(f"/proc/{pid}/task")) > 1 else "zombie")
    except OSError as error:
        return ProcessLook("gone") if _is_unused(pid) else _failed(error)


def _ask_pidfd(pid: int) -> ProcessLook:
    """Ask for a pidfd, which any process has, visible in /proc or not.

    A pidfd becomes readable when its process ends (pidfd_open(2)).
    """
    if not hasattr(os, "pidfd_open"):
        return ProcessLook("gone" if _is_unused(pid) else "unreadable")
    try:
        import select

        fd = os.pidfd_open(pid)
    except ImportError as error:
        return ProcessLook("failed", str(error))
    except OSError as error:
        if _is_unused(pid):
            return ProcessLook("gone")
        return _failed(error) if error.errno in _USED_UP else ProcessLook("unreadable")
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return ProcessLook("zombie" if poll.poll(0) else "unreadable")
    except OSError as error:
        return _failed(error)
    finally:
        os.close(fd)


def _failed(error: OSError) -> ProcessLook:
    return ProcessLook("failed", error.strerror or type(error).__name__)


def _ask_psutil(pid: int) -> ProcessLook:
    try:
        import psutil
    except (ImportError, OSError) as error:
        return ProcessLook("failed", f"psutil cannot be loaded: {error}")
    try:
        if not psutil.pid_exists(pid):  # also False for the id of a thread
            return ProcessLook("gone")
        status = psutil.Process(pid).status()
    except psutil.ZombieProcess:
        return ProcessLook("zombie")
    except psutil.NoSuchProcess:
        return ProcessLook("gone")
    except psutil.AccessDenied:
        return ProcessLook("unreadable")
    except ValueError:
        return ProcessLook("gone")  # no process has such a number
    except OSError as error:
        return _failed(error)
    except (psutil.Error, RuntimeError) as error:
        return ProcessLook("failed", str(error))
    ended = status in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    return ProcessLook("zombie" if ended else "running")


def who_locks(path: str) -> list[int]:
    """Return the visible processes that have the file at ``path`` open and locked; [] if none.

    Linux alone tells: it lists the locks of each descriptor, whoever took them.
    """
    return sorted(
        int(process)
        for process in _names("/proc")
        if process.isdigit()
        and any(_is_locking(f"/proc/{process}", fd, path) for fd in _names(f"/proc/{process}/fd"))
    )


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:  # it ended, or belongs to another user
        return []


def _is_locking(process: str, fd: str, path: str) -> bool:
    try:
        if os.readlink(f"{process}/fd/{fd}") != path:
            return False
        with open(f"{process}/fdinfo/{fd}", "rb") as file:
            return b"\nlock:" in file.read()
    except OSError:
        return False


# --- mounts -------------------------------------------------------------------------------------


def partitions() -> list[tuple[str, str]]:
    """Return each mount point and its type of file system, as psutil tells; [] where it cannot."""
    try:
        import psutil

        return [(disk.mountpoint, disk.fstype) for disk in psutil.disk_partitions(all=True)]
    except (ImportError, OSError, RuntimeError):
        return []
