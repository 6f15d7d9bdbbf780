"""What a power cut leaves where all names share one ordered journal, as on ext4 and on XFS.

What is committed is a beginning of everything that was done to names, in order. A flush of any file
or directory commits it all, and the system may commit by itself at any moment. Bytes that the disk
had before a commit are durable with it; other bytes of files that were not flushed may be left in
any way that POSIX allows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.faults.support.crash_calls import Call
from tests.faults.support.crash_model import Disk, File, Folder, Names, World


class JournaledDisk(Disk):
    """The tree below a directory of a file system with one ordered journal."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._transactions: list[list[tuple[Folder, Names]]] = []
        """What was done to names since the last commit, a call at a time."""
        self._arrived: dict[File, tuple[int, bytes]] = {}
        """How many transactions there were when the disk had got the bytes of a file."""
        self._committed = 0
        """How many transactions the world that is being chosen has."""
        self._folders = [self.root]

    def replay(self, call: Call) -> bool:
        before = {folder: len(folder.pending) for folder in self._folders}
        changed = super().replay(call)
        for folder in list(before):
            self._folders += [
                entry
                for entry in folder.now.values()
                if isinstance(entry, Folder) and entry not in self._folders
            ]
        done = [
            (folder, changes)
            for folder, known in before.items()
            for changes in folder.pending[known:]
        ]
        if done:
            self._transactions.append(done)
        return changed

    def _do_fsync(self, _: int, fd: int) -> None:
        super()._do_fsync(_, fd)
        if fd in self._open:
            self._commit()

    _do_fdatasync = _do_fsync

    def _do_sync_file_range(self, _: int, fd: int, *arguments: object) -> None:
        file = self._open.get(fd)
        if isinstance(file, File) and "SYNC_FILE_RANGE_WAIT_AFTER" in str(arguments[-1]):
            self._arrived[file] = (len(self._transactions), file.now)

    def _commit(self) -> None:
        for folder in self._folders:
            folder.flush()
        for file, (_, data) in self._arrived.items():
            if file.now == data:
                file.flush()
        self._transactions.clear()
        self._arrived.clear()

    def worlds(self, *, everything: bool = False) -> Iterator[World]:
        for committed in range(len(self._transactions) + 1):
            self._committed = committed
            yield from super().worlds(everything=everything)

    def _contents(self, file: File) -> list[bytes]:
        arrived = self._arrived.get(file)
        if arrived is not None and arrived[0] < self._committed and arrived[1] == file.now:
            return [file.now]
        return file.options()

    def _listings(self, folder: Folder) -> list[list[Names]]:
        names = dict(folder.durable)
        for transaction in self._transactions[: self._committed]:
            for changed, changes in transaction:
                if changed is folder:
                    names |= changes
        return [[{name: inode for name, inode in names.items() if inode is not None}]]
