"""The contract of what tells a watch where to look."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Self


class ChangeNotifier(ABC):
    """Tells where to look for changes. It may tell too much or miss some, so look anyway."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    @abstractmethod
    def is_listening(self) -> bool:
        """Whether changes are told as they happen; else only looking finds them."""

    @abstractmethod
    def wait(self, seconds: float) -> Collection[str] | None:
        """Return the ids of sessions that may have changed, at the latest after ``seconds``.

        Empty: it was told of none. None: any may have, as after the first call, which may be
        what makes it listen. What changes after a call is told by a later one.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of what it holds; safe to call twice."""


class PollingNotifier(ChangeNotifier):
    """The alarm of a place that tells nothing: only time passes."""

    @property
    def is_listening(self) -> bool:
        return False

    def wait(self, seconds: float) -> Collection[str] | None:
        time.sleep(seconds)
        return ()

    def close(self) -> None:
        pass
