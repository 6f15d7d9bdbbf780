"""Two streams, two purposes: data goes to stdout, everything said about it to stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import TextIO

from sessionstore.text import printable


def write(text: str) -> None:
    """Write ``text``, which must be safe already, to stdout."""
    sys.stdout.write(text)


def write_ids(ids: Iterable[str]) -> None:
    """Write ids, which hold nothing that needs escaping, one a line, to stdout."""
    for session_id in ids:
        write(session_id + "\n")


def write_bytes(data: bytes) -> None:
    """Write bytes to stdout as they are, which must be no terminal."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)


def harmless(data: bytes) -> str:
    """Return bytes as lines in which nothing can act on a terminal."""
    text = data.decode("utf-8", "backslashreplace")
    lines = [printable(line, limit=len(line)) for line in text.split("\n")]
    if lines[-1] == "":
        lines.pop()
    return "".join(f"{line}\n" for line in lines)


_quiet = False


def quiet(*, on: bool = True) -> None:
    """Say no notices from now on, as ``--quiet`` asks; or say them again."""
    global _quiet  # noqa: PLW0603 - there is one stderr, too
    _quiet = on


def is_quiet() -> bool:
    """Return whether notices are not wanted."""
    return _quiet


def notice(text: str) -> None:
    """Say a notice on stderr: what went well, how many there were, what can be done next."""
    if not _quiet:
        warning(text)


def warning(text: str) -> None:
    """Say ``text`` on stderr, on one line and escaped. That nobody listens is no error."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(printable(text, limit=4000) + "\n")
        sys.stderr.flush()
    except OSError:
        abandon(sys.stderr)


def error(text: str) -> None:
    """Say on stderr what went wrong."""
    warning(f"sessionstore: {text}")


def is_confirmed(question: str) -> bool:
    """Ask on stderr, and read the answer from stdin; only ``y`` or ``yes`` is one."""
    sys.stderr.write(printable(question, limit=4000) + " [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def abandon(stream: TextIO) -> None:
    """Let what is still buffered go nowhere: Python flushes at exit, and must not fail or block."""
    with suppress(OSError, ValueError):  # ValueError: it is no stream of the system
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, stream.fileno())
        finally:
            os.close(null)


def accept_any_text() -> None:
    """Write characters that the terminal's encoding lacks as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def wants_color(choice: str, stream: TextIO) -> bool:
    """Return whether to colour ``stream``: the option decides, then NO_COLOR, then the terminal.

    NO_COLOR counts when it is not empty (no-color.org).
    """
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()
