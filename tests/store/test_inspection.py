"""What a look at one session costs, and what it says: directory and names of checkpoints."""

from __future__ import annotations

import asyncio
from pathlib import Path
from unittest import mock

import pytest

from sessionstore import (
    AsyncSessionStore,
    FilesBackend,
    InvalidSessionId,
    MemoryBackend,
    SessionNotFound,
    SessionStore,
    StorageError,
)
from sessionstore.storage.backend import Backend


@pytest.fixture(params=["files", "memory"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    return FilesBackend(tmp_path) if request.param == "files" else MemoryBackend()


def test_the_names_of_the_checkpoints_are_those_of_the_checkpoints_in_order(
    backend: Backend,
) -> None:
    store = SessionStore(backend)
    with store.create("goal", session_id="s1") as session:
        assert store.checkpoint_names("s1") == []
        made = [session.checkpoint("node", node=name).checkpoint_id for name in "zyxwvutsrqp"]
        session.state.data_buffer["asked"] = True
        made.append(session.pause().checkpoint_id)
    assert store.checkpoint_names("s1") == made
    assert [item.checkpoint_id for item in store.checkpoints("s1")] == made

    async def work() -> list[str]:
        async with AsyncSessionStore(backend) as awaited:
            return await awaited.checkpoint_names("s1")

    assert asyncio.run(work()) == made


def test_the_names_are_told_without_reading_a_file(tmp_path: Path) -> None:
    backend = FilesBackend(tmp_path)
    store = SessionStore(backend)
    with store.create("goal", session_id="s1") as session:
        kept = session.checkpoint().checkpoint_id
        (session.directory / "checkpoints" / "damaged.json").write_bytes(b"{")
        with (
            mock.patch.object(backend, "read", side_effect=AssertionError),
            mock.patch.object(backend, "read_checkpoint", side_effect=AssertionError),
        ):
            assert store.checkpoint_names("s1") == ["damaged", kept]
        session.complete()


@pytest.mark.parametrize("bad", ["../s1", "", "con", "a/b"])
def test_an_id_that_could_leave_the_root_has_no_directory(backend: Backend, bad: str) -> None:
    store = SessionStore(backend)
    with pytest.raises(InvalidSessionId):
        store.directory(bad)
    with pytest.raises(InvalidSessionId):
        store.checkpoint_names(bad)
    with pytest.raises(SessionNotFound):
        store.checkpoint_names("s1")


def test_the_directory_is_the_one_that_a_session_has(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    expected = store.directory("s1")
    assert not expected.exists()
    with store.create("goal", session_id="s1") as session:
        assert session.directory == expected
        session.complete()
    store.delete("s1")
    assert store.directory("s1") == expected
    # A plain method, as it looks at nothing.
    assert AsyncSessionStore(tmp_path).directory("s1") == expected


def test_a_store_that_keeps_no_files_has_no_directories() -> None:
    with pytest.raises(StorageError, match="this store keeps no files"):
        SessionStore(MemoryBackend()).directory("s1")
    with pytest.raises(StorageError, match="this store keeps no files"):
        AsyncSessionStore(MemoryBackend()).directory("s1")
