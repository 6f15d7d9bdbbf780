"""The memory backend: sessions in this process, for the tests of applications."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import NoReturn

from pydantic_core import from_json

from sessionstore import clock
from sessionstore.errors import (
    ClaimLost,
    RevisionConflict,
    SessionClaimed,
    SessionCorrupt,
    SessionExists,
    SessionNotFound,
    StorageError,
)
from sessionstore.model import codec, mending
from sessionstore.model.journal import JournalRecord, Position, Rewind
from sessionstore.model.state import SessionOwner
from sessionstore.model.stored import Stored
from sessionstore.model.summary import later_of
from sessionstore.process import identity
from sessionstore.process.fork import PerProcess
from sessionstore.storage.backend import Backend
from sessionstore.storage.claim import Claim
from sessionstore.storage.importer import SessionImporter
from sessionstore.storage.journal import NONE, Appended, Batch, JournalAppender, Journals
from sessionstore.storage.memory_turn import MemoryLines, MemoryTurn
from sessionstore.storage.turn import LIES_FREE, Turn
from sessionstore.storage.values import CancelRequest, Probe


@dataclass
class _Kept:
    """A session as bytes, never as live objects, so that it behaves as if read from a disk."""

    payload: bytes
    checkpoints: dict[str, bytes] = field(default_factory=dict)
    journals: dict[str, list[Batch]] = field(default_factory=dict)


def _batches(batches: Iterable[Sequence[JournalRecord | Rewind]]) -> list[Batch]:
    """Return a journal that holds ``batches``."""
    return [
        Batch(deepcopy([*items]), Position(items[-1].number, index))
        for index, items in enumerate(batches, start=1)
    ]


class MemoryBackend(Backend):
    """Keeps sessions as bytes in this process, and behaves as the files backend does."""

    def __init__(self, *, clock: clock.Clock = clock.utc_now) -> None:
        self.clock = clock
        self._sessions: dict[str, _Kept] = {}
        self._claims: dict[str, MemoryClaim] = {}
        self._last_holders: dict[str, SessionOwner] = {}
        self._quarantine: list[tuple[str, str, _Kept]] = []
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
        built = {name: _batches(batches) for name, batches in journals.items()}
        with self._changed:
            if session_id in self._sessions:
                is_own = identity.is_holding(self.probe(session_id).holder)
                raise SessionExists(session_id, is_own=is_own)
            self._sessions[session_id] = _Kept(payload, journals=built)
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
        batches = self._kept(session_id).journals.get(name, [])
        return [item for batch in batches for item in batch.items if isinstance(item, Rewind)]

    def read_journal(self, session_id: str, name: str, start: Position) -> Iterator[Batch]:
        batches = list(self._kept(session_id).journals.get(name, ()))
        at = start.offset
        if start.number and not (0 < at <= len(batches) and batches[at - 1].end == start):
            # Another batch may end there since space was freed, or the session was imported.
            batches = [batch for batch in batches if batch.end.number > start.number]
            at = 0
        # An item is a copy: what the application does to a value changes nothing that is kept.
        return (deepcopy(batch) for batch in batches[at:])

    def last_appended_at(self, session_id: str) -> str | None:
        last: str | None = None
        kept = self._sessions.get(session_id)
        for batches in list(kept.journals.values()) if kept else ():
            items = (item for batch in reversed(batches) for item in reversed(batch.items))
            at = next((item.at for item in items if isinstance(item, JournalRecord)), None)
            last = at if last is None else later_of(last, at)
        return last

    def importer(self) -> SessionImporter:
        return MemoryImporter(self)

    # --- check and repair ------------------------------------------------------------------------

    def restore(self, claim: Claim, payload: bytes, revision: int, reason: str) -> str:
        damaged = _Kept(claim.read().payload)
        claim.write(payload, revision)
        return self._to_quarantine(claim, reason, damaged)

    def quarantine_checkpoint(self, claim: Claim, checkpoint_id: str | None, reason: str) -> str:
        if checkpoint_id is None:
            raise self._no_quarantine(claim)  # a dict is always a dict
        with self._changed:
            claim.read()
            damaged = {checkpoint_id: self._kept(claim.session_id).checkpoints.pop(checkpoint_id)}
        return self._to_quarantine(claim, reason, _Kept(b"", damaged))

    def quarantine_session(self, claim: Claim, reason: str) -> str:
        with self._changed:
            claim.read()
            whole = self._kept(claim.session_id)
            claim.delete()
        return self._to_quarantine(claim, reason, whole)

    def _to_quarantine(self, claim: Claim, reason: str, what: _Kept) -> str:
        self._quarantine.append((claim.session_id, reason, what))
        return f"memory:quarantine/{len(self._quarantine)}"

    def _kept(self, session_id: str) -> _Kept:
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
        with self._backend._changed:
            self._check()
            if cancellable and self.request is not None:
                raise self.request.to_error(self.session_id)
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
            return self._backend._to_quarantine(self, reason, _Kept(self._kept.payload))

    def checkpoint_ids(self) -> list[str]:
        return list(self._kept.checkpoints)

    def remove_checkpoint(self, checkpoint_id: str) -> None:
        self._kept.checkpoints.pop(checkpoint_id, None)

    def open_journal(self, name: str, saved: Position) -> JournalAppender:
        del saved  # there is no tail to look for
        with self._backend._changed:
            self._check()
        return MemoryJournal(self, self._kept.journals.setdefault(name, []))

    def rewrite_journal(
        self, name: str, batches: Iterable[Sequence[JournalRecord | Rewind]]
    ) -> None:
        anew = _batches(batches)
        with self._backend._changed:
            self._check()
            self._kept.journals[name] = anew

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
            raise ClaimLost(self.session_id, "this claim was released")

    def check_appends(self, *, cancellable: bool) -> None:
        """Raise unless the claim still gives the right to append."""
        self._check()
        if cancellable and self.request is not None:
            raise self.request.to_error(self.session_id)

    def _check(self) -> None:
        self._check_held()
        if self._backend._sessions.get(self.session_id) is not self._kept:
            raise ClaimLost(self.session_id, "the session was deleted or replaced")
        if self._kept.payload is not self._expected:
            raise RevisionConflict(
                self.session_id,
                expected=codec.peek_revision(self._expected),
                found=codec.peek_revision(self._kept.payload),
                detail="it was changed without a claim",
            )


class MemoryJournal(JournalAppender):
    """A journal of a claim within this process. The offset of a position counts its batches."""

    def __init__(self, claim: MemoryClaim, batches: list[Batch]) -> None:
        self._claim = claim
        self._batches = batches

    @property
    def end(self) -> Position:
        return self._batches[-1].end if self._batches else Position()

    @property
    def flushed(self) -> Position:
        return self.end

    def append(
        self, items: Sequence[bytes | Rewind], key: str | None, at: str, *, cancellable: bool
    ) -> Appended:
        claim = self._claim
        with claim._backend._changed:
            claim.check_appends(cancellable=cancellable)
            number, kept = self.end.number, list[JournalRecord | Rewind]()
            for item in items:
                number = item.number if isinstance(item, Rewind) else number + 1
                is_last = len(kept) == len(items) - 1
                kept.append(
                    item
                    if isinstance(item, Rewind)
                    else JournalRecord(number, at, from_json(item), key if is_last else None)
                )
            if kept:
                self._batches.append(Batch(kept, Position(number, len(self._batches) + 1)))
        return Appended(number)

    def flush(self, appended: Appended | None = None) -> None:
        """Memory has nothing to flush."""


class MemoryImporter(SessionImporter):
    """Sessions that nobody sees before they are published."""

    def __init__(self, backend: MemoryBackend) -> None:
        self._backend = backend
        self._aside: dict[str, _Kept] = {}

    def _kept(self, session_id: str) -> _Kept:
        return self._aside.setdefault(session_id, _Kept(b""))

    def put_state(self, session_id: str, payload: bytes) -> None:
        self._kept(session_id).payload = payload

    def put_checkpoint(self, session_id: str, checkpoint_id: str, payload: bytes) -> None:
        self._kept(session_id).checkpoints[checkpoint_id] = payload

    def put_journal(
        self, session_id: str, name: str, batches: Iterable[Sequence[JournalRecord | Rewind]]
    ) -> None:
        self._kept(session_id).journals[name] = _batches(batches)

    def put_file(
        self, session_id: str, name: str, pieces: Iterable[bytes], *, is_executable: bool
    ) -> None:
        del pieces, is_executable
        raise StorageError("import", f"{session_id}/{name}", "this store keeps no files")

    def put_directory(self, session_id: str, name: str) -> None:
        raise StorageError("import", f"{session_id}/{name}", "this store keeps no files")

    def publish(self, session_id: str) -> None:
        with self._backend._changed:
            if session_id in self._backend._sessions:
                raise SessionExists(session_id)
            self._backend._sessions[session_id] = self._aside.pop(session_id)

    def close(self) -> None:
        self._aside.clear()
