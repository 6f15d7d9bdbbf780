"""The index of a store of files: derived, disposable, and never asked to be right by itself.

A row holds what the file of its session said. It counts only while ``live/`` has no name of the
session:

- A writer adds a name after it has the lock, and before it changes the file or moves the session.
  It stores no row, and removes no name.
- A fold removes names. It first takes the name, so that no later claim relies on it. It then sees
  the lock of the session free, so that every earlier claim has ended. It then reads the file within
  the transaction that stores the row, so that of two folds the later one read later.
- A listing reads ``live/`` before it reads rows. It folds, and takes the sessions that are still
  live from their files. A process folds the sessions that it released, so that a listing finds few.
- What may have changed without a name is found by comparing all rows with their files: after a
  reboot, after unrecorded moves, and in an index that is not finished.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from sessionstore.model.ids import random_hex
from sessionstore.model.summary import SessionSummary
from sessionstore.process import kernel
from sessionstore.process.fork import Mutex
from sessionstore.storage.files.index import database, index_directory, live_names
from sessionstore.storage.files.index.database import (
    BRIEF,
    PATIENT,
    Connection,
    Database,
    SQLError,
    Unusable,
    get_fact,
    set_facts,
)
from sessionstore.storage.files.index.observation import Observation, SessionObserver
from sessionstore.storage.files.index.schema import (
    INDEXES,
    REMOVE,
    REMOVE_LABELS,
    STORE,
    STORE_LABEL,
    Row,
    label_rows,
)
from sessionstore.storage.files.layout import Layout

_BATCH = 500
"""Sessions that are folded at once: others wait for it some 30 ms."""
_WAITING = 64
"""Released sessions that wait to be folded at most: together they share pages of the database."""
_OFTEN = 1.0
"""Seconds after which a release folds, however few wait."""


class Index:
    """The index of one store, as this process uses it. Safe to use from several threads."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._mutex = Mutex()
        self._database: Database | None = None
        self._released: list[tuple[str, str]] = []
        self._folded_at = -math.inf

    def close(self) -> None:
        """Fold what waits, and close the database; the next use opens it again."""
        self._fold_released()
        with self._mutex:
            opened, self._database = self._database, None
            if opened is not None:
                opened.close()

    # --- writers ---------------------------------------------------------------------------------

    def released(self, session_id: str, token: str) -> None:
        """Fold what a claim of this process has changed, at once or together with others."""
        with self._mutex:
            self._released.append((session_id, token))
            now = time.monotonic()
            if len(self._released) < _WAITING and now - self._folded_at < _OFTEN:
                return
            self._folded_at = now
        self._fold_released()

    def _fold_released(self) -> None:
        with self._mutex:
            if self._database is not None and self._database.is_writing:
                return  # a signal handler released a session in the middle of a transaction
            released, self._released = self._released, []
        if not released:
            return
        names: dict[str, list[str]] = {}
        for session_id, token in released:
            names.setdefault(session_id, []).append(live_names.of_claim(session_id, token))
        # Nothing is lost where this fails: the names stay, for whoever lists.
        with suppress(OSError, SQLError, Unusable):
            opened = self._opened(create=False)
            if opened is not None:
                # The claims have ended: a later one has a name of its own.
                with SessionObserver(self._layout) as observer, self._discarding(opened):
                    _fold(opened, observer, names)

    # --- those who list --------------------------------------------------------------------------

    def open(self) -> Database:
        """Return the index that counts, open; it is made if there is none.

        Raises:
            SQLError: it cannot be had here.
            Unusable: it cannot be had here.
        """
        try:
            opened = self._opened(create=True)
        except OSError as error:
            raise Unusable(str(error)) from error
        assert opened is not None
        return opened

    def _opened(self, *, create: bool) -> Database | None:
        with self._mutex:
            # One that was removed meanwhile names no live sessions: who lists finds out, and goes
            # on with another. One that another came to stand before is kept as true as that.
            if self._database is None or not self._database.is_open:
                self._database = database.open_index(self._layout, self._mutex, create=create)
            return self._database

    @contextmanager
    def _discarding(self, opened: Database) -> Iterator[None]:
        """Remove the index if the block fails: else names would gather that nobody ever folds."""
        try:
            yield
        except SQLError as error:
            self.discard(opened, error)

    def discard(self, opened: Database, reason: object) -> None:
        """Remove an index: the next who lists makes another."""
        opened.close()
        if os.path.lexists(opened.directory):  # else another was faster
            index_directory.discard(self._layout, opened.directory, reason)

    def fold(self, opened: Database) -> dict[str, SessionSummary | None]:
        """Return what the files of all live sessions say, None if gone; fold what may be folded.

        Raises:
            SQLError: the index is damaged, or gone.
            OSError: the sessions cannot be listed.
        """
        try:
            names = live_names.names(opened.directory)
        except OSError as error:
            raise SQLError(f"it does not say any more which sessions are live: {error}") from error
        if not names:
            return {}
        with SessionObserver(self._layout) as observer:
            free: dict[str, list[str]] = {}
            for session_id, given in names.items():
                taken = live_names.take(opened.directory, given)
                # Race: Claim during a fold. A claim after this look makes a name of its own.
                if taken and observer.is_free(session_id):
                    free[session_id] = taken
            found = _fold(opened, observer, free)
            for session_id in names.keys() - found.keys():
                found[session_id] = observer.read(session_id)
        return {one: None if seen is None else seen.item for one, seen in found.items()}

    def why_stale(self, opened: Database) -> str | None:
        """Return why the rows cannot be trusted before a comparison, or None if they can.

        Raises:
            SQLError: the index is damaged, or gone.
        """
        facts = opened.facts()
        if facts.get("complete") != "1":
            return "it is new, or was not finished"
        boot = kernel.boot_id()
        if boot is None or facts.get("boot") != boot:
            return "the machine was started since, or the store comes from another one"
        try:
            is_recorded = live_names.is_recorded(opened.directory, self._layout)
        except OSError as error:
            raise SQLError(f"it is not recorded which sessions came and went: {error}") from error
        return None if is_recorded else "something else added, removed or replaced sessions"

    def begin_comparison(self, opened: Database) -> str:
        """Record that all is about to be compared; until the end the rows are not trusted.

        Returns what :meth:`end_comparison` wants: who began a comparison before this one saw less.

        Raises:
            SQLError: the index is damaged, or gone.
        """
        number = random_hex(8)
        with opened.transaction(PATIENT) as connection:
            set_facts(connection, complete=number, boot=kernel.boot_id() or "")
        try:
            live_names.record_sessions(opened.directory, self._layout)
        except OSError as error:
            raise SQLError(f"what comes and goes cannot be recorded: {error}") from error
        return number

    def end_comparison(self, opened: Database, number: str) -> None:
        """Trust the rows from now on, unless another comparison has begun since.

        Raises:
            SQLError: the index is damaged, or gone.
        """
        for sql in INDEXES:  # one by one: others write in between
            with opened.transaction(PATIENT) as connection:
                connection.execute(sql)
        with opened.transaction(PATIENT) as connection:
            # Race: Two comparisons at once. The one that began first has seen less.
            if get_fact(connection, "complete") == number:
                set_facts(connection, complete=1)


def _fold(
    opened: Database, observer: SessionObserver, names: Mapping[str, list[str]]
) -> dict[str, Observation | None]:
    """Fold sessions on whose names nobody relies any more; return what was read of them.

    Raises:
        SQLError: the index is damaged, or gone.
    """
    found: dict[str, Observation | None] = {}
    ids = sorted(names)  # as the database keeps them
    for start in range(0, len(ids), _BATCH):
        try:
            with opened.transaction(BRIEF) as connection:
                seen = {one: observer.read(one) for one in ids[start : start + _BATCH]}
                rows = [row for one in seen.values() if one is not None and (row := one.row())]
                gone = [session_id for session_id, one in seen.items() if one is None]
                store(connection, rows, gone)
        except SQLError as error:
            if database.is_busy(error):  # somebody was stopped in a transaction: the names stay
                break
            raise
        found |= seen
        for session_id in [*(row.id for row in rows), *gone]:
            live_names.drop(opened.directory, names[session_id])
    return found


def store(connection: Connection, rows: list[Row], gone: Sequence[str]) -> None:
    """Store what was read in this transaction, and remove the rows of sessions that are gone."""
    connection.executemany(STORE, rows)
    connection.executemany(REMOVE_LABELS, [(row.id,) for row in rows])
    connection.executemany(STORE_LABEL, label_rows(rows))
    if gone:
        remove(connection, gone)


def remove(connection: Connection, gone: Sequence[str]) -> None:
    """Remove the rows of these sessions, and record that, for a comparison that counts rows."""
    for sql in (REMOVE, REMOVE_LABELS):
        connection.executemany(sql, [(session_id,) for session_id in gone])
    set_facts(connection, removals=random_hex(8))


def remove_all(connection: Connection) -> None:
    """Remove the rows of all sessions."""
    connection.execute("DELETE FROM sessions")
    connection.execute("DELETE FROM labels")
    remove(connection, ())
