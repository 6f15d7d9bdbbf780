"""What the sweeps over system calls share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.support.strace import Server, scratch


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
