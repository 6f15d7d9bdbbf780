"""Compare the index with the files: everything once, by inode, size and time.

This is how an index is built, too: an empty one differs everywhere. One that was killed in
between is gone on with, since what is the same already only costs a look. Several may run at once.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from typing import NamedTuple

from sessionstore.log import about, logger
from sessionstore.model.ids import is_id
from sessionstore.storage.files.index import ahead, schema
from sessionstore.storage.files.index.database import Connection
from sessionstore.storage.files.index.index import Index, Moment, new_mark
from sessionstore.storage.files.index.observe import Eyes
from sessionstore.storage.files.index.schema import Row
from sessionstore.storage.files.layout import Layout

_WINDOW = 100_000
"""Sessions that are looked at in the order of their inodes: where nothing of them is in memory yet
they are read from the disk one beside the other, not here and there."""
_BATCH = 2_000
"""Sessions whose rows are stored at once: others wait for it some 10 ms, and every page of the
database that they share is written once."""
_ASKED = 500
_SAY_EVERY = 5.0  # seconds
_LONG = 1.0
"""Seconds after which a comparison of many sessions is worth a word in the log when it is done."""
MANY = 5_000
"""Sessions that make a comparison long. If fewer take long, the machine is busy."""


_Name = tuple[int, str, bool]
"""The inode of a session, its id, and whether it is a directory; else it is a link."""


class Outcome(NamedTuple):
    """What a comparison found."""

    sessions: int
    changed: int
    """Rows that said something else than the files, missing ones included."""
    removed: int
    """Rows of sessions that are gone."""


def compare(index: Index, layout: Layout, reason: str) -> Outcome:
    """Make the rows say what the files say, and trust them from then on.

    Raises:
        SQLError, Unusable: the index is damaged, or gone.
        OSError: the sessions cannot be listed.
    """
    return _Comparison(index, layout, reason).run()


class _Comparison:
    def __init__(self, index: Index, layout: Layout, reason: str) -> None:
        self._index = index
        self._layout = layout
        self._reason = reason
        self._database: str | None = None
        self._moment: Moment | None = None
        self._was_empty = False
        self._others_wrote = False
        self._seen = 0
        self._changed = 0
        self._removed = 0
        self._begin = self._said = time.monotonic()

    def run(self) -> Outcome:
        self._database = self._index.begin_comparison()
        self._moment = self._index.moment()
        self._was_empty = not self._index.rows("SELECT 1 FROM sessions LIMIT 1", ())
        try:
            with Eyes(self._layout) as eyes:
                names = _session_names(self._layout)
                # All that is needed of one that is in the index is its signature.
                touch = eyes.touch if self._was_empty else eyes.signature
                while window := sorted(islice(names, _WINDOW)):
                    batches = ahead.in_batches(window, _BATCH, lambda name: touch(name[1]))
                    with closing(batches):
                        for batch in batches:
                            self._compare_batch(eyes, batch)
                            self._say()
                if self._may_hold_gone():
                    self._remove_gone(eyes)
        except FileNotFoundError:  # a store without sessions yet
            self._change(lambda one: one.execute("DELETE FROM sessions"))
        self._index.end_comparison(self._database)
        outcome = Outcome(self._seen, self._changed, self._removed)
        taken = time.monotonic() - self._begin
        self._log(
            "%s: index: %s; compared %d sessions, %d changed, %d gone, in %.1f s",
            *outcome,
            taken,
            level=logging.INFO if self._seen >= MANY and taken > _LONG else logging.DEBUG,
        )
        return outcome

    def _change(self, write: Callable[[Connection], object]) -> None:
        self._index.change(write, database=self._database)

    def _may_hold_gone(self) -> bool:
        """Return whether there may be rows of sessions that were gone before this began."""
        if self._was_empty:
            return False
        # A number says nothing once others have removed some that were seen.
        if self._others_wrote or self._index.moment() != self._moment:
            return True
        (counted,) = self._index.rows("SELECT COUNT(*) FROM sessions", ())
        return bool(counted[0] > self._seen)

    def _say(self) -> None:
        now = time.monotonic()
        if self._seen >= MANY and now - self._said >= _SAY_EVERY:
            self._said = now
            self._log("%s: index: %s; %d sessions compared so far", self._seen, level=logging.INFO)

    def _log(self, text: str, *numbers: float, level: int) -> None:
        root = self._layout.root
        logger.log(
            level,
            text,
            root,
            self._reason,
            *numbers,
            extra=about("index_compared", path=root, reason=self._reason),
        )

    def _compare_batch(self, eyes: Eyes, names: Sequence[_Name]) -> None:
        known = {} if self._was_empty else self._known([session_id for _, session_id, _ in names])
        added: list[Row] = []
        corrected: list[tuple[Row, tuple[object, ...]]] = []
        for _, session_id, is_directory in names:
            before = known.get(session_id)
            if before is not None:
                _, live, *old = before
                if live:  # whoever lists reads its file
                    continue
                now = eyes.signature(session_id)
                if now is not None and schema.signature_values(now) == tuple(old):
                    continue
            row = eyes.settled_row(session_id) if is_directory else None
            if row is None:
                row = _look(eyes, session_id, is_directory=is_directory)
            if row is None:
                continue  # its row, if there is one, is found to be one too many
            if before is None:
                added.append(row)
            else:
                corrected.append((row, before))
        self._seen += len(names)
        if added or corrected:
            added.sort()  # by id, as the database keeps them
            self._change(lambda one: self._store(one, eyes, added, corrected))

    def _known(self, ids: list[str]) -> dict[str, tuple[object, ...]]:
        known: dict[str, tuple[object, ...]] = {}
        for start in range(0, len(ids), _ASKED):
            some = ids[start : start + _ASKED]
            marks = ", ".join("?" * len(some))
            sql = f"SELECT {_BEFORE} FROM sessions WHERE id IN ({marks})"  # noqa: S608 - only question marks
            known.update((found[0], found) for found in self._index.rows(sql, some))
        return known

    def _store(
        self,
        connection: Connection,
        eyes: Eyes,
        added: list[Row],
        corrected: list[tuple[Row, tuple[object, ...]]],
    ) -> None:
        if self._index.moment() != self._moment:
            self._others_wrote = True
            # They may have deleted sessions that were seen here, and their rows, were there any:
            # none must come back. Who deletes waits until this transaction is over.
            added = [row for row in added if eyes.is_there(row.id)]
        # Whoever claimed one meanwhile has touched its row since: then that one stays.
        connection.executemany(_ADD, added)
        connection.executemany(_CORRECT, ((*row, *before) for row, before in corrected))
        self._changed += len(added) + len(corrected)
        self._moment = self._index.moment()

    def _remove_gone(self, eyes: Eyes) -> None:
        last = ""
        while True:
            found = self._index.rows(_NEXT, (last, _ASKED))
            if not found:
                return
            last = found[-1][0]
            gone = [before for before in found if not eyes.is_there(before[0])]
            if gone:
                self._change(partial(_remove, gone=gone))
                self._removed += len(gone)
            self._say()


_BEFORE = "id, live, inode, size, mtime_ns"
_SAME = " AND ".join(f"{name} IS ?" for name in _BEFORE.split(", "))
_NEXT = f"SELECT {_BEFORE} FROM sessions WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608 - names of ours
_ADD = f"INSERT OR IGNORE INTO sessions VALUES ({', '.join('?' * len(schema.COLUMNS))})"  # noqa: S608 - as above
_CORRECT = f"UPDATE sessions SET {' = ?, '.join(schema.COLUMNS)} = ? WHERE {_SAME}"  # noqa: S608 - as above
_REMOVE = f"DELETE FROM sessions WHERE {_SAME}"  # noqa: S608 - as above


def _remove(connection: Connection, gone: list[tuple[object, ...]]) -> None:
    connection.executemany(_REMOVE, gone)


def _look(eyes: Eyes, session_id: str, *, is_directory: bool) -> Row | None:
    seen = eyes.read(session_id, is_directory=is_directory)
    if seen is None:
        return None
    if seen.signature is not None and eyes.is_settled(seen):
        return schema.settled_row(seen.item, seen.signature)
    return Row(session_id, new_mark())


def _session_names(layout: Layout) -> Iterator[_Name]:
    with os.scandir(layout.sessions) as entries:
        for entry in entries:
            if is_id(entry.name):
                if entry.is_dir(follow_symlinks=False):
                    # Windows would have to ask the disk for the number.
                    yield entry.inode() if os.name == "posix" else 0, entry.name, True
                elif entry.is_symlink():
                    yield 0, entry.name, False
