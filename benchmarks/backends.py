"""What is compared: a contender opens in a directory of its own and saves its state there."""

from __future__ import annotations

import itertools
import json
import os
import random
from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, Literal

from benchmarks.harness import KIB
from sessionstore import Session, SessionState, SessionStore
from sessionstore.durable.directory import Directory
from sessionstore.durable.replace import exchange

Durability = Literal["power", "process"]

OURS = "sessionstore"
FLOOR = "floor"
_ASCII = (
    "the session was saved after each step and then a node asked for more context about this order"
    " because the customer wrote that nothing had arrived so please check with the carrier again"
)
_OTHERS = "café naïve Zürich über señor € → 東京 привет"


def make_record(chance: random.Random, length: int = KIB) -> dict[str, Any]:
    """Return a message that takes ``length`` bytes as JSON, or a few more."""
    message = make_message(chance, length)
    over = len(json.dumps(message, ensure_ascii=False).encode()) - length
    message["content"] = message["content"][: max(1, length - max(over, 0))]
    return message


def fill(state: SessionState, size: int) -> None:
    """Fill ``data_buffer`` with chat-like messages until the state takes ``size`` bytes."""
    chance = random.Random(size)
    messages: list[dict[str, Any]] = []
    state.data_buffer["messages"] = messages
    room = size - len(state.model_dump_json().encode())
    while room > 0:
        length = min(int(chance.triangular(200, 4 * KIB, 400)), room)
        message = make_message(chance, length)
        messages.append(message)
        over = size - len(state.model_dump_json().encode())
        if over < 0:
            text = message["content"]
            message["content"] = text[: max(1, len(text) + over)]
        room = min(over, room - 1)


def make_message(chance: random.Random, length: int) -> dict[str, Any]:
    """Return a message of about ``length`` characters."""
    ascii_words, other_words = _ASCII.split(), _OTHERS.split()
    # A message in five has words that are not ASCII, and then one word in ten is.
    share = 0.1 if chance.random() < 0.2 else 0.0
    text = ""
    while len(text) < length:
        words = other_words if chance.random() < share else ascii_words
        text += chance.choice(words) + chance.choice((" ", " ", " ", ", ", ".\n"))
    return {"role": chance.choice(("user", "assistant", "tool")), "content": text}


class Contender(ABC):
    """Saves ``state`` in ``directory``, which is its own; says what it flushes."""

    name: ClassVar[str]
    durability: ClassVar[Durability]
    """What a save that returned survives: a loss of power, or the death of the process."""
    does: ClassVar[str]
    """What a save is, in a line."""
    package: ClassVar[str] = ""
    """The distribution that it comes from; none is the standard library."""

    def __init__(self, directory: Path, state: SessionState) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.state = state
        self.open()

    @abstractmethod
    def open(self) -> None:
        """Make ready for the first save."""

    @abstractmethod
    def save(self) -> object:
        """Store the state."""

    def step(self, message: dict[str, Any]) -> None:
        """Add ``message`` to the state and save it."""
        self.state.data_buffer["messages"].append(message)
        self.save()

    def close(self) -> None:
        """Let go of everything."""
        return


class Floor(Contender):
    """The least that a durable replacement does; bytes and directory are at hand."""

    name = FLOOR
    durability = "power"
    does = "write a new file, fsync, rename, fsync the directory; the bytes are ready"

    def open(self) -> None:
        self._payload = self.state.model_dump_json().encode()
        self._at = os.open(self.directory, os.O_RDONLY)
        self._counter = itertools.count()
        self.save()

    def save(self) -> None:
        name = f"new-{next(self._counter)}"
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self._at)
        try:
            os.write(fd, self._payload)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(name, "state.json", src_dir_fd=self._at, dst_dir_fd=self._at)
        os.fsync(self._at)

    def step(self, message: dict[str, Any]) -> None:
        self.state.data_buffer["messages"].append(message)
        self._payload = self.state.model_dump_json().encode()
        self.save()

    def close(self) -> None:
        os.close(self._at)


class BareExchange(Floor):
    """The least that a replacement does which only survives the process, serialising included."""

    name = "bare exchange"
    durability = "process"
    does = "model_dump_json, write a new file, exchange, unlink the old one; nothing is checked"

    def open(self) -> None:
        self._directory = Directory(str(self.directory))
        super().open()

    def save(self) -> None:
        payload = type(self.state).__pydantic_serializer__.to_json(self.state)
        name = f"new-{next(self._counter)}"
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self._at)
        try:
            os.write(fd, payload)
        finally:
            os.close(fd)
        if self._is_there and exchange(self._directory, name, "state.json"):
            os.unlink(name, dir_fd=self._at)
        else:
            os.rename(name, "state.json", src_dir_fd=self._at, dst_dir_fd=self._at)
            self._is_there = True

    _is_there = False

    def close(self) -> None:
        self._directory.close()
        super().close()


def open_session(
    stack: ExitStack, root: Path, size: int, durability: Durability
) -> Session[SessionState]:
    """Return a session of ours whose stored state takes ``size`` bytes."""
    store = stack.enter_context(SessionStore(root, durability=durability))
    session = stack.enter_context(store.create("bench", agent_id="support"))
    session.state.progress.path = ["plan", "fetch", "answer"]
    session.save()  # from here on the state has its owner, and its final length
    fill(session.state, size)
    session.save()
    return session


def open_peers(
    stack: ExitStack, kinds: list[type[Contender]], space: Path, state: SessionState
) -> dict[str, Contender]:
    """Open one of each kind, in stores of their own, each with its own copy of ``state``."""
    opened: dict[str, Contender] = {}
    for number, kind in enumerate(kinds):
        contender = kind(space / f"peer-{number}", state.model_copy(deep=True))
        stack.callback(contender.close)
        opened[kind.name] = contender
    return opened
