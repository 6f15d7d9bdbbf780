"""How the holder of a session ends it: by its word, or by what leaves its ``with`` block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sessionstore.errors import CancellationRequested, NotStorable, SessionStoreError
from sessionstore.log import log_session
from sessionstore.model import StateT
from sessionstore.model.checkpoint import PAUSE, Checkpoint
from sessionstore.model.ids import is_last_save
from sessionstore.model.liveness import Liveness
from sessionstore.model.status import SessionStatus
from sessionstore.session import outcome
from sessionstore.session.error_text import describe_error
from sessionstore.session.prepared_write import Keep, PreparedWrite
from sessionstore.session.stamp import by_store
from sessionstore.session.writer import SessionWriter
from sessionstore.text import first_line


def begin_pause(
    writer: SessionWriter[StateT], node: str | None, resume_from: str | None
) -> PreparedWrite:
    """Prepare to store the state as paused, to keep it, and to end the claim."""
    changes = outcome.paused(writer.state, node, resume_from, writer.now())
    kept = writer.find_kept() if node is None and resume_from is None else None
    keep = Keep(PAUSE, node) if kept is None else None
    return writer.prepare(
        changes,
        keep=keep,
        kept=kept,
        ending="pause() was called",
        closes_steps=resume_from is not None,
    )


def begin_complete(writer: SessionWriter[StateT], output: dict[str, Any] | None) -> PreparedWrite:
    """Prepare to store the state as completed and to end the claim."""
    changes = outcome.completed(writer.state, output, writer.now())
    # Only in the place of a last save that this state makes out of date.
    latest = writer.state.latest_checkpoint_id
    keep = writer.last_save() if latest is not None and is_last_save(latest) else None
    return writer.prepare(changes, keep=keep, ending="complete() was called", closes_steps=True)


def begin_fail(
    writer: SessionWriter[StateT],
    error: BaseException | str,
    ending: str = "fail() was called",
) -> PreparedWrite:
    """Prepare to store the state as failed and to end the claim."""
    changes = outcome.failed(writer.state, error, writer.now())
    return writer.prepare(changes, keep=writer.last_save(), ending=ending)


def begin_cancel(
    writer: SessionWriter[StateT], reason: str | None, ending: str = "cancel() was called"
) -> PreparedWrite:
    """Prepare to store the state as cancelled and to end the claim."""
    changes = outcome.cancelled(writer.state, reason, writer.now())
    return writer.prepare(changes, keep=writer.last_save(), ending=ending)


def begin_verdict(writer: SessionWriter[StateT], error: BaseException | None) -> PreparedWrite:
    """Prepare the end that leaving a ``with`` block means; None is an end without a verdict."""

    def cancel(request: CancellationRequested) -> PreparedWrite:
        return begin_cancel(writer, request.verdict(), ending=request.verdict())

    is_stop = error is not None and outcome.is_stop(error)
    if error is None or is_stop:
        if writer.request is not None:  # it was met, and nobody said anything else since
            return cancel(writer.request)
    elif request := outcome.find_request(error):
        return cancel(request)
    if error is None:
        keep, kept = _keep_left(writer)
        return writer.prepare(
            outcome.left(writer.state, writer.now()),
            keep=keep,
            kept=kept,
            ending="its block ended, or release() was called, and it was paused",
            if_cancelled=cancel,
        )
    left = f"{first_line(describe_error(error))} left its block"
    if not is_stop:
        return begin_fail(writer, error, ending=f"{left}, and it failed")
    return _begin_interrupt(
        writer, error, ending=f"{left}, and it was paused as interrupted", if_cancelled=cancel
    )


def _begin_interrupt(
    writer: SessionWriter[StateT],
    error: BaseException,
    *,
    ending: str,
    if_cancelled: Callable[[CancellationRequested], PreparedWrite] | None = None,
) -> PreparedWrite:
    prepared = writer.prepare(
        outcome.stopped(writer.state, error, writer.owner, writer.now()),
        keep=writer.last_save(),
        ending=ending,
        if_cancelled=if_cancelled,
    )
    prepared.on_stored = lambda _: log_interrupted(writer)
    return prepared


def log_interrupted(writer: SessionWriter[StateT]) -> None:
    """Log how a session was interrupted, which is on record now."""
    recovery = writer.state.recovery
    assert recovery is not None
    log_session(
        "session_interrupted",
        writer.session_id,
        "interrupted: %s",
        recovery.reason,
        revision=writer.revision,
        reason=recovery.reason,
    )


def record_death(
    writer: SessionWriter[StateT], died: Liveness, asked: CancellationRequested | None
) -> None:
    """Store that the process that ran the session died, as a sweep does."""
    outcome.mark_dead(writer.state, died, SessionStatus.FAILED, writer.now(), asked)
    writer.run(lambda: begin_stop(writer))
    log_interrupted(writer)


def interrupt(writer: SessionWriter[StateT], error: BaseException) -> None:
    """Pause a session as interrupted by ``error``, before anybody got it, and end the claim.

    If that cannot be stored, ``error`` says so: it is what its caller has to hear of.
    """
    with writer.queue:
        try:
            writer.run(
                lambda: _begin_interrupt(
                    writer, error, ending="it was interrupted before the call returned it"
                )
            )
        except SessionStoreError as trouble:
            error.add_note(f"sessionstore could not store that it was interrupted: {trouble}")
        finally:
            writer.free()


def _keep_left(writer: SessionWriter[StateT]) -> tuple[Keep | None, Checkpoint | None]:
    """Return how an end without a verdict keeps the state, or which checkpoint holds it."""
    if (keep := writer.last_save()) or not writer.state.is_resumable:
        return keep, None
    kept = writer.find_kept()  # the application has checkpoints of its own
    return (Keep(PAUSE), None) if kept is None else (None, kept)


def begin_stop(writer: SessionWriter[StateT]) -> PreparedWrite:
    """Prepare to store what :mod:`~sessionstore.session.outcome` marked in the state."""
    return writer.prepare(by_store(writer.state), keep=writer.last_save())


def end(writer: SessionWriter[StateT], error: BaseException | None) -> None:
    """Store how the session ended, unless that is stored already, and end the claim.

    ``error`` is what left the session. The claim ends even if nothing can be written.

    Raises:
        NotStorable: the state cannot be stored; the verdict went on top of the last save.
    """
    with writer.queue:
        try:
            if writer.needs_verdict:
                writer.run(lambda: begin_verdict(writer, error))
        except NotStorable as unstorable:
            end_with_last_saved(writer, error or unstorable)
            raise
        except SessionStoreError:
            raise
        except BaseException as stop:
            # Race: A second Ctrl-C. The session must not stay ACTIVE in the name of a process
            # that lives, and does not hold it.
            writer.settle()
            if writer.needs_verdict:
                left_by = error or stop
                writer.run(lambda: begin_verdict(writer, left_by))
            raise
        finally:
            writer.free()


def end_with_last_saved(writer: SessionWriter[StateT], error: BaseException) -> None:
    """Store the verdict on top of the last stored state: the present one cannot be stored.

    The verdict must not be lost with the value.
    """
    with writer.on_last_saved():
        writer.finish(begin_verdict(writer, error))
