"""Power cuts at every moment of a recorded disk: what was acknowledged is there, in any state.

With ``SESSIONSTORE_TALLY``, as in ``make durability``, there are some thousands of states.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

import pytest

from sessionstore.durable import append
from tests.faults.support import block_bare
from tests.faults.support.block_attack import attack, live
from tests.faults.support.block_disks import FAST_COMMIT, KINDS, MAY_LACK, recorded
from tests.faults.support.block_life import PLAN
from tests.faults.support.images import Unavailable
from tests.faults.support.tally import tally
from tests.support.processes import needs_root, rounds

COUNTED = bool(os.environ.get("SESSIONSTORE_TALLY"))
STATES = 200 if COUNTED else 25
"""States of one recording."""
RECORDINGS = 2 if COUNTED else 1
"""Recordings of each kind of file system."""
SEED = int(os.environ.get("SESSIONSTORE_SEED", "20261128"))


def count(kind: str, tried: Mapping[str, int]) -> None:
    """Count the states of a file system, by operation."""
    for operation, states in tried.items():
        tally("block device states", promise=2, cases=states, place=kind, operation=operation)


@needs_root("it mounts file systems")
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_acknowledged_is_in_every_state_that_a_power_cut_leaves(kind: str) -> None:
    for seed in range(SEED, SEED + RECORDINGS):
        try:
            with recorded(KINDS[kind]) as recording:
                live(recording, seed)
                tried, wrong = attack(recording, STATES, seed)
        except Unavailable as reason:
            if kind not in MAY_LACK:
                pytest.skip(str(reason))
            why = MAY_LACK[kind]
            tally("block device states", promise=2, cases=0, place=kind, operation=why)
            return
        assert not wrong
        for operation, states in tried.items():
            tally("block device states", promise=2, cases=states, place=kind, operation=operation)


@needs_root("it mounts file systems")
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_what_several_threads_were_told_at_once_is_in_every_state(kind: str) -> None:
    plan = PLAN.replace("prune ", "")  # it would look at the sessions of other threads
    with recorded(KINDS[kind]) as recording:
        live(recording, SEED, plan, threads=4)
        tried, wrong = attack(recording, STATES, SEED)
    assert not wrong
    count(kind, tried)


@needs_root("it mounts file systems")
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
@pytest.mark.parametrize("unflushed", ["files", "directories", "journals"])
def test_without_a_flush_some_states_lack_what_was_acknowledged(
    kind: str, unflushed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in rounds("a state that lost something"):
        with recorded(KINDS[kind]) as recording:
            with monkeypatch.context() as patch:
                take_away(patch, unflushed)
                live(recording, seed)
            _, wrong = attack(recording, STATES, seed)
        if wrong:
            break


def take_away(patch: pytest.MonkeyPatch, what: str) -> None:
    """Make flushes do nothing: of files, of directories, or of journals."""
    if what == "journals":
        patch.setattr(append, "_flush_data", lambda fd: None)
        return
    real = os.fsync
    is_taken = stat.S_ISDIR if what == "directories" else stat.S_ISREG

    def flush(fd: int) -> None:
        if not is_taken(os.fstat(fd).st_mode):
            real(fd)

    patch.setattr(os, "fsync", flush)


@needs_root("it mounts file systems")
@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_file_system_keeps_what_a_bare_flush_was_told(kind: str) -> None:
    with recorded(KINDS[kind]) as recording:
        block_bare.append(recording, SEED)
        assert block_bare.lost(recording, STATES, SEED) == []


@needs_root("it mounts file systems")
def test_ext4_with_fast_commit_loses_what_a_bare_flush_was_told() -> None:
    # Linux 6.18: so nothing is promised there, and no other test asks for it.
    for seed in rounds("a state that lost something"):
        with recorded(FAST_COMMIT) as recording:
            block_bare.append(recording, seed)
            if block_bare.lost(recording, STATES, seed):
                break
