"""Export sessions, each as of one moment, to an archive, a directory or a stream.

An export takes no lock: it reads a live session again until state and checkpoints belong together.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from sessionstore import clock
from sessionstore.errors import SessionCorrupt, SessionNotFound, SessionStoreError, StorageError
from sessionstore.model.ids import parse_checkpoint_id
from sessionstore.model.journal import Position
from sessionstore.model.journal_view import Item
from sessionstore.model.state import SessionState
from sessionstore.operations.transfer import archive, export_target, journal_member
from sessionstore.operations.transfer.archive import Digest, Listed, Manifest, Target
from sessionstore.operations.transfer.report import (
    TransferredSession,
    checkpoint_damage,
    transfer_damage,
)
from sessionstore.session import inspect
from sessionstore.storage.backend import Backend
from sessionstore.storage.files import journal_copy
from sessionstore.storage.report import Progress
from sessionstore.storage.values import ApplicationFile

_LOOKS = 10
_FILE_LOOKS = 3
_LATER = "it came after the exported state: the session was running while it was read"
_IN_MEMORY = 32 * 1024 * 1024
"""Bytes of a session that are held in memory; a larger one goes to a temporary file."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """The sessions that an export wrote, and those that it did not."""

    exported: Sequence[TransferredSession] = ()
    missing: Sequence[TransferredSession] = ()
    """These sessions do not exist (any more)."""
    damaged: Sequence[TransferredSession] = ()
    """The states of these sessions cannot be read."""
    failed: Sequence[TransferredSession] = ()
    """The system refused to let these be read."""

    @property
    def is_whole(self) -> bool:
        """Whether every session was written with all its files."""
        lost = self.missing or self.damaged or self.failed
        return not (lost or any(item.omitted for item in self.exported))

    @property
    def carries_damage(self) -> bool:
        """Whether a written session has damaged checkpoints, or lacks its latest one."""
        return any(item.damage for item in self.exported)


def export(
    backend: Backend,
    session_ids: Iterable[str],
    place: export_target.Place,
    *,
    progress: Progress | None = None,
) -> ExportReport:
    """Write the sessions to ``place``."""
    outcomes: dict[str, list[TransferredSession]] = {
        name: [] for name in ("exported", "missing", "damaged", "failed")
    }
    manifest: Manifest = {}
    with export_target.opened(place) as target:
        # Each session once: an archive has no name twice.
        wanted = list(dict.fromkeys(session_ids))
        for done, session_id in enumerate(wanted):
            if progress:
                progress(done, len(wanted))
            with ExitStack() as stack:
                try:
                    snapshot = _take(backend, session_id, stack)
                except SessionNotFound:
                    outcomes["missing"].append(
                        TransferredSession(session_id, "there is no such session")
                    )
                except SessionCorrupt as error:
                    outcomes["damaged"].append(TransferredSession(session_id, error.reason))
                except SessionStoreError as error:
                    outcomes["failed"].append(TransferredSession(session_id, str(error)))
                else:
                    manifest[session_id] = snapshot.write(target)
                    outcomes["exported"].append(snapshot.transferred())
        data = archive.dump(manifest)
        target.add(archive.MANIFEST, io.BytesIO(data), len(data), 0, False)
        if progress:
            progress(len(wanted), len(wanted))
    return ExportReport(**{name: tuple(found) for name, found in outcomes.items()})


@dataclass(slots=True)
class _SpooledFile:
    """A file of a snapshot, and its place in the spool."""

    name: str
    start: int
    digest: Digest
    mtime: int
    is_executable: bool = False


@dataclass(slots=True)
class _Snapshot:
    """A session as of one moment."""

    state: SessionState
    spool: BinaryIO
    files: list[_SpooledFile] = field(default_factory=list)
    directories: list[ApplicationFile] = field(default_factory=list)
    omitted: list[str] = field(default_factory=list)
    damage: tuple[str, ...] = ()
    kept: set[str] = field(default_factory=set)
    """The ids of its checkpoints."""
    damaged: dict[str, str] = field(default_factory=dict)
    """Its checkpoints that cannot be read, and why."""
    checkpoints: int = 0
    journals: dict[str, int] = field(default_factory=dict)
    """The number of the last line of each."""

    def spool_file(
        self, name: str, pieces: Iterable[bytes], mtime: int, *, is_executable: bool = False
    ) -> _SpooledFile:
        start = self.spool.seek(0, os.SEEK_END)
        size, checksum = 0, hashlib.sha256()
        for piece in pieces:
            self.spool.write(piece)
            checksum.update(piece)
            size += len(piece)
        digest = Digest(size, checksum.hexdigest())
        return _SpooledFile(name, start, digest, mtime, is_executable)

    def write(self, target: Target) -> Listed:
        session_id = self.state.session_id
        listed = Listed()
        for directory in self.directories:
            target.add_directory(archive.place_of(session_id, directory.name), directory.mtime)
            listed.directories.append(directory.name)
        for item in sorted(self.files, key=lambda item: item.name):
            self.spool.seek(item.start)
            place = archive.place_of(session_id, item.name)
            target.add(place, self.spool, item.digest.size, item.mtime, item.is_executable)
            listed.files[item.name] = item.digest
            if item.is_executable:
                listed.executable.append(item.name)
        return listed

    def transferred(self) -> TransferredSession:
        return TransferredSession(
            self.state.session_id,
            status=self.state.status,
            revision=self.state.revision,
            checkpoints=self.checkpoints,
            journals=len(self.journals),
            files=len(self.files) - self.checkpoints - len(self.journals) - 1,
            bytes=sum(item.digest.size for item in self.files),
            omitted=tuple(self.omitted),
            damage=self.damage,
        )


def _take(backend: Backend, session_id: str, stack: ExitStack) -> _Snapshot:
    """Return a snapshot of a session.

    - State and checkpoints are of one moment: nothing changed while they were read. If a process
      runs the session, checkpoints newer than its state are left out, and the report says so.
    - Each journal, and each file of the application, is as of the moment when it is read, after the
      state.
    """
    snapshot = None
    for _ in range(_LOOKS):
        seen, is_still = _look(backend, session_id, stack)
        if seen is not None:
            snapshot = seen
        if is_still:
            break
    if snapshot is None:
        raise StorageError(
            "export", session_id, "its checkpoints change faster than they can be read: try again"
        )
    for name in backend.journal_names(session_id):
        _spool_journal(backend, session_id, snapshot, name)
    snapshot.damage = transfer_damage(
        snapshot.state, snapshot.kept, snapshot.damaged, snapshot.journals
    )
    _spool_files(backend, session_id, snapshot)
    return snapshot


def _look(backend: Backend, session_id: str, stack: ExitStack) -> tuple[_Snapshot | None, bool]:
    """Return a snapshot if its parts belong together, and whether nothing changed meanwhile."""
    state, stored = inspect.read_base(backend, session_id)
    ids = sorted(backend.checkpoint_ids(session_id))
    spool = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - on the stack
    snapshot = _Snapshot(state, cast("BinaryIO", stack.enter_context(spool)))
    moment = clock.parse(state.timestamps.updated_at)
    mtime = max(0, int(moment.timestamp())) if moment else 0
    snapshot.files.append(snapshot.spool_file(archive.STATE, [stored.payload], mtime))
    kept: set[str] = set()
    damaged: dict[str, str] = {}
    later: list[_SpooledFile] = []
    for checkpoint_id in ids:
        name = parse_checkpoint_id(checkpoint_id)
        is_later = name is not None and name.revision > state.revision
        file = f"checkpoints/{checkpoint_id}.json"
        try:
            checkpoint = backend.read_checkpoint(session_id, checkpoint_id)
        except SessionCorrupt as error:
            if checkpoint_id in backend.checkpoint_ids(session_id):
                snapshot.omitted.append(f"{file}: {error.reason}")
            continue
        files = later if is_later else snapshot.files
        files.append(snapshot.spool_file(file, [checkpoint.payload], mtime))
        kept.add(checkpoint_id)
        # The latest one mostly has the bytes of the state, which is sound.
        if checkpoint.payload != stored.payload and (
            reason := checkpoint_damage(session_id, checkpoint_id, checkpoint.payload)
        ):
            damaged[checkpoint_id] = reason
    again = backend.read(session_id)
    is_still = again.payload == stored.payload and ids == sorted(backend.checkpoint_ids(session_id))
    if later and backend.probe(session_id).held:  # its holder may be about to store their state
        is_still = False
    if is_still:  # a power cut left a state that is older than they are
        snapshot.files += later
    else:
        for item in later:
            snapshot.omitted.append(f"{item.name}: {_LATER}")
            kept.discard(left := str(archive.checkpoint_id_of(item.name)))
            damaged.pop(left, None)
    snapshot.checkpoints = len(kept)
    snapshot.kept, snapshot.damaged = kept, damaged
    # keep_checkpoints may have removed what a resume needs since.
    latest = inspect.Resumability.named(state).checkpoint_id
    is_whole = latest is None or latest in kept
    return (snapshot if is_whole or is_still else None), is_still


def _spool_journal(backend: Backend, session_id: str, snapshot: _Snapshot, name: str) -> None:
    """Spool the batches of a journal that are whole; of a damaged one, those before the damage."""
    snapshot.journals[name] = 0

    def whole() -> Iterator[Sequence[Item]]:
        try:
            for batch in backend.read_journal(session_id, name, Position()):
                snapshot.journals[name] = batch.end.number
                yield batch.items
        except SessionCorrupt as error:
            snapshot.omitted.append(f"{place}: {error.reason}; what is before it was exported")

    place = journal_member.place_of(name)
    pieces = journal_copy.in_pieces(journal_copy.lines(whole()))
    snapshot.files.append(snapshot.spool_file(place, pieces, snapshot.files[0].mtime))


def _spool_files(backend: Backend, session_id: str, snapshot: _Snapshot) -> None:
    for file in backend.application_files(session_id):
        if file.omitted is not None:
            snapshot.omitted.append(f"{file.name}: {file.omitted}")
        elif file.is_directory:
            snapshot.directories.append(file)
        else:
            try:
                snapshot.files.append(_spool_file(backend, session_id, snapshot, file))
            except StorageError as error:
                if not isinstance(error.__cause__, FileNotFoundError):
                    snapshot.omitted.append(f"{file.name}: {error}")


def _spool_file(
    backend: Backend, session_id: str, snapshot: _Snapshot, file: ApplicationFile
) -> _SpooledFile:
    """Spool a file; read it again, a few times, if it is written to meanwhile."""
    for _ in range(_FILE_LOOKS):
        with backend.open_application_file(session_id, file.name) as content:
            before = _version(content)
            try:
                held = snapshot.spool_file(
                    file.name, _all_of(content), file.mtime, is_executable=file.is_executable
                )
            except OSError as error:
                raise StorageError("read", f"{session_id}/{file.name}", error) from error
            if _version(content) == before:
                break
    return held


def _version(content: BinaryIO) -> tuple[int, int] | None:
    try:
        status = os.fstat(content.fileno())
    except OSError:  # it has no descriptor
        return None
    return status.st_size, status.st_mtime_ns


def _all_of(content: BinaryIO) -> Iterator[bytes]:
    while piece := content.read(archive.PIECE):
        yield piece
