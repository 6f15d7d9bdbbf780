"""Diagnose who may use a store: its owner alone, or a group that it was made for."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

from sessionstore.durable import access, mounts
from sessionstore.storage.files.layout import STATE, Layout
from sessionstore.storage.files.root import group_name, user_name
from sessionstore.storage.report import Diagnosis, Fitness
from sessionstore.text import printable

OK, WARN, FAIL = Fitness.OK, Fitness.WARN, Fitness.FAIL

_CHECK = "permissions"
_LOOKED_AT = 1_000
"""How many sessions have their owners looked at."""


def diagnose(layout: Layout) -> Diagnosis:
    """Return who may write to the store, and what stands in the way of its users."""
    if os.name != "posix":
        return Diagnosis(_CHECK, OK, "not looked at on this system")
    root = os.stat(layout.root)
    for_group = access.is_shared(root.st_mode)
    for path in (layout.root, *layout.directories):
        with suppress(FileNotFoundError):
            found = _others_who_write(path, for_group=for_group)
            if found is not None:
                return found
    if root.st_uid not in (os.geteuid(), 0) and not for_group:
        owner = user_name(root.st_uid)
        return Diagnosis(
            _CHECK,
            WARN,
            f"{printable(layout.root, limit=400)} belongs to {owner}, who can change what is in it",
            "run as that user, or choose a directory of your own",
        )
    if stranger := _stranger(layout, root, for_group=for_group):
        return stranger
    if for_group:
        return Diagnosis(_CHECK, OK, f"a store for the group {group_name(root.st_gid)}")
    return Diagnosis(_CHECK, OK, "nobody else can write here")


def _others_who_write(path: str, *, for_group: bool) -> Diagnosis | None:
    mode, name = stat.S_IMODE(os.stat(path).st_mode), printable(path, limit=400)
    if for_group and mode & stat.S_ISVTX and mode & stat.S_IWGRP:
        text = f"the sticky bit of {name} (mode {mode:04o}) keeps its group from replacing files"
        return Diagnosis(_CHECK, FAIL, text, "chmod -t")
    is_open = mode & stat.S_IWOTH or (mode & stat.S_IWGRP and not for_group)
    if is_open and not access.keeps_modes(path):
        return Diagnosis(
            _CHECK,
            WARN,
            f"others can write to {name} (mode {mode:04o}), and chmod has no effect on this file"
            f" system ({mounts.kind_of(path)}): its mount decides who may write",
            "mount it with umask=077 or dmask=077, or choose another root",
        )
    if mode & stat.S_IWOTH:
        return Diagnosis(
            _CHECK,
            FAIL,
            f"everybody can write to {name} (mode {mode:04o}): a store there is refused",
            "look at what is there, then chmod o-w; or choose a directory of your own",
        )
    if is_open:
        return Diagnosis(
            _CHECK,
            WARN,
            f"the group can write to {name} (mode {mode:04o}), and so forge sessions",
            "chmod g-w; or chmod 2770 for a store that the group shares",
        )
    return None


def _stranger(layout: Layout, root: os.stat_result, *, for_group: bool) -> Diagnosis | None:
    """Return a diagnosis if something belongs to somebody else than the store does."""
    for path in _paths(layout):
        with suppress(OSError):
            status = os.lstat(path)
            name = printable(os.path.relpath(path, layout.root), limit=400)
            if for_group and status.st_gid != root.st_gid:
                whose, owner = f"the group {group_name(status.st_gid)}", group_name(root.st_gid)
                cure = f"chown -R :{owner}"
            elif not for_group and status.st_uid != root.st_uid:
                whose, owner = user_name(status.st_uid), user_name(root.st_uid)
                cure = f"chown -R {owner}"
            else:
                continue
            return Diagnosis(
                _CHECK,
                FAIL if root.st_uid or for_group else WARN,
                f"{name} belongs to {whose}, the store to {owner}",
                f"as root: {cure} {printable(layout.root, limit=400)}, or sessionstore fsck"
                " --repair",
            )
    return None


def _paths(layout: Layout) -> Iterator[str]:
    yield from (layout.marker, *layout.directories)
    with suppress(OSError), os.scandir(layout.sessions) as entries:
        for entry in islice(entries, _LOOKED_AT):
            yield entry.path
            yield os.path.join(entry.path, STATE)
            yield layout.lock(entry.name)
