"""Write a claimed session: prepare each write, store the writes in turn, and undo what failed.

A write has two halves. ``begin_…`` stamps, serialises and checks the state in the caller's thread,
without I/O; ``finish`` stores the result. :class:`~sessionstore.Session` runs one half after the
other, :class:`~sessionstore.AsyncSession` awaits between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Generic, NoReturn

from sessionstore import clock
from sessionstore.errors import CancellationRequested, DurabilityUncertain, SessionStoreError
from sessionstore.model import StateT
from sessionstore.model.checkpoint import RESERVED, Checkpoint
from sessionstore.model.conversion import Default
from sessionstore.model.ids import LAST_SAVE
from sessionstore.model.journal import STEPS
from sessionstore.model.state import SessionOwner, SessionStatus
from sessionstore.process.fork import Mutex
from sessionstore.session import foreign_values, position, session_journals, stamp
from sessionstore.session.checkpoint_limit import CheckpointLimit, remove_older
from sessionstore.session.edited_state import EditedState
from sessionstore.session.held_claim import HeldClaim
from sessionstore.session.open_journal import OpenJournal
from sessionstore.session.position import End
from sessionstore.session.prepared_write import Keep, PreparedWrite, last_save
from sessionstore.session.session_journals import SessionJournals
from sessionstore.session.stamp import Change
from sessionstore.storage.backend import Backend
from sessionstore.storage.claim import Claim
from sessionstore.storage.journal import NONE, Appended, Journals


class SessionWriter(Generic[StateT]):
    """The state of a claimed session, and the writes of it, one after the other."""

    def __init__(
        self,
        claim: Claim | None,
        state: StateT,
        *,
        clock: clock.Clock,
        backend: Backend,
        keep_checkpoints: int | None = None,
        owner: SessionOwner | None = None,
        default: Default | None = None,
    ) -> None:
        self._held = HeldClaim(state.session_id, claim, owner)
        self._backend = backend
        self.session_id: str = state.session_id
        self.revision: int = state.revision
        """The revision of the state as it is stored."""
        self.queue: Mutex = Mutex()
        """Held while something is stored, I/O included: writes queue up here."""
        self.is_resumed: bool = False
        """Whether it goes on from a stored state."""
        self._edited = EditedState(state, default)
        self._latest = state.latest_checkpoint_id
        """The latest checkpoint of the state as it is stored."""
        self._clock = clock
        self._planned = 0
        """How many writes were prepared and are not stored yet."""
        self._attempt: PreparedWrite | None = None
        """The write that is being stored, or that an exception from outside interrupted."""
        self.request: CancellationRequested | None = None
        """The request to cancel that this claim has met."""
        self._limit = CheckpointLimit(keep_checkpoints)
        self.journals: SessionJournals | None = None
        """The journals that this claim has used."""

    def __str__(self) -> str:
        held = "released" if self.is_released else str(self.state.status)
        return f"{self.session_id} revision {self.revision}, {held}"

    def refuse_pickling(self) -> NoReturn:
        """Raise the error of a session that somebody wants to pickle or copy."""
        raise TypeError(
            "a session cannot be pickled or copied: only this process holds the claim on"
            f" {self.session_id}; pass its id, and claim or resume it there"
        )

    # --- the claim and the state ------------------------------------------------------------------

    @property
    def claim(self) -> Claim:
        """The claim; there is none before the session is created."""
        return self._held.claim

    @property
    def owner(self) -> SessionOwner:
        """The owner record of the claim."""
        return self._held.owner

    @property
    def is_released(self) -> bool:
        """Whether the claim has ended."""
        return self._held.is_released

    @property
    def state(self) -> StateT:
        """The state as the application edits it."""
        return self._edited.value

    @state.setter
    def state(self, state: StateT) -> None:
        self._edited.replace(state, revision=self.revision)

    @property
    def needs_verdict(self) -> bool:
        """Whether leaving now has to say how the session ended."""
        self._edited.unstamp()
        return self._held.is_usable and self.state.status is SessionStatus.ACTIVE

    # --- journals --------------------------------------------------------------------------------

    def journal(self, name: str) -> OpenJournal:
        """Return a journal of this session; nothing is opened yet."""
        with self._edited.mutex:
            if self.journals is None:
                self.journals = SessionJournals(self._backend, self.claim, self.state)
            return self.journals.named(name)

    def open_unsaved_journals(self) -> None:
        """Open the journals with records that no save tells of: a checkpoint of this claim will.

        One that is damaged is left as it is.
        """
        for name in session_journals.unsaved(self._backend, self.state):
            with suppress(SessionStoreError):
                self.journal(name).open()

    def append(
        self,
        journal: OpenJournal,
        values: Sequence[bytes],
        key: str | None,
        *,
        anew: bool = False,
        cancellable: bool = True,
    ) -> Appended:
        """Append values to a journal, or replace its records, to be finished by the journal."""
        self._held.check_usable()
        try:
            if anew:
                return journal.rewrite(values, self.now())
            return journal.append(values, key, self.now(), cancellable=cancellable)
        except CancellationRequested as error:
            self.request = error
            raise

    def steps_from(self) -> int:
        """Return the number that a step begins under; a write that closes steps is waited for."""
        with self.queue:
            return self.state.steps_from

    # --- prepare a write -------------------------------------------------------------------------

    def begin_save(self) -> PreparedWrite:
        """Prepare to store the state as the store has made it: no save of the application."""
        return self.prepare(stamp.by_store(self.state))

    def begin_step(self) -> PreparedWrite:
        """Prepare to store the state as it is, unless somebody asks to cancel."""
        return self.prepare((), cancellable=True)

    def begin_checkpoint(
        self, checkpoint_type: str, node: str | None, next_node: str | End | None = None
    ) -> PreparedWrite:
        """Prepare to store the state and to keep it, unless somebody asks to cancel."""
        if checkpoint_type in RESERVED:
            raise ValueError(f"the type {checkpoint_type!r} is the store's own: choose another")
        keep = Keep(checkpoint_type, node)
        with position.moved_on(self.state, node, next_node) as undo:
            return self.prepare((), keep=keep, cancellable=True, undo=undo, closes_steps=True)

    def begin_resume(self, kept: Checkpoint | None, *, as_last_save: bool) -> PreparedWrite:
        """Prepare to store the state to go on from, of which ``kept`` has a copy already.

        With ``as_last_save`` the state becomes the latest checkpoint: not an older one.
        """
        self.is_resumed = True
        keep = Keep(LAST_SAVE) if as_last_save and self.claim.keeps_last_save else None
        return self.prepare([(self.state, "saves_from", self.revision + 1)], keep=keep, kept=kept)

    def last_save(self) -> Keep | None:
        """Return how a stop keeps the state of a session that has no checkpoint of its own."""
        return last_save(self.state) if self.claim.keeps_last_save else None

    def find_kept(self) -> Checkpoint | None:
        """Return the latest checkpoint if it holds this very state, but for the stamps."""
        journals = self.journals
        return self._edited.find_kept(
            () if journals is None else journals.stamps(self.state, flushed=False)
        )

    def now(self) -> str:
        """Return the current time as it is stored."""
        return clock.to_text(self._clock())

    def encode(self) -> bytes:
        """Return the state as it would be stored; raise NotStorable if it cannot be."""
        return self._edited.encode()

    def prepare(
        self,
        changes: Iterable[Change],
        *,
        keep: Keep | None = None,
        kept: Checkpoint | None = None,
        ending: str | None = None,
        cancellable: bool = False,
        if_cancelled: Callable[[CancellationRequested], PreparedWrite] | None = None,
        undo: Callable[[], None] | None = None,
        closes_steps: bool = False,
    ) -> PreparedWrite:
        """Return the write of the state with ``changes``; its arguments are those of the write.

        ``keep`` makes it a checkpoint; ``kept`` is one that holds the state already. With
        ``closes_steps`` code that goes on from there looks for no step before it.

        Raises:
            NotStorable: a value would not read back equal.
            ClaimLost: the claim has ended, or this is a forked child.
        """
        with self._edited.mutex:
            self._held.check_usable()
            state = self._edited.own()
            revision = self.revision + self._planned + 1
            now = self._clock()
            stamped, latest = list(changes), state.latest_checkpoint_id
            if keep is not None:
                kept = keep.checkpoint(revision, now)
                latest = kept.checkpoint_id
                stamped.append((state, "latest_checkpoint_id", latest))
                stamped += [(state, "checkpoint_enabled", True), (state, "saves_from", revision)]
            stamped += stamp.stamps(
                state,
                stamped,
                owner=self.owner,
                incarnation=self._edited.incarnation,
                revision=revision,
                now=clock.to_text(now),
            )
            # Whoever ends has all that was appended counted, as a checkpoint has: the state may
            # become one, at the next resume.
            needs_flush = keep is not None or closes_steps or ending is not None
            if closes_steps:
                last_step = self.journal(STEPS).last_number()
                stamped.append((state, "steps_from", max(state.steps_from, last_step)))
            if self.journals is not None:
                stamped += self.journals.stamps(state, flushed=not needs_flush)
            payload, stored = self._edited.encode_stamped(stamped)
            self._planned += 1
            return PreparedWrite(
                payload,
                revision,
                stored,
                follows=self._latest,
                latest=latest,
                checkpoint=kept,
                keeps=keep is not None,
                needs_flush=needs_flush,
                replaces=keep.replaces if keep else None,
                ending=ending,
                cancellable=cancellable or if_cancelled is not None,
                if_cancelled=if_cancelled,
                undo=undo,
            )

    # --- store it ---------------------------------------------------------------------------------

    def run(self, begin: Callable[[], PreparedWrite]) -> PreparedWrite:
        """Do both halves at once; saves from several threads queue up here.

        Returns what was stored, with its final revision.
        """
        with self.queue:
            planned = self._planned
            try:
                self.settle()
                prepared = begin()
                self.finish(prepared)
            finally:
                self._planned = planned  # also if a KeyboardInterrupt came in between
            return prepared

    def finish(self, prepared: PreparedWrite) -> int:
        """Store what was prepared; return the new revision.

        Raises what :meth:`sessionstore.storage.claim.Claim.write` raises.
        """
        with self.queue:
            asked = None
            try:
                self._store(prepared)
            except CancellationRequested as error:
                if prepared.if_cancelled is None:
                    raise
                asked = error
            finally:
                self._uncount()
            if asked is not None and prepared.if_cancelled is not None:
                return self.finish(prepared.if_cancelled(asked))
            self._limit.follow(self.claim, prepared)
            if prepared.ending is not None:
                self._held.end(prepared.ending)
            if prepared.on_stored is not None:
                prepared.on_stored(prepared.revision)
            return prepared.revision

    def limit_checkpoints(self, newest: str) -> None:
        """Remove checkpoints that are too old, now that a resume kept ``newest``."""
        with self.queue:
            self._limit.enforce(self.claim, newest, latest=self.state.latest_checkpoint_id)

    def finish_create(
        self, backend: Backend, prepared: PreparedWrite, journals: Journals = NONE
    ) -> None:
        """Create the session with the first write that was prepared, and with ``journals``.

        Raises what :meth:`sessionstore.storage.backend.Backend.create` raises.
        """
        with self.queue:
            self._uncount()
            self._held.create(backend, prepared, journals)
            self._landed(prepared)

    def abandon(self, prepared: PreparedWrite) -> None:
        """Forget a write that was prepared and never will be stored."""
        self._take_back(prepared)
        self._uncount()

    def _uncount(self) -> None:
        with self._edited.mutex:
            self._planned -= 1

    def _take_back(self, prepared: PreparedWrite) -> None:
        with self._edited.mutex:
            if prepared.undo is not None:
                prepared.undo()
            self._attempt = None

    def _store(self, prepared: PreparedWrite) -> None:
        try:
            self._held.check_usable()
            self.settle()
            if (prepared.revision, prepared.follows) != (self.revision + 1, self._latest):
                prepared.follow(self.revision + 1, self._latest, self._clock(), self.state)
            if self.claim.foreign_values:
                foreign_values.keep_original(self.claim)
            if prepared.needs_flush and self.journals is not None:
                self.journals.flush()
            self._attempt = prepared
            self.claim.write(
                prepared.payload,
                prepared.revision,
                checkpoint_id=prepared.latest if prepared.keeps else None,
                cancellable=prepared.cancellable,
            )
        except DurabilityUncertain:
            self._landed(prepared)
            raise
        except SessionStoreError as error:
            self._take_back(prepared)
            if isinstance(error, CancellationRequested):
                self.request = error
            raise
        # Any other exception came from outside: whether the write took effect is asked later.
        self._landed(prepared)

    def settle(self) -> int:
        """Find out what became of a write that an exception from outside interrupted.

        Returns the revision that is stored.
        """
        attempt = self._attempt
        if attempt is not None:
            if self.claim.took_effect(attempt.revision):
                self._landed(attempt)
            else:
                self._take_back(attempt)
        return self.revision

    def _landed(self, attempt: PreparedWrite) -> None:
        with self._edited.mutex:
            self.revision, self._latest = attempt.revision, attempt.latest
            self._edited.keep_stamps(attempt.changes, attempt.checkpoint, attempt.payload)
            self.state.__dict__["revision"] = attempt.revision
            self._attempt = None

    # --- end the claim ----------------------------------------------------------------------------

    @contextmanager
    def on_last_saved(self) -> Iterator[None]:
        """Have the last stored state in the place of the edited one, for as long as this lasts."""
        with self.queue, self._edited.replaced_by(self.claim.read()):
            yield

    def delete(self) -> None:
        """Delete the session; the claim ends with it."""
        with self.queue:
            self._held.check_usable()
            self.settle()
            self._held.delete()

    def remove_checkpoint(self, checkpoint_id: str) -> None:
        """Remove a checkpoint, but not the latest, which a resume restores."""
        with self.queue:
            self._held.check_usable()
            self.settle()
            remove_older(self.claim, checkpoint_id, latest=self._latest)
            self._limit.forget()

    def free(self) -> None:
        """Give the claim back, whatever the state says."""
        with self.queue:
            self._held.release()
