"""The state of a claimed session as the application edits it, and the stamps that a write sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Generic

from sessionstore.errors import NotStorable, StateTypeMismatch
from sessionstore.model import StateT, codec, labels
from sessionstore.model.checkpoint import Checkpoint
from sessionstore.model.conversion import Default
from sessionstore.model.stored import Stored
from sessionstore.process.fork import Mutex
from sessionstore.session import stamp
from sessionstore.session.stamp import Change
from sessionstore.text import class_name


class EditedState(Generic[StateT]):
    """A state in memory. A write stamps it, serialises it, and takes the stamps out again."""

    def __init__(self, state: StateT, default: Default | None) -> None:
        self.mutex: Mutex = Mutex()
        """Held while the state is stamped or serialised; never during I/O, so that an event
        loop may wait for it."""
        self.value: StateT = state
        self.state_type: type[StateT] = type(state)
        self.incarnation: str | None = state.incarnation
        self._session_id = state.session_id
        self._default = default
        self._stored_labels = dict(state.labels)
        self._before: list[Change] = []
        """What was in the state before the stamps that are in it. An exception from outside may
        keep them there until the next use."""
        self._kept: tuple[Checkpoint, tuple[Change, ...], int] | None = None
        """The last state of this claim that a checkpoint holds: what the write stamped, and a hash
        of its bytes."""

    def replace(self, state: StateT, *, revision: int) -> None:
        """Take another state, which goes on where the session stands."""
        if type(state) is not self.state_type:  # another type would not load back as this one
            reason = f"expected {class_name(self.state_type)}, got {class_name(type(state))}"
            raise StateTypeMismatch(self.value.session_id, self.state_type.__name__, reason)
        if state is not self.value:
            stamp.carry_over(self.value, state)
            state.__dict__["revision"] = revision
            state.__dict__["incarnation"] = self.incarnation
        self.value = state

    @contextmanager
    def replaced_by(self, stored: Stored) -> Iterator[None]:
        """Have what is stored in the place of the edited state, for as long as this lasts."""
        saved = codec.decode(stored.payload, self.state_type, self._session_id, stored.file)
        edited, self.value = self.value, saved
        try:
            yield
        finally:
            self.value = edited

    def encode(self) -> bytes:
        """Return the state as it would be stored; what JSON lacks is converted in it.

        Raises:
            NotStorable: a value would not read back equal.
        """
        payload = codec.encode(self.value, self._default)
        labels.check(self.value.session_id, self.value.labels, self._stored_labels)
        return payload

    def encode_stamped(self, changes: Sequence[Change]) -> tuple[bytes, tuple[Change, ...]]:
        """Return the bytes of the state with ``changes``, and the changes as they were stored."""
        with self.mutex:
            self.unstamp()
            try:
                stamp.apply(changes, self._before)
                payload = self.encode()
                # A value may have been converted: the output of a session, say.
                stored = [(part, name, part.__dict__[name]) for part, name, _ in changes]
                return payload, tuple(stored)
            finally:
                stamp.undo(self._before)

    def own(self) -> StateT:
        """Return the state without the stamps of a write that is not stored.

        Raises:
            NotStorable: the application made it another session's.
        """
        self.unstamp()
        if self.value.session_id != self._session_id:
            reason = f"it is another session's: restore {self._session_id!r}"
            raise NotStorable(self._session_id, "session_id", reason)
        return self.value

    def unstamp(self) -> None:
        """Take the stamps of a write that is not stored out of the state."""
        if self._before:
            with self.mutex:
                stamp.undo(self._before)

    def keep_stamps(
        self, changes: tuple[Change, ...], checkpoint: Checkpoint | None, payload: bytes
    ) -> None:
        """Set what a write has stored; ``checkpoint`` holds this state, if it is not None."""
        for part, name, value in changes:
            part.__dict__[name] = value
        if checkpoint is not None:
            self._kept = checkpoint, changes, hash(payload)

    def find_kept(self, journals: Sequence[Change]) -> Checkpoint | None:
        """Return the latest checkpoint if it holds this very state, but for the stamps.

        ``journals`` is what a write would say of the journals: a checkpoint from before an append
        would go back to before it.
        """
        if self._kept is None:
            return None
        checkpoint, changes, fingerprint = self._kept
        if checkpoint.checkpoint_id != self.value.latest_checkpoint_id:
            return None
        payload, _ = self.encode_stamped([*changes, *journals])
        return checkpoint if hash(payload) == fingerprint else None
