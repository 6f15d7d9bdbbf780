"""Check and repair who may use the files of a store: their owners and modes.

The root of the store says what is right: its owner's alone, or its group's, too.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from dataclasses import replace

from sessionstore.durable.access import Access, is_shared, keeps_modes
from sessionstore.durable.directory import Directory
from sessionstore.storage.files.layout import Layout
from sessionstore.storage.files.root import user_name
from sessionstore.storage.report import Finding, FindingKind

Places = list[tuple[Directory, list[str]]]
"""Directories, each with the names in it to look at."""

_Entry = tuple[Directory, str, os.stat_result]


class Rule:
    """Who owns the files of a store, and their modes, as its root says."""

    def __init__(self, layout: Layout) -> None:
        self.root: os.stat_result = os.stat(layout.root)
        self.is_shared: bool = is_shared(self.root.st_mode)
        self.access: Access = Access(self.is_shared)

    def is_broken(self, status: os.stat_result) -> bool:
        """Return whether a file or directory has another owner or mode than it should."""
        return self.has_wrong_owner(status) or self.access.wrong_mode(status) is not None

    def has_wrong_owner(self, status: os.stat_result) -> bool:
        """Return whether the users of the store may be kept out: in a shared one by the group."""
        if os.name != "posix" or stat.S_ISLNK(status.st_mode):
            return False
        if self.is_shared:
            return status.st_gid != self.root.st_gid
        return status.st_uid != self.root.st_uid

    def heir(self, status: os.stat_result) -> tuple[int, int]:
        """Return the owner to whom root gives a file that has a wrong one."""
        keeps_user = self.is_shared and status.st_uid != 0
        return (status.st_uid if keeps_user else self.root.st_uid), self.root.st_gid


def check_access(
    layout: Layout, places: Places, session_id: str | None, *, repair: bool
) -> list[Finding]:
    """Return at most one finding about owners in ``places``, and one about modes."""
    rule = Rule(layout)
    entries = _entries(places)
    owners = _check_owners(rule, entries, session_id, layout.root, repair=repair)
    if owners and repair:
        entries = _entries(places)  # they were changed
    return [*owners, *_check_modes(rule, entries, session_id, repair=repair)]


def _entries(places: Places) -> list[_Entry]:
    found = []
    for directory, names in places:
        for name in names:
            try:
                found.append((directory, name, directory.status(name)))
            except FileNotFoundError:
                continue
    return found


def _path(directory: Directory, name: str) -> str:
    return os.path.normpath(os.path.join(directory.path, name))


# --- owners -------------------------------------------------------------------------------------


def _check_owners(
    rule: Rule, entries: list[_Entry], session_id: str | None, root: str, *, repair: bool
) -> list[Finding]:
    wrong = [entry for entry in entries if rule.has_wrong_owner(entry[2])]
    if not wrong:
        return []
    directory, name, status = wrong[0]
    owner = user_name(rule.root.st_uid)
    belongs = f"belongs to {user_name(status.st_uid)}, the store to {owner}"
    if rule.is_shared:
        belongs = f"belongs to the group {status.st_gid}, the store to {rule.root.st_gid}"
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    whose = f":{rule.root.st_gid}" if rule.is_shared else owner
    by_hand = f"as root, `chown -R {whose} {root}`, or `sessionstore fsck --repair`"
    finding = Finding(
        FindingKind.WRONG_OWNER,
        session_id,
        _path(directory, name),
        f"it {belongs}{more}",
        by_hand,
        # The owner of the store cannot read it. Root can read everything.
        is_damage=rule.root.st_uid != 0 or rule.is_shared,
    )
    if not repair:
        return [finding]
    if os.geteuid() != 0:
        return [replace(finding, repair=f"not repaired: only root can: {by_hand}")]
    names = Counter(status.st_ino for _, _, status in wrong)
    try:
        for directory, name, status in wrong:
            _give(rule, directory, name, names[status.st_ino])
    except OSError as error:
        path = _path(directory, name)
        return [replace(finding, repair=f"not repaired: {path}: {error.strerror or error}")]
    return [replace(finding, repair="given to the owner of the store", is_repaired=True)]


def _give(rule: Rule, directory: Directory, name: str, names: int) -> None:
    """Give ``name``, of whose file ``names`` names were found in the store, to its owner."""
    fd = directory.open(name, os.O_RDONLY)
    try:
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode) and status.st_nlink > names:
            # Whoever owns the store could have linked a file of root's into it.
            raise PermissionError(errno.EPERM, "it has another name elsewhere: look at it first")
        os.fchown(fd, *rule.heir(status))
    finally:
        os.close(fd)


# --- modes --------------------------------------------------------------------------------------


def _check_modes(
    rule: Rule, entries: list[_Entry], session_id: str | None, *, repair: bool
) -> list[Finding]:
    wrong = [entry for entry in entries if rule.access.wrong_mode(entry[2]) is not None]
    if not wrong or not keeps_modes(wrong[0][0].path):  # then the mount decides: doctor says so
        return []
    directory, name, status = wrong[0]
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    right = "directories should have 0700, files 0600"
    if rule.is_shared:
        right = "a group shares this store: directories should have 2770, files 0660"
    finding = Finding(
        FindingKind.WRONG_MODE,
        session_id,
        _path(directory, name),
        f"its mode is {stat.S_IMODE(status.st_mode):04o}{more}; {right}",
        "their modes would be set",
    )
    if not repair:
        return [finding]
    troubles: list[str] = []
    for directory, name, _ in wrong:
        try:
            _set_mode(rule, directory, name)
        except FileNotFoundError:
            continue
        except OSError as error:
            troubles.append(f"{_path(directory, name)}: {error.strerror or error}")
    if troubles:
        return [replace(finding, repair=f"not repaired: {troubles[0]}")]
    return [replace(finding, repair="their modes were set", is_repaired=True)]


def _set_mode(rule: Rule, directory: Directory, name: str) -> None:
    """Set the mode of ``name``; follow no link."""
    fd = directory.open(name, os.O_RDONLY)
    try:
        status = os.fstat(fd)
        if os.geteuid() not in (0, status.st_uid):
            raise PermissionError(
                errno.EPERM, f"only {user_name(status.st_uid)}, who owns it, can repair it"
            )
        rule.access.apply(fd)
    finally:
        os.close(fd)
