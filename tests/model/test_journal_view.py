"""What a state sees of a journal, and what may go because nobody sees it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sessionstore.model.journal import JournalRecord, Rewind, in_force, is_hidden
from sessionstore.model.journal_view import Item, only, seen_at
from sessionstore.storage.files import journal_copy, journal_line
from sessionstore.storage.files.journal_line import LineEnd


@st.composite
def journals(draw: st.DrawFn) -> tuple[list[list[Item]], list[int]]:
    """Return the batches of a journal, and the numbers at which batches ended."""
    batches: list[list[Item]] = []
    ends = [0]
    for _ in range(draw(st.integers(0, 12))):
        batch: list[Item] = []
        last = ends[-1]
        if last and draw(st.booleans()):
            lost = draw(st.integers(0, 2))  # numbers that a power cut took
            batch.append(Rewind(draw(st.sampled_from(ends)), last + lost))
            last += lost + 1
        for _ in range(draw(st.integers(0 if batch else 1, 3))):
            last += 1
            batch.append(JournalRecord(last, "now", f"value {last}", f"key {last}"))
        batches.append(batch)
        ends.append(last)
    return batches, ends


def counting(batches: list[list[Item]], end: int) -> list[JournalRecord]:
    """Return the records that count in a journal that ends at ``end``, by what a way back means."""
    items = [item for batch in batches for item in batch if item.number <= end]
    hidden = in_force(item for item in items if isinstance(item, Rewind))
    return [
        item
        for item in items
        if isinstance(item, JournalRecord) and not is_hidden(item.number, hidden)
    ]


def rewinds(batches: list[list[Item]]) -> list[Rewind]:
    return [item for batch in batches for item in batch if isinstance(item, Rewind)]


@given(journals(), st.data())
def test_every_state_sees_the_same_records_once_the_other_lines_are_gone(
    journal: tuple[list[list[Item]], list[int]], data: st.DataObject
) -> None:
    batches, ends = journal
    states = data.draw(st.lists(st.sampled_from(ends)))
    lines = seen_at(rewinds(batches), states)
    left = list(only(batches, lines))
    for end in states:
        assert counting(left, end) == counting(batches, end)


@given(journals(), st.data())
def test_nothing_stays_that_no_state_sees(
    journal: tuple[list[list[Item]], list[int]], data: st.DataObject
) -> None:
    batches, ends = journal
    states = data.draw(st.lists(st.sampled_from(ends)))
    lines = seen_at(rewinds(batches), states)
    seen = {one.number for end in states for one in counting(batches, end)}
    left = {one.number for batch in only(batches, lines) for one in batch}
    assert {one.number for one in counting_all(batches)} & left == seen


def counting_all(batches: list[list[Item]]) -> list[JournalRecord]:
    return [item for batch in batches for item in batch if isinstance(item, JournalRecord)]


@given(journals(), st.data())
def test_what_stays_is_a_chain_that_a_reader_follows_to_its_end(
    journal: tuple[list[list[Item]], list[int]], data: st.DataObject
) -> None:
    batches, ends = journal
    left = list(
        only(batches, seen_at(rewinds(batches), data.draw(st.lists(st.sampled_from(ends)))))
    )
    end: LineEnd | None = LineEnd.of_nothing()
    found: list[Item] = []
    for line in journal_copy.lines(left):
        assert end is not None
        end = journal_line.next_end(line, end)
        assert end is not None
        found.append(journal_line.parse(line)[0])
    assert found == [item for batch in left for item in batch]


def test_a_rewritten_journal_keeps_only_what_it_was_rewritten_to() -> None:
    old: list[Item] = [JournalRecord(1, "now", "old")]
    new: list[Item] = [Rewind(0, 1), JournalRecord(3, "now", "new")]
    assert list(only([old, new], seen_at([Rewind(0, 1)], [3]))) == [new]
    assert list(only([old, new], seen_at([Rewind(0, 1)], [1, 3]))) == [old, new]
