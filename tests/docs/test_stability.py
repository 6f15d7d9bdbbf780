"""What docs/stability.md promises is there, and stays until somebody takes it back on purpose."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import sessionstore
from sessionstore.model.state import SCHEMA_VERSION
from sessionstore.storage.files.store_marker import FORMAT
from tests.support.processes import CHECKOUT
from tools.docs import surface

PAGE = (CHECKOUT / "docs" / "stability.md").read_text(encoding="utf-8")
LISTED = surface.promised()


@pytest.fixture(scope="module")
def now() -> set[str]:
    """What this version has."""
    return surface.surface()


def test_nothing_that_was_promised_has_gone(now: set[str]) -> None:
    assert sorted(LISTED - now) == [], "docs/stability.md says how something is taken back"


def test_what_is_new_is_on_the_list(now: set[str]) -> None:
    assert sorted(now - LISTED) == [], "run: python -m tools.docs.surface"


def test_the_list_is_sorted_so_that_a_change_of_it_can_be_read() -> None:
    lines = surface.FILE.read_text(encoding="utf-8").splitlines()
    assert lines == sorted(set(lines))


@pytest.mark.parametrize(
    "line",
    [
        "python SessionStore",
        "python SessionStore.create(goal_id=)",
        "python SessionStore.resume(*, again=)",
        "python AsyncSessionStore.find(*, labels=)",
        "python RevisionConflict.expected",
        "python RevisionConflict is RuntimeError",
        "python SessionStatus.PAUSED=paused",
        "python SessionSummary.liveness",
        "testing BackendContract",
        "command explain ID...",
        "option ls --resumable",
        "option ls --output jsonl",
        "schema sessionstore.sessions/1",
        "json sessionstore.sessions/1 sessions.status",
        "json sessionstore.diff/1 differences.kind",
        "json sessionstore.retries/1 retried.revision",
        "variable SESSIONSTORE_ROOT",
        "exit 4 claimed",
        "event session_swept",
        "attribute reason",
        "field progress.resume_from",
        "field recovery.owner.boot_id",
        "format 1",
    ],
)
def test_each_kind_of_promise_is_looked_up(now: set[str], line: str) -> None:
    assert line in now


def test_the_page_explains_each_kind_of_line() -> None:
    table = PAGE.partition("| In the list |")[2].partition("\n\n")[0]
    explained = re.findall(r"`(\w+)`", "".join(row.split("|")[1] for row in table.splitlines()[2:]))
    assert sorted(explained) == sorted({line.partition(" ")[0] for line in LISTED})


def test_the_page_has_the_numbers_of_this_version() -> None:
    assert f"The number `format` in `sessionstore.json` is {FORMAT}." in PAGE
    assert f'An older one becomes `"{SCHEMA_VERSION}"`' in PAGE
    minor = sessionstore.__version__.rpartition(".")[0]
    assert PAGE.startswith(f"# What {minor} promises to keep\n")


def test_nothing_is_deprecated_as_the_page_says() -> None:
    assert f"Nothing is deprecated in {sessionstore.__version__.rpartition('.')[0]}." in PAGE
    for path in (CHECKOUT / "sessionstore").rglob("*.py"):
        warned = re.findall(r"warnings\.warn\(.*", path.read_text(encoding="utf-8"))
        assert [one for one in warned if "ResourceWarning" not in one] == [], path


def test_the_tool_adds_what_is_new_and_takes_out_nothing(
    now: set[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "surface.txt"
    monkeypatch.setattr(surface, "surface", now.copy)
    kept = sorted(now)[1:]
    file.write_text("".join(f"{line}\n" for line in [*kept, "option ls --gone"]))
    monkeypatch.setattr(surface, "FILE", file)
    assert surface.main() == 1
    assert capsys.readouterr().err.endswith("promises what is not there: option ls --gone\n")
    assert surface.promised() == now | {"option ls --gone"}
    file.write_text("".join(f"{line}\n" for line in kept))
    assert surface.main() == 0
    assert surface.promised() == now
