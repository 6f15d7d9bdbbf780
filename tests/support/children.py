"""What child processes do in the tests: each is told over stdin and answers on stdout."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from sessionstore import (
    AsyncSessionStore,
    RetentionPolicy,
    Session,
    SessionState,
    SessionStore,
    SessionStoreError,
    StorageError,
)
from sessionstore.clock import utc_now
from sessionstore.process.identity import new_owner


def say(**fields: Any) -> None:
    # One write of less than PIPE_BUF bytes: a kill leaves no half of a message.
    os.write(1, json.dumps(fields).encode() + b"\n")


def messages() -> Iterator[dict[str, Any]]:
    """Yield what the test says, until it hangs up."""
    for line in sys.stdin:
        yield json.loads(line)


def describe(error: SessionStoreError) -> dict[str, Any]:
    owner = getattr(error, "owner", None)
    return {
        "error": type(error).__name__,
        "text": str(error),
        "owner_pid": owner.pid if owner else None,
    }


# --- an actor that does as it is told -----------------------------------------------------------


class Actor:
    def __init__(self, root: str) -> None:
        self.root = Path(root)
        self.store = SessionStore(root)
        self.session: Session[SessionState] | None = None

    def held(self) -> Session[SessionState]:
        assert self.session is not None
        return self.session

    def create(self, session_id: str | None = None, checkpoint: bool = False) -> dict[str, Any]:
        self.session = self.store.create("goal", session_id=session_id)
        if checkpoint:
            self.session.checkpoint()
        return {"session_id": self.session.session_id, "pid": os.getpid()}

    def claim(self, session_id: str) -> dict[str, Any]:
        self.session = self.store.claim(session_id)
        return {"pid": os.getpid(), "revision": self.session.revision}

    def resume(self, session_id: str) -> dict[str, Any]:
        self.session = self.store.resume(session_id)
        return {"pid": os.getpid(), "revision": self.session.revision}

    def race(self, session_id: str, revision: int, delay: float, work: float) -> dict[str, Any]:
        """Resume if still at ``revision``, work for an instant, and let go again."""
        time.sleep(delay)
        session = self.store.resume(session_id, expected_revision=revision)
        session.state.data_buffer["winner"] = os.getpid()
        session.save()
        time.sleep(work)
        session.release()
        return {"won": True, "pid": os.getpid()}

    def save(self, **data: Any) -> dict[str, Any]:
        self.held().state.data_buffer.update(data)
        return {"revision": self.held().save()}

    def release(self) -> dict[str, Any]:
        self.held().release()
        return {"released": True}

    def liveness(self, session_id: str) -> dict[str, Any]:
        liveness = self.store.liveness(session_id)
        return {"verdict": str(liveness.verdict), "reason": liveness.reason}

    def recover(self) -> dict[str, Any]:
        report = self.store.recover()
        return {
            "swept": [item.session_id for item in report.swept],
            "alive": [item.session_id for item in report.alive],
            "unknown": [item.session_id for item in report.unknown],
        }

    def leave_dead(self, session_id: str, reap: bool = True) -> dict[str, Any]:
        """Let a child of ours hold the session, new or resumed, and be killed by SIGKILL."""
        pid = os.fork()
        if pid == 0:
            try:
                if self.store.exists(session_id):
                    self.session = self.store.resume(session_id, again=True)
                else:
                    self.session = self.store.create("goal", session_id=session_id)
                    self.session.checkpoint()
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        if reap:
            os.waitpid(pid, 0)
        return {"pid": pid}

    def reap(self, pid: int) -> dict[str, Any]:
        return {"status": os.waitpid(pid, 0)[1]}

    def fork(self, how: str) -> dict[str, Any]:
        """Use the held session in a forked child, which tells what it met."""
        if how == "multiprocessing":
            context = multiprocessing.get_context("fork")
            worker = context.Process(target=_use_inherited, args=(self.held(),))
            worker.start()
            worker.join()
        else:
            pid = os.fork()
            if pid == 0:
                _use_inherited(self.held())
                os._exit(0)
            os.waitpid(pid, 0)
        return {"done": True}

    def fork_and_stay(self) -> dict[str, Any]:
        """Leave a child behind that lives until the test hangs up."""
        pid = os.fork()
        if pid == 0:
            os.read(0, 1)
            os._exit(0)
        return {"child": pid}


def _use_inherited(session: Session[SessionState]) -> None:
    try:
        session.save()
    except SessionStoreError as error:
        say(child=os.getpid(), **describe(error))
    else:
        say(child=os.getpid(), error=None)
    session.release()


def serve(actor: object) -> None:
    """Let ``actor`` do as told over stdin; answer on stdout."""
    say(pid=os.getpid())
    for message in messages():
        try:
            say(**getattr(actor, message.pop("do"))(**message))
        except SessionStoreError as error:
            say(**describe(error))


def act(root: str) -> None:
    actor = Actor(root)
    serve(actor)
    if actor.session is not None:
        actor.session.release()


# --- loops ---------------------------------------------------------------------------------------


def save_until_killed(root: str, session_id: str, durability: str, seed: str) -> None:
    """Save and checkpoint for ever; say each revision once its save has returned."""
    mode: Any = durability
    chance = random.Random(int(seed))
    session = SessionStore(root, durability=mode).claim(session_id)
    while True:
        session.state.data_buffer["step"] = session.revision + 1
        session.state.data_buffer["ballast"] = "x" * chance.randrange(1 << chance.randrange(4, 18))
        if chance.random() < 0.3:
            session.checkpoint()
        else:
            session.save()
        say(revision=session.revision)


def save_until_told(root: str, session_id: str, durability: str) -> None:
    """Save states whose parts all carry one number, until told to stop."""
    mode: Any = durability
    with SessionStore(root, durability=mode).claim(session_id) as session:
        say(ready=True)
        os.set_blocking(0, False)
        stopped = False
        while not stopped:
            number = session.revision + 1
            session.state.data_buffer["numbers"] = [number] * (number * 37 % 5000)
            session.save()
            try:
                stopped = os.read(0, 100) is not None
            except BlockingIOError:
                stopped = False
    say(revision=session.revision)


def read_until_told(root: str, session_id: str) -> None:
    """Read without a lock, raw and through the store, and say everything that is wrong.

    It also says as soon as it has seen 21 revisions.
    """
    store = SessionStore(root)
    path = Path(root, "sessions", session_id, "state.json")
    reads, last, seen, wrong = 0, 0, set[int](), list[str]()
    enough = False
    say(ready=True)
    os.set_blocking(0, False)
    while True:
        raw = json.loads(path.read_bytes())
        loaded = store.load(session_id)
        for revision, data in (
            (raw["revision"], raw["data_buffer"]),
            (loaded.revision, loaded.data_buffer),
        ):
            if revision < last:
                wrong.append(f"revision {revision} after {last}")
            if any(number != revision for number in data.get("numbers", ())):
                wrong.append(f"a mix at revision {revision}")
            last = revision
            seen.add(revision)
        reads += 1
        if len(seen) > 20 and not enough:
            enough = True
            say(seen=21)
        try:
            os.read(0, 100)
            break
        except BlockingIOError:
            continue
    say(reads=reads, revisions=len(seen), wrong=wrong[:5])


def save_interrupted(root: str, session_id: str, least: str, wanted: str) -> None:
    """Save under SIGINT at random instants; after each check what is there.

    It takes so many signals at ``least``, and goes on until more than are ``wanted`` came in the
    middle of a save; it gives up after ten times as many.
    """
    armed = is_lost = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise KeyboardInterrupt

    def notice_lost(unraisable: sys.UnraisableHookArgs) -> None:
        nonlocal is_lost
        is_lost = isinstance(unraisable.exc_value, KeyboardInterrupt)

    signal.signal(signal.SIGINT, interrupt)
    sys.unraisablehook = notice_lost  # Python drops what is raised inside of a __del__
    path = Path(root, "sessions", session_id, "state.json")
    session = SessionStore(root, durability="process").claim(session_id)
    hits, inside, wrong = 0, 0, list[str]()
    for hit in range(10 * int(least)):
        if hit >= int(least) and inside > int(wanted):
            break
        hits += 1
        returned = session.revision
        session.state.data_buffer["hit"] = hit
        saving = is_lost = False
        try:
            armed = True
            say(hit=hit)  # only now may the signal come
            while not is_lost:
                saving = True
                if hit % 5 == 4:
                    session.checkpoint()
                else:
                    session.save()
                returned = session.revision
                saving = False
        except KeyboardInterrupt:
            inside += saving
        found = json.loads(path.read_bytes())["revision"]
        if found not in (returned, returned + 1):
            wrong.append(f"revision {found} on disk after {returned} returned")
        saved = session.save()
        stored = json.loads(path.read_bytes())["revision"]
        if saved != found + 1 or stored != saved or session.state.revision != saved:
            wrong.append(f"save returned {saved}, {stored} on disk, after {found}")
    session.release()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    say(hits=hits, inside=inside, wrong=wrong[:5])


def identify() -> None:
    """Say who we are, and live until the test hangs up."""
    say(owner=new_owner(utc_now()).model_dump())
    sys.stdin.read()


def save_async_until_killed(root: str) -> None:
    """Save for ever from an event loop; say each revision once its save has returned."""

    async def work() -> None:
        session = await AsyncSessionStore(root).create("goal", session_id="s1")
        while True:
            say(revision=await session.save())

    asyncio.run(work())


def prune_slowly(root: str, leave: str = "-1") -> None:
    """Delete every session that came to an end, a moment apart, and say which.

    Once as many are left as it has to ``leave``, it waits for a word.
    """

    def step(done: int, total: int) -> None:
        time.sleep(0.005)
        if len(os.listdir(Path(root, "sessions"))) == int(leave):
            sys.stdin.readline()

    report = SessionStore(root).prune(RetentionPolicy(older_than=0), apply=True, progress=step)
    say(
        sessions=[item.session_id for item in report.sessions],
        failed=[item.reason for item in report.failed],
    )


def import_slowly(root: str, archive: str, last_done: str, last_total: str) -> None:
    """Take sessions in, a moment apart, and say how far it is; at the last step wait for a word."""

    def tell(done: int, total: int) -> None:
        say(done=done, total=total)
        time.sleep(0.005)
        if (done, total) == (int(last_done), int(last_total)):
            sys.stdin.readline()

    SessionStore(root).import_sessions(archive, progress=tell)


def append_until_killed(path: str) -> None:
    """Write to a log for ever."""
    with Path(path).open("wb", buffering=0) as log:
        for number in range(10**9):
            log.write(b"%d\n" % number * 1000)
            if number == 0:
                say(ready=True)
            time.sleep(0.001)


def keep_few_until_killed(root: str, session_id: str) -> None:
    """Checkpoint for ever, while only the newest two are kept."""
    store = SessionStore(root, durability="process", keep_checkpoints=2)
    session = store.resume(session_id)
    say(revision=session.revision)
    while True:
        session.state.data_buffer["ballast"] = "x" * 20_000
        session.checkpoint("step")
        session.save()


def save_many(root: str, session_id: str, count: str) -> None:
    """Make a session, save it as often and as fast as possible, and complete it."""
    with SessionStore(root, durability="process").create("goal", session_id=session_id) as session:
        for number in range(int(count)):
            session.state.progress.steps_executed = number + 1
            session.save()
        session.complete()
    say(revision=session.revision)


def hold_as_many_as_possible(root: str, limit: str) -> None:
    """Hold and save sessions until no descriptor is left; then save each, and end it."""
    import resource

    store = SessionStore(root, durability="process")
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(limit), int(limit)))
    held = list[Session[SessionState]]()
    kept = 0
    try:
        while True:
            held.append(store.create("goal"))
            held[-1].save()
            directory = str(held[-1].directory)
            kept += directory in [
                os.path.realpath(f"/proc/self/fd/{fd}") for fd in range(int(limit))
            ]
    except StorageError as error:
        refused = str(error)
    saved = 0
    for session in held:
        session.state.data_buffer["late"] = True
        saved += session.save() > 1
        session.complete()
    say(held=len(held), saved=saved, kept=kept, refused=refused)


def watch_until_told(root: str, events: str) -> None:
    """Say each change of any session, until it is interrupted."""
    say(ready=True)
    for change in SessionStore(root).watch(events=events == "events"):
        say(id=change.session_id, kind=change.kind, revision=change.summary.revision)
