"""The condition of a session at one moment: its state, its checkpoints, and their damage."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from sessionstore.errors import SessionCorrupt, StorageError
from sessionstore.model import checkpoint, codec, mending
from sessionstore.model.checkpoint import BEFORE_RESUME, Checkpoint
from sessionstore.model.ids import is_id
from sessionstore.model.mending import ForeignValue
from sessionstore.model.state import SessionState
from sessionstore.model.stored import Stored
from sessionstore.storage.backend import Backend
from sessionstore.storage.claim import Claim


@dataclass(slots=True)
class SessionCondition:
    """The state and checkpoints of a session, as far as they can be read."""

    stored: Stored | None = None
    state: SessionState | None = None
    """What was read, or what a repair makes of a damaged file by mending single values."""
    damage: SessionCorrupt | None = None
    values: Sequence[ForeignValue] = ()
    """What JSON or UTF-8 lacks in the state."""
    sound: list[Checkpoint] = field(default_factory=list)
    damaged: list[tuple[str, SessionCorrupt]] = field(default_factory=list)
    doubled: list[tuple[str, list[str]]] = field(default_factory=list)
    """Files of sound checkpoints with doubled keys, and those keys."""
    foreign: list[tuple[str, str]] = field(default_factory=list)
    """Files of sound checkpoints with values that JSON or UTF-8 lacks, and those values."""
    unreadable: list[tuple[str, StorageError]] = field(default_factory=list)
    no_checkpoints: SessionCorrupt | None = None
    """Why checkpoints/ cannot be read at all."""

    def newest(self, *, whole: bool) -> Checkpoint | None:
        """Return the newest sound checkpoint; with ``whole`` one that holds a whole state."""
        return checkpoint.newest_sound(self.sound, whole=whole)

    def why_dangling(self) -> str | None:
        """Return what is wrong with the latest checkpoint that the state names, or None."""
        latest = self.state.latest_checkpoint_id if self.state else None
        if latest is None or latest in (item.checkpoint_id for item in self.sound):
            return None
        if latest in (name for name, _ in self.unreadable):
            return None  # a finding of its own
        if latest in (name for name, _ in self.damaged):
            return f"its latest checkpoint {latest} is damaged"
        return (
            f"its latest checkpoint {latest} is {'missing' if is_id(latest) else 'not a valid id'}"
        )

    def why_behind(self, load: Callable[[str], SessionState]) -> str | None:
        """Return the evidence that the state is older than its newest checkpoint, or None.

        A power cut may take saves of durability "process", but no checkpoints. A checkpoint of the
        next revision is no evidence: its process may have died before it wrote the state. ``load``
        returns the state in a checkpoint.
        """
        newest, state = self.newest(whole=True), self.state
        if state is None or newest is None or newest.checkpoint_type == BEFORE_RESUME:
            return None
        revision, found = newest.revision or 0, newest.checkpoint_id
        names_none = state.latest_checkpoint_id is None
        if not names_none and revision <= state.revision + 1:
            return None
        # Other software that rewrites a state may know no revisions: then the state is newer.
        if state.incarnation is None or load(found).incarnation != state.incarnation:
            return None
        if names_none:
            return f"it names no checkpoint, but {found} is there"
        return (
            f"it is of revision {state.revision}, older than its checkpoint {found}"
            f" of revision {revision}"
        )


def read_condition(backend: Backend, session_id: str, claim: Claim | None) -> SessionCondition:
    """Return the condition of a session, read under ``claim`` if there is one.

    Raises:
        SessionNotFound: it cannot be read.
        StorageError: it cannot be read.
    """
    seen = SessionCondition()
    try:
        stored = claim.read() if claim else backend.read(session_id)
        seen.stored = stored
        seen.state = codec.decode(stored.payload, SessionState, session_id, stored.file)
    except SessionCorrupt as error:
        seen.damage = error
    if seen.stored is not None:
        _mend(seen, session_id, seen.stored)
    try:
        for checkpoint_id in sorted(backend.checkpoint_ids(session_id)):
            _see_checkpoint(seen, backend, session_id, checkpoint_id)
    except SessionCorrupt as error:
        seen.no_checkpoints = error
    return seen


def _mend(seen: SessionCondition, session_id: str, stored: Stored) -> None:
    """Replace what JSON or UTF-8 lacks in the state, if that is all that is wrong with it."""
    mended = mending.mend(stored.payload, thorough=True)
    if mended is not None:
        with suppress(SessionCorrupt):
            seen.state = codec.decode(mended.payload, SessionState, session_id, stored.file)
            seen.values = mended.values


def _see_checkpoint(
    seen: SessionCondition, backend: Backend, session_id: str, checkpoint_id: str
) -> None:
    try:
        stored = backend.read_checkpoint(session_id, checkpoint_id)
        seen.sound.append(checkpoint.describe(session_id, checkpoint_id, stored))
        if doubled := doubled_keys(stored.payload):
            seen.doubled.append((stored.file, doubled))
        if values := mending.find(stored.payload):
            seen.foreign.append((stored.file, mending.say(values)))
    except SessionCorrupt as error:
        # keep_checkpoints may have removed it since.
        if checkpoint_id in backend.checkpoint_ids(session_id):
            seen.damaged.append((checkpoint_id, error))
    except StorageError as error:
        seen.unreadable.append((checkpoint_id, error))


def doubled_keys(payload: bytes) -> list[str]:
    """Return the keys that one object of the JSON text has more than once."""
    doubled: set[str] = set()

    def look(pairs: list[tuple[str, object]]) -> None:
        if len(pairs) != len({key for key, _ in pairs}):
            seen: set[str] = set()
            for key, _ in pairs:
                (doubled if key in seen else seen).add(key)

    try:
        json.loads(payload, object_pairs_hook=look)
    except (ValueError, RecursionError):  # an integer too long for Python, say
        return []
    return sorted(doubled)
