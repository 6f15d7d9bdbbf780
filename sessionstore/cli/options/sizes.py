"""Sizes as people write them: ``500M``, ``1.5GiB``, or plain bytes."""

from __future__ import annotations

import re

from sessionstore.text import printable

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,6})?)\s*(|[KMGT])(?:I?B)?", re.ASCII | re.IGNORECASE)


def parse_size(text: str) -> int:
    """Return a number of bytes; K, M, G and T are powers of 1,024, as in ``ls -h``.

    Raises:
        ValueError: it is no size.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{printable(text, limit=40)} is no size such as 500M, 10G or 1.5GiB")
    return int(float(found[1]) * _UNITS[found[2].upper()])
