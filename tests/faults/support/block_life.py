"""What a store does while its disk is recorded, and what it tells of it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from sessionstore import RetentionPolicy, Session, SessionState, SessionStore, SessionStoreError

PLAN = (
    "create save save checkpoint append append save checkpoint append pause prune resume"
    " save create checkpoint append checkpoint complete delete save append checkpoint"
)
SIZES = (0, 200, 1_000, 4_096, 9_000, 20_000, 65_536, 300_000, 1 << 20)
"""Bytes that are added to a state of about 1,000."""
_WEIGHTS = (4, 4, 4, 4, 4, 4, 3, 1, 1)


def content(number: int, size: int) -> dict[str, Any]:
    """Return what the state number ``number`` keeps: another text in each."""
    text = f"{number:07d}."
    return {"number": number, "ballast": (text * (size // len(text) + 1))[:size]} if number else {}


def record(number: int) -> list[Any]:
    """Return the record number ``number`` of a journal."""
    return [number, f"{number}-" * (number * 37 % 400)]


class Life:
    """Sessions of a store on a recorded disk, which tell what they begin and what they have done.

    Several lives in one store have different numbers.
    """

    def __init__(
        self,
        store: SessionStore[SessionState],
        tell: Callable[[str], None],
        seed: int,
        number: int = 0,
    ) -> None:
        self._tell = tell
        self._chance = random.Random(seed)
        self._store = store
        self._name = "abcdefghij"[number]
        self._held: dict[str, Session[SessionState]] = {}
        self._paused = self._ended = ""
        self._records: dict[str, int] = {}
        self._number = number * 1_000

    def run(self, plan: str = PLAN) -> None:
        """Do what the plan says, and let go of all."""
        try:
            for operation in plan.split():
                getattr(self, f"_{operation}")()
        finally:
            for session in self._held.values():
                with suppress(SessionStoreError):
                    session.release()

    def _do(self, operation: str, name: str, action: Callable[[], object], **more: object) -> None:
        self._tell(json.dumps({"begin": operation, "session": name, **more}))
        made = action()
        kept = getattr(made, "checkpoint_id", None)
        self._tell(json.dumps({"done": operation, "session": name, "checkpoint": kept}))

    def _change(self, name: str) -> dict[str, int]:
        self._number += 1
        (size,) = self._chance.choices(SIZES, _WEIGHTS)
        self._held[name].state.data_buffer = content(self._number, size)
        return {"number": self._number, "size": size}

    def _any(self) -> str:
        return self._chance.choice(list(self._held))

    def _create(self) -> None:
        name = f"{self._name}{len(self._records) + 1}"
        self._records[name] = 0

        def create() -> None:
            self._held[name] = self._store.create("goal", session_id=name)

        self._do("create", name, create, number=0, size=0)

    def _save(self) -> None:
        name = self._any()
        changed = self._change(name)
        self._do("save", name, self._held[name].save, **changed)

    def _checkpoint(self) -> None:
        name = self._any()
        changed = self._change(name)
        self._do("checkpoint", name, self._held[name].checkpoint, **changed)

    def _append(self) -> None:
        name = self._any()
        first = self._records[name] + 1
        last = self._records[name] = first + self._chance.randrange(3)
        batch = [record(number) for number in range(first, last + 1)]
        append = partial(self._held[name].journal().append, *batch)
        self._do("append", name, append, records=last)

    def _pause(self) -> None:
        self._paused = self._any()
        changed = self._change(self._paused)
        self._do("pause", self._paused, self._held.pop(self._paused).pause, **changed)

    def _resume(self) -> None:
        name = self._paused

        def resume() -> None:
            self._held[name] = self._store.resume(name)

        self._do("resume", name, resume)

    def _prune(self) -> None:
        policy = RetentionPolicy(keep_checkpoints=1)
        self._do("prune", self._paused, partial(self._store.prune, policy, apply=True))

    def _complete(self) -> None:
        self._ended = self._any()
        changed = self._change(self._ended)
        self._do("complete", self._ended, self._held.pop(self._ended).complete, **changed)

    def _delete(self) -> None:
        self._do("delete", self._ended, partial(self._store.delete, self._ended))
