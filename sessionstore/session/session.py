"""A claimed session: edit its state, save it after each step, end it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, NoReturn, ParamSpec, Self, TypeVar, overload

from sessionstore.errors import SessionStoreError
from sessionstore.model import StateT
from sessionstore.model.checkpoint import Checkpoint
from sessionstore.model.ids import check_id
from sessionstore.model.state import SessionOwner
from sessionstore.model.step import Step, StepInfo, Undeclared
from sessionstore.session import verdict
from sessionstore.session.journal import Journal
from sessionstore.session.position import End
from sessionstore.session.steps import Replayed, SessionSteps
from sessionstore.session.writer import SessionWriter

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Session(Generic[StateT]):
    """Your claim on a session, with its ``state``. Made by a store, not by hand.

    Nobody else can write the session until it is released. Leaving a ``with`` block while the
    session is still ACTIVE ends it:

    - An end without a verdict (also ``return``) pauses it, since nobody said that it succeeded.
    - CancelledError, KeyboardInterrupt, SystemExit and GeneratorExit only stop it: it is paused
      as interrupted, and a start-up loop resumes it.
    - Any other exception makes it failed.

    Once somebody has asked, with ``store.cancel()``, that this session ends, ``save`` and
    ``checkpoint`` raise ``CancellationRequested``. If that leaves the ``with`` block, or the
    block ends without a verdict or by a stop after it was asked, the session is cancelled.

    A session that ends as failed, cancelled or stopped, and has no checkpoint of its own, keeps the
    state that was saved last as one, of type ``last_save``.

    Examples:
        >>> with store.resume("ticket-1") as session:
        ...     session.state.data_buffer["step"] = 2
        ...     revision = session.save()
        ...     revision = session.complete({"team": "billing"})
    """

    def __init__(self, writer: SessionWriter[StateT]) -> None:
        self._writer = writer

    def __repr__(self) -> str:
        return f"<Session {self._writer}>"

    def __reduce__(self) -> NoReturn:
        self._writer.refuse_pickling()

    @property
    def session_id(self) -> str:
        """The id of the session."""
        return self._writer.session_id

    @property
    def revision(self) -> int:
        """The revision that is stored; it grows by one with every write."""
        return self._writer.revision

    @property
    def owner(self) -> SessionOwner:
        """The owner record of this claim."""
        return self._writer.owner

    @property
    def directory(self) -> Path:
        """The session's directory, where the application may keep files of its own.

        Raises:
            StorageError: this store keeps no files.
        """
        return self._writer.claim.directory

    @property
    def is_released(self) -> bool:
        """Whether the claim has ended."""
        return self._writer.is_released

    @property
    def is_resumed(self) -> bool:
        """Whether it goes on from a stored state; False where it was created or only claimed."""
        return self._writer.is_resumed

    @property
    def state(self) -> StateT:
        """The state: edit it in place, or assign a whole one of the store's ``state_type``.

        A state that is assigned whole keeps the session's checkpoint, recovery and lineage,
        unless it sets them itself.

        Raises:
            StateTypeMismatch: on assigning a state of another type.
        """
        return self._writer.state

    @state.setter
    def state(self, state: StateT) -> None:
        self._writer.state = state

    def journal(self, name: str = "main") -> Journal:
        """Return a journal of this session: an append-only list of records beside the state.

        Nothing is made before the first append.

        Raises:
            InvalidSessionId: the name is not safe for a file.
            ValueError: it is the store's own: ``steps``.

        Examples:
            >>> with store.resume("ticket-1") as session:
            ...     number = session.journal("messages").append({"role": "user", "text": "hi"})
        """
        return Journal(self._writer, name)

    @cached_property
    def _steps(self) -> SessionSteps:
        # Race: Exception from a signal handler. Between a claim and the return of its session there
        # is as little as can be: steps are made ready at their first use.
        return SessionSteps(self._writer)

    @overload
    def step(
        self, name: str | Step[Undeclared], fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...

    @overload
    def step(
        self, name: Step[T], fn: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...

    def step(
        self, name: str | Step[Any], fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Any:
        """Call ``fn`` once and keep what it returns: after a crash it is returned, not called.

        The result is durable before it is returned. It is kept as JSON, under the name of the
        step, until a checkpoint, ``pause(resume_from=...)`` or ``complete()`` closes the step. An
        exception is not kept: the step can be called again.

        Args:
            name: what the step is known by, or a :class:`~sessionstore.Step` with options. A name
                is used once between two checkpoints.
            fn: what to call. The type that it declares to return
                is what a replay returns, too; without one the result has to be plain JSON.
            args: what to call it with; those that JSON can hold are compared with the kept ones.
            kwargs: the same, by keyword.

        Raises:
            NotStorable: the declared type cannot be kept as JSON, and nothing was called; or the
                result cannot be kept, and is in the error.
            StepChanged: the kept step had other arguments, as far as JSON can hold them.
            StepUnsettled: it may run at most once, and a process died within it.
            CancellationRequested: somebody asked that the session ends; nothing was called.
            ValueError: the name was used already since the last checkpoint.
            RuntimeError: a step of this session is running in this thread or task.
            ClaimLost: as for :meth:`save`.
            DurabilityUncertain: as for :meth:`Journal.append`; the call was made.
            StorageError: the system refused.

        Examples:
            >>> with store.resume("ticket-1") as session:
            ...     plan = session.step("plan", lambda text: {"team": text}, "billing")
            >>> plan
            {'team': 'billing'}
        """
        call = self._steps.begin(name, fn, args, kwargs)
        if isinstance(call, Replayed):
            return call.result
        return self._steps.keep(call, self._steps.run(call, fn, args, kwargs))

    def steps(self) -> list[StepInfo]:
        """Return the steps of this session, oldest first, closed ones included.

        Raises:
            SessionCorrupt: the journal of the steps is damaged.
            StorageError: the system refused.

        Examples:
            >>> with store.claim("ticket-1") as session:
            ...     [(step.name, str(step.status)) for step in session.steps()]
            [('plan', 'kept'), ('pay', 'unsettled')]
        """
        return self._steps.listed()

    def settle_step(self, name: str, result: Any) -> None:
        """Say what came of a step that may run at most once, and whose process died within it.

        A replay returns ``result``, once it is checked against the declared type.

        Raises:
            ValueError: no step of this name is unsettled.
            NotStorable: JSON cannot hold the result.
            ClaimLost: as for :meth:`save`.
            StorageError: the system refused.

        Examples:
            >>> with store.claim("ticket-1") as session:
            ...     session.settle_step("pay", {"paid": 12})
        """
        self._steps.settle(name, result)

    def rerun_step(self, name: str) -> None:
        """Let a step that is kept or unsettled be called again.

        Raises:
            ValueError: there is no open step of this name.
            ClaimLost: as for :meth:`save`.
            StorageError: the system refused.

        Examples:
            >>> with store.claim("ticket-1") as session:
            ...     session.rerun_step("plan")
        """
        self._steps.allow_rerun(name)

    def save(self) -> int:
        """Store the state; return its revision. The session stays claimed.

        Raises:
            NotStorable: a value would not read back equal; nothing was written.
            CancellationRequested: somebody asked that the session ends; nothing was written.
            RevisionConflict: something without a claim changed the state; that one was kept.
            ClaimLost: the claim was released, or its lock file removed, or this is a forked child.
            DurabilityUncertain: the new state is visible, but may not survive a power loss.
            StorageError: the system refused; nothing was changed.

        Examples:
            >>> with store.create("triage", session_id="ticket-2") as session:
            ...     session.state.data_buffer["step"] = 1
            ...     session.save()
            2
        """
        writer = self._writer
        return writer.run(writer.begin_step).revision

    def checkpoint(
        self,
        checkpoint_type: str = "manual",
        *,
        node: str | None = None,
        next_node: str | End | None = None,
    ) -> Checkpoint:
        """Store the state, keep it, and make it the one that a resume restores.

        It raises what :meth:`save` raises. After an error the progress is as it was.

        Args:
            checkpoint_type: what kind it is, such as ``"node_complete"``. The types
                ``before_resume``, ``last_save`` and ``edit`` are the store's own.
            node: the current node; stored in ``progress.current_node``.
            next_node: where to go on; stored in ``progress.resume_from``, which
                :data:`~sessionstore.END` clears. It says that ``node`` is finished: the node is
                counted in ``path``, ``steps_executed`` and ``node_visit_counts`` of the progress.

        Raises:
            ValueError: the type is one of the store's own.
            TypeError: ``next_node`` is given without ``node``.

        Examples:
            >>> with store.resume("ticket-1") as session:
            ...     kept = session.checkpoint("node_complete", node="answer", next_node="send")
            >>> kept.node
            'answer'
            >>> store.load("ticket-1").progress.resume_from
            'send'
        """
        writer = self._writer
        stored = writer.run(lambda: writer.begin_checkpoint(checkpoint_type, node, next_node))
        assert stored.checkpoint is not None
        return stored.checkpoint

    def pause(self, node: str | None = None, *, resume_from: str | None = None) -> Checkpoint:
        """Store the state as paused, keep a checkpoint of it, and release the session.

        It raises what :meth:`save` raises, but for CancellationRequested. Where the latest
        checkpoint holds this very state, no second copy is kept: that checkpoint is returned.

        Args:
            node: where it paused; stored in ``progress.paused_at`` and ``current_node``.
            resume_from: where to go on; stored in ``progress.resume_from``.

        Examples:
            >>> with store.resume("ticket-1") as session:
            ...     kept = session.pause("ask", resume_from="answer")
            >>> store.load("ticket-1").progress.resume_from
            'answer'
        """
        writer = self._writer
        stored = writer.run(lambda: verdict.begin_pause(writer, node, resume_from))
        assert stored.checkpoint is not None
        return stored.checkpoint

    def complete(self, output: dict[str, Any] | None = None) -> int:
        """Store the state as completed and release the session; return the revision.

        It raises what :meth:`save` raises, but for CancellationRequested.

        Args:
            output: what came of it; stored in ``result.output``.

        Examples:
            >>> with store.resume("ticket-1") as session:
            ...     revision = session.complete({"team": "billing"})
            >>> store.load("ticket-1").result.output
            {'team': 'billing'}
        """
        writer = self._writer
        return writer.run(lambda: verdict.begin_complete(writer, output)).revision

    def fail(self, error: BaseException | str) -> int:
        """Store the state as failed with ``error``, release the session; return the revision.

        An exception is stored with its traceback: bounded, and without the values of variables.
        It raises what :meth:`save` raises, but for CancellationRequested.

        Examples:
            >>> with store.resume("ticket-1") as session:
            ...     revision = session.fail(ValueError("no such city"))
            >>> store.load("ticket-1").result.error
            'ValueError: no such city'
        """
        writer = self._writer
        return writer.run(lambda: verdict.begin_fail(writer, error)).revision

    def cancel(self, reason: str | None = None) -> int:
        """Store the state as cancelled and release the session; return the revision.

        It raises what :meth:`save` raises, but for CancellationRequested.

        Args:
            reason: why; stored in ``result.error``.

        Examples:
            >>> with store.resume("ticket-1") as session:
            ...     revision = session.cancel("the customer called it off")
        """
        writer = self._writer
        return writer.run(lambda: verdict.begin_cancel(writer, reason)).revision

    def release(self) -> None:
        """Give the session back; one that is still ACTIVE is paused first. Safe to call twice.

        A session that was asked to cancel is cancelled instead. In a forked child it only closes
        the inherited descriptor. The lock is freed even if the pause cannot be written.

        Raises:
            NotStorable: the state cannot be stored; the session failed on top of its last save.

        Examples:
            >>> session = store.claim("ticket-1")
            >>> session.release()
        """
        verdict.end(self._writer, None)

    def delete(self) -> None:
        """Delete the session with its checkpoints and files; the claim ends with it.

        Raises:
            ClaimLost: as for :meth:`save`.
            DurabilityUncertain: it is gone, but may be there again after a loss of power.
            StorageError: the system refused.

        Examples:
            >>> store.create("triage", session_id="ticket-3").delete()
            >>> store.exists("ticket-3")
            False
        """
        self._writer.delete()

    def remove_checkpoint(self, checkpoint_id: str) -> None:
        """Remove a checkpoint of the session, but not the latest.

        Raises:
            ValueError: it is the latest checkpoint, which a resume restores.
            CheckpointNotFound: there is no such checkpoint.
            InvalidSessionId: its id is not safe.
            ClaimLost: as for :meth:`save`.
            StorageError: the system refused.

        Examples:
            >>> with store.claim("ticket-1") as session:
            ...     session.remove_checkpoint(store.checkpoints("ticket-1")[0].checkpoint_id)
        """
        self._writer.remove_checkpoint(check_id(checkpoint_id, kind="checkpoint id"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            verdict.end(self._writer, error)
        except SessionStoreError as trouble:
            if error is None:
                raise
            error.add_note(f"sessionstore could not store how the session ended: {trouble}")
