"""Read how a session ended from the exception that ended it."""

from __future__ import annotations

import sys

from sessionstore.errors import CancellationRequested


def describe_error(error: BaseException | str) -> str:
    """Return an exception as text that can be stored: ``ValueError: no such city``."""
    text = error
    if not isinstance(error, str):
        name = type(error).__name__
        text = f"{name}: {error}" if str(error) else name
    return str(text).encode("utf-8", "backslashreplace").decode()


def find_request(error: BaseException) -> CancellationRequested | None:
    """Return the request to cancel that ``error`` is, or of which a group of errors consists."""
    if isinstance(error, CancellationRequested):
        return error
    if isinstance(error, BaseExceptionGroup):
        # A task group wraps it; tasks that end because of it are left out by asyncio itself.
        found = [find_request(inner) for inner in error.exceptions]
        return found[0] if all(found) else None
    return None


def is_cancellation(error: BaseException) -> bool:
    """Return whether somebody asked to stop, rather than something having gone wrong."""
    asyncio = sys.modules.get("asyncio")  # not imported for this: it takes 30 ms
    return isinstance(error, KeyboardInterrupt) or (
        asyncio is not None and isinstance(error, asyncio.CancelledError)
    )
