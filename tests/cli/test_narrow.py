"""On 80 columns: no line is wider, no heading is broken, and what matters most stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessionstore import SessionStore
from tests.cli.test_process import on_terminal
from tests.support.cli import invoke, leave_behind
from tests.support.processes import session_path, state_path

IDS = [f"session_20260125_170903_0000000{number}" for number in range(3)]
"""As long as ids that are made."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a sound session, one with a damaged checkpoint, and one that is torn."""
    root = tmp_path_factory.mktemp("narrow")
    store = SessionStore(root)
    for session_id in IDS:
        with store.create("triage the mail", session_id=session_id) as session:
            for node in ("plan", "fetch"):
                session.checkpoint("node_complete", node=node)
            session.fail("by itself")
    kept = session_path(root, IDS[1]) / "checkpoints"
    for file, content in ((min(kept.iterdir()), "{"), (state_path(root, IDS[2]), "{")):
        file.unlink()
        file.write_text(content)
    (root / "locks" / "stray.lock").touch()
    leave_behind(root, "session_20260125_170903_stale001")
    return root


def shown(root: Path, *args: str, columns: int = 80) -> list[str]:
    env = {"COLUMNS": str(columns), "NO_COLOR": "1"}
    told = on_terminal("--root", str(root), *args, both=True, env=env)
    return told.replace("\r\n", "\n").splitlines()


@pytest.mark.parametrize(
    "args",
    [
        ("show", IDS[0]), ("show", IDS[1]), ("history", IDS[0]), ("history", IDS[1]), ("fsck",),
        ("recover",), ("ls",), ("explain", IDS[1]), ("stats",), ("doctor",),
    ],
    ids=" ".join,
)  # fmt: skip
def test_no_table_is_wider_than_the_terminal(root: Path, args: tuple[str, ...]) -> None:
    lines = [line for line in shown(root, *args) if "too narrow for" not in line]
    assert max(map(len, lines)) <= 80, lines


def test_a_timeline_keeps_times_and_revisions_which_name_the_checkpoints(root: Path) -> None:
    heading = next(line for line in shown(root, "history", IDS[0]) if "WHAT" in line)
    assert heading.split() == ["TIME", "REVISION", "WHAT", "NODE", "STEPS", "SIZE", "REMARK"]
    assert invoke(root, "show", IDS[0], "--at", "r2").exit_code == 0
    wide = next(line for line in shown(root, "history", IDS[0], columns=140) if "WHAT" in line)
    assert "CHECKPOINT" in wide


def test_checkpoints_of_a_session_keep_their_ids_whole(root: Path) -> None:
    lines = shown(root, "show", IDS[1])
    kept = {path.stem for path in (session_path(root, IDS[1]) / "checkpoints").iterdir()}
    assert kept <= {line.split(" ")[0] for line in lines}
    assert any(line.startswith("too narrow for") for line in lines)


def test_a_check_up_says_what_is_damaged_and_where_it_is_from_the_root(root: Path) -> None:
    damaged = min((session_path(root, IDS[1]) / "checkpoints").iterdir())
    wide = "\n".join(shown(root, "fsck", columns=400))
    assert f"sessions/{IDS[1]}/checkpoints/{damaged.name}" in wide
    assert str(root) not in wide
    narrow = shown(root, "fsck")
    heading = narrow[0].split()
    assert heading == ["ID", "RESULT", "DETAIL", "REPAIR"]
    start = narrow[0].index("DETAIL")
    end = narrow[0].index("REPAIR")
    folded = "".join(line[start:end].strip() for line in narrow)
    assert damaged.stem in folded
