"""Data goes to stdout, everything said about it to stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TextIO

from sessionstore.text import printable


def write(text: str) -> None:
    """Write ``text``, which is escaped already, to stdout."""
    sys.stdout.write(text)


def write_ids(ids: Iterable[str]) -> None:
    """Write ids, which hold nothing that needs escaping, one a line, to stdout."""
    for session_id in ids:
        write(session_id + "\n")


def write_bytes(data: bytes) -> None:
    """Write bytes unescaped to stdout, which is not a terminal."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)


def harmless(data: bytes) -> str:
    """Return bytes as escaped lines, which cannot act on a terminal."""
    text = data.decode("utf-8", "backslashreplace")
    lines = [printable(line, limit=len(line)) for line in text.split("\n")]
    if lines[-1] == "":
        lines.pop()
    return "".join(f"{line}\n" for line in lines)


_quiet = False


def quiet(*, on: bool = True) -> None:
    """Suppress notices from now on, as ``--quiet`` asks, or show them again."""
    global _quiet  # noqa: PLW0603 - a process has one stderr
    _quiet = on


def is_quiet() -> bool:
    """Return whether notices are suppressed."""
    return _quiet


def notice(text: str) -> None:
    """Write a notice to stderr: what went well, how many there were, what to do next."""
    if not _quiet:
        warning(text)


_write_above: Callable[[str], object] | None = None


def write_above(write: Callable[[str], object] | None) -> None:
    """Have lines for stderr written by ``write``, above a progress bar; None: as usual."""
    global _write_above  # noqa: PLW0603 - a process has one stderr
    _write_above = write


def warning(text: str) -> None:
    """Write ``text`` to stderr, on one line and escaped. A closed stderr is not an error."""
    if sys.stderr is None:
        return
    try:
        line = printable(text, limit=4000)
        if _write_above is not None:
            _write_above(line)
        else:
            sys.stderr.write(line + "\n")
        sys.stderr.flush()
    except OSError:
        abandon(sys.stderr)


def error(text: str) -> None:
    """Write to stderr what went wrong."""
    warning(f"sessionstore: {text}")


def is_confirmed(question: str) -> bool:
    """Ask on stderr and read the answer from stdin; only ``y`` and ``yes`` confirm."""
    return _answer_to(f"{question} [y/N]").strip().lower() in ("y", "yes")


def goes_on(question: str) -> bool:
    """Ask on stderr whether to go on; ``q`` and the end of stdin say no, Enter says yes."""
    answer = _answer_to(f"-- {question} --")
    return answer.endswith("\n") and not answer.strip().lower().startswith("q")


def _answer_to(question: str) -> str:
    sys.stdout.flush()
    try:
        sys.stderr.write(printable(question, limit=4000) + " ")
        sys.stderr.flush()
        return sys.stdin.readline()
    except KeyboardInterrupt:
        sys.stderr.write("\n")  # what is said of it begins a line
        raise


def abandon(stream: TextIO) -> None:
    """Discard what is still buffered: the flush when Python exits must not fail or block."""
    with suppress(OSError, ValueError):  # ValueError: it has no file descriptor
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, stream.fileno())
        finally:
            os.close(null)


def accept_any_text() -> None:
    """Write characters that the encoding of the terminal lacks as escapes."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def wants_color(choice: str, stream: TextIO) -> bool:
    """Return whether to colour ``stream``: the option decides, then NO_COLOR, then the terminal.

    An empty NO_COLOR does not count (no-color.org).
    """
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()
