"""Processes that look at the owners of sessions from a place where looks mislead."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from sessionstore import SessionState, SessionStore, SessionStoreError
from tests.faults.support.identity import NOBODY
from tests.support.children import say
from tests.support.processes import DEADLINE

DESCRIPTORS = 64


def look(root: str, names: str, looks: str, *conditions: str) -> None:
    """Judge each session ``looks`` times, and sweep; say how often there was which answer.

    Conditions: ``hungry``, when descriptors run out again and again; ``nobody``, as another user.
    """
    wanted, seen = int(looks), Counter[str]()
    store = SessionStore(root)
    _judge(store, names.split(), Counter())  # whatever is imported late is there now
    with ExitStack() as stack:
        if "nobody" in conditions:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        if "hungry" in conditions:
            stack.enter_context(_hunger())
        give_up = time.monotonic() + DEADLINE
        while seen.total() - seen["refused"] < wanted:
            if time.monotonic() > give_up:
                break
            _judge(store, names.split(), seen)
    say(**+seen)


def _judge(store: SessionStore[SessionState], names: list[str], seen: Counter[str]) -> None:
    for name in names:
        try:
            seen[str(store.liveness(name).verdict)] += 1
        except SessionStoreError:
            seen["refused"] += 1
    try:
        report = store.recover()
    except SessionStoreError:
        seen["refused"] += 1
    else:
        for group in ("swept", "alive", "unknown"):
            found = [item for item in getattr(report, group) if item.session_id in names]
            seen[group] += len(found)


@contextmanager
def _hunger() -> Iterator[None]:
    """Use up all descriptors and give them back, in two threads, until the block ends."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, before[1]))
    ended = threading.Event()

    def devour() -> None:
        while not ended.is_set():
            held = list[int]()
            try:
                while True:
                    held.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                time.sleep(0.0001)
            for fd in held:
                os.close(fd)

    threads = [threading.Thread(target=devour) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
