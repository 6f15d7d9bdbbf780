"""Journals as the application sees them: append-only lists of records beside the state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sessionstore.model import journal_codec
from sessionstore.model.journal import JournalRecord, check_name
from sessionstore.session.journal_reader import JournalReader
from sessionstore.storage.journal import Appended

if TYPE_CHECKING:
    from sessionstore.session.writer import SessionWriter


class JournalView:
    """The records of a journal, read without a lock.

    A reader sees whole appends only, and nothing that it has seen goes away, unless a resume of a
    named checkpoint goes back, or the journal is written anew.

    Examples:
        >>> [record.value["role"] for record in store.journal("ticket-1", "messages")]
        ['user', 'assistant']
    """

    def __init__(self, session_id: str, name: str, reader: JournalReader) -> None:
        self.session_id: str = session_id
        """The session that the journal belongs to."""
        self.name: str = name
        """The name of the journal."""
        self._reader = reader

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} of {self.session_id}>"

    def read(
        self, after: int = 0, limit: int | None = None, *, everything: bool = False
    ) -> list[JournalRecord]:
        """Return records in the order in which they were appended.

        Args:
            after: the number of the last record that you have; only later ones are returned.
            limit: how many to return at most; None returns all.
            everything: also return records that no longer count, because a resume went back
                before them or the journal was written anew.

        Raises:
            SessionNotFound: there is no such session.
            SessionCorrupt: the journal is damaged.
            StorageError: the system refused.
        """
        return self._reader.read(after, limit, everything=everything)

    def __iter__(self) -> Iterator[JournalRecord]:
        return self._reader.records()

    def count(self) -> int:
        """Return how many records count. A second call reads only what is new."""
        return self._reader.count()

    def __len__(self) -> int:
        return self.count()

    def __bool__(self) -> bool:
        return True  # an empty journal is a journal


class Journal(JournalView):
    """A journal of a session that you hold: append to it, and read it.

    An append is durable when it returns, as a save is, and costs its own bytes: neither the state
    nor what was appended before is written again.

    Examples:
        >>> with store.resume("ticket-1") as session:
        ...     messages = session.journal("messages")
        ...     number = messages.append({"role": "user", "text": "hello"}, key="user-1")
    """

    def __init__(self, writer: SessionWriter[Any], name: str) -> None:
        self._journal = OpenedJournal(writer, name)
        super().__init__(writer.session_id, name, self._journal.reader)

    def append(self, *records: Any, key: str | None = None) -> int:
        """Append records, all or none of them; return the number of the last.

        Args:
            records: values that JSON can hold, each up to 16 MiB.
            key: names the append. If the journal has a record of this key already, nothing is
                appended and the number of that record is returned: code that runs again after a
                crash adds nothing twice.

        Raises:
            NotStorable: a value would not read back equal; nothing was appended.
            CancellationRequested: somebody asked that the session ends; nothing was appended.
            ClaimLost: the claim was released, or its lock file removed, or this is a forked child.
            RevisionConflict: something without a claim changed the journal.
            SessionClaimed: a process that lost its claim still appends to the journal.
            SessionCorrupt: the journal is damaged.
            DurabilityUncertain: the records are there, but may not survive a loss of power.
            StorageError: the system refused; nothing was appended.
            TypeError: there is no record, or the key is no text.
            ValueError: the key is empty or too long.
        """
        journal = self._journal
        return journal.finish(journal.write(journal.encode(records, key), key))

    def rewrite(self, records: Iterable[Any]) -> int:
        """Replace all records by ``records``, at once; return the number of the last.

        It raises what :meth:`append` raises. The old records stay in the file until a prune, as
        long as a checkpoint needs them; ``read(everything=True)`` returns them, too.
        """
        journal = self._journal
        return journal.finish(journal.write(journal.encode(records), anew=True))


class OpenedJournal:
    """The halves of an append: check the values, write them, flush them."""

    def __init__(self, writer: SessionWriter[Any], name: str) -> None:
        self.session_id: str = writer.session_id
        self.name: str = check_name(name)
        self._writer = writer
        self._open = writer.journal(name)
        self.reader: JournalReader = self._open.reader

    def encode(self, records: Iterable[Any], key: str | None = None) -> list[bytes]:
        """Return the values as they are stored; raise unless they and the key can be."""
        journal_codec.check_key(key)
        return journal_codec.encode(self.session_id, self.name, records)

    def write(
        self, values: Sequence[bytes], key: str | None = None, *, anew: bool = False
    ) -> Appended:
        """Append values, or replace all records by them with ``anew``."""
        if not values and not anew:
            raise TypeError("append() takes at least one record")
        return self._writer.append(self._open, values, key, anew=anew)

    def finish(self, appended: Appended) -> int:
        """Have them be as durable as the store promises; return the number of the last."""
        return self._open.finish(appended)
