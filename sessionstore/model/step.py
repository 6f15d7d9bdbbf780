"""Steps: calls whose results a session keeps, and what its journal says of each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final, Generic, TypeVar, overload

from pydantic_core import to_json

from sessionstore.model import json_values
from sessionstore.model.journal import JournalRecord

T = TypeVar("T")

MAX_NAME_LENGTH = 256
"""How many characters the name of a step may have."""


PRUNED: Final = "pruned"
"""The field that has the size of a result in its place, once a prune let it go."""


class Undeclared:
    """What stands for a result type that nobody declared."""


UNDECLARED: Final = Undeclared()


class Step(Generic[T]):
    """A step with options, in the place of its name.

    Args:
        name: what the step is known by; used once between two checkpoints.
        returns: the type of the result, where the function does not declare it: any annotation
            that pydantic knows.
        rerun: whether it runs although its result is kept; the new result takes its place. A step
            that is unsettled does not run: somebody has to settle it first.
        at_most_once: whether it is never called again once a call has begun: where the process
            died within it, :exc:`~sessionstore.StepUnsettled` is raised, and somebody has to say
            what came of it. An exception that the function raises settles it: it did not happen.

    Examples:
        >>> with store.resume("ticket-1") as session:
        ...     receipt = session.step(Step("charge", at_most_once=True), lambda: {"paid": 12})
        >>> receipt
        {'paid': 12}
    """

    @overload
    def __init__(
        self: Step[Undeclared], name: str, *, rerun: bool = ..., at_most_once: bool = ...
    ) -> None: ...

    @overload
    def __init__(
        self, name: str, *, returns: type[T], rerun: bool = ..., at_most_once: bool = ...
    ) -> None: ...

    @overload
    def __init__(
        self: Step[Any], name: str, *, returns: Any, rerun: bool = ..., at_most_once: bool = ...
    ) -> None: ...

    def __init__(
        self,
        name: str,
        *,
        returns: Any = UNDECLARED,
        rerun: bool = False,
        at_most_once: bool = False,
    ) -> None:
        if type(name) is not str:
            raise TypeError(f"the name of a step must be text, not {json_values.name_of(name)}")
        if not name or len(name) > MAX_NAME_LENGTH:
            raise ValueError(
                f"the name of a step must have 1 to {MAX_NAME_LENGTH} characters, not {len(name):,}"
            )
        if json_values.offence(name):
            raise ValueError(f"the name {name!a} of a step cannot be stored as UTF-8")
        self.name: str = name
        self.returns: Any = returns
        self.rerun: bool = rerun
        self.at_most_once: bool = at_most_once

    def __repr__(self) -> str:
        return f"<Step {self.name}>"


class StepStatus(StrEnum):
    """What is known of a step."""

    KEPT = "kept"
    """Its result is kept: it is not called again."""
    STARTED = "started"
    """It was called, and has not returned: it runs, or its process died within it."""
    UNSETTLED = "unsettled"
    """As STARTED, and it may not be called again before somebody says what came of it."""
    FAILED = "failed"
    """It raised an exception, or somebody said that it may run again."""


@dataclass(frozen=True, slots=True)
class StepInfo:
    """A step of a session, as its journal tells it."""

    name: str
    """The name it is known by."""
    status: StepStatus
    """What is known of it."""
    is_closed: bool
    """Whether a checkpoint has closed it: code that goes on does not look for it any more."""
    began_at: str
    """ISO 8601 time at which it was called."""
    ended_at: str | None = None
    """ISO 8601 time at which its result was kept, or None."""
    size: int = 0
    """Bytes of its result, as JSON."""
    pid: int | None = None
    """The process that ran it."""
    host: str | None = None
    """The host of that process."""
    is_settled: bool = False
    """Whether somebody said what came of it, and not the step itself."""
    is_pruned: bool = False
    """Whether a prune let its result go, and left its size."""


class StepRecord:
    """What one session keeps of a step, under one number of ``steps_from``: two records at most."""

    __slots__ = ("_start", "end")

    def __init__(self, start: JournalRecord) -> None:
        self._start = start
        self.end: JournalRecord | None = None if "args" in start.value else start
        """What came of it; None as long as nothing did."""

    @property
    def steps_from(self) -> int:
        """The number that it began under."""
        number: int = self._start.value["from"]
        return number

    @property
    def digest(self) -> str | None:
        """The digest of its arguments, or None."""
        digest: str | None = self._start.value.get("args")
        return digest

    @property
    def status(self) -> StepStatus:
        """What is known of it."""
        if self.end is None:
            once = self._start.value.get("at_most_once")
            return StepStatus.UNSETTLED if once else StepStatus.STARTED
        return StepStatus.KEPT if self._has_returned else StepStatus.FAILED

    @property
    def _has_returned(self) -> bool:
        return self.end is not None and ("result" in self.end.value or self.is_pruned)

    @property
    def is_pruned(self) -> bool:
        """Whether a prune let its result go."""
        return self.end is not None and PRUNED in self.end.value

    @property
    def is_settled(self) -> bool:
        """Whether somebody said what came of it, and not the step itself."""
        return self.end is not None and bool(self.end.value.get("settled"))

    @property
    def ended_at(self) -> str | None:
        """When its result was kept, or None."""
        return self.end.at if self.end is not None and self._has_returned else None

    @property
    def result(self) -> Any:
        """The result that is kept, as JSON values."""
        return None if self.end is None else self.end.value.get("result")

    def info(self, *, is_closed: bool) -> StepInfo:
        """Return what is told of it."""
        by = self._start.value.get("by") or {}
        return StepInfo(
            self._start.value["step"],
            self.status,
            is_closed,
            self._start.at,
            ended_at=self.ended_at,
            size=0 if self.end is None else _size(self.end),
            pid=by.get("pid"),
            host=by.get("host"),
            is_settled=self.is_settled,
            is_pruned=self.is_pruned,
        )


def started(
    name: str,
    steps_from: int,
    digest: str | None,
    *,
    pid: int | None,
    host: str | None,
    at_most_once: bool,
) -> dict[str, Any]:
    """Return the record of a step that is about to be called."""
    by = {"pid": pid, "host": host}
    record: dict[str, Any] = {"step": name, "from": steps_from, "args": digest, "by": by}
    return record | {"at_most_once": True} if at_most_once else record


def ended(name: str, steps_from: int, *, settled: bool = False) -> dict[str, Any]:
    """Return the record of a step that may run again, since it raised an exception."""
    record: dict[str, Any] = {"step": name, "from": steps_from, "ended": True}
    return record | {"settled": True} if settled else record


def kept(name: str, steps_from: int, result: bytes, *, settled: bool = False) -> bytes:
    """Return the record, as JSON, of a step that returned ``result``."""
    by_hand = b'"settled":true,' if settled else b""
    return b'{"step":%b,"from":%d,%b"result":%b}' % (to_json(name), steps_from, by_hand, result)


def began_under(record: JournalRecord) -> int | None:
    """Return the number of ``steps_from`` that a record names; None if it is none of a step."""
    number = record.value.get("from") if isinstance(record.value, dict) else None
    return number if type(number) is int else None


def has_value(record: JournalRecord) -> bool:
    """Return whether a record holds the result of a step."""
    return began_under(record) is not None and "result" in record.value


def without_value(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a kept step without its result, of which the size stays."""
    rest = {name: part for name, part in value.items() if name != "result"}
    return rest | {PRUNED: len(to_json(value["result"]))}


def _size(record: JournalRecord) -> int:
    if "result" in record.value:
        return len(to_json(record.value["result"]))
    size = record.value.get(PRUNED, 0)
    return size if type(size) is int else 0


def listed(records: Iterable[JournalRecord], steps_from: int) -> list[StepInfo]:
    """Return the steps of a session whose open steps began under ``steps_from``, oldest first."""
    return [one.info(is_closed=one.steps_from != steps_from) for one in fold(records).values()]


def fold(records: Iterable[JournalRecord]) -> dict[tuple[int, str], StepRecord]:
    """Return what the records of the journal say of each step, by ``steps_from`` and name.

    A record that is none of a step is passed over.
    """
    found: dict[tuple[int, str], StepRecord] = {}
    for record in records:
        value = record.value
        try:
            key = value["from"], value["step"]
        except (TypeError, KeyError):
            continue
        known = found.get(key)
        if known is None or "args" in value:
            found[key] = StepRecord(record)
        else:
            known.end = record
    return found


def digest_of(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """Return a digest of those arguments that JSON can hold; None if there are none."""
    if not args and not kwargs:
        return None
    storable = {
        str(place): value for place, value in [*enumerate(args), *kwargs.items()] if _is_json(value)
    }
    if not storable:
        return None
    text = json.dumps(storable, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()[:32]


def _is_json(value: Any) -> bool:
    if type(value) is dict or type(value) is list:
        try:
            json_values.check_json(value, 1)
        except json_values.Unstorable:
            return False
        return json_values.find_bad_text(value) is None
    return json_values.offence(value) is None
