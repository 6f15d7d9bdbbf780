"""An exception from outside, at one line after the other of what a store does."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import filelock
import psutil

import sessionstore
from sessionstore import Session, SessionClaimed, SessionNotFound, SessionState, SessionStore
from tests.faults.support.operations import is_free
from tests.support.children import say
from tests.support.processes import edit_state

PACKAGE = os.path.dirname(sessionstore.__file__)
EVERY_LINE_OF = ("lock.py",)
"""Where descriptors of locks are opened and closed; of other files some lines have to do."""
CREATING = ("create", "edit a new one")
WITHOUT_CHECKPOINT = ("stop", "resume the last save", "take over and resume", "take over and edit")
HANDING_OVER = ("session/session.py", "store/store.py")
"""Where the session is on its way from the store to its holder: whoever drops it there, drops a
session that is held."""
Trace = Callable[[FrameType, str, Any], Any]


class Stop(KeyboardInterrupt):
    """What the signal handler of an application might raise."""


class Tracer:
    """Counts the lines of the package that run, and raises at the one that is wanted."""

    def __init__(self, wanted: int | None = None) -> None:
        self.lines: list[str] = []
        """The file of each."""
        self.where = ""
        """Where it was raised, if it was."""
        self._wanted = wanted

    def __enter__(self) -> Tracer:
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _call(self, frame: FrameType, event: str, arg: Any) -> Trace | None:
        del event, arg
        # What is raised in __del__ goes nowhere: Python itself prints it.
        inside = frame.f_code.co_filename.startswith(PACKAGE)
        return self._line if inside and frame.f_code.co_name != "__del__" else None

    def _line(self, frame: FrameType, event: str, arg: Any) -> Trace:
        del arg
        if event == "line":
            if len(self.lines) == self._wanted:
                sys.settrace(None)
                code = frame.f_code
                file = os.path.relpath(code.co_filename, PACKAGE)
                self.where = f"{file}:{frame.f_lineno} {code.co_name}"
                raise Stop
            self.lines.append(os.path.basename(frame.f_code.co_filename))
        return self._line


class Trial:
    """A store with a session ``s``, about to be worked on, and another one beside it."""

    def __init__(self, root: str, operation: str) -> None:
        shutil.rmtree(root, ignore_errors=True)
        self.root, self.operation = Path(root), operation
        self.store = SessionStore(root, durability="process")
        self.session: Session[SessionState] | None = None
        for session_id in ("other",) if operation in CREATING else ("other", "s"):
            with self.store.create("goal", session_id=session_id) as session:
                if session_id == "other" or operation not in WITHOUT_CHECKPOINT:
                    session.checkpoint()
                session.pause()
        if operation in ("recover", "take over", "take over and resume", "take over and edit"):
            edit_state(self.root, "s", status="active", pid=2**22 + 1, owner=None)
        if operation in ("save", "checkpoint", "pause", "complete", "release", "stop"):
            self.session = self.store.resume("s")
        self.saved = 0

    def run(self) -> object:
        if self.operation == "stop":
            self.stop()
            return None
        if self.session is not None:
            return getattr(self.session, self.operation)()
        takes: dict[str, Callable[[], Session[SessionState]]] = {
            "claim": lambda: self.store.claim("s"),
            "take over": lambda: self.store.claim("s"),
            "resume": lambda: self.store.resume("s"),
            "resume the last save": lambda: self.store.resume("s", from_last_save=True),
            "take over and resume": lambda: self.store.create_or_resume("s"),
        }
        if take := takes.get(self.operation):
            self.session = take()
            self.session.release()
            return None
        work: dict[str, Callable[[], object]] = {
            "create": lambda: self.store.create("goal", session_id="s").release(),
            "edit": self.edit,
            "edit a new one": self.edit,
            "take over and edit": self.edit,
            "delete": lambda: self.store.delete("s"),
            "mark": lambda: self.store.mark("s", "failed", reason="no"),
            "recover": self.store.recover,
            "liveness": lambda: self.store.liveness("s"),
        }
        return work[self.operation]()

    def stop(self) -> None:
        """Leave the block as Ctrl-C does."""
        with suppress(Stop), self.held:
            self.held.state.data_buffer["saved"] = 1
            self.held.save()
            self.saved = 1
            raise Stop

    def edit(self) -> None:
        with self.store.edit("s", create="goal") as session:
            session.state.data_buffer["saved"] = 1
        self.saved = 1

    @property
    def held(self) -> Session[SessionState]:
        assert self.session is not None
        return self.session

    def look(self, where: str) -> str:
        """Return what is wrong once the exception, raised at ``where``, is forgotten.

        Nothing is left held.
        """
        if self.session is not None:
            self.session.release()
            self.session = None
        gc.collect()
        if not is_free(self.root, "s"):
            return "s is still locked"
        if self.store.exists("s"):
            stored = self.store.load("s")
            if stored.data_buffer.get("saved", 0) < self.saved:
                return "what was saved is lost"
            by = stored.owner.pid if stored.owner else None
            handed_over = where.startswith(HANDING_OVER) or self.operation == "create"
            if stored.status == "active" and by == os.getpid() and not handed_over:
                return "s is ACTIVE, and this process, which lives, does not hold it"
        try:
            with SessionStore(self.root, durability="process").claim("s", force=True) as session:
                session.save()
        except SessionNotFound:
            if self.operation not in (*CREATING, "delete"):
                return "s is gone"
            self.store.create("goal", session_id="s").release()
        return ""


def interrupt_everywhere(root: str, operation: str, step: str) -> None:
    """Interrupt an operation at many lines, once each; say how often, and what went wrong."""
    assert filelock, psutil  # imported here, not in the middle of a trial
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore", ResourceWarning)  # what was interrupted was not released
    closed_twice: list[str] = []
    sys.unraisablehook = lambda told: (
        closed_twice.append(repr(told.exc_value)) if isinstance(told.exc_value, OSError) else None
    )
    Trial(root, operation).run()  # whatever is loaded late is loaded
    trial = Trial(root, operation)
    with Tracer() as all_of_it:
        trial.run()
    lines = [
        number
        for number, file in enumerate(all_of_it.lines)
        if file in EVERY_LINE_OF or number % int(step) == 0
    ]
    wrong, fired = list[str](), 0
    del trial
    gc.collect()
    gc.freeze()  # what is loaded stays: no collection of a trial looks at it again
    before = _descriptors()
    for number in lines:
        trial = Trial(root, operation)
        kept: BaseException | None = None
        tracer = Tracer(number)
        try:
            with tracer:
                trial.run()
        except BaseException as error:
            kept = error  # a prompt keeps it, a task does, a log handler may
        if not tracer.where:
            continue
        fired += 1
        if not isinstance(kept, Stop | None):
            wrong.append(f"{tracer.where}: {kept!r}")
        other: Session[SessionState] | None = None
        with suppress(SessionClaimed):  # a look at its lock was interrupted, and is kept, too
            other = trial.store.claim("other")
        kept = None
        gc.collect()
        try:
            other = other or trial.store.claim("other")
        except SessionClaimed as error:
            wrong.append(f"{tracer.where}: another session stays locked: {error}")
        else:
            if is_free(trial.root, "other"):
                wrong.append(f"{tracer.where}: the lock of another session was given back")
            other.release()
        problem = trial.look(tracer.where)
        trial.store.close()
        del trial, other
        gc.collect()
        if left := _descriptors() - before:
            problem = problem or f"descriptors left open: {left}"
        if closed_twice:
            problem = problem or f"closed twice: {closed_twice.pop()}"
        if problem:
            wrong.append(f"{tracer.where}: {problem}")
    say(fired=fired, wrong=wrong)


def _descriptors() -> set[str]:
    """Return the open lock files. Of other files a descriptor may stay, which does no harm."""
    targets = set[str]()
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            targets.add(os.readlink(f"/proc/self/fd/{name}"))
    return {target for target in targets if "/locks/" in target}
