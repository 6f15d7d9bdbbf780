"""sessionstore.json: the file that marks and versions a store; and the first write of a store."""

from __future__ import annotations

import errno
import json
import os
import stat
from contextlib import suppress
from typing import Any

from sessionstore.durable import replace
from sessionstore.durable.directory import Directory
from sessionstore.durable.regular_file import read_regular
from sessionstore.errors import StorageError
from sessionstore.storage.files import root, state_file
from sessionstore.storage.files.layout import MARKER, Layout

FORMAT = 1


MARKER_LIMIT = 64 * 1024


class DamagedMarker(StorageError):
    """The marker exists but cannot be read, so that the format of the store is unknown."""

    reason = "the marker is damaged"

    def __init__(self, path: str) -> None:
        super().__init__(
            "open the store",
            path,
            f"{self.reason}: see what `sessionstore fsck` says of it; restore it, or write"
            f' {{"format": {FORMAT}}} into it if this is a store of format {FORMAT}',
        )

    def __reduce__(self) -> tuple[type[DamagedMarker], tuple[str]]:
        return type(self), (self.path,)


def read_marker(layout: Layout) -> dict[str, Any] | None:
    """Return the content of the marker, or None if there is no marker yet.

    Raises:
        StorageError: the root is no directory, or this version cannot use the store.
    """
    try:
        with Directory(layout.root) as directory:
            data, _ = read_regular(directory, MARKER, MARKER_LIMIT)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise root.refused("open the store", layout, error) from error
    try:
        marker = json.loads(data)
        version = marker["format"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DamagedMarker(layout.marker) from None
    if type(version) is not int or version > FORMAT or version < 1:
        raise StorageError(
            "open the store",
            layout.root,
            f"it has format {version}, this version knows up to {FORMAT}: upgrade sessionstore",
        )
    return dict(marker)


def holds_foreign_sessions(layout: Layout) -> bool:
    """Return whether other software made sessions here: there are some, but no marker.

    Directories that hold no session are the application's, which may put files there before create.
    """
    try:
        with os.scandir(layout.sessions) as entries:
            return any(
                not entry.is_dir(follow_symlinks=False) or state_file.holds_session(entry.path)
                for entry in entries
            )
    except OSError:
        return False


def prepare(layout: Layout, *, foreign: bool) -> None:
    """Make the directories and the marker of a store, durably, before its first write.

    Raises:
        StorageError: the root cannot be written.
    """
    try:
        _make_directories(layout.root)
        with Directory(layout.root) as directory:
            # The marker comes first: sessions/ without one means a foreign store.
            if not _has_marker(directory):
                write_marker(directory, foreign=foreign)
            for name in ("locks", "trash", "sessions"):
                with suppress(FileExistsError):
                    directory.make_directory(name)
                root.follow(directory, name)
            directory.flush()
    except OSError as error:
        raise root.refused("write the store", layout, error) from error


def _has_marker(directory: Directory) -> bool:
    try:
        directory.status(MARKER)
    except FileNotFoundError:
        return False
    return True


def write_marker(directory: Directory, *, foreign: bool) -> None:
    """Write the marker of a store unless there is one. Its name is not flushed yet."""
    marker: dict[str, Any] = {"format": FORMAT}
    if foreign:
        # Foreign writers may rewrite files in place, and so change a linked checkpoint.
        marker["foreign_writers"] = True
    data = json.dumps(marker).encode() + b"\n"
    try:
        replace.write_new(directory, MARKER, data, flush_file=True)
    except FileExistsError:
        return  # another process was faster
    except FileNotFoundError:
        # Once there is a marker, a sweep removes the unfinished markers of other processes.
        if not _has_marker(directory):
            raise


def unfinished_markers(directory: Directory) -> list[str]:
    """Return the names of half-written markers, if there is a whole one."""
    return sorted(filter(replace.is_temporary, directory.names())) if _has_marker(directory) else []


def remove_unfinished_markers(layout: Layout) -> int:
    """Remove what :func:`unfinished_markers` finds; return how many."""
    removed = 0
    with suppress(OSError), Directory(layout.root) as root:
        for name in unfinished_markers(root):
            with suppress(OSError):
                root.unlink(name)
                removed += 1
    return removed


def _make_directories(path: str) -> None:
    """Make ``path`` and its parents with mode 0700, each durable in its own parent."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        parent = os.path.dirname(path)
        _make_directories(parent)
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)
        with Directory(parent) as directory:
            directory.flush()
        return
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "it is a file, not a directory", path)
