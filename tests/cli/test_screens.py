"""What every table looks like on three terminals, in a store of three hundred sessions."""

from __future__ import annotations

import re
import sys
from collections.abc import Container, Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from sessionstore import SessionStore
from sessionstore.cli.app import app
from sessionstore.cli.output.cells import width_of
from tests.support.cli import data, invoke, on_terminal
from tools.docs.crowd import LONG_ID, RUNNING, SWEPT, TOTAL, UNSETTLED, crowd

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="Linux only: terminals, and workers that die by SIGKILL"
)

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


@pytest.fixture(scope="module")
def kinds(fleet: Path) -> dict[str, str]:
    """A session of each interesting kind, by a name for it."""
    with SessionStore(fleet) as store:
        found = store.find(limit=None)
    return {
        "interrupted": max(found, key=lambda item: item.recoveries).session_id,
        "unsettled": next(item.session_id for item in found if item.unsettled_steps),
        "stale": next(item.session_id for item in found if item.is_stale),
        "damaged": next(item.session_id for item in found if item.damaged),
        "long": LONG_ID,
    }


class Terminal(StringIO):
    """What stdout is on a terminal, for a command that runs in this process."""

    def isatty(self) -> bool:
        return True


def screen(root: Path, *args: str, columns: int) -> list[str]:
    """Return the lines that a command writes to stdout on a terminal."""
    terminal = Terminal()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(terminal):
        patch.setenv("COLUMNS", str(columns))
        app.execute(["--root", str(root), "--color", "never", *args])
    return terminal.getvalue().splitlines()


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
        for command in ("history", "explain", "show", "tail", "label")
        for kind in ("interrupted", "unsettled", "long")
    ),
    "explain {damaged}",
    "explain {stale}",
    "show {damaged}",
    "steps {unsettled}",
    "journal {unsettled}",
    "journal {unsettled} steps",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_table_is_wider_than_the_terminal_and_no_word_is_broken(
    fleet: Path, kinds: dict[str, str], command: str
) -> None:
    words = command.format(**kinds).split()
    told = invoke(fleet, *words).stdout
    whole = {word.rstrip(":;,") for word in told.replace("/", " ").split()} | OTHER_WORDS
    for columns in WIDTHS:
        lines = screen(fleet, *words, columns=columns)
        assert lines
        assert [line for line in lines if width_of(line) > columns] == []
        # A command that goes on in the next line says so as a shell wants it.
        said = [line.removesuffix("\\") for line in lines]
        shown = {part for line in said for word in line.split() for part in word.split("/")}
        broken = {word for word in shown if is_broken(word, whole)}
        too_wide = [word for word in told.split() if width_of(word) > columns]
        assert {word for word in broken if not any(word in wide for wide in too_wide)} == set()


def is_broken(word: str, whole: Container[str]) -> bool:
    """Return whether a word is neither whole nor visibly cut; times and sizes change meanwhile."""
    is_of_its_moment = re.fullmatch(
        r"[\d.,:;%T+-]*|[hsd]|min|just|now|ago|in|[KMG]?i?B|[mµ]s", word
    )
    return not (word.rstrip(":;,") in whole or "…" in word or is_of_its_moment)


def test_the_terminal_of_these_tests_is_as_a_real_one(fleet: Path) -> None:
    env = {"COLUMNS": "80", "NO_COLOR": "1"}
    real = on_terminal("-q", "--root", str(fleet), "ls", "--times", "iso", both=True, env=env)
    shown = real.replace("\r\n", "\n").splitlines()
    assert shown == screen(fleet, "ls", "--times", "iso", columns=80)


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_listing_spends_one_line_on_each_session(fleet: Path, columns: int) -> None:
    lines = screen(fleet, "ls", "-n", "0", columns=columns)
    assert len(lines) == 1 + TOTAL
    listed = data(fleet, "ls")["sessions"]
    assert [line.split()[0] for line in lines[1:]] == [item["session_id"] for item in listed]


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_sweep_spends_one_line_on_each_session(fleet: Path, columns: int) -> None:
    report = data(fleet, "recover")
    outcomes = ("swept", "failed", "unknown", "alive", "damaged")
    judged = [item["session_id"] for outcome in outcomes for item in report[outcome]]
    assert len(report["alive"]) == RUNNING
    lines = screen(fleet, "recover", columns=columns)
    assert [line.split()[0] for line in lines] == ["ID", *judged]


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_check_up_names_each_file_on_one_line_and_damage_first(fleet: Path, columns: int) -> None:
    findings = data(fleet, "fsck")["findings"]
    lines = screen(fleet, "fsck", columns=columns)
    marked = [line.split() for line in lines if line.startswith(("  damage", "  found"))]
    assert sorted(verdict for verdict, *_ in marked) == [verdict for verdict, *_ in marked]
    damaged = {Path(item["file"]).name for item in findings if item["is_damage"]}
    assert {
        Path(file.rstrip(":")).name for verdict, file, *_ in marked if verdict == "damage"
    } == damaged
    assert len(marked) == len(findings) > len(damaged) > 1


@pytest.mark.parametrize("columns", WIDTHS)
def test_the_remark_after_a_sweep_is_whole_on_every_terminal(fleet: Path, columns: int) -> None:
    _, *lines = screen(fleet, "ls", "-n", "0", "--interrupted", columns=columns)
    assert len(lines) == SWEPT + UNSETTLED
    remark = re.compile(r"  (pid \d+ gone|died [23] times|step `pay` unsettled)$")
    assert [line for line in lines if not remark.search(line)] == []
