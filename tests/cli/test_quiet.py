"""``--quiet``: a mail of cron means that something is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

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


def test_no_bar_is_shown_either(tmp_path: Path) -> None:
    for number in range(60):
        put(tmp_path, f"s{number}", state(f"s{number}", status="active", pid=GONE))
    assert on_terminal("-q", "--root", str(tmp_path), "recover", "-o", "json") == ""
