"""A line of those who wait for a session in this process: who came first is next."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from sessionstore.storage.turn import LIES_FREE, Turn


class MemoryLines:
    """The lines of a backend, one for each session that somebody waits for."""

    def __init__(
        self, changed: Callable[[], threading.Condition], is_held: Callable[[str], bool]
    ) -> None:
        self.changed = changed
        self.is_held = is_held
        self.waiting: dict[str, list[MemoryTurn]] = {}
        self.freed_at: dict[str, float] = {}
        """When each session was released last, on the monotonic clock."""


class MemoryTurn(Turn):
    """A place in the line of a session; before :meth:`join`, only a look at the line."""

    def __init__(self, lines: MemoryLines, session_id: str) -> None:
        self._lines = lines
        self._session_id = session_id

    def is_next(self) -> bool:
        """Return whether nobody waits ahead; who lets the session lie free is passed over."""
        first = next(iter(self._lines.waiting.get(self._session_id, ())), self)
        freed = self._lines.freed_at.get(self._session_id, 0.0)
        return first is self or time.monotonic() - freed > LIES_FREE

    def is_due(self) -> bool:
        with self._lines.changed():
            return not self._lines.is_held(self._session_id) and self.is_next()

    def pause(self) -> float:
        return 0.005

    def join(self) -> None:
        """Take the last place."""
        with self._lines.changed():
            line = self._lines.waiting.setdefault(self._session_id, [])
            if self not in line:
                line.append(self)

    def close(self) -> None:
        with self._lines.changed():
            line = self._lines.waiting.get(self._session_id, [])
            if self in line:
                line.remove(self)
                self._lines.changed().notify_all()
            if not line:
                self._lines.waiting.pop(self._session_id, None)
