"""One process that appends as fast as it can, and others that read all the time."""

from __future__ import annotations

import threading
import time
import zlib
from pathlib import Path
from typing import Any

from sessionstore import Journal, SessionStore
from tests.support.children import say

SESSION = "s1"


def value_of(number: int) -> dict[str, Any]:
    """Return what the record of this number holds; its length changes from one to the next."""
    text = f"{number:08}" * (number % 90)
    return {"number": number, "text": text, "sum": zlib.crc32(text.encode())}


def append_on(root: str, seconds: str) -> None:
    """Append one, two or fifty records at a time; go on, slower, until there is a file ``done``."""
    store = SessionStore(root, durability="process")
    until = time.monotonic() + float(seconds)
    with store.create("goal", session_id=SESSION) as session:
        journal = session.journal()
        last = journal.append(value_of(1))
        say(begun=True)
        while not Path(root, "done").exists():
            if time.monotonic() > until:
                time.sleep(0.02)
            for size in (1, 50, 2, 50):
                last = journal.append(*map(value_of, range(last + 1, last + size + 1)))
        say(appended=last)


def read_on(root: str, seconds: str, target: str) -> None:
    """Read from the beginning or on from the last record; say how many were read, what is wrong."""
    store = SessionStore(root)
    until = time.monotonic() + float(seconds)
    read, turn, highest = 0, 0, 0
    problem = ""
    while not problem and (time.monotonic() < until or read < int(target)):
        turn += 1
        journal = store.journal(SESSION)
        if turn % 2:  # all of it, one record at a time
            last = 0
            for record in journal:
                problem = problem or _problem(record.number, record.value, last)
                last = record.number
            read += last
        else:  # what is new, several times
            last = start = highest - highest // 4
            for _ in range(20):
                for record in journal.read(after=last):
                    problem = problem or _problem(record.number, record.value, last)
                    last = record.number
            read += last - start
        if last < highest:
            problem = problem or f"it went back from {highest} to {last}"
        highest = last
        say(turn=turn)  # it lives
    say(read=read, problem=problem)


def _problem(number: int, value: Any, before: int) -> str:
    if number != before + 1:
        return f"{number} follows {before}"
    return "" if value == value_of(number) else f"{number} is {str(value)[:100]}"


def rewrite_on(journal: Journal, done: threading.Event) -> None:
    """Replace all records again and again: those of one turn are alike."""
    turn = 0
    while not done.is_set():
        turn += 1
        journal.rewrite([[turn, "x" * (turn % 7 * 300)]] * (5 + turn % 3))
        time.sleep(0.001)
