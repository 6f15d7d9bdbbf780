"""Measure the space of a session on disk: in blocks, and a file with two names once."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from operator import itemgetter

from sessionstore.durable.directory import Directory
from sessionstore.durable.replace import is_temporary
from sessionstore.model.ids import is_id
from sessionstore.storage.files.layout import JOURNAL_SUFFIX as SUFFIX
from sessionstore.storage.files.layout import JOURNALS, STATE
from sessionstore.storage.values import Usage

_BLOCK = 512  # stat(2): st_blocks counts these, whatever the file system's own blocks are
_COUNTS_BLOCKS = hasattr(os.stat_result, "st_blocks")
_REPLACED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""The errors of opening a directory that was removed, or replaced by a link, meanwhile."""

_DEEPEST = 200
"""Each level below a session takes a descriptor while it is read."""

_NAME = itemgetter(0)


def measure(directory: Directory) -> Usage:
    """Return the space of the session in ``directory``, directories included."""
    seen: dict[tuple[int, int], int] = {}  # inode -> how many of its names were found here
    every = checkpoints = kept = journals = recorded = others = shared = 0
    for place, name, status in _state_first(directory):
        identity = (status.st_dev, status.st_ino)
        seen[identity] = names = seen.get(identity, 0) + 1
        size = on_disk(status)
        is_kept = place == "checkpoints" and is_checkpoint(name)
        checkpoints += is_kept
        holds_records = place == JOURNALS and is_journal(name)
        journals += holds_records
        links = status.st_nlink
        if links > 1 and not stat.S_ISDIR(status.st_mode):
            if names == 1:
                shared += size
            if names == links:
                shared -= size  # all of its names are here, so a delete frees it
        if names > 1:
            continue
        every += size
        if is_kept:
            kept += size
        elif holds_records:
            recorded += size
        elif place not in ("", "checkpoints", JOURNALS) or not _is_ours(place, name):
            others += size
    return Usage(every, checkpoints, kept, others, shared, journals, recorded)


def freed_by(directory: Directory, checkpoint_ids: Collection[str]) -> int:
    """Return how many bytes would lose their last name without these checkpoints."""
    freed = 0
    seen: dict[tuple[int, int], int] = {}
    with suppress(FileNotFoundError), Directory("checkpoints", directory) as checkpoints:
        for checkpoint_id in checkpoint_ids:
            try:
                status = checkpoints.status(f"{checkpoint_id}.json")
            except FileNotFoundError:
                continue
            identity = (status.st_dev, status.st_ino)
            seen[identity] = names = seen.get(identity, 0) + 1
            if names == status.st_nlink:
                freed += on_disk(status)
    return freed


def on_disk(status: os.stat_result) -> int:
    """Return how many bytes a file takes; its length if the system counts no blocks."""
    return status.st_blocks * _BLOCK if _COUNTS_BLOCKS else status.st_size


def _state_first(directory: Directory) -> Iterator[tuple[str, str, os.stat_result]]:
    """Yield directory, name and status of everything in a session, its state first.

    So the bytes that a checkpoint shares with the state count as bytes of the state.
    """
    found = _entries(directory)
    for name, status in found:
        if name == STATE:
            yield "", name, status
    yield "", ".", directory.status(".")
    for name, status in found:
        if name != STATE:
            yield "", name, status
            if stat.S_ISDIR(status.st_mode):
                for _, place, below, its in _walk_into(directory, "", name, 0):
                    yield place, below, its


def walk(
    directory: Directory, place: str = "", depth: int = 0
) -> Iterator[tuple[Directory, str, str, os.stat_result]]:
    """Yield everything below ``directory``: open parent, its path, name and status.

    Sorted by name. No link is followed, not even one that replaces a directory meanwhile.

    Raises:
        OSError: the system refused, or directories are nested too deep.
    """
    if depth > _DEEPEST:
        raise OSError(errno.ENAMETOOLONG, "directories are nested too deep", directory.path)
    for name, status in _entries(directory):
        yield directory, place, name, status
        if stat.S_ISDIR(status.st_mode):
            yield from _walk_into(directory, place, name, depth)


def _walk_into(
    directory: Directory, place: str, name: str, depth: int
) -> Iterator[tuple[Directory, str, str, os.stat_result]]:
    try:
        inside = Directory(name, directory)
    except OSError as error:
        if error.errno in _REPLACED:
            return
        raise
    with inside:
        yield from walk(inside, f"{place}/{name}" if place else name, depth + 1)


def _entries(directory: Directory) -> list[tuple[str, os.stat_result]]:
    """Return name and status of what is in a directory, sorted by name."""
    found: list[tuple[str, os.stat_result]] = []
    if directory.fd is None:  # there (Windows) an entry knows neither its inode nor its links
        for name in directory.names():
            with suppress(FileNotFoundError):
                found.append((name, directory.status(name)))
    else:
        with os.scandir(directory.fd) as entries:
            for entry in entries:
                try:  # suppress() would take longer than the look
                    found.append((entry.name, entry.stat(follow_symlinks=False)))
                except FileNotFoundError:
                    continue
    found.sort(key=_NAME)
    return found


def is_checkpoint(name: str) -> bool:
    """Return whether an entry of checkpoints/ has the name of a checkpoint."""
    checkpoint_id = name.removesuffix(".json")
    return checkpoint_id not in (name, "index") and is_id(checkpoint_id)


def is_journal(name: str) -> bool:
    """Return whether an entry of journals/ has the name of a journal."""
    stem = name.removesuffix(SUFFIX)
    return stem != name and is_id(stem)


def _is_ours(place: str, name: str) -> bool:
    """Return whether the package itself made an entry of the session or of its directories."""
    if place == JOURNALS:
        return is_temporary(name)
    if place == "checkpoints":
        return name == "index.json" or is_temporary(name)
    return name in (".", STATE, "checkpoints", JOURNALS) or is_temporary(name)
