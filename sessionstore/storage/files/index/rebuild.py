"""Compare the index with the files: everything once, by inode, size and time.

This is how an index is built, too: an empty one differs everywhere. One that was killed in
between is gone on with, since what is the same already only costs a look. Several may run at once.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Container, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from sessionstore.log import about, logger
from sessionstore.model.ids import is_id
from sessionstore.storage.files.index import live_names
from sessionstore.storage.files.index.database import PATIENT, Database, SQLError
from sessionstore.storage.files.index.index import Index, remove, remove_all, store
from sessionstore.storage.files.index.observation import SessionObserver
from sessionstore.storage.files.index.schema import Row, signature_values
from sessionstore.storage.files.layout import Layout

_WINDOW = 100_000
"""Sessions that are looked at in the order of their inodes: where nothing of them is in memory yet
they are read from the disk one beside the other, not here and there."""
_BATCH = 2_000
"""Sessions whose rows are stored at once: every page of the database that they share is written
once."""
_LONGEST = 0.1
"""Seconds after which others may write, if sessions have to be read from a slow disk."""
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


def rebuild(index: Index, opened: Database, layout: Layout, reason: str) -> Outcome:
    """Make the rows say what the files say, and trust them from then on.

    Raises:
        SQLError: the index is damaged, or gone.
        OSError: the sessions cannot be listed.
    """
    return _Comparison(index, opened, layout, reason).run()


class _Comparison:
    def __init__(self, index: Index, opened: Database, layout: Layout, reason: str) -> None:
        self._index = index
        self._opened = opened
        self._layout = layout
        self._reason = reason
        self._was_empty = False
        self._seen = 0
        self._rows = 0
        """Of sessions that were seen."""
        self._changed = 0
        self._removed = 0
        self._begin = self._said = time.monotonic()

    def run(self) -> Outcome:
        number = self._index.begin_comparison(self._opened)
        self._was_empty = not self._opened.rows("SELECT 1 FROM sessions LIMIT 1")
        removals = self._removals()
        try:
            with SessionObserver(self._layout) as observer:
                names = _session_names(self._layout)
                while window := sorted(islice(names, _WINDOW)):
                    for start in range(0, len(window), _BATCH):
                        self._compare(observer, window[start : start + _BATCH])
                        self._say()
                if not self._was_empty and self._may_hold_gone(removals):
                    self._remove_gone(observer)
        except FileNotFoundError:  # a store without sessions yet
            with self._opened.transaction(PATIENT) as connection:
                remove_all(connection)
        self._index.end_comparison(self._opened, number)
        outcome = Outcome(self._seen, self._changed, self._removed)
        taken = time.monotonic() - self._begin
        self._log(
            "%s: index: %s; compared %d sessions, %d changed, %d gone, in %.1f s",
            *outcome,
            taken,
            level=logging.INFO if self._seen >= MANY and taken > _LONG else logging.DEBUG,
        )
        return outcome

    def _compare(self, observer: SessionObserver, names: Sequence[_Name]) -> None:
        self._seen += len(names)
        known = {} if self._was_empty else self._known([session_id for _, session_id, _ in names])
        self._rows += len(known)
        changed: list[tuple[str, bool]] = []
        for _, session_id, is_directory in names:
            if session_id in known:
                now = observer.signature(session_id)
                if now is not None and signature_values(now) == known[session_id]:
                    continue
            changed.append((session_id, is_directory))
        self._changed += len(changed)
        changed.sort()  # by id, as the database keeps them
        while changed:
            changed = self._correct(observer, changed, known)
            self._say()

    def _known(self, ids: list[str]) -> dict[str, tuple[int, ...]]:
        known: dict[str, tuple[int, ...]] = {}
        for start in range(0, len(ids), _ASKED):
            some = ids[start : start + _ASKED]
            marks = ", ".join("?" * len(some))
            sql = f"SELECT id, inode, size, mtime_ns FROM sessions WHERE id IN ({marks})"  # noqa: S608 - only question marks
            known.update(
                (session_id, tuple(old)) for session_id, *old in self._opened.rows(sql, some)
            )
        return known

    def _correct(
        self, observer: SessionObserver, changed: list[tuple[str, bool]], known: Container[str]
    ) -> list[tuple[str, bool]]:
        """Store what the files say of the first ones of ``changed``; return the others.

        Who held one before there was an index has not named it. Its lock is looked at before the
        file is read: whoever claims it after that finds the index, and names it.
        """
        give_up = time.monotonic() + _LONGEST
        with self._opened.transaction(PATIENT) as connection:
            rows: list[Row] = []
            gone: list[str] = []
            live: list[str] = []
            for session_id, is_directory in changed:
                # Race: Claim older than the index. It made no name, so its lock is looked at.
                if not observer.is_free(session_id):
                    live.append(session_id)
                elif (seen := observer.read(session_id, is_directory=is_directory)) is None:
                    gone.append(session_id)
                elif (row := seen.row()) is None:
                    live.append(session_id)
                else:
                    rows.append(row)
                if time.monotonic() > give_up:
                    break
            store(connection, rows, gone)
        self._rows += sum(row.id not in known for row in rows)
        try:
            for session_id in live:
                live_names.add_to(self._opened.directory, session_id)
        except OSError as error:
            raise SQLError(f"a live session cannot be named: {error}") from error
        return changed[len(rows) + len(gone) + len(live) :]

    def _may_hold_gone(self, removals: str | None) -> bool:
        """Return whether there may be rows of sessions that were gone before this began."""
        # Race: Rows removed during a comparison. The number then says nothing.
        ((counted,),) = self._opened.rows("SELECT COUNT(*) FROM sessions")
        return counted != self._rows or self._removals() != removals

    def _removals(self) -> str | None:
        return self._opened.facts().get("removals")

    def _remove_gone(self, observer: SessionObserver) -> None:
        last = ""
        while True:
            sql = "SELECT id FROM sessions WHERE id > ? ORDER BY id LIMIT ?"
            found = [session_id for (session_id,) in self._opened.rows(sql, (last, _ASKED))]
            if not found:
                return
            last = found[-1]
            if any(not observer.is_there(session_id) for session_id in found):
                with self._opened.transaction(PATIENT) as connection:
                    # Looked at again in here: one that is made anew meanwhile may have a row.
                    gone = [one for one in found if not observer.is_there(one)]
                    remove(connection, gone)
                self._removed += len(gone)
            self._say()

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


def _session_names(layout: Layout) -> Iterator[_Name]:
    with os.scandir(layout.sessions) as entries:
        for entry in entries:
            if is_id(entry.name):
                if entry.is_dir(follow_symlinks=False):
                    # Windows would have to ask the disk for the number.
                    yield entry.inode() if os.name == "posix" else 0, entry.name, True
                elif entry.is_symlink():
                    yield 0, entry.name, False
