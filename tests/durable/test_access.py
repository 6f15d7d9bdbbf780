"""What is made in a directory gets the mode and the owner that the directory asks for."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionstore.durable import making, replace
from sessionstore.durable.access import keeps_modes
from sessionstore.durable.directory import Directory
from tests.support.processes import needs_linux, needs_root


@pytest.fixture(params=[0o000, 0o022, 0o077], autouse=True)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def fill(place: Path, *, in_store: bool = True) -> set[str]:
    """Make files and directories in every way; return their modes."""
    with Directory(str(place), in_store=in_store) as directory:
        replace.write_file(directory, "written", b"1", flush_file=False)
        replace.write_new(directory, "new", b"1", flush_file=False)
        replace.write_over(directory, "new", b"2")
        directory.make_directory("inside")
        with Directory("inside", directory) as inside:
            replace.write_file(inside, "written", b"1", flush_file=False)
            inside.make_directory("deeper")
    if in_store:
        os.close(making.open_or_make(str(place / "inside" / "made")))
        os.close(making.open_or_make(str(place / "inside" / "made")))
        making.make_directory(str(place / "inside" / "there"))
        making.make_directory(str(place / "inside" / "there"))
    return {
        f"{'d' if path.is_dir() else 'f'}{stat.S_IMODE(path.stat().st_mode) & 0o2777:04o}"
        for path in place.rglob("*")
    }


@needs_linux("modes")
@pytest.mark.parametrize("mode", [0o700, 0o755, 0o770, 0o2700, 0o2750])
def test_a_directory_is_private_unless_it_was_made_for_a_group(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    inherited = "d2700" if mode & stat.S_ISGID else "d0700"
    assert fill(tmp_path) == {inherited, "f0600"}


@needs_linux("modes")
@pytest.mark.parametrize("mode", [0o2770, 0o2775])
def test_in_a_directory_for_a_group_all_is_the_groups(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    assert fill(tmp_path) == {"d2770", "f0660"}
    with Directory(str(tmp_path)) as directory:
        replace.write_pieces(directory, "run.sh", [b"1"], is_executable=True)
    assert stat.S_IMODE((tmp_path / "run.sh").stat().st_mode) == 0o770


@needs_linux("modes")
def test_what_is_in_no_store_is_private(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    assert fill(tmp_path, in_store=False) == {"d2700", "f0600"}


@needs_root("gives files to others")
def test_what_root_makes_belongs_to_the_owner_of_the_directory(tmp_path: Path) -> None:
    os.chown(tmp_path, 61234, 61235)
    fill(tmp_path)
    assert {(path.stat().st_uid, path.stat().st_gid) for path in tmp_path.rglob("*")} == {
        (61234, 61235)
    }


@needs_root("gives files to others")
def test_a_file_that_cannot_be_given_away_is_not_left_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(tmp_path, 61234, 61235)

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    with (
        Directory(str(tmp_path)) as directory,
        pytest.raises(PermissionError, match="root cannot give it to uid 61234"),
    ):
        replace.write_new(directory, "new", b"1", flush_file=False)
    assert list(tmp_path.iterdir()) == []


@needs_linux("modes")
def test_a_look_at_whether_modes_are_kept_leaves_nothing(tmp_path: Path) -> None:
    assert keeps_modes(str(tmp_path))
    assert list(tmp_path.iterdir()) == []
