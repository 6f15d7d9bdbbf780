"""The memory backend: sessions in this process, for the tests of applications."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NoReturn

from sessionstore import clock
from sessionstore.errors import (
    ClaimLost,
    RevisionConflict,
    SessionClaimed,
    SessionCorrupt,
    SessionExists,
    SessionNotFound,
)
from sessionstore.model import codec, mending
from sessionstore.model.journal import JournalRecord, Position, Rewind
from sessionstore.model.state import SessionOwner
from sessionstore.model.stored import Stored
from sessionstore.process import identity
from sessionstore.process.fork import PerProcess
from sessionstore.storage.backend import Backend
from sessionstore.storage.claim import Claim
from sessionstore.storage.importer import SessionImporter
from sessionstore.storage.journal import NONE, Batch, JournalAppender, Journals
from sessionstore.storage.memory_importer import MemoryImporter
from sessionstore.storage.memory_session import KeptSession, MemoryJournal
from sessionstore.storage.memory_turn import MemoryLines, MemoryTurn
from sessionstore.storage.turn import LIES_FREE, Turn
from sessionstore.storage.values import CancelRequest, Probe


class MemoryBackend(Backend):
    """Keeps sessions as bytes in this process, and behaves as the files backend does."""

    def __init__(self, *, clock: clock.Clock = clock.utc_now) -> None:
        self.clock = clock
        self._sessions: dict[str, KeptSession] = {}
        self._claims: dict[str, MemoryClaim] = {}
        self._last_holders: dict[str, SessionOwner] = {}
        self._quarantine: list[tuple[str, str, KeptSession]] = []
        self._conditions = PerProcess(threading.Condition)
        self._lines = MemoryLines(self._conditions.get, self._claims.__contains__)

    def lock_is_proof(self, owner: SessionOwner) -> bool:
        """No other process can hold anything here."""
        del owner
        return True

    @property
    def _changed(self) -> threading.Condition:
        return self._conditions.get()

    def __str__(self) -> str:
        return "memory"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a MemoryBackend cannot be pickled: its sessions are in this process alone; use a"
            " store of files to share sessions with another process"
        )

    def ids(self) -> Iterator[str]:
        with self._changed:
            return iter(list(self._sessions))

    def exists(self, session_id: str) -> bool:
        return session_id in self._sessions

    def read(self, session_id: str) -> Stored:
        return Stored(self._kept(session_id).payload, f"memory:{session_id}")

    def create(
        self, session_id: str, payload: bytes, owner: SessionOwner, *, journals: Journals = NONE
    ) -> Claim:
        built = KeptSession(payload)
        for name, batches in journals.items():
            built.put_journal(name, batches)
        with self._changed:
            if session_id in self._sessions:
                is_own = identity.is_holding(self.probe(session_id).holder)
                raise SessionExists(session_id, is_own=is_own)
            self._sessions[session_id] = built
            claim = self._claimed(session_id, owner)
            claim.confirm()
            return claim

    def claim(
        self, session_id: str, owner: SessionOwner, *, timeout: float, turn: Turn | None = None
    ) -> Claim:
        started = time.monotonic()
        deadline = started + timeout
        place = turn if isinstance(turn, MemoryTurn) else MemoryTurn(self._lines, session_id)
        with self._changed:
            try:
                while True:
                    self._kept(session_id)
                    holder = self._claims.get(session_id)
                    if holder is None and place.is_next():
                        return self._claimed(session_id, owner)
                    # An unconfirmed holder is about to confirm its claim or to release it, and a
                    # waiter that is next is about to take the session.
                    is_named = holder is not None and holder.is_confirmed
                    wait_until = deadline if is_named else max(deadline, started + 2.0)
                    left = wait_until - time.monotonic()
                    if left <= 0 or place is turn:
                        by = holder.owner if holder is not None else None
                        raise SessionClaimed(session_id, by, is_own=identity.is_holding(by))
                    if timeout > 0:
                        place.join()
                    self._changed.wait(min(left, LIES_FREE))
            finally:
                if place is not turn:
                    place.close()

    def line_up(self, session_id: str) -> Turn:
        turn = MemoryTurn(self._lines, session_id)
        turn.join()
        return turn

    def probe(self, session_id: str) -> Probe:
        with self._changed:
            held = self._claims.get(session_id)
            if held is not None:
                return Probe(True, held.owner)
            last = self._last_holders.get(session_id)
            return Probe(False, last, released=last is not None)

    def request_cancellation(self, session_id: str, request: CancelRequest) -> bool:
        with self._changed:
            held = self._claims.get(session_id)
            if held is None or held.owner.token != request.token:
                return False
            if request.reason is None and held.request is not None:
                request = replace(request, reason=held.request.reason)
            held.request = request
            return True

    def pending_request(self, session_id: str, token: str | None) -> CancelRequest | None:
        with self._changed:
            held = self._claims.get(session_id)
        return held.request if held is not None and held.owner.token == token else None

    def checkpoint_ids(self, session_id: str) -> list[str]:
        with self._changed:
            return list(self._kept(session_id).checkpoints)

    def read_checkpoint(self, session_id: str, checkpoint_id: str) -> Stored:
        file = f"memory:{session_id}/checkpoints/{checkpoint_id}"
        try:
            return Stored(self._kept(session_id).checkpoints[checkpoint_id], file)
        except KeyError:
            raise SessionCorrupt(session_id, file, "there is no such checkpoint") from None

    def is_current(self, session_id: str, checkpoint_id: str) -> bool:
        kept = self._kept(session_id)
        return kept.checkpoints.get(checkpoint_id) is kept.payload

    def journal_names(self, session_id: str) -> list[str]:
        return sorted(self._kept(session_id).journals)

    def journal_rewinds(self, session_id: str, name: str) -> list[Rewind]:
        return self._kept(session_id).journal_rewinds(name)

    def read_journal(self, session_id: str, name: str, start: Position) -> Iterator[Batch]:
        return self._kept(session_id).read_journal(name, start)

    def last_appended_at(self, session_id: str) -> str | None:
        kept = self._sessions.get(session_id)
        return None if kept is None else kept.last_appended_at()

    def importer(self) -> SessionImporter:
        return MemoryImporter(self._publish)

    def _publish(self, session_id: str, kept: KeptSession) -> None:
        with self._changed:
            if session_id in self._sessions:
                raise SessionExists(session_id)
            self._sessions[session_id] = kept

    # --- check and repair ------------------------------------------------------------------------

    def restore(self, claim: Claim, payload: bytes, revision: int, reason: str) -> str:
        damaged = KeptSession(claim.read().payload)
        claim.write(payload, revision)
        return self._to_quarantine(claim, reason, damaged)

    def quarantine_checkpoint(self, claim: Claim, checkpoint_id: str | None, reason: str) -> str:
        if checkpoint_id is None:
            raise self._no_quarantine(claim)  # a dict is always a dict
        with self._changed:
            claim.read()
            damaged = {checkpoint_id: self._kept(claim.session_id).checkpoints.pop(checkpoint_id)}
        return self._to_quarantine(claim, reason, KeptSession(b"", damaged))

    def quarantine_session(self, claim: Claim, reason: str) -> str:
        with self._changed:
            claim.read()
            whole = self._kept(claim.session_id)
            claim.delete()
        return self._to_quarantine(claim, reason, whole)

    def _to_quarantine(self, claim: Claim, reason: str, what: KeptSession) -> str:
        self._quarantine.append((claim.session_id, reason, what))
        return f"memory:quarantine/{len(self._quarantine)}"

    def _kept(self, session_id: str) -> KeptSession:
        try:
            return self._sessions[session_id]
        except KeyError:
            raise SessionNotFound(session_id, self) from None

    def _claimed(self, session_id: str, by: SessionOwner) -> MemoryClaim:
        claim = MemoryClaim(self, session_id, by, self._last_holders.get(session_id))
        self._claims[session_id] = claim
        identity.hold(by)
        return claim


class MemoryClaim(Claim):
    """A claim within this process."""

    def __init__(
        self,
        backend: MemoryBackend,
        session_id: str,
        by: SessionOwner,
        previous: SessionOwner | None,
    ) -> None:
        super().__init__(session_id, by, previous)
        self._backend = backend
        self._kept = kept = backend._sessions[session_id]
        self._expected = kept.payload
        self._revision: int | None = None
        self.is_confirmed: bool = False
        self.request: CancelRequest | None = None

    def read(self) -> Stored:
        with self._backend._changed:
            self._check()
        self.foreign_values: Sequence[mending.ForeignValue] = mending.find(self._expected)
        return Stored(self._expected, f"memory:{self.session_id}")

    def write(
        self,
        payload: bytes,
        revision: int,
        *,
        checkpoint_id: str | None = None,
        cancellable: bool = False,
    ) -> None:
        with self._writing(cancellable=cancellable):
            if checkpoint_id is not None:
                self._kept.checkpoints[checkpoint_id] = payload
            self._kept.payload = self._expected = payload
            self._revision = revision

    def took_effect(self, revision: int) -> bool:
        return self._revision == revision

    def keep_current(self, checkpoint_id: str) -> None:
        with self._backend._changed:
            self._check()
            self._kept.checkpoints[checkpoint_id] = self._kept.payload

    def keep_original(self, reason: str) -> str:
        with self._backend._changed:
            self._check()
            return self._backend._to_quarantine(self, reason, KeptSession(self._kept.payload))

    def checkpoint_ids(self) -> list[str]:
        return list(self._kept.checkpoints)

    def remove_checkpoint(self, checkpoint_id: str) -> None:
        self._kept.checkpoints.pop(checkpoint_id, None)

    def open_journal(self, name: str, saved: Position) -> JournalAppender:
        del saved  # there is no tail to look for
        with self._backend._changed:
            self._check()
        return MemoryJournal(self._kept.journals.setdefault(name, []), self._writing)

    def rewrite_journal(
        self, name: str, batches: Iterable[Sequence[JournalRecord | Rewind]]
    ) -> None:
        anew = list(batches)
        with self._backend._changed:
            self._check()
            self._kept.put_journal(name, anew)

    def delete(self) -> None:
        with self._backend._changed:
            self._check_held()
            del self._backend._sessions[self.session_id]
            self._backend._last_holders.pop(self.session_id, None)
            self._backend._lines.freed_at.pop(self.session_id, None)
        self.release()

    def confirm(self) -> None:
        with self._backend._changed:
            self.is_confirmed = True
            self._backend._last_holders[self.session_id] = self.owner
            self._backend._changed.notify_all()

    def release(self) -> None:
        with self._backend._changed:
            if self._backend._claims.get(self.session_id) is self:
                del self._backend._claims[self.session_id]
                if self.session_id in self._backend._sessions:
                    self._backend._lines.freed_at[self.session_id] = time.monotonic()
                identity.let_go(self.owner)
                self._backend._changed.notify_all()

    def _check_held(self) -> None:
        if self._backend._claims.get(self.session_id) is not self:
            raise ClaimLost(self.session_id, "its claim was released")

    @contextmanager
    def _writing(self, *, cancellable: bool) -> Iterator[None]:
        """Keep everybody else out, unless the claim does not give the right to write any more."""
        with self._backend._changed:
            self._check()
            if cancellable and self.request is not None:
                raise self.request.to_error(self.session_id)
            yield

    def _check(self) -> None:
        self._check_held()
        if self._backend._sessions.get(self.session_id) is not self._kept:
            raise ClaimLost(self.session_id, "the session was deleted or replaced")
        if self._kept.payload is not self._expected:
            raise RevisionConflict(
                self.session_id,
                expected=codec.peek_revision(self._expected),
                found=codec.peek_revision(self._kept.payload),
                detail="something else, which holds no claim, changed it",
            )
