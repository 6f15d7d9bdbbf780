"""Check the marker of a store, and write it anew if the layout certainly is of this format.

No program opens a store with a damaged marker, so this check comes first, and alone.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import replace

from sessionstore.clock import Clock
from sessionstore.durable.directory import Directory
from sessionstore.durable.regular_file import read_regular
from sessionstore.errors import SessionStoreError
from sessionstore.model import codec
from sessionstore.model.ids import is_id
from sessionstore.model.state import SessionState
from sessionstore.storage.files import state_file, store_marker
from sessionstore.storage.files.layout import MARKER, STATE, Layout
from sessionstore.storage.files.quarantine import quarantine
from sessionstore.storage.files.repair.mended import mended
from sessionstore.storage.files.root import check_root
from sessionstore.storage.files.store_marker import FORMAT, MARKER_LIMIT
from sessionstore.storage.report import Finding, FindingKind

_BY_HAND = (
    f'restore it from a backup, or write {{"format": {FORMAT}}} into it if this is a store of'
    f" format {FORMAT}"
)
_VERSION = re.compile(rb'"format"\s*:\s*([^\s,}]*)')


def check_marker(layout: Layout, *, repair: bool, now: Clock) -> Finding | None:
    """Return a finding if the marker is damaged, repaired if ``repair`` is true and it is certain.

    Returns None if the marker is sound or missing: opening the store makes a missing one.

    Raises:
        StorageError: the store is of a newer format, everybody can write to it, or the marker
            cannot be read.
    """
    check_root(layout, warns=False)
    try:
        store_marker.read_marker(layout)
    except store_marker.DamagedMarker as error:
        damage = error
    else:
        return None
    why_not = _why_not_ours(layout)
    what = (
        f"not repaired: {why_not}; {_BY_HAND}"
        if why_not
        else "it would be put into quarantine, and a new one written"
    )
    detail = damage.reason
    finding = Finding(FindingKind.DAMAGED_MARKER, None, layout.marker, detail, what, is_damage=True)
    if why_not or not repair:
        return finding

    def mend() -> str:
        copies = not _shares_bytes(layout)
        with Directory(layout.root) as root:
            # A store that is opened in between has no marker, and so makes copies, which is safe.
            place = quarantine(
                layout, root, MARKER, called="marker", session_id=None, reason=detail, now=now
            )
            store_marker.write_marker(root, foreign=copies)
            root.flush()
        done = f"written anew; what was there is in {place}"
        return done + ("; checkpoints will be copies, as where others write" if copies else "")

    return mended(replace(finding, repair=what), mend)


def _why_not_ours(layout: Layout) -> str | None:
    """Return what speaks against a store of this format; None if it certainly is one."""
    try:
        with Directory(layout.root) as root:
            data, _ = read_regular(root, MARKER, MARKER_LIMIT)
        for path in layout.directories:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        found = _VERSION.search(data)
        if found and found[1] != str(FORMAT).encode():
            return "what is left of it names another format"
        names = [
            name
            for name in os.listdir(layout.sessions)
            if is_id(name) and state_file.holds_session(layout.session(name))
        ]
    except OSError as error:
        why = f"{error.strerror}: {error.filename or MARKER}"
        return f"this may be something else than a store ({why})"
    if not names or any(_is_ours(layout, name) for name in names):
        return None
    return "no session here can be read"


def _is_ours(layout: Layout, session_id: str) -> bool:
    """Return whether this package saved the session: other software writes no incarnation."""
    try:
        with Directory(layout.sessions) as sessions, Directory(session_id, sessions) as directory:
            payload, _ = state_file.read(directory, STATE, session_id)
        return codec.decode(payload, SessionState, session_id, STATE).incarnation is not None
    except (OSError, SessionStoreError):
        return False


def _shares_bytes(layout: Layout) -> bool:
    """Return whether a checkpoint is a second name of a state: in a foreign store none is.

    The damaged marker said whether the store is foreign. In doubt it is: copies are always right.
    """
    with Directory(layout.sessions) as sessions:
        for session_id in filter(is_id, sessions.names()):
            try:
                with (
                    Directory(session_id, sessions) as directory,
                    Directory("checkpoints", directory) as kept,
                ):
                    state = directory.status(STATE)
                    if any(kept.status(name).st_ino == state.st_ino for name in kept.names()):
                        return True
            except OSError:
                continue
    return False
