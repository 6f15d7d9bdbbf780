"""Claim a stored session: who may, and what a resume restores."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Generic, NamedTuple

from sessionstore.errors import (
    CancellationRequested,
    NotResumable,
    RevisionConflict,
    SessionClaimed,
    SessionCorrupt,
    SessionEnded,
)
from sessionstore.log import log_session
from sessionstore.model import StateT, checkpoint, codec, journal_view
from sessionstore.model.checkpoint import Checkpoint
from sessionstore.model.journal import Position, Rewind
from sessionstore.model.liveness import Liveness
from sessionstore.model.state import SessionResult, SessionState
from sessionstore.model.status import FINISHED, SessionStatus
from sessionstore.process import liveness
from sessionstore.session import foreign_values, inspect
from sessionstore.session.inspect import Resumability
from sessionstore.session.journal_reader import JournalReader
from sessionstore.session.session_journals import rewinds
from sessionstore.storage.backend import Backend
from sessionstore.storage.claim import Claim
from sessionstore.storage.turn import Turn
from sessionstore.text import begins_with_line


class ClaimedState(NamedTuple, Generic[StateT]):
    """A session that was claimed, as it was found."""

    claim: Claim
    state: StateT
    died: Liveness | None
    """How it is known that the process that ran it died; None if it was not running."""
    asked: CancellationRequested | None = None
    """The request to cancel that this process did not live to meet."""


def claim_session(
    backend: Backend,
    session_id: str,
    state_type: type[StateT],
    *,
    timeout: float,
    expected_revision: int | None,
    force: bool,
    turn: Turn | None = None,
) -> ClaimedState[StateT]:
    """Return the claim on a session and the state under it, if the session may be claimed.

    Whoever goes on with a session whose process died has to record that death.

    Raises what :meth:`sessionstore.SessionStore.claim` raises.
    """
    owner = backend.new_owner(backend.clock())
    if turn is None:  # always, where a backend keeps no order among those who wait
        claim = backend.claim(session_id, owner, timeout=timeout)
    else:
        claim = backend.claim(session_id, owner, timeout=timeout, turn=turn)
    try:
        stored = claim.read()
        state = codec.decode(stored.payload, state_type, session_id, stored.file)
        if expected_revision is not None and state.revision != expected_revision:
            raise RevisionConflict(
                session_id,
                expected=expected_revision,
                found=state.revision,
                owner=claim.previous_owner,
            )
        died = check_owner_dead(backend, state, force=force)
        asked = None if died is None else find_unmet_request(backend, state)
        claim.confirm()
    except BaseException:
        claim.release()
        raise
    return ClaimedState(claim, state, died, asked)


def find_unmet_request(backend: Backend, state: SessionState) -> CancellationRequested | None:
    """Return the request to cancel that the owner of an ACTIVE session did not live to meet."""
    token = state.owner.token if state.owner is not None else None
    request = backend.pending_request(state.session_id, token)
    return None if request is None else request.to_error(state.session_id)


def check_owner_dead(backend: Backend, state: SessionState, *, force: bool) -> Liveness | None:
    """Refuse an ACTIVE session whose lock is free, and whose owner may live without one.

    Returns how it is known that the owner of an ACTIVE one died; None for any other status.
    """
    if state.status is not SessionStatus.ACTIVE:
        return None
    verdict = liveness.judge(state, backend)
    if verdict.is_alive or (verdict.is_unknown and not force):
        raise SessionClaimed(
            state.session_id,
            verdict.owner or state.owner,
            reason=verdict.reason,
            is_unknown=verdict.is_unknown,
        )
    if verdict.is_unknown:
        log_session(
            "claim_forced",
            state.session_id,
            "claimed by force: %s",
            verdict.reason,
            revision=state.revision,
            reason=verdict.reason,
        )
    return verdict


def refuse_ended(state: SessionState) -> None:
    """Refuse a session that is completed or cancelled."""
    if state.status in FINISHED:
        raise SessionEnded(state.session_id, state)


def refuse_crashing(state: SessionState, max_recoveries: int) -> None:
    """Refuse a session that more than ``max_recoveries`` processes died of."""
    count = state.recovery.count if state.recovery else 0
    if why := too_many_crashes(count, max_recoveries):
        raise NotResumable(
            state.session_id,
            why,
            remedy=retry_advice(state.session_id),
        )


def too_many_crashes(count: int, max_recoveries: int) -> str | None:
    """Return why a session that ``count`` processes died of is left alone; None if it is not."""
    if count <= max_recoveries:
        return None
    return f"{count} processes died while they ran it, and max_recoveries is {max_recoveries}"


def retry_advice(session_id: str) -> str:
    """Return how to let a session run again after too many crashes or stops."""
    return (
        f'find out why, then begin the count anew with store.retry("{session_id}")'
        f" or `sessionstore retry {session_id}`"
    )


class Restored(NamedTuple, Generic[StateT]):
    """The state that a resume goes on from."""

    state: StateT
    kept: Checkpoint | None = None
    """The checkpoint that it was restored from, or None: it is the state that was saved last."""
    keeps_current: bool = False
    """Whether the stored state is newer, so that it has to be kept first."""
    as_last_save: bool = False
    """Whether it has to become the latest checkpoint, in the place of an older one."""
    rewound: Mapping[str, int] = MappingProxyType({})
    """The journals that go back, and the number of the record that they go back to."""


def restore(
    backend: Backend, current: StateT, checkpoint_id: str | None, *, from_last_save: bool
) -> Restored[StateT]:
    """Return the state to go on from, ACTIVE, and what has to be kept.

    Raises:
        NotResumable: the checkpoint is missing or damaged.
    """
    latest = Resumability.named(current)
    if checkpoint_id is None and (from_last_save or latest.is_from_last_save):
        return Restored(_begun(current), as_last_save=not latest.is_from_last_save)
    chosen = checkpoint_id or str(latest.checkpoint_id)
    try:
        if checkpoint_id is None and latest.damage is not None:
            raise SessionCorrupt(current.session_id, chosen, latest.damage)
        stored = backend.read_checkpoint(current.session_id, chosen)
        restored = checkpoint.load(current, stored, chosen)
    except SessionCorrupt as error:
        raise not_restorable(backend, current.session_id, chosen, error.reason) from error
    goes_back = checkpoint_id is not None and current.journals != restored.journals
    keeps_current = not backend.is_current(current.session_id, chosen) and (
        goes_back or is_newer(current, restored)
    )
    foreign_values.report_checkpoint(current.session_id, stored)
    kept = checkpoint.of_state(chosen, restored)
    restored.revision = current.revision
    restored.incarnation = current.incarnation
    restored.recovery = current.recovery
    restored.labels = current.labels
    rewound = _go_back(backend, current, restored, is_named=checkpoint_id is not None)
    return Restored(_begun(restored), kept, keeps_current, rewound=rewound)


def not_restorable(
    backend: Backend, session_id: str, checkpoint_id: str, reason: str
) -> NotResumable:
    """Return the refusal of a checkpoint that is damaged or missing, with what there is instead."""
    return NotResumable(
        session_id,
        f"checkpoint {checkpoint_id} is damaged or missing: {reason}",
        checkpoint_id=checkpoint_id,
        available=_sound_checkpoints(backend, session_id),
        remedy="pass from_last_save=True to go on from the stored state",
    )


def _go_back(
    backend: Backend, current: SessionState, restored: SessionState, *, is_named: bool
) -> dict[str, int]:
    """Have the journals go on or, where a checkpoint was named, go back to where they were then.

    Returns to which record each goes back that does.
    """
    told, rewound = rewinds(current), {}
    for name in backend.journal_names(current.session_id) if is_named else ():
        back_to = journal_view.end_seen(restored, name)
        pending = told.get(name, [])
        reader = JournalReader(backend, current.session_id, name, pending.copy)
        last = reader.last_number(Position(*current.journals.get(name, ())))
        if last > back_to:
            told[name] = [*pending, Rewind(back_to, last)]
            rewound[name] = back_to
    if not is_named:
        restored.steps_from = current.steps_from
    restored.journals = current.journals
    restored.rewinds = {name: [[*one] for one in ones] for name, ones in told.items()}
    return rewound


def _begun(state: StateT) -> StateT:
    """Let ``state`` be ACTIVE, without the marks of an end."""
    state.status = SessionStatus.ACTIVE
    state.result = SessionResult()
    state.timestamps.completed_at = None
    state.timestamps.paused_at_time = None
    return state


_ACCOUNT = frozenset(
    {
        "schema_version", "revision", "incarnation", "status", "timestamps", "result", "owner",
        "pid", "recovery", "latest_checkpoint_id", "checkpoint_enabled", "journals", "rewinds",
        "steps_from", "saves_from", "labels",
    }
)  # fmt: skip
"""The fields that the store keeps account in, and what goes on through a resume."""


def is_newer(current: SessionState, restored: SessionState) -> bool:
    """Return whether the stored state tells something that the checkpoint does not."""
    if restored.incarnation == current.incarnation and restored.revision == current.revision:
        return restored.incarnation is None
    said = current.result
    if said != restored.result and (said.output or not (said.error is None or _is_stop(current))):
        return True
    return _content(current) != _content(restored)


def has_other_data(current: SessionState, restored: SessionState) -> bool:
    """Return whether the data of the application, or its output, is not that of the checkpoint."""
    output = current.result.output
    if output and output != restored.result.output:
        return True
    return _content(current) != _content(restored)


def _is_stop(state: SessionState) -> bool:
    """Return whether the error of the result only repeats how the session was stopped."""
    reason = state.recovery.reason if state.recovery is not None else None
    return reason is not None and begins_with_line(state.result.error, reason)


def _content(state: SessionState) -> dict[str, object]:
    names = type(state).__pydantic_fields__.keys() - _ACCOUNT
    return {name: getattr(state, name) for name in names} | (state.model_extra or {})


def _sound_checkpoints(backend: Backend, session_id: str) -> list[str]:
    found = inspect.list_checkpoints(backend, session_id)
    return [item.checkpoint_id for item in found if item.damaged is None]
