"""Record a store's life, cut the power in all of its operations, and judge what is left."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.faults.support.block_account import Account
from tests.faults.support.block_disks import Recording, running
from tests.faults.support.block_life import PLAN, Life
from tests.faults.support.block_log import Entry
from tests.faults.support.block_states import WAYS, Crash, Crashes
from tests.faults.support.images import Unavailable


def live(recording: Recording, seed: int, plan: str = PLAN, **options: Any) -> None:
    """Let a store live on a file system that is recorded."""
    with running(recording) as root:
        Life(root, recording.tell, seed, **options).run(plan)


def _moments(entries: Sequence[Entry]) -> dict[str, list[tuple[int, int, int]]]:
    """Return for each operation when it began, when it was done, and when the next one began."""
    told = [(index, json.loads(entry.data)) for index, entry in enumerate(entries) if entry.is_told]
    begins = [(index, each["begin"]) for index, each in told if "begin" in each]
    dones = [index for index, each in told if "done" in each]
    found: dict[str, list[tuple[int, int, int]]] = {}
    ends = [*begins[1:], (len(entries), "")]
    for (begin, operation), done, (end, _) in zip(begins, dones, ends, strict=True):
        found.setdefault(operation, []).append((begin, done, end))
    return found


def choose(entries: Sequence[Entry], states: int, chance: random.Random) -> list[Crash]:
    """Choose moments in all operations: a third of them right after the operation was told."""
    moments = _moments(entries)
    chosen: dict[Crash, None] = {}
    for turn in range(10 * states):
        operation = list(moments)[turn % len(moments)]
        begin, done, end = chance.choice(moments[operation])
        way = chance.choice(WAYS)
        if turn // len(moments) % 3 == 0:
            crash = Crash(done + 1, chance.choice(("none", way)))
        else:
            crash = Crash(chance.randint(begin + 1, end), way)
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
