"""Look at a session without holding it: whether its owner lives, and whether it can be resumed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Self

from sessionstore import clock
from sessionstore.errors import SessionCorrupt, SessionNotFound, StorageError
from sessionstore.model.ids import is_id, is_last_save, parse_checkpoint_id, stamp_of
from sessionstore.model.journal import STEPS
from sessionstore.model.liveness import Liveness, Verdict
from sessionstore.model.status import SessionStatus
from sessionstore.model.stored import Stored
from sessionstore.model.summary import SessionSummary, summarize
from sessionstore.process import liveness
from sessionstore.storage.backend import Backend
from sessionstore.storage.values import Probe

if TYPE_CHECKING:  # loaded by what reads a file: most lines of a listing need none
    from sessionstore.model.checkpoint import Checkpoint
    from sessionstore.model.state import SessionOwner, SessionState

NO_CHECKPOINT = "it has no checkpoint"
NAMES_NO_CHECKPOINT = "it names no latest checkpoint"
MISSING_CHECKPOINT = "there is no such checkpoint"
_LOOKS = 10


@dataclass(frozen=True, slots=True)
class Resumability:
    """Which state a resume of a session goes on from by default, or why it cannot.

    It restores the latest checkpoint. Where the application has kept none, it goes on from the
    state that was saved last.
    """

    checkpoint_id: str | None = None
    """The checkpoint that the session names as its latest; None if it names none."""
    damage: str | None = None
    """Why that checkpoint cannot be restored; None as far as it can, or need not."""
    is_missing: bool = False
    """Whether it is damaged by not being there."""

    @property
    def is_resumable(self) -> bool:
        """Whether a resume finds a state to go on from."""
        return self.damage is None

    @property
    def is_from_last_save(self) -> bool:
        """Whether a resume goes on from the state that was saved last, not from a checkpoint."""
        return self.checkpoint_id is None or is_last_save(self.checkpoint_id)

    @classmethod
    def named(cls, item: SessionState | SessionSummary) -> Self:
        """Return what the session itself says, without a look at the checkpoint."""
        name = item.latest_checkpoint_id if item.is_resumable else None
        if name is None:
            return cls()
        return cls(name, None if is_id(name) else "its checkpoint has no valid id")

    @classmethod
    def among(cls, item: SessionState | SessionSummary, kept: Iterable[Checkpoint]) -> Self:
        """Return what is known where all checkpoints of the session were read."""
        named = cls.named(item)
        name = named.checkpoint_id
        if name is None or named.is_from_last_save:
            return named
        for checkpoint in kept:
            if checkpoint.checkpoint_id == name:
                return cls(name, checkpoint.damaged)
        return cls(name, MISSING_CHECKPOINT, is_missing=True)

    @classmethod
    def read(
        cls, backend: Backend, item: SessionState | SessionSummary, *, loads_checkpoint: bool = True
    ) -> Self:
        """Return what a look at the checkpoint tells, or only at its name; see :func:`examine`."""
        named = cls.named(item)
        name = named.checkpoint_id
        if name is None or named.is_from_last_save or named.damage is not None:
            return named
        return cls(name, _damage(backend, item.session_id, name, loads_checkpoint))


def read_base(backend: Backend, session_id: str) -> tuple[SessionState, Stored]:
    """Return the state with its base fields, and the bytes it was read from."""
    from sessionstore.model import codec
    from sessionstore.model.state import SessionState

    stored = backend.read(session_id)
    return codec.decode(stored.payload, SessionState, session_id, stored.file), stored


def look(
    backend: Backend, session_id: str, *, names_heirs: bool = False
) -> tuple[SessionState, Liveness]:
    """Return the state of a session and whether its owner lives, both of one moment.

    A free lock says nothing about a state that was written since, so the state is read before
    and after the look at the lock. With ``names_heirs`` the reason names the processes that have
    a lock which has outlived the process that took it.

    Raises:
        SessionNotFound: there is no such session.
        SessionCorrupt: its state is damaged.
        StorageError: the system refused.
    """
    state, stored = read_base(backend, session_id)
    for _ in range(_LOOKS):
        probe = backend.probe(session_id)
        if probe.held:
            holder = probe.holder or state.owner
            return state, _held_by(holder, probe, names_heirs=names_heirs)
        # Race: Resume during a look. A state from before the resume would look stale.
        again = backend.read(session_id)
        if again.payload == stored.payload:
            return state, liveness.judge(state, backend)
        state, stored = read_base(backend, session_id)
    return state, Liveness(Verdict.ALIVE, "its state is being written right now", state.owner)


def _held_by(holder: SessionOwner | None, probe: Probe, *, names_heirs: bool) -> Liveness:
    if probe.holder is not None and not probe.released:
        orphaned = liveness.why_orphaned(probe.holder, probe.file, names_heirs=names_heirs)
        if orphaned is not None:
            return Liveness(Verdict.ALIVE, orphaned, holder, is_orphaned=True)
    named = holder.describe() if holder else ""
    return Liveness(Verdict.ALIVE, f"held by {named}" if named else "its lock is held", holder)


def examine(
    backend: Backend,
    item: SessionSummary,
    *,
    loads_checkpoint: bool = True,
    names_steps: bool = False,
) -> SessionSummary:
    """Return ``item`` with the liveness of an ACTIVE one, and the checkpoint looked at.

    Without ``loads_checkpoint`` it is enough that the checkpoint is there: a listing shows
    nothing of it, and need not load pydantic for it. With ``names_steps`` the unsettled steps of
    one that died or was stopped are named.
    """
    changes: dict[str, Any] = {}
    if item.status is SessionStatus.ACTIVE:
        try:
            state, verdict = look(backend, item.session_id)
        except (SessionNotFound, SessionCorrupt, StorageError) as error:
            changes["liveness"] = Liveness(Verdict.UNKNOWN, str(error))
        else:
            appended_at = backend.last_appended_at(item.session_id)
            item = summarize(state, appended_at)  # it may have moved on since it was listed
            if item.status is SessionStatus.ACTIVE:
                changes["liveness"] = verdict
    if item.is_resumable:
        found = Resumability.read(backend, item, loads_checkpoint=loads_checkpoint)
        if found.damage:
            changes |= {"is_resumable": False, "unresumable": found.damage}
    died = changes.get("liveness")
    stopped = item.is_interrupted or (died is not None and died.is_dead)
    if names_steps and stopped and (names := _unsettled(backend, item.session_id)):
        changes["unsettled_steps"] = names
    return replace(item, **changes) if changes else item


def _unsettled(backend: Backend, session_id: str) -> tuple[str, ...]:
    try:
        if STEPS not in backend.journal_names(session_id):
            return ()
        from sessionstore.session.unsettled import find_unsettled

        return find_unsettled(backend, read_base(backend, session_id)[0])
    except (SessionNotFound, SessionCorrupt, StorageError):
        return ()


def _damage(
    backend: Backend, session_id: str, checkpoint_id: str, loads_checkpoint: bool
) -> str | None:
    """Return why a checkpoint cannot be restored, or None if it can."""
    if backend.is_current(session_id, checkpoint_id):
        return None
    try:
        if not loads_checkpoint:
            there = backend.checkpoint_ids(session_id)
            return None if checkpoint_id in there else MISSING_CHECKPOINT
        from sessionstore.model import checkpoint

        stored = backend.read_checkpoint(session_id, checkpoint_id)
        checkpoint.describe(session_id, checkpoint_id, stored)
    except SessionCorrupt as error:
        return error.reason
    except (SessionNotFound, StorageError) as error:
        return str(error)
    return None


def describe_checkpoint(backend: Backend, session_id: str, checkpoint_id: str) -> Checkpoint:
    """Return what is known of a checkpoint, with ``damaged`` set if it cannot be read."""
    from sessionstore.model import checkpoint
    from sessionstore.model.checkpoint import Checkpoint

    try:
        stored = backend.read_checkpoint(session_id, checkpoint_id)
        return checkpoint.describe(session_id, checkpoint_id, stored)
    except SessionCorrupt as error:
        return Checkpoint(checkpoint_id, damaged=error.reason)
    except (SessionNotFound, StorageError) as error:
        return Checkpoint(checkpoint_id, damaged=str(error))


def name_checkpoints(backend: Backend, session_id: str) -> list[Checkpoint]:
    """Return the checkpoints of a session, oldest first, without reading those of this package.

    Their names tell the type, the node and the revision. Only a checkpoint whose name tells nothing
    is read, and only that one has ``created_at`` and can be known to be damaged.
    """
    from sessionstore.model.checkpoint import Checkpoint

    found: list[tuple[tuple[int, str, str], Checkpoint]] = []
    for checkpoint_id in backend.checkpoint_ids(session_id):
        name = parse_checkpoint_id(checkpoint_id)
        if name is not None:
            item = Checkpoint(checkpoint_id, name.checkpoint_type, name.node, name.revision)
            age = name.revision, checkpoint_id.rpartition(".")[2], checkpoint_id
        else:
            item = describe_checkpoint(backend, session_id, checkpoint_id)
            moment = clock.parse(item.created_at)
            stamp = stamp_of(moment) if moment else ""
            age = -1 if item.revision is None else item.revision, stamp, checkpoint_id
        found.append((age, item))
    found.sort(key=itemgetter(0))
    return [item for _, item in found]


def list_checkpoints(backend: Backend, session_id: str) -> list[Checkpoint]:
    """Return the checkpoints of a session, oldest first, damaged ones included."""
    from sessionstore.model import checkpoint

    return checkpoint.in_order(
        [
            describe_checkpoint(backend, session_id, checkpoint_id)
            for checkpoint_id in backend.checkpoint_ids(session_id)
        ]
    )
