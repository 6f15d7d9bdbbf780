"""Text in the cells of a terminal: how wide it is, cut with an ellipsis, wrapped at words."""

from __future__ import annotations

from collections.abc import Iterator

ELLIPSIS = "…"


def width_of(text: str) -> int:
    """Return the width of ``text`` in cells. It is escaped already, so that nothing in it acts."""
    if text.isascii() or text.replace(ELLIPSIS, "").isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def cut(text: str, width: int) -> str:
    """Return ``text``, or its beginning and an ellipsis, in at most ``width`` cells."""
    if width_of(text) <= width:
        return text
    if width < 1:
        return ""
    return text[: _fitting(text, width - 1)].rstrip() + ELLIPSIS


def wrap(text: str, width: int, *, widest: int, first: int | None = None) -> list[str]:
    """Return ``text`` in lines of at most ``width`` cells, wrapped between words.

    A word that is wider stands alone in a line of up to ``widest`` cells; only one that is wider
    still is broken. The first line has room for ``first`` cells. It is empty if not even the first
    word fits there.
    """
    lines = [""]
    room = width if first is None else first
    for number, word in enumerate(text.split(" ")):
        joined = f"{lines[-1]} {word}" if number and lines[-1] else word
        if width_of(joined) <= room:
            lines[-1] = joined
            continue
        pieces = list(_pieces(word, widest))
        if lines[-1] or width_of(pieces[0]) > room:
            lines.append("")
        lines[-1:] = pieces
        room = width
    return lines


def _pieces(word: str, width: int) -> Iterator[str]:
    while width_of(word) > width:
        end = max(_fitting(word, width), 1)
        yield word[:end]
        word = word[end:]
    yield word


def _fitting(text: str, width: int) -> int:
    """Return how many characters at the beginning of ``text`` fit into ``width`` cells."""
    end = min(len(text), width)
    while end > 0 and width_of(text[:end]) > width:
        end -= 1
    return end
