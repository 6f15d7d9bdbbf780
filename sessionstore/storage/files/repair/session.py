"""Check and repair the directory of a session: left-over files, wrong modes and owners.

A repair touches only names that this package gives, never the application's own files.
"""

from __future__ import annotations

import os
from contextlib import suppress

from sessionstore.clock import Clock
from sessionstore.durable.directory import Directory
from sessionstore.storage.files import leftovers, state_file
from sessionstore.storage.files.layout import JOURNALS, STATE, Layout
from sessionstore.storage.files.quarantine import quarantine
from sessionstore.storage.files.repair.access import check_access
from sessionstore.storage.files.repair.journals import check_journals
from sessionstore.storage.files.repair.mended import mended
from sessionstore.storage.files.usage import is_journal
from sessionstore.storage.report import Finding, FindingKind


def check_session(
    layout: Layout, session_id: str, directory: Directory, *, repair: bool, in_use: bool, now: Clock
) -> list[Finding]:
    """Return findings about left-over files, wrong modes and owners in a session's directory.

    With ``in_use`` a live process holds the session: its temporary files are no findings.
    """
    found: list[Finding] = []
    names = set(directory.names())
    places: list[tuple[Directory, list[str]]] = [(directory, [".", STATE])]
    found += check_journals(layout, session_id, directory, repair=repair, in_use=in_use, now=now)
    checkpoints: Directory | None = None
    journals: Directory | None = None
    if "checkpoints" in names:
        with suppress(OSError):  # something else in its place: that is a damaged checkpoint
            checkpoints = Directory("checkpoints", directory)
    if JOURNALS in names:
        with suppress(OSError):  # as above
            journals = Directory(JOURNALS, directory)
    try:
        if journals is not None:
            places.append((journals, [".", *sorted(filter(is_journal, journals.names()))]))
        if checkpoints is not None:
            kept = [f"{name}.json" for name in state_file.checkpoint_ids(directory, session_id)]
            places.append((checkpoints, [".", *sorted(kept)]))
        if not in_use:
            for place in filter(None, (directory, checkpoints)):
                found += [
                    _check_leftover(layout, session_id, item, repair=repair, now=now)
                    for item in leftovers.find(directory, place, session_id)
                ]
        found += check_access(layout, places, session_id, repair=repair)
    finally:
        for place in filter(None, (checkpoints, journals)):
            place.close()
    return found


def _check_leftover(
    layout: Layout, session_id: str, item: leftovers.Leftover, *, repair: bool, now: Clock
) -> Finding:
    detail = "left over from an interrupted write"
    would = "it would be removed"
    if item.holds is not None:
        detail = f"{detail}; {item.holds}"
        would = "it would be put into quarantine"

    def mend() -> str:
        if item.holds is None:
            item.place.unlink(item.name)
            return "removed"
        called, place, name = "leftover", item.place, item.name
        return "put into " + quarantine(
            layout, place, name, called=called, session_id=session_id, reason=detail, now=now
        )

    file = os.path.join(item.place.path, item.name)
    finding = Finding(FindingKind.LEFTOVER, session_id, file, detail, would)
    return mended(finding, mend) if repair else finding
