"""Where things lie below the root, and whether a root may be used at all."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from sessionstore.durable import replace
from sessionstore.errors import StorageError
from sessionstore.log import about, logger
from sessionstore.model.ids import is_id
from sessionstore.storage.files import state_file

FORMAT = 1
MARKER = "sessionstore.json"
STATE = "state.json"
MARKER_LIMIT = 64 * 1024
_BUILT = re.compile(
    re.escape(replace.TEMPORARY_PREFIX) + r"[0-9a-f]{16}-(?P<session_id>.+)", re.ASCII
)
_RANDOM = re.compile(r"[0-9a-f]{16}", re.ASCII)


@dataclass(frozen=True)
class Layout:
    """The paths of a store, as text: they are joined on every save."""

    root: str

    @property
    def marker(self) -> str:
        """The file that marks and versions a store."""
        return os.path.join(self.root, MARKER)

    @property
    def sessions(self) -> str:
        """One directory for each session."""
        return os.path.join(self.root, "sessions")

    @property
    def locks(self) -> str:
        """One lock file for each session that was ever claimed."""
        return os.path.join(self.root, "locks")

    @property
    def trash(self) -> str:
        """What is deleted, until it is removed."""
        return os.path.join(self.root, "trash")

    def session(self, session_id: str) -> str:
        """The directory of a session."""
        return os.path.join(self.root, "sessions", session_id)

    def state(self, session_id: str) -> str:
        """The state file of a session."""
        return os.path.join(self.root, "sessions", session_id, STATE)

    def checkpoints(self, session_id: str) -> str:
        """The checkpoints of a session."""
        return os.path.join(self.root, "sessions", session_id, "checkpoints")

    def lock(self, session_id: str) -> str:
        """The lock file of a session."""
        return os.path.join(self.root, "locks", session_id + ".lock")

    def request(self, session_id: str, token: str) -> str:
        """The file of a request to cancel, made to the claim of ``token``."""
        return os.path.join(self.root, "locks", f"{session_id}.{token}.cancel")


class DamagedMarker(StorageError):
    """The marker is there, but says nothing: nobody knows which format the store has."""

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


@contextmanager
def opened_trash(layout: Layout) -> Iterator[replace.Directory]:
    """Open trash/, made now if somebody removed it."""
    with suppress(FileExistsError):
        os.mkdir(layout.trash, 0o700)
    with replace.Directory(layout.trash) as trash:
        yield trash


def built_session(name: str) -> str | None:
    """Return the id of the session that is being built in the entry ``name`` of trash/, if any."""
    found = _BUILT.fullmatch(name)
    return found["session_id"] if found and is_id(found["session_id"]) else None


def is_trashed(name: str) -> bool:
    """Return whether an entry of trash/ bears a name that we give, and nobody else would."""
    session_id, _, random = name.rpartition(".")
    deleted = is_id(session_id) and _RANDOM.fullmatch(random) is not None
    return deleted or built_session(name) is not None


def read_marker(layout: Layout) -> dict[str, Any] | None:
    """Return what the marker says, or None where there is none (yet).

    Raises:
        StorageError: the root is no directory, or a store that this version cannot use.
    """
    try:
        with replace.Directory(layout.root) as root:
            data, _ = state_file.read_regular(root, MARKER, MARKER_LIMIT)
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
    """Refuse a store that everybody can write to; warn where its group can. Windows: no check.

    Who can write to a directory can put states, locks and links of their own into it. Sticky
    directories such as /tmp count too: the bit keeps others from removing, not from adding.

    Raises:
        StorageError: everybody can write to the root, or to a directory of ours in it.
    """
    if os.name != "posix":
        return
    for path in (layout.root, layout.sessions, layout.locks, layout.trash):
        try:
            mode = stat.S_IMODE(os.stat(path).st_mode)
        except OSError:  # not there yet; or whoever opens it tells what is wrong
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
    """Return whether other software made sessions here: a store without our marker."""
    try:
        with os.scandir(layout.sessions) as entries:
            return any(True for _ in entries)
    except OSError:
        return False


def prepare(layout: Layout, *, foreign: bool) -> None:
    """Make the directories and the marker of a store, durably, before its first write.

    Raises:
        StorageError: the root cannot be written.
    """
    try:
        _make_directories(layout.root)
        with replace.Directory(layout.root) as root:
            # The marker comes first: without it, sessions/ tells of a foreign store.
            if not _has_marker(root):
                write_marker(root, foreign=foreign)
            for name in ("locks", "trash", "sessions"):
                with suppress(FileExistsError):
                    os.mkdir(os.path.join(layout.root, name), 0o700)
            root.flush()
    except OSError as error:
        raise StorageError("write the store", layout.root, error) from error


def _has_marker(root: replace.Directory) -> bool:
    try:
        root.status(MARKER)
    except FileNotFoundError:
        return False
    return True


def write_marker(root: replace.Directory, *, foreign: bool) -> None:
    """Write the marker of a store, durably but for its name, unless there is one by now."""
    marker: dict[str, Any] = {"format": FORMAT}
    if foreign:
        # Its writers may rewrite files in place, which would reach through a link.
        marker["foreign_writers"] = True
    data = json.dumps(marker).encode() + b"\n"
    try:
        replace.write_new(root, MARKER, data, flush_file=True)
    except FileExistsError:
        return  # another process was faster
    except FileNotFoundError:
        # Once there is a marker, a sweep removes the unfinished ones of all others.
        if not _has_marker(root):
            raise


def remove_unfinished_markers(layout: Layout) -> int:
    """Remove markers that a process left half written, where a whole one is; return how many."""
    removed = 0
    with suppress(OSError), replace.Directory(layout.root) as root:
        if _has_marker(root):
            for name in root.names():
                if name.startswith(replace.TEMPORARY_PREFIX):
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
        with replace.Directory(parent) as directory:
            directory.flush()
        return
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "it is a file, not a directory", path)
