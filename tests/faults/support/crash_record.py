"""Record what the store asks of the system, and judge what a power cut may leave of it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sessionstore import (
    SessionCorrupt,
    SessionNotFound,
    SessionState,
    SessionStore,
    SessionStoreError,
)
from sessionstore.operations.check import session as check_session
from sessionstore.session import verdict
from sessionstore.storage.files import layout, store_marker
from tests.faults.support import crash_calls, crash_model
from tests.faults.support.crash_mutants import MUTANTS
from tests.support.children import say
from tests.support.processes import CHECKOUT, DEADLINE

ID = "s1"

EVERYTHING = os.environ.get("SESSIONSTORE_FAULTS") == "all"

LIFE = "create save checkpoint save pause resume checkpoint complete delete create pause"
"""What happens to the recorded session, in this order."""

LIFE_WITHOUT_CHECKPOINTS = (
    "create save fail resume save stop create_or_resume save take_over cancel"
    " edit edit resume fail resume_last_save complete"
)
"""What happens to a session of which the application makes no checkpoint."""

SHORT_LIFE = "create checkpoint save complete delete"
"""Enough for a store that leaves something out to show it."""


# --- in the recorded process ---------------------------------------------------------------------


def live(root: str, durability: str, mutant: str, steps: str) -> None:
    """Let a session live through ``steps``; say what begins, and what is there once it is done."""
    if mutant != "none":
        # Sound, so that a mutant is caught at what it leaves out and not at the marker.
        store_marker.prepare(layout.Layout(os.path.realpath(root)), foreign=False)
    MUTANTS[mutant]()
    mode: Any = durability
    keep = 1 if mutant == "keep one checkpoint" else None
    store = SessionStore(root, durability=mode, keep_checkpoints=keep)
    session: Any = None
    for number, step in enumerate(steps.split()):
        say(begin=step)
        if step == "create":
            session = store.create("goal", session_id=ID)
        elif step == "mkdir":  # the application makes the directory first
            place = store.directory(ID)
            place.mkdir(mode=0o700, parents=True)
            (place / "notes").write_text("of the application")
        elif step == "delete":
            store.delete(ID)
        elif step == "resume":
            session = store.resume(ID, again=True)
        elif step == "create_or_resume":
            session = store.create_or_resume(ID, "goal")
        elif step == "edit":
            with store.edit(ID) as edited:
                edited.state.data_buffer["step"] = number
        elif step == "resume_last_save":
            session = store.resume(ID, from_last_save=True)
        elif step == "take_over":
            session._writer.free()  # as if its process had died
            session = store.claim(ID)
        elif step == "stop":
            session.state.data_buffer["step"] = number
            verdict.end(session._writer, KeyboardInterrupt())
        elif step in ("fail", "cancel"):
            session.state.data_buffer["step"] = number
            getattr(session, step)("made for a test")
        else:
            session.state.data_buffer["step"] = number
            # Enough for more than one block of any file system, different in each step.
            session.state.data_buffer["ballast"] = f"{number:04}" * 1500
            getattr(session, step)()
        say(done=step, state=_digest(state_file(root)), checkpoints=_checkpoints(root))


def state_file(root: str) -> str:
    return os.path.join(root, "sessions", ID, "state.json")


def is_present(root: Path) -> bool:
    """Return whether there is a session, whole or not: a state, a checkpoint or a write."""
    place = root / "sessions" / ID
    return any(any(place.glob(kind)) for kind in ("state.json", "checkpoints/*.json", ".new-*"))


def _digest(path: str) -> str | None:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _checkpoints(root: str) -> dict[str, str | None]:
    folder = Path(root, "sessions", ID, "checkpoints")
    try:
        return {name: _digest(str(folder / name)) for name in os.listdir(folder)}
    except FileNotFoundError:
        return {}


# --- recording it --------------------------------------------------------------------------------


def record(
    root: Path, trace: Path, durability: str, *, mutant: str = "none", steps: str = LIFE, **by: str
) -> list[crash_calls.Call]:
    """Run ``live``, of another module ``by``, under strace; return its system calls."""
    subprocess.run(
        [
            *("strace", "-f", "-qq", "-y", "-s", "1000000", "--seccomp-bpf", "-o", str(trace)),
            *("-e", f"trace={crash_calls.CALLS}", "-e", "signal=none"),
            *(sys.executable, "-c"),
            f"import sys; from {by.get('module', __name__)} import live; live(*sys.argv[1:])",
            *(str(root), durability, mutant, steps),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=CHECKOUT,
        timeout=DEADLINE,
    )
    return list(crash_calls.parse(trace))


@dataclass(frozen=True)
class Moment:
    """What is on disk once an operation is done."""

    state: str | None = None
    checkpoints: dict[str, str] = field(default_factory=dict)


def message(call: crash_calls.Call) -> dict[str, Any] | None:
    """Return what the recorded process said with this call, if it said something."""
    if call.name == "write" and call.arguments[0] == 1:
        data = call.arguments[1]
        assert isinstance(data, bytes)
        return dict(json.loads(data))
    return None


# --- looking at a world --------------------------------------------------------------------------


@dataclass
class Seen:
    """What the next process finds after a power cut."""

    present: bool
    state: str | None
    checkpoints: dict[str, str | None]
    load: str = ""
    latest: str | None = None
    listed: str = ""
    damaged: list[str] = field(default_factory=list)
    """Checkpoints that the store cannot load."""
    resumed: str = ""
    repaired: str = ""
    """The result of a repair, and of a resume after it, if the session could not be resumed."""
    leftovers: list[str] = field(default_factory=list)


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory in memory where there is one: worlds come by the thousand."""
    memory = "/dev/shm"
    base = memory if os.access(memory, os.W_OK) else None
    path = tempfile.mkdtemp(prefix="sessionstore-worlds-", dir=base)
    try:
        yield Path(path)
    finally:
        shutil.rmtree(path)


def look(world: crash_model.World, root: Path) -> Seen:
    """Make the world below ``root``, look at it as the next start-up does, and remove it."""
    os.mkdir(root)
    try:
        world.materialise(root)
        place = str(root)
        seen = Seen(
            present=is_present(root),
            state=_digest(state_file(place)),
            checkpoints=_checkpoints(place),
        )
        try:
            _use(SessionStore(root, durability="process"), seen)
        except SessionStoreError as error:
            seen.load = f"{type(error).__name__}: {error}"
        seen.leftovers = [
            str(path.relative_to(root))
            for path in root.rglob("*")
            if path.name.startswith(".new-") or path.parent.name == "trash"
        ]
        return seen
    finally:
        shutil.rmtree(root)


def _use(store: SessionStore, seen: Seen) -> None:
    """Read, list, sweep and resume; anything but a typed error goes through and fails the test."""
    try:
        found = store.load(ID)
        seen.latest = found.latest_checkpoint_id
        seen.load = "loaded"
    except (SessionNotFound, SessionCorrupt) as error:
        seen.load = type(error).__name__
    items = [item for item in store.find(limit=None).items if item.session_id == ID]
    seen.listed = ",".join("damaged" if item.damaged else "sound" for item in items)
    if seen.load == "loaded":
        for checkpoint in store.checkpoints(ID):
            try:
                store.load_checkpoint(ID, checkpoint.checkpoint_id)
            except SessionStoreError:
                seen.damaged.append(checkpoint.checkpoint_id)
    store.recover()
    if seen.load == "loaded":
        try:
            with store.resume(ID, again=True) as session:
                buffer = session.state.data_buffer
                session.complete()
            seen.resumed = "resumed"
            if not has_own_checkpoint(found) and buffer != found.data_buffer:
                seen.resumed = "it does not go on from the newest save"
        except SessionStoreError as error:
            seen.resumed = f"{type(error).__name__}: {error}"
    if seen.present and seen.resumed != "resumed":
        seen.repaired = _repair(store)


def has_own_checkpoint(state: SessionState) -> bool:
    """Return whether the application keeps checkpoints, so that a resume restores one."""
    latest = state.latest_checkpoint_id if state.is_resumable else None
    return latest is not None and not latest.startswith("cp_last_save.")


def _repair(store: SessionStore) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            check_session, "_SETTLING", 0
        )  # nobody else is there to write in these worlds
        report = store.check(repair=True)
    if report.has_damage:
        return f"damage remains: {report.left}"
    if not store.exists(ID):
        return "in quarantine"
    if damaged := [item.checkpoint_id for item in store.checkpoints(ID) if item.damaged]:
        return f"checkpoints do not load: {damaged}"
    newest = max((item.revision or 0 for item in store.checkpoints(ID)), default=0)
    if store.load(ID).revision < newest:
        return "the next saves would have revisions that checkpoints have"
    try:
        with store.resume(ID, again=True) as session:
            session.complete()
    except SessionStoreError as error:
        return f"{type(error).__name__}: {error}"
    return "resumed"


def judge(  # noqa: C901 - one rule after the other
    seen: Seen, before: Moment, after: Moment, ever: set[tuple[str, str]], *, power: bool
) -> list[str]:
    """Return what is wrong: ``before`` was acknowledged, ``after`` may have been in flight.

    Removing an old checkpoint is not flushed: it may come back, but then as it was (``ever``).
    """
    allowed = [before, after]
    wrong: list[str] = []
    kept = {
        name: digest
        for name, digest in before.checkpoints.items()
        if after.checkpoints.get(name) == digest and after.state is not None
    }
    if not seen.present:
        may_be_absent = any(moment.state is None for moment in allowed)
        if not power and not kept:
            may_be_absent = True  # nothing was promised yet
        if not may_be_absent:
            wrong.append("the session is gone")
        if seen.listed or seen.load != "SessionNotFound":
            wrong.append(f"an absent session is listed as {seen.listed!r}, {seen.load}")
        if inside := [name for name in seen.leftovers if os.sep in name]:
            wrong.append(f"not cleaned up: {inside}")
        return wrong
    if power and seen.state not in {moment.state for moment in allowed if moment.state}:
        wrong.append(f"state.json is neither the old nor the new one, but {seen.state}")
    if power and seen.load != "loaded":
        wrong.append(f"load: {seen.load}")
    if seen.listed != ("sound" if seen.load == "loaded" else "damaged"):
        wrong.append(f"find lists it as {seen.listed!r}")
    for name, digest in seen.checkpoints.items():
        if not name.startswith(".new-") and (name, digest) not in ever:
            wrong.append(f"checkpoint {name} is not as it was written")
    if before.state is not None and after.state is None:
        kept = before.checkpoints  # not deleted yet, so there whole
    for name, digest in kept.items():
        if seen.checkpoints.get(name) != digest:
            wrong.append(f"checkpoint {name} returned, and is lost")
    if seen.damaged:
        wrong.append(f"checkpoints do not load: {seen.damaged}")
    if seen.load == "loaded" and seen.latest and f"{seen.latest}.json" not in seen.checkpoints:
        if power:
            wrong.append("the state refers to a checkpoint that is not there")
    elif seen.latest and seen.resumed != "resumed":
        wrong.append(f"resume: {seen.resumed}")
    if seen.load == "loaded" and "resumed" not in (seen.resumed, seen.repaired):
        wrong.append(f"saved, and out of reach: {seen.resumed}, {seen.repaired}")
    if kept and seen.resumed != "resumed" and seen.repaired != "resumed":
        wrong.append(f"not to be resumed, even after a repair: {seen.repaired}")
    if seen.leftovers and seen.load == "loaded":  # damage is kept whole, for a check
        wrong.append(f"not cleaned up: {seen.leftovers}")
    return wrong


class Violation(AssertionError):
    """A power cut may leave what was promised not to be."""


@dataclass
class Enumeration:
    """What was tried."""

    crashes: int = 0
    """Pairs of a tree and what may be expected of it."""
    trees: int = 0
    points: int = 0
    dangling: int = 0
    """Trees whose state names a checkpoint that is not there."""
    repaired: int = 0
    """Trees whose session could be resumed only after a repair."""


def enumerate_crashes(
    calls: list[crash_calls.Call],
    root: Path,
    *,
    power: bool,
    real: Path | None = None,
    kind: type[crash_model.Disk] = crash_model.Disk,
) -> Enumeration:
    """Look at every tree that a power cut may leave at any point.

    Raises:
        Violation: one is not as promised.
    """
    done = [
        Moment(said["state"], said["checkpoints"])
        for call in calls
        if (said := message(call)) and "done" in said
    ]
    ever = {item for moment in done for item in moment.checkpoints.items()}
    disk = kind(root)
    before = after = Moment()
    upcoming = iter(done)
    tried = Enumeration()
    looks: dict[bytes, Seen] = {}
    judged: set[tuple[bytes, int]] = set()
    turn = 0
    doing = "start"
    with scratch() as place:
        for call in calls:
            said = message(call)
            if said and "begin" in said:
                after, turn, doing = next(upcoming), turn + 1, said["begin"]
            elif said:
                before, turn, doing = after, turn + 1, f"after {said['done']}"
            elif not disk.replay(call):
                continue
            tried.points += 1
            for world in disk.worlds(everything=EVERYTHING):
                key = world.key()
                if (key, turn) in judged:
                    continue
                judged.add((key, turn))
                if key not in looks:
                    looks[key] = look(world, place / "store")
                if wrong := judge(looks[key], before, after, ever, power=power):
                    tree = [
                        f"{path} {'/' if data is None else len(data)}"
                        for path, _, data in world.entries()
                    ]
                    raise Violation(
                        f"a power cut after {call.name} in {doing}:"
                        f" {'; '.join(wrong)}; left: {tree}"
                    )
    tried.crashes, tried.trees = len(judged), len(looks)
    for seen in looks.values():
        tried.dangling += bool(seen.latest) and f"{seen.latest}.json" not in seen.checkpoints
        tried.repaired += seen.repaired == "resumed"
    if real is not None:
        compare_with_real(disk, real)
    return tried


def compare_with_real(disk: crash_model.Disk, real: Path) -> None:
    """Fail unless the model ended with the tree that the kernel has: nothing went unrecorded."""
    modelled = {path: data for path, _, data in disk.now().entries()}
    found = {
        str(path.relative_to(real)): path.read_bytes() if path.is_file() else None
        for path in real.rglob("*")
    }
    assert modelled == found
