"""The bytes of a state or checkpoint as a backend keeps them, before anything decodes them.

This module loads no pydantic: a listing reads files without it.
"""

from __future__ import annotations

from typing import NamedTuple

MAX_STATE_BYTES = 256 * 1024 * 1024
"""Size of the largest state that is written or read, in bytes: a hostile file must not fill the
memory."""


class Stored(NamedTuple):
    """Bytes as they are kept, and the place to name when they turn out to be damaged."""

    payload: bytes
    file: str


def why_no_json(payload: bytes) -> str | None:
    """Return why ``payload`` cannot be JSON, as far as its first bytes tell, or None."""
    if not payload:
        return "the file is empty"
    if payload.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        return "it begins with a byte order mark: save it as plain UTF-8"
    if not payload.strip(b"\0"):
        return f"all {len(payload):,} bytes are zero, as after a loss of power"
    return None
