"""The directory of an index: found, and removed whole.

Its name is ``index-<format>-<16 hex>``, and is never used again: what belongs to one index is never
taken for a part of another. Nothing in here needs a database.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from contextlib import suppress

from sessionstore.log import about, logger
from sessionstore.model.ids import random_hex
from sessionstore.storage.files.layout import Layout, opened_trash

FORMAT = 3
"""Of the index that this version makes. One of another format is another version's, and stays."""
DATABASE = "rows.sqlite"
UNUSED = 30 * 86400.0
"""Seconds after which an index of another version counts as left behind."""
_NAME = re.compile(r"index-[0-9]+-[0-9a-f]{16}", re.ASCII)


def paths(layout: Layout) -> list[str]:
    """Return the directories of all indexes of the store, whatever their format.

    Raises:
        OSError: the root cannot be listed: then nobody knows whether there is one.
    """
    try:
        names = os.listdir(layout.root)
    except FileNotFoundError:
        return []
    return [os.path.join(layout.root, name) for name in sorted(filter(_NAME.fullmatch, names))]


def is_ours(directory: str) -> bool:
    """Return whether an index has the format of this version."""
    return os.path.basename(directory).startswith(f"index-{FORMAT}-")


def remove_unused(layout: Layout) -> int:
    """Remove the indexes of other versions that nobody has listed from for long; return how many.

    Writers serve every index that is there, and names in one that nobody folds only gather.

    Raises:
        OSError: the root cannot be listed.
    """
    removed = 0
    for directory in paths(layout):
        if not is_ours(directory) and time.time() - _used_at(directory) > UNUSED:
            remove(layout, directory)
            removed += 1
    return removed


def _used_at(directory: str) -> float:
    """Return when an index was written last: whoever lists writes what has changed."""
    times = [os.stat(directory).st_mtime]
    for name in (DATABASE, f"{DATABASE}-wal"):
        with suppress(OSError):
            times.append(os.stat(os.path.join(directory, name)).st_mtime)
    return max(times)


def discard(layout: Layout, directory: str, reason: object) -> None:
    """Remove an index that cannot be kept true, and say why: the next who lists makes another."""
    warn(layout, "the index was removed: %s", reason)
    remove(layout, directory)


def remove(layout: Layout, directory: str) -> None:
    """Remove an index: for all others at once, and then bit by bit."""
    try:
        with opened_trash(layout) as trash:
            aside = os.path.join(trash.path, f"index.{random_hex(8)}")
            os.rename(directory, aside)
        shutil.rmtree(aside, ignore_errors=True)
    except FileNotFoundError:
        return  # another was faster
    except OSError as error:
        try:
            os.unlink(os.path.join(directory, DATABASE))  # without it, it is no index
        except OSError:
            warn(
                layout,
                "the index cannot be removed, and may not list what is there:"
                " remove index-* by hand: %s",
                error,
            )


def warn(layout: Layout, text: str, reason: object) -> None:
    """Say what became of the index."""
    logger.warning(
        f"%s: {text}",
        layout.root,
        reason,
        extra=about("index_removed", path=layout.root, reason=reason),
    )
