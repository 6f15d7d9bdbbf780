"""Record a life with a journal, and judge what a power cut may leave of it."""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sessionstore import (
    FilesBackend,
    SessionCorrupt,
    SessionNotFound,
    SessionState,
    SessionStore,
)
from sessionstore.model import codec
from sessionstore.operations.check import session as check_session
from sessionstore.operations.journal_copy import find_surplus
from sessionstore.storage.files import journal_copy, layout, store_marker
from tests.faults.support import crash_calls, crash_model
from tests.faults.support.crash_mutants import MUTANTS
from tests.faults.support.crash_record import (
    EVERYTHING,
    Violation,
    compare_with_real,
    message,
    scratch,
)
from tests.faults.support.journal_operations import View, view
from tests.faults.support.operations import SESSION
from tests.support.children import say

LIFE = (
    "create append two checkpoint append back append checkpoint rewrite forth append"
    " pause resume append save two"
)
"""What happens to the recorded journal: ``back`` and ``forth`` resume an older checkpoint."""


PRUNED_LIFE = "create append checkpoint rewrite checkpoint complete prune resume append"
"""What happens to a journal whose space is freed."""

AT_ONCE = 4
"""How many trees are looked at for one call, of those that it may leave."""

SEED = int(os.environ.get("SESSIONSTORE_SEED", "20261122"))


def live(root: str, durability: str, mutant: str, steps: str) -> None:
    """Let a journal live through ``steps``; say what begins, and what is read once it is done."""
    store_marker.prepare(layout.Layout(os.path.realpath(root)), foreign=False)
    MUTANTS[mutant]()
    mode: Any = durability
    store = SessionStore(root, durability=mode)
    session: Any = None
    kept: list[str] = []
    for number, step in enumerate(steps.split()):
        say(begin=step)
        if step == "create":
            session = store.create("goal", session_id=SESSION)
        elif step in ("back", "forth"):
            session.release()
            session = store.resume(SESSION, checkpoint_id=kept[step == "forth"])
        elif step == "resume":
            session = store.resume(SESSION, again=True)
        elif step == "append":
            session.journal().append([number, "x" * 500])
        elif step == "two":
            session.journal().append([number, "y" * 200], [number, "z" * 600])
        elif step == "rewrite":
            session.journal().rewrite([[number, "new"], [number, "w" * 700]])
        elif step == "prune":
            free(root, mode)
        elif step == "checkpoint":
            session.state.data_buffer["step"] = number
            if "prune" in steps:
                session.state.data_buffer["saw"] = view(Path(root))
            kept.append(session.checkpoint().checkpoint_id)
        else:
            getattr(session, step)()
        say(done=step, view=view(Path(root)))


def free(root: str, durability: Any) -> None:
    """Do to the session what a prune does, which would also make an index."""
    backend = FilesBackend(root, durability=durability)
    claim = backend.claim(SESSION, backend.new_owner(backend.clock()), timeout=0.0)
    stored = claim.read()
    state = codec.decode(stored.payload, SessionState, SESSION, stored.file)
    for checkpoint_id in claim.checkpoint_ids():
        if checkpoint_id != state.latest_checkpoint_id:
            claim.remove_checkpoint(checkpoint_id)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_copy, "_BLOCK", 1)  # a file of a few lines has something to free
        (surplus,) = find_surplus(backend, state, ())
    claim.rewrite_journal(surplus.name, surplus.needed())
    claim.release()


@dataclass
class Enumeration:
    """What was tried."""

    crashes: int = 0
    trees: int = 0
    torn: int = 0
    """Trees in which something stood behind the last whole append."""


def enumerate_crashes(
    calls: list[crash_calls.Call], root: Path, *, power: bool, real: Path
) -> Enumeration:
    """Look at every tree that a power cut may leave at any point.

    Raises:
        Violation: one is not as promised.
    """
    said = [found for call in calls if (found := message(call))]
    views: list[View | None] = [None, *(item["view"] for item in said if "done" in item)]
    disk = crash_model.Disk(root)
    tried = Enumeration()
    looks: dict[bytes, str | View | None] = {}
    judged: set[tuple[bytes, int, int]] = set()
    safe = done = doing = 0
    """The views that must survive, that was acknowledged, and that may be in flight."""
    step = "start"
    chance = random.Random(SEED)
    with scratch() as place:
        for call in calls:
            told = message(call)
            if told and "begin" in told:
                doing, step = done + 1, told["begin"]
            elif told:
                done = doing
                if power or told["done"] == "checkpoint":
                    safe = done
            elif not disk.replay(call):
                continue
            worlds = list(disk.worlds())
            if len(worlds) > AT_ONCE and not EVERYTHING:
                worlds = chance.sample(worlds, AT_ONCE)
            for world in worlds:
                key = world.key()
                if (key, safe, doing) in judged:
                    continue
                judged.add((key, safe, doing))
                if key not in looks:
                    looks[key] = look(world, place / "store", tried, power=power)
                if looks[key] not in views[safe : doing + 1]:
                    raise Violation(
                        f"a power cut after {call.name} in {step}: {_short(looks[key])} is none of"
                        f" {[_short(item) for item in views[safe : doing + 1]]}"
                    )
    tried.crashes, tried.trees = len(judged), len(looks)
    compare_with_real(disk, real)
    return tried


def _short(found: str | View | None) -> object:
    return [item[0] for item in found] if isinstance(found, list) else found


def look(
    world: crash_model.World, root: Path, tried: Enumeration, *, power: bool
) -> str | View | None:
    """Make the world below ``root``, look at it as the next start-up does, and remove it.

    Returns what is read, None if there is no session, or what is wrong.
    """
    os.mkdir(root)
    try:
        world.materialise(root)
        store = SessionStore(root, durability="process")
        try:
            store.load(SESSION)
        except SessionNotFound:
            return None
        except SessionCorrupt as error:
            if power:
                return f"state.json: {error}"
            _repair(store)
            if not store.exists(SESSION):
                return None
        found = view(root)
        tried.torn += _is_torn(root)
        for checkpoint_id in store.checkpoint_names(SESSION):
            saw = store.load_checkpoint(SESSION, checkpoint_id).data_buffer.get("saw")
            if saw is None or not checkpoint_id.startswith("cp_manual."):
                continue
            fork = store.fork(SESSION, checkpoint_id)
            if [record.value for record in store.journal(fork)] != saw:
                return f"{checkpoint_id} saw {_short(saw)}, and no longer does"
        store.recover()
        with store.resume(SESSION, again=True) as session:
            if view(root) != found:
                return f"a resume reads {_short(view(root))} where {_short(found)} was read"
            number = session.journal().append(["next"], key="next")
            if view(root) != [*found, ["next"]]:
                return f"behind {_short(found)} an append gives {_short(view(root))}"
            session.checkpoint()
        if store.load(SESSION).journals["main"][0] != number:
            return "the next position is not behind the next record"
        return found
    except (AssertionError, SessionCorrupt) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(root)


def _is_torn(root: Path) -> bool:
    file = root / "sessions" / SESSION / "journals" / "main.jsonl"
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return False
    return bool(data) and not data.endswith(b'"}\n')


def _repair(store: SessionStore) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check_session, "_SETTLING", 0)  # nobody else writes in these worlds
        store.check(repair=True)
