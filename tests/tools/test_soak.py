"""A short soak loses nothing, and the comparison at its end would notice if it did."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.support.tally import tally
from tests.soak.run import main
from tests.soak.verdict import Life, Verdict, judge
from tests.support.processes import needs_linux

KILLS = 6
LONGEST = 80.0
"""Seconds of the longest soak, on a machine that was too busy for enough in a shorter one."""
TOO_FEW_KILLS = 3
"""What a soak exits with that lost nothing, but could not kill as many as it was asked for."""


@pytest.fixture(scope="module")
def soaked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a soak of a few seconds leaves behind, and its figures."""
    seconds, lacking = 5.0, ""
    while seconds <= LONGEST:
        home = tmp_path_factory.mktemp("soak")
        arguments = ["--seconds", str(seconds), "--seed", "3", "--sessions", "4"]
        arguments += ["--kills", str(KILLS), "--keep", str(home / "kept")]
        assert main([*arguments, "--json", str(home / "figures.json")]) in (0, TOO_FEW_KILLS)
        if not (lacking := lacks(home)):
            return home
        seconds *= 2
    pytest.fail(f"in {LONGEST} seconds {lacking}")


def lacks(home: Path) -> str:
    """Return what a soak was too short for, or nothing."""
    figures = json.loads((home / "figures.json").read_bytes())
    least = {"kills": KILLS, "saves": 51, "holds": 11, "sweeps": 1, "reads": 1}
    for name, number in least.items():
        if figures[name] < number:
            return f"only {figures[name]} {name}"
    return "" if acks(home / "kept", checkpoint=True) else "no session kept a checkpoint"


@needs_linux("kills, stops and witnesses by POSIX locks")
def test_a_short_soak_loses_nothing(soaked: Path) -> None:
    figures = json.loads((soaked / "figures.json").read_bytes())
    assert figures["losses"] == figures["double owners"] == figures["other broken promises"] == 0
    assert figures["kills"] == KILLS
    tally("races", promise=5, cases=figures["holds"])
    tally("races", promise=1, cases=figures["kills"])


# --- the comparison notices ----------------------------------------------------------------------

Line = dict[str, Any]


@pytest.fixture
def kept(soaked: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(soaked / "kept", tmp_path / "kept"))


def judged(kept: Path) -> Verdict:
    # A pid that is gone was killed at some time before; who was swept is checked elsewhere.
    lines = [line for path in (kept / "journal").iterdir() for line in read(path)]
    return judge(kept / "journal", kept / "store", {line["p"]: 0.0 for line in lines})


def read(path: Path) -> list[Line]:
    return [json.loads(text) for text in path.read_text().splitlines()]


def rewrite(path: Path, change: Callable[[list[Line]], list[Line]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in change(read(path))))


def acks(kept: Path, *, checkpoint: bool = False) -> list[tuple[float, Path, Line]]:
    """Return when which journal acknowledged what, for sessions that are still there."""
    there = {
        json.loads(path.read_bytes())["incarnation"]
        for path in kept.glob("store/sessions/*/state.json")
    }
    return [
        (line["t"], path, line)
        for path in (kept / "journal").iterdir()
        for line in read(path)
        if line["e"] == "ack" and line["i"] in there and (line["k"] or not checkpoint)
    ]


def last_ack(kept: Path, *, checkpoint: bool = False) -> tuple[Path, Line]:
    """Return the newest acknowledgement for a session that is still there, and its journal."""
    _, path, line = max(acks(kept, checkpoint=checkpoint), key=lambda found: found[0])
    return path, line


def test_what_a_create_stored_before_its_process_was_killed_is_no_loss() -> None:
    life = Life("s", "i", cut_creates={"stored"})
    assert life.may_hold(1) == {"stored"}
    life.acks.append({"r": 1, "d": "acknowledged"})
    assert life.may_hold(1) == life.may_hold(2) == {"acknowledged"}


@needs_linux("kills, stops and witnesses by POSIX locks")
def test_a_state_that_is_older_than_what_was_acknowledged_is_a_loss(kept: Path) -> None:
    assert judged(kept).is_clean
    _, ack = last_ack(kept)
    path = kept / "store" / "sessions" / ack["s"] / "state.json"
    state = json.loads(path.read_bytes())
    newest = state["revision"]
    path.unlink()  # it may share its bytes with a checkpoint
    path.write_text(json.dumps({**state, "revision": ack["r"] - 1}))
    assert any(f"{ack['r']} was acknowledged" in text for text in judged(kept).losses), newest


@needs_linux("kills, stops and witnesses by POSIX locks")
def test_other_data_than_what_was_acknowledged_is_a_loss(kept: Path) -> None:
    _, ack = last_ack(kept)
    path = kept / "store" / "sessions" / ack["s"] / "state.json"
    state = json.loads(path.read_bytes())
    state["data_buffer"]["filler"] += "x"
    path.unlink()
    path.write_text(json.dumps(state))
    assert any("is no whole" in text for text in judged(kept).losses)


@needs_linux("kills, stops and witnesses by POSIX locks")
def test_a_checkpoint_that_is_gone_is_a_loss(kept: Path) -> None:
    _, ack = last_ack(kept, checkpoint=True)
    directory = kept / "store" / "sessions" / ack["s"] / "checkpoints"
    (directory / f"{ack['k']}.json").unlink()
    assert any(f"checkpoint {ack['k']} is lost" in text for text in judged(kept).losses)


@needs_linux("kills, stops and witnesses by POSIX locks")
def test_a_session_that_nobody_deleted_and_is_gone_is_a_loss(kept: Path) -> None:
    for path in (kept / "journal").iterdir():
        rewrite(path, lambda lines: [line for line in lines if "delete" not in line["e"]])
    _, ack = last_ack(kept)
    shutil.rmtree(kept / "store" / "sessions" / ack["s"])
    assert any("nobody deleted it" in text for text in judged(kept).losses)


@needs_linux("kills, stops and witnesses by POSIX locks")
def test_a_revision_that_two_were_told_is_a_loss(kept: Path) -> None:
    path, ack = last_ack(kept)
    rewrite(path, lambda lines: [*lines, {**ack, "p": 1}])
    assert any("one of the two is lost" in text for text in judged(kept).losses)


@needs_linux("kills, stops and witnesses by POSIX locks")
def test_a_revision_of_which_nobody_knows_is_noticed(kept: Path) -> None:
    path, ack = last_ack(kept)
    others = [each for each in (kept / "journal").iterdir() if each != path]
    for each in others:  # nobody who died can have written it
        rewrite(each, lambda lines: [*lines, {"e": "sweep-done", "p": 1, "t": 0.0}])
    rewrite(
        path,
        lambda lines: [
            line for line in lines if not (line.get("i") == ack["i"] and line.get("r", 0) > 1)
        ],
    )
    assert any("were never acknowledged" in text for text in judged(kept).broken)


@needs_linux("kills, stops and witnesses by POSIX locks")
def test_two_who_hold_a_session_at_once_are_noticed(kept: Path) -> None:
    path, ack = last_ack(kept)
    took = [line for line in read(path) if line["e"] == "took" and line["s"] == ack["s"]][-1]
    intruder = [
        {**took, "p": 1, "e": "take", "how": "claim"},
        {**took, "p": 1, "how": "claim"},
        {**took, "p": 1, "e": "leave", "t": took["t"] + 1},
    ]
    (kept / "journal" / "999999.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in intruder)
    )
    assert judged(kept).double_owners


@needs_linux("kills, stops and witnesses by POSIX locks")
def test_a_reader_that_goes_back_is_noticed(kept: Path) -> None:
    path, ack = last_ack(kept)
    late = {"e": "read", "p": 1, "t": ack["t"] + 2, "began": ack["t"] + 1}
    late |= {"s": ack["s"], "i": ack["i"], "r": ack["r"] - 1}
    rewrite(path, lambda lines: [*lines, late])
    assert any(f"found revision {ack['r'] - 1} after" in text for text in judged(kept).losses)


@needs_linux("kills, stops and witnesses by POSIX locks")
def test_a_sweep_of_the_living_is_noticed(kept: Path) -> None:
    path, ack = last_ack(kept)
    swept = {"e": "swept", "p": 1, "t": ack["t"], "s": ack["s"], "pid": 2, "why": "on purpose"}
    rewrite(path, lambda lines: [*lines, swept])
    assert any("was not killed before" in text for text in judged(kept).broken)
