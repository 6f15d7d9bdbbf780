"""The contract of an importer: it builds whole sessions aside and publishes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Self

from sessionstore.model.journal import JournalRecord, Rewind


class SessionImporter(ABC):
    """Sessions that are being built. Nobody sees one before :meth:`publish`.

    After :meth:`close`, or the death of the process, every session that was not published is gone.
    Callers have checked the names: they are relative, without ``..``, and none comes twice.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def put_state(self, session_id: str, payload: bytes) -> None:
        """Add the state of a session."""

    @abstractmethod
    def put_checkpoint(self, session_id: str, checkpoint_id: str, payload: bytes) -> None:
        """Add a checkpoint."""

    @abstractmethod
    def put_journal(
        self, session_id: str, name: str, batches: Iterable[Sequence[JournalRecord | Rewind]]
    ) -> None:
        """Add a journal, read from ``batches`` to the end; its lines keep their numbers.

        Numbers are missing only in front of a way back that leaves them all behind.
        """

    @abstractmethod
    def put_file(
        self, session_id: str, name: str, pieces: Iterable[bytes], *, is_executable: bool
    ) -> None:
        """Add a file of the application.

        Raises:
            StorageError: the place refused, or keeps no files.
        """

    @abstractmethod
    def put_directory(self, session_id: str, name: str) -> None:
        """Add a directory of the application, which may be there already."""

    @abstractmethod
    def publish(self, session_id: str) -> None:
        """Make a session visible, durably: it is there complete, or not at all.

        Raises:
            SessionExists: there is one with this id; it is not touched.
            SessionClaimed: a session with this id is being created or deleted.
            StorageError: the place refused.
        """

    @abstractmethod
    def close(self) -> None:
        """Remove what was not published; safe to call twice."""
