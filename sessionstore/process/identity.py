"""This process: its owner record, and the claims that it holds."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sessionstore import clock
from sessionstore.model.ids import random_hex
from sessionstore.process import kernel
from sessionstore.process.command import command_line

if TYPE_CHECKING:  # it loads pydantic: a listing that meets no owner record does without
    from sessionstore.model.state import SessionOwner

held_tokens: set[str] = set()
"""The tokens of the claims that this process holds. Nobody else knows which ones it dropped."""

_known: dict[int, dict[str, Any]] = {}
"""What identifies this process, by its id: a forked child has another one."""


def new_owner(now: datetime, **place: str | None) -> SessionOwner:
    """Return an owner record of this process with a fresh token.

    ``place`` are the fields of the record that say where its lock lies.
    """
    from sessionstore.model.state import SessionOwner

    fields = this_process() | place
    return SessionOwner(
        **fields, token=random_hex(8), command=command_line(), claimed_at=clock.to_text(now)
    )


def hold(owner: SessionOwner) -> None:
    """Remember that this process holds the claim of ``owner``."""
    if owner.token:
        held_tokens.add(owner.token)


def is_holding(owner: SessionOwner | None) -> bool:
    """Return whether this process holds the claim of ``owner``; a forked child does not."""
    return owner is not None and owner.token in held_tokens and owner.pid == os.getpid()


def let_go(owner: SessionOwner) -> None:
    """Forget a claim that this process no longer holds."""
    held_tokens.discard(owner.token or "")


def this_process() -> dict[str, Any]:
    """Return what identifies this process, as the fields of an owner record."""
    pid = os.getpid()
    if (known := _known.get(pid)) is not None:
        return known
    found = process(pid)
    if _is_complete(found):  # a look that failed is made again
        _known[pid] = found
    return found


def process(pid: int) -> dict[str, Any]:
    """Return what identifies the process ``pid`` of this host."""
    return {
        "host": _host(),
        "boot_id": kernel.boot_id(),
        "pid": pid,
        "start_token": kernel.start_token(pid),
        "pidfd_inode": kernel.pidfd_inode(pid),
        "pid_namespace": kernel.pid_namespace(),
    }


def user_name() -> str | None:
    """Return who runs this process: ``anna``, or ``anna as root`` where sudo says so."""
    import getpass

    try:
        name = getpass.getuser()
    except (ImportError, KeyError, OSError):  # no name is known for the id of the user
        return None
    caller = os.environ.get("SUDO_USER")
    return f"{caller} as {name}" if caller not in (None, "", name) else name


def _is_complete(fields: dict[str, Any]) -> bool:
    """Return whether every look that this system allows has succeeded."""
    needed = ["boot_id", "start_token"]
    if kernel.PLATFORM == "linux":
        needed.append("pid_namespace")
    if kernel.has_pidfs():
        needed.append("pidfd_inode")
    return all(fields[name] is not None for name in needed)


def _host() -> str:
    if hasattr(os, "uname"):
        return os.uname().nodename
    import socket  # it loads selectors and enums, for one call

    return socket.gethostname()
