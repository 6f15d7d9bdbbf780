"""Which lines of a journal a state sees, and which lines nobody needs any more.

A state sees the journal up to where it ended then. The last way back up to there, its line
included, and what follows it are seen; what it left behind is not; and before that everything that
a state saw where it went back to. So each view is a chain of ranges, each of which begins at a way
back, or at the first line.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence

from sessionstore.model.journal import JournalRecord, Rewind
from sessionstore.model.state import SessionState

Item = JournalRecord | Rewind
"""A line of a journal."""


class Lines:
    """The numbers of the lines that somebody sees."""

    def __init__(self, spans: Iterable[tuple[int, int]]) -> None:
        self._spans = sorted(spans)

    def count(self) -> int:
        """Return how many they are, as far as none of them was lost."""
        return sum(last - first + 1 for first, last in self._spans)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._spans, number, key=lambda span: span[0])
        return at > 0 and number <= self._spans[at - 1][1]


def seen_at(rewinds: Iterable[Rewind], ends: Iterable[int]) -> Lines:
    """Return the lines that are seen by states that ended at one of ``ends``.

    If only these lines stay, numbers are missing only in front of a way back that leaves all of
    them behind: each range but the first begins at a way back, and the line that it went back to is
    seen, too.
    """
    by_number = {one.number: one for one in rewinds}
    numbers = sorted(by_number)
    spans: dict[int, int] = {}
    for end in set(ends):
        while end > 0:
            at = bisect_right(numbers, end)
            start = numbers[at - 1] if at else 1
            known = spans.get(start, 0)
            spans[start] = max(known, end)
            if known:
                break  # what is before this range was found with another end
            end = by_number[start].back_to if at else 0  # noqa: PLW2901 - it goes back
    return Lines(spans.items())


def count_seen(rewinds: Sequence[Rewind], end: int) -> int:
    """Return how many records a state sees that ended at ``end``."""
    lines = seen_at(rewinds, [end])
    return lines.count() - sum(one.number in lines for one in rewinds)


def only(batches: Iterable[Sequence[Item]], lines: Lines) -> Iterator[list[Item]]:
    """Yield the batches without the items that are not among ``lines``."""
    for batch in batches:
        kept = [item for item in batch if item.number in lines]
        if kept:
            yield kept


def end_seen(state: SessionState, name: str) -> int:
    """Return the number of the last line of a journal that ``state`` saw when it was written.

    A way back that the state tells, and the journal did not have yet, is taken into account.
    """
    return end_told(state.journals, state.rewinds, name)


def end_told(
    journals: Mapping[str, Sequence[int]], rewinds: Mapping[str, Sequence[Sequence[int]]], name: str
) -> int:
    """Return the same for a state with these two fields.

    Raises:
        TypeError: they are not what a store writes.
        AttributeError: the same.
        LookupError: the same.
    """
    if pending := [Rewind(*one) for one in rewinds.get(name, ())]:
        return pending[-1].back_to
    return journals[name][0] if name in journals else 0


def pending_rewinds(state: SessionState, name: str) -> list[Rewind]:
    """Return the ways back that ``state`` tells, and that the journal may not have yet."""
    return [Rewind(*one) for one in state.rewinds.get(name, ())]
