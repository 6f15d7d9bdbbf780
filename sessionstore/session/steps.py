"""Steps of a claimed session: a call that returned is not made again.

A step is known by its name. Its result is a record of the journal ``steps``, which is durable
before the result is returned. A record counts as long as no checkpoint has closed it: it names the
``steps_from`` of the state that it began under.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from sessionstore.errors import NotStorable, StepChanged, StepUnsettled
from sessionstore.log import log_session
from sessionstore.model import step as steps
from sessionstore.model.codec import brief
from sessionstore.model.journal import STEPS
from sessionstore.model.step import UNDECLARED, Step, StepInfo, StepRecord, StepStatus
from sessionstore.process.fork import Mutex
from sessionstore.session.step_result import ResultType, declared_type

if TYPE_CHECKING:
    from sessionstore.session.open_journal import OpenJournal
    from sessionstore.session.writer import SessionWriter

_within: ContextVar[frozenset[str]] = ContextVar("sessionstore_within", default=frozenset())
"""The sessions of which a step runs in this thread or task."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A step that is not called, since its result is kept."""

    result: Any


@dataclass(frozen=True, slots=True)
class StepCall:
    """A step that is about to be called."""

    step: Step[Any]
    steps_from: int
    result_type: ResultType


class SessionSteps:
    """What a claimed session keeps of its steps."""

    def __init__(self, writer: SessionWriter[Any]) -> None:
        self._writer = writer
        self._mutex = Mutex()
        self._steps_from: int | None = None
        """Under which number :attr:`_kept` was read."""
        self._kept: dict[str, StepRecord] = {}
        self._opened: OpenJournal | None = None
        self._used: set[str] = set()
        """The names that this claim has used since the last checkpoint closed steps."""

    # --- call -------------------------------------------------------------------------------------

    def begin(
        self,
        name: Step[Any] | str,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> StepCall | Replayed:
        """Return the kept result of a step, or record that it is about to be called.

        Raises what :meth:`sessionstore.Session.step` raises before the call.
        """
        writer = self._writer
        step: Step[Any] = name if isinstance(name, Step) else Step(name)
        if writer.session_id in _within.get():
            raise RuntimeError(
                f"the step {step.name!r} is called within another step of {writer.session_id}:"
                " its result would be kept, and the outer one run again; call the function itself"
            )
        declared = step.returns
        if declared is UNDECLARED:
            declared = declared_type(writer.session_id, step.name, function)
        result_type = ResultType(writer.session_id, step.name, declared)
        digest = steps.digest_of(args, kwargs)
        with self._mutex:
            steps_from = self._load()
            if step.name in self._used:
                raise ValueError(
                    f"the step {step.name!r} was used already since the last checkpoint: in a loop"
                    f' give each turn a name of its own, such as f"{step.name}-{{turn}}"'
                )
            kept = self._kept.get(step.name)
            if kept is not None and kept.status is StepStatus.UNSETTLED:
                raise self._unsettled(step.name, kept)  # also with rerun=True: nobody knows
            if kept is not None and kept.status is StepStatus.KEPT and not step.rerun:
                self._check(step.name, kept, digest)
                self._used.add(step.name)
                return self._replayed(step.name, kept, result_type)
            self._record_start(step, steps_from, digest)
            self._used.add(step.name)
            self._kept.pop(step.name, None)
        return StepCall(step, steps_from, result_type)

    def _unsettled(self, name: str, kept: StepRecord) -> StepUnsettled:
        info, session_id = kept.info(is_closed=False), self._writer.session_id
        log_session(
            "step_unsettled",
            session_id,
            "step %s has begun at %s, and nobody knows what came of it",
            name,
            info.began_at,
            reason=name,
        )
        return StepUnsettled(session_id, name, info.began_at, info.pid, info.host)

    def _check(self, name: str, kept: StepRecord, digest: str | None) -> None:
        session_id = self._writer.session_id
        if kept.is_pruned:
            raise StepChanged(session_id, name, kept.ended_at, "its value was pruned")
        if not kept.is_settled and kept.digest != digest:
            raise StepChanged(session_id, name, kept.ended_at)

    def _replayed(self, name: str, kept: StepRecord, result_type: ResultType) -> Replayed:
        session_id = self._writer.session_id
        try:
            result = result_type.revive(kept.result)
        except ValueError as error:
            what = f"its result is not of the declared type: {brief(error)}"
            raise StepChanged(session_id, name, kept.ended_at, what) from error
        log_session(
            "step_replayed", session_id, "step %s is kept, and not called", name, reason=name
        )
        return Replayed(result)

    def _record_start(self, step: Step[Any], steps_from: int, digest: str | None) -> None:
        owner = self._writer.owner
        record = steps.started(
            step.name,
            steps_from,
            digest,
            pid=owner.pid,
            host=owner.host,
            at_most_once=step.at_most_once,
        )
        # Where it may run again, the start is only told to those who look: no flush.
        self._append(to_json(record), flush=step.at_most_once, cancellable=True)

    def run(
        self,
        call: StepCall,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """Call the function; return its result, to be kept with :meth:`keep`."""
        with self.within(call):
            return function(*args, **kwargs)

    def keep(self, call: StepCall, result: Any) -> Any:
        """Keep the result of a call; return it as a replay will.

        Raises:
            NotStorable: it cannot be kept; the error has it as its ``result``.
        """
        name, session_id = call.step.name, self._writer.session_id
        try:
            payload = call.result_type.encode(result)
            returned = call.result_type.decode(payload)
        except ValueError as error:
            self._forget(call)
            reason = error.reason if isinstance(error, NotStorable) else str(error)
            raise NotStorable(session_id, f"the result of {name}", reason, result) from error
        self._append(steps.kept(name, call.steps_from, payload), flush=True)
        log_session("step_kept", session_id, "step %s has returned, and is kept", name, reason=name)
        return returned

    def raised(self, call: StepCall, error: BaseException) -> None:
        """Let a step whose call has raised ``error`` run again, in this claim, too.

        What stops the program says nothing about the call: a step that may run at most once stays
        unsettled then.
        """
        if call.step.at_most_once and isinstance(error, Exception):
            self._append(to_json(steps.ended(call.step.name, call.steps_from)), flush=True)
        self._forget(call)

    def _forget(self, call: StepCall) -> None:
        """Let the name of a call that kept nothing be used again, unless it is unsettled."""
        with self._mutex:
            steps_from = self._load()
            if call.step.at_most_once:
                self._kept = self._read(steps_from)
            if call.steps_from == steps_from:
                self._used.discard(call.step.name)

    @contextmanager
    def within(self, call: StepCall) -> Iterator[None]:
        """Run the call in this block: no other step of the session may begin in it."""
        token = _within.set(_within.get() | {self._writer.session_id})
        try:
            yield
        except BaseException as error:
            self.raised(call, error)
            raise
        finally:
            _within.reset(token)

    # --- look and settle --------------------------------------------------------------------------

    def listed(self) -> list[StepInfo]:
        """Return the steps of the session, oldest first."""
        return steps.listed(self._journal.reader.records(), self._writer.steps_from())

    def settle(self, name: str, result: Any) -> None:
        """Keep ``result`` as that of an unsettled step.

        Raises:
            ValueError: no step of this name is unsettled.
            NotStorable: JSON cannot hold the result.
        """
        payload = ResultType(self._writer.session_id, name, UNDECLARED).encode(result)
        with self._mutex:
            steps_from = self._waiting(name)
            self._append(steps.kept(name, steps_from, payload, settled=True), flush=True)
            self._kept = self._read(steps_from)

    def allow_rerun(self, name: str) -> None:
        """Let a step run again that is kept or unsettled. Raise ValueError if there is none."""
        with self._mutex:
            steps_from, session_id = self._load(), self._writer.session_id
            if name not in self._read(steps_from):  # those of this claim, too
                raise ValueError(f"{session_id}: no open step is called {name!r}")
            record = steps.ended(name, steps_from, settled=True)
            self._append(to_json(record), flush=True)
            self._kept = self._read(steps_from)
            self._used.discard(name)

    def _waiting(self, name: str) -> int:
        steps_from = self._load()
        kept = self._kept.get(name)
        if kept is None or kept.status is not StepStatus.UNSETTLED:
            raise ValueError(
                f"{self._writer.session_id}: no step {name!r} waits for somebody to settle it"
            )
        return steps_from

    # --- the journal ------------------------------------------------------------------------------

    @property
    def _journal(self) -> OpenJournal:
        if self._opened is None:
            self._opened = self._writer.journal(STEPS)
        return self._opened

    def _load(self) -> int:
        """Know what is kept; return the number of ``steps_from`` to begin a step under."""
        steps_from = self._writer.steps_from()
        if steps_from != self._steps_from:
            # Nothing counts yet under a number that this claim has made.
            self._kept = self._read(steps_from) if self._steps_from is None else {}
            self._used = set()
            self._steps_from = steps_from
        return steps_from

    def _read(self, steps_from: int) -> dict[str, StepRecord]:
        records = steps.fold(self._journal.reader.records())
        return {name: one for (number, name), one in records.items() if number == steps_from}

    def _append(self, value: bytes, *, flush: bool, cancellable: bool = False) -> None:
        journal = self._journal
        appended = self._writer.append(journal, [value], None, cancellable=cancellable)
        if flush:
            journal.finish(appended)
