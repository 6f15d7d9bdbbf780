"""Find what is left over in a session's directory, and which modes are wrong.

Only names that this package itself gives are touched: the application's own files never are.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

from sessionstore.clock import Clock
from sessionstore.durable import replace as durable
from sessionstore.durable.directory import Directory
from sessionstore.errors import SessionCorrupt, SessionStoreError
from sessionstore.model import codec
from sessionstore.model.state import SessionState
from sessionstore.storage.files import state_file
from sessionstore.storage.files.layout import STATE, Layout
from sessionstore.storage.files.repair.quarantine import quarantine
from sessionstore.storage.report import Finding, FindingKind

TEMPORARY: re.Pattern[str] = re.compile(
    re.escape(durable.TEMPORARY_PREFIX) + r"[0-9a-f]{16}", re.ASCII
)
"""The names of files that are being written."""


# --- modes --------------------------------------------------------------------------------------


def wrong_mode(status: os.stat_result) -> int | None:
    """Return the mode that a file or directory of a store should have, if it has another one."""
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
    """Give ``name``, which is ours alone to begin with, the mode ``right``; follows no link."""
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
    """Return one finding on all of ``places`` whose modes are wrong, if there are any."""
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
    layout: Layout,
    session_id: str,
    directory: Directory,
    *,
    repair: bool,
    in_use: bool,
    now: Clock,
) -> list[Finding]:
    """Return what was left over in a session's directory, and which modes are wrong.

    ``in_use`` says that a live process holds it, whose temporary files are none of ours.
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
            for place in (directory, checkpoints):
                if place is not None:
                    found += _check_leftovers(
                        layout, session_id, directory, place, repair=repair, now=now
                    )
        found += check_modes(modes, session_id, repair=repair)
    finally:
        if checkpoints is not None:
            checkpoints.close()
    return found


def _check_leftovers(
    layout: Layout,
    session_id: str,
    directory: Directory,
    place: Directory,
    *,
    repair: bool,
    now: Clock,
) -> Iterator[Finding]:
    for name in sorted(place.names()):
        if not TEMPORARY.fullmatch(name):
            continue
        file = os.path.join(place.path, name)
        try:
            holds = _worth_keeping(directory, place, name, session_id)
        except FileNotFoundError:
            continue
        except OSError as error:
            holds = f"it cannot be read ({error.strerror})"

        def mend(name: str = name, holds: str | None = holds) -> str:
            if holds is None:
                place.unlink(name)
                return "removed"
            reason = f"left over from an interrupted write; {holds}"
            where = quarantine(
                layout,
                place,
                name,
                called="leftover",
                session_id=session_id,
                reason=reason,
                now=now,
            )
            return f"put into {where}"

        detail = "left over from an interrupted write"
        would = "it would be put into quarantine" if holds else "it would be removed"
        finding = Finding(
            FindingKind.LEFTOVER,
            session_id,
            file,
            f"{detail}; {holds}" if holds else detail,
            would,
        )
        yield mended(finding, mend) if repair else finding


def _worth_keeping(
    directory: Directory, place: Directory, name: str, session_id: str
) -> str | None:
    """Return why a temporary file may hold data that is nowhere else, or None if it cannot."""
    try:
        payload, _ = state_file.read(place, name, session_id)
    except SessionCorrupt:
        return "it is no regular file"
    try:
        left = codec.decode(payload, SessionState, session_id, name)
    except SessionCorrupt:
        return None  # torn: the write never came to its end
    try:
        stored, _ = state_file.read(directory, STATE, session_id)
        current = codec.decode(stored, SessionState, session_id, STATE)
    except (SessionCorrupt, OSError):
        return f"it holds a whole state of revision {left.revision}, and state.json is damaged"
    if payload == stored:
        return None
    if left.incarnation is None or left.incarnation != current.incarnation:
        return f"it holds another state, of revision {left.revision}"
    if left.revision >= current.revision:
        return f"it holds a state of revision {left.revision}; stored is {current.revision}"
    return None  # superseded by the stored state


def mended(finding: Finding, mend: Callable[[], str]) -> Finding:
    """Return the finding with what ``mend`` says it did, or with why it failed."""
    try:
        return replace(finding, repair=mend(), is_repaired=True)
    except (OSError, SessionStoreError) as error:
        return replace(finding, repair=f"not repaired: {error}")
