"""Which store a command opens, and that it makes none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import (
    invoke,
    put,
)


def test_the_root_may_stand_before_the_command_or_after_it_or_in_the_environment(
    tmp_path: Path,
) -> None:
    put(tmp_path, "one")
    root = str(tmp_path)
    for result in (
        invoke(None, "--root", root, "ls", "-o", "ids"),
        invoke(None, "ls", "-o", "ids", "--root", root),
        invoke(None, "ls", "-o", "ids", env={"SESSIONSTORE_ROOT": root}),
    ):
        assert (result.exit_code, result.stdout) == (0, "one\n")


def test_the_nearest_root_wins(tmp_path: Path) -> None:
    put(tmp_path / "a", "in-a")
    put(tmp_path / "b", "in-b")
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    before = invoke(None, "--root", a, "ls", "-o", "ids", env={"SESSIONSTORE_ROOT": b})
    after = invoke(None, "--root", a, "ls", "-o", "ids", "--root", b)
    assert (before.stdout, after.stdout) == ("in-a\n", "in-b\n")


@pytest.mark.parametrize("args", [("ls",), ("show", "x"), ("recover",)])
def test_no_root_at_all_is_a_usage_error_that_names_both_ways(args: tuple[str, ...]) -> None:
    result = invoke(None, *args)
    assert result.exit_code == 2
    assert "--root" in result.stderr
    assert "SESSIONSTORE_ROOT" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("args", [("ls",), ("show", "x"), ("recover", "--apply")])
def test_a_store_is_never_created(tmp_path: Path, args: tuple[str, ...]) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for root in (empty, tmp_path / "missing"):
        result = invoke(root, *args)
        assert result.exit_code == 3, result.stderr
        assert "there is no store here" in result.stderr
    assert list(tmp_path.rglob("*")) == [empty]


def test_a_root_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    result = invoke(tmp_path / "file", "ls")
    assert result.exit_code == 1
    assert "is a file" in result.stderr or "Not a directory" in result.stderr
