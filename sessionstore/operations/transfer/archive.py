"""The format of an export: plain files, and at the end a manifest with their checksums.

::

    sessions/<session id>/state.json
    sessions/<session id>/checkpoints/<checkpoint id>.json
    sessions/<session id>/journals/<name>.jsonl
    sessions/<session id>/…              the application's own files and directories
    manifest.json                        the last one: an archive without it was cut off

An export is a tar archive (by default compressed with gzip) or a directory. It has no links, no
file owners, and no times but those of the files, so that the same sessions give the same bytes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

from sessionstore.durable.replace import is_temporary
from sessionstore.errors import ArchiveRefused
from sessionstore.model.ids import is_id
from sessionstore.storage.files.layout import JOURNALS

SCHEMA = "sessionstore.export/1"
MANIFEST = "manifest.json"
STATE = "state.json"
MAX_MANIFEST_BYTES = 256 * 1024 * 1024
PIECE = 1 << 20
"""Bytes that are read at a time."""

_DEEPEST = 200
_LONGEST = 4096
_NOT_ON_WINDOWS = re.compile(r'[\\:*?"<>|\x00-\x1f]|[. ]$')
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Content(Protocol):
    """Anything that can be read piece by piece."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes; b"" at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Member:
    """An entry of an archive; read ``content`` before asking for the next entry."""

    name: str
    size: int = 0
    content: Content | None = None
    """None for a directory."""
    is_executable: bool = False


@dataclass(frozen=True, slots=True)
class Digest:
    """The size and checksum of a file at its export."""

    size: int
    sha256: str


@dataclass(slots=True)
class Listed:
    """The entry of a session in the manifest."""

    files: dict[str, Digest] = field(default_factory=dict)
    directories: list[str] = field(default_factory=list)
    executable: list[str] = field(default_factory=list)


Manifest = dict[str, Listed]
"""By session id."""


class Target(Protocol):
    """The target of an export."""

    def add(self, name: str, content: BinaryIO, size: int, mtime: int, executable: bool) -> None:
        """Add a file, read from ``content``, of exactly ``size`` bytes."""

    def add_directory(self, name: str, mtime: int) -> None:
        """Add a directory."""


def place_of(session_id: str, name: str) -> str:
    """Return the name of a session's file in an archive."""
    return f"sessions/{session_id}/{name}"


def split(archive: object, name: str) -> tuple[str, str]:
    """Return the session id and the file name that a member stands for.

    Raises:
        ArchiveRefused: no file of a session can have this name.
    """
    if len(name) > _LONGEST:
        raise ArchiveRefused(archive, "its name is too long", member=name)
    parts = name.split("/")
    if name.startswith("/") or (os.name == "nt" and re.match(r"[A-Za-z]:", name)):
        raise ArchiveRefused(archive, "its name is absolute", member=name)
    if any(part in ("", ".", "..") for part in parts) or "\0" in name:
        raise ArchiveRefused(archive, "its name could lead out of the session", member=name)
    if len(parts) > _DEEPEST:
        raise ArchiveRefused(archive, "directories are nested too deep", member=name)
    if os.name == "nt" and any(_NOT_ON_WINDOWS.search(part) for part in parts):
        raise ArchiveRefused(archive, "Windows allows no such name", member=name)
    if len(parts) < 3 or parts[0] != "sessions" or not is_id(parts[1]):
        raise ArchiveRefused(archive, "it belongs to no session", member=name)
    if is_temporary(parts[2]) or (
        parts[2] in ("checkpoints", JOURNALS) and len(parts) > 3 and is_temporary(parts[3])
    ):
        raise ArchiveRefused(archive, "its name is one of the store's own", member=name)
    return parts[1], "/".join(parts[2:])


def checkpoint_id_of(name: str) -> str | None:
    """Return the id of the checkpoint that a file of a session is, or None."""
    place, _, file = name.rpartition("/")
    checkpoint_id = file.removesuffix(".json")
    if place != "checkpoints" or checkpoint_id in (file, "index") or not is_id(checkpoint_id):
        return None
    return checkpoint_id


# --- the manifest -------------------------------------------------------------------------------


def dump(manifest: Manifest) -> bytes:
    """Return the manifest as JSON: the same sessions give the same bytes."""
    sessions = [
        {
            "session_id": session_id,
            "files": [
                {"name": name, "size": digest.size, "sha256": digest.sha256}
                for name, digest in sorted(listed.files.items())
            ],
            "directories": sorted(listed.directories),
            "executable": sorted(listed.executable),
        }
        for session_id, listed in manifest.items()
    ]
    return json.dumps({"schema": SCHEMA, "sessions": sessions}, indent=1).encode() + b"\n"


def parse(archive: object, data: bytes) -> Manifest:
    """Return the content of a manifest.

    Raises:
        ArchiveRefused: it is no manifest, or has a newer format.
    """

    def refused(reason: str) -> ArchiveRefused:
        return ArchiveRefused(archive, reason, member=MANIFEST)

    try:
        raw = json.loads(data)
        schema = raw["schema"]
        if schema != SCHEMA:
            raise refused(f"its schema is {schema!r}, this version reads {SCHEMA!r}")
        manifest: Manifest = {}
        for session in raw["sessions"]:
            session_id, listed = _listed(session)
            if session_id in manifest:
                raise refused("it names one session twice")
            for name in (*listed.files, *listed.directories):
                split(archive, place_of(session_id, name))
            manifest[session_id] = listed
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, ArchiveRefused):
            raise
        raise refused("it is not the manifest of an export") from None
    return manifest


def _listed(session: Any) -> tuple[str, Listed]:
    files: dict[str, Digest] = {}
    for item in session["files"]:
        name, size, digest = item["name"], item["size"], item["sha256"]
        if type(size) is not int or size < 0 or name in files or not _SHA256.fullmatch(digest):
            raise ValueError("no file")
        files[name] = Digest(size, digest)
    listed = Listed(files, list(session["directories"]), list(session["executable"]))
    session_id = session["session_id"]
    names = (session_id, *files, *listed.directories, *listed.executable)
    if not all(isinstance(name, str) for name in names) or STATE not in files:
        raise ValueError("no session")
    return session_id, listed


def pieces(content: Content, size: int) -> Iterator[bytes]:
    """Yield the content in pieces, at most ``size`` bytes."""
    left = size
    while left and (piece := content.read(min(left, PIECE))):
        left -= len(piece)
        yield piece
