"""This process: its owner record, and the claims that it holds."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from sessionstore import clock
from sessionstore.model.ids import random_hex
from sessionstore.process import kernel

if TYPE_CHECKING:  # it loads pydantic: a listing that meets no owner record does without
    from sessionstore.model.state import SessionOwner

held_tokens: set[str] = set()
"""The tokens of the claims that this process holds. Nobody else knows which ones it dropped."""


def new_owner(now: datetime) -> SessionOwner:
    """Return an owner record of this process with a fresh token."""
    from sessionstore.model.state import SessionOwner

    return SessionOwner(**this_process(), token=random_hex(8), claimed_at=clock.to_text(now))


def hold(owner: SessionOwner) -> None:
    """Remember that this process holds the claim of ``owner``."""
    if owner.token:
        held_tokens.add(owner.token)


def let_go(owner: SessionOwner) -> None:
    """Forget a claim that this process no longer holds."""
    held_tokens.discard(owner.token or "")


def this_process() -> dict[str, Any]:
    """Return what identifies this process, as the fields of an owner record."""
    return _this_process(os.getpid())  # a forked child has another pid: computed anew there


def process(pid: int) -> dict[str, Any]:
    """Return what identifies the process ``pid`` of this host; the command is that of this one."""
    import socket  # it loads selectors and enums, for one call

    return {
        "host": socket.gethostname(),
        "boot_id": kernel.boot_id(),
        "pid": pid,
        "start_token": kernel.start_token(pid),
        "pidfd_inode": kernel.pidfd_inode(pid),
        "pid_namespace": kernel.pid_namespace(),
        "command": _command(),
    }


_this_process = cache(process)


def _command() -> str:
    words = [os.path.basename(sys.executable or "python"), *(sys.orig_argv[1:] or sys.argv)]
    return " ".join(words)[:200].encode("utf-8", "backslashreplace").decode()
