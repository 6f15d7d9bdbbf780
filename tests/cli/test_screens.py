"""What every table looks like on three terminals, in a store of three hundred sessions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionstore import SessionStore
from sessionstore.cli.output.cells import width_of
from tests.support.cli import invoke, on_terminal
from tests.support.processes import needs_linux
from tools.docs.crowd import LONG_ID, TOTAL, crowd

pytestmark = needs_linux("workers that die, and the modes of files")

WIDTHS = (80, 120, 140)
OTHER_WORDS = {
    "interrupted", "stale", "unknown", "failed", "runs", "gone", "not", "JSON", "the", "store",
    "its", "directory", "what", "to", "do",
}  # fmt: skip
"""What only a terminal shows: short forms, headings of groups."""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The store of a fleet after a bad night, while its last worker runs."""
    root = tmp_path_factory.mktemp("fleet") / "store"
    with crowd(root):
        yield root


def screen(root: Path, *args: str, columns: int) -> list[str]:
    env = {"COLUMNS": str(columns), "NO_COLOR": "1"}
    shown = on_terminal("-q", "--root", str(root), *args, both=True, env=env)
    # The screen is cleared of what a progress bar drew.
    return [line.rpartition("\r")[2] for line in shown.replace("\r\n", "\n").splitlines()]


def chosen(root: Path) -> dict[str, str]:
    """Return a session of each interesting kind, by a name for it."""
    with SessionStore(root) as store:
        found = store.find(limit=None)
        interrupted = max(
            (item for item in found if item.is_interrupted), key=lambda item: item.recoveries
        )
        return {
            "interrupted": interrupted.session_id,
            "unsettled": next(item.session_id for item in found if item.unsettled_steps),
            "stale": next(item.session_id for item in found if item.is_stale),
            "damaged": next(item.session_id for item in found if item.damaged),
            "long": LONG_ID,
        }


COMMANDS = (
    "ls",
    "ls -n 0",
    "ls -n 0 --fields id,status,goal,agent,labels,node,steps,owner,error,remark",
    "ls -n 0 --fields status,goal,id",
    "ls -n 0 --times iso --fields id,started,updated,ended,liveness",
    "recover",
    "fsck",
    "prune --older-than 7d",
    "prune --keep-checkpoints 1",
    "stats",
    "watch --timeout 0.5",
    "doctor",
    *(
        f"{command} {{{kind}}}"
        for command in ("history", "explain", "show", "tail", "label", "steps", "journal")
        for kind in ("interrupted", "unsettled", "long")
    ),
    "explain {damaged}",
    "explain {stale}",
    "show {damaged}",
)


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("command", COMMANDS)
def test_no_table_is_wider_than_the_terminal_and_no_word_is_broken(
    fleet: Path, command: str, columns: int
) -> None:
    words = command.format(**chosen(fleet)).split()
    lines = screen(fleet, *words, columns=columns)
    assert lines
    too_wide = [line for line in lines if width_of(line) > columns]
    assert not too_wide
    told = invoke(fleet, *words)
    whole = set(f"{told.stdout} {told.stderr}".split()) | OTHER_WORDS
    names = {part for word in whole for part in (word.rpartition("/")[2], word)}
    broken = {
        word
        for word in " ".join(lines).split()
        if not word.endswith("…") and not _is_of_its_moment(word) and not _is_in(word, names)
    }
    assert not broken


def _is_of_its_moment(word: str) -> bool:
    """Return whether a word is a number or a time, which is another a second later."""
    return re.fullmatch(r"[\d.,:]+|[hsd]|min|just|now|ago|in|KiB|B|ms|µs", word) is not None


def _is_in(word: str, whole: set[str]) -> bool:
    return word in whole or word.rstrip(":;,") in {one.rstrip(":;,") for one in whole}


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_listing_spends_one_line_on_each_session(fleet: Path, columns: int) -> None:
    lines = screen(fleet, "ls", "-n", "0", columns=columns)
    assert len(lines) == 1 + TOTAL
    listed = json.loads(invoke(fleet, "ls", "-o", "json").stdout)["sessions"]
    assert [line.split()[0] for line in lines[1:]] == [item["session_id"] for item in listed]


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_sweep_spends_one_line_on_each_session(fleet: Path, columns: int) -> None:
    report = json.loads(invoke(fleet, "recover", "-o", "json").stdout)
    judged = [
        item["session_id"]
        for outcome in ("swept", "failed", "unknown", "alive", "damaged")
        for item in report[outcome]
    ]
    lines = screen(fleet, "recover", columns=columns)
    at = next(number for number, line in enumerate(lines) if line.startswith("ID "))
    assert [line.split()[0] for line in lines[at + 1 : at + 1 + len(judged)]] == judged
    assert len(lines) <= at + 1 + len(judged) + 1, "the counts are the only other line"


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_check_up_names_each_file_on_one_line_and_damage_first(fleet: Path, columns: int) -> None:
    findings = json.loads(invoke(fleet, "fsck", "-o", "json").stdout)["findings"]
    lines = screen(fleet, "fsck", columns=columns)
    shown = "\n".join(lines)
    for item in findings:
        name = Path(item["file"]).name
        assert name in shown or "its directory" in shown
    verdicts = [line.split()[0] for line in lines if line.startswith(("  damage", "  found"))]
    assert verdicts == sorted(verdicts)
    assert verdicts.count("damage") == sum(item["is_damage"] for item in findings) > 3
    assert len(verdicts) == len(findings)


@pytest.mark.parametrize("columns", WIDTHS)
def test_the_remark_of_a_sweep_stands_whole_on_every_terminal(fleet: Path, columns: int) -> None:
    lines = screen(fleet, "ls", "-n", "0", "--interrupted", columns=columns)
    assert all(
        re.search(r"  (pid \d+ gone|died \d times)(; |$)|unsettled", line) for line in lines[1:]
    )
    assert any(line.endswith("died 3 times") for line in lines)
