"""The contract of a way in for whole sessions, as an import needs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Self


class SessionImporter(ABC):
    """Sessions on their way in: built aside, out of everybody's sight, until they are adopted.

    Left with :meth:`close`, or by the death of the process, what was not adopted is gone. Names
    were checked: they are relative, without ``..``, and no two are the same.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def put_state(self, session_id: str, payload: bytes) -> None:
        """Take the state of a session."""

    @abstractmethod
    def put_checkpoint(self, session_id: str, checkpoint_id: str, payload: bytes) -> None:
        """Take a checkpoint."""

    @abstractmethod
    def put_file(
        self, session_id: str, name: str, pieces: Iterable[bytes], *, is_executable: bool
    ) -> None:
        """Take a file of the application.

        Raises:
            StorageError: the place refused, or keeps no files.
        """

    @abstractmethod
    def put_directory(self, session_id: str, name: str) -> None:
        """Take a directory of the application, which may be there already."""

    @abstractmethod
    def publish(self, session_id: str) -> None:
        """Make a session visible, durably: it is there complete, or not at all.

        Raises:
            SessionExists: there is one with this id; it is not touched.
            SessionClaimed: somebody is making or deleting it.
            StorageError: the place refused.
        """

    @abstractmethod
    def close(self) -> None:
        """Throw away what was not adopted; safe to call twice."""
