"""How large a stored file may be: for who reads it, without what decodes it."""

from __future__ import annotations

MAX_STATE_BYTES = 256 * 1024 * 1024
"""Largest state that is written or read, in bytes: a hostile file must not fill the memory."""
