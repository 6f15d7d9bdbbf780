"""Requests to cancel: a file for one claim, which its holder looks for before each save.

The file's name carries the token of the claim, so no holder ever reads another's. It gets that name
once it is whole. Nothing is flushed: the holder does not survive a loss of power either.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from sessionstore.durable import replace as durable
from sessionstore.durable.directory import Directory
from sessionstore.durable.regular_file import read_regular
from sessionstore.model.stored import MAX_STATE_BYTES
from sessionstore.storage.files import lock as locks
from sessionstore.storage.files.layout import STATE, Layout
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
        # Race: Release during a request to cancel. The holder may have cleaned up already.
        stands = _stands(layout, session_id, request.token)
    except FileNotFoundError:
        pass  # the store was removed
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
    if named is None:
        return False
    if not held:
        return _is_unmet(layout, session_id, named["token"])
    return record is None or record.holder.token == named["token"]


def _is_unmet(layout: Layout, session_id: str, token: str) -> bool:
    """Return whether the state says that the claim goes on: its process died, unrecorded so far."""
    with suppress(OSError, ValueError, RecursionError, LookupError, TypeError):
        with Directory(layout.session(session_id)) as directory:
            data, _ = read_regular(directory, STATE, MAX_STATE_BYTES)
        raw = json.loads(data)
        return bool(raw["status"] == "active" and raw["owner"]["token"] == token)
    return False


def _stands(layout: Layout, session_id: str, token: str) -> bool:
    held, record = locks.probe(layout.lock(session_id))
    if not held or record is None or record.released_at is not None:
        return False
    return record.holder.token == token


def _put(layout: Layout, session_id: str, request: CancelRequest) -> None:
    if request.reason is None:  # asked again, to wait for it: the reason that was given stands
        with suppress(OSError):
            before = _read(layout, session_id, request.token)
            request = replace(request, reason=before.reason)
    content = {
        "token": request.token,
        "reason": request.reason and request.reason[:_REASON_LIMIT],
        "at": request.at,
        "by": request.by.model_dump() if request.by else None,
        "user": request.user,
    }
    with Directory(layout.locks) as directory:
        name = os.path.basename(layout.request(session_id, request.token))
        durable.write_over(directory, name, json.dumps(content).encode())


def find(layout: Layout, session_id: str, token: str | None) -> CancelRequest | None:
    """Return the request that was made to the claim of ``token``, if there is one."""
    if token is None or not is_token(token):
        return None
    try:
        return _read(layout, session_id, token)
    except OSError:  # there is none; or no descriptor is left, say, and the next save looks again
        return None


def remove(layout: Layout, session_id: str, token: str | None) -> None:
    """Remove the request to a claim that has ended, or is ending."""
    if is_token(token):
        with suppress(OSError):
            os.unlink(layout.request(session_id, str(token)))


def _read(layout: Layout, session_id: str, token: str) -> CancelRequest:
    with Directory(layout.locks) as directory:
        name = os.path.basename(layout.request(session_id, token))
        data, _ = read_regular(directory, name, _LIMIT)
    # Whoever could leave this file could have taken the session: what it says is only shown.
    told: dict[str, str] = {}
    by: SessionOwner | None = None
    with suppress(ValueError, RecursionError):
        content = json.loads(data)
        if isinstance(content, dict):
            from sessionstore.model.state import SessionOwner

            told = {
                name: content[name]
                for name in ("reason", "at", "user")
                if isinstance(content.get(name), str)
            }
            with suppress(ValueError):
                by = SessionOwner.model_validate(content.get("by"))
    return CancelRequest(token, told.get("reason"), told.get("at", ""), by, told.get("user"))
