"""What the conformance tests stand on: the place under test, raw access to it, other processes.

Raw access bypasses what is tested: a test that asks the store what the store wrote proves little.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Generic, TypeVar

import pytest

from sessionstore.model.state import SessionOwner, SessionState
from sessionstore.process import identity
from sessionstore.session.session import Session
from sessionstore.storage.backend import Backend
from sessionstore.store.store import SessionStore

BackendT = TypeVar("BackendT", bound=Backend)
T = TypeVar("T")

DEADLINE = 300.0
"""Seconds after which something that should have happened never will."""


class Harness(Generic[BackendT]):
    """What an implementer provides, and what the tests make of it."""

    @pytest.fixture
    def backend(self) -> Any:
        """Return an empty backend. Override it with a fixture of your own, which cleans up."""
        raise NotImplementedError(f"{type(self).__name__} has no fixture named backend")

    @abstractmethod
    def reopen(self, backend: BackendT) -> BackendT:
        """Return another instance over the same sessions, as another process would have."""
        raise NotImplementedError

    @abstractmethod
    def read_raw(self, backend: BackendT, session_id: str) -> bytes:
        """Return the stored state as it lies there, without using the backend."""
        raise NotImplementedError

    @abstractmethod
    def write_raw(self, backend: BackendT, session_id: str, data: bytes) -> None:
        """Replace the stored state as a foreign writer does, who holds no claim."""
        raise NotImplementedError

    @abstractmethod
    def read_raw_checkpoint(
        self, backend: BackendT, session_id: str, checkpoint_id: str
    ) -> bytes | None:
        """Return a checkpoint as it lies there; None if it is not there."""
        raise NotImplementedError

    @abstractmethod
    def write_raw_checkpoint(
        self, backend: BackendT, session_id: str, checkpoint_id: str, data: bytes
    ) -> None:
        """Write or replace a checkpoint without touching the state."""
        raise NotImplementedError

    @abstractmethod
    def remove_raw_checkpoint(self, backend: BackendT, session_id: str, checkpoint_id: str) -> None:
        """Remove a checkpoint without touching the state."""
        raise NotImplementedError

    # --- made of it ------------------------------------------------------------------------------

    @pytest.fixture
    def store(self, backend: BackendT) -> SessionStore[SessionState]:
        """Return a store over the backend."""
        return SessionStore(backend)

    def other_store(self, backend: BackendT) -> SessionStore[SessionState]:
        """Return a store as another process has it."""
        return SessionStore(self.reopen(backend))

    def raw(self, backend: BackendT, session_id: str) -> dict[str, Any]:
        """Return the stored state as any JSON reader sees it."""
        state: dict[str, Any] = json.loads(self.read_raw(backend, session_id))
        return state

    def rewrite(self, backend: BackendT, session_id: str, **changes: Any) -> bytes:
        """Change fields of the stored state as a foreign writer does; return the new bytes."""
        data = json.dumps(self.raw(backend, session_id) | changes).encode()
        self.write_raw(backend, session_id, data)
        return data

    def abandon(
        self, backend: BackendT, session: Session[Any], by: SessionOwner | None = None
    ) -> None:
        """Leave a session as a process leaves it that dies: ACTIVE, unlocked, owned by it.

        ``by`` is by default a process that is gone.
        """
        session._writer.free()
        by = by or dead_owner()
        self.rewrite(backend, session.session_id, owner=by.model_dump(), pid=by.pid)

    def damage(self, backend: BackendT, session_id: str) -> bytes:
        """Cut the stored state off in the middle; return what is left."""
        torn = self.read_raw(backend, session_id)[:40]
        self.write_raw(backend, session_id, torn)
        return torn


def forget(session: Session[Any]) -> None:
    """Free the claim without another write, for tests whose subject is not the end."""
    session._writer.free()


def leave(session: Session[Any], error: BaseException | None = None) -> None:
    """Leave a ``with`` block over ``session``, by raising ``error`` if there is one."""
    with session:
        if error is not None:
            raise error


# --- threads and processes ----------------------------------------------------------------------


def in_threads(count: int, work: Callable[[int], T]) -> list[T | BaseException]:
    """Return what ``work(0)``, ``work(1)``… returned or raised, begun at the same moment."""
    outcomes: list[T | BaseException] = [TimeoutError("it never ended")] * count
    start = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            start.wait(DEADLINE)
            outcomes[number] = work(number)
        except BaseException as error:  # noqa: BLE001, RUF100 - it is the outcome
            outcomes[number] = error

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    return outcomes


def in_a_thread(work: Callable[[], T]) -> T | BaseException:
    """Return what ``work`` returned or raised in another thread."""
    return in_threads(1, lambda _: work())[0]


@contextmanager
def live_owner() -> Iterator[SessionOwner]:
    """Yield the owner record of another process, which lives until the block is left."""
    command = [sys.executable, "-ISc", "import sys; sys.stdin.read()"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: S603 - this interpreter
    with child:  # closes its standard input, which ends it, and waits for it
        # Read here as the process itself would: importing this package there takes 0.3 s.
        yield SessionOwner(**identity.process(child.pid), token=secrets.token_hex(8))


@cache
def dead_owner() -> SessionOwner:
    """Return the owner record of a process that was real, and has exited."""
    with live_owner() as gone:
        return gone


def stranger(**changes: Any) -> SessionOwner:
    """Return an owner record as a process on another host would have left it."""
    fields = {"host": "elsewhere", "boot_id": "another boot", "token": "0" * 16}
    return dead_owner().model_copy(update=fields | changes)


def forked(work: Callable[[], bool]) -> bool:
    """Return what ``work`` returned in a forked child."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0
