"""Requests to cancel: a file for one claim, and a mark on the lock file that its holder looks at.

The file's name carries the token of the claim, so no holder ever reads another's. A request is
there whole before the mark is: who sees the mark can read it. A mark may be lost to the holder's
own record, or stand for nothing; both are mended where they can arise. Nothing is flushed: the
holder does not survive a loss of power either.
"""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from sessionstore.durable import replace as durable
from sessionstore.durable.directory import Directory
from sessionstore.durable.regular_file import read_regular
from sessionstore.storage.files import lock as locks
from sessionstore.storage.files.layout import Layout
from sessionstore.storage.values import CancelRequest

if TYPE_CHECKING:
    from sessionstore.model.state import SessionOwner

NAME = re.compile(r"(?P<session_id>.+)\.(?P<token>[0-9a-f]{16})\.cancel", re.ASCII)
_TOKEN = re.compile(r"[0-9a-f]{16}", re.ASCII)
_LIMIT = 64 * 1024
_REASON_LIMIT = 8 * 1024


def is_token(token: str | None) -> bool:
    """Return whether ``token`` is one of ours, which is safe in a file name."""
    return token is not None and _TOKEN.fullmatch(token) is not None


def deliver(layout: Layout, session_id: str, request: CancelRequest) -> bool:
    """Leave the request for its claim; return whether that claim stands.

    Raises:
        OSError: the system refused; nothing is left of the request.
    """
    if not is_token(request.token) or not _stands(layout, session_id, request.token):
        return False
    stands = False
    try:
        _put(layout, session_id, request)
        mark(layout, session_id)
        # Look again: a holder that let go meanwhile has cleaned up already.
        stands = _stands(layout, session_id, request.token)
    except FileNotFoundError:
        pass  # the lock file went away with its session
    finally:
        if not stands:
            remove(layout, session_id, request.token)
    return stands


def may_be_heeded(layout: Layout, session_id: str, name: str) -> bool:
    """Return whether the claim that the request called ``name`` was made to may still stand."""
    named = NAME.fullmatch(name)
    try:
        held, record = locks.probe(layout.lock(session_id))
    except OSError:
        return True  # it cannot be known
    if named is None or not held:
        return False
    return record is None or record.holder.token == named["token"]


def _stands(layout: Layout, session_id: str, token: str) -> bool:
    held, record = locks.probe(layout.lock(session_id))
    if not held or record is None or record.released_at is not None:
        return False
    return record.holder.token == token


def _put(layout: Layout, session_id: str, request: CancelRequest) -> None:
    if request.reason is None:  # asked again, to wait for it: the reason that was given stands
        with suppress(OSError):
            before = _read(layout, session_id, request.token)
            request = replace(request, reason=before.reason if before else None)
    content = {
        "token": request.token,
        "reason": request.reason and request.reason[:_REASON_LIMIT],
        "at": request.at,
        "by": request.by.model_dump() if request.by else None,
    }
    with Directory(layout.locks) as directory:
        name = os.path.basename(layout.request(session_id, request.token))
        durable.write_over(directory, name, json.dumps(content).encode())


def mark(layout: Layout, session_id: str) -> None:
    """Bid the holder look for a request."""
    _set_time(layout.lock(session_id), locks.MARK)


def find(layout: Layout, session_id: str, token: str | None) -> CancelRequest | None:
    """Return the request that the mark stands for; take a mark away that stands for none."""
    try:
        return _read(layout, session_id, token)
    except FileNotFoundError:
        _unmark(layout, session_id)
    except OSError:  # no descriptor is left, say: the mark stays, and the next save looks again
        return None
    restore_mark(layout, session_id, token)  # one that was left in between has lost its mark
    return None


def restore_mark(layout: Layout, session_id: str, token: str | None) -> None:
    """Mark the lock file again if a request came while the holder wrote its own record."""
    if is_token(token) and os.path.lexists(layout.request(session_id, str(token))):
        with suppress(OSError):
            mark(layout, session_id)


def remove(layout: Layout, session_id: str, token: str | None) -> None:
    """Remove the request to a claim that has ended, or is ending."""
    if is_token(token):
        with suppress(OSError):
            os.unlink(layout.request(session_id, str(token)))


def _read(layout: Layout, session_id: str, token: str | None) -> CancelRequest | None:
    if token is None or not is_token(token):
        return None
    with Directory(layout.locks) as directory:
        name = os.path.basename(layout.request(session_id, token))
        data, _ = read_regular(directory, name, _LIMIT)
    # Whoever could leave this file could have taken the session: what it says is only shown.
    reason: object = None
    at: object = None
    by: SessionOwner | None = None
    with suppress(ValueError, RecursionError):
        content = json.loads(data)
        if isinstance(content, dict):
            from sessionstore.model.state import SessionOwner

            reason, at = content.get("reason"), content.get("at")
            with suppress(ValueError):
                by = SessionOwner.model_validate(content.get("by"))
    return CancelRequest(
        token,
        reason if isinstance(reason, str) else None,
        at if isinstance(at, str) else "",
        by,
    )


def _unmark(layout: Layout, session_id: str) -> None:
    with suppress(OSError):
        _set_time(layout.lock(session_id), time.time_ns())


def _set_time(path: str, moment: int) -> None:
    if os.utime in os.supports_follow_symlinks:
        os.utime(path, ns=(moment, moment), follow_symlinks=False)
    else:
        os.utime(path, ns=(moment, moment))
