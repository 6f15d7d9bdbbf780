"""What a lock file says of who has the lock, or had it last; it proves nothing, the lock does."""

from __future__ import annotations

import io
import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from sessionstore.model.state import SessionOwner

_OFFSET = 1  # Windows lets nobody else read the locked byte, which is the first one
_LIMIT = 64 * 1024


class Record(NamedTuple):
    """The record of a lock file."""

    holder: SessionOwner
    released_at: str | None = None
    is_tentative: bool = False
    """Whether the holder is still looking whether it may keep the lock."""


def read(file: io.FileIO) -> Record | None:
    """Return the record, or None where there is none, or it is being written just now."""
    return parse(read_json(file))


def read_json(file: io.FileIO) -> dict[str, Any] | None:
    """Return the record as it is stored; None as for :func:`read`."""
    try:
        file.seek(_OFFSET)
        record = json.loads(file.read(_LIMIT))
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def write(file: io.FileIO, record: dict[str, Any] | None) -> bool:
    """Replace the record, unflushed; return False if the system refused."""
    data = b"\n" + json.dumps(record).encode() + b"\n" if record else b""
    try:
        file.seek(_OFFSET)
        is_whole = os.write(file.fileno(), data[_OFFSET:]) == len(data[_OFFSET:])
        file.truncate(len(data))
    except OSError:
        return False
    return is_whole


def parse(record: dict[str, Any] | None) -> Record | None:
    """Return a stored record; None if it names no holder."""
    if record is None:
        return None
    from sessionstore.model.state import SessionOwner  # it loads pydantic

    try:
        holder = SessionOwner.model_validate(record["owner"])
    except (ValueError, KeyError):
        return None
    return Record(holder, record.get("released_at"), bool(record.get("tentative")))


def before(record: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the record of the last holder: the one before a tentative one."""
    if record and record.get("tentative"):
        earlier = record.get("before")
        return earlier if isinstance(earlier, dict) else None
    return record


def last_word(record: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the word of a holder that left the session in order; None if it gave none."""
    # Race: Word of an older holder. One that died, if only while it looked, has given none.
    if record is None or record.get("tentative") or not record.get("released_at"):
        return None
    word = record.get("in_order")
    return word if isinstance(word, dict) else None
