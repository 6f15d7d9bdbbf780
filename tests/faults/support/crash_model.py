"""What POSIX lets a power cut leave of a directory tree, computed from recorded system calls.

The model is harsher than any one file system: a name operation is durable once its directory was
flushed and not before, and what was not flushed may have happened or not, in any combination.
A rename or an exchange within one directory is atomic; one between two directories is two
operations. Bytes are durable once their file was flushed; until then a file may be empty, too
short, full of zeros, or have one half of what was written. Where bytes were written at an offset,
any sectors of 512 bytes may be lost.

What only the store's own cleaning looks at (temporary names, lock files, trash) varies along with
the rest instead of being multiplied with it, unless everything is asked for.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count, product
from math import prod
from pathlib import Path

from tests.faults.support.crash_calls import Call

_HARMLESS = frozenset({"close", "lseek", "open", "openat"})


# --- what there is ------------------------------------------------------------------------------

_numbers = count()


@dataclass(eq=False)
class File:
    """An inode with bytes, of which those in ``pending`` were not flushed."""

    durable: bytes = b""
    now: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)  # None: truncate
    in_place: bool = False
    """Whether bytes are written at offsets: then each sector survives or is lost by itself."""
    number: int = field(default_factory=_numbers.__next__)

    def write(self, offset: int, data: bytes) -> None:
        self.pending.append((offset, data))
        self.now = _written(self.now, offset, data)

    def truncate(self, size: int) -> None:
        self.pending.append((size, None))
        self.now = _written(self.now, size, None)

    def flush(self) -> None:
        self.durable, self.pending = self.now, []

    def options(self) -> list[bytes]:
        """Return every content that a power cut may leave."""
        if self.in_place:
            return in_place_options(self.durable, self.pending)
        found = [self.durable]
        for offset, data in self.pending:
            before = found[-1]
            if data is not None and len(data) > 1:
                half = len(data) // 2
                found += [
                    _written(before, offset, data[:half]),
                    _written(before, offset + half, data[half:]),  # the first half: as it was
                    _written(before, offset, bytes(len(data))),
                ]
            found.append(_written(before, offset, data))
        return list(dict.fromkeys(found))


def _written(content: bytes, offset: int, data: bytes | None) -> bytes:
    if data is None:
        return content[:offset].ljust(offset, b"\0")
    return content[:offset].ljust(offset, b"\0") + data + content[offset + len(data) :]


SECTOR = 512
_SAMPLE = 64  # of the ways in which sectors may survive, where there are more


def in_place_options(durable: bytes, pending: list[tuple[int, bytes | None]]) -> list[bytes]:
    """Return what may be left of a file: any size that it had, in each sector any content of it.

    A sector that was never written holds zeros.
    """
    steps = [durable]
    for offset, data in pending:
        steps.append(_written(steps[-1], offset, data))
    sizes = list(dict.fromkeys(map(len, steps)))
    longest = max(sizes)
    contents = [
        list(dict.fromkeys(step[at : at + SECTOR].ljust(SECTOR, b"\0") for step in steps))
        for at in range(0, longest, SECTOR)
    ]
    ways = prod(map(len, contents))
    chosen: Iterable[tuple[bytes, ...]] = product(*contents)
    if ways > _SAMPLE:
        chance = random.Random(ways)
        chosen = [tuple(map(chance.choice, contents)) for _ in range(_SAMPLE)]
        chosen += [tuple(one[0] for one in contents), tuple(one[-1] for one in contents)]
    found = [b"".join(sectors)[:size] for sectors in chosen for size in sizes]
    return list(dict.fromkeys([durable, *found, steps[-1]]))


Names = dict[str, "File | Folder | None"]


@dataclass(eq=False)
class Folder:
    """A directory: names that are durable, and operations on names that may not be."""

    durable: Names = field(default_factory=dict)
    now: Names = field(default_factory=dict)
    pending: list[Names] = field(default_factory=list)
    number: int = field(default_factory=_numbers.__next__)

    def set(self, changes: Names) -> None:
        """Change names at once; None removes one."""
        self.pending.append(changes)
        self.now = _changed(self.now, changes)

    def flush(self) -> None:
        self.durable, self.pending = dict(self.now), []

    def options(self, is_aside: Callable[[str], bool]) -> list[list[Names]]:
        """Return what a power cut may leave, in groups that differ only in names aside."""
        groups = {self._key(self.durable, is_aside): {self._key(self.durable): self.durable}}
        for changes in self.pending:
            for group in [list(group.values()) for group in groups.values()]:
                for names in group:
                    changed = _changed(names, changes)
                    group_of = groups.setdefault(self._key(changed, is_aside), {})
                    if len(group_of) < _GROUP_LIMIT:
                        group_of.setdefault(self._key(changed), changed)
        return [list(group.values()) for group in groups.values()]

    @staticmethod
    def _key(
        names: Names, without: Callable[[str], bool] = lambda _: False
    ) -> frozenset[tuple[str, int]]:
        return frozenset(
            (name, inode.number) for name, inode in names.items() if inode and not without(name)
        )


_GROUP_LIMIT = 64  # ways in which names aside may differ; each temporary name would triple them


def _changed(names: Names, changes: Names) -> Names:
    merged = {**names, **changes}
    return {name: inode for name, inode in merged.items() if inode is not None}


# --- replaying calls ----------------------------------------------------------------------------


class Disk:
    """The tree below ``root``, with what of it is durable."""

    def __init__(self, root: Path) -> None:
        """Begin with an empty directory that is durable itself."""
        self._prefix = os.fspath(root)
        self.root = Folder()
        self._open: dict[int, File | Folder] = {}
        self._offsets: dict[int, int] = {}
        self._turn = 0

    def replay(self, call: Call) -> bool:
        """Do what the call did; return whether what a power cut may leave has changed."""
        method = getattr(self, f"_do_{call.name}", None)
        if method is None:
            touched = any(
                (isinstance(argument, int) and argument in self._open)
                or (isinstance(argument, bytes) and argument.startswith(self._prefix.encode()))
                for argument in call.arguments
            )
            if touched or call.name in ("sync", "syncfs"):
                raise NotImplementedError(f"the model does not know {call}")
            return False
        changed = method(call.result, *call.arguments)
        return call.name not in _HARMLESS or bool(changed)

    def _find(self, at: object, name: object) -> tuple[Folder, str] | None:
        """Return the directory and the name in it; None if that lies elsewhere."""
        assert isinstance(at, int)
        assert isinstance(name, bytes)
        path = os.fsdecode(name)
        if os.path.isabs(path):
            if path != self._prefix and not path.startswith(self._prefix + os.sep):
                return None
            folder, rest = self.root, os.path.relpath(path, self._prefix)
        else:
            start = self._open.get(at)
            if start is None:
                return None
            assert isinstance(start, Folder)
            folder, rest = start, path
        *parents, last = rest.split(os.sep)
        for parent in parents:
            inside = folder.now[parent]
            assert isinstance(inside, Folder)
            folder = inside
        return folder, last

    def _do_openat(self, fd: int, at: int, name: bytes, flags: str, *_: object) -> bool:
        self._open.pop(fd, None)
        place = self._find(at, name)
        if place is None:
            return False
        folder, last = place
        if last == ".":
            self._open[fd] = folder
            return False
        inode = folder.now.get(last)
        changed = False
        if inode is None:
            assert "O_CREAT" in flags, (name, flags)
            inode = File()
            folder.set({last: inode})
            changed = True
        if "O_TRUNC" in flags and isinstance(inode, File) and inode.now:
            inode.truncate(0)
            changed = True
        self._open[fd] = inode
        self._offsets[fd] = 0
        assert "O_APPEND" not in flags
        return changed

    def _do_open(self, fd: int, name: bytes, flags: str, *_: object) -> bool:
        return self._do_openat(fd, -1, name, flags)

    def _do_close(self, _: int, fd: int) -> None:
        self._open.pop(fd, None)

    def _do_lseek(self, result: int, fd: int, *_: object) -> None:
        self._offsets[fd] = result

    def _do_write(self, result: int, fd: int, data: bytes, *_: object) -> None:
        file = self._open.get(fd)
        if file is None:
            return
        assert isinstance(file, File)
        assert len(data) >= result, "strace has to record all bytes (-s)"
        file.write(self._offsets[fd], data[:result])
        self._offsets[fd] += result

    def _do_pwrite64(self, result: int, fd: int, data: bytes, _: int, offset: int) -> None:
        if isinstance(file := self._open.get(fd), File):
            assert len(data) >= result, "strace has to record all bytes (-s)"
            file.in_place = True
            file.write(offset, data[:result])

    def _do_ftruncate(self, _: int, fd: int, size: int) -> None:
        file = self._open.get(fd)
        if isinstance(file, File) and len(file.now) != size:
            file.truncate(size)

    def _do_fsync(self, _: int, fd: int) -> None:
        if inode := self._open.get(fd):
            inode.flush()

    _do_fdatasync = _do_fsync

    def _do_sync_file_range(self, _: int, fd: int, *arguments: object) -> None:
        """Change nothing: POSIX knows no such call, and Linux alone promises nothing of it."""

    def _do_mkdirat(self, _: int, at: int, name: bytes, *__: object) -> None:
        if (place := self._find(at, name)) and place[1] != ".":
            place[0].set({place[1]: Folder()})

    def _do_mkdir(self, result: int, name: bytes, *_: object) -> None:
        self._do_mkdirat(result, -1, name)

    def _do_unlinkat(self, _: int, at: int, name: bytes, *__: object) -> None:
        if place := self._find(at, name):
            place[0].set({place[1]: None})

    def _do_unlink(self, result: int, name: bytes) -> None:
        self._do_unlinkat(result, -1, name)

    _do_rmdir = _do_unlink

    def _do_linkat(self, _: int, at: int, name: bytes, to: int, new: bytes, *__: object) -> None:
        source, target = self._find(at, name), self._find(to, new)
        if source and target:
            target[0].set({target[1]: source[0].now[source[1]]})

    def _do_link(self, result: int, name: bytes, new: bytes) -> None:
        self._do_linkat(result, -1, name, -1, new)

    def _do_renameat2(
        self, _: int, at: int, name: bytes, to: int, new: bytes, flags: object = 0
    ) -> None:
        source, target = self._find(at, name), self._find(to, new)
        if source is None or target is None:
            assert source is target, "a rename into or out of the tree"
            return
        moved = source[0].now[source[1]]
        left = target[0].now.get(target[1]) if flags == "RENAME_EXCHANGE" else None
        if source[0] is target[0]:
            source[0].set({source[1]: left, target[1]: moved})
        else:
            source[0].set({source[1]: left})
            target[0].set({target[1]: moved})

    _do_renameat = _do_renameat2

    def _do_rename(self, result: int, name: bytes, new: bytes) -> None:
        self._do_renameat2(result, -1, name, -1, new)

    # --- crashes ---------------------------------------------------------------------------------

    def worlds(self, *, everything: bool = False) -> Iterator[World]:
        """Yield every tree that a power cut at this moment may leave."""
        yield from self._choose({}, everything=everything)

    def now(self) -> World:
        """Return the tree as processes see it."""
        chosen: dict[int, bytes | Names] = {}
        todo: list[File | Folder] = [self.root]
        while todo:
            inode = todo.pop()
            chosen[inode.number] = inode.now
            if isinstance(inode, Folder):
                todo += [entry for entry in inode.now.values() if entry]
        return World(self.root, chosen)

    def _choose(self, chosen: dict[int, bytes | Names], *, everything: bool) -> Iterator[World]:
        inode, aside = self._undecided(chosen)
        if inode is None:
            yield World(self.root, chosen)
            return
        options: list[bytes] | list[Names]
        if isinstance(inode, File):
            options = self._contents(inode)
            if not everything and len(options) > 2 and not inode.in_place:
                self._turn += 1  # one of the ways to be damaged: all are damage alike
                options = [options[0], options[1 + self._turn % (len(options) - 2)], options[-1]]
        elif everything:
            options = [names for group in self._listings(inode) for names in group]
        else:
            options = [self._one_of(group) for group in self._listings(inode)]
        if aside and not everything:
            options = [self._one_of(options)]  # type: ignore[arg-type]  # one or other
        for option in options:
            yield from self._choose({**chosen, inode.number: option}, everything=everything)

    def _contents(self, file: File) -> list[bytes]:
        return file.options()

    def _listings(self, folder: Folder) -> list[list[Names]]:
        return folder.options(is_aside)

    def _one_of(self, options: list[Names]) -> Names:
        self._turn += 1
        return options[self._turn % len(options)]

    def _undecided(self, chosen: dict[int, bytes | Names]) -> tuple[File | Folder | None, bool]:
        """Return an inode in the tree that nothing was decided for, those that matter first."""
        aside: list[File | Folder] = []
        todo: list[tuple[File | Folder, bool]] = [(self.root, False)]
        while todo:
            inode, is_minor = todo.pop()
            names = chosen.get(inode.number)
            if names is None:
                if not is_minor:
                    return inode, False
                aside.append(inode)
            elif isinstance(names, dict):
                for name, entry in sorted(names.items()):
                    if entry:
                        todo.append((entry, is_minor or is_aside(name)))
        return (aside[0], True) if aside else (None, False)


def is_aside(name: str) -> bool:
    """Return whether only the store's own cleaning looks at such a name."""
    return name.startswith(".new-") or name in ("locks", "trash")


@dataclass(frozen=True)
class World:
    """One tree that a power cut may leave."""

    root: Folder
    chosen: dict[int, bytes | Names]

    def entries(self) -> Iterator[tuple[str, int, bytes | None]]:
        """Yield path, inode number and bytes (None for a directory), parents first."""
        todo: list[tuple[str, File | Folder]] = [("", self.root)]
        while todo:
            path, inode = todo.pop()
            content = self.chosen[inode.number]
            if isinstance(content, bytes):
                yield path, inode.number, content
                continue
            if path:
                yield path, inode.number, None
            for name, entry in sorted(content.items(), reverse=True):
                if entry:
                    todo.append((os.path.join(path, name), entry))

    def key(self) -> bytes:
        """Return what is equal for equal trees, names of one file counting as such."""
        digest = hashlib.sha256()
        first: dict[int, str] = {}
        for path, number, data in self.entries():
            same = first.setdefault(number, path)
            digest.update(repr((path, same if data is not None else "", data)).encode())
        return digest.digest()

    def materialise(self, root: Path) -> None:
        """Make the tree in the directory ``root``, hard links included."""
        made: dict[int, str] = {}
        for path, number, data in self.entries():
            target = os.path.join(root, path)
            if data is None:
                os.mkdir(target, 0o700)
            elif number in made:
                os.link(made[number], target)
            else:
                made[number] = target
                fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                try:
                    os.write(fd, data)
                finally:
                    os.close(fd)
