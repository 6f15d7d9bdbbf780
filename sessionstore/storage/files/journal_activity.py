"""Find out which journals a session has, and when it was last appended to.

That is what the newest line says, or the time of its file. Nothing is decoded: a listing asks.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from sessionstore import clock
from sessionstore.durable.append import PADDING
from sessionstore.durable.directory import Directory
from sessionstore.durable.regular_file import open_regular
from sessionstore.storage.files.layout import JOURNAL_SUFFIX as SUFFIX
from sessionstore.storage.files.layout import JOURNALS
from sessionstore.storage.files.usage import is_journal

_TAIL = 16 * 1024
"""Bytes at the end of a journal in which its last line is looked for. Where they hold none, as
behind the padding of a live holder, the time of the file tells."""

_LINE = re.compile(rb'^\{"n":[0-9]+,"at":"([^"\\]+)".*\}$', re.MULTILINE)


def names(directory: Directory) -> list[str]:
    """Return the names of the journals in a session's directory, sorted."""
    try:
        with Directory(JOURNALS, directory) as journals:
            found = journals.names()
    except FileNotFoundError:
        return []
    return sorted(name.removesuffix(SUFFIX) for name in found if is_journal(name))


def last_appended_at(place: Directory, session: str = "") -> str | None:
    """Return the time of the last append to any journal of a session; None if there was none.

    The session is the directory ``session`` in ``place``, or ``place`` itself.
    """
    found: list[tuple[float, str]] = []
    try:
        with Directory(f"{session}/{JOURNALS}" if session else JOURNALS, place) as journals:
            for name in filter(is_journal, journals.names()):
                text = _time_of(journals, name)
                moment = clock.seconds(text)
                if text is not None and moment is not None:
                    found.append((moment, text))
    except OSError:  # most sessions have none; what is wrong with them a check says
        return None
    return max(found)[1] if found else None


def _time_of(journals: Directory, name: str) -> str | None:
    try:
        fd, status = open_regular(journals, name)
    except OSError:
        return None
    with open(fd, "rb", buffering=0) as file:
        file.seek(max(0, status.st_size - _TAIL))
        tail = file.read(_TAIL).rstrip(PADDING)
    lines = _LINE.findall(tail)
    if lines:
        return bytes(lines[-1]).decode(errors="replace")
    if not status.st_size:
        return None
    return clock.to_text(datetime.fromtimestamp(status.st_mtime, UTC))
