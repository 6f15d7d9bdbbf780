"""What a session takes on disk, measured by other means as well."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from sessionstore import AsyncSessionStore, FilesBackend, SessionStore
from tests.support.processes import DEADLINE, needs_linux, new_session, session_path


def du(path: Path) -> int:
    """Return what the system's own tool counts: blocks, a file with two names once."""
    said = subprocess.run(
        ["du", "-s", "--block-size=1", str(path)],
        check=True,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    return int(said.stdout.split()[0])


def full_session(root: Path) -> Path:
    with SessionStore(root).create("goal", session_id="s1") as session:
        session.state.data_buffer["bulk"] = "x" * 50_000
        for _ in range(3):
            session.checkpoint()
        session.pause()
    directory = session_path(root, "s1")
    (directory / "work" / "deep").mkdir(parents=True)
    (directory / "work" / "deep" / "file").write_bytes(b"y" * 30_000)
    (directory / "work" / "again").hardlink_to(directory / "work" / "deep" / "file")
    (directory / "note").symlink_to("/etc")
    with (directory / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 30)
    return directory


@needs_linux("du counts as this package does only in its GNU version")
def test_it_is_what_du_counts(tmp_path: Path) -> None:
    directory = full_session(tmp_path)
    found = SessionStore(tmp_path).usage("s1")
    assert found.bytes == du(directory)
    assert found.checkpoints == 3, "the pause has no copy of its own"
    assert found.application_bytes == du(directory / "work") + du(directory / "note")
    assert found.shared_bytes == 0


@needs_linux("counts blocks")
def test_the_checkpoint_that_is_the_state_takes_nothing(tmp_path: Path) -> None:
    new_session(tmp_path)
    backend = FilesBackend(tmp_path)
    (kept,) = backend.checkpoint_ids("s1")
    assert backend.is_current("s1", kept)
    assert backend.usage("s1").checkpoint_bytes == 0
    assert backend.freed_by("s1", [kept]) == 0


def test_a_checkpoint_with_two_names_is_free_once_both_are_gone(tmp_path: Path) -> None:
    directory = full_session(tmp_path)
    first = sorted((directory / "checkpoints").iterdir())[0]
    second = first.with_name("cp_other.json")
    second.hardlink_to(first)
    backend = FilesBackend(tmp_path)
    assert backend.freed_by("s1", [first.stem]) == backend.freed_by("s1", [second.stem]) == 0
    assert backend.freed_by("s1", [first.stem, second.stem]) >= 50_000


def test_a_file_that_is_named_elsewhere_too_is_said_to_stay(tmp_path: Path) -> None:
    directory = full_session(tmp_path)
    os.link(directory / "work" / "again", tmp_path / "outside")
    assert SessionStore(tmp_path).usage("s1").shared_bytes >= 30_000


def test_it_can_be_awaited(tmp_path: Path) -> None:
    new_session(tmp_path)

    async def ask() -> int:
        async with AsyncSessionStore(tmp_path) as store:
            return (await store.usage("s1")).bytes

    assert asyncio.run(ask()) == SessionStore(tmp_path).usage("s1").bytes


@pytest.mark.parametrize("name", ["work", "checkpoints"])
def test_a_link_in_the_place_of_a_directory_is_not_followed(tmp_path: Path, name: str) -> None:
    new_session(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "cp_big.json").write_bytes(b"z" * 500_000)
    place = session_path(tmp_path, "s1") / name
    if place.exists():
        place.rename(place.with_name("moved"))
    place.symlink_to(outside)
    assert SessionStore(tmp_path).usage("s1").bytes < 500_000
