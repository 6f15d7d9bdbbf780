"""What the file system tells of sessions that change (the only door to watchfiles).

Events only say where to look; who misses some looks at everything from time to time. Without
watchfiles, without a store yet, or where the system has no watches left, that is all there is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable
from typing import Any

from sessionstore.log import about, logger
from sessionstore.model.ids import is_id
from sessionstore.storage.changes import ChangeNotifier
from sessionstore.storage.files.layout import JOURNALS, Layout

_STEP_MS = 10
"""Events that follow each other faster than this are one burst."""
_BURST_MS = 100
"""A burst is reported at the latest after this."""
_MANY = 10_000
"""With more sessions than this no events are used: each session takes three watches of the system,
which has some 100,000. Looking at all sessions takes a fraction of a second."""
_MOMENT_MS = 50
"""The shortest wait for events."""


class FilesNotifier(ChangeNotifier):
    """Names the sessions that change below sessions/."""

    def __init__(self, layout: Layout, session_ids: Collection[str] | None) -> None:
        self._sessions = layout.sessions
        self._named = None if session_ids is None else frozenset(session_ids)
        self._notify: Any = None
        self._only_polls = False

    @property
    def is_listening(self) -> bool:
        return self._notify is not None

    def wait(self, seconds: float) -> Collection[str] | None:
        deadline = time.monotonic() + seconds
        if self._notify is None:
            if self._listen():
                return None  # Race: Save during a watch. Changes before this call are unknown.
            time.sleep(seconds)
            return ()
        while True:
            told = self._next()
            if told is None:
                return None
            if told or time.monotonic() >= deadline:
                return self._read(path for _, path in told)

    def _next(self) -> Collection[tuple[Any, str]] | None:
        """Return the next events; None if there will be no more."""
        try:
            told: Collection[tuple[Any, str]] = next(self._notify)
        except (StopIteration, OSError) as error:
            logger.info(
                "no more events of the file system: %s",
                error,
                extra=about("events_ended", path=self._sessions, reason=error),
            )
            self._stop()
            return None
        return told

    def _read(self, paths: Iterable[str]) -> Collection[str] | None:
        """Return the ids of the sessions that events name; None if any may have changed."""
        ids: set[str] = set()
        for path in paths:
            inside = os.path.relpath(path, self._sessions).split(os.sep)
            if inside[0] in (os.curdir, os.pardir):
                # sessions/ itself was moved or removed: listen anew.
                self._stop()
                return None
            name = inside[0]
            if self._named is None:
                if is_id(name):
                    ids.add(name)
            elif name in self._named:
                if inside[1:] in ([], [JOURNALS]):  # made or removed: it is another directory now
                    self._stop()
                    self._listen()
                    return None
                ids.add(name)
        return ids

    def _listen(self) -> bool:
        """Start listening; return whether events will come."""
        if self._only_polls or not os.path.isdir(self._sessions):
            return False
        try:
            import watchfiles
        except ImportError:
            self._only_polls = True
            return False
        paths = [self._sessions]
        if self._named is None:
            if len(os.listdir(self._sessions)) > _MANY:
                self._only_polls = True
                return False
        else:  # not all of a large store
            there = (os.path.join(self._sessions, name) for name in sorted(self._named))
            for path in there:
                paths += filter(os.path.isdir, (path, os.path.join(path, JOURNALS)))
        self._notify = watchfiles.watch(
            *paths,
            watch_filter=None,
            debounce=_BURST_MS,
            step=_STEP_MS,
            rust_timeout=_MOMENT_MS,
            yield_on_timeout=True,
            recursive=self._named is None,
            ignore_permission_denied=True,
        )
        try:
            next(self._notify)  # it listens from here on
        except FileNotFoundError:
            self._notify = None  # a session was removed meanwhile: the next call tries again
        except Exception as error:
            logger.info(
                "no events of the file system, so looking instead: %s",
                error,
                extra=about("events_ended", path=self._sessions, reason=error),
            )
            self._notify = None
            self._only_polls = True
        return self._notify is not None

    def _stop(self) -> None:
        notify, self._notify = self._notify, None
        if notify is not None:
            notify.close()

    def close(self) -> None:
        self._stop()
