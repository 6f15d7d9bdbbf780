"""A checkpoint is told by the id and the revision that were stored, whatever failed before it."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sessionstore import AsyncSession, AsyncSessionStore, SessionState, StorageError
from sessionstore.storage.files.claim import FilesClaim
from tests.support.processes import read_state


@pytest.fixture
def fail_first(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what lets the next write of any claim fail."""
    real = FilesClaim.write
    left = 0

    def write(self: FilesClaim, *args: object, **kwargs: object) -> object:
        nonlocal left
        if left:
            left -= 1
            raise StorageError("write", "state.json", OSError(errno.ENOSPC, "full"))
        return real(self, *args, **kwargs)  # type: ignore[arg-type]  # as it was called

    def arm() -> None:
        nonlocal left
        left = 1

    monkeypatch.setattr(FilesClaim, "write", write)
    return arm


def names(root: Path) -> set[str]:
    return {path.stem for path in (root / "sessions/s-1/checkpoints").iterdir()}


def run(root: Path, work: Callable[[AsyncSession[SessionState]], Awaitable[None]]) -> None:
    async def main() -> None:
        async with (
            AsyncSessionStore(root, durability="process") as store,
            store.create("triage", session_id="s-1") as session,
        ):
            await work(session)
            await session.pause()

    asyncio.run(main())


def test_a_checkpoint_after_a_failed_save_is_told_as_it_was_stored(
    tmp_path: Path, fail_first: Callable[[], None]
) -> None:
    async def work(session: AsyncSession[SessionState]) -> None:
        fail_first()
        save = asyncio.create_task(session.save())
        checkpoint = asyncio.create_task(session.checkpoint("node_complete", node="plan"))
        with pytest.raises(StorageError):
            await save
        kept = await checkpoint
        stored = read_state(tmp_path, "s-1")
        assert (kept.revision, kept.checkpoint_id) == (2, stored["latest_checkpoint_id"])
        assert stored["revision"] == session.revision == 2
        assert names(tmp_path) == {kept.checkpoint_id}
        assert session.state.latest_checkpoint_id == kept.checkpoint_id

    run(tmp_path, work)


def test_a_save_after_a_failed_checkpoint_names_no_checkpoint_that_is_not_there(
    tmp_path: Path, fail_first: Callable[[], None]
) -> None:
    async def work(session: AsyncSession[SessionState]) -> None:
        fail_first()
        checkpoint = asyncio.create_task(session.checkpoint())
        save = asyncio.create_task(session.save())
        with pytest.raises(StorageError):
            await checkpoint
        await save
        stored = read_state(tmp_path, "s-1")
        assert (stored["latest_checkpoint_id"], stored["is_resumable"]) == (None, False)
        assert session.state.latest_checkpoint_id is None

    run(tmp_path, work)


def test_a_save_that_is_queued_after_a_checkpoint_keeps_it_the_latest(tmp_path: Path) -> None:
    async def work(session: AsyncSession[SessionState]) -> None:
        first = await session.checkpoint()
        checkpoint = asyncio.create_task(session.checkpoint())
        save = asyncio.create_task(session.save())
        kept = await checkpoint
        assert (kept.revision, await save) == (3, 4)
        stored = read_state(tmp_path, "s-1")
        assert stored["latest_checkpoint_id"] == kept.checkpoint_id != first.checkpoint_id
        assert session.state.latest_checkpoint_id == kept.checkpoint_id
        assert stored["is_resumable"] is True

    run(tmp_path, work)


def test_a_save_after_two_checkpoints_of_which_one_fails_names_the_one_that_is_there(
    tmp_path: Path, fail_first: Callable[[], None]
) -> None:
    async def work(session: AsyncSession[SessionState]) -> None:
        fail_first()
        tasks = [
            asyncio.create_task(session.checkpoint(node="one")),
            asyncio.create_task(session.checkpoint(node="two")),
        ]
        save = asyncio.create_task(session.save())
        failed, kept = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(failed, StorageError)
        assert not isinstance(kept, BaseException)
        await save
        stored = read_state(tmp_path, "s-1")
        assert stored["latest_checkpoint_id"] == kept.checkpoint_id
        assert names(tmp_path) == {kept.checkpoint_id}
        assert (kept.revision, stored["revision"]) == (2, 3)

    run(tmp_path, work)
