"""Escape foreign text, so that it cannot act on a terminal, a log or a page."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

# Control (Cc), format (Cf: bidi marks, zero-width joiners), surrogate (Cs), private use and
# unassigned characters, and the two separators that some terminals treat as line ends.
_ACTING = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(value: object, *, limit: int = 200) -> str:
    r"""Return ``value`` as text of one line in which nothing can act.

    Control characters, bidirectional marks and lone surrogates appear as ``\x1b`` or ``\u202e``;
    text longer than ``limit`` characters is cut and ends in ``…``.
    """
    text = value if isinstance(value, str) else str(value)
    cut = len(text) > limit
    if cut:
        text = text[: max(limit - 1, 0)]
    if not (text.isascii() and text.isprintable()):
        text = "".join(
            escape(char) if unicodedata.category(char) in _ACTING else char for char in text
        )
    return text + "…" if cut else text


def first_line(text: str) -> str:
    """Return the first line with something in it: what a listing shows of a longer text."""
    return text.lstrip().partition("\n")[0]


def begins_with_line(text: str | None, line: str | None) -> bool:
    """Return whether ``text`` is ``line``, or goes on below it."""
    return text == line or (text or "").startswith(f"{line}\n")


def escape(char: str) -> str:
    r"""Return one character as ``\n``, ``\x1b`` or ``\u202e``."""
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def class_name(kind: type) -> str:
    """Return ``app.models.Thread``: two classes of one name differ in their modules."""
    return f"{kind.__module__}.{kind.__qualname__}"


def some_of(texts: Sequence[str], limit: int) -> str:
    """Return the first ``limit`` texts in a line: ``plan, fetch and 3 more``."""
    left = len(texts) - limit
    return ", ".join(texts[:limit]) + (f" and {left:,} more" if left > 0 else "")


def count_of(number: int, noun: str, plural: str | None = None) -> str:
    """Return ``1 session`` or ``1,204 sessions``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
