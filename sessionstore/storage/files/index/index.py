"""The index of a store of files: derived, disposable, and never asked to be right by itself.

A row is *settled* when the file of its session cannot change without the row being touched first;
any other is *live*, and whoever lists reads the file:

- A claim makes the row live, under the session's lock, before its first save; its mark is a
  random number. Release settles the row, if the mark is still its own.
- A process that dies leaves a live row. Whoever lists settles it, once the lock was seen free
  and the file unchanged since it was read, if the mark is still the one it has seen.
- Sessions come and go in one transaction with the change of ``sessions/``, whose inode and
  change time are recorded. What others add or remove is noticed by them.
- Nothing is flushed for it. A row may be lost with the power, so the boot is recorded, too: after
  another one everything is compared with the files, by inode, size and time.

Who cannot keep it true removes it. ``database.py`` makes, opens and removes the file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

from sessionstore.model.ids import random_hex
from sessionstore.process import kernel
from sessionstore.storage.files.index.database import (
    MUTEX,
    Connection,
    Database,
    SQLError,
    Unusable,
    get_fact,
    roll_back,
    set_fact,
)
from sessionstore.storage.files.index.schema import COLUMNS, INDEXES, Row
from sessionstore.storage.files.layout import Layout

_MANY = 500
"""Rows that wait at most."""

_T = TypeVar("_T")


class Moment(NamedTuple):
    """A state of the index: two are the same if nobody changed it in between."""

    connection: int
    changes_of_others: int
    changes_of_ours: int


class Index:
    """The index of one store, as this process uses it. Safe to use from several threads."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._database = Database(layout)
        self._gathering = 0
        """How many threads gather the rows of many releases."""
        self._gathered: list[tuple[Row, int]] = []

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        self._database.close()

    # --- what the holder of a session says -------------------------------------------------------

    def mark_live(self, session_id: str) -> int | None:
        """Say, under the session's lock, that its file is about to change.

        Returns the mark for :meth:`settle`; None where there is no index.
        """
        mark = new_mark()

        def write(connection: Connection) -> int:
            connection.execute(
                "INSERT INTO sessions (id, live) VALUES (?, ?)"
                " ON CONFLICT (id) DO UPDATE SET live = excluded.live",
                (session_id, mark),
            )
            return mark

        return self._write(write)

    def settle(self, row: Row, mark: int) -> None:
        """Say that the file stays as ``row`` has it, unless another mark was made since."""
        with MUTEX:
            self._gathered.append((row, mark))
            if self._gathering and len(self._gathered) < _MANY:
                return
            self._settle_gathered()

    @contextmanager
    def settling_together(self) -> Iterator[None]:
        """Have rows that settle within the block do so together: they share pages of the database.

        Whoever lists meanwhile, or after this process died, reads the files of those that wait.
        One that is claimed meanwhile has another mark, and stays live.
        """
        with MUTEX:
            self._gathering += 1
        try:
            yield
        finally:
            with MUTEX, suppress(OSError):
                self._gathering -= 1
                self._settle_gathered()

    def _settle_gathered(self) -> None:
        gathered, self._gathered = self._gathered, []
        if gathered:
            self.settle_all(gathered)

    def settle_all(self, rows: Sequence[tuple[Row, int]]) -> None:
        """Settle several rows at once."""

        def write(connection: Connection) -> None:
            connection.executemany(_SETTLE, ((*row, row.id, mark) for row, mark in rows))

        self._write(write)

    def remove_gone(self, session_id: str, mark: int) -> None:
        """Remove the row of a session that is gone, unless it was made anew."""

        def write(connection: Connection) -> None:
            connection.execute("DELETE FROM sessions WHERE id = ? AND live = ?", (session_id, mark))

        self._write(write)

    @contextmanager
    def adding(self, session_id: str) -> Iterator[int | None]:
        """Give the mark of a session that the block moves into ``sessions/``, under its lock."""
        mark = new_mark()

        def record(connection: Connection) -> None:
            connection.execute(
                "INSERT OR REPLACE INTO sessions (id, live) VALUES (?, ?)", (session_id, mark)
            )

        with self._renaming(record) as recorded:
            yield mark if recorded else None

    @contextmanager
    def removing(self, session_id: str) -> Iterator[None]:
        """Remove the row of a session that the block moves out of ``sessions/``."""

        def record(connection: Connection) -> None:
            connection.execute("DELETE FROM sessions WHERE id = ?", (session_id,))

        with self._renaming(record):
            yield

    @contextmanager
    def _renaming(self, record: Callable[[Connection], None]) -> Iterator[bool]:
        # The transaction keeps all others of ours out, so that what changes sessions/ meanwhile
        # is the block, or somebody else, of whom nothing must be recorded.
        with MUTEX:
            connection = self._begun()
            if connection is None:
                yield False
                return
            try:
                try:
                    known = get_fact(connection, "directory")
                    foreign = known != self.directory_identity()
                    record(connection)
                except SQLError as error:
                    roll_back(connection)
                    self._database.discard(error)
                    connection = None
                yield connection is not None
            except BaseException:
                if connection is not None:
                    roll_back(connection)
                raise
            if connection is not None:
                try:
                    if not foreign:
                        set_fact(connection, "directory", self.directory_identity())
                    connection.execute("COMMIT")
                except SQLError as error:
                    roll_back(connection)
                    self._database.discard(error)

    def directory_identity(self) -> str:
        """Return what changes whenever a session comes or goes, or all are replaced."""
        try:
            status = os.stat(self._layout.sessions)
        except OSError:
            return ""
        return f"{status.st_dev}:{status.st_ino}:{status.st_ctime_ns}"

    def _begun(self) -> Connection | None:
        """Return the connection, in a transaction that may write; None without an index.

        Raises:
            OSError: it cannot be known whether there is one.
        """
        try:
            connection = self._database.current(create=False)
            if connection is not None:
                connection.execute("BEGIN IMMEDIATE")
        except (SQLError, Unusable) as error:
            self._database.discard(error)
            return None
        return connection

    def _write(self, write: Callable[[Connection], _T]) -> _T | None:
        """Return what ``write`` returns within a transaction; None if there is no index (now)."""
        with MUTEX:
            connection = self._begun()
            if connection is None:
                return None
            try:
                result = write(connection)
                connection.execute("COMMIT")
            except SQLError as error:
                roll_back(connection)
                self._database.discard(error)
                return None
            except BaseException:
                roll_back(connection)
                raise
            return result

    # --- what those who list use -----------------------------------------------------------------

    def open(self) -> None:
        """Open the index, made now if there is none.

        Raises:
            Unusable: SQLite cannot work here.
        """
        with MUTEX:
            try:
                self._database.current(create=True)
            except (SQLError, OSError) as error:
                raise Unusable(str(error)) from error

    def rows(self, sql: str, values: Sequence[Any]) -> list[Any]:
        """Return the rows that a query yields.

        Raises:
            SQLError, Unusable: the index is damaged, or gone.
        """
        with MUTEX:
            return self._database.existing().execute(sql, values).fetchall()

    def snapshot(self, queries: Sequence[tuple[str, Sequence[Any]]]) -> list[list[Any]]:
        """Return the rows of several queries, all as of one moment.

        Raises:
            SQLError, Unusable: the index is damaged, or gone.
        """
        return self._within(
            "BEGIN", lambda one: [one.execute(*each).fetchall() for each in queries]
        )

    def change(self, write: Callable[[Connection], _T], *, database: str | None = None) -> _T:
        """Return what ``write`` returns, in a transaction.

        ``database`` is the name of the one that is meant, if it must be no other.

        Raises:
            SQLError, Unusable: nothing was changed.
        """
        return self._within("BEGIN IMMEDIATE", write, database)

    def _within(
        self, begin: str, work: Callable[[Connection], _T], database: str | None = None
    ) -> _T:
        with MUTEX:
            connection = self._database.existing()
            if database not in (None, self._database.name):
                raise Unusable("another index took its place meanwhile")
            connection.execute(begin)
            try:
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                roll_back(connection)
                raise
            return result

    def moment(self) -> Moment:
        """Return what is another as soon as anybody, here or elsewhere, changed the index.

        Raises:
            SQLError, Unusable: the index is damaged, or gone.
        """
        with MUTEX:
            connection = self._database.existing()
            others = connection.execute("PRAGMA data_version").fetchone()[0]
            return Moment(self._database.opened, others, connection.total_changes)

    def why_not_true(self) -> str | None:
        """Return why the rows cannot be trusted before a comparison, or None if they can.

        Raises:
            SQLError, Unusable: the index is damaged, or gone.
        """
        facts = dict(self.rows("SELECT name, value FROM facts", ()))
        if facts.get("complete") != "1":
            return "it is new, or was not finished"
        if facts.get("boot") != kernel.boot_id():
            return "the machine was started since, or the store comes from another one"
        if facts.get("directory") != self.directory_identity() and not self.change(
            # One of ours may be between the change and its record: this waits for it.
            lambda one: get_fact(one, "directory") == self.directory_identity()
        ):
            return "something else added, removed or replaced sessions"
        return None

    def begin_comparison(self) -> str | None:
        """Record what is about to be compared; until the end the rows are not trusted.

        Returns the name of the database, for :meth:`change` and :meth:`end_comparison`: whoever
        removes it meanwhile, and makes another, has that one compared from the beginning.
        """

        def write(connection: Connection) -> str | None:
            set_fact(connection, "complete", "0")
            set_fact(connection, "boot", kernel.boot_id() or "")
            set_fact(connection, "directory", self.directory_identity())
            return self._database.name

        return self.change(write)

    def end_comparison(self, database: str | None) -> None:
        """Trust the rows from now on."""
        for sql in INDEXES:  # one by one: others write in between
            self.change(_executing(sql), database=database)
        self.change(lambda one: set_fact(one, "complete", "1"), database=database)

    def discard(self, reason: object) -> None:
        """Remove the index: the next who lists makes another.

        Raises:
            Unusable: it cannot be known whether there is one.
        """
        try:
            self._database.discard(reason)
        except OSError as error:
            raise Unusable(str(error)) from error


_SETTLE = (
    f"UPDATE sessions SET {', '.join(f'{name} = ?' for name in COLUMNS)}"  # noqa: S608 - our own names
    " WHERE id = ? AND live = ?"
)


def new_mark() -> int:
    """Return a number that no other live row has."""
    return int(random_hex(8), 16) >> 2 | 1


def _executing(sql: str) -> Callable[[Connection], object]:
    return lambda connection: connection.execute(sql)
