"""The database file of a store's index: made, opened, and removed; the one door to sqlite3.

A database has a name of its own, never used again: SQLite finds the log of a database by its
name, so a successor under the same name could be given the log of the one before. Where two are
made at once, the first by name counts.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from contextlib import suppress

from sessionstore.durable import replace
from sessionstore.log import about, logger
from sessionstore.model.ids import random_hex
from sessionstore.storage.files.index.schema import TABLES
from sessionstore.storage.files.layout import Layout, index_names

Connection = sqlite3.Connection
SQLError = sqlite3.Error
"""What SQLite raises."""

VERSION = "2"
_BUSY = 5.0
"""Seconds that a write waits for another one, which takes milliseconds unless it was stopped."""

_SUFFIXES = ("", "-wal", "-shm", "-journal")


class Unusable(Exception):
    """There is no index to be had here; the message says why."""


# --- one mutex, because of fork -----------------------------------------------------------------

# A connection must not be used in a forked child, nor closed by it: that ends the locks that the
# parent believes to have. The child forgets it, open; and no fork comes in the middle of a call.
MUTEX = threading.RLock()
_all: weakref.WeakSet[Database] = weakref.WeakSet()
_left_by_parents: list[Connection] = []


def _forget_in_child() -> None:
    for database in list(_all):
        database.forget_connection()
    MUTEX.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=MUTEX.acquire, after_in_parent=MUTEX.release, after_in_child=_forget_in_child
    )


class Database:
    """The database of one store, as this process uses it: one connection, under the mutex."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._connection: Connection | None = None
        self._name: str | None = None
        self.opened: int = 0
        """How many connections this process has had to it."""
        _all.add(self)

    def __del__(self) -> None:
        self.close()

    @property
    def name(self) -> str | None:
        """The file name of the database that is open, or was open last."""
        return self._name

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        with MUTEX:
            connection, self._connection = self._connection, None
            if connection is not None:
                with suppress(SQLError):
                    connection.close()

    def forget_connection(self) -> None:
        """Let go of the connection without closing it: it is the parent's."""
        connection, self._connection = self._connection, None
        if connection is not None:
            _left_by_parents.append(connection)

    def existing(self) -> Connection:
        """Return a connection to the database that counts, under the mutex.

        Raises:
            SQLError, Unusable: it is damaged, or gone.
        """
        try:
            connection = self.current(create=False)
        except OSError as error:
            raise Unusable(str(error)) from error
        if connection is None:
            raise Unusable("the index was removed")
        return connection

    def current(self, *, create: bool, is_new: bool = False) -> Connection | None:
        """Return a connection to it, made if ``create``; None if there is none to be had so.

        ``is_new`` says that it was made just now, in place of one that was damaged.

        Raises:
            SQLError, Unusable: it is damaged, or cannot be had here.
            OSError: it cannot be made, or it cannot be known whether there is one.
        """
        names = index_names(self._layout)
        if self._connection is not None:
            if names and names[0] == self._name:
                return self._connection
            self.close()
        if not names:
            if not create:
                return None
            self._make()
            names = index_names(self._layout)
            if not names:
                raise Unusable("the index was removed")
        try:
            connection = self._connected(os.path.join(self._layout.root, names[0]))
        except SQLError as error:
            self._remove(names[0])
            if not create or is_new:  # one that was just made is not damaged: it does not work
                raise
            self._warn("the index was damaged, and is made anew: %s", error)
            return self.current(create=True, is_new=True)
        for other in names[1:]:
            self._remove(other)
        self._connection, self._name = connection, names[0]
        self.opened += 1
        return connection

    def _connected(self, path: str) -> Connection:
        """Return a connection to a database of this version."""
        connection = self._connect(path)
        try:
            if get_fact(connection, "version") != VERSION:
                raise sqlite3.DatabaseError("it is of another version")
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self, path: str) -> Connection:
        # mode=rw: a file that was removed just now must not come back empty.
        uri = f"file:{_quote(path)}?mode=rw"
        connection = sqlite3.connect(
            uri, uri=True, timeout=_BUSY, isolation_level=None, check_same_thread=False
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

    def _make(self) -> None:
        """Make an empty database aside, and give it its name once it is whole."""
        name = f"index-{random_hex(8)}.sqlite"
        aside = os.path.join(self._layout.root, replace.temporary_name())
        os.close(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        try:
            connection = self._connect(aside)
            try:
                connection.execute("PRAGMA synchronous = OFF")
                connection.execute("PRAGMA journal_mode = MEMORY")
                # Of 4,096 to 16,384 bytes a new index is made fastest with these, by a tenth, and
                # a row is settled no slower.
                connection.execute("PRAGMA page_size = 8192")
                for sql in TABLES:
                    connection.execute(sql)
                set_fact(connection, "version", VERSION)
                mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
                if mode != "wal":
                    raise Unusable(f"SQLite cannot keep a write-ahead log here ({mode})")
            finally:
                connection.close()
            os.rename(aside, os.path.join(self._layout.root, name))
        except BaseException:
            for suffix in _SUFFIXES:
                with suppress(OSError):
                    os.unlink(aside + suffix)
            raise

    def discard(self, reason: object) -> None:
        """Remove the database: the next who lists makes another.

        Raises:
            OSError: it cannot be known whether there is one.
        """
        with MUTEX:
            name = self._name
            self.close()
            if name is None:
                name = next(iter(index_names(self._layout)), None)
            if name is None:
                return
            self._warn("the index was removed: %s", reason)
            self._remove(name)

    def _remove(self, name: str) -> None:
        for suffix in _SUFFIXES:
            try:
                os.unlink(os.path.join(self._layout.root, name + suffix))
            except FileNotFoundError:
                continue
            except OSError as error:
                self._warn(
                    "the index cannot be removed, and may not list what is there:"
                    " remove index-* by hand: %s",
                    error,
                )

    def _warn(self, text: str, reason: object) -> None:
        root = self._layout.root
        logger.warning(
            f"%s: {text}",
            root,
            reason,
            extra=about("index_removed", path=root, reason=reason),
        )


def get_fact(connection: Connection, name: str) -> str | None:
    """Return what is recorded of the index under this name."""
    found = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return found[0] if found else None


def set_fact(connection: Connection, name: str, value: str) -> None:
    """Record something of the index, in the transaction that is open."""
    connection.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (name, value))


def roll_back(connection: Connection) -> None:
    """End a transaction that failed, if there is one."""
    with suppress(SQLError):
        connection.execute("ROLLBACK")


def _quote(path: str) -> str:
    from urllib.parse import quote

    return quote(path)


def try_out(directory: str) -> str:
    """Make a database in ``directory``, write and read; return the version of SQLite.

    Raises:
        Unusable: it does not work there; the message says why.
    """
    try:
        connection = sqlite3.connect(os.path.join(directory, "trial.sqlite"))
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
