"""Real power cuts: ext4 and XFS images whose file system is shut down without a last flush."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest

from sessionstore import Session, SessionState, SessionStore, SessionStoreError
from sessionstore.durable import directory, replace
from sessionstore.process import kernel
from tests.faults.support.images import Image, Unavailable, image
from tests.faults.support.tally import tally
from tests.support.index import assert_true, index_files, row
from tests.support.processes import needs_root, rounds

KINDS = ("ext4", "xfs")
BALLAST = "x" * 20_000  # several blocks


@pytest.fixture(params=KINDS)
def disk(request: pytest.FixtureRequest) -> Iterator[Image]:
    try:
        with image(str(request.param)) as made:
            yield made
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(params=["one flush", "two flushes"])
def flushes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both orders of a save: on these file systems one flush is enough."""
    order = str(request.param)
    monkeypatch.setenv("SESSIONSTORE_FLUSHES", "two" if order == "two flushes" else "auto")
    return order


class Powered:
    """A store on a disk, with a journal of what it acknowledged, kept elsewhere."""

    def __init__(self, disk: Image, durability: Literal["power", "process"]) -> None:
        self.disk = disk
        self.root = disk.path / "store"
        self.store = SessionStore(self.root, durability=durability)
        self.sessions: dict[str, Session[SessionState]] = {}
        self.saved: dict[str, tuple[int, int]] = {}
        self.kept: dict[str, list[tuple[str, int]]] = {}
        self.deleted: list[str] = []
        self.count = 0

    def create(self, name: str) -> None:
        self.sessions[name] = self.store.create("goal", session_id=name)
        self._write(name, keep=False)

    def save(self, name: str) -> None:
        self._write(name, keep=False)

    def checkpoint(self, name: str) -> None:
        self._write(name, keep=True)

    def _write(self, name: str, *, keep: bool) -> None:
        self.count += 1
        session = self.sessions[name]
        session.state.data_buffer = {"number": self.count, "ballast": BALLAST}
        if keep:
            made = session.checkpoint()
            self.kept.setdefault(name, []).append((made.checkpoint_id, self.count))
        else:
            session.save()
        self.saved[name] = (session.revision, self.count)

    def delete(self, name: str) -> None:
        self.sessions.pop(name).complete()
        self.store.delete(name)
        self.deleted.append(name)
        del self.saved[name]
        self.kept.pop(name, None)

    def lose_power(self) -> None:
        self.disk.cut_power()
        for session in self.sessions.values():
            # On a disk that is gone every write is refused, but what is held is let go.
            with pytest.raises(SessionStoreError):
                session.save()
            with suppress(SessionStoreError):
                session.release()
            assert session.is_released
        self.sessions.clear()
        self.store.close()
        self.disk.boot()

    def checkpoint_file(self, name: str, checkpoint_id: str) -> Path:
        return self.root / "sessions" / name / "checkpoints" / f"{checkpoint_id}.json"

    def lost(self, *, saves: bool) -> list[str]:
        """Compare what is on the disk with the journal; look past the store first."""
        lost: list[str] = []
        store = SessionStore(self.root)
        for name, (revision, number) in self.saved.items() if saves else ():
            path = self.root / "sessions" / name / "state.json"
            try:
                raw = json.loads(path.read_bytes())
                found = store.load(name)
            except (OSError, ValueError, SessionStoreError) as error:
                lost.append(f"{name}: {type(error).__name__}: {error}")
                continue
            if (raw["revision"], raw["data_buffer"]["number"]) != (revision, number):
                lost.append(f"{name}: revision {raw['revision']} instead of {revision}")
            if found.data_buffer != {"number": number, "ballast": BALLAST}:
                lost.append(f"{name}: not what was saved")
        for name, kept in self.kept.items():
            for checkpoint_id, number in kept:
                try:
                    raw = json.loads(self.checkpoint_file(name, checkpoint_id).read_bytes())
                except (OSError, ValueError) as error:
                    lost.append(f"{name}/{checkpoint_id}: {error}")
                    continue
                if raw["data_buffer"] != {"number": number, "ballast": BALLAST}:
                    lost.append(f"{name}/{checkpoint_id}: not what was kept")
        lost += [
            f"{name} is back" for name in self.deleted if (self.root / "sessions" / name).exists()
        ]
        return lost


def work(powered: Powered, turn: int) -> None:
    """Do something different in each turn; the cut comes right after the last call."""
    one, other = f"one-{turn}", f"other-{turn}"
    powered.create(one)
    powered.checkpoint(one)
    powered.create(other)
    for _ in range(turn):
        powered.save(one)
    if turn % 3 == 0:
        powered.checkpoint(other)
    elif turn % 3 == 1:
        powered.save(other)
    else:
        powered.checkpoint(other)
        powered.delete(one)


CUTS = 5


@needs_root("it mounts file systems")
def test_what_was_acknowledged_is_there_after_the_power_was_cut(
    disk: Image, flushes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    journals: list[Powered] = []
    for turn in range(CUTS):
        powered = Powered(disk, "power")
        work(powered, turn)
        powered.lose_power()
        # This kernel went on, and its id of the boot with it.
        monkeypatch.setattr(kernel, "boot_id", partial(str, f"boot {turn}"))
        journals.append(powered)
        for journal in journals:
            assert journal.lost(saves=True) == []
        listed = {item.session_id for item in powered.store.iter_find() if not item.damaged}
        assert listed == {name for journal in journals for name in journal.saved}
        # Nothing was flushed for the index, which is there from the first turn on.
        assert_true(powered.store)
        assert index_files(powered.root)
        assert powered.store.stats(sizes=False).flushes.startswith(flushes)
        powered.store.close()
    tally("power cuts", promise=2, cases=CUTS)


@needs_root("it mounts file systems")
def test_an_index_that_lost_its_last_rows_with_the_power_is_compared(
    disk: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The system may flush the row by itself, just in time: then the cut loses none.
    for turn in rounds("a row that was lost with the power"):
        name = f"s{turn}"
        powered = Powered(disk, "power")
        powered.store.create("goal", session_id=name).pause()
        assert powered.store.count(status="paused") == 1
        powered.store.close()
        (file,) = index_files(powered.root)
        for path in (file, powered.root):  # as the system does some time later
            fd = os.open(path, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
        before = row(powered.root, name)
        powered.store.claim(name).fail("flushed, unlike what the index was told")
        powered.lose_power()
        lost = row(powered.root, name) == before
        monkeypatch.setattr(kernel, "boot_id", partial(str, f"boot {turn}"))  # this kernel went on
        assert powered.store.count(status="failed") == turn + 1
        assert_true(powered.store)
        powered.store.close()
        if lost:
            break
    tally("power cuts", promise=10, cases=1)


@needs_root("it mounts file systems")
@pytest.mark.usefixtures("flushes")
def test_a_checkpoint_outlives_a_power_cut_in_process_mode(disk: Image) -> None:
    journals: list[Powered] = []
    for turn in range(CUTS):
        powered = Powered(disk, "process")
        work(powered, turn)
        powered.lose_power()
        journals.append(powered)
        for journal in journals:
            assert journal.lost(saves=False) == []
    tally("power cuts", promise=2, cases=CUTS)


@needs_root("it mounts file systems")
@pytest.mark.parametrize("durability", ["power", "process"])
def test_without_flushes_a_power_cut_does_lose_what_was_acknowledged(
    disk: Image, durability: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    SessionStore(disk.path / "store").create("made", session_id="made").release()
    # The system may flush by itself, just in time: then a cut loses nothing.
    for turn in rounds("a cut that lost something"):
        unflushed = Powered(disk, durability)
        with monkeypatch.context() as patch:
            for room in (directory, replace):
                patch.setattr(room, "flush", lambda fd: None)
            work(unflushed, 3 * turn + 1)
        unflushed.lose_power()
        if unflushed.lost(saves=durability == "power"):
            break


@needs_root("it mounts file systems")
def test_a_session_goes_on_after_the_power_is_back(disk: Image) -> None:
    powered = Powered(disk, "power")
    powered.create("s1")
    powered.checkpoint("s1")
    powered.lose_power()
    with SessionStore(powered.root).resume("s1") as session:
        assert session.state.data_buffer["number"] == 2
        session.complete()
    tally("power cuts", promise=2, cases=1)
