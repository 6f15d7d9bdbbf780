"""The fixtures of the fault tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sessionstore import SessionOwner
from tests.faults.support.hostile import separate_checkpoint
from tests.faults.support.strace import Call, Server, Stored, recorded, scratch
from tests.support.processes import Child, new_session


@dataclass(frozen=True)
class Recording:
    """One undisturbed run of an operation, to compare the disturbed ones with."""

    place: Path
    """Where the stores of this test are."""
    log: Path
    calls: list[Call]
    wanted: dict[str, Any] | None
    """What the state says once the operation is done."""

    @property
    def root(self) -> Path:
        """The store in which the operation was run."""
        return self.place / "whole"


Record = Callable[..., Recording]


@pytest.fixture(autouse=True)
def _without_coverage() -> Iterator[None]:
    """Run without coverage: what is repeated here a thousand times is measured elsewhere."""
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory for the stores of one module, in memory where there is one."""
    with scratch() as directory:
        yield directory


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[Server]:
    """What forks the processes whose calls are killed or fail."""
    with Server(place / "warm") as server:
        yield server


@pytest.fixture
def record(server: Server, place: Path, tmp_path: Path) -> Record:
    """What runs an operation once, undisturbed, and returns the calls that it makes."""

    def run(operation: str, *variant: str, durability: str = "power") -> Recording:
        where = place / " ".join((operation, durability, *variant))
        where.mkdir()
        log = tmp_path / "log"
        calls = recorded(server, operation, where / "whole", durability, log)
        return Recording(where, log, calls, Stored.under(where / "whole").summary)

    return run


@pytest.fixture
def running() -> Iterator[SessionOwner]:
    """The record of another process that runs, and holds nothing."""
    with Child("faults.support.identity.identify") as child:
        yield SessionOwner.model_validate(child.hear()["owner"])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with a session to damage and a sound one."""
    place = tmp_path / "root"
    new_session(place)
    new_session(place, "sound")
    separate_checkpoint(place)
    return place
