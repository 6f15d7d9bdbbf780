"""Start real child processes, speak with them over pipes, and end them whatever happens."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import pytest

from sessionstore import SessionStore

CHECKOUT = Path(__file__).parents[2]

DEADLINE = 300.0
"""Seconds after which a test gives up on what never comes. It ends a hang and measures nothing: a
busy machine may need minutes for what takes a second otherwise."""

Test = TypeVar("Test", bound=Callable[..., object])


def needs_linux(reason: str) -> Callable[[Test], Test]:
    """Mark a test that only Linux can run, and say why."""

    def mark(test: Test) -> Test:
        skip = pytest.mark.skipif(sys.platform != "linux", reason=f"Linux only: {reason}")
        marked: Test = pytest.mark.linux(reason=reason)(skip(test))
        return marked

    return mark


def needs_root(reason: str) -> Callable[[Test], Test]:
    """Mark a test that only root on Linux can run, and say why."""

    def mark(test: Test) -> Test:
        may_not = sys.platform != "linux" or os.geteuid() != 0
        skip = pytest.mark.skipif(may_not, reason=f"needs root on Linux: {reason}")
        marked: Test = pytest.mark.root(reason=reason)(skip(test))
        return marked

    return mark


def without_coverage() -> dict[str, str]:
    """Return this process's environment for a child that coverage does not measure.

    Coverage takes a third of the time of a short child. While it records it holds a lock, which a
    signal handler that raises never gives back.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


class Child:
    """A process that runs a function of ``tests.support.children`` and speaks JSON lines with us.

    ``work`` names the function; another module below ``tests`` may stand before it.
    """

    def __init__(
        self,
        work: str,
        *arguments: object,
        wrapper: Sequence[str] = (),
        measured: bool = True,
    ) -> None:
        """Start it; one that is not ``measured`` runs without coverage."""
        module, _, function = work.rpartition(".")
        module = f"tests.{module or 'support.children'}"
        code = f"import sys; from {module} import {function}; {function}(*sys.argv[1:])"
        self.process = subprocess.Popen(
            [*wrapper, sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=CHECKOUT,
            env=None if measured else without_coverage(),
        )
        self._heard = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self.process.pid

    def hear(self) -> dict[str, Any]:
        """Return the next message; fail if the child ends or says nothing."""
        line = self._line()
        assert line is not None, f"the child ended ({self.process.wait()}) instead of answering"
        return dict(json.loads(line))

    def hear_all(self) -> Iterator[dict[str, Any]]:
        """Yield what the child still says until it has ended; half a line does not count."""
        while (line := self._line()) is not None:
            yield json.loads(line)

    def _line(self) -> bytes | None:
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        give_up = time.monotonic() + DEADLINE
        with selectors.DefaultSelector() as selector:
            selector.register(fd, selectors.EVENT_READ)
            while b"\n" not in self._heard:
                if not selector.select(max(0.0, give_up - time.monotonic())):
                    pytest.fail(f"pid {self.pid} said nothing for {DEADLINE} seconds")
                piece = os.read(fd, 1 << 16)
                if not piece:
                    return None
                self._heard += piece
        line, _, self._heard = self._heard.partition(b"\n")
        return line

    def tell(self, do: str, **details: object) -> None:
        """Send a message without waiting for the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **details}).encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, do: str, **details: object) -> dict[str, Any]:
        """Send a message and return the answer."""
        self.tell(do, **details)
        return self.hear()

    def hang_up(self) -> None:
        """Close the pipe to the child, which ends it once it listens again."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(DEADLINE)

    def kill(self) -> None:
        """End the child as ``kill -9`` does, reap it and close the pipes; safe to call twice."""
        self.process.kill()
        self.process.wait(DEADLINE)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue

    def crash(self) -> None:
        """Kill the child, but keep what it has said readable."""
        self.process.kill()
        self.process.wait(DEADLINE)


@contextmanager
def children(count: int, work: str, *arguments: object) -> Iterator[list[Child]]:
    """Run ``count`` children at once."""
    with ExitStack() as stack:
        yield [stack.enter_context(Child(work, *arguments)) for _ in range(count)]


def until(holds: Callable[[], bool], what: str, *, seconds: float = DEADLINE) -> None:
    """Wait until ``holds()``; fail if it never does."""
    give_up = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > give_up:
            pytest.fail(f"waited {seconds} seconds for: {what}")
        time.sleep(0.002)


def rounds(what: str, *, seconds: float = DEADLINE) -> Iterator[int]:
    """Yield 0, 1, 2, … until the caller has seen ``what`` and breaks off; fail if it never does.

    It is for what chance alone brings about, such as two processes that meet: how long that takes
    says nothing of the package, but without it the test proves nothing.
    """
    give_up = time.monotonic() + seconds
    number = 0
    while time.monotonic() <= give_up:
        yield number
        number += 1
    pytest.fail(f"in {seconds} seconds and {number} rounds never: {what}")


def process_letter(pid: int) -> str:
    """Return the state of a process as the kernel names it (``T`` stopped, ``Z`` zombie)."""
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    return stat.rpartition(b")")[2].split()[0].decode()


def is_gone(pid: int) -> bool:
    """Return whether there is no such process any more, or only what is left of it."""
    try:
        return process_letter(pid) in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def end(pid: int) -> None:
    """Kill a process that is not our child, and wait until it is gone."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    until(lambda: is_gone(pid), f"the end of pid {pid}")


# --- looking past the code under test -----------------------------------------------------------


def session_path(root: Path, session_id: str) -> Path:
    return root / "sessions" / session_id


def state_path(root: Path, session_id: str) -> Path:
    return session_path(root, session_id) / "state.json"


def read_state(root: Path, session_id: str) -> dict[str, Any]:
    """Return what state.json says, without the package's help."""
    return dict(json.loads(state_path(root, session_id).read_bytes()))


def edit_state(root: Path, session_id: str, /, **changes: object) -> None:
    """Change state.json as other software would, by hand."""
    path = state_path(root, session_id)
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))


def leftovers(root: Path) -> list[str]:
    """Return the names of half-written files and directories anywhere in a store."""
    return sorted(str(path.relative_to(root)) for path in root.rglob(".new-*"))


def new_session(root: Path, session_id: str = "s1", *, checkpoint: bool = True) -> str:
    """Make a session that nobody holds, paused with a checkpoint or failed without one."""
    with SessionStore(root).create("goal", session_id=session_id) as session:
        if checkpoint:
            session.pause()
        else:
            session.fail("made for a test")
    return session_id


def left_active(root: Path, session_id: str = "s1", /, **changes: object) -> str:
    """Make a session that says ACTIVE while nobody holds its lock, with an owner record."""
    session = SessionStore(root).create("goal", session_id=session_id)
    session.checkpoint()
    active = read_state(root, session_id)
    session.release()
    edit_state(root, session_id, **{**active, **changes})
    (root / "locks" / f"{session_id}.lock").unlink()
    return session_id


def tree(root: Path) -> dict[str, bytes | None]:
    """Return all below ``root``, with the bytes of files; not the index, which is derived."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in root.rglob("*")
        if not any(name.startswith("index-") for name in path.relative_to(root).parts)
    }
