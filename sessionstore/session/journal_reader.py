"""Read a journal as it counts now: without what a way back left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice

from sessionstore.errors import SessionCorrupt
from sessionstore.model import codec, journal_view
from sessionstore.model.ids import check_id
from sessionstore.model.journal import JournalRecord, Position, Rewind, in_force, is_hidden
from sessionstore.model.state import SessionState
from sessionstore.storage.backend import Backend
from sessionstore.storage.journal import Batch


class JournalReader:
    """Reads the records of one journal without a lock, and remembers where it was.

    ``rewinds`` returns the ways back that the state knows, and the journal may not have yet.
    ``seen`` is a position that a state tells: later records are read from there.
    """

    def __init__(
        self,
        backend: Backend,
        session_id: str,
        name: str,
        rewinds: Callable[[], Sequence[Rewind]],
        seen: Position | None = None,
    ) -> None:
        self._backend = backend
        self._session_id = session_id
        self._name = name
        self._rewinds = rewinds
        self._seen = seen or Position()
        """The end of the last batch that was read: where a read of later records begins."""
        self._counted = Position()
        self._count = 0
        self._hidden: list[Rewind] = []
        """The ways back that :attr:`_count` takes into account."""

    def records(self, after: int = 0, *, everything: bool = False) -> Iterator[JournalRecord]:
        """Yield the records behind the number ``after`` that count, one at a time.

        With ``everything`` also those that a way back left behind.

        Raises:
            SessionNotFound: there is no such session.
            SessionCorrupt: the journal is damaged; what is before the damage was yielded.
            StorageError: the place refused.
        """
        known = self._all_rewinds()
        hidden = [] if everything else in_force(known)
        start = self._seen if after >= self._seen.number else Position()
        for batch in self._batches(start):
            for item in batch.items:
                if isinstance(item, Rewind):
                    if not everything and item not in known:
                        return  # it came while this read: what was yielded counted until now
                elif item.number > after and not (hidden and is_hidden(item.number, hidden)):
                    yield item
            if batch.end.number > self._seen.number:
                self._seen = batch.end

    def read(
        self, after: int = 0, limit: int | None = None, *, everything: bool = False
    ) -> list[JournalRecord]:
        """Return up to ``limit`` records of :meth:`records`."""
        if limit is not None and limit < 0:
            raise ValueError(f"limit must be at least 0, not {limit}")
        return list(islice(self.records(after, everything=everything), limit))

    def count(self) -> int:
        """Return how many records count. It reads only what was appended since the last time."""
        known = self._all_rewinds()
        hidden = in_force(known)
        if hidden != self._hidden:
            self._counted, self._count, self._hidden = Position(), 0, hidden
        for batch in self._batches(self._counted):
            if any(isinstance(item, Rewind) and item not in known for item in batch.items):
                break  # it came while this count went on: what was counted counted until now
            self._count += sum(
                isinstance(item, JournalRecord)
                and item.number > self._counted.number
                and not is_hidden(item.number, hidden)
                for item in batch.items
            )
            self._counted = batch.end
        return self._count

    def keys(self) -> dict[str, int]:
        """Return the numbers of the records that have a key, by key."""
        return {one.key: one.number for one in self.records() if one.key is not None}

    def last_number(self, start: Position) -> int:
        """Return the number of the last line, looking from ``start`` on.

        Of a damaged journal it is that before the damage.
        """
        end = start
        with suppress(SessionCorrupt):
            for batch in self._batches(start):
                end = batch.end
        return max([end.number, *(one.number for one in self._rewinds())])

    def recorded(self) -> list[Rewind]:
        """Return the ways back that the journal itself holds."""
        return self._backend.journal_rewinds(self._session_id, self._name)

    def _batches(self, start: Position) -> Iterator[Batch]:
        return self._backend.read_journal(self._session_id, self._name, start)

    def _all_rewinds(self) -> list[Rewind]:
        # The state first: a way back that the journal got meanwhile is found there.
        told = self._rewinds()
        known = self.recorded()
        last = known[-1].number if known else 0
        return [*known, *(one for one in told if one.number > last)]


def open_reader(backend: Backend, session_id: str, name: str) -> JournalReader:
    """Return a reader of a journal of a stored session, which looks up its ways back itself.

    Raises:
        InvalidSessionId: the id or the name is not safe.
    """
    check_id(session_id)
    check_id(name, kind="journal name")

    def told() -> list[Rewind]:
        stored = backend.read(session_id)
        state = codec.decode(stored.payload, SessionState, session_id, stored.file)
        return journal_view.pending_rewinds(state, name)

    return JournalReader(backend, session_id, name, told)
