"""The contract of a change notifier: it tells a watch which sessions to look at."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Self


class ChangeNotifier(ABC):
    """Names sessions that may have changed.

    It may name too many and miss some, so a watch also looks at every session now and then.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    @abstractmethod
    def is_listening(self) -> bool:
        """Whether changes are named as they happen; otherwise only looking finds them."""

    @abstractmethod
    def wait(self, seconds: float) -> Collection[str] | None:
        """Return the ids of sessions that may have changed, at the latest after ``seconds``.

        - Empty: no change is known.
        - None: any session may have changed. The first call may return this: it starts listening.
        - What changes after one call is named by a later one.
        """

    @abstractmethod
    def close(self) -> None:
        """Stop listening; safe to call twice."""


class PollingNotifier(ChangeNotifier):
    """The notifier of a place without events: it only lets time pass."""

    @property
    def is_listening(self) -> bool:
        return False

    def wait(self, seconds: float) -> Collection[str] | None:
        time.sleep(seconds)
        return ()

    def close(self) -> None:
        pass
