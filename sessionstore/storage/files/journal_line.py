"""One line of a journal: a JSON object that carries its number, and checksums that chain it.

::

    {"n":7,"at":"2026-11-28T12:00:00Z","key":"user-1","value":{…},"flushed":6,"prev":"…","crc":"…"}

``crc`` is the CRC-32 of the line up to it, ``prev`` the one of the line before. A sector that was
lost in the middle may leave bytes that still parse; the checksum tells. A whole line behind a hole
has another predecessor; the chain tells. ``flushed`` is the number of the last line that was known
to be on the disk when this one was written: what is at or below it cannot be torn, only damaged.
``more`` says that the batch goes on: its lines count all or not at all. In the place of ``value``
a control line has ``rewind``: ``[back_to, upto]``.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from zlib import crc32

from pydantic_core import from_json, to_json

from sessionstore.durable.append import PADDING
from sessionstore.model.journal import JournalRecord, Rewind

START = b"00000000"
"""What the first line names as the checksum of its predecessor."""

REWIND = b'"rewind":'
"""What a line of a way back has in the place of its value; a value may hold the same bytes."""

_CHECKSUM_AT = -len(b',"crc":"00000000"}\n')
_PREVIOUS_AT = _CHECKSUM_AT - len(b'00000000"')
_CHAIN = re.compile(rb'"flushed":([0-9]+),"prev":"([0-9a-f]{8})","crc":"([0-9a-f]{8})"}\n')
_CHAIN_LIMIT = 100
_MORE = b',"more":true,"flushed":'
_NUMBER = re.compile(rb'\{"n":([0-9]+),')


class LineEnd(NamedTuple):
    """The end of a line: where the next one begins, and what it has to name."""

    number: int
    offset: int
    checksum: bytes

    @classmethod
    def of_nothing(cls) -> LineEnd:
        """Return the place before the first line."""
        return cls(0, 0, START)


class Link(NamedTuple):
    """What a line says of its place in the chain."""

    number: int
    flushed: int


def compose(
    number: int,
    at: str,
    item: bytes | Rewind,
    *,
    key: str | None,
    more: bool,
    flushed: int,
    previous: bytes,
) -> tuple[bytes, bytes]:
    """Return a line that holds ``item``, a JSON value or a way back, and its checksum."""
    if isinstance(item, Rewind):
        content = b'"rewind":[%d,%d]' % (item.back_to, item.upto)
    else:
        content = b'"value":%b' % item
    body = b'{"n":%d,"at":%b,%b%b%b,"flushed":%d,"prev":"%b"' % (
        number,
        to_json(at),
        b'"key":%b,' % to_json(key) if key is not None else b"",
        content,
        b',"more":true' if more else b"",
        flushed,
        previous,
    )
    checksum = b"%08x" % crc32(body)
    return b'%b,"crc":"%b"}\n' % (body, checksum), checksum


def is_whole(line: bytes) -> bool:
    """Return whether the bytes of a line are those that its checksum was made of."""
    return b',"crc":"%08x"}\n' % crc32(line[:_CHECKSUM_AT]) == line[_CHECKSUM_AT:]


def next_end(line: bytes, before: LineEnd) -> LineEnd | None:
    """Return where ``line`` ends if it is whole and comes right after ``before``, else None.

    Numbers may be missing only before a way back that leaves them all behind: the power failed
    before they were flushed, or their space was freed.
    """
    checksum = b"%08x" % crc32(line[:_CHECKSUM_AT])
    if line[_PREVIOUS_AT:] != b'%b","crc":"%b"}\n' % (before.checksum, checksum):
        return None
    number = before.number + 1
    if not line.startswith(b'{"n":%d,' % number):
        item = parse(line)[0] if may_be_rewind(line) else None
        if not isinstance(item, Rewind) or not item.back_to < number <= item.upto:
            return None
        number = item.number
    return LineEnd(number, before.offset + len(line), checksum)


def may_be_rewind(line: bytes) -> bool:
    """Return whether a line looks as if it held a way back; False is certain."""
    return line.startswith(REWIND, line.find(b",", line.find(b",") + 1) + 1)


def goes_on(line: bytes) -> bool:
    """Return whether the batch of a whole line goes on behind it."""
    return _MORE in line[-_CHAIN_LIMIT:]


def link_of(line: bytes) -> Link | None:
    """Return what a line says of its place; None unless it is whole, wherever it stands."""
    if not is_whole(line):
        return None
    start = _NUMBER.match(line)
    chain = _CHAIN.search(line, max(0, len(line) - _CHAIN_LIMIT))
    if start is None or chain is None:
        return None
    return Link(int(start[1]), int(chain[1]))


def end_of(line: bytes, offset: int) -> LineEnd | None:
    """Return the end of a line that ends at ``offset``; None unless it is whole."""
    link = link_of(line)
    return None if link is None else LineEnd(link.number, offset, line[_CHECKSUM_AT + 8 : -3])


def parse(line: bytes) -> tuple[JournalRecord | Rewind, bool]:
    """Return what a whole line holds, and whether its batch goes on.

    Raises:
        ValueError: it is not a line of a journal, though its checksum is right.
    """
    raw: Any = from_json(line)
    try:
        more = bool(raw.get("more"))
        if "rewind" not in raw:
            return JournalRecord(raw["n"], raw["at"], raw["value"], raw.get("key")), more
        rewind = Rewind(*raw["rewind"])
        if rewind.number != raw["n"]:
            raise ValueError(f"it goes back from {rewind.upto}, and is line {raw['n']}")
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a field is missing or of another type: {error!r}") from None
    return rewind, more


def is_padding(rest: bytes) -> bool:
    """Return whether nothing but padding is in ``rest``."""
    return not rest.strip(PADDING)
