"""What replaces a journal whole, or mends one, while it is killed or refused a call."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from sessionstore import RetentionPolicy, SessionStoreError
from tests.faults.support.journal_operations import View, journal_file, view
from tests.faults.support.operations import SESSION, Operations, Prepare, Stage, serve

BULK = "x" * 5000
"""More than a block: without it a prune has nothing to free."""

STEPS = "steps"


class NotMended(SessionStoreError):
    """A prune or a repair told that the system refused: an answer like any other refusal."""


def lines(data: bytes | None) -> list[dict[str, Any]]:
    """Return the lines of a journal, read without the package; what is no JSON is left out."""
    found = []
    for line in (data or b"").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def content(item: dict[str, Any]) -> dict[str, Any]:
    """Return what of a line stays when its journal is written anew; a step may lose its value."""
    kept: dict[str, Any] = {
        name: item[name] for name in ("n", "at", "key", "value") if name in item
    }
    if isinstance(value := kept.get("value"), dict):
        kept["value"] = {name: value[name] for name in value if name not in ("result", "pruned")}
    return kept


# --- preparing -----------------------------------------------------------------------------------


def grown(stage: Stage) -> None:
    """Leave a session that rewrote its journal, with checkpoints before and after."""
    session = stage.store.create("goal", session_id=SESSION)
    for number in range(3):
        session.journal().append([number, BULK], key=f"{number}")
        session.step(f"step {number}", str, BULK)
        checkpoint(stage.root, session)
    session.journal().rewrite([["kept"], ["kept", BULK]])
    checkpoint(stage.root, session)
    session.complete()


def checkpoint(root: Path, session: Any) -> None:
    """Make a checkpoint that says what its journal holds."""
    session.state.data_buffer["saw"] = view(root)
    session.checkpoint()


def saved(stage: Stage) -> None:
    """Leave a session with six records, of which its state tells."""
    with stage.store.create("goal", session_id=SESSION) as session:
        for number in range(6):
            session.journal().append([number, "x" * 300], key=f"{number}")
            if number == 2:
                checkpoint(stage.root, session)
        checkpoint(stage.root, session)
        session.pause()


def changed(change: Callable[[bytes], bytes]) -> Prepare:
    """Leave such a session with a journal that somebody changed."""

    def prepare(stage: Stage) -> None:
        saved(stage)
        file = journal_file(stage.root)
        file.write_bytes(change(file.read_bytes()))

    return prepare


def edited(data: bytes) -> bytes:
    """Damage the third line, and the end of the last."""
    whole = data.splitlines(keepends=True)
    whole[2] = whole[2].replace(b'"x', b'"y', 1)
    return b"".join([*whole[:5], whole[5][:-20], b"\n"])


def cut(data: bytes) -> bytes:
    return b"".join(data.splitlines(keepends=True)[:4])


def torn(data: bytes) -> bytes:
    return data + b'{"n":7,"at":"2026-11-28T12:00:00Z","value":"half'


def lost(stage: Stage) -> None:
    saved(stage)
    journal_file(stage.root).unlink()


def lost_with_directory(stage: Stage) -> None:
    lost(stage)
    os.rmdir(journal_file(stage.root).parent)


# --- performing ----------------------------------------------------------------------------------


def prune(stage: Stage) -> None:
    policy = RetentionPolicy(keep_checkpoints=1, step_values=True)
    report = stage.store.prune(policy, apply=True)
    for found in (*report.failed, *report.damaged, *report.spared):
        raise NotMended(found.reason)


def repair(stage: Stage) -> None:
    report = stage.store.check(repair=True)
    for found in report.findings:
        if not found.is_repaired:
            raise NotMended(found.repair)


class Case(NamedTuple):
    """What replaces or mends a journal."""

    prepare: Prepare
    perform: Prepare
    kept: View
    """The first items of the records that count once it is done."""
    quarantines: bool = False
    """Whether what was there is kept aside."""
    names: tuple[str, ...] = ("main",)


CASES: dict[str, Case] = {
    "prune": Case(grown, prune, ["kept", "kept"], names=("main", STEPS)),
    "repair an edited journal": Case(changed(edited), repair, [0, 1, 3, 4], quarantines=True),
    "repair a short journal": Case(changed(cut), repair, [0, 1, 2, 3]),
    "repair a torn journal": Case(changed(torn), repair, [0, 1, 2, 3, 4, 5]),
    "repair a lost journal": Case(lost, repair, []),
    "repair a lost directory": Case(lost_with_directory, repair, []),
}

OPERATIONS: Operations = {name: (case.prepare, case.perform) for name, case in CASES.items()}


def serve_rewrites(scratch: str) -> None:
    """Fork a worker for each order, and say how it ended."""
    serve(scratch, OPERATIONS)
