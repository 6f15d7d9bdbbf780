"""Check and repair the directory of a session: left-over files and wrong modes.

A repair touches only names that this package gives, never the application's own files.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from sessionstore.clock import Clock
from sessionstore.durable.directory import Directory
from sessionstore.errors import SessionStoreError
from sessionstore.storage.files import leftovers, state_file
from sessionstore.storage.files.layout import STATE, Layout
from sessionstore.storage.files.repair.quarantine import quarantine
from sessionstore.storage.report import Finding, FindingKind

# --- modes --------------------------------------------------------------------------------------


def wrong_mode(status: os.stat_result) -> int | None:
    """Return the mode that a file or directory of a store should have; None if it has it."""
    if os.name != "posix":
        return None
    if stat.S_ISDIR(status.st_mode):
        right = 0o700
    elif stat.S_ISREG(status.st_mode):
        right = 0o600
    else:
        return None
    return None if status.st_mode & 0o777 == right else right


def set_mode(directory: Directory, name: str, right: int) -> None:
    """Set the mode of ``name`` to ``right``; follow no link."""
    fd = directory.open(name, os.O_RDONLY)
    try:
        status = os.fstat(fd)
        if status.st_uid != os.geteuid() and status.st_uid != os.stat(directory.path).st_uid:
            raise PermissionError(errno.EPERM, "it belongs to another user")
        if wrong_mode(status) == right:
            os.fchmod(fd, right)
    finally:
        os.close(fd)


def check_modes(
    places: list[tuple[Directory, list[str]]], session_id: str | None, *, repair: bool
) -> list[Finding]:
    """Return one finding for all wrong modes in ``places``, or none."""
    wrong: list[tuple[str, int]] = []
    troubles: list[str] = []
    for directory, names in places:
        for name in names:
            path = os.path.normpath(os.path.join(directory.path, name))
            try:
                status = directory.status(name)
                right = wrong_mode(status)
                if right is None:
                    continue
                wrong.append((path, status.st_mode & 0o777))
                if repair:
                    set_mode(directory, name, right)
            except FileNotFoundError:
                continue
            except OSError as error:
                troubles.append(f"{path}: {error.strerror or error}")
    if not wrong:
        return []
    first, mode = wrong[0]
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    finding = Finding(
        FindingKind.WRONG_MODE,
        session_id,
        first,
        f"its mode is {mode:04o}{more}; directories should have 0700, files 0600",
        "their modes would be set",
    )
    if not repair:
        return [finding]
    if troubles:
        return [replace(finding, repair=f"not repaired: {troubles[0]}")]
    return [replace(finding, repair="their modes were set", is_repaired=True)]


# --- one session --------------------------------------------------------------------------------


def check_session(
    layout: Layout, session_id: str, directory: Directory, *, repair: bool, in_use: bool, now: Clock
) -> list[Finding]:
    """Return findings about left-over files and wrong modes in a session's directory.

    With ``in_use`` a live process holds the session: its temporary files are no findings.
    """
    found: list[Finding] = []
    names = set(directory.names())
    modes: list[tuple[Directory, list[str]]] = [(directory, [".", STATE])]
    checkpoints: Directory | None = None
    if "checkpoints" in names:
        with suppress(OSError):  # something else in its place: that is a damaged checkpoint
            checkpoints = Directory("checkpoints", directory)
    try:
        if checkpoints is not None:
            kept = [f"{name}.json" for name in state_file.checkpoint_ids(directory, session_id)]
            modes.append((checkpoints, [".", *sorted(kept)]))
        if not in_use:
            for place in filter(None, (directory, checkpoints)):
                found += [
                    _check_leftover(layout, session_id, item, repair=repair, now=now)
                    for item in leftovers.find(directory, place, session_id)
                ]
        found += check_modes(modes, session_id, repair=repair)
    finally:
        if checkpoints is not None:
            checkpoints.close()
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


def mended(finding: Finding, mend: Callable[[], str]) -> Finding:
    """Return the finding with what ``mend`` did, or with why it failed."""
    try:
        return replace(finding, repair=mend(), is_repaired=True)
    except (OSError, SessionStoreError) as error:
        return replace(finding, repair=f"not repaired: {error}")
