"""Record the system calls of a worker, kill it before one of them, or let one of them fail.

strace is attached to a forked worker that waits to be told: it counts from there on. It answers
``signal=KILL`` before the call is made, and ``error=`` instead of making it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.support.operations import SESSION
from tests.support.processes import Child, process_letter, until

SWEEP_ALL = os.environ.get("SESSIONSTORE_FAULTS") == "all"
"""Whether to take the time for every combination."""

_CHANGING = (
    *("openat", "open", "creat", "write", "pwrite64", "writev", "pwritev", "fsync", "fdatasync"),
    *("sync_file_range", "rename", "renameat", "renameat2", "link", "linkat", "symlink"),
    *("symlinkat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "truncate", "ftruncate"),
    *("fallocate", "flock", "chmod", "fchmod", "fchmodat", "copy_file_range", "sendfile", "close"),
    *("pread64", "fcntl"),  # changes nothing, but SQLite may be refused it
)
# A question mark: not every architecture has every call.
_TRACED = ",".join(f"?{name}" for name in _CHANGING)

_LINE = re.compile(r"(\w+)\((.*)")

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@contextmanager
def scratch() -> Iterator[Path]:
    """Make a directory in memory, where that is possible: a flush costs nothing there.

    What a kill or a refused call leaves behind does not depend on the disk; what a power cut
    leaves does, and other tests look at that.
    """
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="sessionstore-faults-", dir=memory) as directory:
        yield Path(directory)


@dataclass(frozen=True)
class Call:
    """A system call of an operation: the ``nth`` of its name since the operation began."""

    name: str
    nth: int
    text: str

    def __str__(self) -> str:
        return f"{self.name} {self.nth}: {self.text}"

    @property
    def is_change(self) -> bool:
        """Whether it may change something that others see: a file, a name, a lock."""
        if self.name == "openat":
            return any(flag in self.text for flag in ("O_CREAT", "O_WRONLY", "O_RDWR"))
        if self.name == "close":
            return ".lock>" in self.text  # gives the lock back
        return self.name not in ("pread64", "fcntl")

    @property
    def is_of_lock(self) -> bool:
        """Whether it is made on a lock file."""
        return '.lock"' in self.text or ".lock>" in self.text

    @property
    def is_of_directory(self) -> bool:
        """Whether it flushes a directory, as its path tells."""
        return self.name == "fsync" and not (
            self.file.endswith(".json") or ".new-" in self.file[-21:]
        )

    @property
    def file(self) -> str:
        """The path of the open file that it is made on."""
        return self.text.partition("<")[2].partition(">")[0]

    @property
    def is_answer(self) -> bool:
        """Whether it tells the test that the operation came to its end."""
        return self.name == "write" and self.text.startswith("1<pipe:")


def read_calls(log: Path) -> list[Call]:
    """Return what strace logged, in order."""
    seen = Counter[str]()
    found: list[Call] = []
    for line in log.read_text(errors="replace").splitlines():
        if match := _LINE.match(line):
            seen[match[1]] += 1
            found.append(Call(match[1], seen[match[1]], match[2]))
    return found


_NEW_INDEX = re.compile(r'"[^"]*/(index\.[0-9a-f]{16})", "[^"]*/index-')


def index_calls(calls: list[Call]) -> set[Call]:
    """Return those made on the files of the index, under the name too that it is made under."""
    names = ["/index-"]
    names += [found[1] for call in calls if (found := _NEW_INDEX.search(call.text))]
    return {
        call
        for call in calls
        # The package itself flushes with fsync.
        if any(name in call.text for name in names) or call.name == "fdatasync"
    }


def thinned(calls: list[Call]) -> list[Call]:
    """Leave out what is within a run of writes of the index: SQLite writes page after page."""
    if SWEEP_ALL:
        return calls
    pages = {call for call in index_calls(calls) if call.name == "pwrite64"}
    return [
        call
        for number, call in enumerate(calls)
        if not ({call, *calls[max(number - 1, 0) : number + 2]} <= pages)
    ]


@contextmanager
def traced(pid: int, log: Path, *injections: str) -> Iterator[None]:
    """Trace ``pid`` during the block; with injections such as ``fsync:error=EIO:when=2``."""
    tracer = subprocess.Popen(
        [
            *("strace", "-y", "-s", "1", "-o", str(log), "-e", f"trace={_TRACED}"),
            *(word for injection in injections for word in ("-e", f"inject={injection}")),
            *("-p", str(pid)),
        ],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert tracer.stderr is not None
    try:
        said = tracer.stderr.readline()
        if "attached" not in said:
            said += tracer.stderr.read()
            if "not permitted" in said:
                pytest.skip(f"this machine lets nobody trace: {said}")
            pytest.fail(f"strace: {said}")
        yield
    finally:
        tracer.terminate()  # it lets go of a process that lives, and has written its log
        tracer.wait()
        tracer.stderr.close()


class Server(Child):
    """A warm process that forks a worker for each operation; see ``operations.serve``."""

    def __init__(self, scratch: Path, serves: str = "faults.support.operations.serve") -> None:
        super().__init__(serves, scratch)
        assert self.hear() == {"warm": True}
        self.settle()

    def settle(self) -> None:
        """Wait until it waits for us: what looks at child processes sees it the same each time."""
        until(lambda: process_letter(self.pid) == "S", "the server to wait for an order")

    @contextmanager
    def worker(
        self,
        operation: str,
        root: Path,
        durability: str = "power",
        *,
        short: tuple[int, str] | None = None,
    ) -> Iterator[Worker]:
        """Have a worker prepare ``root`` for an operation; end it after the block.

        ``short`` says which of its writes takes only a part; see ``operations.ShortWrites``.
        """
        self.tell(operation, root=str(root), durability=durability, short=short)
        ready = self.hear()
        assert ready.get("ready"), ready
        worker = Worker(self, ready["pid"])
        try:
            yield worker
        finally:
            worker.end()


class Worker:
    """A forked process that waits to perform its operation."""

    def __init__(self, server: Server, pid: int) -> None:
        self.pid = pid
        self._server = server
        self._ended = False

    def hear(self) -> dict[str, Any]:
        message = self._server.hear()
        self._ended = self._ended or "ended" in message
        return message

    def ask(self, do: str, **details: object) -> dict[str, Any]:
        self._server.tell(do, **details)
        return self.hear()

    def end(self) -> None:
        """Let the worker exit as it is: without letting go of what it holds."""
        if not self._ended:
            self._server.tell("end")
            while not self._ended:
                self.hear()
        self._server.settle()


def recorded(server: Server, operation: str, root: Path, durability: str, log: Path) -> list[Call]:
    """Return the calls that an operation makes when nothing goes wrong, its answer included."""
    with server.worker(operation, root, durability) as worker:
        with traced(worker.pid, log):
            assert worker.ask("go") == {"outcome": "returned"}
        calls = read_calls(log)
        end = next(number for number, call in enumerate(calls) if call.is_answer)
        return calls[: end + 1]


@dataclass(frozen=True)
class Stored:
    """What is on disk, read without the package."""

    payload: bytes | None
    checkpoints: frozenset[str]

    @classmethod
    def under(cls, root: Path) -> Stored:
        directory = root / "sessions" / SESSION
        try:
            payload = directory.joinpath("state.json").read_bytes()
        except FileNotFoundError:
            # There whole, or not there at all.
            assert not directory.exists(), "a session without its state"
            return cls(None, frozenset())
        kept = directory.joinpath("checkpoints").iterdir()
        return cls(payload, frozenset(path.name for path in kept if path.suffix == ".json"))

    @property
    def summary(self) -> dict[str, Any] | None:
        """What tells one state of the operation from the other."""
        if self.payload is None:
            return None
        state = json.loads(self.payload)
        return {
            "revision": state["revision"],
            "status": state["status"],
            "step": state["data_buffer"].get("step"),
            "owned": state["owner"] is not None,
            "recovered": (state["recovery"] or {}).get("count", 0),
            "kept": (state["latest_checkpoint_id"] or "").split(".")[:2],
        }
