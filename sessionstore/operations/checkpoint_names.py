"""Find a kept state of a session: by its id, its beginning or end, or its revision."""

from __future__ import annotations

import re

from sessionstore.errors import CheckpointNotFound, InvalidQuery, NotResumable
from sessionstore.model import checkpoint, codec
from sessionstore.model.ids import parse_checkpoint_id
from sessionstore.model.state import SessionState
from sessionstore.session import inspect
from sessionstore.storage.backend import Backend

CURRENT = "current"
"""The name of the stored state itself, which is no checkpoint."""

_REVISION = re.compile(r"r(\d{1,18})", re.ASCII)


def revision_named(named: str) -> int | None:
    """Return the revision that a name like ``r12`` means; None for any other name."""
    match = _REVISION.fullmatch(named)
    return int(match[1]) if match else None


def find_checkpoint(backend: Backend, session_id: str, named: str) -> str:
    """Return the id of the checkpoint that ``named`` means.

    That is the one with this id, else with the revision ``r12``, else the only one that begins so,
    else the only one that ends so.

    Raises:
        CheckpointNotFound: there is none.
        InvalidQuery: several ids begin so, or none does and several end so; the message lists them.
    """
    known = backend.checkpoint_ids(session_id)
    if named in known:
        return named
    wanted = revision_named(named)
    if wanted is not None:
        found = [name for name in known if _revision(backend, session_id, name) == wanted]
        # Two checkpoints of one revision hold the same state.
        if found:
            return found[0]
    for part, matches in (("prefix", str.startswith), ("suffix", str.endswith)):
        found = [name for name in known if named and matches(name, named)]
        if len(found) > 1:
            some = ", ".join(sorted(found)[:5])
            raise InvalidQuery(
                "checkpoint", f"{named!r} is a {part} of {len(found)} checkpoint ids: {some}"
            )
        if found:
            return found[0]
    raise CheckpointNotFound(session_id, named, available=in_order(backend, session_id))


def _revision(backend: Backend, session_id: str, checkpoint_id: str) -> int | None:
    name = parse_checkpoint_id(checkpoint_id)
    if name is not None:
        return name.revision
    return inspect.describe_checkpoint(backend, session_id, checkpoint_id).revision


def in_order(backend: Backend, session_id: str) -> list[str]:
    """Return the ids of the checkpoints that can be read, oldest first."""
    found = inspect.list_checkpoints(backend, session_id)
    return [item.checkpoint_id for item in found if item.damaged is None]


def latest(
    backend: Backend, state: SessionState, *, wanted: str, parameter: str = "checkpoint_id="
) -> str:
    """Return the id of the checkpoint that the state names as its latest.

    Raises:
        NotResumable: it names none.
    """
    if name := inspect.Resumability.named(state).checkpoint_id:
        return name
    raise NotResumable(
        state.session_id,
        inspect.NAMES_NO_CHECKPOINT,
        available=in_order(backend, state.session_id),
        wanted=wanted,
        parameter=parameter,
    )


def load(
    backend: Backend, session_id: str, checkpoint_id: str, current: SessionState | None
) -> SessionState:
    """Return the state in a checkpoint; without ``current``, which is damaged, as it stands there.

    Raises:
        SessionNotFound: it cannot be read.
        SessionCorrupt: it cannot be read.
        StorageError: it cannot be read.
    """
    stored = backend.read_checkpoint(session_id, checkpoint_id)
    if current is None:
        return codec.decode(stored.payload, SessionState, session_id, stored.file)
    return checkpoint.load(current, stored, checkpoint_id)
