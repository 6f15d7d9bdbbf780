"""What a process does to a store while it is killed, or while the system refuses a call.

A server imports and warms everything once, and forks a worker for each order: a worker prepares
a store, says so, waits to be traced, performs one operation, and then does as it is told. So each
fault costs a fork, not the start of an interpreter, and the calls of an interpreter that starts
are not among those that are counted.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sessionstore import Session, SessionState, SessionStore, SessionStoreError
from sessionstore.durable import commit_order
from tests.support.children import say
from tests.support.index import QUERIES, check_query

SESSION = "s1"


def force_one_flush() -> None:
    """Have this process take one flush everywhere: the order of its calls is what is tested."""
    order = commit_order.CommitOrder(True, "forced by a test")
    setattr(commit_order, "of", lambda fd: order)  # noqa: B010 - for good, in a forked child


class Stage:
    """A store that was prepared for one operation, and the session if it is held."""

    def __init__(self, root: str, durability: str) -> None:
        """Prepare ``root`` for a durability; ``"power, one flush"`` is one of them."""
        mode, _, order = durability.partition(", ")
        self.root = Path(root)
        self.durability: Any = mode
        if order:
            force_one_flush()
        self.session: Session[SessionState] | None = None
        self._keep: int | None = None
        self.store = self.open()

    def open(self) -> SessionStore[SessionState]:
        return SessionStore(self.root, durability=self.durability, keep_checkpoints=self._keep)

    @property
    def held(self) -> Session[SessionState]:
        assert self.session is not None
        return self.session

    # --- preparing ---

    def nothing(self) -> None:
        """Leave even the root to the operation."""

    def other_session(self) -> None:
        """Have a store, but not the session."""
        self.store.create("goal", session_id="other").complete()

    def held_session(self) -> None:
        """Hold a session with a checkpoint and a change that is not saved yet."""
        session = self.session = self.store.create("goal", session_id=SESSION)
        session.state.data_buffer["step"] = 1
        session.checkpoint("node_complete", node="plan")
        session.save()
        session.state.data_buffer["step"] = 2

    def pruned_session(self) -> None:
        """Hold a session that keeps one checkpoint, and has it."""
        self._keep = 1
        self.store = self.open()
        self.held_session()

    def paused_session(self) -> None:
        self.held_session()
        self.held.pause("plan")
        self.session = None

    def newer_session(self) -> None:
        """Leave a session whose state is newer than its checkpoint."""
        self.held_session()
        self.held.fail("made for a test")
        self.session = None

    def unkept_session(self) -> None:
        """Hold a session that was saved, and has no checkpoint."""
        session = self.session = self.store.create("goal", session_id=SESSION)
        session.state.data_buffer["step"] = 1
        session.save()
        session.state.data_buffer["step"] = 2

    def stopped_session(self) -> None:
        """Leave a session whose only checkpoint is the state that was saved last."""
        self.unkept_session()
        self.held.fail("made for a test")
        self.session = None

    def stopped_again(self) -> None:
        """Hold a session that goes on from the state that was saved last."""
        self.stopped_session()
        self.session = self.store.resume(SESSION)
        self.session.state.data_buffer["step"] = 3

    def edited_session(self) -> None:
        """Leave a session that was edited, and that nobody has resumed since."""
        self.paused_session()
        self.edit()

    # Somebody has listed before, so there is an index; with a list that the same process made,
    # its connection is open, too.

    def listed_store(self) -> None:
        self.other_session()
        self.store.find()

    def listed_held(self) -> None:
        self.listed_store()
        self.held_session()

    def listed_paused(self) -> None:
        self.listed_store()
        self.paused_session()

    def listed_claimed(self) -> None:
        """Hold a session that was listed, and was not saved since."""
        self.listed_paused()
        self.session = self.store.claim(SESSION)
        self.session.state.data_buffer["step"] = 3
        self.session.state.goal_id = "moved"

    def listed_left(self) -> None:
        self.listed_store()
        self.left_store()

    def left_session(self, begin: Callable[[Stage], None] | None = None) -> None:
        """Leave a session as a holder does that is killed in the middle of a save."""
        child = os.fork()
        if child == 0:
            try:
                (begin or Stage.held_session)(self)
                self.held.directory.joinpath(".new-0123456789abcdef").write_bytes(b"{")
            finally:
                os._exit(0)
        os.waitpid(child, 0)

    def left_unkept(self) -> None:
        self.left_session(Stage.unkept_session)

    def left_store(self) -> None:
        """Leave a session, a half-built one and a half-removed one."""
        self.left_session()
        aside = self.root / "trash" / ".new-fedcba9876543210-s2"
        aside.joinpath("checkpoints").mkdir(parents=True)
        aside.joinpath("state.json").write_bytes(b"{")
        trashed = self.root / "trash" / "s3.fedcba9876543210"
        trashed.mkdir()
        trashed.joinpath("state.json").write_bytes(b"{}")

    def foreign_store(self) -> None:
        """Hold a session in a store whose checkpoints are copies."""
        self._mark_foreign()
        self.held_session()

    def newer_foreign(self) -> None:
        self._mark_foreign()
        self.newer_session()

    def _mark_foreign(self) -> None:
        self.root.mkdir()
        marker = {"format": 1, "foreign_writers": True}
        self.root.joinpath("sessionstore.json").write_text(json.dumps(marker))

    # --- performing ---

    def create(self) -> None:
        self.session = self.store.create("goal", session_id=SESSION)

    def save(self) -> None:
        self.held.save()

    def checkpoint(self) -> None:
        self.held.checkpoint("node_complete", node="write")

    def pause(self) -> None:
        self.held.pause("write")

    def complete(self) -> None:
        self.held.complete({"answer": 42})

    def claim(self) -> None:
        self.session = self.store.claim(SESSION)

    def claim_and_pause(self) -> None:
        """Claim, change and release: the index hears of the first save and of the release."""
        with self.store.claim(SESSION) as session:
            session.state.goal_id = "moved"
            session.pause("later")

    def resume(self) -> None:
        self.session = self.store.resume(SESSION)

    def fail(self) -> None:
        self.held.fail("made for a test, again")

    def resume_last_save(self) -> None:
        self.session = self.store.resume(SESSION, from_last_save=True)

    def create_or_resume(self) -> None:
        self.session = self.store.create_or_resume(SESSION, "goal")

    def edit(self) -> None:
        """Change the session, each time to something else."""
        with self.store.edit(SESSION) as session:
            session.state.data_buffer["step"] += 10

    def recover(self) -> None:
        report = self.store.recover()
        for found in (*report.failed, *report.damaged):
            raise SweepFailed(found.reason)  # it goes on after a session that it cannot mark

    def delete(self) -> None:
        self.store.delete(SESSION)

    # --- afterwards ---

    def listing(self, turn: int) -> None:
        check_listing(self.store, turn)

    def finish(self) -> None:
        """Let go of the session, if it is held, and of the index."""
        try:
            if self.session is not None:
                self.session.release()
                self.session = None
        finally:
            self.store.close()


class SweepFailed(SessionStoreError):
    """A sweep told of a session that it could not mark: an answer like any other refusal."""


Prepare = Callable[[Stage], None]
Operations = dict[str, tuple[Prepare, Prepare]]

OPERATIONS: Operations = {
    "first create": (Stage.nothing, Stage.create),
    "create": (Stage.other_session, Stage.create),
    "save": (Stage.held_session, Stage.save),
    "checkpoint": (Stage.held_session, Stage.checkpoint),
    "checkpoint, pruned": (Stage.pruned_session, Stage.checkpoint),
    "checkpoint, copied": (Stage.foreign_store, Stage.checkpoint),
    "pause": (Stage.held_session, Stage.pause),
    "complete": (Stage.held_session, Stage.complete),
    "claim": (Stage.paused_session, Stage.claim),
    "claim after a crash": (Stage.left_session, Stage.claim),
    "resume": (Stage.paused_session, Stage.resume),
    "resume an older state": (Stage.newer_session, Stage.resume),
    "resume an older state, copied": (Stage.newer_foreign, Stage.resume),
    "fail, keep the last save": (Stage.unkept_session, Stage.fail),
    "fail, replace the last save": (Stage.stopped_again, Stage.fail),
    "complete, replace the last save": (Stage.stopped_again, Stage.complete),
    "resume the last save": (Stage.stopped_session, Stage.resume),
    "resume the last save, not a checkpoint": (Stage.newer_session, Stage.resume_last_save),
    "resume after a crash": (Stage.left_session, Stage.resume),
    "resume the last save after a crash": (Stage.left_unkept, Stage.create_or_resume),
    "edit": (Stage.paused_session, Stage.edit),
    "edit, replace the edit": (Stage.edited_session, Stage.edit),
    "recover": (Stage.left_store, Stage.recover),
    "recover, keep the last save": (Stage.left_unkept, Stage.recover),
    "delete": (Stage.paused_session, Stage.delete),
    "create, indexed": (Stage.listed_store, Stage.create),
    "first save, indexed": (Stage.listed_claimed, Stage.save),
    "pause, indexed": (Stage.listed_held, Stage.pause),
    "claim and release, indexed": (Stage.listed_paused, Stage.claim_and_pause),
    "resume, indexed": (Stage.listed_paused, Stage.resume),
    "recover, indexed": (Stage.listed_left, Stage.recover),
    "delete, indexed": (Stage.listed_paused, Stage.delete),
}
"""By name: what has to be there, and what is done to it."""


def is_indexed(operation: str) -> bool:
    """Whether an index is there, or made, while the operation runs."""
    return operation.endswith(", indexed") or operation.startswith("recover")


def check_listing(store: SessionStore[Any], turn: int) -> None:
    """Fail unless queries find and count what a scan does; each turn begins with another one.

    The counts come first: a listing in order mends what it comes across.
    """
    numbers = [turn % len(QUERIES), 1, 2, 0, 9, 13]
    for counts in (True, False):
        for number in numbers:
            check_query(store, number, counts=counts)


# --- the server ---------------------------------------------------------------------------------


def serve(scratch: str, operations: Operations = OPERATIONS) -> None:
    """Fork a worker for each order, and say how it ended."""
    for number, (prepare, perform) in enumerate(operations.values()):
        stage = Stage(os.path.join(scratch, str(number)), "power")
        prepare(stage)
        perform(stage)  # whatever is imported late is imported now
        stage.finish()
    say(warm=True)
    while (order := hear()) is not None:
        child = os.fork()
        if child == 0:
            try:
                work(operations, **order)
            except BaseException as error:
                say(trouble=repr(error))
            finally:
                os._exit(1)
        say(ended=os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def hear() -> dict[str, Any] | None:
    """Return the next line, and not a byte more: server and workers share the pipe."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return None
        line += byte
    return dict(json.loads(line))


def work(
    operations: Operations,
    do: str,
    root: str,
    durability: str,
    short: tuple[int, str] | None = None,
) -> None:
    """Prepare for an operation, perform it once told to, and answer questions about it."""
    prepare, perform = operations[do]
    stage = Stage(root, durability)
    prepare(stage)
    before = descriptors()
    say(ready=True, pid=os.getpid())
    hear()
    writes = ShortWrites(*short) if short else None
    say(**attempt(stage, perform))
    if writes:
        writes.end()
    while (message := hear()) is not None and message["do"] != "end":
        if message["do"] == "look":
            say(
                descriptors=sorted(descriptors() - before),
                threads=threading.active_count() - 1,
                held=stage.session is not None and not stage.session.is_released,
                revision=stage.session.revision if stage.session else None,
                shortened=writes.shortened if writes else 0,
            )
        elif message["do"] == "again":
            say(**attempt(stage, perform))
        elif message["do"] == "listing":
            say(**attempt(stage, partial(Stage.listing, turn=message["turn"])))
        elif message["do"] == "finish":
            say(**attempt(stage, Stage.finish), left=sorted(descriptors() - before))
    os._exit(0)  # here, where the session is still referred to: it is left, not released


def attempt(stage: Stage, perform: Prepare) -> dict[str, Any]:
    try:
        perform(stage)
    except SessionStoreError as error:
        return {
            "outcome": type(error).__name__,
            "text": str(error)[:500],
            "errno": getattr(error, "errno", None),
        }
    except BaseException as error:
        return {"outcome": "untyped", "text": repr(error)[:500]}
    return {"outcome": "returned"}


def is_free(root: Path, session_id: str) -> bool:
    """Return whether a session's lock can be had, without the package's help."""
    try:
        fd = os.open(root / "locks" / f"{session_id}.lock", os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def descriptors() -> set[str]:
    found = set[str]()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
        except OSError:  # the one that listed them
            continue
    return found


class ShortWrites:
    """From now on the ``number``-th os.write takes only a part of what it is given.

    The system does write that part, and returns how much it was: nothing is pretended.
    """

    def __init__(self, number: int, part: str) -> None:
        self.shortened = 0
        self._left = number
        self._part = part
        self._write = os.write
        os.write = self._write_less

    def _write_less(self, fd: int, data: Any, /) -> int:
        if fd != 1:
            self._left -= 1
            if self._left == 0:
                self.shortened += 1
                size = len(data)
                taken = {"one": 1, "half": size // 2, "all but one": size - 1}[self._part]
                return self._write(fd, bytes(data)[:taken])
        return self._write(fd, data)

    def end(self) -> None:
        os.write = self._write
