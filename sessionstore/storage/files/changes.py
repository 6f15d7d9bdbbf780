"""What the file system tells of sessions that change (the only door to watchfiles).

Events only say where to look; who misses some looks at everything from time to time. Without
watchfiles, without a store yet, or where the system has no watches left, that is all there is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable
from typing import Any

from sessionstore.durable.replace import TEMPORARY_PREFIX
from sessionstore.log import about, logger
from sessionstore.model.ids import is_id
from sessionstore.storage.changes import ChangeNotifier
from sessionstore.storage.files.layout import Layout

_SETTLES_MS = 10
"""Events that follow each other faster than this are of one burst …"""
_BURST_MS = 100
"""… which is told at the latest after this."""
_MANY = 10_000
"""Of more sessions no events are asked for: each takes two watches of the system, of which there
are some 100,000, and time. Looking at all of them takes a fraction of a second."""
_MOMENT_MS = 50
"""How long a wait for events is at least."""


class FilesAlarm(ChangeNotifier):
    """Wakes when something changes below sessions/."""

    def __init__(self, layout: Layout, session_ids: Collection[str] | None) -> None:
        self._sessions = layout.sessions
        self._named = None if session_ids is None else frozenset(session_ids)
        self._notify: Any = None
        self._is_useless = False

    @property
    def is_listening(self) -> bool:
        return self._notify is not None

    def wait(self, seconds: float) -> Collection[str] | None:
        deadline = time.monotonic() + seconds
        if self._notify is None:
            if self._arm():
                return None  # what changed before nobody told us
            time.sleep(seconds)
            return ()
        while True:
            told = self._next()
            if told is None:
                return None
            if told or time.monotonic() >= deadline:
                return self._read(path for _, path in told)

    def _next(self) -> Collection[tuple[Any, str]] | None:
        """Return the events of a moment; None if there will be no more."""
        try:
            told: Collection[tuple[Any, str]] = next(self._notify)
        except (StopIteration, OSError) as error:
            logger.info(
                "no more events of the file system: %s",
                error,
                extra=about("events_ended", path=self._sessions, reason=error),
            )
            self._disarm()
            return None
        return told

    def _read(self, paths: Iterable[str]) -> Collection[str] | None:
        """Return the ids of the sessions that events tell of; None if that is not certain."""
        ids: set[str] = set()
        for path in paths:
            inside = os.path.relpath(path, self._sessions).split(os.sep)
            if inside[0] in (os.curdir, os.pardir):
                # sessions/ itself was moved or removed: begin anew.
                self._disarm()
                return None
            name = inside[0]
            if name.startswith(TEMPORARY_PREFIX):  # it was told under its name while being made
                name = name.removeprefix(TEMPORARY_PREFIX).partition("-")[2]
            if self._named is None:
                if is_id(name):
                    ids.add(name)
            elif name in self._named:
                if len(inside) == 1:  # it came or went: its directory is another one now
                    self._disarm()
                    self._arm()
                    return None
                ids.add(name)
        return ids

    def _arm(self) -> bool:
        """Ask for events; return whether they will come."""
        if self._is_useless or not os.path.isdir(self._sessions):
            return False
        try:
            import watchfiles
        except ImportError:
            self._is_useless = True
            return False
        paths = [self._sessions]
        if self._named is None:
            if len(os.listdir(self._sessions)) > _MANY:
                self._is_useless = True
                return False
        else:  # not all of a large store
            there = (os.path.join(self._sessions, name) for name in sorted(self._named))
            paths += [path for path in there if os.path.isdir(path)]
        self._notify = watchfiles.watch(
            *paths,
            watch_filter=None,
            debounce=_BURST_MS,
            step=_SETTLES_MS,
            rust_timeout=_MOMENT_MS,
            yield_on_timeout=True,
            recursive=self._named is None,
            ignore_permission_denied=True,
        )
        try:
            next(self._notify)  # only now it listens
        except FileNotFoundError:
            self._notify = None  # a session went meanwhile: again the next time
        except Exception as error:
            logger.info(
                "no events of the file system, so looking instead: %s",
                error,
                extra=about("events_ended", path=self._sessions, reason=error),
            )
            self._notify = None
            self._is_useless = True
        return self._notify is not None

    def _disarm(self) -> None:
        notify, self._notify = self._notify, None
        if notify is not None:
            notify.close()

    def close(self) -> None:
        self._disarm()
