"""Free the values of steps that no resume returns any more; what else is told of them stays."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from sessionstore.errors import SessionCorrupt
from sessionstore.model import checkpoint, journal_view, step
from sessionstore.model.journal import STEPS, JournalRecord, Rewind
from sessionstore.model.journal_view import Item, Lines
from sessionstore.model.state import SessionState
from sessionstore.operations.journal_copy import JournalCopy, Surplus
from sessionstore.storage.backend import Backend


class ClosedValues(NamedTuple):
    """The values of steps that nothing replays."""

    steps: int
    without: Callable[[], Iterator[list[Item]]]
    """Yields the batches of the journal without these values."""
    freed: int
    """Their space, in bytes."""


class _Replaying(NamedTuple):
    """A state that replays steps: those that began under its number, as far as it sees them."""

    steps_from: int
    lines: Lines

    def replays(self, record: JournalRecord) -> bool:
        """Return whether a resume of this state returns the value of ``record``."""
        return step.began_under(record) == self.steps_from and record.number in self.lines


def find_closed(
    backend: Backend,
    current: SessionState,
    removed: Collection[str],
    surplus: Sequence[Surplus],
) -> ClosedValues | None:
    """Return the values of the steps that neither ``current`` nor a checkpoint replays, if any.

    ``removed`` are the ids of checkpoints that count no more. What a damaged checkpoint replays is
    unknown: then no value goes. Lines in ``surplus`` are left out.

    Raises:
        SessionCorrupt: the journal of the steps is damaged.
    """
    session_id = current.session_id
    if STEPS not in backend.journal_names(session_id):
        return None
    copy = JournalCopy(backend, current, STEPS)
    batches = next((one.needed for one in surplus if one.name == STEPS), copy.everything)
    every = [item for batch in copy.everything() for item in batch]
    rewinds = [item for item in every if isinstance(item, Rewind)]

    def replaying(state: SessionState, end: int) -> _Replaying:
        return _Replaying(state.steps_from, journal_view.seen_at(rewinds, [end]))

    states = [replaying(current, copy.end())]
    if not _closed(every, states):
        return None  # its checkpoints are not read
    for checkpoint_id in set(backend.checkpoint_ids(session_id)).difference(removed):
        stored = backend.read_checkpoint(session_id, checkpoint_id)
        try:
            kept = checkpoint.load(current, stored, checkpoint_id)
        except SessionCorrupt:
            return None
        states.append(replaying(kept, journal_view.end_seen(kept, STEPS)))
    closed = _closed((item for batch in batches() for item in batch), states)
    if not closed:
        return None

    def without() -> Iterator[list[Item]]:
        for batch in batches():
            yield [_pruned(item) if item.number in closed else item for item in batch]

    freed = backend.journal_bytes(batches()) - backend.journal_bytes(without())
    return ClosedValues(len(closed), without, max(0, freed))


def _closed(items: Iterable[Item], states: Sequence[_Replaying]) -> set[int]:
    """Return the numbers of the records with values that none of ``states`` replays."""
    return {
        item.number
        for item in items
        if isinstance(item, JournalRecord)
        and step.has_value(item)
        and not any(state.replays(item) for state in states)
    }


def _pruned(item: Item) -> Item:
    assert isinstance(item, JournalRecord)
    return replace(item, value=step.without_value(item.value))
