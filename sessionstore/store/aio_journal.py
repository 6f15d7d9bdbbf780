"""The journals of asynchronous code: values are checked at once, the I/O is done in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from functools import partial
from itertools import islice
from typing import Any

from sessionstore.model.journal import JournalRecord
from sessionstore.session.journal import OpenedJournal
from sessionstore.session.journal_reader import JournalReader
from sessionstore.store.threads import Runner

_BATCH = 200
"""Records that an iteration fetches at a time."""


class AsyncJournalView:
    """The records of a journal, read without a lock; see :class:`~sessionstore.JournalView`.

    Examples:
        >>> [record.value async for record in store.journal("ticket-1", "messages")]
        ['hello']
    """

    def __init__(self, session_id: str, name: str, reader: JournalReader, runner: Runner) -> None:
        self.session_id: str = session_id
        """The session that the journal belongs to."""
        self.name: str = name
        """The name of the journal."""
        self._reader = reader
        self._runner = runner

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} of {self.session_id}>"

    async def read(
        self, after: int = 0, limit: int | None = None, *, everything: bool = False
    ) -> list[JournalRecord]:
        """Return records in order; see :meth:`sessionstore.JournalView.read`."""
        reading = partial(self._reader.read, after, limit, everything=everything)
        return await self._runner.run(reading)

    async def count(self) -> int:
        """Return how many records count. A second call reads only what is new."""
        return await self._runner.run(self._reader.count)

    async def __aiter__(self) -> AsyncIterator[JournalRecord]:
        records = self._reader.records()
        while batch := await self._runner.run(lambda: list(islice(records, _BATCH))):
            for record in batch:
                yield record


class AsyncJournal(AsyncJournalView):
    """A journal of a session that you hold; see :class:`~sessionstore.Journal`.

    An append checks its values before its first await. Appends are written in the order of their
    calls, and those that are due at once share a flush.

    Examples:
        >>> async with store.resume("ticket-1") as session:
        ...     await session.journal("messages").append({"role": "user", "text": "hello"})
    """

    def __init__(self, journal: OpenedJournal, runner: Runner, order: asyncio.Lock) -> None:
        super().__init__(journal.session_id, journal.name, journal.reader, runner)
        self._journal = journal
        self._order = order

    async def append(self, *records: Any, key: str | None = None) -> int:
        """Append records, all or none; return the number of the last.

        It raises what :meth:`sessionstore.Journal.append` raises.
        """
        return await self._stored(self._journal.encode(records, key), key)

    async def rewrite(self, records: Iterable[Any]) -> int:
        """Replace all records by ``records``, at once; return the number of the last."""
        return await self._stored(self._journal.encode(records), anew=True)

    async def _stored(
        self, values: list[bytes], key: str | None = None, *, anew: bool = False
    ) -> int:
        journal = self._journal
        async with self._order:
            # What was written is flushed, also where the task was cancelled meanwhile.
            writing = partial(journal.write, values, key, anew=anew)
            appended = await self._runner.run(writing, undo=journal.finish)
        return await self._runner.run(partial(journal.finish, appended))
