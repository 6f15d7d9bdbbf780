"""The remark on a session in a listing: a few words. ``explain`` has the whole story."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sessionstore.cli.output.labels import REASON_LIMIT
from sessionstore.errors import StepUnsettled
from sessionstore.model.liveness import Liveness
from sessionstore.model.stop_reason import DIED, RETRY
from sessionstore.model.summary import SessionSummary
from sessionstore.text import first_line, printable, some_of

_NO_JSON = "Invalid JSON: "
_DIED, _ASSUMED_DEAD = f"{DIED}died: ", f"{DIED}was assumed dead by a person: "
_PID = re.compile(r"\bpid \d+")
_ENDED = re.compile(rf"({_PID.pattern})\b.*? (?:is (gone)|is a (zombie)|is (another) process now)$")
_MET_STEP = re.compile(rf"{StepUnsettled.__name__}: .*? the step (['\"])(.*?)\1 was begun")
_STEPS_SHOWN = 3


def remark(item: SessionSummary) -> str:
    """Return what is wrong with a session, or which process runs it; empty if all is well."""
    return printable("; ".join(_remarks(item)), limit=REASON_LIMIT)


def _remarks(item: SessionSummary) -> Iterator[str]:
    if item.damaged is not None:
        yield f"damaged: {damage(item.damaged)}"
        return
    met = _MET_STEP.match(item.error or "")
    if item.unsettled_steps:
        yield _unsettled(item.unsettled_steps)
    elif met is not None:
        yield _unsettled([met[2]])
    elif item.liveness is not None:
        yield owner(item.liveness)
    elif item.is_interrupted:
        yield _interruption(item)
    elif item.error:
        yield first_line(item.error)
    if item.unresumable is not None:
        yield f"not resumable: {item.unresumable}"


def _unsettled(names: Sequence[str]) -> str:
    words = some_of([f"`{name}`" for name in names], _STEPS_SHOWN)
    return f"step{'s' if len(names) > 1 else ''} {words} unsettled"


def damage(text: str) -> str:
    """Return why a file cannot be read, in short."""
    return "not JSON" if text.startswith(_NO_JSON) else text


def owner(found: Liveness) -> str:
    """Return what is known of the process that holds an ACTIVE session, or held it last."""
    pid = found.owner.pid if found.owner is not None else None
    if found.is_alive and pid is not None:
        return f"pid {pid} is gone, its lock is held" if found.is_orphaned else f"pid {pid} runs"
    return reason(found.reason)


def reason(text: str) -> str:
    """Return the reason of a verdict in short: ``pid 4711 gone``."""
    ended = _ENDED.search(text)
    if ended is not None:
        return f"{ended[1]} {ended[2] or ended[3] or 'reused'}"
    first = re.split(r"[,;:] ", text.removeprefix("its lock is free; "))[0]
    return "host rebooted" if first == "rebooted since" else first


def _interruption(item: SessionSummary) -> str:
    error = item.error or "no reason was recorded"
    if error.startswith(RETRY):
        return RETRY
    if not error.startswith(DIED):
        return error.removeprefix("it was ")
    if item.recoveries > 1:
        return f"died {item.recoveries:,} times"
    if error.startswith(_ASSUMED_DEAD):
        pid = _PID.search(error)
        return f"{pid[0]} assumed dead" if pid else "assumed dead"
    return reason(error.removeprefix(_DIED))
