"""``sessionstore delete``: what is named goes, once somebody is sure, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.cli import HOSTILE, acting, invoke, on_terminal, put, state
from tests.support.processes import Child, left_active, new_session, session_path, state_path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("s1", "s2", "other"):
        new_session(tmp_path, name)
    return tmp_path


def there(root: Path) -> list[str]:
    """Return what is there, without the package's help."""
    return sorted(path.name for path in (root / "sessions").iterdir())


@pytest.mark.parametrize(
    ("form", "out"),
    [
        ("table", "s1  deleted\nother  deleted\n"),
        ("ids", "s1\nother\n"),
    ],
)
def test_what_is_named_is_deleted(root: Path, form: str, out: str) -> None:
    result = invoke(root, "delete", "s1", "oth", "s1", "--yes", "-o", form)
    assert (result.exit_code, result.stdout, result.stderr) == (0, out, "")
    assert there(root) == ["s2"]


def test_it_is_told_as_json(root: Path) -> None:
    told = json.loads(invoke(root, "delete", "s1", "-y", "-o", "json").stdout)
    assert told == {"schema": "sessionstore.deleted/1", "deleted": [{"session_id": "s1"}]}
    assert (
        json.loads(invoke(root, "delete", "s2", "-y", "-o", "jsonl").stdout)["session_id"] == "s2"
    )


def test_ids_come_from_a_pipe(root: Path) -> None:
    assert invoke(root, "delete", "-", stdin="s1\n").exit_code == 2
    assert there(root) == ["other", "s1", "s2"]
    assert invoke(root, "delete", "-", "--yes", stdin="s1\n\ns2\n").exit_code == 0
    assert there(root) == ["other"]


def test_where_nobody_can_be_asked_nothing_goes_without_a_yes(root: Path) -> None:
    result = invoke(root, "delete", "s1", stdin="y\n")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--yes" in result.stderr
    assert there(root) == ["other", "s1", "s2"]


@pytest.mark.parametrize(("typed", "gone"), [(b"y\n", True), (b"\n", False), (b"n\n", False)])
def test_a_person_is_asked(root: Path, typed: bytes, gone: bool) -> None:
    put(root, "hostile", state("hostile", goal_id=HOSTILE))
    args = ("--root", str(root), "delete", "s1", "hostile")
    shown = on_terminal(*args, both=True, typed=typed).replace("\r\n", "\n")
    assert "s1: paused, revision " in shown
    assert "delete 2 sessions permanently? [y/N]" in shown
    assert ("nothing was deleted" in shown) is not gone
    assert there(root) == (["other", "s2"] if gone else ["hostile", "other", "s1", "s2"])
    assert not acting(shown)


def test_the_ends_tell_scripts_apart(root: Path) -> None:
    unknown = invoke(root, "delete", "s1", "none", "--yes")
    assert unknown.exit_code == 3
    assert there(root) == ["other", "s1", "s2"], "all are looked up first"
    left_active(root, "unknown", owner=None, pid=None)
    refused = invoke(root, "delete", "unknown", "--yes")
    assert refused.exit_code == 4
    assert "delete it with --force" in refused.stderr
    state_path(root, "other").unlink()
    state_path(root, "other").write_text("{")
    damaged = invoke(root, "delete", "other", "--yes")
    assert damaged.exit_code == 5
    assert "--force" in damaged.stderr
    some = invoke(root, "delete", "other", "s1", "unknown", "--yes")
    assert (some.exit_code, some.stdout) == (6, "s1  deleted\n")
    assert invoke(root, "delete", "other", "unknown", "--yes", "--force").exit_code == 0
    assert there(root) == ["s2"]


def test_a_live_process_keeps_its_session_also_by_force(root: Path) -> None:
    with Child("act", root) as owner:
        owner.hear()
        owner.ask("create", session_id="live")
        result = invoke(root, "delete", "live", "--yes", "--force")
        assert result.exit_code == 4
        assert "sessionstore cancel live" in result.stderr
        assert session_path(root, "live").is_dir()
        assert owner.ask("save", a=1)
