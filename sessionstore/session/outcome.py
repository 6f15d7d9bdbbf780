"""How a session stops: what an exception says about it, and what a stop sets in its state.

The holder of a session stores its end as changes, which the writer can undo. Everybody else (a
sweep, a person, an import, a repair) marks a state that nobody holds, and then stores it.
"""

from __future__ import annotations

from typing import Any

from sessionstore import clock
from sessionstore.errors import CancellationRequested
from sessionstore.model.liveness import Liveness
from sessionstore.model.state import SessionOwner, SessionRecovery, SessionState, SessionStatus
from sessionstore.model.stop_reason import DIED, RETRY, STOPPED
from sessionstore.session.error_text import describe_error, record_error
from sessionstore.session.stamp import Change, by_store, progress_of, result_of, times_of
from sessionstore.text import first_line

# --- what an exception says ----------------------------------------------------------------------


def find_request(error: BaseException) -> CancellationRequested | None:
    """Return the request to cancel that ``error`` is, or of which a group of errors consists."""
    if isinstance(error, CancellationRequested):
        return error
    if isinstance(error, BaseExceptionGroup):
        # A task group wraps it; asyncio itself leaves out the tasks that end because of it.
        found = [find_request(inner) for inner in error.exceptions]
        return found[0] if all(found) else None
    return None


_CANCELLED = {("asyncio.exceptions", "CancelledError"), ("trio", "Cancelled")}


def is_stop(error: BaseException) -> bool:
    """Return whether ``error`` only stops what runs: no failure, and nobody's wish to cancel it.

    A task is cancelled because its sibling failed, its time is up or the program ends. Ctrl-C,
    SystemExit and the closing of a generator end the program or the caller.
    """
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
        return True
    if isinstance(error, BaseExceptionGroup):
        return all(is_stop(inner) for inner in error.exceptions)
    # Recognized by name: importing asyncio takes 30 ms, and fails where files run out.
    return any((kind.__module__, kind.__name__) in _CANCELLED for kind in type(error).__mro__)


# --- how its holder ends it -----------------------------------------------------------------------


def paused(
    state: SessionState, node: str | None, resume_from: str | None, now: str
) -> list[Change]:
    """Return the changes of a pause by the application: it waits, and nothing stopped it."""
    changes = _pause(state, now)
    changes.append((result_of(state), "error", None))
    if node is not None:
        changes.append((progress_of(state), "paused_at", node))
        changes.append((progress_of(state), "current_node", node))
    if resume_from is not None:
        changes.append((progress_of(state), "resume_from", resume_from))
    return changes


def left(state: SessionState, now: str) -> list[Change]:
    """Return the changes of an end without a verdict: a pause that keeps why it was interrupted."""
    return _pause(state, now)


def stopped(
    state: SessionState, error: BaseException, owner: SessionOwner, now: str
) -> list[Change]:
    """Return the changes of a stop: a pause, and the record that makes it interrupted."""
    before = state.recovery or SessionRecovery()
    reason = f"{STOPPED}{first_line(describe_error(error))}"
    recovery = SessionRecovery(
        count=before.count, stops=before.stops + 1, at=now, reason=reason, owner=owner
    )
    return [
        *_pause(state, now),
        (state, "recovery", recovery),
        (result_of(state), "error", f"{STOPPED}{record_error(error)}"),
    ]


def _pause(state: SessionState, now: str) -> list[Change]:
    return [
        (state, "status", SessionStatus.PAUSED),
        (times_of(state), "paused_at_time", now),
        *by_store(state),
    ]


def completed(state: SessionState, output: dict[str, Any] | None, now: str) -> list[Change]:
    """Return the changes of a success."""
    changes = _ended(state, SessionStatus.COMPLETED, None, now)
    changes.append((progress_of(state), "paused_at", None))
    if output is not None:
        changes.append((result_of(state), "output", output))
    return changes


def failed(state: SessionState, error: BaseException | str, now: str) -> list[Change]:
    """Return the changes of a failure."""
    return _ended(state, SessionStatus.FAILED, record_error(error), now)


def cancelled(state: SessionState, reason: str | None, now: str) -> list[Change]:
    """Return the changes of a cancellation."""
    return _ended(state, SessionStatus.CANCELLED, reason, now)


def _ended(state: SessionState, status: SessionStatus, error: str | None, now: str) -> list[Change]:
    return [
        (result_of(state), "success", status is SessionStatus.COMPLETED),
        (result_of(state), "error", error),
        (state, "status", status),
        (times_of(state), "completed_at", now),
        *by_store(state),
    ]


# --- how it is marked that nobody holds it --------------------------------------------------------


def mark_stopped(state: SessionState, status: SessionStatus, *, error: str | None, at: str) -> None:
    """Record that ``state`` stopped without success at ``at``, and that nobody holds it.

    An ``error`` of None leaves the error of the result as it is.
    """
    state.status = status
    state.result.success = False
    if error is not None:
        state.result.error = error
    if status is SessionStatus.PAUSED:
        state.timestamps.paused_at_time = at
    else:
        state.timestamps.completed_at = at
    state.owner = state.pid = None


def mark_interrupted(
    state: SessionState,
    status: SessionStatus,
    reason: str,
    *,
    owner: SessionOwner | None,
    now: str,
    crashes: int = 1,
) -> None:
    """Record that an ACTIVE session lost its process, ``owner``, and why.

    ``crashes`` is added to the number of times that this has happened to the session.
    """
    _record(state, reason, owner=owner, now=now, crashes=crashes)
    mark_stopped(state, status, error=reason, at=last_run(state, now))


def mark_dead(
    state: SessionState,
    verdict: Liveness,
    status: SessionStatus,
    now: str,
    asked: CancellationRequested | None = None,
) -> None:
    """Record that the process of an ACTIVE session died, and how that is known.

    If it was ``asked`` to cancel the session, and died before it met the request, the session is
    CANCELLED: nobody goes on with it.
    """
    owner = verdict.owner or state.owner
    if asked is not None:
        status = SessionStatus.CANCELLED
    mark_interrupted(state, status, _describe_death(verdict, owner), owner=owner, now=now)
    if asked is not None:
        state.result.error = asked.verdict()


def note_death(state: SessionState, verdict: Liveness, now: str) -> None:
    """Record the death as :func:`mark_dead` does, of a session that its next holder keeps ACTIVE.

    If that one stores no verdict of its own, the session is interrupted again.
    """
    owner = verdict.owner or state.owner
    state.result.error = reason = _describe_death(verdict, owner)
    _record(state, reason, owner=owner, now=now)


def _record(
    state: SessionState, reason: str, *, owner: SessionOwner | None, now: str, crashes: int = 1
) -> None:
    before = state.recovery or SessionRecovery()
    state.recovery = SessionRecovery(
        count=before.count + crashes, stops=before.stops, at=now, reason=reason, owner=owner
    )


def _describe_death(verdict: Liveness, owner: SessionOwner | None) -> str:
    how = verdict.reason
    if owner is not None and owner.pid is not None:
        # "pid 4711 (python agent.py) on web1 since 12:03:11Z is gone"
        short, named = f"pid {owner.pid}", owner.describe()
        how = how.replace(short, named, 1) if short in how else f"{how}: {named}"
    verb = "was assumed dead by a person" if verdict.is_unknown else "died"
    return f"{DIED}{verb}: {how}"


_RETRY = f"{RETRY} after: "


def mark_for_retry(
    state: SessionState,
    status: SessionStatus,
    before: str,
    *,
    owner: SessionOwner | None,
    at: str,
    now: str,
) -> None:
    """Record that a session is interrupted, as FAILED or PAUSED, with nothing counted.

    ``before`` is the error that it had, or how it ended at ``at``; ``owner`` is the process that
    ran it last.
    """
    error = _RETRY + before.removeprefix(_RETRY)
    mark_stopped(state, status, error=error, at=at)
    if status is SessionStatus.PAUSED:
        state.result.success = state.timestamps.completed_at = None
    state.recovery = SessionRecovery(
        count=0, stops=0, at=now, reason=first_line(error), owner=owner
    )


def last_run(state: SessionState, now: str) -> str:
    """Return the last time that a session is known to have run; ``now`` if that is unknown."""
    moment = clock.parse(state.timestamps.updated_at)
    return clock.to_text(moment) if moment else now
