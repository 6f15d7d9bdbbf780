"""The journals of a claimed session: where they end, and what its state says of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from sessionstore.errors import DurabilityUncertain, SessionStoreError, StorageError
from sessionstore.model import journal_view
from sessionstore.model.journal import Position, Rewind
from sessionstore.model.state import SessionState
from sessionstore.process.fork import Mutex
from sessionstore.session.journal_reader import JournalReader
from sessionstore.session.open_journal import OpenJournal
from sessionstore.session.stamp import Change
from sessionstore.storage.backend import Backend
from sessionstore.storage.claim import Claim


class SessionJournals:
    """The journals of a session that this process holds, and what its state says of them."""

    def __init__(self, backend: Backend, claim: Claim, state: SessionState) -> None:
        self._backend = backend
        self._claim = claim
        self._session_id = state.session_id
        self._saved = positions(state)
        self._rewinds = rewinds(state)
        self._open: dict[str, OpenJournal] = {}
        self._mutex = Mutex()

    def named(self, name: str) -> OpenJournal:
        """Return the journal ``name``; nothing is opened yet."""
        with self._mutex:
            if name not in self._open:
                known = self._rewinds.get(name, [])
                reader = JournalReader(self._backend, self._session_id, name, lambda: known)
                saved = self._saved.get(name, Position())
                self._open[name] = OpenJournal(self._claim, name, saved, known, reader)
            return self._open[name]

    def stamps(self, state: SessionState, *, flushed: bool) -> list[Change]:
        """Return what a write of ``state`` says of the journals.

        It says where they end; with ``flushed``, where they end for sure. Without it they have to
        be flushed before the write.
        """
        opened = list(self._open.items())
        ways_back = self._rewinds | {name: one.missing(flushed=flushed) for name, one in opened}
        return [
            (state, "journals", self.ends(flushed=flushed)),
            (
                state,
                "rewinds",
                {name: [[*one] for one in ones] for name, ones in ways_back.items() if ones},
            ),
        ]

    def flushed_ends(self) -> dict[str, list[int]]:
        """Flush all that was appended; return where the journals end, as a state tells it.

        Raises:
            StorageError: it may not survive a loss of power.
        """
        self.flush()
        return self.ends(flushed=True)

    def ends(self, *, flushed: bool) -> dict[str, list[int]]:
        """Return where the journals end, or where what was flushed ends, as a state tells it."""
        opened = list(self._open.items())
        places = self._saved | {name: one.position(flushed=flushed) for name, one in opened}
        return {name: [*place] for name, place in places.items() if place.number}

    def flush(self) -> None:
        """Have all that was appended survive a loss of power, before a state says so.

        Raises:
            StorageError: it may not survive one.
        """
        try:
            for journal in list(self._open.values()):
                journal.flush()
        except DurabilityUncertain as error:
            cause = error.__cause__
            assert isinstance(cause, OSError)
            raise StorageError("flush the journals of", self._session_id, cause) from cause


def positions(state: SessionState) -> dict[str, Position]:
    """Return where the journals ended when ``state`` was written, by name."""
    return {name: Position(*place) for name, place in state.journals.items()}


def rewinds(state: SessionState) -> dict[str, list[Rewind]]:
    """Return the ways back that the journals may not have yet, by name."""
    return {name: journal_view.pending_rewinds(state, name) for name in state.rewinds}


def unsaved(backend: Backend, state: SessionState) -> Iterator[str]:
    """Yield the names of the journals with records that ``state`` does not tell of.

    Somebody appended to them, and saved nothing. One that is damaged is passed over.
    """
    with suppress(SessionStoreError):
        for name in backend.journal_names(state.session_id):
            saved = Position(*state.journals.get(name, ()))
            with suppress(SessionStoreError):
                if next(backend.read_journal(state.session_id, name, saved), None) is not None:
                    yield name
