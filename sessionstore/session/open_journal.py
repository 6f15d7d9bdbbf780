"""The journals that a claim has open: where they end, and what the state says of them."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from sessionstore.model.journal import Position, Rewind
from sessionstore.model.state import SessionState
from sessionstore.session.journal_reader import JournalReader
from sessionstore.session.stamp import Change
from sessionstore.storage.backend import Backend
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
        self._recorded = 0
        """The number of the line behind which the journal has the ways back of the state."""
        self._mutex = threading.Lock()
        """Held while something is written, not while it is flushed."""
        self._appender: JournalAppender | None = None
        self._keys: dict[str, int] | None = None

    def append(self, values: Sequence[bytes], key: str | None, at: str) -> int:
        """Append values; return the number of the last.

        If a record has ``key``, nothing is appended: the number is that of the record.
        """
        with self._mutex:
            appender = self._opened()
            known = None if key is None else self._numbers().get(key)
            if known is None:
                appended = self._write(appender, values, key, at)
                if key is not None:
                    self._numbers()[key] = appended.number
        if known is not None:
            appender.flush()  # another thread may still wait for the flush of that record
            return known
        appender.flush(appended)
        return appended.number

    def rewrite(self, values: Sequence[bytes], at: str) -> int:
        """Replace all records by ``values``, at once; return the number of the last line."""
        with self._mutex:
            appender = self._opened()
            back = [Rewind(0, appender.last)] if appender.last else []
            appended = self._write(appender, [*back, *values], None, at)
            self._keys = None
        appender.flush(appended)
        return appended.number

    def _write(
        self, appender: JournalAppender, items: Sequence[bytes | Rewind], key: str | None, at: str
    ) -> Appended:
        missing = [] if self._recorded else self._rewinds
        appended = appender.append([*missing, *items], key, at, cancellable=True)
        self._recorded = self._recorded or appended.number
        return appended

    def flush(self) -> None:
        """Have all that was appended survive a loss of power."""
        if self._appender is not None:
            self._appender.flush()

    @property
    def position(self) -> Position:
        """Where it ends, as far as that survives a loss of power."""
        return self._saved if self._appender is None else self._appender.position

    @property
    def needs_rewinds(self) -> bool:
        """Whether the state still has to tell the ways back: the journal may not have them."""
        return bool(self._rewinds) and not 0 < self._recorded <= self.position.number

    def _opened(self) -> JournalAppender:
        if self._appender is None:
            self._appender = self._claim.open_journal(self._name, self._saved)
        return self._appender

    def _numbers(self) -> dict[str, int]:
        if self._keys is None:
            self._keys = self.reader.keys()
        return self._keys


class SessionJournals:
    """The journals of a session that this process holds, and what its state says of them."""

    def __init__(self, backend: Backend, claim: Claim, state: SessionState) -> None:
        self._backend = backend
        self._claim = claim
        self._session_id = state.session_id
        self._saved = {name: Position(*place) for name, place in state.journals.items()}
        self._rewinds = {
            name: [Rewind(*one) for one in pairs] for name, pairs in state.rewinds.items()
        }
        self._open: dict[str, OpenJournal] = {}
        self._mutex = threading.Lock()

    def named(self, name: str) -> OpenJournal:
        """Return the journal ``name``; nothing is opened yet."""
        with self._mutex:
            if name not in self._open:
                rewinds = self._rewinds.get(name, [])
                reader = JournalReader(self._backend, self._session_id, name, lambda: rewinds)
                saved = self._saved.get(name, Position())
                self._open[name] = OpenJournal(self._claim, name, saved, rewinds, reader)
            return self._open[name]

    def stamps(self, state: SessionState) -> list[Change]:
        """Return what a write of ``state`` says of the journals."""
        places = {**self._saved, **{name: one.position for name, one in self._open.items()}}
        journals = {
            name: [place.number, place.offset] for name, place in places.items() if place.number
        }
        rewinds = {
            name: [[one.back_to, one.upto] for one in pairs]
            for name, pairs in self._rewinds.items()
            if name not in self._open or self._open[name].needs_rewinds
        }
        return [(state, "journals", journals), (state, "rewinds", rewinds)]

    def flush(self) -> None:
        """Have all that was appended survive a loss of power, before a state says so."""
        for journal in list(self._open.values()):
            journal.flush()
