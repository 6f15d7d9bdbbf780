"""Copy what a state sees of its journals: for a fork, and to free the space of everything else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from sessionstore.model import journal_view
from sessionstore.model.journal import Position, Rewind
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
    return copies
