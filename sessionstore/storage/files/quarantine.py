"""Quarantine: keep what cannot be used but may be data, each thing with the reason beside it."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from sessionstore import clock
from sessionstore.clock import Clock
from sessionstore.durable import replace
from sessionstore.durable.directory import Directory
from sessionstore.storage.files import state_file
from sessionstore.storage.files.layout import QUARANTINE, STATE, Layout

_SCHEMA = "sessionstore.quarantine/1"
_REASON = "reason.json"


@contextmanager
def quarantine_entry(
    layout: Layout,
    session_id: str | None,
    file: str,
    reason: str,
    now: Clock,
    *,
    token: str | None = None,
) -> Iterator[Directory]:
    """Yield a new directory in quarantine, with the reason in it before anything else, durably.

    The block puts one thing into it, as its last step that can fail before that thing is safe.
    If the block fails before, the directory is removed again. ``token`` is the end of its name.
    """
    facts = {"session_id": session_id, "file": file, "reason": reason, "at": clock.to_text(now())}
    text = json.dumps({"schema": _SCHEMA, **facts}, indent=2).encode() + b"\n"
    name = f"{session_id or 'unnamed'}.{token or secrets.token_hex(8)}"
    with _opened_quarantine(layout) as quarantined:
        quarantined.make_directory(name)
        with Directory(name, quarantined) as entry:
            try:
                replace.write_file(entry, _REASON, text, flush_file=True)
                entry.flush()
                quarantined.flush()
                yield entry
            except BaseException:
                # Only the reason may be removed: whatever was put there already is data.
                with suppress(OSError):
                    if set(entry.names()) <= {_REASON}:
                        with suppress(FileNotFoundError):
                            entry.unlink(_REASON)
                        os.rmdir(quarantined.at(name), dir_fd=quarantined.fd)
                raise


def _opened_quarantine(layout: Layout) -> Directory:
    with Directory(layout.root) as root:
        with suppress(FileExistsError):
            root.make_directory(QUARANTINE)
            root.flush()
        return Directory(QUARANTINE, root)


def quarantine(
    layout: Layout,
    source: Directory,
    name: str,
    *,
    called: str,
    session_id: str | None,
    reason: str,
    now: Clock,
) -> str:
    """Move ``name`` of ``source`` into quarantine, where it is called ``called``; return where."""
    file = os.path.join(source.path, name)
    with quarantine_entry(layout, session_id, file, reason, now) as entry:
        replace.move_new(source, name, entry, called)
        entry.flush()
        source.flush()
        return entry.path


def keep_state(
    layout: Layout, directory: Directory, session_id: str, reason: str, now: Clock
) -> str:
    """Copy the state in ``directory`` into quarantine, and return where.

    The same bytes are kept once: a write that fails, and is tried again, adds nothing.
    """
    payload, _ = state_file.read(directory, STATE, session_id)
    token = hashlib.sha256(payload).hexdigest()[:16]
    place = os.path.join(layout.quarantine, f"{session_id}.{token}")
    if os.path.lexists(os.path.join(place, STATE)):
        return place
    entry = partial(quarantine_entry, layout, session_id, layout.state(session_id), reason, now)
    with entry(token=None if os.path.lexists(place) else token) as target:
        replace.write_new(target, STATE, payload, flush_file=True)
        target.flush()
        return target.path
