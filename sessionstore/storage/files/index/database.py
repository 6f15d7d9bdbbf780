"""The database of an index: made, opened, written and removed; the one door to sqlite3.

An index is a directory, made aside in ``trash/`` and moved into the root whole, and moved out of it
whole before it is removed. Its name is never used again, so what belongs to one index is never
taken for a part of another; SQLite, too, finds the log of a database by its path. Where two are
made at once, the first by name counts. Those of another format are another version's, and stay.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from sessionstore.durable import making
from sessionstore.model.ids import random_hex
from sessionstore.process.fork import FORK_GATE, Mutex
from sessionstore.storage.files.index import index_directory, live_names
from sessionstore.storage.files.index.index_directory import DATABASE, FORMAT
from sessionstore.storage.files.index.schema import TABLES
from sessionstore.storage.files.layout import Layout, opened_trash

Connection = sqlite3.Connection
SQLError = sqlite3.Error
"""What SQLite raises."""

_ATTEMPTS = 3

PATIENT = 5.0
"""Seconds that what has to be written waits for another process, which takes milliseconds unless it
was stopped."""
BRIEF = 0.05
"""Seconds for what may be left to the next one who lists."""


class Unusable(Exception):
    """There is no index to be had here; the message says why."""


# Race: Fork beside an open index. SQLite keeps in memory which locks its process has on a file, and
# a forked child gets that account without the locks. What it opens of the same file goes unlocked:
# another process then takes the log away, and never sees what the child writes. So a fork of
# Python's finds all connections closed. The child of any other fork does without an index, and
# never closes what it inherited: that would end the locks of its parent.
_all: weakref.WeakSet[Database] = weakref.WeakSet()
_left_by_parents: list[Connection] = []


def _close_all() -> None:
    for database in list(_all):
        database.suspend()


FORK_GATE.before_fork(_close_all)


def _has_inherited() -> bool:
    for database in list(_all):
        database.forget_inherited()
    return bool(_left_by_parents)


# --- one database -------------------------------------------------------------------------------


class Database:
    """The open database of one index, as this process uses it: one connection, under a mutex."""

    def __init__(self, directory: str, mutex: Mutex) -> None:
        """Open what is in the directory of an index.

        Raises:
            SQLError: it is damaged, or not there.
        """
        self.directory = directory
        self._mutex = mutex
        self._pid = os.getpid()
        self._connection: Connection | None = None  # also if opening it fails
        self._is_closed = False
        with FORK_GATE:
            self._opened()
            _all.add(self)

    def __del__(self) -> None:
        if hasattr(self, "_connection"):
            self.close()

    @property
    def is_open(self) -> bool:
        """Whether the connection is there: a forked child has none."""
        self.forget_inherited()
        return not self._is_closed

    @property
    def is_writing(self) -> bool:
        """Whether a transaction is open: under the mutex, that of a caller."""
        return self.is_open and self._connection is not None and self._connection.in_transaction

    def close(self) -> None:
        """Close the connection."""
        self.forget_inherited()
        with self._mutex, FORK_GATE:
            self._is_closed = True
            self.suspend()

    def suspend(self) -> None:
        """Close the connection until the next use, while nobody uses it."""
        self.forget_inherited()
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLError):
                connection.close()

    def forget_inherited(self) -> None:
        """Let go of a parent's connection without closing it."""
        if os.getpid() != self._pid and self._connection is not None:
            _left_by_parents.append(self._connection)
            self._connection, self._is_closed = None, True

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return the rows that a query yields.

        Raises:
            SQLError: the database is damaged, or was closed.
        """
        with self._mutex, FORK_GATE:
            return self._opened().execute(sql, values).fetchall()

    def snapshot(self, queries: Sequence[tuple[str, Sequence[Any]]]) -> list[list[Any]]:
        """Return the rows of several queries, all as of one moment.

        Raises:
            SQLError: the database is damaged, or was closed.
        """
        with self._within("BEGIN") as connection:
            return [connection.execute(*each).fetchall() for each in queries]

    @contextmanager
    def transaction(self, patience: float) -> Iterator[Connection]:
        """Give the connection, in a transaction that keeps all others of ours from writing.

        Raises:
            SQLError: nothing was changed.
        """
        with self._within("BEGIN IMMEDIATE", patience) as connection:
            yield connection

    @contextmanager
    def _within(self, begin: str, patience: float = PATIENT) -> Iterator[Connection]:
        with self._mutex, FORK_GATE:
            connection = self._opened()
            connection.execute(f"PRAGMA busy_timeout = {patience * 1000:.0f}")
            connection.execute(begin)
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(SQLError):
                    connection.execute("ROLLBACK")
                raise

    def _opened(self) -> Connection:
        self.forget_inherited()
        if self._is_closed:
            raise sqlite3.ProgrammingError("the index was closed meanwhile")
        if self._connection is None:  # it is new, or a fork has closed it
            self._pid = os.getpid()
            self._connection = _connect(os.path.join(self.directory, DATABASE))
        return self._connection

    def facts(self) -> dict[str, str]:
        """Return what is recorded of the index.

        Raises:
            SQLError: the database is damaged, or was closed.
        """
        return dict(self.rows("SELECT name, value FROM facts"))


def is_busy(error: SQLError) -> bool:
    """Return whether another process wrote all the time that we waited."""
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY


def get_fact(connection: Connection, name: str) -> str | None:
    """Return what is recorded of the index under this name."""
    found = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return found[0] if found else None


def set_facts(connection: Connection, **facts: object) -> None:
    """Record something of the index, in the transaction that is open."""
    sql = "INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)"
    connection.executemany(sql, [(name, str(value)) for name, value in facts.items()])


def _connect(path: str) -> Connection:
    # A mutex keeps threads apart. A transaction begins and ends where we say so.
    connection = sqlite3.connect(
        f"file:{_quote(path)}?mode=rw",  # a file that was removed must not come back empty
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=PATIENT,
    )
    try:
        # With a write-ahead log nothing is flushed but, now and then, before pages of it go
        # into the database: a loss of power takes the last rows, but mixes no pages.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cache_size = -16000")  # KiB
    except BaseException:
        connection.close()
        raise
    return connection


def _quote(path: str) -> str:
    from urllib.parse import quote

    return quote(os.fsencode(path))  # also a name that is not UTF-8


# --- the one that counts ------------------------------------------------------------------------


def directories(layout: Layout) -> list[str]:
    """Return the indexes of this format, the one that counts first.

    Raises:
        OSError: the root cannot be listed: then nobody knows whether there is one.
    """
    return list(filter(index_directory.is_ours, index_directory.paths(layout)))


def open_index(layout: Layout, mutex: Mutex, *, create: bool) -> Database | None:
    """Open the index that counts; a damaged one is removed. None if there is none, or a new one.

    Raises:
        SQLError: it cannot be had here.
        Unusable: it cannot be had here.
        OSError: it cannot be known whether there is one.
    """
    if _has_inherited():
        raise Unusable(
            "this process was forked in C while its parent had an index open: close() the store"
            " before such a fork"
        )
    is_new = False
    for _ in range(_ATTEMPTS):
        there = directories(layout)
        if not there and not create:
            return None
        if not there:
            _make(layout)
            is_new = True
            continue
        try:
            opened = Database(there[0], mutex)
            opened.facts()
        except SQLError as error:
            if not is_new and os.path.lexists(os.path.join(there[0], DATABASE)):
                text = "the index was damaged, and is made anew: %s"
                index_directory.warn(layout, text, error)
            index_directory.remove(layout, there[0])
            if is_new:  # one that was just made is not damaged: it does not work
                raise
            continue
        for other in there[1:]:
            index_directory.remove(layout, other)
        return opened
    raise Unusable("others remove the index again and again")


def _make(layout: Layout) -> None:
    """Make an empty index aside, and give it its place once it is whole."""
    with opened_trash(layout) as trash:
        name = f"index.{random_hex(8)}"
        aside = os.path.join(trash.path, name)
        trash.make_directory(name)
        try:
            _fill(aside, layout)
            os.rename(aside, os.path.join(layout.root, f"index-{FORMAT}-{random_hex(8)}"))
        except BaseException as error:
            was_swept = isinstance(error, OSError | SQLError) and not os.path.lexists(aside)
            shutil.rmtree(aside, ignore_errors=True)
            if not was_swept:  # by somebody who took it for left over: then it is tried again
                raise


def _fill(directory: str, layout: Layout) -> None:
    live_names.prepare(directory, layout)
    file = os.path.join(directory, DATABASE)
    # SQLite gives the log beside it the owner and the mode of this file.
    os.close(making.open_or_make(file))
    connection = _connect(file)
    try:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = MEMORY")
        # Of 4,096 to 16,384 bytes a new index is made fastest with these, by a tenth, and rows are
        # stored no slower.
        connection.execute("PRAGMA page_size = 8192")
        for sql in TABLES:
            connection.execute(sql)
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise Unusable(f"SQLite cannot keep a write-ahead log here ({mode})")
    finally:
        connection.close()


def try_out(directory: str) -> str:
    """Make a database in ``directory``, write and read; return the version of SQLite.

    Raises:
        Unusable: it does not work there; the message says why.
    """
    try:
        connection = sqlite3.connect(os.fsencode(os.path.join(directory, "trial.sqlite")))
        try:
            with connection:
                connection.execute("CREATE TABLE trial (id TEXT PRIMARY KEY)")
                connection.execute("INSERT INTO trial VALUES ('one')")
            (count,) = connection.execute("SELECT count(*) FROM trial").fetchone()
        finally:
            connection.close()
    except SQLError as error:
        raise Unusable(f"SQLite does not work here: {error}") from error
    if count != 1:
        raise Unusable("SQLite lost a row")
    return sqlite3.sqlite_version
