"""What child processes do while the system refuses to."""

from __future__ import annotations

import fcntl
import json
import os
import random
import resource
import signal
import sys
import threading
from pathlib import Path

from sessionstore import (
    DurabilityUncertain,
    RevisionConflict,
    Session,
    SessionClaimed,
    SessionCorrupt,
    SessionExists,
    SessionState,
    SessionStore,
    StorageError,
)
from tests.support.children import say


def save_while_flushes_fail(root: str, session_id: str, rounds: str) -> None:
    """Save and checkpoint while some fsyncs fail; check after each what is on disk."""
    directory = Path(root, "sessions", session_id)
    chance = random.Random(7)
    counts = {"saved": 0, "StorageError": 0, "DurabilityUncertain": 0}
    wrong = list[str]()
    store = SessionStore(root)
    session: Session[SessionState] | None = None
    while session is None:
        try:  # opening the store flushes, too
            session = store.claim(session_id)
        except StorageError:
            continue
    for number in range(int(rounds)):
        before = (directory / "state.json").read_bytes()
        kept = sorted(os.listdir(directory / "checkpoints"))
        revision = session.revision
        session.state.data_buffer["number"] = number
        outcome = "saved"
        try:
            if chance.random() < 0.5:
                session.checkpoint()
            else:
                session.save()
        except (StorageError, DurabilityUncertain) as error:
            outcome = type(error).__name__
        counts[outcome] += 1
        after = (directory / "state.json").read_bytes()
        stored = json.loads(after)
        if outcome == "StorageError":
            if after != before or session.revision != revision:
                wrong.append(f"{number}: a save that raised changed the state")
            if sorted(os.listdir(directory / "checkpoints")) != kept:
                wrong.append(f"{number}: a save that raised left a checkpoint")
        elif stored["revision"] != revision + 1 or stored["data_buffer"]["number"] != number:
            wrong.append(f"{number}: {outcome}, but the state is not there")
        wrong += [f"{number}: {name} was left" for name in directory.rglob(".new-*")]
    while not session.is_released:
        try:
            session.release()
        except (StorageError, DurabilityUncertain):
            continue
    say(counts=counts, wrong=[str(text) for text in wrong[:5]])


def create_while_flushes_fail(root: str, prefix: str, rounds: str) -> None:
    """Create sessions while some fsyncs fail: each is there complete, or not at all."""
    store = SessionStore(root)
    counts = {"created": 0, "refused": 0}
    wrong = list[str]()
    for number in range(int(rounds)):
        session_id = f"{prefix}-{number}"
        directory = Path(root, "sessions", session_id)
        try:
            session = store.create("goal", session_id=session_id)
        except StorageError:
            counts["refused"] += 1
            if directory.exists():
                wrong.append(f"{session_id} is there")
        else:
            counts["created"] += 1
            if json.loads((directory / "state.json").read_bytes())["revision"] != 1:
                wrong.append(f"{session_id} is not complete")
            session._writer.free()  # no further flush: the test counts those of create
    wrong += [str(path) for path in Path(root).rglob(".new-*")]
    say(counts=counts, wrong=wrong[:5])


def open_every_door(root: str, session_id: str) -> None:
    """Try to read a damaged session in every way; say how much memory that took, in KiB."""
    before = _peak()
    store = SessionStore(root)
    refused = list[str]()
    for door in (store.load, store.liveness, store.claim, store.load_checkpoint):
        try:
            door(session_id)
        except SessionCorrupt as error:
            refused.append(str(error))
    items = store.find().items
    damaged = sum(item.damaged is not None for item in items)
    say(refused=refused, listed=len(items), damaged=damaged, took=_peak() - before)


def _peak() -> int:
    """Return the most memory that this program had, in KiB.

    Not ru_maxrss, which an exec leaves at what the process that forked us had (proc(5), VmHWM).
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise RuntimeError("the kernel does not tell VmHWM")


def save_beyond_limit(root: str, session_id: str) -> None:
    """Save more than this process may write to a file: a short write, then EFBIG."""
    path = Path(root, "sessions", session_id, "state.json")
    session = SessionStore(root).claim(session_id)
    before = path.read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, resource.RLIM_INFINITY))
    session.state.data_buffer["big"] = "x" * 300_000
    error = ""
    try:
        session.save()
    except StorageError as trouble:
        error = str(trouble)
    same = path.read_bytes() == before
    left = [name for name in os.listdir(path.parent) if name.startswith(".new-")]
    session.state.data_buffer["big"] = "small again"
    revision = session.save()
    session.release()
    say(error=error, same=same, left=left, revision=revision)


def live_through_everything(root: str) -> None:
    """Create, save, checkpoint, pause, resume, refuse a second create, complete, delete."""
    store = SessionStore(root)
    session = store.create("goal", session_id="s1")
    session.save()
    session.checkpoint()
    session.pause()
    session = store.resume("s1")
    refused = list[str]()
    try:
        store.create("goal", session_id="s1")
    except (SessionExists, SessionClaimed) as error:
        refused.append(type(error).__name__)
    session.directory.joinpath("state.json").write_text('{"revision": 99}')
    try:
        session.save()
    except RevisionConflict as error:
        refused.append(type(error).__name__)
    session._writer.free()
    store.delete("s1", force=True)
    say(refused=refused, left=os.listdir(Path(root, "sessions")), exists=store.exists("s1"))


def hold_lease(path: str, gives_up: str) -> None:
    """Hold a write lease on a file, until the kernel asks for it or for good."""
    asked = threading.Event()
    signal.signal(signal.SIGIO, lambda *_: asked.set())
    fd = os.open(path, os.O_RDWR)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    say(leased=True)
    if gives_up == "True":
        asked.wait()
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        say(asked=True)
    sys.stdin.read()
