"""Both backends, in each of their ways of working, pass the conformance suite that we ship."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionstore import FilesBackend, MemoryBackend, SessionStore
from sessionstore.durable import directory as directory_
from sessionstore.durable import linux_calls
from sessionstore.durable import replace as durable
from sessionstore.testing import BackendContract, Harness


class TestMemory(BackendContract[MemoryBackend]):
    @pytest.fixture
    def backend(self) -> MemoryBackend:
        return MemoryBackend()

    def reopen(self, backend: MemoryBackend) -> MemoryBackend:
        other = MemoryBackend()
        other.__dict__ |= backend.__dict__  # the same sessions and claims, another object
        return other

    def read_raw(self, backend: MemoryBackend, session_id: str) -> bytes:
        return backend._sessions[session_id].payload

    def write_raw(self, backend: MemoryBackend, session_id: str, data: bytes) -> None:
        backend._sessions[session_id].payload = bytes(bytearray(data))  # never the same object

    def read_raw_checkpoint(
        self, backend: MemoryBackend, session_id: str, checkpoint_id: str
    ) -> bytes | None:
        return backend._sessions[session_id].checkpoints.get(checkpoint_id)

    def write_raw_checkpoint(
        self, backend: MemoryBackend, session_id: str, checkpoint_id: str, data: bytes
    ) -> None:
        backend._sessions[session_id].checkpoints[checkpoint_id] = data

    def remove_raw_checkpoint(
        self, backend: MemoryBackend, session_id: str, checkpoint_id: str
    ) -> None:
        del backend._sessions[session_id].checkpoints[checkpoint_id]


class Files(Harness[FilesBackend]):
    """Raw access to the files of a store, as any other program has it."""

    def root(self, backend: FilesBackend) -> Path:
        return Path(str(backend))

    def reopen(self, backend: FilesBackend) -> FilesBackend:
        return FilesBackend(str(backend), durability="power" if backend._power else "process")

    def state(self, backend: FilesBackend, session_id: str) -> Path:
        return self.root(backend) / "sessions" / session_id / "state.json"

    def checkpoint(self, backend: FilesBackend, session_id: str, checkpoint_id: str) -> Path:
        directory = self.root(backend) / "sessions" / session_id / "checkpoints"
        return directory / f"{checkpoint_id}.json"

    def read_raw(self, backend: FilesBackend, session_id: str) -> bytes:
        return self.state(backend, session_id).read_bytes()

    def write_raw(self, backend: FilesBackend, session_id: str, data: bytes) -> None:
        replace(self.state(backend, session_id), data)

    def read_raw_checkpoint(
        self, backend: FilesBackend, session_id: str, checkpoint_id: str
    ) -> bytes | None:
        file = self.checkpoint(backend, session_id, checkpoint_id)
        return file.read_bytes() if file.exists() else None

    def write_raw_checkpoint(
        self, backend: FilesBackend, session_id: str, checkpoint_id: str, data: bytes
    ) -> None:
        replace(self.checkpoint(backend, session_id, checkpoint_id), data)

    def remove_raw_checkpoint(
        self, backend: FilesBackend, session_id: str, checkpoint_id: str
    ) -> None:
        self.checkpoint(backend, session_id, checkpoint_id).unlink()

    def shares_bytes(self, backend: FilesBackend) -> bool:
        """Return whether a checkpoint and the state are two names of one file."""
        with SessionStore(backend).create("g", session_id="shared") as session:
            kept = session.checkpoint("step").checkpoint_id
            state = self.state(backend, "shared").stat()
            return state.st_ino == self.checkpoint(backend, "shared", kept).stat().st_ino


def replace(file: Path, data: bytes) -> None:
    """Write as a careful foreign program does: beside, then over it; links stay as they are."""
    beside = file.with_name("foreign.tmp")
    beside.write_bytes(data)
    os.replace(beside, file)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Yield the root of a store, and see that no half-made thing is left in it."""
    root = tmp_path / "store"
    yield root
    assert list(root.rglob(".new-*")) == []
    assert list(root.glob("trash/*")) == []
    sessions = {path.name for path in root.glob("sessions/*") if path.is_dir()}
    assert {path.name.removesuffix(".lock") for path in root.glob("locks/*")} <= sessions


class TestFilesPower(Files, BackendContract[FilesBackend]):
    @pytest.fixture
    def backend(self, root: Path) -> FilesBackend:
        return FilesBackend(root)

    def test_a_checkpoint_is_a_second_name(self, backend: FilesBackend) -> None:
        assert self.shares_bytes(backend)


class TestFilesProcess(Files, BackendContract[FilesBackend]):
    @pytest.fixture
    def backend(self, root: Path) -> FilesBackend:
        return FilesBackend(root, durability="process")

    def test_a_checkpoint_is_a_second_name(self, backend: FilesBackend) -> None:
        assert self.shares_bytes(backend)


def no_such_call(*_: object) -> None:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


class TestFilesWithoutExchange(Files, BackendContract[FilesBackend]):
    """A system whose file system, or kernel, has no renameat2."""

    @pytest.fixture
    def backend(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> FilesBackend:
        monkeypatch.setattr(linux_calls, "renameat2", no_such_call)
        return FilesBackend(root)

    def test_nothing_is_exchanged(self, backend: FilesBackend, root: Path) -> None:
        (root).mkdir()
        with directory_.Directory(str(root)) as directory:
            assert not durable.exchange(directory, "one", "other")


class TestFilesForeignRoot(Files, BackendContract[FilesBackend]):
    """A root that other software has written to, and may go on to write to."""

    @pytest.fixture
    def backend(self, root: Path) -> FilesBackend:
        (root / "sessions").mkdir(parents=True)
        (root / "sessions" / ".made-by-others").touch()
        return FilesBackend(root)

    def test_a_checkpoint_is_a_copy(self, backend: FilesBackend) -> None:
        assert not self.shares_bytes(backend)
