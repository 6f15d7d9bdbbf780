"""Every state of a journal that a power cut may leave: any sectors of what was not flushed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.faults.support import journal_crashes
from tests.faults.support.crash_model import File
from tests.faults.support.crash_record import Violation, message, record
from tests.faults.support.journal_crashes import LIFE, PRUNED_LIFE, Enumeration
from tests.faults.support.tally import tally
from tests.support.processes import needs_linux

linux = needs_linux("strace records the system calls")
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace records the calls")


def crash(tmp_path: Path, durability: str, mutant: str, steps: str = LIFE) -> Enumeration:
    root = tmp_path / "store"
    module = journal_crashes.__name__
    calls = record(root, tmp_path / "trace", durability, mutant=mutant, steps=steps, module=module)
    assert sum(1 for call in calls if message(call)) == 2 * len(steps.split())
    power = durability == "power"
    return journal_crashes.enumerate_crashes(calls, root, power=power, real=root)


@linux
@needs_strace
def test_what_was_appended_is_there_whole_and_in_order_whatever_a_power_cut_leaves(
    tmp_path: Path,
) -> None:
    tried = crash(tmp_path, "power", "none")
    assert tried.crashes >= 100
    assert tried.torn >= 10, "no append was torn"
    tally("journals: crash states", promise=2, cases=tried.crashes)


@linux
@needs_strace
def test_in_process_mode_a_checkpoint_keeps_what_was_appended_before_it(tmp_path: Path) -> None:
    tried = crash(tmp_path, "process", "none")
    assert tried.crashes >= 200  # less is flushed, so more may be left
    tally("journals: crash states", promise=2, cases=tried.crashes)


@linux
@needs_strace
def test_whatever_a_power_cut_leaves_of_a_prune_each_checkpoint_has_its_records(
    tmp_path: Path,
) -> None:
    tried = crash(tmp_path, "power", "none", PRUNED_LIFE)
    assert tried.crashes >= 50
    tally("journals: crash states", promise=2, cases=tried.crashes)


@linux
@needs_strace
@pytest.mark.parametrize(
    ("durability", "mutant"),
    [
        ("power", "journal not flushed"),
        ("power", "journal names not flushed"),
        ("process", "journal not flushed"),
        ("process", "journal names not flushed"),
    ],
)
def test_a_journal_that_leaves_one_thing_out_is_caught(
    tmp_path: Path, durability: str, mutant: str
) -> None:
    steps = "create append checkpoint two two append checkpoint"
    with pytest.raises(Violation):
        crash(tmp_path, durability, mutant, steps)


def test_what_was_written_in_place_survives_sector_by_sector() -> None:
    file = File(b"a" * 1000, b"a" * 1000, in_place=True)
    file.write(1000, b"b" * 100)
    old, new = b"a" * 1000, b"a" * 1000 + b"b" * 100
    zeros = b"a" * 1000 + bytes(24) + b"b" * 76
    lost = b"a" * 1000 + b"b" * 24 + bytes(76)
    assert set(file.options()) == {old, new, zeros, lost, b"a" * 1000 + bytes(100)}
    file.flush()
    assert file.options() == [new]
