"""sessionstore.json: the file that marks and versions a store, and the modes of its root."""

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
from sessionstore.log import about, logger
from sessionstore.storage.files import state_file
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
        with Directory(layout.root) as root:
            data, _ = read_regular(root, MARKER, MARKER_LIMIT)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError("open the store", layout.root, error) from error
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


def check_root(layout: Layout, *, warns: bool) -> None:
    """Refuse a store that everybody can write to; warn if its group can. No check on Windows.

    Everybody who can write to a directory can add forged states, locks and links. A sticky
    directory such as /tmp is refused, too: the bit stops others from removing, not from adding.

    Raises:
        StorageError: everybody can write to the root, or to a directory of the store in it.
    """
    if os.name != "posix":
        return
    for path in (layout.root, layout.sessions, layout.locks, layout.trash):
        try:
            mode = stat.S_IMODE(os.stat(path).st_mode)
        except OSError:  # not there yet; otherwise opening it fails with the reason
            continue
        if mode & stat.S_IWOTH:
            raise StorageError(
                "use the store",
                path,
                f"everybody can write to it (mode {mode:04o}): `chmod o-w` it after a look at"
                " what is there, or choose a directory of your own",
            )
        if warns and mode & stat.S_IWGRP:
            logger.warning(
                "%s: its group can write to it (mode %04o) and so forge sessions: chmod g-w it",
                path,
                mode,
                extra=about("group_can_write", path=path),
            )


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
        with Directory(layout.root) as root:
            # The marker comes first: sessions/ without one means a foreign store.
            if not _has_marker(root):
                write_marker(root, foreign=foreign)
            for name in ("locks", "trash", "sessions"):
                with suppress(FileExistsError):
                    os.mkdir(os.path.join(layout.root, name), 0o700)
            root.flush()
    except OSError as error:
        raise StorageError("write the store", layout.root, error) from error


def _has_marker(root: Directory) -> bool:
    try:
        root.status(MARKER)
    except FileNotFoundError:
        return False
    return True


def write_marker(root: Directory, *, foreign: bool) -> None:
    """Write the marker of a store unless there is one. Its name is not flushed yet."""
    marker: dict[str, Any] = {"format": FORMAT}
    if foreign:
        # Foreign writers may rewrite files in place, and so change a linked checkpoint.
        marker["foreign_writers"] = True
    data = json.dumps(marker).encode() + b"\n"
    try:
        replace.write_new(root, MARKER, data, flush_file=True)
    except FileExistsError:
        return  # another process was faster
    except FileNotFoundError:
        # Once there is a marker, a sweep removes the unfinished markers of other processes.
        if not _has_marker(root):
            raise


def unfinished_markers(root: Directory) -> list[str]:
    """Return the names of half-written markers, if there is a whole one."""
    return sorted(filter(replace.is_temporary, root.names())) if _has_marker(root) else []


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
