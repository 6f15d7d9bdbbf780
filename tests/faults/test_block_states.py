"""Power cuts at every moment of a recorded disk: what was acknowledged is there, in any state.

With ``SESSIONSTORE_TALLY``, as in ``make durability``, there are some thousands of states.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Literal

import pytest

from tests.faults.support import block_bare
from tests.faults.support.block_attack import attack, live
from tests.faults.support.block_disks import FAST_COMMIT, KINDS, MAY_LACK, recorded
from tests.faults.support.block_life import PLAN
from tests.faults.support.block_mutants import MUTANTS, one_flush_anywhere
from tests.faults.support.images import Unavailable
from tests.faults.support.tally import tally
from tests.support.processes import needs_root, rounds

COUNTED = bool(os.environ.get("SESSIONSTORE_TALLY"))
STATES = 150 if COUNTED else 20
"""States of one recording."""
RECORDINGS: tuple[Literal["auto", "two"], ...] = ("auto", "auto", "two") if COUNTED else ("auto",)
"""The flushes of each recording of a kind of file system."""
SEED = int(os.environ.get("SESSIONSTORE_SEED", "20261128"))


def count(kind: str, tried: Mapping[str, int]) -> None:
    """Count the states of a file system, by operation."""
    for operation, states in tried.items():
        tally("block device states", promise=2, cases=states, place=kind, operation=operation)


@needs_root("it mounts file systems")
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_acknowledged_is_in_every_state_that_a_power_cut_leaves(kind: str) -> None:
    for seed, flushes in enumerate(RECORDINGS, SEED):
        try:
            with recorded(KINDS[kind]) as recording:
                live(recording, seed, flushes=flushes)
                tried, wrong = attack(recording, STATES, seed)
        except Unavailable as reason:
            if kind not in MAY_LACK:
                pytest.skip(str(reason))
            why = MAY_LACK[kind]
            tally("block device states", promise=2, cases=0, place=kind, operation=why)
            return
        assert not wrong
        count(kind if flushes == "auto" else f"{kind}, flushes='two'", tried)


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
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_flush_that_is_missing_or_late_leaves_states_that_are_wrong(
    kind: str, mutant: str
) -> None:
    catch(kind, mutant, MUTANTS[mutant])


@needs_root("it mounts file systems")
@pytest.mark.parametrize("kind", ["ext4, external journal", "btrfs"])
def test_one_flush_leaves_states_that_are_wrong_where_two_are_needed(kind: str) -> None:
    catch(kind, "one flush", one_flush_anywhere)


def catch(kind: str, name: str, mutant: Callable[[pytest.MonkeyPatch], None]) -> None:
    """Break the package, and record until a state is wrong."""
    for seed in rounds("a state that is wrong"):
        with recorded(KINDS[kind]) as recording:
            with pytest.MonkeyPatch.context() as patch:
                mutant(patch)
                live(recording, seed)
            tried, wrong = attack(recording, STATES, seed)
        if wrong:
            states = sum(tried.values())
            tally(
                "block device mutants",
                promise=2,
                cases=states,
                place=kind,
                operation=name,
                caught=len(wrong),
            )
            break


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
