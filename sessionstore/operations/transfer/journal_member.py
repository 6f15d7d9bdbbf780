"""Journals in an archive: the lines of a journal file, chained, and nothing else.

So an unpacked export is a store of files, and an import can tell what was changed. An export writes
whole batches only, so everything else that an import finds was made by somebody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sessionstore.errors import ArchiveRefused, NotStorable
from sessionstore.model import journal_codec
from sessionstore.model.ids import is_id
from sessionstore.model.journal import JournalRecord
from sessionstore.model.journal_view import Item
from sessionstore.operations.transfer.archive import Member
from sessionstore.storage.files import journal_line
from sessionstore.storage.files.journal_line import LineEnd
from sessionstore.storage.files.journal_scan import MAX_LINE
from sessionstore.storage.files.layout import JOURNAL_SUFFIX, JOURNALS

_LARGEST = 2**53
"""No journal has so many lines, and every reader of JSON can tell the numbers up to here."""


def place_of(journal: str) -> str:
    """Return the name of a journal's file below its session."""
    return f"{JOURNALS}/{journal}{JOURNAL_SUFFIX}"


def journal_of(member: Member, archive: object, name: str) -> str | None:
    """Return the name of the journal that ``name`` of a session is, or None.

    Raises:
        ArchiveRefused: it stands in the place of a journal, and can be none.
    """
    if name == JOURNALS and member.content is not None:
        raise ArchiveRefused(archive, "it is not a directory", member=member.name)
    place, _, file = name.rpartition("/")
    if place != JOURNALS or not file.endswith(JOURNAL_SUFFIX):
        return None
    journal = file.removesuffix(JOURNAL_SUFFIX)
    if not is_id(journal):
        raise ArchiveRefused(archive, "its name is not valid for a journal", member=member.name)
    if member.content is None:
        raise ArchiveRefused(archive, "it is a directory", member=member.name)
    return journal


def batches(archive: object, member: str, pieces: Iterable[bytes]) -> Iterator[list[Item]]:
    """Yield the batches of a journal whose file comes in ``pieces``.

    Raises:
        ArchiveRefused: it holds something that no export writes.
    """
    end, batch, text = LineEnd.of_nothing(), list[Item](), 0

    def refused(reason: str) -> ArchiveRefused:
        return ArchiveRefused(archive, f"line {text} of it {reason}", member=member)

    for text, line in enumerate(_lines(pieces), start=1):  # noqa: B007 - refused() names it
        found = journal_line.next_end(line, end)
        if found is None:
            raise refused("is damaged, or does not follow the one before")
        end = found
        try:
            item, more = journal_line.parse(line)
            _check(item)
        except NotStorable as error:
            raise refused(f"cannot be stored: {error.reason}") from None
        except (ValueError, TypeError, RecursionError) as error:
            raise refused(f"is not a line of a journal ({error})") from None
        batch.append(item)
        if not more:
            yield batch
            batch = []
    if batch:
        raise refused("is not the last one of its append: the journal was cut off")


def _check(item: Item) -> None:
    """Raise unless an append would have taken the record, or a resume the way back."""
    if isinstance(item, JournalRecord):
        if type(item.at) is not str:
            raise TypeError("its time is not text")
        journal_codec.check_key(item.key)
        journal_codec.encode("", "", [item.value])
    elif not (type(item.back_to) is type(item.upto) is int and 0 <= item.back_to <= item.upto):
        raise ValueError("it goes back to a line that comes later")
    if item.number > _LARGEST:
        raise ValueError("its number is too large")


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines in ``pieces``; one that is too long comes in part, and is damaged so."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from (line + b"\n" for line in whole)
        if len(rest) > MAX_LINE:
            yield rest
            return
    if rest:
        yield rest
