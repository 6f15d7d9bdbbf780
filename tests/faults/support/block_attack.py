"""Record a store's life, cut the power in all of its operations, and judge what is left."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sessionstore import SessionStore
from tests.faults.support.block_account import Account
from tests.faults.support.block_disks import Recording, running
from tests.faults.support.block_life import PLAN, Life
from tests.faults.support.block_log import Entry
from tests.faults.support.block_states import WAYS, Crash, Crashes
from tests.faults.support.images import Unavailable

_AFTER = 10
"""Entries of the log for which an operation that was told is attacked."""


def live(
    recording: Recording, seed: int, plan: str = PLAN, *, threads: int = 1, **options: Any
) -> None:
    """Let sessions of a store live on a file system that is recorded, in several threads."""
    with running(recording) as root, SessionStore(root, **options) as store:
        lives = [Life(store, recording.tell, seed + number, number) for number in range(threads)]
        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(life.run, plan) for life in lives]:
                done.result()


def _moments(entries: Sequence[Entry]) -> dict[str, list[tuple[int, int]]]:
    """Return for each operation when it began, and when it was done."""
    begun: dict[str, int] = {}
    found: dict[str, list[tuple[int, int]]] = {}
    for index, entry in enumerate(entries):
        if entry.is_told:
            told = json.loads(entry.data)
            if "begin" in told:
                begun[told["session"]] = index
            else:
                found.setdefault(told["done"], []).append((begun[told["session"]], index))
    return found


def choose(entries: Sequence[Entry], states: int, chance: random.Random) -> list[Crash]:
    """Choose moments in all operations: a third of them right after the operation was told."""
    moments = _moments(entries)
    chosen: dict[Crash, None] = {}
    for turn in range(10 * states):
        operation = list(moments)[turn % len(moments)]
        begin, done = chance.choice(moments[operation])
        way = chance.choice(WAYS)
        if turn // len(moments) % 3 == 0:
            crash = Crash(done + 1, chance.choice(("none", way)))
        else:
            crash = Crash(chance.randint(begin + 1, min(done + _AFTER, len(entries))), way)
        chosen[crash] = None
        if len(chosen) == states:
            break
    return sorted(chosen, key=lambda crash: crash.instant)


def attack(
    recording: Recording, states: int, seed: int
) -> tuple[Counter[str], dict[str, list[str]]]:
    """Judge states of a recording; return how many by operation, and what is wrong in which."""
    chance = random.Random(seed)
    crashes, account = Crashes(recording), Account()
    tried: Counter[str] = Counter()
    wrong: dict[str, list[str]] = {}
    heard = 0
    for crash in choose(crashes.entries, states, chance):
        for entry in crashes.entries[heard : crash.instant]:
            account.hear(entry)
        heard = crash.instant
        tried[account.operation] += 1
        try:
            with crashes.after(crash, chance) as root:
                found = account.judge(root)
        except Unavailable as error:  # it does not mount
            found = [str(error)]
        if found:
            wrong[f"{account.operation}, {crash} of {len(crashes.entries)}"] = found
    return tried, wrong
