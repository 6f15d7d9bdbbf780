"""Sessions that are imported into the memory backend, before anybody sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from sessionstore.errors import StorageError
from sessionstore.model.journal import JournalRecord, Rewind
from sessionstore.storage.importer import SessionImporter
from sessionstore.storage.memory_session import KeptSession


class MemoryImporter(SessionImporter):
    """Sessions that nobody sees before they are published."""

    def __init__(self, publish: Callable[[str, KeptSession], None]) -> None:
        self._publish = publish
        self._aside: dict[str, KeptSession] = {}

    def _kept(self, session_id: str) -> KeptSession:
        return self._aside.setdefault(session_id, KeptSession(b""))

    def put_state(self, session_id: str, payload: bytes) -> None:
        self._kept(session_id).payload = payload

    def put_checkpoint(self, session_id: str, checkpoint_id: str, payload: bytes) -> None:
        self._kept(session_id).checkpoints[checkpoint_id] = payload

    def put_journal(
        self, session_id: str, name: str, batches: Iterable[Sequence[JournalRecord | Rewind]]
    ) -> None:
        self._kept(session_id).put_journal(name, batches)

    def put_file(
        self, session_id: str, name: str, pieces: Iterable[bytes], *, is_executable: bool
    ) -> None:
        del pieces, is_executable
        raise StorageError("import", f"{session_id}/{name}", "this store keeps no files")

    def put_directory(self, session_id: str, name: str) -> None:
        raise StorageError("import", f"{session_id}/{name}", "this store keeps no files")

    def publish(self, session_id: str) -> None:
        self._publish(session_id, self._aside[session_id])
        del self._aside[session_id]

    def close(self) -> None:
        self._aside.clear()
