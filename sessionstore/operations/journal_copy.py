"""Copy what a state sees of its journals: for a fork, and to free the space of everything else."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from sessionstore.errors import SessionCorrupt
from sessionstore.model import checkpoint, journal_view
from sessionstore.model.journal import STEPS, Position, Rewind
from sessionstore.model.journal_view import Item
from sessionstore.model.state import SessionState
from sessionstore.storage.backend import Backend


class JournalCopy:
    """A journal of a session, as ``current``, its stored state, and the journal tell."""

    def __init__(self, backend: Backend, current: SessionState, name: str) -> None:
        self._backend = backend
        self._session_id = current.session_id
        self._name = name
        self._saved = Position(*current.journals.get(name, ()))
        recorded = backend.journal_rewinds(current.session_id, name)
        last = recorded[-1].number if recorded else 0
        told = journal_view.pending_rewinds(current, name)
        self._pending = [one for one in told if one.number > last]
        """The ways back that only the state tells."""
        self._rewinds: list[Rewind] = [*recorded, *self._pending]

    @property
    def has_hidden(self) -> bool:
        """Whether a way back has left records behind."""
        return bool(self._rewinds)

    def end(self) -> int:
        """Return the number of the last line, once the ways back of the state are written.

        Raises:
            SessionCorrupt: the journal is damaged.
        """
        end = self._saved.number
        for batch in self._backend.read_journal(self._session_id, self._name, self._saved):
            end = batch.end.number
        return max([end, *(one.number for one in self._pending)])

    def count(self) -> int:
        """Return how many records count now.

        Raises:
            SessionCorrupt: the journal is damaged.
        """
        return journal_view.count_seen(self._rewinds, self.end())

    def everything(self) -> Iterator[list[Item]]:
        """Yield all batches, and at last the ways back that only the state tells.

        Raises:
            SessionCorrupt: the journal is damaged behind the last batch that was yielded.
        """
        for batch in self._backend.read_journal(self._session_id, self._name, Position()):
            yield batch.items
        if self._pending:
            yield [*self._pending]

    def seen(self, ends: Iterable[int]) -> Iterator[list[Item]]:
        """Yield what is seen by states that ended at one of ``ends``; nothing behind is read.

        Raises:
            SessionCorrupt: the journal is damaged before the last of ``ends``.
        """
        ends = set(ends)
        lines = journal_view.seen_at(self._rewinds, ends)
        last = max(ends, default=0)
        for batch in self.everything() if last else ():
            yield from journal_view.only([batch], lines)
            if batch[-1].number >= last:
                return


class Surplus(NamedTuple):
    """A journal with records that nobody needs any more."""

    name: str
    needed: Callable[[], Iterator[list[Item]]]
    """Yields the batches that somebody needs."""
    freed: int
    """The space of the others, in bytes."""


def find_surplus(
    backend: Backend, current: SessionState, removed: Collection[str]
) -> list[Surplus]:
    """Return the journals with records that neither ``current`` nor a checkpoint sees.

    ``removed`` are the ids of checkpoints that count no more. What a damaged checkpoint sees is
    unknown: then there is no surplus.

    Raises:
        SessionCorrupt: a journal with such records is damaged.
    """
    session_id = current.session_id
    names = backend.journal_names(session_id)
    copies = {name: JournalCopy(backend, current, name) for name in names}
    ends = {name: {copy.end()} for name, copy in copies.items() if copy.has_hidden}
    if not ends:
        return []  # as most: their checkpoints are not read
    for checkpoint_id in set(backend.checkpoint_ids(session_id)).difference(removed):
        stored = backend.read_checkpoint(session_id, checkpoint_id)
        try:
            state = checkpoint.load(current, stored, checkpoint_id)
        except SessionCorrupt:
            return []
        for name, seen in ends.items():
            seen.add(journal_view.end_seen(state, name))
    found = []
    for name, seen in ends.items():
        needed = partial(copies[name].seen, seen)
        every = backend.journal_bytes(copies[name].everything())
        if (freed := every - backend.journal_bytes(needed())) > 0:
            found.append(Surplus(name, needed, freed))
    return found


def for_fork(
    backend: Backend, current: SessionState | None, state: SessionState, *, is_current: bool
) -> Mapping[str, Iterable[list[Item]]]:
    """Return the journals that ``state``, which becomes a fork, saw; have it say where they end.

    ``current`` is the stored state of its parent, None if that is damaged: then only the journals
    themselves tell of ways back. With ``is_current`` the fork goes on from it: its journals are
    whole.
    """
    parent = current or state
    session_id = parent.session_id
    copies: dict[str, Iterable[list[Item]]] = {}
    ends: dict[str, list[int]] = {}
    for name in backend.journal_names(session_id):
        copy = JournalCopy(backend, parent, name)
        end = copy.end() if is_current else journal_view.end_seen(state, name)
        if end:
            copies[name] = copy.seen([end])
            ends[name] = [end, 0]
    state.journals, state.rewinds = ends, {}
    # The number may be that of a way back, which the copy does not have: beyond the end, it would
    # close no step of the fork before its journal has come that far.
    state.steps_from = min(state.steps_from, ends.get(STEPS, [0])[0])
    return copies
