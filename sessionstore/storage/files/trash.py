"""Remove what interrupted deletes, creates and imports left in trash/."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress

from sessionstore.durable.directory import Directory
from sessionstore.errors import StorageError
from sessionstore.storage.files import layout as layouts
from sessionstore.storage.files.layout import Layout
from sessionstore.storage.values import Probe


def empty(layout: Layout, probe: Callable[[str], Probe]) -> int:
    """Remove what nobody builds any more; return how many entries. ``probe`` looks at a lock."""
    removed = 0
    with suppress(OSError), Directory(layout.trash) as trash:
        names = [
            name
            for name in trash.names()
            # An entry with any other name may be somebody's data.
            if layouts.is_trashed(name) and not _is_being_built(name, probe)
        ]
        if names:
            # Race: Power loss during a delete. The delete may have died before its flush.
            with Directory(layout.sessions) as sessions:
                sessions.flush()
        for name in names:
            path = os.path.join(layout.trash, name)
            shutil.rmtree(path, ignore_errors=True)
            with suppress(OSError):  # a file or a link, which rmtree leaves alone
                os.unlink(path)
            removed += 1
    return removed


def _is_being_built(name: str, probe: Callable[[str], Probe]) -> bool:
    """Return whether a live process builds ``name``: then it holds the session's lock."""
    session_id = layouts.built_session(name)
    if session_id is None:
        return False
    # Race: Cleanup during an import. The lock tells a live builder from a dead one.
    try:
        return probe(session_id).held
    except StorageError:
        return True
