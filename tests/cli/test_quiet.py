"""``--quiet``: a mail of cron means that something is wrong."""

from __future__ import annotations

import time
from itertools import count
from pathlib import Path

import pytest

from sessionstore.storage.files.index import rebuild
from tests.cli.test_process import on_terminal
from tests.support.cli import GONE, invoke, put, state
from tests.support.processes import new_session


@pytest.mark.parametrize(
    "args",
    [
        "recover --apply -o ids",
        "prune --older-than 30d --apply -o ids",
        "fsck -o ids",
        "export --all -O {new}",
        "ls --status failed",
        "diff s1 r2 r2",
        "cancel s1",
    ],
)
def test_what_is_fine_says_nothing(tmp_path: Path, args: str) -> None:
    new_session(tmp_path)
    words = args.format(new=tmp_path / "new.tar").split()
    told = invoke(tmp_path, "-q", *words)
    assert told.stderr == ""
    invoke(tmp_path, "export", "--all", "-O", str(tmp_path / "again.tar"))
    after = invoke(tmp_path, *(word.replace("new.tar", "newer.tar") for word in words), "--quiet")
    assert after.stderr == ""
    loud = invoke(tmp_path, *(word.replace("new.tar", "newest.tar") for word in words))
    assert loud.stderr != "", "the next command speaks again"
    assert loud.exit_code == told.exit_code == after.exit_code


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ("recover --apply -o ids", 5, "1 damaged"),
        ("prune --older-than 30d --apply -o ids", 5, "damaged"),
        ("fsck -o ids", 5, "1 damaged"),
        ("export --all -O {new}", 5, "torn is damaged"),
        ("show torn", 5, "damage was found"),
        ("show none", 3, "none is not in"),
        ("show", 2, "Usage"),
        ("ls --status failed -o ids", 0, "1 damaged session could not be judged"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, args: str, code: int, said: str) -> None:
    put(tmp_path, "torn", "{")
    told = invoke(tmp_path, "-q", *args.format(new=tmp_path / "new.tar").split())
    assert told.exit_code == code
    assert said in told.stderr


def few_sessions_on_a_slow_machine(root: Path, patch: pytest.MonkeyPatch) -> None:
    """Make three sessions, and let ten seconds pass from one look at the clock to the next."""
    for number in range(3):
        new_session(root, f"s{number}")
    ticks = count(step=10.0)
    patch.setattr(time, "monotonic", lambda: next(ticks))


def test_a_first_listing_of_few_sessions_says_nothing_of_the_index_however_long_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    few_sessions_on_a_slow_machine(tmp_path, monkeypatch)
    with caplog.at_level("DEBUG", "sessionstore"):
        assert invoke(tmp_path, "ls").stderr == "3 sessions\n"
    assert "compared 3 sessions" in caplog.text, "a program that logs details gets them"


def test_a_first_listing_of_many_sessions_says_why_it_took_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "MANY", 3)
    few_sessions_on_a_slow_machine(tmp_path, monkeypatch)
    told = invoke(tmp_path, "ls").stderr
    assert "3 sessions compared so far" in told
    assert "compared 3 sessions, 3 changed, 0 gone, in " in told


def test_no_bar_is_shown_either(tmp_path: Path) -> None:
    for number in range(60):
        put(tmp_path, f"s{number}", state(f"s{number}", status="active", pid=GONE))
    assert on_terminal("-q", "--root", str(tmp_path), "recover", "-o", "json") == ""
