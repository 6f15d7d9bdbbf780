"""Turn what is appended to a journal into JSON that reads back equal, or refuse it with a path."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic_core import to_json

from sessionstore.errors import NotStorable
from sessionstore.model import json_values
from sessionstore.model.journal import MAX_KEY_LENGTH, MAX_RECORD_BYTES

_RECORD_DEPTH = 2
"""The level of a record's value: the line that holds it is the first."""


def check_key(key: str | None) -> str | None:
    """Return ``key`` if a record may have it.

    Raises:
        TypeError: it is no text.
        ValueError: it is empty, too long, or UTF-8 cannot carry it.
    """
    if key is None:
        return None
    if type(key) is not str:
        raise TypeError(f"a key must be text, not {json_values.name_of(key)}")
    if not key or len(key) > MAX_KEY_LENGTH:
        raise ValueError(f"a key must have 1 to {MAX_KEY_LENGTH:,} characters, not {len(key):,}")
    if json_values.offence(key):
        raise ValueError(f"the key {key!a} cannot be stored as UTF-8")
    return key


def encode(session_id: str, journal: str, values: Iterable[Any]) -> list[bytes]:
    """Return each value as UTF-8 JSON that reads back equal.

    Raises:
        NotStorable: a value would not; the error names the record, counted from 0, and the path.
    """
    return [_encode_one(session_id, journal, index, value) for index, value in enumerate(values)]


def _encode_one(session_id: str, journal: str, index: int, value: Any) -> bytes:
    try:
        if type(value) is dict or type(value) is list:
            json_values.check_json(value, _RECORD_DEPTH)
        elif found := json_values.offence(value):
            raise found
        payload = to_json(value)
    except json_values.Unstorable as bad:
        raise NotStorable(session_id, _path(journal, index, bad), bad.in_record()) from None
    except ValueError as error:  # text that UTF-8 cannot carry: pydantic's error has no path
        found = json_values.find_bad_text(value) or json_values.Unstorable(str(error))
        raise NotStorable(session_id, _path(journal, index, found), found.reason) from error
    if len(payload) > MAX_RECORD_BYTES:
        raise NotStorable(
            session_id,
            f"journal {journal}, record {index}",
            f"{len(payload):,} bytes are more than {MAX_RECORD_BYTES:,}: keep large data in a file"
            " of the session's directory and append its name",
        )
    return payload


def _path(journal: str, index: int, bad: json_values.Unstorable) -> str:
    inside = json_values.Unstorable("", *bad.steps).path if bad.steps else ""
    where = f"journal {journal}, record {index}"
    return f"{where}, {inside}" if inside else where
