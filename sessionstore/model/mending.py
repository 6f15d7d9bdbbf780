r"""Read JSON in which other software wrote what JSON or UTF-8 lacks, and name each value.

Python's json writes ``NaN``, ``Infinity`` and lone surrogates, and reads them back. Here a number
that JSON lacks becomes null, and a lone surrogate becomes its escape as text (``\ud83d``). Whoever
reads such a file sees this; the file itself changes with its next write, which keeps the original.

Other damage can be mended as well, but only a repair does so (``thorough``): a byte order mark,
bytes that are not UTF-8, integers that are too long, and nesting that is too deep.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from pydantic_core import from_json

from sessionstore.model.json_values import MAX_DEPTH, MAX_DIGITS, Unstorable
from sessionstore.text import printable

_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED = re.compile(rb"\\u[dD][89a-fA-F]")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SHOWN = 5


Steps = tuple[str | int, ...]
"""The keys and positions on the way to a value."""


class ForeignValue(NamedTuple):
    """A value in a file that JSON or UTF-8 lacks."""

    steps: Steps
    was: str
    """What is there, as text."""

    def __str__(self) -> str:
        return f"{printable(Unstorable('', *self.steps).path, limit=120)}: {self.was}"


class Mended(NamedTuple):
    """JSON in which each foreign value is replaced."""

    payload: bytes
    values: tuple[ForeignValue, ...]

    def without(self, places: Iterable[Steps], lost: Iterable[Steps]) -> bytes | None:
        """Return the JSON without what is at ``places``, so that defaults apply there.

        Returns None unless a foreign value was at each place, or it is one of the ``lost``. A
        revision is never left out: two states would have the same one.
        """
        known = ({value.steps for value in self.values} | set(lost)) - {("revision",)}
        if not known:
            return None
        raw = from_json(self.payload)
        for place in places:
            if not any(steps == place[: len(steps)] for steps in known):
                return None
            _remove(raw, place)
        return json.dumps(raw, ensure_ascii=False).encode()


def say(values: Iterable[ForeignValue]) -> str:
    """Return the foreign values as one line, the first few of them in full."""
    texts = list(map(str, values))
    more = f" (and {len(texts) - _SHOWN} more)" if len(texts) > _SHOWN else ""
    return "; ".join(texts[:_SHOWN]) + more


def has_constants(payload: bytes) -> bool:
    """Return whether there may be a NaN or an infinity, which the common reader accepts."""
    # One byte is looked for 30 times as fast as a word, and most files have neither.
    return (b"N" in payload and b"NaN" in payload) or (b"I" in payload and b"Infinity" in payload)


def find(payload: bytes) -> tuple[ForeignValue, ...]:
    """Return the foreign values that a read replaces; () for nearly every file."""
    mended = mend(payload)
    return mended.values if mended else ()


def mend(payload: bytes, *, thorough: bool = False) -> Mended | None:
    """Return the JSON with foreign values replaced; None if it has none, or cannot be read."""
    if not (thorough or has_constants(payload) or _has_surrogates(payload)):
        return None
    reader = _Reader(thorough=thorough)
    try:
        raw = reader.replace(reader.parse(payload), (), 1)
        if not reader.found:
            return None
        return Mended(json.dumps(raw, ensure_ascii=False).encode(), tuple(reader.found))
    except (ValueError, RecursionError):
        return None


def parse(payload: bytes) -> Any:
    """Return JSON from a file as Python values, with foreign values replaced.

    Raises:
        ValueError: it is no JSON.
    """
    mended = mend(payload)
    return from_json(mended.payload if mended else payload)


def _has_surrogates(payload: bytes) -> bool:
    # UTF-8 has no surrogates; Python writes them with "surrogatepass", as bytes from ED A0 on.
    return (b"\\u" in payload and _ESCAPED.search(payload) is not None) or b"\xed" in payload


class _Digits(str):
    """An integer that is too long to be read."""

    __slots__ = ()


def _integer(digits: str) -> int | _Digits:
    return int(digits) if len(digits) <= MAX_DIGITS else _Digits(digits)


class _Reader:
    """Reads one text, and replaces the foreign values in it."""

    def __init__(self, *, thorough: bool) -> None:
        self._thorough = thorough
        self._was_bytes = False
        """Whether surrogates stand for bytes that are not UTF-8."""
        self.found: list[ForeignValue] = []

    def parse(self, payload: bytes) -> Any:
        if not self._thorough:
            return json.loads(payload.decode("utf-8", "surrogatepass"))
        return json.loads(self._decode(payload), parse_int=_integer)

    def _decode(self, payload: bytes) -> str:
        for mark, encoding in _MARKS:
            if payload.startswith(mark):
                self.found.append(
                    ForeignValue((), f"it begins with a byte order mark ({encoding})")
                )
                return payload.decode(encoding)
        try:
            return payload.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            self._was_bytes = True
            return payload.decode("utf-8", "surrogateescape")

    def replace(self, value: Any, steps: Steps, depth: int) -> Any:
        """Return ``value`` with everything replaced that JSON or UTF-8 lacks."""
        kind = type(value)
        if kind is str:
            return self._text(value, steps) if _SURROGATE.search(value) else value
        if kind is float and value - value != 0:
            return self._foreign(steps, str(json.dumps(value)), None)
        if kind is _Digits:
            return self._foreign(steps, f"an integer of {len(value):,} digits", str(value))
        if kind is not dict and kind is not list:
            return value
        if depth > MAX_DEPTH and self._thorough:
            return self._foreign(steps, f"nested deeper than {MAX_DEPTH} levels", json.dumps(value))
        if kind is list:
            return [self.replace(item, (*steps, at), depth + 1) for at, item in enumerate(value)]
        found: dict[str, Any] = {}
        for key, item in value.items():
            name = self._text(key, (*steps, key), "a key: ") if _SURROGATE.search(key) else key
            while name != key and (name in value or name in found):
                name += "_"
            found[name] = self.replace(item, (*steps, name), depth + 1)
        return found

    def _text(self, text: str, steps: Steps, what: str = "") -> str:
        """Return ``text`` with the escapes of its surrogates: they can be read back by eye."""

        def escaped(found: re.Match[str]) -> str:
            code = ord(found[0])
            is_byte = self._was_bytes and 0xDC80 <= code <= 0xDCFF
            return f"\\x{code - 0xDC00:02x}" if is_byte else f"\\u{code:04x}"

        safe = _SURROGATE.sub(escaped, text)
        why = "bytes that are not UTF-8" if self._was_bytes else "a lone surrogate"
        shown = f'{what}"{printable(safe, limit=60)}", with {why}'
        if what:
            steps = (*steps[:-1], safe)
        return str(self._foreign(steps, shown, safe))

    def _foreign(self, steps: Steps, was: str, instead: str | None) -> str | None:
        self.found.append(ForeignValue(steps, was))
        return instead


def _remove(raw: Any, place: Steps) -> None:
    """Remove the innermost key on the way to ``place``: an item of a list has no default."""
    holder, name = None, None
    for step in place:
        if isinstance(raw, dict) and step in raw:
            holder, name = raw, step
        elif not (isinstance(raw, list) and isinstance(step, int)):
            break
        raw = raw[step]
    if holder is not None:
        del holder[name]
