"""Explain one session: who held it, how it ended, what a resume restores, what to do next."""

from __future__ import annotations

from dataclasses import replace

from sessionstore import clock
from sessionstore.errors import SessionCorrupt, SessionStoreError
from sessionstore.model import checkpoint, mending
from sessionstore.model.checkpoint import Checkpoint
from sessionstore.model.liveness import Liveness
from sessionstore.model.state import SessionOwner, SessionState, SessionStatus
from sessionstore.operations.advice import advise, advise_on_damage, why_left_out
from sessionstore.operations.explanation import (
    SHOWN_LINES,
    SHOWN_RELATED,
    SHOWN_STATES,
    Explanation,
    ResumeLoss,
    Situation,
    how_it_ended,
)
from sessionstore.operations.fork import to_fork
from sessionstore.operations.journal_counts import JournalCounts
from sessionstore.operations.step_counts import find_open
from sessionstore.session import inspect, resume
from sessionstore.session.error_text import BEGIN, CAUSE, CONTEXT, MEMBER
from sessionstore.session.inspect import MISSING_CHECKPOINT, Resumability
from sessionstore.storage.backend import Backend
from sessionstore.storage.values import Probe
from sessionstore.text import count_of, first_line

_ENDED_AS = {
    SessionStatus.PAUSED: Situation.PAUSED,
    SessionStatus.COMPLETED: Situation.COMPLETED,
    SessionStatus.FAILED: Situation.FAILED,
    SessionStatus.CANCELLED: Situation.CANCELLED,
}


def explain(backend: Backend, session_id: str) -> Explanation:
    """Return the explanation of a session, also of a damaged one.

    Raises:
        SessionNotFound: it does not exist, or cannot be read.
        StorageError: it does not exist, or cannot be read.
    """
    try:
        state, liveness = inspect.look(backend, session_id, names_heirs=True)
    except SessionCorrupt as error:
        return _explain_damaged(backend, session_id, error)
    probe = backend.probe(session_id)
    situation = _situation(state, liveness)
    told = Explanation(
        session_id,
        situation,
        summary="",
        next=(),
        status=state.status,
        is_held=probe.held,
        holder=_holder(state, liveness, probe),
        ended_at=_ended_at(state),
        liveness=liveness if state.status is SessionStatus.ACTIVE else None,
        recovery=state.recovery,
        revision=state.revision,
        saved_at=state.timestamps.updated_at,
        node=_node(state),
        steps=_steps(state, counted=_counts_steps(state)),
        counts_steps=_counts_steps(state),
        open_steps=find_open(backend, state),
        forked_from=to_fork(session_id, state.forked_from),
        error=first_line(state.result.error) if state.result.error else None,
        traceback=_traceback(state.result.error),
        paused_at=state.progress.paused_at,
        looked_at=clock.to_text(backend.clock()),
    )
    told = _with_request(backend, state, told)
    told = _with_checkpoint(backend, state, told)
    ended = how_it_ended(told, lambda at: at or "an unknown time")
    return replace(told, ended=ended, summary=_summary(told), next=tuple(advise(told)))


def _with_request(backend: Backend, state: SessionState, told: Explanation) -> Explanation:
    """Add the request to cancel that its process has not met."""
    if state.status is not SessionStatus.ACTIVE:
        return told
    owner = told.holder if told.is_held else state.owner
    request = backend.pending_request(state.session_id, owner.token if owner else None)
    if request is None:
        return told
    by = request.by.describe() if request.by is not None else ""
    text = f"asked by {request.user or by or 'somebody'}: {request.reason or 'no reason was given'}"
    if request.user and by:
        text += f" ({by})"
    return replace(
        told,
        cancel_request=text,
        cancel_reason=request.reason,
        cancel_requested_at=request.at or None,
    )


def _situation(state: SessionState, liveness: Liveness) -> Situation:
    if state.status is SessionStatus.ACTIVE:
        if liveness.is_alive:
            return Situation.RUNNING
        return Situation.STALE if liveness.is_dead else Situation.UNKNOWN
    return Situation.INTERRUPTED if state.is_interrupted else _ENDED_AS[state.status]


def _holder(state: SessionState, liveness: Liveness, probe: Probe) -> SessionOwner | None:
    """Return the holder or the last one: who ran the session, not who only marked it since."""
    if probe.held:
        return probe.holder or state.owner
    if state.status is SessionStatus.ACTIVE:
        return liveness.owner or state.owner
    last, recovery = probe.holder, state.recovery
    if recovery is not None and (last is None or _came(last) <= (recovery.at or "")):
        return recovery.owner  # the last holder came to mark it
    return last


def _came(holder: SessionOwner) -> str:
    """Return when the holder claimed the session; these texts sort by time."""
    return holder.claimed_at or ""


# --- how it ended --------------------------------------------------------------------------------


def _ended_at(state: SessionState) -> str | None:
    times = state.timestamps
    if state.status is SessionStatus.PAUSED:
        return times.paused_at_time
    return times.updated_at if state.status is SessionStatus.ACTIVE else times.completed_at


def _traceback(error: str | None) -> tuple[str, ...]:
    """Return the end of the traceback of an error, below what led to it; else its last lines."""
    lines = (error or "").strip().split("\n")[1:]
    if BEGIN not in lines:
        return tuple(lines[-SHOWN_LINES:])
    begin = lines.index(BEGIN)
    related = [line for line in lines[:begin] if line.startswith((CAUSE, CONTEXT, MEMBER))]
    return (*related[:SHOWN_RELATED], *lines[begin + 1 :][-SHOWN_LINES:])


def _summary(told: Explanation) -> str:
    name = told.session_id
    resumable = told.unresumable is None
    after = "it can be resumed" if resumable else "it cannot be resumed as it is"
    sentences = {
        Situation.RUNNING: f"{name} says that it is active, but only its lock has outlived the"
        " process that ran it."
        if told.liveness is not None and told.liveness.is_orphaned
        else f"{name} is running.",
        Situation.STALE: f"{name} says that it is active, but its process died; {after}.",
        Situation.UNKNOWN: f"{name} says that it is active; whether its process lives cannot be"
        " known from here.",
        Situation.PAUSED: f"{name} is paused; {after}.",
        Situation.COMPLETED: f"{name} has completed.",
        Situation.FAILED: f"{name} has failed; {after}.",
        Situation.INTERRUPTED: f"{name} was interrupted, and is marked {told.status}; {after}.",
        Situation.CANCELLED: f"{name} was cancelled.",
    }
    text = sentences[told.situation]
    if told.cancel_request is not None:
        why = f": {told.cancel_reason}" if told.cancel_reason else ""
        text += f" Somebody asked to cancel it{why}."
    if why := why_left_out(told):
        text += f" The start-up loop leaves it out: {why}."
    if told.unsettled_steps:
        waiting = count_of(len(told.unsettled_steps), "step")
        text += f" Somebody has to say what came of {waiting} first."
    if told.is_held and told.situation is not Situation.RUNNING:
        text += " Right now a process holds it, to edit it or to take it over."
    return text


def _node(state: SessionState) -> str | None:
    progress = state.progress
    last = progress.path[-1] if progress.path else None
    return progress.current_node or progress.paused_at or last


def _counts_steps(state: SessionState) -> bool:
    return state.progress.steps_executed > 0 or not state.progress.path


def _steps(state: SessionState, *, counted: bool) -> int:
    return state.progress.steps_executed if counted else len(state.progress.path)


# --- what a resume would do -----------------------------------------------------------------------


def _with_checkpoint(backend: Backend, state: SessionState, told: Explanation) -> Explanation:
    """Add the checkpoint that a resume would restore, and what that would not bring back."""
    session_id, latest = state.session_id, state.latest_checkpoint_id
    counts = JournalCounts(backend, session_id)
    records = counts.now(state)
    told = replace(told, records=records)
    named = Resumability.named(state)
    try:
        known = inspect.name_checkpoints(backend, session_id)
    except SessionStoreError as error:  # checkpoints/ is no directory
        return replace(told, unresumable=str(error), checkpoint=_missing(latest, str(error)))
    others, _ = _look_at_newest(
        backend, session_id, [item for item in known if item.checkpoint_id != latest], whole=False
    )
    if named.is_from_last_save:
        lost = ResumeLoss(0, 0, ())
        return replace(told, alternatives=others, lost=lost, is_from_last_save=True)
    if named.damage is not None:
        return replace(told, unresumable=named.damage, alternatives=others)
    latest = str(named.checkpoint_id)
    found = next((item for item in known if item.checkpoint_id == latest), None)
    if found is None:
        found = Checkpoint(latest, damaged=MISSING_CHECKPOINT)
    else:
        found = inspect.describe_checkpoint(backend, session_id, latest)
    if found.damaged is None:
        try:
            stored = backend.read_checkpoint(session_id, latest)
            lost = _lost(state, checkpoint.load(state, stored, latest))
        except SessionStoreError as error:
            found = replace(found, damaged=str(error))
        else:
            then = counts.at(mending.parse(stored.payload))
            since = None if records is None or then is None else max(0, records - then)
            return replace(
                told, checkpoint=found, alternatives=others, lost=lost, records_since=since
            )
    reason = f"its checkpoint {latest} is damaged or missing: {found.damaged}"
    return replace(told, checkpoint=found, unresumable=reason, alternatives=others)


def _look_at_newest(
    backend: Backend, session_id: str, known: list[Checkpoint], *, whole: bool
) -> tuple[tuple[str, ...], list[Checkpoint]]:
    """Return the ids of ``known`` without damaged ones, and those that were read, oldest first.

    Only the newest are read: as many as are shown and, with ``whole``, one that holds a whole
    state. To read all of many takes long, and nobody looks at them.
    """
    left = list(known)
    read: list[Checkpoint] = []
    while left and not (
        len(read) >= SHOWN_STATES
        and (checkpoint.newest_sound(read, whole=True) is not None or not whole)
    ):
        item = inspect.describe_checkpoint(backend, session_id, left.pop().checkpoint_id)
        if item.damaged is None:
            read.insert(0, item)
    return tuple(item.checkpoint_id for item in (*left, *read)), read


def _missing(checkpoint_id: str | None, reason: str) -> Checkpoint | None:
    return None if checkpoint_id is None else Checkpoint(checkpoint_id, damaged=reason)


def _lost(state: SessionState, kept: SessionState) -> ResumeLoss:
    revisions = None
    if kept.incarnation is not None and kept.incarnation == state.incarnation:
        revisions = 0
        if resume.has_other_data(state, kept):
            # What it did not save stands in the write of its end, which is no save of its own.
            revisions = max(1, state.revision - max(state.saves_from, kept.revision))
    path, before = state.progress.path, kept.progress.path
    nodes = tuple(path[len(before) :]) if path[: len(before)] == before else ()
    counted = _counts_steps(state)
    steps = _steps(state, counted=counted) - _steps(kept, counted=counted)
    return ResumeLoss(revisions, max(0, steps), nodes)


# --- a state that cannot be read ------------------------------------------------------------------


def _explain_damaged(backend: Backend, session_id: str, error: SessionCorrupt) -> Explanation:
    probe, known = _see(backend, session_id)
    others, read = _look_at_newest(backend, session_id, known, whole=True)
    newest = checkpoint.newest_sound(read, whole=True)
    told = Explanation(
        session_id,
        Situation.DAMAGED,
        summary=f"{session_id} is damaged: its state cannot be read; "
        + (
            "it can be repaired from a checkpoint."
            if newest is not None
            else "no sound checkpoint of it is left."
        ),
        next=(),
        is_held=probe.held,
        holder=probe.holder,
        looked_at=clock.to_text(backend.clock()),
        unresumable="its state is damaged",
        alternatives=others,
        damaged=error.reason,
        file=error.file,
    )
    ended = how_it_ended(told, str)
    return replace(told, ended=ended, next=tuple(advise_on_damage(told, newest)))


def _see(backend: Backend, session_id: str) -> tuple[Probe, list[Checkpoint]]:
    try:
        probe = backend.probe(session_id)
    except SessionStoreError:
        probe = Probe(held=False)
    try:
        known = inspect.name_checkpoints(backend, session_id)
    except SessionStoreError:
        known = []
    return probe, known
