"""Import sessions from an archive that anybody may have made, each whole or not at all.

An import reads everything, builds the sessions aside and compares them with the manifest before the
first one becomes visible. It overwrites no session, and writes nowhere else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sessionstore import clock
from sessionstore.errors import (
    ArchiveRefused,
    NotStorable,
    SessionCorrupt,
    SessionExists,
    SessionStoreError,
)
from sessionstore.log import log_session
from sessionstore.model import codec, mending
from sessionstore.model.journal_view import Item
from sessionstore.model.state import SessionState, SessionStatus
from sessionstore.model.stored import MAX_STATE_BYTES
from sessionstore.operations.transfer import archive, import_source, journal_member
from sessionstore.operations.transfer.archive import MANIFEST, Digest, Manifest, Member
from sessionstore.operations.transfer.report import (
    TransferredSession,
    checkpoint_damage,
    transfer_damage,
)
from sessionstore.session import outcome
from sessionstore.storage.backend import Backend
from sessionstore.storage.importer import SessionImporter
from sessionstore.storage.report import Progress, no_progress

MAX_BYTES = 16 * 1024**3
"""The default limit of an import, in bytes."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The sessions that were imported, and those that were not."""

    imported: Sequence[TransferredSession] = ()
    existing: Sequence[TransferredSession] = ()
    """Sessions with these ids exist; they were not touched."""
    failed: Sequence[TransferredSession] = ()
    """Sound in the archive, but the store or the system refused them."""

    @property
    def is_whole(self) -> bool:
        """Whether every session of the archive was imported."""
        return not (self.existing or self.failed)

    @property
    def carries_damage(self) -> bool:
        """Whether an imported session has damaged checkpoints, or lacks its latest one."""
        return any(item.damage for item in self.imported)


def import_(
    backend: Backend,
    source: import_source.Source,
    *,
    session_id: str | None,
    max_bytes: int,
    progress: Progress | None = None,
) -> ImportReport:
    """Import all sessions of ``source``; a single one as ``session_id``, if that is given."""
    with (
        import_source.opened(source, max_bytes) as (called, members),
        backend.importer() as importer,
    ):
        return _Import(backend, importer, called, session_id, progress or no_progress).run(members)


@dataclass(slots=True)
class _Arriving:
    """A session that is being read from the archive."""

    session: TransferredSession
    exists: bool
    """Whether the store has a session with this id, so that nothing needs to be kept."""
    files: dict[str, Digest] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)
    executable: set[str] = field(default_factory=set)
    state: SessionState | None = None
    kept: set[str] = field(default_factory=set)
    """Its checkpoints."""
    damaged: dict[str, str] = field(default_factory=dict)
    """Its checkpoints that cannot be read, and why."""
    journals: dict[str, int] = field(default_factory=dict)
    """The number of the last line of each of its journals."""


class _Import:
    def __init__(
        self,
        backend: Backend,
        importer: SessionImporter,
        called: str,
        new_id: str | None,
        progress: Progress,
    ) -> None:
        self.backend = backend
        self.importer = importer
        self.called = called
        self.new_id = new_id
        self.progress = progress
        self.now: datetime = backend.clock()
        self.arriving: dict[str, _Arriving] = {}

    def run(self, members: Iterator[Member]) -> ImportReport:
        manifest: Manifest | None = None
        for member in members:
            if manifest is not None:
                raise self._refused(member.name, "it comes after the manifest")
            if member.name == MANIFEST:
                manifest = self._read_manifest(member)
            else:
                self._take(member)
        if manifest is None:
            raise ArchiveRefused(self.called, "it ends before its manifest: it was cut off")
        self._compare(manifest)
        return self._publish()

    def _refused(self, name: str, reason: str) -> ArchiveRefused:
        return ArchiveRefused(self.called, reason, member=name)

    def _read_manifest(self, member: Member) -> Manifest:
        if member.content is None or member.size > archive.MAX_MANIFEST_BYTES:
            raise self._refused(member.name, "it is not the manifest of an export")
        data, _ = self._whole(member)
        return archive.parse(self.called, data)

    # --- reading ---------------------------------------------------------------------------------

    def _take(self, member: Member) -> None:
        session_id, name = archive.split(self.called, member.name)
        arriving = self.arriving.get(session_id) or self._expect(session_id, member)
        if name in arriving.files or name in arriving.directories:
            raise self._refused(member.name, "it is in the archive twice")
        checkpoint_id = archive.checkpoint_id_of(name)
        journal = journal_member.journal_of(member, self.called, name)
        if member.content is None:
            arriving.directories.add(name)
            if not arriving.exists:
                with self._names_of(member):
                    self.importer.put_directory(self._target(session_id), name)
            return
        if name == archive.STATE:
            digest = self._take_state(arriving, session_id, member)
        elif checkpoint_id is not None:
            digest = self._take_checkpoint(arriving, session_id, checkpoint_id, member)
        elif journal is not None:
            digest = self._take_journal(arriving, session_id, journal, member)
        else:
            digest = self._take_file(arriving, session_id, name, member)
        arriving.files[name] = digest
        if member.is_executable:
            arriving.executable.add(name)
        session = arriving.session
        is_file = name != archive.STATE and checkpoint_id is journal is None
        arriving.session = replace(
            session,
            bytes=session.bytes + digest.size,
            files=session.files + is_file,
            checkpoints=session.checkpoints + (checkpoint_id is not None),
            journals=session.journals + (journal is not None),
        )

    def _expect(self, session_id: str, member: Member) -> _Arriving:
        if self.new_id is not None and self.arriving:
            raise self._refused(
                member.name, "there is more than one session: they cannot all get the same id"
            )
        target = self._target(session_id)
        self.progress(len(self.arriving), len(self.arriving) + 1)
        arriving = _Arriving(TransferredSession(target), self.backend.exists(target))
        self.arriving[session_id] = arriving
        return arriving

    def _target(self, session_id: str) -> str:
        return self.new_id or session_id

    def _take_state(self, arriving: _Arriving, session_id: str, member: Member) -> Digest:
        payload, digest = self._whole(member)
        try:
            state = codec.decode(payload, SessionState, session_id, member.name)
            stored, state = self._as_it_arrives(payload, state)
        except (SessionCorrupt, NotStorable) as error:
            raise self._refused(member.name, f"its state is not sound: {error.reason}") from error
        arriving.state = state
        arriving.session = replace(arriving.session, status=state.status, revision=state.revision)
        if not arriving.exists:
            with self._names_of(member):
                self.importer.put_state(self._target(session_id), stored)
        return digest

    def _take_checkpoint(
        self, arriving: _Arriving, session_id: str, checkpoint_id: str, member: Member
    ) -> Digest:
        payload, digest = self._whole(member)
        arriving.kept.add(checkpoint_id)
        if reason := checkpoint_damage(session_id, checkpoint_id, payload):
            arriving.damaged[checkpoint_id] = reason
        if not arriving.exists:
            if self.new_id is not None:
                payload = _with(payload, session_id=self.new_id)
            with self._names_of(member):
                self.importer.put_checkpoint(self._target(session_id), checkpoint_id, payload)
        return digest

    def _take_journal(
        self, arriving: _Arriving, session_id: str, name: str, member: Member
    ) -> Digest:
        content = _MeasuredContent(self.called, member)
        arriving.journals[name] = 0

        def batches() -> Iterator[list[Item]]:
            for batch in journal_member.batches(self.called, member.name, content.pieces()):
                arriving.journals[name] = batch[-1].number
                yield batch

        if arriving.exists:
            for _ in batches():
                continue
        else:
            with self._names_of(member):
                self.importer.put_journal(self._target(session_id), name, batches())
        return content.digest()

    def _take_file(self, arriving: _Arriving, session_id: str, name: str, member: Member) -> Digest:
        content = _MeasuredContent(self.called, member)
        if arriving.exists:
            for _ in content.pieces():
                continue
        else:
            target, executable = self._target(session_id), member.is_executable
            with self._names_of(member):
                self.importer.put_file(target, name, content.pieces(), is_executable=executable)
        return content.digest()

    @contextmanager
    def _names_of(self, member: Member) -> Iterator[None]:
        """Refuse an archive in which a name is both a file and a directory."""
        try:
            yield
        except SessionStoreError as error:
            if isinstance(error.__cause__, FileExistsError | NotADirectoryError):
                raise self._refused(member.name, "another member has this name") from error
            raise

    def _whole(self, member: Member) -> tuple[bytes, Digest]:
        if member.size > max(MAX_STATE_BYTES, archive.MAX_MANIFEST_BYTES):
            raise self._refused(
                member.name, f"{member.size:,} bytes are more than a state may have"
            )
        content = _MeasuredContent(self.called, member)
        data = b"".join(content.pieces())
        return data, content.digest()

    def _as_it_arrives(self, payload: bytes, state: SessionState) -> tuple[bytes, SessionState]:
        """Return the state to store: the same bytes, unless they name an owner."""
        if self.new_id is not None:
            payload = _with(payload, session_id=self.new_id)
            state = codec.decode(payload, SessionState, self.new_id, self.called)
        if state.status is SessionStatus.ACTIVE:
            _interrupt(state, self.now)
            payload = codec.encode(state)
        elif state.owner is not None or state.pid is not None:
            payload = _with(payload, owner=None, pid=None)
        return payload, state

    # --- comparing and publishing ----------------------------------------------------------------

    def _compare(self, manifest: Manifest) -> None:
        """Refuse an archive whose content differs from its manifest."""
        for session_id in self.arriving.keys() ^ manifest.keys():
            where = "the manifest" if session_id in self.arriving else "the archive"
            raise self._refused(f"sessions/{session_id}", f"it is missing in {where}")
        for session_id, listed in manifest.items():
            arriving = self.arriving[session_id]
            for name in sorted(listed.files.keys() | arriving.files.keys()):
                said, found = listed.files.get(name), arriving.files.get(name)
                if said != found:
                    reason = (
                        "it is not in the manifest" if said is None
                        else "it is missing" if found is None
                        else "its checksum differs: it was changed or damaged"
                    )  # fmt: skip
                    raise self._refused(archive.place_of(session_id, name), reason)
            if set(listed.directories) != arriving.directories:
                raise self._refused(
                    f"sessions/{session_id}", "its directories are not those of the manifest"
                )
            if set(listed.executable) != arriving.executable:
                raise self._refused(
                    f"sessions/{session_id}", "its executable files are not those of the manifest"
                )

    def _publish(self) -> ImportReport:
        imported: list[TransferredSession] = []
        existing: list[TransferredSession] = []
        failed: list[TransferredSession] = []
        read = len(self.arriving)
        for done, arriving in enumerate(self.arriving.values()):
            self.progress(read + done, 2 * read)
            session = arriving.session
            if arriving.state is not None:
                damage = transfer_damage(
                    arriving.state, arriving.kept, arriving.damaged, arriving.journals
                )
                session = replace(session, damage=damage)
            try:
                if arriving.exists:
                    raise SessionExists(session.session_id)
                self.importer.publish(session.session_id)
            except SessionExists:
                reason = "a session with this id exists; it was not touched"
                existing.append(replace(session, reason=reason))
            except SessionStoreError as error:
                failed.append(replace(session, reason=str(error)))
            else:
                log_session(
                    "session_imported",
                    session.session_id,
                    "imported at revision %d",
                    session.revision,
                    revision=session.revision,
                )
                imported.append(session)
        self.progress(2 * read, 2 * read)
        return ImportReport(tuple(imported), tuple(existing), tuple(failed))


class _MeasuredContent:
    """The content of a member, measured and summed while it is read."""

    def __init__(self, called: str, member: Member) -> None:
        assert member.content is not None
        self._called = called
        self._member = member
        self._content = member.content
        self._size = 0
        self._sum = hashlib.sha256()

    def pieces(self) -> Iterator[bytes]:
        pieces = archive.pieces(self._content, self._member.size)
        while True:
            with import_source.readable(self._called):
                piece = next(pieces, b"")
            if not piece:
                break
            self._size += len(piece)
            self._sum.update(piece)
            yield piece
        if self._size != self._member.size:
            raise ArchiveRefused(self._called, "it was cut off", member=self._member.name)

    def digest(self) -> Digest:
        return Digest(self._size, self._sum.hexdigest())


def _with(payload: bytes, **changes: Any) -> bytes:
    """Return a state or checkpoint with other values; unchanged if it cannot be read."""
    try:
        raw: Any = mending.parse(payload)
        if not isinstance(raw, dict):
            return payload
        return json.dumps({**raw, **changes}, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return payload


def _interrupt(state: SessionState, now: datetime) -> None:
    """Mark the state of an ACTIVE session as interrupted: its process was not imported.

    The mark is that of a sweep, so that start-up code finds the session. It is a write like any
    other, so the revision grows. It was no crash, so the count of crashes stays.
    """
    owner, at = state.owner, clock.to_text(now)
    reason = "it was active when it was exported, and its process does not run here"
    if owner is not None and (who := owner.describe()):
        reason += f": {who}"
    outcome.mark_interrupted(state, SessionStatus.FAILED, reason, owner=owner, now=at, crashes=0)
    state.timestamps.updated_at = at
    state.revision += 1
    state.saves_from += 1  # it is no save of the application
