"""The orchestrator that the demo kills: when to kill it, and what it leaves on disk."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ORCHESTRATOR = Path(__file__).with_name("orchestrator.py")
ANSWER = Path(__file__).with_name("answer.py")
DEADLINE = 300.0  # seconds that any single wait may take before the demo gives up
STATE_FILES = "sessions/[!.]*/state.json"

State = dict[str, Any]
stop_requested = threading.Event()


class DemoError(Exception):
    """A promise was broken."""


children: list[Orchestrator] = []


class Orchestrator:
    """A running orchestrator.py, or another program, and its output so far."""

    def __init__(self, root: Path, *options: str, program: Path = ORCHESTRATOR) -> None:
        self.root = root
        self.lines: list[str] = []
        self.found = unfinished(root)
        self.process = subprocess.Popen(
            [
                *(sys.executable, str(program), "--root", str(root)),
                *("--max-recoveries", "1000"),  # the demo kills one session many times
                *options,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C is for the demo, which then ends its children
        )
        children.append(self)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.lines.append(line.rstrip("\n"))

    def wait_until(self, reached: Callable[[], bool], *, pause: float = 0.001) -> bool:
        """Wait for an instant; return False if the child ended before it came."""
        give_up = time.monotonic() + DEADLINE
        while not reached():
            if stop_requested.is_set():
                raise KeyboardInterrupt
            if self.process.poll() is not None:
                return False
            if time.monotonic() > give_up:
                raise DemoError(f"waited {DEADLINE:.0f} s in vain; it said {self.lines[-3:]}")
            time.sleep(pause)
        return True

    def wait_for(self, pattern: str, count: int = 1) -> bool:
        """Wait until it has printed ``count`` lines that match."""
        return self.wait_until(
            lambda: sum(bool(re.search(pattern, line)) for line in list(self.lines)) >= count
        )

    def stop(self) -> bool:
        """Stop it, as Ctrl-Z does; return False if it ended before."""
        self.process.send_signal(signal.SIGSTOP)
        if self.process.returncode is None:
            _, status = os.waitpid(self.process.pid, os.WUNTRACED)
            if os.WIFSTOPPED(status):
                return True
            self.process.returncode = os.waitstatus_to_exitcode(status)
        return False

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)  # ends a stopped process, too
        self.reap()

    def finish(self) -> None:
        """Let the child run to its end, which must be a success."""
        self.wait_until(lambda: False)
        self.reap()
        if self.process.returncode != 0:
            said = "\n".join(self.lines[-20:])
            raise DemoError(f"the program ended with {self.process.returncode}:\n{said}")

    def reap(self) -> None:
        self.process.wait()
        self._reader.join()
        children.remove(self)


# --- what is on disk, read without the library ---------------------------------------------------


def read_states(root: Path) -> dict[str, State]:
    """Return every state.json of a store; one that is torn raises."""
    files = root.glob(STATE_FILES)
    return {file.parent.name: json.loads(file.read_bytes()) for file in files}


def unfinished(root: Path) -> set[str]:
    """Return the files of saves that are running, or that a kill interrupted."""
    sessions = os.path.join(root, "sessions")
    found = set()
    for directory in (sessions, *(os.path.join(sessions, name) for name in _names(sessions))):
        for name in _names(directory):
            if name.startswith(".new-"):
                found.add(os.path.join(directory, name))
    return found


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:  # not made yet, or moved meanwhile
        return []


def leaves(value: Any, path: str = "") -> State:
    """Return a JSON object as its leaves, each under its path."""
    if not isinstance(value, dict) or not value or path == "recovery":
        return {path: value}
    found: State = {}
    for key, inner in value.items():
        found |= leaves(inner, f"{path}.{key}" if path else key)
    return found


def differences(expected: State, found: State, may_differ: set[str]) -> list[str]:
    left, right = leaves(expected), leaves(found)
    return [
        f"{path}: {left.get(path, '(absent)')!r} became {right.get(path, '(absent)')!r}"
        for path in sorted((left.keys() | right.keys()) - may_differ)
        if path not in left or path not in right or left[path] != right[path]
    ]


# --- when to kill --------------------------------------------------------------------------------

Instant = Callable[[Orchestrator], bool]
"""Waits for the instant at which to kill; returns False if the child ended before."""


def within(step: str) -> Instant:
    return lambda child: child.wait_for(rf": step {step}$")


def after(step: str) -> Instant:
    return lambda child: child.wait_for(rf": step {step} done")


def in_a_save(count: int) -> Instant:
    """The moment at which the ``count``-th new unfinished file shows up."""

    def wait(child: Orchestrator) -> bool:
        seen = unfinished(child.root)
        enough = len(seen) + count

        def reached() -> bool:
            seen.update(unfinished(child.root))
            return len(seen) >= enough

        return child.wait_until(reached, pause=0)  # a save takes a millisecond

    return wait


def at_random(chance: random.Random) -> Instant:
    count, pause = chance.randint(1, 4), chance.uniform(0, 0.015)

    def wait(child: Orchestrator) -> bool:
        reached = child.wait_for(": (started|resumed|step)", count)
        time.sleep(pause)
        return reached and child.process.poll() is None

    return wait


def where(child: Orchestrator) -> str:
    """Return where the kill hit, by the last output of the child and the files it left."""
    last = child.lines[-1] if child.lines else ""
    if unfinished(child.root) - child.found:
        return "in the middle of a save"
    if match := re.search(r": step (\S+).* done", last):
        return f"between steps, after {match[1]}"
    if match := re.search(r"(?:: step|^calling:) (\S+)", last):
        return f"within step {match[1]}"
    return "between sessions" if ": ended" in last else "as it swept, created or resumed"
