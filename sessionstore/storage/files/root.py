"""The root of a store: who may write to it, and what to do for those who may not."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from sessionstore.durable import access, mounts
from sessionstore.durable.access import is_shared
from sessionstore.durable.directory import Directory
from sessionstore.errors import StorageError
from sessionstore.log import about, logger
from sessionstore.storage.files.layout import STATE, Layout

_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def check_root(layout: Layout, *, warns: bool) -> None:
    """Refuse a store that everybody can write to; warn if its group can. No check on Windows.

    Everybody who can write to a directory can add forged states, locks and links. A sticky
    directory such as /tmp is refused, too: the bit stops others from removing, not from adding.
    A root that was made for a group (2770) gives no warning. Where chmod has no effect the mount
    decides who may write: that is a warning.

    Raises:
        StorageError: everybody can write to the root, or to a directory of the store in it; or a
            sticky bit keeps its group from replacing files.
    """
    if os.name != "posix":
        return
    for_group = False
    for path in (layout.root, *layout.directories):
        try:
            mode = stat.S_IMODE(os.stat(path).st_mode)
        except OSError:  # not there yet; otherwise opening it fails with the reason
            continue
        if path == layout.root:
            for_group = is_shared(mode)
        if not mode & _OTHERS_MAY_WRITE:
            continue
        if mode & stat.S_IWOTH or not for_group:
            if not access.keeps_modes(path):
                if warns:
                    _warn_of_mount(path, mode)
                return
            _judge(path, mode, warns=warns)
        elif mode & stat.S_ISVTX:
            raise StorageError(
                "use the store",
                path,
                f"its sticky bit (mode {mode:04o}) keeps its group from replacing the files of"
                " each other: chmod -t",
            )


def _judge(path: str, mode: int, *, warns: bool) -> None:
    if mode & stat.S_IWOTH:
        raise StorageError(
            "use the store",
            path,
            f"everybody can write to it (mode {mode:04o}): `chmod o-w` it after a look at"
            " what is there, or choose a directory of your own",
        )
    if warns:
        logger.warning(
            "%s: its group can write to it (mode %04o) and so forge sessions: chmod g-w it, or make"
            " it a store for the group: chmod 2770",
            path,
            mode,
            extra=about("group_can_write", path=path),
        )


def _warn_of_mount(path: str, mode: int) -> None:
    logger.warning(
        "%s: others can write to it (mode %04o), and chmod has no effect on this file system (%s)."
        " Its mount decides who may write: mount it with umask=077 or dmask=077",
        path,
        mode,
        mounts.kind_of(path),
        extra=about("modes_have_no_effect", path=path),
    )


def follow(root: Directory, name: str) -> None:
    """Share the directory ``name`` of a store, or make it private, if the root became so."""
    status = root.status(name)
    if is_shared(status.st_mode) != root.access.is_shared and stat.S_ISDIR(status.st_mode):
        with suppress(OSError):  # another user owns it: a check of the store says so
            root.settle(name)


def follow_session(layout: Layout, session_id: str, mode: int) -> None:
    """Do the same for the directory of a session, whose mode is ``mode``."""
    with suppress(OSError), Directory(layout.sessions) as sessions:
        if is_shared(mode) != sessions.access.is_shared:
            sessions.settle(session_id)
            with Directory(session_id, sessions) as directory:
                directory.settle("checkpoints")


# --- refusals -----------------------------------------------------------------------------------


def refused(action: str, layout: Layout, error: OSError) -> StorageError:
    """Return the error for an ``action`` on the store that the system refused.

    Where another user owns the store it says so, and what a store for several users needs.
    """
    reason: str | None = None
    if error.errno in (errno.EACCES, errno.EPERM) and os.name == "posix":
        with suppress(OSError):  # the directory above is closed, too
            reason = _why(layout, os.stat(layout.root))
    return StorageError(action, layout.root, error, reason)


def closed(action: str, path: str, error: OSError) -> StorageError:
    """Return the error for an ``action`` on a file or directory inside a store.

    Where another user owns it, or owns what is in it, it says so, and what to do.
    """
    if error.errno in (errno.EACCES, errno.EPERM) and os.name == "posix" and os.geteuid() != 0:
        for name in (path, os.path.join(path, STATE), os.path.join(path, "checkpoints")):
            with suppress(OSError):
                uid = os.lstat(name).st_uid
                above = os.lstat(os.path.dirname(name))
                if uid == os.geteuid():
                    continue
                whose = f"{os.path.basename(name)} belongs to {user_name(uid)}"
                cure = f"run `sessionstore fsck --repair` as {user_name(uid)}, or as root"
                if above.st_uid == os.geteuid() and not is_shared(above.st_mode):
                    cure = (
                        "as root, run `sessionstore fsck --repair`, or"
                        f" `chown -R {user_name(above.st_uid)}` on the root of the store"
                    )
                return StorageError(action, path, error, f"{whose}: {cure}")
    return StorageError(action, path, error)


def _why(layout: Layout, status: os.stat_result) -> str | None:
    """Return why this user may not use a store whose root has this status, if that is known."""
    mode, name = stat.S_IMODE(status.st_mode), user_name(status.st_uid)
    if os.geteuid() == status.st_uid:
        strangers = [
            path
            for path in (layout.marker, *layout.directories)
            if os.path.lexists(path) and os.lstat(path).st_uid != status.st_uid
        ]
        if not strangers:
            return None
        owner = user_name(os.lstat(strangers[0]).st_uid)
        return (
            f"{os.path.basename(strangers[0])} belongs to {owner}, the store to {name}: as root,"
            f" `chown -R {name} {layout.root}`, or `sessionstore fsck --repair`"
        )
    if os.geteuid() == 0:
        return None
    if not is_shared(mode):
        return (
            f"this store is private to user {name} (mode {mode:04o}): run this as that user; a"
            " store that a group shares is a directory of mode 2770, made before the first session"
        )
    if status.st_gid not in (os.getegid(), *os.getgroups()):
        return f"the group {group_name(status.st_gid)} shares this store: become a member of it"
    return (
        f"the group {group_name(status.st_gid)} shares this store, but something in it is closed to"
        f" the group: run `sessionstore fsck --repair` as {name}"
    )


def user_name(uid: int) -> str:
    """Return the name of a user, or its number where it has none."""
    try:
        import pwd

        return pwd.getpwuid(uid).pw_name
    except (ImportError, KeyError):
        return str(uid)


def group_name(gid: int) -> str:
    """Return the name of a group, or its number where it has none."""
    try:
        import grp

        return grp.getgrgid(gid).gr_name
    except (ImportError, KeyError):
        return str(gid)
