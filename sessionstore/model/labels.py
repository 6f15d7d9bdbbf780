"""Labels: short texts on a session, for people and programs to find it by.

A key obeys the rules of an id. So it needs no quotes in a shell, and ``key=value`` can be split.
"""

from __future__ import annotations

from collections.abc import Mapping

from sessionstore.errors import InvalidSessionId, NotStorable
from sessionstore.model.ids import check_id

MAX_LABELS = 64
"""How many labels a session may have."""
MAX_LENGTH = 256
"""How many characters the value of a label may have."""
TITLE = "title"
"""The label that a table shows in the place of the goal."""


def check(session_id: str, labels: object, stored: Mapping[str, str]) -> None:
    """Raise NotStorable for the first label that is new or changed, and that is not allowed.

    ``stored`` are the labels as they are stored. Other software may have written more and longer
    ones than a save accepts: those stay.
    """
    if labels == stored:
        return
    if type(labels) is not dict:
        raise NotStorable(
            session_id, "labels", f"expected a dict of text by key, got {type(labels).__name__}"
        )
    if len(labels) > max(MAX_LABELS, len(stored)):
        raise NotStorable(
            session_id, "labels", f"{len(labels):,} labels are more than {MAX_LABELS}"
        )
    for key, value in labels.items():
        if stored.get(key) == value and type(value) is str:
            continue
        if reason := key_offence(key) or _value_offence(value):
            raise NotStorable(session_id, _path(key), reason)


def key_offence(key: object) -> str | None:
    """Return why ``key`` cannot be the key of a label, or None."""
    try:
        check_id(key, kind="label key")
    except InvalidSessionId as error:
        return f"the key of a label: {error.reason}"
    return None


def _value_offence(value: object) -> str | None:
    if type(value) is not str:
        from sessionstore.model.json_values import shown  # pydantic, which a listing does without

        return f"{shown(value)} is not text: the value of a label is a str"
    if len(value) > MAX_LENGTH:
        return f"{len(value):,} characters are more than {MAX_LENGTH}, the most a label may have"
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return "text with a lone surrogate cannot be stored as UTF-8"
    return None


def _path(key: object) -> str:
    from sessionstore.model.json_values import Unstorable

    return Unstorable("", "labels", key if isinstance(key, str) else repr(key)).path
