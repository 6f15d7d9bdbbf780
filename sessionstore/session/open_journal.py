"""A journal that a claim has open: its appends, and the ways back that it does not have yet."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress

from sessionstore.errors import SessionStoreError
from sessionstore.log import log_session
from sessionstore.model.journal import Position, Rewind
from sessionstore.session.journal_reader import JournalReader
from sessionstore.storage.claim import Claim
from sessionstore.storage.journal import Appended, JournalAppender


class OpenJournal:
    """A journal of a claimed session. The first append opens it."""

    def __init__(
        self, claim: Claim, name: str, saved: Position, rewinds: list[Rewind], reader: JournalReader
    ) -> None:
        self.reader: JournalReader = reader
        self._claim = claim
        self._name = name
        self._saved = saved
        self._rewinds = rewinds
        """The ways back of the state, which the journal has once :attr:`_recorded` is flushed."""
        self._recorded: int | None = None if rewinds else 0
        """The number of the line that holds the last way back of the state."""
        self._mutex = threading.RLock()
        """Held while something is written, not while it is flushed; never in a forked child."""
        self._appender: JournalAppender | None = None
        self._is_short = False
        """Whether it ends before where the stored state says: its end was lost."""
        self._keys: dict[str, int] | None = None

    def append(
        self, values: Sequence[bytes], key: str | None, at: str, *, cancellable: bool = True
    ) -> Appended:
        """Append values, to be flushed with :meth:`finish`.

        If a record has ``key``, nothing is appended: the number is that of the record.
        """
        with self._mutex:
            appender = self._opened()
            if key is not None and (known := self._numbers().get(key)) is not None:
                appender.flush()  # the append of that record may not have been flushed
                return Appended(known)
            # Race: Exception from a signal handler. It may come right after the write: whether the
            # record is there, the next append with a key finds out.
            keys, self._keys = self._keys, None
            appended = self._write(appender, values, key, at, cancellable=cancellable)
            if keys is not None and key is not None:
                keys[key] = appended.number
            self._keys = keys
            return appended

    def rewrite(self, values: Sequence[bytes], at: str) -> Appended:
        """Replace all records by ``values``, at once, to be flushed with :meth:`finish`."""
        with self._mutex:
            appended = self._write(self._opened(), values, None, at, anew=True)
            self._keys = None
        self.log_rewound("rewritten")
        return appended

    def log_rewound(self, how: str) -> None:
        """Log that records of it no longer count."""
        reason = f"journal {self._name}: {how}"
        log_session("journal_rewound", self._claim.session_id, "%s", reason, reason=reason)

    def open(self) -> None:
        """Open it before the first append, so that its position is where it ends now."""
        with self._mutex:
            self._opened()

    def finish(self, appended: Appended) -> int:
        """Have a batch be as durable as the store promises; return the number of its last line."""
        self._opened().flush(appended)
        return appended.number

    def flush(self) -> None:
        """Have all that was appended survive a loss of power, also where a save need not."""
        with self._mutex:
            if self._appender is not None:
                self._appender.flush()

    def position(self, *, flushed: bool) -> Position:
        """Return where it ends, or where what was flushed ends."""
        if self._appender is None:
            return self._saved
        return self._appender.flushed if flushed else self._appender.end

    def last_number(self) -> int:
        """Return the number of the last line, once the ways back of the state are written."""
        ends = [one.number for one in self.missing(flushed=False)]
        return max([self.position(flushed=False).number, *ends])

    def missing(self, *, flushed: bool) -> list[Rewind]:
        """Return the ways back that the journal does not have up to its :meth:`position`."""
        last = self.position(flushed=flushed).number
        has_all = self._recorded is not None and self._recorded <= last
        return [] if has_all else self._rewinds

    def _write(
        self,
        appender: JournalAppender,
        values: Sequence[bytes],
        key: str | None,
        at: str,
        *,
        anew: bool = False,
        cancellable: bool = True,
    ) -> Appended:
        if self._recorded is not None and not anew and not self._is_short:
            return appender.append(values, key, at, cancellable=cancellable)
        last = appender.end.number
        ways_back = list[Rewind]()
        for one in self._rewinds if self._recorded is None else ():
            # The end of the journal may have been lost, or written, since the state was.
            ways_back.append(Rewind(min(one.back_to, last), max(one.upto, last)))
            last = ways_back[-1].number
        recorded = last
        if self._is_short and last < self._saved.number:  # what was lost keeps its numbers
            ways_back.append(Rewind(last, self._saved.number))
            last = ways_back[-1].number
        if anew and last:
            ways_back.append(Rewind(0, last))
        try:
            appended = appender.append([*ways_back, *values], key, at, cancellable=cancellable)
            self._is_short = False
            if self._recorded is None:
                self._recorded = recorded
        except BaseException:
            # Race: Exception from a signal handler. It may come after the ways back were written:
            # written twice, they would leave behind what has just been appended.
            if self._recorded is None:
                with suppress(SessionStoreError):
                    self._find_recorded()
            raise
        return appended

    def _opened(self) -> JournalAppender:
        if self._appender is None:
            self._appender = self._claim.open_journal(self._name, self._saved)
            self._is_short = self._appender.end.number < self._saved.number
            self._find_recorded()
        return self._appender

    def _find_recorded(self) -> None:
        """Find out whether the journal has the ways back of the state already.

        They come before any other, together; a save that says so may not have followed.
        """
        if self._rewinds:
            known = self.reader.recorded()
            if known and known[-1].number >= self._rewinds[-1].number:
                self._recorded = known[-1].number

    def _numbers(self) -> dict[str, int]:
        if self._keys is None:
            self._keys = self.reader.keys()
        return self._keys
