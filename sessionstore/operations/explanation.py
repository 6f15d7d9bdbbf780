"""The explanation of a session for the person on call: fields, and sentences made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from sessionstore import clock
from sessionstore.model.checkpoint import Checkpoint
from sessionstore.model.ids import parse_checkpoint_id
from sessionstore.model.liveness import Liveness
from sessionstore.model.state import SessionOwner, SessionRecovery, SessionStatus
from sessionstore.model.status import FINISHED
from sessionstore.model.stop_reason import DIED, STOPPED
from sessionstore.operations.fork import Fork
from sessionstore.operations.step_counts import OpenSteps
from sessionstore.text import count_of, printable, some_of

_LIMIT = 1000
_PLACE = '  File "'
"""How a line of a traceback begins that names a place."""


class Situation(StrEnum):
    """The situation of a session, which decides what to do next."""

    RUNNING = "running"
    """ACTIVE, and a live process holds it."""
    STALE = "stale"
    """ACTIVE, and its process died."""
    UNKNOWN = "unknown"
    """ACTIVE, and it cannot be known from here whether its process lives."""
    PAUSED = "paused"
    """Waits to be resumed."""
    COMPLETED = "completed"
    """Ended with success."""
    FAILED = "failed"
    """Failed by its own account, or marked so by a person."""
    INTERRUPTED = "interrupted"
    """Stopped at work, by the death of its process or an exception, and not run since."""
    CANCELLED = "cancelled"
    """Ended by a request."""
    DAMAGED = "damaged"
    """The state cannot be read."""


SHOWN_STATES = 3
"""How many other states are named."""
SHOWN_STEPS = 5
"""How many steps are named."""
SHOWN_LINES = 6
"""How many lines of a traceback are shown: the last ones."""
SHOWN_RELATED = 2
"""How many causes of an exception, or members of a group, are named."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to do next."""

    text: str
    """What it does."""
    call: str | None = None
    """The call in Python, or None."""
    command: str | None = None
    """What to type, or None where there is nothing to type. Where the call resumes a session, the
    command hands it to the start-up loop of the application, which resumes it."""


@dataclass(frozen=True, slots=True)
class ResumeLoss:
    """The work after the checkpoint, which a resume does not bring back.

    A resume first keeps the newer state as a checkpoint of type ``before_resume``.
    """

    revisions: int | None
    """How often the application saved since the checkpoint; None if its revision was not recorded.
    The writes of the store itself, such as marks and resumes, do not count."""
    steps: int
    """Steps since; nodes visited if the application counts no steps."""
    nodes: tuple[str, ...] = ()
    """The nodes visited since."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Who held a session, how it ended, what is left of it, and what to do next."""

    session_id: str
    situation: Situation
    summary: str
    """The situation in a sentence."""
    next: tuple[Advice, ...]
    status: SessionStatus | None = None
    """None for a damaged session."""
    is_held: bool = False
    """Whether a process holds its lock right now."""
    holder: SessionOwner | None = None
    """The holder, or the last recorded one."""
    ended: str = ""
    """How the session ended, and how that is known."""
    ended_at: str | None = None
    """When the session is known to have run last, ISO 8601."""
    liveness: Liveness | None = None
    recovery: SessionRecovery | None = None
    """How the session was last interrupted, and how often."""
    cancel_request: str | None = None
    """The request to cancel that its process has not met yet, or did not live to meet: who asked,
    and why; or None."""
    cancel_reason: str | None = None
    """The reason that was given with it, or None."""
    cancel_requested_at: str | None = None
    """When that was, ISO 8601."""
    error: str | None = None
    """The first line of the error of the result, or None."""
    traceback: tuple[str, ...] = ()
    """What led to the exception that ended the session, and the last lines of its traceback; the
    last lines of the error, if it has no traceback."""
    paused_at: str | None = None
    """The node that the session is paused at, or None."""
    revision: int | None = None
    saved_at: str = ""
    """When the stored state was saved, ISO 8601."""
    node: str | None = None
    """The node of the last step that was saved."""
    steps: int = 0
    """Steps executed; nodes visited if the application counts no steps."""
    counts_steps: bool = True
    """Whether the application counts its steps."""
    checkpoint: Checkpoint | None = None
    """The checkpoint that a resume would restore."""
    is_from_last_save: bool = False
    """Whether a resume goes on from the state that was saved last: there is no checkpoint."""
    unresumable: str | None = None
    """Why the session cannot be resumed as it is, or None."""
    alternatives: tuple[str, ...] = ()
    """Other checkpoints, oldest first. Only the newest were read: a damaged one is left out."""
    lost: ResumeLoss | None = None
    """What a resume would not bring back; None without a checkpoint to resume from."""
    records: int | None = None
    """How many records of its journals count, all of which a resume of ``checkpoint`` keeps; None
    if a journal is damaged."""
    records_since: int | None = None
    """How many of them were appended after that checkpoint; None if unknown."""
    open_steps: OpenSteps | None = None
    """The steps since the last checkpoint; None if there are none, or their journal is damaged."""
    forked_from: Fork | None = None
    damaged: str | None = None
    """Why the state cannot be read, or None."""
    file: str | None = None
    """The damaged file."""
    looked_at: str = field(default="", compare=False)
    """When the session was looked at, ISO 8601."""

    @property
    def shows_damage(self) -> bool:
        """Whether the state, or the checkpoint that a resume needs, is damaged or missing."""
        return self.damaged is not None or (
            self.checkpoint is not None and self.checkpoint.damaged is not None
        )

    @property
    def unsettled_steps(self) -> tuple[str, ...]:
        """The steps of which somebody has to say what came of them; none while the session runs."""
        if self.open_steps is None or self.situation is Situation.RUNNING:
            return ()
        return self.open_steps.unsettled

    def facts(self) -> Sequence[tuple[str, str]]:
        """Return labelled sentences; text from the session is escaped in them."""
        told = [("", self.summary)]
        if self.damaged is not None:
            told.append(("damaged", f"{self.file}: {self.damaged}"))
        if self.cancel_request is not None:
            asked_at = self._at(self.cancel_requested_at)
            told.append(("cancellation", f"{self.cancel_request}; at {asked_at}"))
        holder = self.holder.describe() if self.holder else ""
        if holder:
            told.append(("held by" if self.is_held else "last held by", holder))
        if self.ended and not (holder and self._is_at_work):
            told.append(("ended", how_it_ended(self, self._at)))
        told += self._traceback()
        if self.recovery is not None and (self.recovery.count or self.recovery.stops):
            told.append(("interrupted", self._interrupted(self.recovery)))
        if self.revision is not None:
            told.append(("last step", self._last_step()))
        if self.forked_from is not None:
            told.append(("forked from", self.forked_from.origin))
        told.append(("resume", self._resume()))
        if self.lost is not None:
            told.append(("not restored", self._not_restored(self.lost)))
        if self.records:
            told.append(("journals", self._journals(self.records)))
        if self.open_steps is not None:
            told.append(("steps", self._steps(self.open_steps)))
        if self.alternatives:
            shown = ", ".join(map(_in_short, self.alternatives[-SHOWN_STATES:]))
            more = len(self.alternatives) - SHOWN_STATES
            told.append(("other states", f"{shown} and {more:,} older" if more > 0 else shown))
        for advice in self.next:
            told.append(("next", ": ".join(filter(None, [advice.text, advice.command]))))
        return [(label, printable(text, limit=_LIMIT)) for label, text in told]

    def __str__(self) -> str:
        return "\n".join(f"{label}: {text}" if label else text for label, text in self.facts())

    def _traceback(self) -> Iterator[tuple[str, str]]:
        label = "traceback" if any(_PLACE in line for line in self.traceback) else "error"
        for line in self.traceback:
            yield label, line
            label = ""

    @property
    def _is_at_work(self) -> bool:
        """Whether its holder says all that is known of its end."""
        is_orphaned = self.liveness is not None and self.liveness.is_orphaned
        return self.situation is Situation.RUNNING and self.is_held and not is_orphaned

    def _at(self, text: str | None) -> str:
        return clock.at(text, self.looked_at)

    def _journals(self, records: int) -> str:
        since = ""
        if self.records_since:
            since = f", {count_of(self.records_since, 'record')} since that checkpoint included"
        return (
            f"{count_of(records, 'record')}; a resume keeps them all{since}; with --at it keeps"
            " those that were there then"
        )

    def _steps(self, steps: OpenSteps) -> str:
        text = f"{steps.kept:,} of {steps.total:,} kept"
        within, unsettled = list(steps.unfinished), list(steps.unsettled)
        if self.situation is Situation.RUNNING:
            within, unsettled = within + unsettled, []
        if within:
            text += f"; {self._left_within()} {_quoted(within)}"
        if unsettled:
            text += f"; nobody knows what came of {_quoted(unsettled)}"
        return text

    def _left_within(self) -> str:
        if self.situation is Situation.RUNNING:
            return "runs"
        is_dead = self.situation is Situation.INTERRUPTED and not self._was_stopped
        return "died within" if is_dead or self.situation is Situation.STALE else "did not finish"

    @property
    def _was_stopped(self) -> bool:
        """Whether its process lived when it was interrupted."""
        return self.recovery is not None and STOPPED in self.recovery.reason

    def _last_step(self) -> str:
        node = f"at {self.node}" if self.node else "at no node"
        done = f"{count_of(self.steps, 'step')} done" if self.counts_steps else self._visited()
        return f"{node}, {done}, saved as revision {self.revision} at {self._at(self.saved_at)}"

    def _visited(self, lost: ResumeLoss | None = None) -> str:
        count = self.steps if lost is None else lost.steps
        return f"{count_of(count, 'node')} visited"

    def _interrupted(self, recovery: SessionRecovery) -> str:
        died = f"its process died {count_of(recovery.count, 'time')}"
        text = f"{died}, and it was stopped {count_of(recovery.stops, 'time')}"
        if self.situation is Situation.INTERRUPTED:
            return text
        return f"{text}; the last time: {recovery.reason or 'no reason was recorded'}"

    def _resume(self) -> str:
        if self.unresumable is not None:
            return f"not possible as it is: {self.unresumable}"
        if self.status in FINISHED:
            return f"only with --again, {self._state_to_resume()}"
        return self._state_to_resume()

    def _state_to_resume(self) -> str:
        kept = self.checkpoint
        if kept is None:
            saved = f"revision {self.revision} of {self._at(self.saved_at)}"
            return (
                f"from the state that was saved last ({saved}): there is no checkpoint of its own"
            )
        words = []
        if parse_checkpoint_id(kept.checkpoint_id) is None:  # else its id tells as much
            words = [kept.checkpoint_type or "no type"]
            if kept.node:
                words.append(f"at {kept.node}")
        if kept.created_at:
            words.append(f"kept at {self._at(kept.created_at)}")
        return ", ".join([f"from {kept.checkpoint_id}", *words])

    def _not_restored(self, lost: ResumeLoss) -> str:
        unsaved = ""
        reason = self.recovery.reason if self.recovery is not None else ""
        died = self.situation is Situation.INTERRUPTED and DIED in reason
        if died or self.situation in (Situation.STALE, Situation.UNKNOWN):
            unsaved = "; what its process did after its last save is not known"
        if lost.revisions == 0 or (lost.revisions is None and not lost.steps):
            return f"nothing that was saved{unsaved}"
        parts = []
        if lost.revisions is not None:
            parts.append(count_of(lost.revisions, "save"))
        parts.append(count_of(lost.steps, "step") if self.counts_steps else self._visited(lost))
        nodes = f" ({' > '.join(lost.nodes[-5:])})" if lost.nodes else ""
        kept = "; a resume keeps that state first (before_resume)"
        return f"{' and '.join(parts)} since then{nodes}{kept}{unsaved}"


def how_it_ended(told: Explanation, at: Callable[[str | None], str]) -> str:
    """Return how the session ended, and how that is known; ``at`` writes the times."""
    situation, reason = told.situation, told.liveness.reason if told.liveness else ""
    if situation is Situation.DAMAGED:
        return "how it ended cannot be known: that stood in the damaged state"
    if situation is Situation.RUNNING:
        return f"not yet: {reason}"
    if situation is Situation.STALE:
        return f"its process died without a word: {reason}"
    if situation is Situation.UNKNOWN:
        return f"it is not known whether it ended: {reason}"
    if situation is Situation.INTERRUPTED:
        assert told.recovery is not None
        reason = told.recovery.reason or "it was interrupted, and no reason was recorded"
        return f"{reason}; that was recorded at {at(told.recovery.at)}"
    if situation is Situation.PAUSED:
        where = f" at {told.paused_at}" if told.paused_at else ""
        by = f": {told.error}" if told.error else ", by its own account"
        return f"it paused{where} at {at(told.ended_at)}{by}"
    if situation is Situation.COMPLETED:
        return f"it completed at {at(told.ended_at)}, by its own account"
    verb = "failed" if situation is Situation.FAILED else "was cancelled"
    return f"it {verb} at {at(told.ended_at)}: {told.error or 'no reason was given'}"


def _in_short(checkpoint_id: str) -> str:
    """Return ``r12 (node_complete plan)``: ``--at r12`` names the checkpoint."""
    name = parse_checkpoint_id(checkpoint_id)
    if name is None:
        return checkpoint_id
    return f"r{name.revision} ({' '.join(filter(None, [name.checkpoint_type, name.node]))})"


def _quoted(names: Sequence[str]) -> str:
    return some_of([f"`{name}`" for name in names], SHOWN_STEPS)
