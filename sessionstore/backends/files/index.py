"""The index of a store of files: derived, disposable, and never asked to be right by itself.

It is the one door to sqlite3. A row is *settled* when the file of its session cannot change
without the row being touched first; any other is *live*, and whoever lists reads the file:

- A claim makes the row live, under the session's lock, before its first save; its mark is a
  random number. Release settles the row, if the mark is still its own.
- A process that dies leaves a live row. Whoever lists settles it, once the lock was seen free
  and the file unchanged since it was read, if the mark is still the one it has seen.
- Sessions come and go in one transaction with the change of ``sessions/``, whose inode and
  change time are recorded. What others add or remove is noticed by them.
- Nothing is flushed for it. A row may be lost with the power, so the boot is recorded, too: after
  another one everything is compared with the files, by inode, size and time.

Who cannot keep it true removes it. A database has a name of its own, never used again: SQLite
finds the log of a database by its name, so a successor under the same name could be given the
log of the one before. Where two are made at once, the first by name counts.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from sessionstore import durable, owner
from sessionstore.backends.files.layout import Layout, index_names
from sessionstore.backends.files.rows import COLUMNS, INDEXES, TABLES, Row
from sessionstore.log import about, logger

_T = TypeVar("_T")

VERSION = "1"
_BUSY = 5.0
"""Seconds that a write waits for another one, which takes milliseconds unless it was stopped."""


class Unusable(Exception):
    """There is no index to be had here; the message says why."""


# --- one mutex, because of fork -----------------------------------------------------------------

# A connection must not be used in a forked child, nor closed by it: that ends the locks that the
# parent believes to have. The child forgets it, open; and no fork comes in the middle of a call.
_mutex = threading.RLock()
_all: weakref.WeakSet[Index] = weakref.WeakSet()
_left_by_parents: list[sqlite3.Connection] = []


def _forget_in_child() -> None:
    for index in list(_all):
        index.forget_connection()
    _mutex.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_mutex.acquire, after_in_parent=_mutex.release, after_in_child=_forget_in_child
    )


class Index:
    """The index of one store, as this process uses it. Safe to use from several threads."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._connection: sqlite3.Connection | None = None
        self._name: str | None = None
        _all.add(self)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        with _mutex:
            connection, self._connection = self._connection, None
            if connection is not None:
                with suppress(sqlite3.Error):
                    connection.close()

    def forget_connection(self) -> None:
        """Let go of the connection without closing it: it is the parent's."""
        connection, self._connection = self._connection, None
        if connection is not None:
            _left_by_parents.append(connection)

    # --- what the holder of a session says -------------------------------------------------------

    def mark_live(self, session_id: str) -> int | None:
        """Say, under the session's lock, that its file is about to change.

        Returns the mark for :meth:`settle`; None where there is no index.
        """
        mark = new_mark()

        def write(connection: sqlite3.Connection) -> int:
            connection.execute(
                "INSERT INTO sessions (id, live) VALUES (?, ?)"
                " ON CONFLICT (id) DO UPDATE SET live = excluded.live",
                (session_id, mark),
            )
            return mark

        return self._write(write)

    def settle(self, row: Row, mark: int) -> None:
        """Say that the file stays as ``row`` has it, unless another mark was made since."""
        self.settle_all([(row, mark)])

    def settle_all(self, rows: Sequence[tuple[Row, int]]) -> None:
        """Settle several rows at once."""

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany(_SETTLE, ((*row, row.id, mark) for row, mark in rows))

        self._write(write)

    def remove_gone(self, session_id: str, mark: int) -> None:
        """Remove the row of a session that is gone, unless it was made anew."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM sessions WHERE id = ? AND live = ?", (session_id, mark))

        self._write(write)

    @contextmanager
    def adding(self, session_id: str) -> Iterator[int | None]:
        """Give the mark of a session that the block moves into ``sessions/``, under its lock."""
        mark = new_mark()

        def record(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT OR REPLACE INTO sessions (id, live) VALUES (?, ?)", (session_id, mark)
            )

        with self._renaming(record) as recorded:
            yield mark if recorded else None

    @contextmanager
    def removing(self, session_id: str) -> Iterator[None]:
        """Remove the row of a session that the block moves out of ``sessions/``."""

        def record(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM sessions WHERE id = ?", (session_id,))

        with self._renaming(record):
            yield

    @contextmanager
    def _renaming(self, record: Callable[[sqlite3.Connection], None]) -> Iterator[bool]:
        # The transaction keeps all others of ours out, so that what changes sessions/ meanwhile
        # is the block, or somebody else, of whom nothing must be recorded.
        with _mutex:
            connection = self._begun()
            if connection is None:
                yield False
                return
            try:
                try:
                    known = _get(connection, "directory")
                    foreign = known != self.directory_identity()
                    record(connection)
                except sqlite3.Error as error:
                    _rollback(connection)
                    self._discard(error)
                    connection = None
                yield connection is not None
            except BaseException:
                if connection is not None:
                    _rollback(connection)
                raise
            if connection is not None:
                try:
                    if not foreign:
                        _set(connection, "directory", self.directory_identity())
                    connection.execute("COMMIT")
                except sqlite3.Error as error:
                    _rollback(connection)
                    self._discard(error)

    def directory_identity(self) -> str:
        """Return what changes whenever a session comes or goes, or all are replaced."""
        try:
            status = os.stat(self._layout.sessions)
        except OSError:
            return ""
        return f"{status.st_dev}:{status.st_ino}:{status.st_ctime_ns}"

    def _begun(self) -> sqlite3.Connection | None:
        """Return the connection, in a transaction that may write; None without an index.

        Raises:
            OSError: it cannot be known whether there is one.
        """
        try:
            connection = self._current(create=False)
            if connection is not None:
                connection.execute("BEGIN IMMEDIATE")
        except (sqlite3.Error, Unusable) as error:
            self._discard(error)
            return None
        return connection

    def _write(self, write: Callable[[sqlite3.Connection], _T]) -> _T | None:
        """Return what ``write`` returns within a transaction; None if there is no index (now)."""
        with _mutex:
            connection = self._begun()
            if connection is None:
                return None
            try:
                result = write(connection)
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                _rollback(connection)
                self._discard(error)
                return None
            except BaseException:
                _rollback(connection)
                raise
            return result

    # --- what those who list use -----------------------------------------------------------------

    def open(self) -> None:
        """Open the index, made now if there is none.

        Raises:
            Unusable: SQLite cannot work here.
        """
        with _mutex:
            try:
                self._current(create=True)
            except (sqlite3.Error, OSError) as error:
                raise Unusable(str(error)) from error

    def rows(self, sql: str, values: Sequence[Any]) -> list[Any]:
        """Return the rows that a query yields.

        Raises:
            sqlite3.Error, Unusable: the index is damaged, or gone.
        """
        with _mutex:
            return self._existing().execute(sql, values).fetchall()

    def snapshot(self, queries: Sequence[tuple[str, Sequence[Any]]]) -> list[list[Any]]:
        """Return the rows of several queries, all as of one moment.

        Raises:
            sqlite3.Error, Unusable: the index is damaged, or gone.
        """
        return self._within(
            "BEGIN", lambda one: [one.execute(*each).fetchall() for each in queries]
        )

    def change(self, write: Callable[[sqlite3.Connection], _T]) -> _T:
        """Return what ``write`` returns, in a transaction.

        Raises:
            sqlite3.Error, Unusable: nothing was changed.
        """
        return self._within("BEGIN IMMEDIATE", write)

    def _within(self, begin: str, work: Callable[[sqlite3.Connection], _T]) -> _T:
        with _mutex:
            connection = self._existing()
            connection.execute(begin)
            try:
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                _rollback(connection)
                raise
            return result

    def why_not_true(self) -> str | None:
        """Return why the rows cannot be trusted before a comparison, or None if they can."""
        facts = dict(self.rows("SELECT name, value FROM facts", ()))
        if facts.get("complete") != "1":
            return "it is new, or was not finished"
        if facts.get("boot") != owner.boot_id():
            return "the machine was started since, or the store comes from another one"
        if facts.get("directory") != self.directory_identity() and not self.change(
            # One of ours may be between the change and its record: this waits for it.
            lambda one: _get(one, "directory") == self.directory_identity()
        ):
            return "something else added, removed or replaced sessions"
        return None

    def begin_comparison(self) -> None:
        """Record what is about to be compared; until the end the rows are not trusted."""

        def write(connection: sqlite3.Connection) -> None:
            _set(connection, "complete", "0")
            _set(connection, "boot", owner.boot_id() or "")
            _set(connection, "directory", self.directory_identity())

        self.change(write)

    def end_comparison(self) -> None:
        """Trust the rows from now on."""
        for sql in INDEXES:  # one by one: others write in between
            self.change(_executing(sql))
        self.change(lambda one: _set(one, "complete", "1"))

    def discard(self, reason: object) -> None:
        """Remove the index: the next who lists makes another.

        Raises:
            Unusable: it cannot be known whether there is one.
        """
        with _mutex:
            try:
                self._discard(reason)
            except OSError as error:
                raise Unusable(str(error)) from error

    # --- files -----------------------------------------------------------------------------------

    def _existing(self) -> sqlite3.Connection:
        try:
            connection = self._current(create=False)
        except OSError as error:
            raise Unusable(str(error)) from error
        if connection is None:
            raise Unusable("the index was removed")
        return connection

    def _current(self, *, create: bool) -> sqlite3.Connection | None:
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
        connection = self._connect(os.path.join(self._layout.root, names[0]))
        try:
            if _get(connection, "version") != VERSION:
                raise sqlite3.DatabaseError("it is of another version")
        except sqlite3.Error as error:
            connection.close()
            self._remove(names[0])
            if not create:
                raise
            self._warn("the index was damaged, and is made anew: %s", error)
            return self._current(create=True)
        for other in names[1:]:
            self._remove(other)
        self._connection, self._name = connection, names[0]
        return connection

    def _connect(self, path: str) -> sqlite3.Connection:
        # mode=rw: a file that was removed just now must not come back empty.
        uri = f"file:{_quote(path)}?mode=rw"
        connection = sqlite3.connect(
            uri, uri=True, timeout=_BUSY, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA cache_size = -16000")  # KiB
        except BaseException:
            connection.close()
            raise
        return connection

    def _make(self) -> None:
        """Make an empty database aside, and give it its name once it is whole."""
        name = f"index-{secrets.token_hex(8)}.sqlite"
        aside = os.path.join(self._layout.root, durable.temporary_name())
        os.close(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        try:
            connection = self._connect(aside)
            try:
                connection.execute("PRAGMA synchronous = OFF")
                connection.execute("PRAGMA journal_mode = MEMORY")
                for sql in TABLES:
                    connection.execute(sql)
                _set(connection, "version", VERSION)
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

    def _discard(self, reason: object) -> None:
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


_SUFFIXES = ("", "-wal", "-shm", "-journal")
_SETTLE = (
    f"UPDATE sessions SET {', '.join(f'{name} = ?' for name in COLUMNS)}"  # noqa: S608 - our own names
    " WHERE id = ? AND live = ?"
)


def new_mark() -> int:
    """Return a number that no other live row has."""
    return secrets.randbits(62) | 1


def _get(connection: sqlite3.Connection, name: str) -> str | None:
    found = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return found[0] if found else None


def _set(connection: sqlite3.Connection, name: str, value: str) -> None:
    connection.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (name, value))


def _executing(sql: str) -> Callable[[sqlite3.Connection], object]:
    return lambda connection: connection.execute(sql)


def _rollback(connection: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):
        connection.execute("ROLLBACK")


def _quote(path: str) -> str:
    from urllib.parse import quote

    return quote(path)
