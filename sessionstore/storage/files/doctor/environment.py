"""Diagnose whether a directory is fit for a store: modes, file system, space, clock, limits."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from sessionstore import clock
from sessionstore.durable import mounts
from sessionstore.durable.directory import Directory
from sessionstore.errors import StorageError
from sessionstore.storage.files import state_file, store_marker
from sessionstore.storage.files.doctor import permissions, trials
from sessionstore.storage.files.layout import STATE, Layout
from sessionstore.storage.report import Diagnosis, Fitness
from sessionstore.text import printable

OK, WARN, FAIL = Fitness.OK, Fitness.WARN, Fitness.FAIL

_VOLATILE = {
    "tmpfs": "it is in memory, and gone after a reboot: choose a disk for what must survive one",
    "ramfs": "it is in memory, and gone after a reboot: choose a disk for what must survive one",
    "overlay": "if it is the layer of a container it goes with the container: mount a volume",
}
_UNFIT = {
    "fuse.gocryptfs": "it mixes up files that are replaced while somebody looks at them: a reader"
    " may get half a state, and a save a RevisionConflict",
}
_LOW_SPACE, _NO_SPACE = 1 << 30, 64 << 20
_LOW_INODES, _NO_INODES = 10_000, 100
_LOW_SHARE = 0.05
_LOW_DESCRIPTORS = 256
_GOOD_DESCRIPTORS = 1024
_LOOKED_AT = 10_000
"""How many sessions have their times compared with the clock."""
_READ = 20
_SKEW = timedelta(minutes=1)
_NEVER_SET = 2025
"""A clock before this year was never set: this software is younger."""


def diagnose(
    root: str, now: clock.Clock = clock.utc_now, *, two_flushes: str = ""
) -> Sequence[Diagnosis]:
    """Return the result of each test in ``root``; leave nothing there.

    ``two_flushes`` says why a save takes two of them, as for a Directory.
    """
    layout = Layout(root)
    found = [_directory(layout)]
    if found[0].fitness is FAIL:
        return tuple(found)
    found += [_guarded("permissions", permissions.diagnose, layout), _links(layout)]
    found += [_format(layout)]
    found += [_guarded("file system", _file_system, layout)]
    found += [_guarded("durable save", lambda where: _flushes(where, two_flushes), layout)]
    found += trials.run(layout.root, now)
    found += [
        _guarded("free space", _space, layout),
        _guarded("inodes", _inodes, layout),
        _guarded("clock", lambda where: _clock(where, now()), layout),
        _descriptors(),
    ]
    return tuple(found)


def _guarded(check: str, test: Callable[[Layout], Diagnosis], layout: Layout) -> Diagnosis:
    try:
        return test(layout)
    except OSError as error:
        return Diagnosis(check, WARN, f"it could not be read: {error.strerror or error}")


def _directory(layout: Layout) -> Diagnosis:
    name = printable(layout.root, limit=400)
    check = "directory"
    try:
        if not stat.S_ISDIR(os.stat(layout.root).st_mode):
            return Diagnosis(check, FAIL, f"{name} is not a directory", "choose another root")
        os.listdir(layout.root)
    except FileNotFoundError:
        return Diagnosis(
            check, FAIL, f"there is no {name}", "make it: mkdir -m 700, or check the path"
        )
    except OSError as error:
        return Diagnosis(
            check,
            FAIL,
            f"{name} cannot be read: {error.strerror or error}",
            "check who owns it, and its mode (0700)",
        )
    return Diagnosis(check, OK, name)


def _links(layout: Layout) -> Diagnosis:
    for path in (*layout.directories, layout.quarantine):
        if os.path.islink(path):
            return Diagnosis(
                "links",
                FAIL,
                f"{printable(path, limit=400)} is a symbolic link: links inside a store are not"
                " followed",
                "make the root itself the link, or bind-mount the other directory there",
            )
    return Diagnosis("links", OK, "no directory of the store is a symbolic link")


def _format(layout: Layout) -> Diagnosis:
    check = "format"
    try:
        marker = store_marker.read_marker(layout)
    except StorageError as error:
        return Diagnosis(check, FAIL, printable(error, limit=1000))
    if marker is not None:
        text = f"a store of format {marker['format']}"
        if marker.get("foreign_writers"):
            text += ", which other software writes to as well: checkpoints are copies"
        return Diagnosis(check, OK, text)
    if store_marker.holds_foreign_sessions(layout):
        return Diagnosis(
            check,
            OK,
            "sessions of other software, without sessionstore.json: checkpoints are copies",
        )
    return Diagnosis(check, OK, "no store yet: the first session makes one")


def _file_system(layout: Layout) -> Diagnosis:
    local, kind = mounts.is_local(layout.root)
    name = printable(kind, limit=40)
    if kind in _UNFIT:
        advice = "choose another root: encfs, or a file system on an encrypted disk"
        return Diagnosis("file system", FAIL, f"unfit: {name}: {_UNFIT[kind]}", advice)
    if kind in _VOLATILE:
        return Diagnosis("file system", WARN, name, _VOLATILE[kind])
    if local:
        return Diagnosis("file system", OK, f"{name}, which is local")
    return Diagnosis(
        "file system",
        WARN,
        f"{name}, which is not known to be local: locks may not be seen by other hosts",
        "use the store from one host only, or choose a local disk",
    )


def _flushes(layout: Layout, two_flushes: str) -> Diagnosis:
    with Directory(layout.root, two_flushes=two_flushes) as root:
        order = root.commit_order
    if order.advice:
        lost = f"{order}: a loss of power may take what was flushed"
        return Diagnosis("durable save", WARN, lost, order.advice)
    return Diagnosis("durable save", OK, str(order))


def _space(layout: Layout) -> Diagnosis:
    usage = shutil.disk_usage(layout.root)
    share = usage.free / usage.total if usage.total else 1.0
    text = f"{usage.free / (1 << 30):,.1f} GiB free, {share:.0%}"
    if usage.free < _NO_SPACE:
        return Diagnosis("free space", FAIL, text, "free some space before you go on")
    if usage.free < _LOW_SPACE or share < _LOW_SHARE:
        return Diagnosis("free space", WARN, text, "free some space: `sessionstore prune` tells")
    return Diagnosis("free space", OK, text)


def _inodes(layout: Layout) -> Diagnosis:
    if not hasattr(os, "statvfs"):
        return Diagnosis("inodes", OK, "not counted on this system")
    status = os.statvfs(layout.root)
    if status.f_files == 0:  # btrfs and others make them as they need them
        return Diagnosis("inodes", OK, "not limited")
    free = status.f_favail
    text = f"{free:,} free, {free / status.f_files:.0%}; a session takes four and more"
    if free < _NO_INODES:
        return Diagnosis("inodes", FAIL, text, "remove some files before you go on")
    if free < _LOW_INODES or free < status.f_files * _LOW_SHARE:
        return Diagnosis("inodes", WARN, text, "remove some files: `sessionstore prune` tells")
    return Diagnosis("inodes", OK, text)


def _clock(layout: Layout, now: datetime) -> Diagnosis:
    shown = clock.to_text(now)
    if now.year < _NEVER_SET:
        return Diagnosis("clock", WARN, f"it says {shown}: it was never set", "set the clock")
    newest = max(_times(layout), default=None)
    if newest is not None and newest > now + _SKEW:
        return Diagnosis(
            "clock",
            WARN,
            f"it says {shown}, and the newest session is of {clock.to_text(newest)}",
            "set the clock (here, or where that was written): ages are wrong, revisions are not",
        )
    return Diagnosis("clock", OK, shown)


def _times(layout: Layout) -> Iterator[datetime]:
    """Yield the times of sessions: of the last changed ones also those in their states."""
    changed: list[tuple[float, str]] = []
    try:
        with os.scandir(layout.sessions) as entries:
            for _, entry in zip(range(_LOOKED_AT), entries, strict=False):
                try:
                    seconds = entry.stat(follow_symlinks=False).st_mtime
                except FileNotFoundError:
                    continue
                changed.append((seconds, entry.name))
    except FileNotFoundError:
        return
    changed.sort(reverse=True)
    for seconds, name in changed[:_READ]:
        try:
            yield datetime.fromtimestamp(seconds, UTC)
        except (OverflowError, ValueError, OSError):
            continue
        moment = _updated_at(layout, name)
        if moment is not None:
            yield moment


def _updated_at(layout: Layout, session_id: str) -> datetime | None:
    from pydantic_core import from_json

    try:
        with Directory(layout.session(session_id)) as directory:
            state = from_json(state_file.read(directory, STATE, session_id)[0])
        return clock.parse(state["timestamps"]["updated_at"])
    except (OSError, ValueError, KeyError, TypeError):  # damage is not what is looked for here
        return None


def _more_descriptors(soft: int, hard: int, unlimited: int) -> str:
    """Return what to type: without privileges no more than the hard limit."""
    if hard == unlimited or hard >= _GOOD_DESCRIPTORS:
        return f"raise it: ulimit -n {_GOOD_DESCRIPTORS}"
    root = f"root can raise that, in limits.conf or as LimitNOFILE={_GOOD_DESCRIPTORS} of a unit"
    if hard > soft:
        return f"raise it: ulimit -n {hard}, which is the hard limit; {root}"
    return f"the hard limit is {hard:,}: ulimit -n cannot go above it; {root}"


def _descriptors() -> Diagnosis:
    try:
        import resource
    except ImportError:
        return Diagnosis("descriptors", OK, "not limited on this system")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return Diagnosis("descriptors", OK, "not limited")
    text = f"{soft:,} at once; each session that a process holds takes one"
    if soft < _LOW_DESCRIPTORS:
        return Diagnosis(
            "descriptors", WARN, text, _more_descriptors(soft, hard, resource.RLIM_INFINITY)
        )
    return Diagnosis("descriptors", OK, text)
